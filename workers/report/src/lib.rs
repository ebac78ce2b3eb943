//! Report: what a run did, computed from what exists now, and whether anything is owed.
//!
//! Event: [`ReportEvent`], all results and failures of the run.
//! Result: [`Answer`]. If it is not complete, the state machine ends with `BackupIncomplete`.
//!
//! It reads the run's manifests and the fleet that discover listed, the snapshots of the home region and their copies,
//! decides again which copies every destination is owed, and reads the failures from the Map Runs.
//! It writes `report.json`, `report.html` and `summary.txt`, sends a message to the topic where one is due, and prints
//! metrics. It changes nothing in EC2: a second report says the same.
//! `latest.json`, which points at the last report of a full run, says what is different from it.
//! It deletes settled dead letters, so that their queue's alarm can report the next one.
//!
//! A drill has a report of its own: [`drill::handle`].
//!
//! If the state has no result for a region of the run, that is a problem, never a success.

mod context;
mod copies;
pub mod drill;
mod expiries;
mod latest;
mod letters;
mod log;
mod metrics;
mod regions;
mod snapshots;

use std::collections::BTreeSet;

use domain::{
    contract::{ReportEvent, StateError},
    copies::LiveInstances,
    cost,
    coverage::{CoveredVolume, DrillRules, NewestBackups, ProofRules, Remembered, allowed_age, coverage},
    dead_letters::Observed,
    error::Failure,
    fleet::{Fleet, Snapshot},
    policy::InstancePlan,
    ports::{Claims, DeadLetters, Ec2, Executions, Notifications, SnapshotFilter, Storage},
    report::{
        Before, Busy, CoverageReport, Failed, Listed, Names, PHASE_STATES, Problem, ProblemKind, Summary, bad_backups,
        of_run, reported_failures,
    },
    run_files,
};
use serde::{Deserialize, Serialize};

use context::{Known, Seen};
use latest::Then;
use metrics::Measured;

pub use context::Context;

/// The result for the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether nothing is owed.
    pub complete: bool,
    /// The worst problems, and the address of the report; empty if complete. At most 1,000 characters.
    pub cause: String,
    /// The address of `summary.txt`; the other files of the report are beside it.
    pub summary: String,
}

/// Summarises a run.
pub async fn handle<E: Ec2, S: Storage + Claims, C: Executions + Notifications + DeadLetters>(
    event: ReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let before = latest::read(context.storage).await.before(&event.run);
    let mut then = Then::read(context.storage, &before).await;
    let mut proofs = then.proofs();
    if context.settings.drills_are_on {
        proofs.note_proven(&drill::last_reads(context.storage, &event.run.id).await);
    }
    let (mut summary, observed, measured) = summarise(&event, &proofs, context).await?;
    summary.changes = Some(then.changes(&before, summary.listed.as_ref()));
    if !event.run.dry_run {
        letters::clear(context.services, &observed, &mut summary).await;
    }
    publish(&summary, measured.as_ref(), &before, context).await
}

