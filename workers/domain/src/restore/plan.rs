//! The plan of a restore: what is made, where, from which snapshots, and what that costs.
//!
//! A plan is data: texts for people are made of it elsewhere. It is made anew at each try, from what exists then, and is
//! the same at each: its id says for which request and which snapshots it is, and stands on all that it makes.
#![warn(missing_docs)]

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::Serialize;

use crate::{
    fleet::{InstanceAs, Tags},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    restore::{performance::Performance, request::Action},
};

/// The moment of which a set is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// All its snapshots were begun in one call, at this time.
    One(DateTime<Utc>),
    /// They were begun one after another: from when to when.
    #[allow(missing_docs)]
    Between { first: DateTime<Utc>, last: DateTime<Utc> },
    /// Copies of this day, which do not say more.
    Day(NaiveDate),
}

impl Moment {
    /// The latest time at which its data may be from: a set is as good as its age, and a guess must not make it younger.
    pub fn day(&self) -> NaiveDate {
        match self {
            Self::One(at) => at.date_naive(),
            Self::Between { first, .. } => first.date_naive(),
            Self::Day(day) => *day,
        }
    }

    /// The earliest time at which its data may be from.
    pub fn first(&self) -> DateTime<Utc> {
        match self {
            Self::One(at) => *at,
            Self::Between { first, .. } => *first,
            Self::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
        }
    }

    /// The latest time at which some of its data may be from: of a day, its end.
    pub fn last(&self) -> DateTime<Utc> {
        match self {
            Self::One(at) => *at,
            Self::Between { last, .. } => *last,
            Self::Day(day) => (*day + Days::new(1)).and_time(NaiveTime::MIN).and_utc(),
        }
    }

    /// How old its oldest data are at most, in seconds.
    pub fn age_seconds(&self, now: DateTime<Utc>) -> i64 {
        (now - self.first()).num_seconds().max(0)
    }
}

/// The set that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// Of which instance, where that is known.
    pub instance: Option<InstanceId>,
    /// Its name.
    pub name: Option<String>,
    /// The run that made the snapshots; of copies, the run that made their sources where they say it.
    pub run_id: Option<String>,
    /// When.
    pub moment: Moment,
    /// Where its snapshots were made, if they are copies.
    pub from_region: Option<String>,
    /// Volumes that the set should have, and that no completed snapshot here is of. Copies tell their number only:
    /// those are `None`.
    pub lacking: Vec<Option<VolumeId>>,
    /// What the instance was launched as: another one can be launched like it.
    pub launched_as: InstanceAs,
}

/// A volume of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedVolume {
    /// From which.
    pub snapshot: SnapshotId,
    /// The volume that it is a backup of.
    pub source_volume: Option<VolumeId>,
    /// The device that it had; the instance's root device, where a swap puts a root volume there.
    pub device: Option<String>,
    /// Whether it was the root volume, as far as it is known.
    pub root: bool,
    /// Type, IOPS and throughput.
    #[serde(flatten)]
    pub performance: Performance,
    /// Whether these were on the snapshot, or are the defaults of this system.
    pub recorded: bool,
    /// The size.
    pub gib: u32,
    /// Bytes that have to come from the snapshot; the volume's size where EC2 does not tell it.
    pub full_bytes: u64,
    /// Whether it will be encrypted.
    pub encrypted: bool,
    /// The key that its snapshot is encrypted with.
    pub snapshot_key: Option<String>,
    /// The key that is asked for in its place.
    pub kms_key: Option<String>,
    /// Whether it goes with its instance.
    pub delete_on_termination: bool,
    /// MiB/s at which it is initialised.
    pub initialization_rate: Option<u32>,
    /// Minutes that this takes.
    pub minutes: Option<u64>,
    /// The volume at its device now, whose place it takes.
    pub replaces: Option<VolumeId>,
    /// The tags that it is made with.
    pub tags: Tags,
}

impl PlannedVolume {
    /// The keys that must be usable for it.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.snapshot_key.as_deref().into_iter().chain(self.kms_key.as_deref())
    }
}

