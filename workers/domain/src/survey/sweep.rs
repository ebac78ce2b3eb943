//! The verdicts on a region's snapshots, and whether the region is stopped.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};

use crate::{
    breaker::{MassExpire, breaker, stopped},
    contract::Hold,
    copies::{self, Copies, CopyRules, LiveInstances, Source, is_source},
    earlier_scripts::{LegacyKey, legacy_key},
    error::{Ec2Error, ErrorName, Failure},
    expiry::{Candidate, KeptSources, Scope, Verdict, keep_sources_of_owed_copies, keep_what_is_held, verdicts},
    fleet::{Fleet, Snapshot},
    ids::{Region, SnapshotId},
    ports::{Ec2, SnapshotFilter},
    protection::floor_volumes,
    settings::Settings,
    tags::SnapshotTags,
};

/// What a region's snapshots are judged from.
pub struct Sweep<'a, E> {
    /// EC2.
    pub ec2: &'a E,
    /// The region of the stack.
    pub home: &'a Region,
    /// The stack's parameters.
    pub settings: &'a Settings,
    /// What exists now.
    pub fleet: &'a Fleet,
    /// The run that asks; none where a person does.
    pub run_id: Option<&'a str>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The snapshots that were judged, and one verdict for each.
#[derive(Debug, Default)]
pub struct Judged {
    /// The snapshots.
    pub candidates: Vec<Candidate>,
    /// Their verdicts, in the same order.
    pub verdicts: Vec<Verdict>,
    /// Destinations that could not be read: the sources of copies there are kept.
    pub unreadable: Vec<(Region, Ec2Error)>,
}

impl Judged {
    /// Each snapshot with its verdict.
    pub fn each(&self) -> impl Iterator<Item = (&Candidate, &Verdict)> {
        self.candidates.iter().zip(&self.verdicts)
    }
}

/// Judges what a selection finds in a region: all of its snapshots, or all backups of some volumes.
///
/// `planned` answers the sources whose copies to a region the run has planned.
pub async fn judge<E: Ec2>(
    region: &Region,
    which: &SnapshotFilter,
    sweep: &Sweep<'_, E>,
    planned: impl AsyncFn(&Region) -> Result<BTreeSet<SnapshotId>, Failure>,
) -> Result<Judged, Failure> {
    let Sweep { ec2, home, settings, fleet, run_id, now } = sweep;
    let today = now.date_naive();
    let owners = LiveInstances::of(&fleet.instances, &fleet.regions);
    let (mut judged, mut due_sources) = (Judged::default(), BTreeSet::new());
    ec2.each_snapshot(region, which, &mut |snapshot| {
        let candidate = Candidate::from(&snapshot);
        let due = candidate.tags.delete_on.is_some_and(|day| day <= today);
        if due && region == *home && is_source(&candidate.tags) && !owners.copy_regions(&snapshot).is_empty() {
            due_sources.insert(snapshot.id);
        }
        judged.candidates.push(candidate);
    })
    .await?;

    let floor = floor_volumes(fleet);
    let give = |candidates: &[Candidate], kept: &KeptSources| {
        let kept_sources = Some(kept);
        let minimum_kept = settings.minimum_kept;
        verdicts(candidates, &Scope { home, region, today, run_id: *run_id, floor: &floor, minimum_kept, kept_sources })
    };
    let mut kept = KeptSources::default();
    judged.verdicts = give(&judged.candidates, &kept);
    // Where nothing would go, nothing more has to be known.
    if judged.verdicts.iter().any(Verdict::expires) {
        ec2.each_snapshot(home, &SnapshotFilter::KeptForever, &mut |source| kept.note(&source)).await?;
        judged.verdicts = give(&judged.candidates, &kept);
        let owed = sources_of_owed_copies(sweep, &due_sources, &owners, planned, &mut judged.unreadable).await?;
        keep_sources_of_owed_copies(&judged.candidates, &mut judged.verdicts, &owed);
        keep_what_is_held(&judged.candidates, &mut judged.verdicts, &ec2.holders(region).await?);
        keep_what_is_held(&judged.candidates, &mut judged.verdicts, &ec2.needed_by_restores(region).await?);
    }
    Ok(judged)
}

/// Whether what is due in a region is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is.
    No,
    /// It is not, since an earlier run.
    Held(Failure),
    /// Too much would go at once; why, and the failure that says so.
    Tripped(MassExpire, Failure),
}

impl Stop {
    /// Why nothing that is due is deleted, with the input that allows it.
    pub fn cause(self) -> Option<String> {
        match self {
            Self::No => None,
            Self::Held(failure) | Self::Tripped(_, failure) => Some(failure.cause),
        }
    }
}

