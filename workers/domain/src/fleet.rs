//! What exists in EC2, in the words of this system.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, SnapshotId, VolumeId};

/// Tag keys and values, as EC2 has them: both are case-sensitive.
pub type Tags = BTreeMap<String, String>;

/// An instance that carries a `Backup` tag.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// The value of its `Backup` tag.
    pub backup: Option<String>,
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
    /// Its tags.
    pub tags: Tags,
}

impl Snapshot {
    /// Pending or completed: what can still be, or already is, a backup.
    pub fn is_live(&self) -> bool {
        matches!(self.state, SnapshotState::Pending | SnapshotState::Completed)
    }
}
