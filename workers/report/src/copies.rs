use std::collections::BTreeSet;

use domain::{
    contract::{FleetFound, RegionResult},
    copies::{CopyRules, CopyTask, owed},
    dead_letters::Observed,
    error::Failure,
    ids::{Region, SnapshotId},
    policy::{InstancePlan, volumes_to},
    ports::{Ec2, SnapshotFilter, Storage},
    report::{Busy, Copied, Destination, ProblemKind, RegionBusy, Summary, made_by, of_run},
    run_files,
};

use crate::{
    context::{Context, Known, Seen},
    regions::{planned, region_results, unreadable},
};

/// Decides again which copies every destination is owed. Returns the completed copies of the run's snapshots.
///
/// One destination after the other, so that the copies of one region at a time are in memory.
pub(crate) async fn look<E: Ec2, S: Storage, C>(
    known: &Known<'_>,
    found: &FleetFound,
    plans: &[InstancePlan],
    context: &Context<'_, E, S, C>,
    seen: &mut Seen,
    summary: &mut Summary,
    observed: &mut Observed,
) -> Result<Copied, Failure> {
    let (run, mut copied) = (&known.event.run, Copied::new());
    if !run.phases.copy {
        for region in &found.copy_regions {
            look_only(region, context, seen).await;
        }
        return Ok(copied);
    }
    let is_explained = known.event.copy_failure.is_some();
    let regions = &found.copy_regions;
    let ends = region_results(regions, &known.event.copies, ProblemKind::Copies, is_explained, &mut summary.problems);
    let made: BTreeSet<&SnapshotId> = of_run(&run.id, known.sources).map(|snapshot| &snapshot.id).collect();
    for end in &ends {
        for (source, copy) in look_at_destination(end, known, &made, context, seen, summary, observed).await? {
            copied.entry(source).or_default().insert(end.region.clone(), copy);
        }
    }
    if run.dry_run && run.phases.snapshot {
        for end in &mut summary.copies {
            end.of_new_snapshots = volumes_to(plans, &end.region);
        }
    }
    Ok(copied)
}

async fn look_at_destination<E: Ec2, S: Storage, C>(
    end: &RegionResult,
    known: &Known<'_>,
    made: &BTreeSet<&SnapshotId>,
    Context { ec2, storage, settings, home, now, .. }: &Context<'_, E, S, C>,
    seen: &mut Seen,
    summary: &mut Summary,
    observed: &mut Observed,
) -> Result<impl IntoIterator<Item = (SnapshotId, SnapshotId)>, Failure> {
    let (run, region) = (&known.event.run, &end.region);
    let planned: Vec<CopyTask> = planned(*storage, run, end.manifest.as_ref(), &run_files::copies(region)).await?;
    let there = match ec2.snapshots(region, &SnapshotFilter::CopiesFrom((*home).clone())).await {
        Ok(there) => there,
        Err(error) => {
            seen.unreadable.insert(region.clone());
            unreadable(region, end.failure.as_ref(), &error.into(), &mut summary.problems);
            return Ok(Default::default());
        }
    };
    seen.newest.note_region(region);
    there.iter().for_each(|copy| seen.newest.note(region, copy));
    if !run.dry_run {
        let busy = Busy::of(made_by(&run.id, &there), run.started);
        let of_region = |busy| RegionBusy { region: region.clone(), slots: settings.copy_concurrency, busy };
        summary.timeline.copies.extend(busy.map(of_region));
    }
    let owed = owed(known.sources, &there, &observed.living, region, &CopyRules::new(home, &run.id, settings, *now));
    let destination = Destination {
        region,
        sources: known.sources,
        there: &there,
        owed: &owed,
        planned: if run.dry_run { &[] } else { &planned },
        living: &observed.living,
        names: known.names,
        failed: known.failed,
    };
    if !run.dry_run {
        summary.problems.extend(destination.problems());
    } else {
        // A copy that a run would make is no problem; one that no run can make any more already is.
        let lasting = |kind| matches!(kind, ProblemKind::StuckCopy | ProblemKind::Forgotten);
        summary.problems.extend(destination.problems().into_iter().filter(|problem| lasting(problem.kind)));
    }
    summary.copies.push(destination.end(&run.id));
    for note in destination.notes() {
        if !summary.notes.contains(&note) {
            summary.notes.push(note);
        }
    }
    let completed = destination.completed(made);
    observed.note_snapshots(region, &there);
    observed.owed.insert(region.clone(), owed);
    Ok(completed)
}

/// Takes note of a destination's copies, of a run that has no business there: how old they are is told of every run.
async fn look_only<E: Ec2, S, C>(region: &Region, Context { ec2, home, .. }: &Context<'_, E, S, C>, seen: &mut Seen) {
    seen.newest.note_region(region);
    let mut note = |copy| seen.newest.note(region, &copy);
    let looked = ec2.each_snapshot(region, &SnapshotFilter::CopiesFrom((*home).clone()), &mut note).await;
    if let Err(error) = looked {
        tracing::warn!(%region, %error, "cannot be read: how old its copies are is not known");
        seen.unreadable.insert(region.clone());
    }
}
