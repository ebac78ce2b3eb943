use std::collections::{BTreeMap, BTreeSet};

use domain::{
    contract::{ExpireTask, Expiring, Manifest, Run},
    copies::{self, CopyRules, CopyTask, Living},
    error::{Ec2Error, ErrorName, Failure},
    expiry::{Candidate, KeptSources, Scope, Verdict, breaker, keep_sources_of_owed_copies, verdicts},
    fleet::{Instance, Snapshot},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::{Ec2, Storage, Which},
    tags::{InstanceTags, SnapshotTags},
};
use serde_json::json;

use crate::{Context, copies::rules, lines};

/// Snapshots in one message: few enough to be deleted within a few seconds.
const BATCH: usize = 20;

/// Judges every snapshot of a region, and lists those to delete.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    context: &Context<'_, E, S>,
) -> Result<Manifest, Failure> {
    let Context { ec2, storage, settings, home, now } = context;
    let mut instances: Vec<Instance> = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let living = living_volumes(*ec2, &instances).await?;
    let mut kept = KeptSources::default();
    ec2.each_snapshot(home, &Which::KeptForever, &mut |source| kept.note(&source)).await?;
    let today = now.date_naive();
    let (owners, rules) = (Living::of(&instances), rules(context, run));
    let (mut candidates, mut due_sources) = (Vec::new(), Vec::new());
    ec2.each_snapshot(region, &Which::Own, &mut |snapshot| {
        let candidate = Candidate::from(&snapshot);
        let due = candidate.tags.delete_on.is_some_and(|day| day <= today);
        if due && region == *home && owners.wants_copies(&snapshot, &rules) {
            due_sources.push(snapshot);
        }
        candidates.push(candidate);
    })
    .await?;

    let scope =
        Scope { home, region, today, living: &living, minimum_kept: settings.minimum_kept, kept_sources: Some(&kept) };
    let mut judged = verdicts(&candidates, &scope);
    let owed = sources_of_owed_copies(context, &due_sources, &owners, &rules).await?;
    keep_sources_of_owed_copies(&candidates, &mut judged, &owed);
    let explained = candidates
        .iter()
        .zip(&judged)
        .map(|(c, verdict)| json!({"snapshot": c.id, "region": region, "verdict": verdict.to_string()}).to_string());
    storage.write_manifest(run.key(&format!("verdicts-{region}.jsonl")), explained).await?;

    match breaker(&candidates, &judged, region, settings.max_expire_percent) {
        Err(tripped) if !run.allow_mass_expire => return Err(Failure::new(ErrorName::MassExpire, tripped)),
        Err(tripped) => tracing::warn!(%tripped, "allowed by the execution's input"),
        Ok(()) => {}
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
    storage.write_manifest(run.key(&format!("expire-{region}.jsonl")), lines(&batches)?).await
}

/// Those of the due sources that still owe a copy, or of which it cannot be known.
async fn sources_of_owed_copies<E: Ec2, S: Storage>(
    context: &Context<'_, E, S>,
    due: &[Snapshot],
    living: &Living,
    rules: &CopyRules<'_>,
) -> Result<BTreeSet<SnapshotId>, Failure> {
    let mut by_region: BTreeMap<Region, Vec<Snapshot>> = BTreeMap::new();
    for source in due {
        for region in living.copy_regions(source).into_iter().filter(|region| region != context.home) {
            by_region.entry(region).or_default().push(source.clone());
        }
    }
    let enabled = if by_region.is_empty() { BTreeSet::new() } else { context.ec2.regions().await?.enabled };
    let mut owed = BTreeSet::new();
    for (region, sources) in by_region.into_iter().filter(|(region, _)| enabled.contains(region)) {
        match copies_there(context.ec2, &region, &sources).await {
            Ok(there) => {
                let found = copies::owed(&sources, &there, living, &region, rules);
                owed.extend(found.forgotten);
                owed.extend(found.tasks.into_iter().filter_map(|task| match task {
                    CopyTask::Copy { snapshot, .. } => Some(snapshot),
                    CopyTask::Retag { .. } => None,
                }));
            }
            Err(error) => {
                tracing::warn!(%region, %error, "its sources are kept: what it holds cannot be read");
                owed.extend(sources.into_iter().map(|source| source.id));
            }
        }
    }
    Ok(owed)
}

/// What of a destination may be a copy of these sources: a region holds too much to keep it all in memory.
async fn copies_there(ec2: &impl Ec2, region: &Region, sources: &[Snapshot]) -> Result<Vec<Snapshot>, Ec2Error> {
    let ids: BTreeSet<&SnapshotId> = sources.iter().map(|source| &source.id).collect();
    let mut there = Vec::new();
    ec2.each_snapshot(region, &Which::Automated, &mut |copy| {
        // One that does not name its source is of the earlier scripts, and may be of any.
        if SnapshotTags::read(&copy.tags).source_snapshot.is_none_or(|source| ids.contains(&source)) {
            there.push(copy);
        }
    })
    .await?;
    Ok(there)
}

/// The volumes that exist and are still backed up: attached to a tagged instance, or detached for the moment.
async fn living_volumes(ec2: &impl Ec2, instances: &[Instance]) -> Result<BTreeSet<VolumeId>, Failure> {
    // Those of an instance that is being terminated outlive it, or are gone at the next run.
    let tagged: BTreeSet<&InstanceId> =
        instances.iter().filter(|i| InstanceTags::read(&i.tags).0.wanted).map(|i| &i.id).collect();
    let mut volumes = BTreeSet::new();
    ec2.each_volume(&mut |volume| {
        if volume.attached_to.is_empty() || volume.attached_to.iter().any(|instance| tagged.contains(instance)) {
            volumes.insert(volume.id);
        }
    })
    .await?;
    Ok(volumes)
}
