use std::collections::BTreeSet;

use domain::{
    contract::FleetFound,
    error::Failure,
    message::Subject,
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
            tracing::info!(run = run.id, %region, error = %error.name(), cause = %error, "left out of ExpireRegions, and not looked into");
        }
    }
    for rejection in &rejections {
        let Subject { instance, volume, snapshot, region, .. } = Subject::named(&rejection.subject);
        let (subject, cause) = (&rejection.subject, &rejection.problem);
        tracing::warn!(
            run = run.id,
            instance,
            volume,
            snapshot,
            region,
            subject,
            outcome = "rejected",
            cause,
            "rejected"
        );
    }
    for plan in &plans {
        let volumes: Vec<&str> = plan.volumes.iter().map(|attached| attached.volume.as_str()).collect();
        let (instance, volume) = (plan.instance.as_str(), volumes.join(" "));
        let document = plan.hook.as_ref().map(|hook| hook.document.as_str());
        tracing::info!(run = run.id, instance, volume, document, outcome = "planned", "to be snapshotted");
    }
    run_files::write_lines(*storage, run, run_files::REJECTED, &rejections).await?;
    // Apart, so that what has no hook pays nothing for those that have one.
    let (hooked, unhooked): (Vec<_>, Vec<_>) = plans.iter().partition(|plan| plan.hook.is_some());
    let manifest = run_files::write_lines(*storage, run, run_files::INSTANCES, unhooked).await?;
    let hooked = Some(run_files::write_lines(*storage, run, run_files::HOOKED, hooked).await?);
    let (planned, rejected) = (plans.len(), rejections.len());
    tracing::info!(run = run.id, outcome = "listed", planned, rejected, "the fleet is listed");
    Ok(FleetFound { manifest, hooked, copy_regions: copy_regions.into_iter().collect(), expire_regions })
}
