//! What is looked at before something is decided: by a run's discover, and by people who ask what a run would do.
//!
//! Whatever is read is read to the end: a list that could not be completed is an error, never a shorter list.
//! Nothing here changes anything.

mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    copies::{LiveInstances, is_source, promised},
    error::Ec2Error,
    fleet::{Fleet, Regions, Snapshot},
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
    let mut wanted = CopyRegions::new(fleet, plans);
    ec2.each_snapshot(&fleet.regions.home, &SnapshotFilter::Automated, &mut |snapshot| wanted.note(&snapshot)).await?;
    Ok(wanted.finish())
}

/// The regions that copies are wanted in, while the home region's snapshots are gone through.
pub struct CopyRegions<'a> {
    regions: &'a Regions,
    living: LiveInstances,
    wanted: BTreeSet<Region>,
    /// With how many snapshots are promised a copy there.
    disabled: BTreeMap<Region, usize>,
}

impl<'a> CopyRegions<'a> {
    /// Those that the tags of instances ask for.
    pub fn new(fleet: &'a Fleet, plans: &[InstancePlan]) -> Self {
        let wanted = plans.iter().flat_map(|plan| plan.copy_regions.iter().cloned()).collect();
        let living = LiveInstances::of(&fleet.instances, &fleet.regions);
        Self { regions: &fleet.regions, living, wanted, disabled: BTreeMap::new() }
    }

    /// Adds those that a snapshot of the home region asks for, or was promised.
    pub fn note(&mut self, snapshot: &Snapshot) {
        if !is_source(&SnapshotTags::read(&snapshot.tags)) {
            return;
        }
        let asked: BTreeSet<Region> =
            self.living.copy_regions(snapshot).into_iter().chain(promised(snapshot)).collect();
        for region in asked.iter().filter(|region| self.regions.disabled.contains(*region)) {
            *self.disabled.entry(region.clone()).or_default() += 1;
        }
        self.wanted.extend(asked);
    }

    /// The enabled ones, and what is promised where no copy can be made.
    pub fn finish(self) -> (BTreeSet<Region>, Vec<Rejection>) {
        let Self { regions, mut wanted, disabled, .. } = self;
        wanted.retain(|region| *region != regions.home && regions.enabled.contains(region));
        let rejections = disabled.into_iter().map(|(region, count)| {
            let many = if count == 1 { "1 snapshot is" } else { &format!("{count} snapshots are") };
            Rejection::new(&region, format!("{many} promised a copy there, and the region is not enabled"))
        });
        (wanted, rejections.collect())
    }
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