async fn summarise<E: Ec2, S: Storage, C: Executions>(
    event: &ReportEvent,
    remembered: &Remembered,
    context: &Context<'_, E, S, C>,
) -> Result<(Summary, Observed, Option<Measured>), Failure> {
    let Context { ec2, storage, services, home, now, .. } = context;
    let run = &event.run;
    let mut summary = Summary::new(run.clone(), (*home).clone(), *now, storage.bucket());
    let mut observed = Observed { started: run.started, today: now.date_naive(), ..Observed::default() };
    whole_failures(event, &mut summary);
    let failed = what_failed(*services, &run.execution, &mut summary).await;

    let Some(found) = &event.fleet else {
        if event.fleet_failure.is_none() {
            let to_do = "See the state DiscoverInstances of the execution";
            summary.problems.push(Problem::new(ProblemKind::WholeRun, "the fleet was not listed", to_do));
        }
        return Ok((summary, observed, None));
    };
    let fleet = run_files::read_fleet(*storage, run, &[run_files::FLEET_AGAIN, run_files::FLEET]).await?;
    summary.rejected = run_files::read_lines(*storage, run, run_files::REJECTED).await?;
    let mut plans: Vec<InstancePlan> = run_files::read_manifest(*storage, &found.manifest).await?;
    plans.extend(match &found.hooked {
        Some(manifest) => run_files::read_manifest::<InstancePlan>(*storage, manifest).await?,
        // An execution that began before there were hooks drops the manifest, and not the file.
        None => run_files::read_lines(*storage, run, run_files::HOOKED).await?,
    });
    let sources = ec2.snapshots(home, &SnapshotFilter::Automated).await?;
    observed.living = LiveInstances::of(&fleet.instances, &fleet.regions);
    observed.existing = fleet.instances.iter().filter(|i| i.is_living()).map(|i| i.id.clone()).collect();
    observed.note_snapshots(home, &sources);
    let known = Known { event, fleet: &fleet, names: &Names::of_fleet(&fleet), sources: &sources, failed: &failed };

    let mut seen = Seen { newest: NewestBackups::new((*home).clone()), unreadable: BTreeSet::new() };
    seen.newest.note_region(home);
    sources.iter().for_each(|source| seen.newest.note(home, source));

    snapshots::look_for_unprotected(&known, &mut summary);
    let copied = copies::look(&known, found, &plans, context, &mut seen, &mut summary, &mut observed).await?;
    snapshots::look(&known, &plans, &copied, &mut summary, &mut observed);
    expiries::look(&known, found, context, &mut summary, &mut observed).await?;
    let measured = look_at_coverage(&fleet, &plans, seen, remembered, context, &mut summary);
    look_at_times(&sources, *services, &mut summary).await;
    summary.listed = Some(Listed::of(&fleet, &plans, known.names));
    if run.phases.copy {
        observed.sources = Some(sources.into_iter().map(|source| (source.id.clone(), source)).collect());
    }
    Ok((summary, observed, Some(measured)))
}

/// How old the newest backups are, what is proven of them, and what they cost.
fn look_at_coverage<E, S, C>(
    fleet: &Fleet,
    plans: &[InstancePlan],
    mut seen: Seen,
    remembered: &Remembered,
    Context { settings, schedule, now, .. }: &Context<'_, E, S, C>,
    summary: &mut Summary,
) -> Measured {
    let looked_at: BTreeSet<_> = seen.newest.regions().cloned().collect();
    // What was not looked at is not known, and not missing.
    let wanted = plans.iter().flat_map(|plan| &plan.copy_regions);
    seen.unreadable.extend(wanted.filter(|region| !looked_at.contains(region)).cloned());
    let allowed = allowed_age(schedule, settings, now.date_naive());
    let drills = DrillRules::from(*settings);
    let covered = coverage(plans, &seen.newest, &seen.unreadable, allowed, ProofRules { drills, remembered }, *now);
    let measured = Measured::of(fleet, plans, &covered, drills, now.date_naive());
    summary.cost = Some(cost::of(&covered));
    let coverage = CoverageReport {
        allowed_hours: allowed.map(|allowed| allowed.num_hours()),
        drills,
        volumes: covered.into_iter().map(CoveredVolume::from).collect(),
    };
    let (problems, notes) = bad_backups(&coverage.volumes);
    summary.problems.extend(problems);
    summary.notes.extend(notes);
    summary.coverage = Some(coverage);
    measured
}

/// When the run's snapshots were begun and completed, and how long its phases were. That of the copies is noted with them.
async fn look_at_times(sources: &[Snapshot], services: &impl Executions, summary: &mut Summary) {
    let run = &summary.run;
    if run.phases.snapshot && !run.dry_run {
        summary.timeline.snapshots = Busy::of(of_run(&run.id, sources), run.started);
    }
    match services.state_times(&run.execution, &PHASE_STATES.map(|(state, _)| state)).await {
        Ok(states) => summary.timeline.note_states(&states),
        Err(failure) => {
            summary.timeline.untold.push(format!("Step Functions did not tell when the phases were: {failure}"))
        }
    }
    summary.timeline.note_untold(summary.expiries.iter().map(|end| end.deleted.len()).sum());
}

