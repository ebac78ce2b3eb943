use std::collections::BTreeSet;

use domain::{
    breaker::{breaker, stopped},
    contract::{ExpireTask, Expiring, Hold, KeptDue, SweepPlan},
    copies::{self, CopyRules, CopyTask, LiveInstances, is_source},
    earlier_scripts::{LegacyKey, legacy_key},
    error::{Ec2Error, ErrorName, Failure},
    expiry::{Candidate, KeptSources, Scope, Verdict, keep_sources_of_owed_copies, keep_what_is_held, verdicts},
    fleet::Snapshot,
    ids::{Region, SnapshotId},
    ports::{Ec2, SnapshotFilter, Storage},
    protection::floor_volumes,
    run::Run,
    run_files,
    tags::SnapshotTags,
};
use serde_json::json;

use crate::{context::Context, copies::rules};

/// Snapshots in one message: few enough that they are deleted within seconds, also in a distant region.
const BATCH: usize = 20;

/// Judges every snapshot of a region, and lists those to delete.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    context: &Context<'_, E, S>,
) -> Result<SweepPlan, Failure> {
    let Context { ec2, storage, settings, home, now } = context;
    let fleet = run_files::read_fleet(*storage, run, &[run_files::FLEET_AGAIN]).await?;
    let today = now.date_naive();
    let (owners, rules) = (LiveInstances::of(&fleet.instances), rules(context, run));
    let (mut candidates, mut due_sources) = (Vec::new(), BTreeSet::new());
    ec2.each_snapshot(region, &SnapshotFilter::Own, &mut |snapshot| {
        let candidate = Candidate::from(&snapshot);
        let due = candidate.tags.delete_on.is_some_and(|day| day <= today);
        if due && region == *home && is_source(&candidate.tags) && !owners.copy_regions(&snapshot).is_empty() {
            due_sources.insert(snapshot.id);
        }
        candidates.push(candidate);
    })
    .await?;

    let floor = floor_volumes(&fleet);
    let judge = |kept: &KeptSources| {
        verdicts(
            &candidates,
            &Scope {
                home,
                region,
                today,
                run_id: Some(&run.id),
                floor: &floor,
                minimum_kept: settings.minimum_kept,
                kept_sources: Some(kept),
            },
        )
    };
    let mut kept = KeptSources::default();
    let mut judged = judge(&kept);
    // If nothing would be deleted, the other lists are not needed.
    if judged.iter().any(Verdict::expires) {
        ec2.each_snapshot(home, &SnapshotFilter::KeptForever, &mut |source| kept.note(&source)).await?;
        judged = judge(&kept);
        let owed = sources_of_owed_copies(run, context, &due_sources, &owners, &rules).await?;
        keep_sources_of_owed_copies(&candidates, &mut judged, &owed);
        keep_what_is_held(&candidates, &mut judged, &ec2.holders(region).await?);
    }
    write_verdicts(run, region, *storage, &candidates, &judged).await?;

    if let Some(stopped) = hold_or_go_on(run, region, context, &candidates, &judged).await? {
        return Ok(SweepPlan::Stopped(stopped.into()));
    }
    let expiring: Vec<Expiring> = candidates
        .iter()
        .zip(&judged)
        .filter_map(|(candidate, verdict)| match verdict {
            Verdict::Expire(why) => {
                Some(Expiring { id: candidate.id.clone(), volume: candidate.volume.clone(), why: *why })
            }
            Verdict::Keep(_) => None,
        })
        .collect();
    let batches: Vec<ExpireTask> = expiring
        .chunks(BATCH)
        .map(|chunk| ExpireTask { region: region.clone(), planned: today, snapshots: chunk.to_vec() })
        .collect();
    run_files::write_lines(*storage, run, &run_files::expire(region), &batches).await.map(SweepPlan::Manifest)
}

/// Writes the verdict on each snapshot; due snapshots that stay are also written to their own file, for the report.
async fn write_verdicts(
    run: &Run,
    region: &Region,
    storage: &impl Storage,
    candidates: &[Candidate],
    judged: &[Verdict],
) -> Result<(), Failure> {
    let explained = candidates
        .iter()
        .zip(judged)
        .map(|(c, verdict)| json!({"snapshot": c.id, "region": region, "verdict": verdict.to_string()}));
    run_files::write_lines(storage, run, &run_files::verdicts(region), explained).await?;
    let left: Vec<KeptDue> = candidates
        .iter()
        .zip(judged)
        .filter(|(_, verdict)| verdict.is_left())
        .map(|(c, verdict)| KeptDue { id: c.id.clone(), volume: c.volume.clone(), verdict: verdict.to_string() })
        .collect();
    run_files::write_lines(storage, run, &run_files::left(region), &left).await?;
    Ok(())
}

