//! What exists in EC2, in the words of this system.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, Region, SnapshotId, VolumeId};

/// Tag keys and values, as EC2 has them: both are case-sensitive.
pub type Tags = BTreeMap<String, String>;

/// The regions of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// The region this stack is deployed in.
    pub home: Region,
    /// Those that can be used.
    pub enabled: BTreeSet<Region>,
    /// Those that exist and were not opted into.
    pub disabled: BTreeSet<Region>,
}

/// What exists in the home region, listed completely or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// The regions of the account.
    pub regions: Regions,
    /// All instances, with a `Backup` tag or without.
    pub instances: Vec<Instance>,
    /// All volumes, attached or not.
    pub volumes: Vec<Volume>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its state, as EC2 names it (`running`, `stopped`, `terminated`, …).
    pub state: String,
    /// Its tags.
    pub tags: Tags,
    /// The device of the boot volume, such as `/dev/xvda`.
    pub root_device: Option<String>,
    /// The EBS volumes that are attached; instance-store volumes are not among them.
    pub volumes: Vec<Attachment>,
}

impl Instance {
    /// Whether it is there to be backed up: what is being terminated is not.
    pub fn is_living(&self) -> bool {
        !["terminated", "shutting-down"].contains(&self.state.as_str())
    }
}

/// A volume at a device of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// Such as `/dev/sdf`.
    pub device: String,
    /// The volume.
    pub volume: VolumeId,
}

/// An EBS volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its tags.
    pub tags: Tags,
    /// The instances it is attached to: none, one, or several (Multi-Attach).
    pub attached_to: Vec<InstanceId>,
}

/// The state of a snapshot, reduced to what makes a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Being made.
    Pending,
    /// Whole: it can be restored, and copied.
    Completed,
    /// Failed: it will never be whole.
    Error,
    /// `recoverable` and `recovering`: in the Recycle Bin. Neither usable nor ours to judge.
    Other,
}

/// A snapshot or a copy of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it was made of; arbitrary for a copy (`CopySnapshot` documentation).
    pub volume: Option<VolumeId>,
    /// Its state.
    pub state: SnapshotState,
    /// When it was begun.
    pub started: DateTime<Utc>,
    /// Its description.
    pub description: String,
    /// Why it is in `error`.
    pub state_message: Option<String>,
    /// Bytes of all blocks that were written to its volume, not only of those that it stores; where EC2 tells it.
    pub full_size: Option<u64>,
    /// Its tags.
    pub tags: Tags,
}

impl Snapshot {
    /// Pending or completed: what can still be, or already is, a backup.
    pub fn is_live(&self) -> bool {
        matches!(self.state, SnapshotState::Pending | SnapshotState::Completed)
    }
}

/// What tells which of several snapshots counts.
pub trait Dated {
    /// Its state, when it was begun, its id.
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId);
}

impl Dated for Snapshot {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

/// The one that counts, of several snapshots of a volume in one run, or of several copies of one source.
///
/// It is the oldest that is pending or completed; of equal age, the one whose id comes first. Whether it is completed
/// already makes no difference, so that the answer does not change when an older one is completed later.
/// What is in `error` counts as nothing.
pub fn oldest_live<'a, T: Dated>(alike: impl IntoIterator<Item = &'a T>) -> Option<&'a T> {
    let is_live = |one: &&T| matches!(one.dated().0, SnapshotState::Pending | SnapshotState::Completed);
    alike.into_iter().filter(is_live).min_by_key(|one| (one.dated().1, one.dated().2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: &str, minute: u32, state: SnapshotState) -> Snapshot {
        Snapshot {
            id: id.parse().unwrap(),
            volume: None,
            state,
            started: format!("2026-11-22T03:{minute:02}:00Z").parse().unwrap(),
            description: String::new(),
            state_message: None,
            full_size: None,
            tags: Tags::new(),
        }
    }

    #[test]
    fn the_oldest_live_one_counts_in_whatever_order_they_are_listed() {
        use SnapshotState::{Completed, Error, Other, Pending};
        let alike = [
            snapshot("snap-5", 0, Error),
            snapshot("snap-4", 1, Other),
            snapshot("snap-3", 2, Pending),
            snapshot("snap-2", 3, Completed),
            snapshot("snap-1", 3, Completed),
        ];
        for first in 0..alike.len() {
            let shuffled = || alike.iter().cycle().skip(first).take(alike.len());
            assert_eq!(
                oldest_live(shuffled()).unwrap().id.as_str(),
                "snap-3",
                "pending, and older than what is completed"
            );
            let backwards: Vec<_> = shuffled().filter(|s| s.state == Completed).collect();
            assert_eq!(oldest_live(backwards.into_iter().rev()).unwrap().id.as_str(), "snap-1");
        }
        assert_eq!(oldest_live(&alike[..2]), None);
    }
}
