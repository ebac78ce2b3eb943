//! Instances, volumes and snapshots of EC2, in the words of this system.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, Region, SnapshotId, VolumeId};

/// Tag keys and values. EC2 distinguishes upper and lower case in both.
pub type Tags = BTreeMap<String, String>;

/// The regions of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// The region this stack is deployed in.
    pub home: Region,
    pub enabled: BTreeSet<Region>,
    /// Regions that exist, and that the account has not opted into.
    pub disabled: BTreeSet<Region>,
}

/// All instances and volumes of the home region. A list is complete, or there is no list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    pub regions: Regions,
    /// All instances, with a `Backup` tag or without.
    pub instances: Vec<Instance>,
    /// All volumes, attached or not.
    pub volumes: Vec<Volume>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: InstanceId,
    /// The name of the state in EC2 (`running`, `stopped`, `terminated`, …).
    pub state: String,
    pub tags: Tags,
    /// The device of the boot volume, such as `/dev/xvda`.
    pub root_device: Option<String>,
    /// The attached EBS volumes; instance-store volumes are not among them.
    pub volumes: Vec<Attachment>,
    /// Those of its volumes that are deleted when it is terminated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted_with_it: Vec<VolumeId>,
    #[serde(default, skip_serializing_if = "InstanceAs::is_unknown")]
    pub launched_as: InstanceAs,
}

impl Instance {
    /// An instance of which nothing else is known.
    pub fn new(id: InstanceId, state: &str) -> Self {
        Self {
            id,
            state: state.into(),
            tags: Tags::new(),
            root_device: None,
            volumes: Vec::new(),
            deleted_with_it: Vec::new(),
            launched_as: InstanceAs::default(),
        }
    }

    /// Whether it is neither terminated nor being terminated.
    pub fn is_living(&self) -> bool {
        is_living(&self.state)
    }
}

/// What an instance was launched as, as far as EC2 tells it: with this, another one can be launched like it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceAs {
    /// The id of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Such as `m5.large`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The name of its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Such as `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// How it did boot (`uefi` or `legacy-bios`); where EC2 does not tell that, the mode that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The ids of the security groups of its first network interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// The name of its key pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
}

impl InstanceAs {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether an instance in this state is neither terminated nor being terminated.
pub fn is_living(state: &str) -> bool {
    !["terminated", "shutting-down"].contains(&state)
}

/// A volume at a device of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// Such as `/dev/sdf`.
    pub device: String,
    pub volume: VolumeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    pub id: VolumeId,
    pub tags: Tags,
    /// None, one, or several (Multi-Attach).
    pub attached_to: Vec<InstanceId>,
    /// Its type, such as `gp3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// MiB a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gib: Option<u32>,
}

impl Volume {
    /// A volume of which nothing else is known.
    pub fn new(id: VolumeId) -> Self {
        let (tags, attached_to) = (Tags::new(), Vec::new());
        Self { id, tags, attached_to, kind: None, iops: None, throughput: None, gib: None }
    }
}

/// The states of a snapshot that this system distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    Pending,
    /// It can be restored and copied.
    Completed,
    /// It failed, and will never be completed.
    Error,
    /// `recoverable` or `recovering`: it is in the Recycle Bin, and neither a backup nor deleted by this system.
    Other,
}

/// A snapshot, or a copy of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// For a copy the volume is arbitrary (`CopySnapshot` documentation).
    pub volume: Option<VolumeId>,
    pub state: SnapshotState,
    pub started: DateTime<Utc>,
    /// When it was completed; where EC2 tells it.
    pub completed: Option<DateTime<Utc>>,
    pub description: String,
    /// Why it is in `error`.
    pub state_message: Option<String>,
    /// Bytes of all blocks that were written to its volume, not only of those that it stores; where EC2 tells it.
    pub full_size: Option<u64>,
    pub stored: StoredAs,
    pub tags: Tags,
}

/// How a snapshot is stored, as far as EC2 tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAs {
    /// GiB of a volume that is made from it.
    pub gib: Option<u32>,
    /// The ARN of the key that it is encrypted with.
    pub kms_key: Option<Box<str>>,
    /// Whether it is in the archive tier: it can be neither read nor restored there.
    pub archived: bool,
}

impl Snapshot {
    /// Whether it is a backup, or can become one: pending or completed.
    pub fn is_live(&self) -> bool {
        matches!(self.state, SnapshotState::Pending | SnapshotState::Completed)
    }
}

/// The values that decide which of several snapshots counts.
pub trait Dated {
    /// The state, the start and the id.
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId);
}

impl Dated for Snapshot {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

/// The one that counts, of several snapshots of a volume in one run, or of several copies of a source.
///
/// It is the oldest that is pending or completed; of equal age, the one with the lowest id. A completed one is not
/// preferred, so that the answer does not change when an older one completes later. One in `error` never counts.
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
            completed: None,
            full_size: None,
            stored: StoredAs::default(),
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_list_of_an_earlier_version_is_read() {
        let fleet: Fleet = serde_json::from_str(
            r#"{"regions": {"home": "eu-west-1", "enabled": ["eu-west-1"], "disabled": []},
                "instances": [{"id": "i-1", "state": "running", "tags": {}, "rootDevice": null, "volumes": []}],
                "volumes": [{"id": "vol-1", "tags": {}, "attachedTo": ["i-1"]}]}"#,
        )
        .unwrap();
        assert_eq!(fleet.instances[0], Instance::new("i-1".parse().unwrap(), "running"));
        assert_eq!((fleet.volumes[0].kind.as_deref(), fleet.volumes[0].gib), (None, None));
        let written = serde_json::to_string(&fleet).unwrap();
        assert!(
            !written.contains("launchedAs") && !written.contains("iops"),
            "what is unknown takes no room: {written}"
        );
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
