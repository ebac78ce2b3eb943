use std::collections::BTreeMap;

use domain::{
    contract::{ExpireTask, FleetFound, KeptDue, RegionResult},
    dead_letters::Observed,
    error::Failure,
    fleet::Snapshot,
    ids::SnapshotId,
    ports::{Ec2, SnapshotFilter, Storage},
    report::{ProblemKind, RegionSweep, Summary},
    run_files,
    tags::SnapshotTags,
};

use crate::{
    context::{Context, Known},
    regions::{planned, region_results, unreadable},
};

/// Reports the expiry of every swept region.
pub(crate) async fn look<E: Ec2, S: Storage, C>(
    known: &Known<'_>,
    found: &FleetFound,
    context: &Context<'_, E, S, C>,
    summary: &mut Summary,
    observed: &mut Observed,
) -> Result<(), Failure> {
    let event = known.event;
    if !event.run.phases.expire {
        return Ok(());
    }
    let is_explained = event.expiry_failure.is_some() || event.fleet_again_failure.is_some();
    let regions = &found.expire_regions;
    for end in region_results(regions, &event.expiries, ProblemKind::Expiry, is_explained, &mut summary.problems) {
        look_at_region(&end, known, context, summary).await?;
        observed.swept.extend(end.manifest.is_some().then_some(end.region));
    }
    Ok(())
}

async fn look_at_region<E: Ec2, S: Storage, C>(
    end: &RegionResult,
    known: &Known<'_>,
    Context { ec2, storage, now, .. }: &Context<'_, E, S, C>,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let (run, region) = (&known.event.run, &end.region);
    let batches: Vec<ExpireTask> = planned(*storage, run, end.manifest.as_ref(), &run_files::expire(region)).await?;
    let kept: Vec<KeptDue> = run_files::read_lines(*storage, run, &run_files::left(region)).await?;
    let ids: Vec<SnapshotId> =
        batches.iter().flat_map(|batch| &batch.snapshots).map(|expiring| expiring.id.clone()).collect();
    let mut there = BTreeMap::new();
    if !ids.is_empty() {
        let visit = &mut |snapshot: Snapshot| {
            there.insert(snapshot.id, SnapshotTags::read(&snapshot.tags));
        };
        if let Err(error) = ec2.each_snapshot(region, &SnapshotFilter::Ids(ids), visit).await {
            unreadable(region, end.failure.as_ref(), &error.into(), &mut summary.problems);
            return Ok(());
        }
    }
    let sweep = RegionSweep {
        region,
        batches: &batches,
        kept,
        there: &there,
        failed: known.failed,
        names: known.names,
        today: now.date_naive(),
        dry_run: run.dry_run,
    };
    let (swept, problems) = sweep.end();
    summary.problems.extend(problems);
    if !(swept.deleted.is_empty() && swept.left.is_empty() && swept.kept.is_empty()) {
        summary.expiries.push(swept);
    }
    Ok(())
}
