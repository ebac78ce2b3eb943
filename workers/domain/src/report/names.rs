//! Who has which volume, so that a problem can be told with the instance that an operator knows.

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
    /// Those of a fleet.
    pub fn of(fleet: &'a Fleet) -> Self {
        let mut by_volume: BTreeMap<&VolumeId, Vec<&Instance>> = BTreeMap::new();
        for instance in &fleet.instances {
            for attachment in &instance.volumes {
                by_volume.entry(&attachment.volume).or_default().push(instance);
            }
        }
        Self { instances: fleet.instances.iter().map(|i| (&i.id, i)).collect(), by_volume }
    }

    /// The instances that have a volume.
    pub fn having(&self, volume: &VolumeId) -> Vec<Named> {
        self.by_volume.get(volume).into_iter().flatten().copied().map(named).collect()
    }

    /// The instance that a snapshot of the home region, or a copy, is of; those that have its volume if it does not say.
    pub fn of_snapshot(&self, snapshot: &Snapshot) -> Vec<Named> {
        let read = SnapshotTags::read(&snapshot.tags);
        let Some(id) = read.source_instance else {
            return snapshot.volume.as_ref().map_or_else(Vec::new, |volume| self.having(volume));
        };
        let living = self.instances.get(&id).copied().map(named);
        // What is gone has left its name on its snapshots.
        vec![living.unwrap_or_else(|| Named { name: snapshot.tags.get(NAME).cloned(), id })]
    }
}

fn named(instance: &Instance) -> Named {
    Named { id: instance.id.clone(), name: InstanceTags::read(&instance.tags).0.name }
}
