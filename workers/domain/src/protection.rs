//! Which volumes have a floor, so that their last backups stay, and which have backups that nothing speaks of.
//!
//! Absence is not a wish: what is merely not there asks for nothing. Only `Backup=No` gives a floor up. A volume that
//! exists, has backups, and has no word at all is a problem of the run: somebody took a tag away, or mistyped it.
//!
//! A volume's own word beats its instance's. Of several instances that share a volume, one `Yes` is enough to back it
//! up, and all must say `No` to give its floor up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::{
    fleet::{Fleet, Instance, Snapshot, SnapshotState, Volume},
    ids::{InstanceId, SnapshotId, VolumeId},
    tags::{self, Backup, InstanceTags, SnapshotTags, TagProblem, backup_word},
};

/// What is said of a volume, by its own `Backup` tag, else by those of the instances that have it.
///
/// A volume's own `Yes` asks for nothing: an instance has to say it. It gives nothing up either.
pub fn word(volume: &Volume, instances: &[&Instance]) -> Option<Backup> {
    let (own, problems) = backup_word(&volume.tags);
    // A word that cannot be read, or stands under a key that looks like ours, was meant for something.
    let says_something = own.is_some() || !problems.is_empty();
    match own {
        Some(Backup::Yes) | None => {}
        word => return word,
    }
    let mut words: Vec<Option<Backup>> = instances.iter().map(|i| backup_word(&i.tags).0).collect();
    // An instance that has the volume and was not listed has said nothing.
    words.resize(volume.attached_to.len().max(words.len()), None);
    if words.contains(&Some(Backup::Yes)) {
        Some(Backup::Yes)
    } else if words.contains(&Some(Backup::Hold)) {
        Some(Backup::Hold)
    } else if !says_something && !words.is_empty() && words.iter().all(|word| *word == Some(Backup::No)) {
        Some(Backup::No)
    } else {
        None
    }
}

/// The volumes of a fleet that have a floor: all that exist, unless `Backup=No` gives it up.
pub fn floor_volumes(fleet: &Fleet) -> BTreeSet<VolumeId> {
    let instances = by_id(fleet);
    let has_floor = |volume: &&Volume| word(volume, &having(volume, &instances)) != Some(Backup::No);
    fleet.volumes.iter().filter(has_floor).map(|volume| volume.id.clone()).collect()
}

/// A volume that exists and has backups, and of which no tag says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// The volume.
    pub volume: VolumeId,
    /// The instances that have it, each with its name.
    pub instances: Vec<(InstanceId, Option<String>)>,
    /// What is written in place of a word, where that is so.
    pub instead: Vec<TagProblem>,
    /// Its last completed backup in the home region, else the last one begun.
    pub last: SnapshotId,
    /// The day of that backup.
    pub created_on: NaiveDate,
}

/// A volume that does not exist any more, and whose last backup is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The volume.
    pub volume: VolumeId,
    /// The name of the instance it was of.
    pub name: Option<String>,
    /// Its last completed backup in the home region, else the last one begun.
    pub last: SnapshotId,
    /// The first day on which that is no longer wanted.
    pub delete_on: NaiveDate,
}

/// What the backups of the home region say of its volumes, by volume.
///
/// `backups` are the automated snapshots of the home region; copies, and what has no readable `CreatedOn` and
/// `DeleteOn`, are passed over.
pub fn without_word<'a>(
    fleet: &Fleet,
    backups: impl IntoIterator<Item = &'a Snapshot>,
) -> (Vec<Unprotected>, Vec<Gone>) {
    let (volumes, instances) = (volumes_by_id(fleet), by_id(fleet));
    let (mut unprotected, mut gone) = (Vec::new(), Vec::new());
    for (id, last) in last_backups(backups) {
        let Some(volume) = volumes.get(id) else {
            // One that is kept for ever does not go.
            if !last.kept_forever {
                gone.push(Gone {
                    volume: id.clone(),
                    name: last.snapshot.tags.get(tags::NAME).cloned(),
                    last: last.snapshot.id.clone(),
                    delete_on: last.delete_on,
                });
            }
            continue;
        };
        let having = having(volume, &instances);
        let is_going = !having.is_empty() && having.iter().all(|instance| !instance.is_living());
        if last.all_kept_forever || is_going || word(volume, &having).is_some() {
            continue;
        }
        let own = backup_word(&volume.tags).1;
        unprotected.push(Unprotected {
            volume: id.clone(),
            instances: having.iter().map(|i| (i.id.clone(), InstanceTags::read(&i.tags).0.name)).collect(),
            instead: own.into_iter().chain(having.iter().flat_map(|i| backup_word(&i.tags).1)).collect(),
            last: last.snapshot.id.clone(),
            created_on: last.created_on,
        });
    }
    (unprotected, gone)
}

struct Last<'a> {
    snapshot: &'a Snapshot,
    created_on: NaiveDate,
    delete_on: NaiveDate,
    kept_forever: bool,
    all_kept_forever: bool,
}

/// The newest backup of each volume; one that is completed comes before those that are not.
fn last_backups<'a>(backups: impl IntoIterator<Item = &'a Snapshot>) -> BTreeMap<&'a VolumeId, Last<'a>> {
    let mut last: BTreeMap<&VolumeId, Last<'_>> = BTreeMap::new();
    for snapshot in backups.into_iter().filter(|s| s.is_live()) {
        let read = SnapshotTags::read(&snapshot.tags);
        let (Some(volume), Some(created_on), Some(delete_on)) = (&snapshot.volume, read.created_on, read.delete_on)
        else {
            continue;
        };
        if !read.automated || read.from_region.is_some() {
            continue;
        }
        let kept_forever = read.keep_forever;
        let new = Last { snapshot, created_on, delete_on, kept_forever, all_kept_forever: kept_forever };
        match last.get_mut(volume) {
            None => _ = last.insert(volume, new),
            Some(known) => {
                let age = |s: &Snapshot| (s.state == SnapshotState::Completed, s.started, s.id.clone());
                let all_kept_forever = known.all_kept_forever && kept_forever;
                if age(snapshot) > age(known.snapshot) {
                    *known = new;
                }
                known.all_kept_forever = all_kept_forever;
            }
        }
    }
    last
}

/// The instances of a fleet by their ids.
pub fn by_id(fleet: &Fleet) -> BTreeMap<&InstanceId, &Instance> {
    fleet.instances.iter().map(|instance| (&instance.id, instance)).collect()
}

fn volumes_by_id(fleet: &Fleet) -> BTreeMap<&VolumeId, &Volume> {
    fleet.volumes.iter().map(|volume| (&volume.id, volume)).collect()
}

/// The instances that have a volume.
pub fn having<'a>(volume: &Volume, instances: &BTreeMap<&InstanceId, &'a Instance>) -> Vec<&'a Instance> {
    volume.attached_to.iter().filter_map(|id| instances.get(id).copied()).collect()
}

#[cfg(test)]
mod tests;
