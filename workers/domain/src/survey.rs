//! What is looked at before something is decided: by a run's discover, and by people who ask what a run would do.
//!
//! Whatever is read is read to the end: a list that could not be completed is an error, never a shorter list.
//! Nothing here changes anything.

mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    copies::{LiveInstances, is_source, promised},
    error::Ec2Error,
    fleet::{Fleet, Regions},
    ids::Region,
    policy::{InstancePlan, Rejection},
    ports::{Ec2, SnapshotFilter},
    settings::Settings,
    tags::SnapshotTags,
};

pub use sweep::{Judged, Stop, Sweep, judge, stop};

/// All instances and volumes of the home region, and the regions of the account.
pub async fn fleet(ec2: &impl Ec2) -> Result<Fleet, Ec2Error> {
    let regions = ec2.regions().await?;
    let (mut instances, mut volumes) = (Vec::new(), Vec::new());
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    ec2.each_volume(&mut |volume| volumes.push(volume)).await?;
    Ok(Fleet { regions, instances, volumes })
}

/// The enabled regions that tags, of instances or of snapshots, ask for copies in; and what is promised elsewhere.
pub async fn copy_regions(
    ec2: &impl Ec2,
    fleet: &Fleet,
    plans: &[InstancePlan],
) -> Result<(BTreeSet<Region>, Vec<Rejection>), Ec2Error> {
    let regions = &fleet.regions;
    let mut wanted: BTreeSet<Region> = plans.iter().flat_map(|plan| plan.copy_regions.iter().cloned()).collect();
    let living = LiveInstances::of(&fleet.instances);
    let mut disabled: BTreeMap<Region, usize> = BTreeMap::new();
    ec2.each_snapshot(&regions.home, &SnapshotFilter::Automated, &mut |snapshot| {
        if is_source(&SnapshotTags::read(&snapshot.tags)) {
            let asked: BTreeSet<Region> =
                living.copy_regions(&snapshot).into_iter().chain(promised(&snapshot)).collect();
            for region in asked.iter().filter(|region| regions.disabled.contains(*region)) {
                *disabled.entry(region.clone()).or_default() += 1;
            }
            wanted.extend(asked);
        }
    })
    .await?;
    wanted.retain(|region| *region != regions.home && regions.enabled.contains(region));
    let rejections = disabled.into_iter().map(|(region, count)| {
        let many = if count == 1 { "1 snapshot is" } else { &format!("{count} snapshots are") };
        Rejection::new(&region, format!("{many} promised a copy there, and the region is not enabled"))
    });
    Ok((wanted, rejections.collect()))
}

/// The regions that are swept for what has expired.
pub fn expire_regions(regions: &Regions, settings: &Settings) -> Vec<Region> {
    regions.enabled.iter().filter(|region| is_swept(region, settings)).cloned().collect()
}

/// Whether an enabled region is swept: `ExpireRegions` names it, or names none.
pub fn is_swept(region: &Region, settings: &Settings) -> bool {
    settings.expire_regions.is_empty() || settings.expire_regions.contains(region)
}

/// What of `ExpireRegions` would let copies pile up unnoticed; and the regions that may not be looked into, which is the
/// reason to leave them out.
pub async fn left_out(
    ec2: &impl Ec2,
    regions: &Regions,
    settings: &Settings,
) -> (Vec<Rejection>, Vec<(Region, Ec2Error)>) {
    let (given, mut rejections, mut closed) = (&settings.expire_regions, Vec::new(), Vec::new());
    if given.is_empty() {
        return (rejections, closed);
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
            Err(error) => closed.push((region.clone(), error)),
        }
    }
    (rejections, closed)
}

async fn copies_in(ec2: &impl Ec2, region: &Region, home: &Region) -> Result<usize, Ec2Error> {
    let mut count = 0;
    ec2.each_snapshot(region, &SnapshotFilter::CopiesFrom(home.clone()), &mut |_| count += 1).await?;
    Ok(count)
}
