//! The names of the instances that have a volume: an operator knows these.

use std::collections::BTreeMap;

use super::problem::Named;
use crate::{
    fleet::{Fleet, Instance, Snapshot},
    ids::{InstanceId, VolumeId},
    tags::{InstanceTags, NAME, SnapshotTags},
};

/// The instances of a fleet, by their ids and by their volumes.
#[derive(Debug)]
pub struct Names<'a> {
    instances: BTreeMap<&'a InstanceId, &'a Instance>,
    by_volume: BTreeMap<&'a VolumeId, Vec<&'a Instance>>,
}

impl<'a> Names<'a> {
    pub fn of_fleet(fleet: &'a Fleet) -> Self {
        let mut by_volume: BTreeMap<&VolumeId, Vec<&Instance>> = BTreeMap::new();
        for instance in &fleet.instances {
            for attachment in &instance.volumes {
                by_volume.entry(&attachment.volume).or_default().push(instance);
            }
        }
        Self { instances: fleet.instances.iter().map(|i| (&i.id, i)).collect(), by_volume }
    }

    /// An instance; none where it is not known.
    pub fn of(&self, id: &InstanceId) -> Option<Named> {
        self.instances.get(id).copied().map(named)
    }

    /// The instances that a volume is attached to.
    pub fn having(&self, volume: &VolumeId) -> Vec<Named> {
        self.by_volume.get(volume).into_iter().flatten().copied().map(named).collect()
    }

    /// The instance of a snapshot or copy, from its tag; or else the instances that its volume is attached to.
    pub fn of_snapshot(&self, snapshot: &Snapshot) -> Vec<Named> {
        let read = SnapshotTags::read(&snapshot.tags);
        let Some(id) = read.source_instance else {
            return snapshot.volume.as_ref().map_or_else(Vec::new, |volume| self.having(volume));
        };
        let living = self.instances.get(&id).copied().map(named);
        // The snapshots of an instance that is gone still have its name.
        vec![living.unwrap_or_else(|| Named { name: snapshot.tags.get(NAME).cloned(), id })]
    }
}

fn named(instance: &Instance) -> Named {
    Named { id: instance.id.clone(), name: InstanceTags::read(&instance.tags).0.name }
}