/// The failures of a whole phase.
fn whole_failures(event: &ReportEvent, summary: &mut Summary) {
    let again = "The next run tries again";
    let repair = "Repair the reason, and start the run again";
    let not_again = match event.run.phases.expire && !event.run.dry_run {
        true => "nothing was expired, since the fleet could not be listed again",
        false => "the fleet could not be listed again",
    };
    let of_maps = event
        .snapshots
        .iter()
        .map(|end| (ProblemKind::WholeRun, "the snapshots could not be begun", &end.failure, repair));
    let of_phases = [
        (ProblemKind::WholeRun, "the fleet could not be listed", &event.fleet_failure, repair),
        (ProblemKind::WholeRun, "the snapshots could not be begun", &event.snapshot_failure, repair),
        (ProblemKind::Copies, "the copies could not be run", &event.copy_failure, again),
        (ProblemKind::Expiry, "the expiry could not be run", &event.expiry_failure, again),
        (ProblemKind::Expiry, not_again, &event.fleet_again_failure, again),
    ];
    for (kind, what, error, to_do) in of_phases.into_iter().chain(of_maps) {
        if let Some(StateError { error: name, .. }) = error {
            let message = error.as_ref().map_or_else(String::new, StateError::message);
            let problem = Problem::new(kind, format!("{what}: {name}: {message}"), to_do);
            summary.problems.push(Problem { error: Some(name.clone()), ..problem });
        }
    }
}

/// Reads the failures from the Map Runs. If that fails, the rest of the report is still made.
async fn what_failed(services: &impl Executions, execution: &str, summary: &mut Summary) -> Failed {
    match services.map_runs(execution).await {
        Ok(map_runs) => {
            (summary.failures, summary.unread) = reported_failures(&map_runs);
            Failed::of(&map_runs)
        }
        Err(failure) => {
            let reason = format!("the failures of the tasks could not be read: {failure}");
            summary.problems.push(Problem::new(ProblemKind::Other, reason, "See the Map Runs of the execution"));
            Failed::unknown()
        }
    }
}

/// Sends a message. The report is in the bucket, and the execution ends with its cause, also if the topic fails.
async fn tell(services: &impl Notifications, run: &str, subject: &str, message: &str) {
    if let Err(failure) = services.notify(subject, message).await {
        let error = failure.name.as_str();
        tracing::error!(run, error, cause = failure.cause, "the notification could not be sent");
    }
}

/// Writes the report to the bucket, the log, the metrics and, where a message is due, to the topic.
async fn publish<E, S: Storage + Claims, C: Notifications>(
    summary: &Summary,
    measured: Option<&Measured>,
    before: &Before,
    Context { storage, services, notify_on, .. }: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let run = &summary.run;
    run_files::write_json(*storage, &run.key(run_files::REPORT), summary).await?;
    storage.write(&run.key(run_files::SUMMARY), summary.text()).await?;
    storage.write(&run.key(run_files::PAGE), page::page(summary)).await?;
    log::log(summary);
    if !run.dry_run {
        metrics::print(summary, measured);
    }
    if summary.is_full() {
        latest::point_at(*storage, summary).await;
    }
    if let Some(notice) = notify_on.notice(summary, before) {
        tell(*services, &run.id, &summary.subject(notice), &summary.message(notice, before)).await;
    }
    Ok(Answer {
        complete: summary.is_complete(),
        cause: summary.cause(),
        summary: format!("s3://{}/{}", storage.bucket(), run.key(run_files::SUMMARY)),
    })
}

#[cfg(test)]
mod tests;
