//! What is proven of a volume's backups in a region.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{Region, SnapshotId, VolumeId},
    proof::Level,
    settings::Settings,
};

/// The last proof of a volume's backups in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proven {
    /// What was read; it may be gone.
    pub snapshot: SnapshotId,
    /// The day, UTC.
    pub on: NaiveDate,
    /// How much of it was read.
    pub level: Level,
}

/// What drills know of a volume's backups in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRead {
    /// The day on which one was last to be read, UTC, whatever came of it.
    pub tried: NaiveDate,
    /// What was proven last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Proven>,
}

/// The same by region and volume. The tags that say it go with the snapshots.
pub type LastReads = BTreeMap<Region, BTreeMap<VolumeId, LastRead>>;

/// The newest backup of a volume that a drill has read in a region, and found bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bad {
    /// What was read.
    pub snapshot: SnapshotId,
    /// When its data was taken.
    pub taken: DateTime<Utc>,
    /// The day on which it was found bad, UTC.
    pub on: NaiveDate,
    /// Whether there is no newer backup that nobody has read yet.
    pub is_newest: bool,
}

/// What is to be said of the proofs of a volume's backups in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProofState {
    /// The newest that was read is bad.
    Bad,
    /// Nothing was proven for longer than `MaxDaysUnverified`, and drills are on.
    Overdue,
    /// No backup of it was ever read, as far as is known.
    Never,
    /// One was read, and was good.
    Proven,
}

/// What is expected of drills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillRules {
    /// `DrillState`: nothing is overdue while they are off.
    pub on: bool,
    /// `MaxDaysUnverified`; none where it is off.
    pub max_days: Option<u32>,
}

impl From<&Settings> for DrillRules {
    fn from(settings: &Settings) -> Self {
        let max_days = Some(settings.max_days_unverified).filter(|days| *days > 0);
        Self { on: settings.drills_are_on, max_days }
    }
}

/// The proofs of a volume's backups in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proofs {
    /// What is to be said of them; none where there is no backup, or the region could not be read.
    #[serde(default)]
    pub state: Option<ProofState>,
    /// The last one.
    #[serde(default)]
    pub last: Option<Proven>,
    /// The day of the last one, or else of the first backup that is known of.
    #[serde(default)]
    pub unproven_since: Option<NaiveDate>,
    /// The newest backup that was read, if it is bad.
    #[serde(default)]
    pub bad: Option<Bad>,
}

impl Proofs {
    /// Days since the last proof, or else since the first backup.
    pub fn days(&self, today: NaiveDate) -> Option<i64> {
        self.unproven_since.map(|since| (today - since).num_days().max(0))
    }
}
