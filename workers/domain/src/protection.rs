//! Which volumes have a floor, so that their last backups stay, and which have backups, but no word.
//!
//! A missing tag never takes protection away: only `Backup=No` gives a floor up. A volume that exists, has backups and
//! has no word is a problem of the run: somebody took a tag away, or mistyped it.
//!
//! A volume's own word overrules its instance's. If several instances share a volume, one `Yes` is enough to back it up,
//! and all must say `No` to give its floor up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::{
    fleet::{Fleet, Instance, Snapshot, SnapshotState, Volume},
    ids::{InstanceId, SnapshotId, VolumeId},
    tags::{self, Backup, InstanceTags, SnapshotTags, TagProblem, backup_word},
};

/// The word of a volume: its own, or else the word of the instances that it is attached to.
///
/// A volume's own `Yes` neither asks for a backup (only an instance's does), nor gives the floor up.
pub fn word(volume: &Volume, instances: &[&Instance]) -> Option<Backup> {
    let (own, problems) = backup_word(&volume.tags);
    // Somebody meant something with a word that cannot be read, or with a key that looks like `Backup`.
    let says_something = own.is_some() || !problems.is_empty();
    match own {
        Some(Backup::Yes) | None => {}
        word => return word,
    }
    let mut words: Vec<Option<Backup>> = instances.iter().map(|i| backup_word(&i.tags).0).collect();
    // An instance that was not listed has no word.
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

/// The volumes of a fleet that have a floor: all except those whose word is `No`.
pub fn floor_volumes(fleet: &Fleet) -> BTreeSet<VolumeId> {
    let instances = by_id(fleet);
    let has_floor = |volume: &&Volume| word(volume, &having(volume, &instances)) != Some(Backup::No);
    fleet.volumes.iter().filter(has_floor).map(|volume| volume.id.clone()).collect()
}

/// A volume that exists and has backups, but no word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprotected {
    pub volume: VolumeId,
    /// The instances that it is attached to, each with its name.
    pub instances: Vec<(InstanceId, Option<String>)>,
    /// Tags that look like a word, and cannot be used.
    pub instead: Vec<TagProblem>,
    /// Its last completed backup in the home region, or else the last one begun.
    pub last: SnapshotId,
    /// The day of that backup.
    pub created_on: NaiveDate,
}

/// A volume that does not exist any more, but still has backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub volume: VolumeId,
    /// The name of its former instance.
    pub name: Option<String>,
    /// Its last completed backup in the home region, or else the last one begun.
    pub last: SnapshotId,
    /// When that backup is due.
    pub delete_on: NaiveDate,
}

/// The volumes that have backups in the home region, and no word, or do not exist any more.
///
/// `backups` are the automated snapshots of the home region. Copies, and snapshots without a readable `CreatedOn` and
/// `DeleteOn`, are ignored.
pub fn without_word<'a>(
    fleet: &Fleet,
    backups: impl IntoIterator<Item = &'a Snapshot>,
) -> (Vec<Unprotected>, Vec<Gone>) {
    let (volumes, instances) = (volumes_by_id(fleet), by_id(fleet));
    let (mut unprotected, mut gone) = (Vec::new(), Vec::new());
    for (id, last) in last_backups(backups) {
        let Some(volume) = volumes.get(id) else {
            // A backup with `KeepForever` stays.
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
        if last.all_kept_forever || !needs_word(volume, &having) {
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

/// The volumes that would be a problem of the run if they had backups: no other volume's backups say which are
/// unprotected.
pub fn volumes_without_word(fleet: &Fleet) -> BTreeSet<VolumeId> {
    let instances = by_id(fleet);
    let needing = |volume: &&Volume| needs_word(volume, &having(volume, &instances));
    fleet.volumes.iter().filter(needing).map(|volume| volume.id.clone()).collect()
}

/// How many living instances have no tag `Backup`, or one whose value is not allowed.
pub fn instances_without_word(fleet: &Fleet) -> usize {
    fleet.instances.iter().filter(|one| one.is_living() && backup_word(&one.tags).0.is_none()).count()
}

/// Whether somebody has to say a volume's word. Not where its instance is on its way out, and the volume with it.
fn needs_word(volume: &Volume, having: &[&Instance]) -> bool {
    let is_going = !having.is_empty() && having.iter().all(|instance| !instance.is_living());
    !is_going && word(volume, having).is_none()
}

struct Last<'a> {
    snapshot: &'a Snapshot,
    created_on: NaiveDate,
    delete_on: NaiveDate,
    kept_forever: bool,
    all_kept_forever: bool,
}

/// The newest backup of each volume. A completed one comes before all others.
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

pub fn by_id(fleet: &Fleet) -> BTreeMap<&InstanceId, &Instance> {
    fleet.instances.iter().map(|instance| (&instance.id, instance)).collect()
}

fn volumes_by_id(fleet: &Fleet) -> BTreeMap<&VolumeId, &Volume> {
    fleet.volumes.iter().map(|volume| (&volume.id, volume)).collect()
}

/// The instances that a volume is attached to.
pub fn having<'a>(volume: &Volume, instances: &BTreeMap<&InstanceId, &'a Instance>) -> Vec<&'a Instance> {
    volume.attached_to.iter().filter_map(|id| instances.get(id).copied()).collect()
}

#[cfg(test)]
mod tests;
