//! A drill: which snapshots are read to prove them, how much of each, and what came of it.
//!
//! | state | worker | gets | answers |
//! |---|---|---|---|
//! | `VerifySnapshots` / `Verify` | verify | [`VerifyTask`] | [`Verified`] |
#![warn(missing_docs)]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::ErrorName,
    ids::{Region, SnapshotId, VolumeId},
    proof::Level,
};

/// The task of the verify worker: one snapshot or copy to read, and a line of a drill's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyTask {
    /// The drill's id, as that of a run: `20261122T030000Z`.
    #[serde(rename = "run")]
    pub drill_id: String,
    /// Where the drill's files are, in the report bucket: `drills/DRILL/EXECUTION`.
    pub folder: String,
    /// The region of the snapshot.
    pub region: Region,
    /// The snapshot or copy.
    pub snapshot: SnapshotId,
    /// The volume that it is a backup of.
    pub volume: VolumeId,
    /// When its data was taken, as far as it is known.
    pub taken: DateTime<Utc>,
    /// How much is to be read.
    pub level: Level,
    /// Of a copy, its source, where that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Size of the volume, in GiB.
    pub volume_gib: u32,
    /// Bytes of all blocks that were written to the volume, where EC2 tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_size: Option<u64>,
    /// The key that it is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// The dump inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpPlace>,
    /// Blocks that may be read of it, at most.
    pub max_blocks: u64,
    /// Where to go on: a long list of blocks is read by several messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// The source of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Source {
    pub region: Region,
    pub snapshot: SnapshotId,
}

/// A dump inside a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpPlace {
    /// Its file, within the file system of the volume.
    pub path: String,
    /// The SHA-256 that it has to have, in hexadecimal.
    pub sha256: String,
}

/// How far a list of blocks was read, in earlier messages of the same task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// EBS's token of the next page; it is good for seven days.
    pub next: String,
    /// Blocks that were listed.
    pub listed: u64,
    /// Calls that it took.
    pub calls: u64,
    /// Of the blocks listed so far, those that are to be read: their indices. So many at most as are probed.
    #[serde(default)]
    pub sampled: Vec<u32>,
}

/// The result of the verify worker, and a record in the report bucket that outlives the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// What was read.
    pub region: Region,
    /// The snapshot or copy.
    pub snapshot: SnapshotId,
    /// The volume that it is a backup of.
    pub volume: VolumeId,
    /// When its data was taken.
    pub taken: DateTime<Utc>,
    /// When it was read.
    pub at: DateTime<Utc>,
    /// What is proven; none where it has failed.
    pub level: Option<Level>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Finding>,
    /// Whether that is for certain, so that the snapshot is marked as bad: a block that is wrong or cannot be
    /// decrypted, and not a service that does not answer.
    pub marked: bool,
    /// What was found on it: partition tables and file systems, in words.
    pub found: Vec<String>,
    /// What is no failure, and worth to be told: unrecognised, unproven, a number of blocks that is not as expected.
    pub notes: Vec<String>,
    /// Pages of block lists that were asked for.
    pub list_calls: u64,
    /// Blocks that were read.
    pub blocks_read: u64,
    /// Blocks that the snapshot has.
    pub blocks_listed: u64,
}

/// Why a snapshot is not proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Finding {
    pub error: ErrorName,
    /// What was expected, and what was found.
    pub cause: String,
}
