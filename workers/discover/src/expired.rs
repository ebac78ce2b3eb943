use std::collections::BTreeSet;

use domain::{
    contract::{ExpireTask, Expiring, Manifest, Run},
    copies::Living,
    error::{ErrorName, Failure},
    expiry::{Candidate, KeptSources, Scope, Verdict, breaker, verdicts},
    fleet::Instance,
    ids::{Region, VolumeId},
    ports::{Ec2, Storage, Which},
};
use serde_json::json;

use crate::{Context, lines};

/// Snapshots in one message: few enough to be deleted within a few seconds.
const BATCH: usize = 20;

/// Judges every snapshot of a region, and lists those to delete.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    Context { ec2, storage, settings, now }: &Context<'_, E, S>,
) -> Result<Manifest, Failure> {
    let home = ec2.regions().await?.home;
    let living = living_volumes(*ec2).await?;
    let mut kept = KeptSources::default();
    ec2.each_snapshot(&home, &Which::KeptForever, &mut |source| kept.note(&source)).await?;
    let mut candidates = Vec::new();
    ec2.each_snapshot(region, &Which::Own, &mut |snapshot| candidates.push(Candidate::from(&snapshot))).await?;

    let today = now.date_naive();
    let scope = Scope {
        home: &home,
        region,
        today,
        living: &living,
        minimum_kept: settings.minimum_kept,
        kept_sources: Some(&kept),
    };
    let judged = verdicts(&candidates, &scope);
    let explained: Vec<String> = candidates
        .iter()
        .zip(&judged)
        .map(|(c, verdict)| json!({"snapshot": c.id, "region": region, "verdict": verdict.to_string()}).to_string())
        .collect();
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

/// The volumes that exist and are still backed up: attached to a tagged instance, or detached for the moment.
async fn living_volumes(ec2: &impl Ec2) -> Result<BTreeSet<VolumeId>, Failure> {
    let mut instances: Vec<Instance> = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let living = Living::of(&instances);
    let mut volumes = BTreeSet::new();
    ec2.each_volume(&mut |volume| {
        if volume.attached_to.is_empty() || volume.attached_to.iter().any(|instance| living.has(instance)) {
            volumes.insert(volume.id);
        }
    })
    .await?;
    Ok(volumes)
}
