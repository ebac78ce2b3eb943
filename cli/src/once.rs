//! EC2 for a command that looks at the same snapshots again and again: each region is read once.
//!
//! A page of a thousand snapshots takes EC2 about a second, whatever the filter: with a page size, it makes the pages
//! first. What is decided of a region's snapshots needs the home region's and a destination's several times.

mod packed;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use domain::{
    error::{Ec2Error, NOT_SENT},
    expiry::Holders,
    fleet::{Attachment, Instance, Regions, Snapshot, Tags, Volume},
    ids::{Region, SnapshotId, VolumeId},
    ports::{CopyOrder, CreateSet, Created, Ec2, SnapshotFilter},
};

use packed::Packed;

/// EC2, of which every region's snapshots are read once, and nothing is changed.
pub struct Once<'a, E> {
    ec2: &'a E,
    read: RefCell<BTreeMap<Region, Rc<Packed>>>,
}

impl<'a, E: Ec2> Once<'a, E> {
    /// Nothing is read yet.
    pub fn new(ec2: &'a E) -> Self {
        Self { ec2, read: RefCell::default() }
    }

    /// How many snapshots a region has; reads it, if it was not read yet.
    ///
    /// # Errors
    ///
    /// What EC2 says instead of the snapshots.
    pub async fn count(&self, region: &Region) -> Result<usize, Ec2Error> {
        self.all(region).await.map(|all| all.count())
    }

    /// All snapshots of a region. One that could not be read to its end is read again the next time.
    async fn all(&self, region: &Region) -> Result<Rc<Packed>, Ec2Error> {
        if let Some(known) = self.read.borrow().get(region) {
            return Ok(known.clone());
        }
        let mut all = Packed::default();
        self.ec2.each_snapshot(region, &SnapshotFilter::Own, &mut |snapshot| all.push(&snapshot)).await?;
        let all = Rc::new(all);
        self.read.borrow_mut().insert(region.clone(), all.clone());
        Ok(all)
    }
}

impl<E: Ec2> Ec2 for Once<'_, E> {
    async fn regions(&self) -> Result<Regions, Ec2Error> {
        self.ec2.regions().await
    }

    async fn each_instance(&self, visit: &mut dyn FnMut(Instance)) -> Result<(), Ec2Error> {
        self.ec2.each_instance(visit).await
    }

    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error> {
        self.ec2.each_volume(visit).await
    }

    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error> {
        self.ec2.volumes(ids).await
    }

    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error> {
        self.ec2.holders(region).await
    }

    async fn needed_by_restores(&self, region: &Region) -> Result<Holders, Ec2Error> {
        self.ec2.needed_by_restores(region).await
    }

    async fn each_snapshot(
        &self,
        region: &Region,
        which: &SnapshotFilter,
        visit: &mut dyn FnMut(Snapshot),
    ) -> Result<(), Ec2Error> {
        self.all(region).await?.each(which, visit);
        Ok(())
    }

    async fn create_set(&self, _: &CreateSet<'_>) -> Result<Vec<Created>, Ec2Error> {
        Err(refused("CreateSnapshots"))
    }

    async fn create_one(&self, _: &Attachment, _: &str, _: &Tags) -> Result<SnapshotId, Ec2Error> {
        Err(refused("CreateSnapshot"))
    }

    async fn copy(&self, _: &CopyOrder<'_>) -> Result<SnapshotId, Ec2Error> {
        Err(refused("CopySnapshot"))
    }

    async fn delete(&self, _: &Region, _: &SnapshotId) -> Result<(), Ec2Error> {
        Err(refused("DeleteSnapshot"))
    }

    async fn keep_forever(&self, _: &Region, _: &SnapshotId, _: &str) -> Result<(), Ec2Error> {
        Err(refused("CreateTags"))
    }

    async fn set_tags(&self, _: &Region, _: &[SnapshotId], _: &Tags) -> Result<(), Ec2Error> {
        Err(refused("CreateTags"))
    }
}

/// Who looks changes nothing.
fn refused(action: &'static str) -> Ec2Error {
    Ec2Error {
        action,
        region: String::new(),
        code: NOT_SENT.into(),
        message: "a command that looks changes nothing".into(),
    }
}