/// Stops the region if the breaker says so, for this run and the following ones, until an execution allows it. Returns
/// why it is stopped.
async fn hold_or_go_on<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    Context { storage, settings, now, .. }: &Context<'_, E, S>,
    candidates: &[Candidate],
    judged: &[Verdict],
) -> Result<Option<Failure>, Failure> {
    let (key, tripped) = (Hold::key(region), breaker(candidates, judged, settings.max_expire_percent));
    let refuse = |why: &dyn std::fmt::Display| Failure::new(ErrorName::MassExpire, stopped(region, &why));
    if run.allow_mass_expire.allows(region) {
        tracing::warn!(%region, tripped = ?tripped.err(), "the breaker is overruled by the execution's input");
        return if run.dry_run { Ok(None) } else { storage.remove(&key).await.map(|()| None) };
    }
    // A hold that cannot be read still holds: then the step fails.
    if let Some(body) = storage.read(&key).await? {
        return Ok(Some(match serde_json::from_str::<Hold>(&body) {
            Ok(Hold { since, run_id, why }) => {
                refuse(&format!("stopped since {} (run {run_id}): {why}", since.format("%Y-%m-%d %H:%M UTC")))
            }
            Err(error) => refuse(&format!("{key} cannot be read ({error}), and still holds")),
        }));
    }
    let Err(tripped) = tripped else { return Ok(None) };
    if !run.dry_run {
        let hold = Hold { since: *now, run_id: run.id.clone(), why: tripped.to_string() };
        storage.write(&key, json!(hold).to_string()).await?;
    }
    Ok(Some(refuse(&tripped)))
}

/// The due sources whose copy is owed, in doubt, or cannot be checked.
async fn sources_of_owed_copies<E: Ec2, S: Storage>(
    run: &Run,
    context: &Context<'_, E, S>,
    due: &BTreeSet<SnapshotId>,
    living: &LiveInstances,
    rules: &CopyRules<'_>,
) -> Result<BTreeSet<SnapshotId>, Failure> {
    let mut owed = BTreeSet::new();
    if due.is_empty() {
        return Ok(owed);
    }
    // Each region gets all of them: copies of the earlier scripts can only be matched against all sources.
    let sources = due_and_alike(context, due).await?;
    let regions: BTreeSet<Region> = sources.iter().flat_map(|source| living.copy_regions(source)).collect();
    let enabled = if regions.is_empty() { BTreeSet::new() } else { context.ec2.regions().await?.enabled };
    for region in regions.into_iter().filter(|region| region != context.home && enabled.contains(region)) {
        match copies_there(context, &region, &sources).await {
            Ok(there) => {
                let found = copies::owed(&sources, &there, living, &region, rules);
                owed.extend(found.sources().into_iter().cloned());
                // A copy that this run planned before midnight, and did not make, is reported: its source stays.
                let planned = planned_copies(run, &region, context.storage).await?;
                owed.extend(
                    copies::uncopied(&sources, &there, context.home).into_iter().filter(|id| planned.contains(id)),
                );
            }
            Err(error) => {
                tracing::warn!(%region, %error, "the copies in the region cannot be read: their sources are kept");
                let asking = sources.iter().filter(|source| living.copy_regions(source).contains(&region));
                owed.extend(asking.map(|source| source.id.clone()));
            }
        }
    }
    Ok(owed)
}

/// The due sources, and the sources with the same key: a copy of the earlier scripts may be a copy of any of them.
async fn due_and_alike<E: Ec2, S>(
    Context { ec2, home, .. }: &Context<'_, E, S>,
    due: &BTreeSet<SnapshotId>,
) -> Result<Vec<Snapshot>, Ec2Error> {
    let ids = SnapshotFilter::Ids(due.iter().cloned().collect());
    let mut sources = ec2.snapshots(home, &ids).await?;
    let keys: BTreeSet<LegacyKey> = sources.iter().map(legacy_key).collect();
    ec2.each_snapshot(home, &SnapshotFilter::Automated, &mut |source| {
        if !due.contains(&source.id) && keys.contains(&legacy_key(&source)) {
            sources.push(source);
        }
    })
    .await?;
    Ok(sources)
}

/// The sources whose copies to a region this run has planned.
async fn planned_copies(run: &Run, region: &Region, storage: &impl Storage) -> Result<BTreeSet<SnapshotId>, Failure> {
    // Without the copy phase there is no such file.
    let planned: Vec<CopyTask> = run_files::read_lines(storage, run, &run_files::copies(region)).await?;
    Ok(planned
        .into_iter()
        .filter_map(|task| match task {
            CopyTask::Copy { snapshot, .. } => Some(snapshot),
            CopyTask::Retag { .. } => None,
        })
        .collect())
}

/// The snapshots in a destination that may be copies of these sources. All of them could be too many for the memory.
async fn copies_there<E: Ec2, S>(
    context: &Context<'_, E, S>,
    region: &Region,
    sources: &[Snapshot],
) -> Result<Vec<Snapshot>, Ec2Error> {
    let ids: BTreeSet<&SnapshotId> = sources.iter().map(|source| &source.id).collect();
    let mut there = Vec::new();
    context
        .ec2
        .each_snapshot(region, &SnapshotFilter::CopiesFrom(context.home.clone()), &mut |copy| {
            // A copy without a source was made by the earlier scripts, and may be a copy of any of them.
            if SnapshotTags::read(&copy.tags).source_snapshot.is_none_or(|source| ids.contains(&source)) {
                there.push(copy);
            }
        })
        .await?;
    Ok(there)
}
