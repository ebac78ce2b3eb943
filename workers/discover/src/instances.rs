use std::collections::{BTreeMap, BTreeSet};

use domain::{
    contract::{FleetFound, Run},
    copies::{Living, is_source, promised},
    error::Failure,
    ids::Region,
    policy,
    ports::{Ec2, Storage, Which},
    tags::SnapshotTags,
};

use crate::{Context, lines};

/// Plans the snapshots of the fleet, and finds the regions that the other phases are about.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    Context { ec2, storage, settings, .. }: &Context<'_, E, S>,
) -> Result<FleetFound, Failure> {
    let regions = ec2.regions().await?;
    let mut instances = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let mut volumes = BTreeMap::new();
    ec2.each_volume(&mut |volume| {
        volumes.insert(volume.id.clone(), volume);
    })
    .await?;
    let (plans, rejections) = policy::plan(&instances, &volumes, &regions, settings.default_retention);
    for rejection in &rejections {
        tracing::warn!(subject = rejection.subject, problem = rejection.problem, "rejected");
    }
    storage.write_manifest(run.key("rejected.jsonl"), lines(&rejections)?).await?;
    let manifest = storage.write_manifest(run.key("instances.jsonl"), lines(&plans)?).await?;

    let mut copy_regions: BTreeSet<Region> = BTreeSet::new();
    if run.phases.copy {
        copy_regions.extend(plans.iter().flat_map(|plan| plan.copy_regions.iter().cloned()));
        let living = Living::of(&instances);
        ec2.each_snapshot(&regions.home, &Which::Automated, &mut |snapshot| {
            if is_source(&SnapshotTags::read(&snapshot.tags)) {
                copy_regions.extend(living.copy_regions(&snapshot));
                copy_regions.extend(promised(&snapshot));
            }
        })
        .await?;
        copy_regions.retain(|region| *region != regions.home && regions.enabled.contains(region));
    }
    let swept = |region: &Region| settings.expire_regions.is_empty() || settings.expire_regions.contains(region);
    let expire_regions = match run.phases.expire {
        true => regions.enabled.into_iter().filter(swept).collect(),
        false => Vec::new(),
    };
    tracing::info!(run = run.id, instances = plans.len(), rejected = rejections.len(), "fleet discovered");
    Ok(FleetFound { manifest, copy_regions: copy_regions.into_iter().collect(), expire_regions })
}