/// The image of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PlannedImage {
    pub name: String,
    pub description: String,
    pub architecture: String,
    pub boot_mode: Option<String>,
    pub root_device: String,
    pub ena: bool,
    pub tags: Tags,
}

/// What a person should know before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "note")]
pub enum Note {
    /// The set is not of one moment: its volumes may not fit to each other.
    NotOneMoment,
    /// The set lacks volumes: see [`Chosen::lacking`].
    Lacking,
    /// A newer set was passed over.
    #[allow(missing_docs)]
    PassedOver { moment: Moment, why: PassedOver },
    /// A drill has found this snapshot to be bad.
    #[allow(missing_docs)]
    KnownBad { snapshot: SnapshotId, on: NaiveDate },
    /// No type is recorded for this snapshot: it becomes gp3.
    #[allow(missing_docs)]
    TypeUnknown { snapshot: SnapshotId },
    /// An unfinished restore of the same request goes on, though a newer set exists or not.
    #[allow(missing_docs)]
    GoesOn { newer: Option<Moment> },
    /// What the unfinished restore has made that this one takes the place of stays: see [`Plan::left`].
    LeavesOther,
    /// The blocks come from the snapshot at their first read, so that the volumes are slow until all were read once.
    FirstReadIsSlow,
    /// All rates of initialization together are more than a region has, so that not all volumes are made at once.
    #[allow(missing_docs)]
    Staged { at_once: usize },
    /// The instance is stopped: data of its instance store are lost, and a public address that is not elastic changes.
    #[allow(missing_docs)]
    Stops { instance: InstanceId },
    /// The instance belongs to an Auto Scaling group, which may replace it while it is stopped or rebooted.
    #[allow(missing_docs)]
    AutoScaling { group: String },
    /// The instance is rebooted.
    #[allow(missing_docs)]
    Reboots { instance: InstanceId },
    /// An image that is registered from snapshots has no billing codes: licensed systems (Windows, RHEL, SLES,
    /// Marketplace) lose theirs. With what is known of them.
    #[allow(missing_docs)]
    LosesBilling { known: Vec<String> },
    /// The image holds the snapshots: they cannot be deleted while it exists.
    ImageHoldsSnapshots,
    /// A volume at a device is not the one that the snapshot is of.
    #[allow(missing_docs)]
    OtherVolumeAtDevice { device: String, volume: VolumeId },
    /// A volume of the instance has no counterpart in the set: a swap leaves it where it is, with its present data.
    #[allow(missing_docs)]
    Stays { device: String, volume: VolumeId },
}

/// Why a newer set is not the one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PassedOver {
    /// Not all its snapshots are completed, or some are gone.
    Incomplete,
    /// A drill has found one of its snapshots to be bad.
    KnownBad,
}

/// What a plan costs, in US dollars, from dated prices.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The volumes, each month.
    pub volumes_a_month: f64,
    /// Their initialization, once, at most.
    pub initialization: f64,
    /// The month of the prices.
    pub as_of: String,
    /// Where they are from.
    pub source: String,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its id, which stands on all that it makes.
    pub id: String,
    /// Where.
    pub region: Region,
    /// The availability zone; none where only an image is made.
    pub zone: Option<String>,
    /// From which set.
    pub chosen: Chosen,
    /// How old its data are at most.
    pub age_seconds: i64,
    /// What becomes of the volumes.
    pub action: Action,
    /// The volumes, by device.
    pub volumes: Vec<PlannedVolume>,
    /// The image.
    pub image: Option<PlannedImage>,
    /// What it costs.
    pub price: Price,
    /// Minutes until all volumes are initialised, where they have a rate.
    pub minutes: Option<u64>,
    /// What a person should know.
    pub notes: Vec<Note>,
    /// Whether an earlier try has made something of it.
    pub goes_on: bool,
    /// What the unfinished plan has made that it is made instead of: volumes and images, by id. It stays, and is marked as
    /// left before anything else is done.
    pub left: Vec<String>,
}
