use std::collections::BTreeSet;

use domain::{
    contract::FleetFound,
    error::Failure,
    policy,
    ports::{Ec2, Storage},
    run::Run,
    run_files, survey,
};

use crate::{context::Context, fleet};

/// Plans the snapshots of the fleet, and finds the regions of the other phases.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    Context { ec2, storage, settings, .. }: &Context<'_, E, S>,
) -> Result<FleetFound, Failure> {
    let fleet = fleet::list(run, run_files::FLEET, *ec2, *storage).await?;
    let regions = &fleet.regions;
    let (plans, mut rejections) = policy::plan(&fleet, settings.default_retention, &settings.hook_documents);

    let mut copy_regions = BTreeSet::new();
    if run.phases.copy {
        let (wanted, promised_elsewhere) = survey::copy_regions(*ec2, &fleet, &plans).await?;
        copy_regions = wanted;
        rejections.extend(promised_elsewhere);
    }
    let mut expire_regions = Vec::new();
    if run.phases.expire {
        expire_regions = survey::expire_regions(regions, settings);
        let (left_out, closed) = survey::left_out(*ec2, regions, settings).await;
        rejections.extend(left_out);
        for (region, error) in closed {
            tracing::info!(%region, %error, "left out of ExpireRegions, and not looked into");
        }
    }
    for rejection in &rejections {
        tracing::warn!(subject = rejection.subject, problem = rejection.problem, "rejected");
    }
    run_files::write_lines(*storage, run, run_files::REJECTED, &rejections).await?;
    // Apart, so that what has no hook pays nothing for those that have one.
    let (hooked, unhooked): (Vec<_>, Vec<_>) = plans.iter().partition(|plan| plan.hook.is_some());
    let manifest = run_files::write_lines(*storage, run, run_files::INSTANCES, unhooked).await?;
    let hooked = Some(run_files::write_lines(*storage, run, run_files::HOOKED, hooked).await?);
    tracing::info!(run = run.id, instances = plans.len(), rejected = rejections.len(), "fleet discovered");
    Ok(FleetFound { manifest, hooked, copy_regions: copy_regions.into_iter().collect(), expire_regions })
}
