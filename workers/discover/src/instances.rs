use std::collections::{BTreeMap, BTreeSet};

use domain::{
    contract::FleetFound,
    copies::{LiveInstances, is_source, promised},
    error::{Ec2Error, Failure},
    fleet::Regions,
    ids::Region,
    policy::{self, Rejection},
    ports::{Ec2, SnapshotFilter, Storage},
    run::Run,
    run_files,
    settings::Settings,
    tags::SnapshotTags,
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

    let mut copy_regions: BTreeSet<Region> = BTreeSet::new();
    if run.phases.copy {
        copy_regions.extend(plans.iter().flat_map(|plan| plan.copy_regions.iter().cloned()));
        let living = LiveInstances::of(&fleet.instances);
        let mut disabled: BTreeMap<Region, usize> = BTreeMap::new();
        ec2.each_snapshot(&regions.home, &SnapshotFilter::Automated, &mut |snapshot| {
            if is_source(&SnapshotTags::read(&snapshot.tags)) {
                let asked: BTreeSet<Region> =
                    living.copy_regions(&snapshot).into_iter().chain(promised(&snapshot)).collect();
                for region in asked.iter().filter(|region| regions.disabled.contains(*region)) {
                    *disabled.entry(region.clone()).or_default() += 1;
                }
                copy_regions.extend(asked);
            }
        })
        .await?;
        copy_regions.retain(|region| *region != regions.home && regions.enabled.contains(region));
        rejections.extend(disabled.into_iter().map(|(region, count)| {
            let many = if count == 1 { "1 snapshot is" } else { &format!("{count} snapshots are") };
            Rejection::new(&region, format!("{many} promised a copy there, and the region is not enabled"))
        }));
    }
    let mut expire_regions = Vec::new();
    if run.phases.expire {
        let swept = |region: &Region| settings.expire_regions.is_empty() || settings.expire_regions.contains(region);
        expire_regions.extend(regions.enabled.iter().filter(|region| swept(region)).cloned());
        rejections.extend(left_out(*ec2, regions, settings).await);
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

/// The problems of `ExpireRegions`: regions that cannot be used, and regions whose copies would never expire.
async fn left_out(ec2: &impl Ec2, regions: &Regions, settings: &Settings) -> Vec<Rejection> {
    let (given, mut rejections) = (&settings.expire_regions, Vec::new());
    if given.is_empty() {
        return rejections;
    }
    for region in given.iter().filter(|region| !regions.enabled.contains(region)) {
        let problem = format!("{region} is not an enabled region of the account: allowed are those that are");
        rejections.push(Rejection::new("ExpireRegions", problem));
    }
    for region in regions.enabled.iter().filter(|region| !given.contains(region)) {
        match copies_in(ec2, region, &regions.home).await {
            Ok(0) => {}
            Ok(count) => {
                let problem =
                    format!("{region} holds {count} of the copies, and is not listed: none of them ever expires");
                rejections.push(Rejection::new("ExpireRegions", problem));
            }
            // A region that may not be read is the reason not to list it.
            Err(error) => tracing::info!(%region, %error, "the region is not in ExpireRegions, and cannot be read"),
        }
    }
    rejections
}

async fn copies_in(ec2: &impl Ec2, region: &Region, home: &Region) -> Result<usize, Ec2Error> {
    let mut count = 0;
    ec2.each_snapshot(region, &SnapshotFilter::CopiesFrom(home.clone()), &mut |_| count += 1).await?;
    Ok(count)
}
