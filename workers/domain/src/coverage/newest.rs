//! What is kept of all backups while they are looked through: an account may have a hundred thousand.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::proven::{Bad, Proven};
use crate::{
    expiry::{Candidate, is_backup},
    fleet::{Snapshot, SnapshotState},
    ids::{Region, SnapshotId, VolumeId},
    proof::Proof,
};

/// A completed backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its id.
    pub snapshot: SnapshotId,
    /// When its data was taken.
    pub taken: DateTime<Utc>,
    /// Bytes of its volume, where EC2 tells them.
    pub full_size: Option<u64>,
}

/// What there is of a volume in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfVolume {
    /// The newest that no drill found bad.
    pub(super) newest: Option<Newest>,
    /// The newest that a drill found bad.
    pub(super) bad: Option<Box<Bad>>,
    /// What was proven last.
    pub(super) proven: Option<Box<Proven>>,
    /// When the data was taken of the newest that is proven.
    newest_proven: Option<DateTime<Utc>>,
    /// The day of the oldest.
    pub(super) first: Option<NaiveDate>,
}

impl OfVolume {
    fn note(&mut self, new: Newest, proof: Option<Proof>) {
        let day = new.taken.date_naive();
        self.first = Some(self.first.map_or(day, |first| first.min(day)));
        match proof {
            Some(Proof { on, level: None }) => {
                if self.bad.as_ref().is_none_or(|known| known.taken < new.taken) {
                    self.bad = Some(Box::new(Bad { snapshot: new.snapshot, taken: new.taken, on, is_newest: false }));
                }
                return;
            }
            Some(Proof { on, level: Some(level) }) => {
                self.newest_proven = self.newest_proven.max(Some(new.taken));
                if self.proven.as_ref().is_none_or(|known| (known.on, known.level) < (on, level)) {
                    self.proven = Some(Box::new(Proven { snapshot: new.snapshot.clone(), on, level }));
                }
            }
            None => {}
        }
        if self.newest.as_ref().is_none_or(|known| known.taken < new.taken) {
            self.newest = Some(new);
        }
    }

    /// The newest that was read, if it is bad: a newer one that is proven says that all is well again.
    pub(super) fn last_read_is_bad(&self) -> Option<Bad> {
        let bad = self.bad.as_ref().filter(|bad| self.newest_proven.is_none_or(|proven| proven < bad.taken))?;
        let is_newest = self.newest.as_ref().is_none_or(|newest| newest.taken < bad.taken);
        Some(Bad { is_newest, ..(**bad).clone() })
    }
}

/// The newest completed backup of each volume in each region that was looked at, and what is proven.
#[derive(Debug)]
pub struct NewestBackups {
    pub(super) home: Region,
    /// When the home region's snapshots were begun: the age of a copy is that of its source.
    begun: BTreeMap<SnapshotId, DateTime<Utc>>,
    of_regions: BTreeMap<Region, BTreeMap<VolumeId, OfVolume>>,
}

impl NewestBackups {
    /// Of none yet.
    pub fn new(home: Region) -> Self {
        Self { home, begun: BTreeMap::new(), of_regions: BTreeMap::new() }
    }

    /// Takes note that a region is looked at.
    pub fn note_region(&mut self, region: &Region) {
        self.of_regions.entry(region.clone()).or_default();
    }

    /// Takes note of a snapshot; those of the home region come first.
    pub fn note(&mut self, region: &Region, snapshot: &Snapshot) {
        let candidate = Candidate::from(snapshot);
        if candidate.state != SnapshotState::Completed || !is_backup(&candidate, region, &self.home) {
            return;
        }
        // A copy of no known day is no recovery point that could be relied on.
        let Some(taken) = candidate.taken(|source| self.begun.get(source).copied()) else { return };
        if candidate.tags.from_region.is_none() {
            self.begun.insert(candidate.id.clone(), taken);
        }
        let Some(volume) = candidate.volume else { return };
        let proof = candidate.proof;
        let new = Newest { snapshot: candidate.id, taken, full_size: candidate.full_size };
        let of_region = self.of_regions.entry(region.clone()).or_default();
        of_region.entry(volume).or_default().note(new, proof);
    }

    /// The regions that were looked at.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.of_regions.keys()
    }

    /// The newest of a volume in a region. One that a drill found bad is none.
    pub fn of(&self, region: &Region, volume: &VolumeId) -> Option<&Newest> {
        self.known(region, volume)?.newest.as_ref()
    }

    pub(super) fn known(&self, region: &Region, volume: &VolumeId) -> Option<&OfVolume> {
        self.of_regions.get(region)?.get(volume)
    }
}
