use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use domain::{
    coverage::{DrillRules, State, VolumeCoverage},
    expiry::{Keep, Verdict},
    fleet::Fleet,
    hooks::script::Level,
    ids::Region,
    metrics::{Measurement, Metric, line},
    policy::InstancePlan,
    protection::instances_without_word,
    report::{InstanceReport, ProblemKind, Summary},
};

/// What the metrics need of a run beside its summary: known once the fleet is.
#[derive(Debug)]
pub(crate) struct Measured {
    protected: usize,
    unprotected: usize,
    /// The age of the oldest newest backup in each region that was read.
    ages: BTreeMap<Region, TimeDelta>,
    /// Backups that are missing; none where a region was not read.
    missing: Option<usize>,
    /// The most days for which a volume's backups in a region were not proven; none while drills are off.
    unproven_days: Option<i64>,
}

impl Measured {
    /// Measures what there is at this moment.
    pub(crate) fn of(
        fleet: &Fleet,
        plans: &[InstancePlan],
        covered: &[VolumeCoverage],
        drills: DrillRules,
        today: NaiveDate,
    ) -> Self {
        let (mut ages, mut missing, mut is_read) = (BTreeMap::<Region, TimeDelta>::new(), 0, true);
        for region in covered.iter().flat_map(|volume| &volume.regions) {
            is_read &= region.state != State::Unreadable;
            missing += usize::from(region.state == State::Missing);
            if let (Some(age), true) = (region.age, region.state != State::Unreadable) {
                let oldest = ages.entry(region.region.clone()).or_default();
                *oldest = age.max(*oldest);
            }
        }
        let regions = covered.iter().flat_map(|volume| &volume.regions).filter(|_| drills.on);
        Self {
            unproven_days: regions.filter_map(|region| region.proofs.days(today)).max(),
            protected: plans.len(),
            unprotected: instances_without_word(fleet),
            ages,
            missing: is_read.then_some(missing),
        }
    }

    /// The worst of all regions; none where one of them was not read, since that could be worse.
    fn worst(&self) -> Option<TimeDelta> {
        self.missing.and_then(|_| self.ages.values().max().copied())
    }

    /// The same of proofs.
    fn longest_unproven(&self) -> Option<i64> {
        self.missing.and(self.unproven_days)
    }
}

/// Prints the run's metrics.
#[allow(clippy::print_stdout)] // CloudWatch reads metrics from lines of exactly this form.
pub(crate) fn print(summary: &Summary, measured: Option<&Measured>) {
    for line in lines(summary, measured) {
        println!("{line}");
    }
}

/// Prints one line of metrics.
#[allow(clippy::print_stdout)] // CloudWatch reads metrics from lines of exactly this form.
pub(crate) fn print_line(measurement: &Measurement<'_>, values: &[(Metric, f64)]) {
    println!("{}", line(measurement, values));
}

/// The run's metrics: a line for the run, and one for each region that holds backups.
///
/// What is not known is not printed: neither what belongs to a phase that was not run, nor an age that could not be read.
pub(crate) fn lines(summary: &Summary, measured: Option<&Measured>) -> Vec<String> {
    let measurement =
        Measurement { at: summary.ended, home: &summary.home, backup_region: None, run_id: Some(&summary.run.id) };
    let mut lines = vec![line(&measurement, &of_run(summary, measured))];
    for (region, age) in measured.into_iter().flat_map(|measured| &measured.ages) {
        let measurement = Measurement { backup_region: Some(region), ..measurement };
        lines.push(line(&measurement, &[(Metric::BackupAgeHours, hours(*age))]));
    }
    lines
}

fn of_run(summary: &Summary, measured: Option<&Measured>) -> Vec<(Metric, f64)> {
    use Metric::*;
    let took = (summary.ended - summary.run.started).as_seconds_f64();
    let mut values = vec![(RunSeconds, took.max(0.0).round())];
    let Some(measured) = measured else { return values };
    let problems = |kind| summary.problems.iter().filter(move |problem| problem.kind == kind);
    let mut counted = vec![
        (InstancesProtected, measured.protected),
        (InstancesUnprotected, measured.unprotected),
        (Rejected, summary.rejected.len()),
    ];
    counted.extend(measured.missing.map(|missing| (BackupsMissing, missing)));
    let phases = summary.run.phases;
    if phases.snapshot {
        let volumes = summary.instances.iter().flat_map(|instance| &instance.volumes);
        counted.extend([
            (SnapshotsMade, volumes.filter(|volume| volume.snapshot.is_some()).count()),
            (SnapshotsCompleted, summary.volumes().1),
            (SnapshotsFailed, problems(ProblemKind::NoSnapshot).count()),
            (HooksFailed, summary.instances.iter().filter(|one| is_hook_failed(one)).count()),
        ]);
    }
    if phases.copy {
        counted.extend([
            (CopiesMade, summary.copies.iter().map(|end| end.made).sum()),
            (CopiesOwed, summary.copies.iter().map(|end| end.owed).sum()),
            (CopiesFailed, problems(ProblemKind::NoCopy).filter(|problem| problem.error.is_some()).count()),
        ]);
    }
    if phases.expire {
        let floor = [Keep::Newest, Keep::NewestNotFailed].map(|keep| Verdict::Keep(keep).to_string());
        let kept = summary.expiries.iter().flat_map(|end| &end.kept);
        counted.extend([
            (SnapshotsExpired, summary.expiries.iter().map(|end| end.deleted.len()).sum()),
            (SnapshotsKeptByFloor, kept.filter(|kept| floor.contains(&kept.verdict)).count()),
        ]);
    }
    if summary.is_full_backup() {
        counted.push((Complete, 1));
    }
    #[allow(clippy::cast_precision_loss)] // No account has so many of anything.
    values.extend(counted.into_iter().map(|(metric, count)| (metric, count as f64)));
    values.extend(measured.worst().map(|age| (BackupAgeHours, hours(age))));
    #[allow(clippy::cast_precision_loss)] // No date is so far away.
    values.extend(measured.longest_unproven().map(|days| (ProofAgeDays, days as f64)));
    values
}

/// Whether an instance's hook was to be run, and its snapshots are no more than those of one without.
fn is_hook_failed(instance: &InstanceReport) -> bool {
    let known = instance.consistency.as_ref();
    // Without a document nothing was to be run: the instance is stopped.
    known.is_some_and(|known| known.document.is_some() && known.level == Some(Level::Crash))
}

/// In tenths.
fn hours(age: TimeDelta) -> f64 {
    (age.as_seconds_f64() / 360.0).round() / 10.0
}