/// Decides whether a region is stopped; `held` is what its [`Hold`] in the report bucket holds, if there is one.
pub fn stop(region: &Region, held: Option<&str>, judged: &Judged, settings: &Settings) -> Stop {
    let refuse = |why: &dyn fmt::Display| Failure::new(ErrorName::MassExpire, stopped(region, &why));
    // One that cannot be read holds.
    match held.map(serde_json::from_str::<Hold>) {
        Some(Ok(Hold { since, run_id, why })) => {
            return Stop::Held(refuse(&format!(
                "stopped since {} (run {run_id}): {why}",
                since.format("%Y-%m-%d %H:%M UTC")
            )));
        }
        Some(Err(error)) => {
            return Stop::Held(refuse(&format!("{} cannot be read ({error}), and still holds", Hold::key(region))));
        }
        None => {}
    }
    match breaker(&judged.candidates, &judged.verdicts, settings.max_expire_percent) {
        Ok(()) => Stop::No,
        Err(tripped) => {
            let failure = refuse(&tripped);
            Stop::Tripped(tripped, failure)
        }
    }
}

/// Those of the due sources that still owe a copy, or of which it cannot be known.
async fn sources_of_owed_copies<E: Ec2>(
    sweep: &Sweep<'_, E>,
    due: &BTreeSet<SnapshotId>,
    living: &LiveInstances,
    planned: impl AsyncFn(&Region) -> Result<BTreeSet<SnapshotId>, Failure>,
    unreadable: &mut Vec<(Region, Ec2Error)>,
) -> Result<BTreeSet<SnapshotId>, Failure> {
    let mut owed = BTreeSet::new();
    if due.is_empty() {
        return Ok(owed);
    }
    let rules = CopyRules::new(sweep.home, sweep.run_id.unwrap_or_default(), sweep.settings, sweep.now);
    // All of them for each region: which of several a copy is of does not depend on what each asks for.
    let sources = due_and_alike(sweep, due).await?;
    let regions: BTreeSet<Region> = sources.iter().flat_map(|source| living.regions_of(source)).collect();
    let enabled = if regions.is_empty() { BTreeSet::new() } else { sweep.ec2.regions().await?.enabled };
    for region in regions.into_iter().filter(|region| region != sweep.home && enabled.contains(region)) {
        match copies_there(sweep, &region, &sources).await {
            Ok(there) => {
                let found = copies::decide(&sources, &there, living, &region, &rules);
                owed.extend(found.sources(&sources).into_iter().cloned());
                // What this run was to copy before midnight, and did not, is reported: its source is still there then.
                let planned = planned(&region).await?;
                owed.extend(copies::uncopied(&sources, &there).into_iter().filter(|id| planned.contains(id)));
            }
            // Its sources are kept: what it holds cannot be read.
            Err(error) => {
                let asking = sources.iter().filter(|source| living.regions_of(source).contains(&region));
                owed.extend(asking.map(|source| source.id.clone()));
                unreadable.push((region, error));
            }
        }
    }
    Ok(owed)
}

/// The due sources, and those that look like them: which of several a copy is of can only be told of all of them.
async fn due_and_alike<E: Ec2>(
    Sweep { ec2, home, .. }: &Sweep<'_, E>,
    due: &BTreeSet<SnapshotId>,
) -> Result<Vec<Source>, Ec2Error> {
    let ids = SnapshotFilter::Ids(due.iter().cloned().collect());
    let (mut sources, mut keys) = (Vec::new(), BTreeSet::<LegacyKey>::new());
    let mut note = |source: Snapshot| {
        keys.insert(legacy_key(&source));
        sources.push(Source::from(&source));
    };
    ec2.each_snapshot(home, &ids, &mut note).await?;
    ec2.each_snapshot(home, &SnapshotFilter::Automated, &mut |source| {
        if !due.contains(&source.id) && keys.contains(&legacy_key(&source)) {
            sources.push(Source::from(&source));
        }
    })
    .await?;
    Ok(sources)
}

/// What of a destination may be a copy of these sources: a region holds too much to keep it all in memory.
async fn copies_there<E: Ec2>(
    Sweep { ec2, home, .. }: &Sweep<'_, E>,
    region: &Region,
    sources: &[Source],
) -> Result<Copies, Ec2Error> {
    let ids: BTreeSet<&SnapshotId> = sources.iter().map(|source| &source.id).collect();
    let mut there = Copies::default();
    ec2.each_snapshot(region, &SnapshotFilter::CopiesFrom((*home).clone()), &mut |copy| {
        // One that does not name its source is of the earlier scripts, and may be of any.
        if SnapshotTags::read(&copy.tags).source_snapshot.is_none_or(|source| ids.contains(&source)) {
            there.note(&copy, home);
        }
    })
    .await?;
    Ok(there)
}
