//! A drill: which snapshots are read to prove them, how much of each, and what came of it.
//!
//! | state | worker | gets | answers |
//! |---|---|---|---|
//! | `VerifySnapshots` / `Verify` | verify | [`VerifyTask`] | [`Verified`] |
#![warn(missing_docs)]

pub mod order;
pub mod parameters;
pub mod plan;
pub mod report;
mod sampling;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{BLOCK_BYTES, BLOCKS_PER_PAGE, BLOCKS_PER_SMALL_PAGE},
    disk::Layout,
    error::ErrorName,
    ids::{Region, SnapshotId, VolumeId},
    proof::Level,
};

pub use sampling::{FIRST_BLOCKS, RANDOM_BLOCKS, Seed, keep_sampled};

/// The task of the verify worker: one snapshot or copy to read, and a line of a drill's manifest.
///
/// It says everything that the worker goes by: the worker reads no parameter of the drill itself.
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
    /// Where that is less than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered: Option<Lowered>,
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
    /// Where to go on; none in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl VerifyTask {
    /// The key of its record in the report bucket, a [`Verified`].
    pub fn record_key(&self) -> String {
        format!("{}/results/{}-{}.json", self.folder, self.region, self.snapshot)
    }
}

/// Why less is read of a backup than was asked for: that alone would take more blocks than its region has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lowered {
    /// What was asked for.
    pub from: Level,
    /// The blocks that it would take.
    pub blocks: u64,
    /// The blocks that may be read in the region.
    pub share: u64,
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
#[serde(rename_all = "camelCase")]
pub struct DumpPlace {
    /// Its file, within the file system of the volume.
    pub path: String,
    /// The SHA-256 that it has to have, in hexadecimal.
    pub sha256: String,
    /// A larger one is not read, and not proven; `DrillMaxDumpGiB`.
    pub max_gib: u32,
}

/// How far a task has come in earlier messages: what is long is read by several of them.
///
/// Whoever plans a task leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cursor {
    /// EBS's token of the next page of the block list; it is good for an hour (EBS user guide, "FAQ" of the direct
    /// APIs). None before the first page, and after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The index from which the list goes on where EBS does not know that token any more: indices only grow (the same
    /// page).
    pub from: u32,
    /// Whether the list was read to its end.
    pub ended: bool,
    /// Blocks that were listed.
    pub listed: u64,
    /// Lists that were asked for, those of single blocks included.
    pub list_calls: u64,
    /// How often EBS did not know a token of the list any more.
    pub lost_tokens: u32,
    /// The first blocks of the list, and some at random: their indices. At most [`FIRST_BLOCKS`] and [`RANDOM_BLOCKS`].
    pub first: Vec<u32>,
    /// See `first`.
    pub sampled: Vec<u32>,
    /// How many of both were read and are as EBS says.
    pub probed: usize,
    /// Partition tables and file systems, as far as they were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// How many of both were the same in the source of a copy.
    pub compared: usize,
    /// Whether that source cannot be read.
    pub uncompared: bool,
    /// How far the dump was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpCursor>,
    /// Blocks that were read.
    pub blocks_read: u64,
    /// How often in a row something did not answer, and nothing was gained.
    pub unanswered: u32,
    /// What is no failure, and worth to be told.
    pub notes: Vec<String>,
    /// What of the order cannot be done now, and could be by another drill.
    pub missing: Vec<String>,
}

impl Cursor {
    /// Whether more was read than at another time of the same task.
    pub fn is_beyond(&self, earlier: &Self) -> bool {
        let place = |cursor: &Self| {
            let dump = cursor.dump.as_ref().map(|dump| (dump.place, dump.read));
            let layout = cursor.layout.as_ref().map(|layout| layout.places.len());
            (cursor.listed, cursor.ended, layout, cursor.probed, cursor.compared, dump)
        };
        place(self) != place(earlier)
    }
}

/// How far a dump was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DumpCursor {
    /// The file system that is read, by its place among those of ext4.
    pub place: usize,
    /// What those before it were: without the file, with another one, and not to be read, in words.
    pub empty: Vec<String>,
    /// See `empty`.
    pub wrong: Vec<String>,
    /// See `empty`.
    pub doubts: Vec<String>,
    /// Bytes of the file.
    pub read: u64,
    /// The state of the SHA-256 of these, in hexadecimal.
    pub state: String,
    /// Whether all of it was read, and has the SHA-256 that it has to have.
    pub proven: bool,
}

/// Calls of EBS, which are charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Reads {
    pub list_calls: u64,
    pub blocks: u64,
}

/// What reading a snapshot is expected to take, except for its dump: every partition takes one or two calls more.
pub fn expected(level: Level, full_size: Option<u64>, volume_gib: u32) -> Reads {
    let bytes = full_size.unwrap_or(u64::from(volume_gib) << 30);
    let listed = bytes.div_ceil(BLOCK_BYTES);
    let pages = listed.div_ceil(u64::from(BLOCKS_PER_PAGE)).max(1);
    let probed = listed.min((FIRST_BLOCKS + RANDOM_BLOCKS) as u64);
    // Where not all are probed, a partition table or a file system may begin in another one.
    let beyond = u64::from(listed > probed);
    // A copy and its source are listed anew at every place that is compared; the first blocks are one place.
    let places =
        (probed.saturating_sub(FIRST_BLOCKS as u64) + 1).min(listed.div_ceil(u64::from(BLOCKS_PER_SMALL_PAGE)).max(1));
    match level {
        Level::List => Reads { list_calls: pages, blocks: 0 },
        // A list of more than one message gives tokens of blocks that have to be asked for again.
        Level::Probe => Reads { list_calls: pages + 1, blocks: probed + beyond },
        Level::Copy | Level::Dump => Reads { list_calls: pages + 1 + 2 * places, blocks: 2 * probed + beyond },
    }
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
    /// How much was to be proven.
    pub asked: Level,
    /// What is proven; none where it has failed.
    pub level: Option<Level>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Finding>,
    /// Whether that is for certain, so that the snapshot is marked as bad: a block or a dump
    /// that is wrong, and neither a service that does not answer nor a key that is refused.
    pub marked: bool,
    /// What was found on it: partition tables and file systems, in words.
    pub found: Vec<String>,
    /// What is no failure, and worth to be told: unrecognised, unproven, a number of blocks that is not as expected.
    pub notes: Vec<String>,
    /// What of the drill's order was not done, though what was read is right: less was read than was asked for, or the
    /// tags were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
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
