//! What is asked for.
#![warn(missing_docs)]

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::{
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    restore::performance::VolumeType,
    run::read_run_id,
    tags::{Backup, read_date},
};

/// What is to be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// All volumes of an instance, of one moment.
    Instance(InstanceId),
    /// One volume.
    Volume(VolumeId),
    /// One snapshot.
    Snapshot(SnapshotId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => id.fmt(f),
            Self::Volume(id) => id.fmt(f),
            Self::Snapshot(id) => id.fmt(f),
        }
    }
}

/// From when.
///
/// ```
/// use domain::restore::request::At;
/// assert_eq!("newest".parse(), Ok(At::Newest));
/// assert_eq!("2026-11-22".parse(), Ok(At::Day("2026-11-22".parse().unwrap())));
/// assert_eq!("20261122T030000Z".parse(), Ok(At::Run("20261122T030000Z".into())));
/// assert_eq!("2026-11-22T12:00:00Z".parse(), Ok(At::Until("2026-11-22T12:00:00Z".parse().unwrap())));
/// assert!("yesterday".parse::<At>().unwrap_err().contains("newest"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum At {
    /// The newest complete set.
    #[default]
    Newest,
    /// The newest set of this day, UTC.
    Day(NaiveDate),
    /// The newest set that was begun at this time or before.
    Until(DateTime<Utc>),
    /// The set of this run.
    Run(String),
}

impl std::str::FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        if let Some(day) = read_date(text) {
            return Ok(Self::Day(day));
        }
        if read_run_id(text).is_some() {
            return Ok(Self::Run(text.to_owned()));
        }
        text.parse().map(Self::Until).map_err(|_| {
            format!(
                "{text:?} is no moment: allowed is newest, a day such as 2026-11-22, a time such as \
                 2026-11-22T03:00:00Z, or the id of a run such as 20261122T030000Z"
            )
        })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Day(day) => day.fmt(f),
            Self::Until(time) => f.write_str(&time.to_rfc3339()),
            Self::Run(run_id) => f.write_str(run_id),
        }
    }
}

/// What becomes of the volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// They are made, and attached to nothing.
    #[default]
    MakeVolumes,
    /// They are attached to this instance at the devices that they had, which must be free.
    Attach(InstanceId),
    /// The instance is stopped, they take the place of the volumes at their devices, and it is started again.
    Swap(InstanceId),
    /// The root volume of this instance, which runs, is replaced.
    ReplaceRoot(InstanceId),
    /// No volume is made, but an image of the set.
    RegisterImage,
}

impl Action {
    /// The instance that it changes.
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Attach(id) | Self::Swap(id) | Self::ReplaceRoot(id) => Some(id),
            Self::MakeVolumes | Self::RegisterImage => None,
        }
    }
}

/// A request. What is not asked for is as the snapshots say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where; its snapshots and copies alone are looked at.
    pub region: Region,
    /// What.
    pub target: Target,
    /// From when.
    pub at: At,
    /// Into which availability zone, by name.
    pub zone: Option<String>,
    /// All volumes get this type.
    pub volume_type: Option<VolumeType>,
    /// All volumes get so many IOPS.
    pub iops: Option<u32>,
    /// All volumes get so many MiB/s.
    pub throughput: Option<u32>,
    /// The key that all volumes are encrypted with.
    pub kms_key: Option<String>,
    /// The volumes are initialised at so many MiB/s each.
    pub fast: Option<u32>,
    /// What becomes of them.
    pub action: Action,
    /// Of an image: its architecture, where the snapshots do not say it.
    pub architecture: Option<String>,
    /// Of an image: its boot mode, where the snapshots do not say it.
    pub boot_mode: Option<String>,
    /// The word `Backup` that the volumes get. Without it they have none.
    pub backup: Option<Backup>,
    /// A set that this request has restored already is restored once more. It is no part of the request's identity, so
    /// that an unfinished restore goes on whether it is said or not.
    pub again: bool,
    /// The unfinished restore with this plan's id is left as it is, and a new one begun. No part of the identity either.
    pub instead_of: Option<String>,
}

impl Request {
    /// A request for volumes from the newest set, as they were.
    pub fn new(region: Region, target: Target) -> Self {
        Self {
            region,
            target,
            at: At::Newest,
            zone: None,
            volume_type: None,
            iops: None,
            throughput: None,
            kms_key: None,
            fast: None,
            action: Action::MakeVolumes,
            architecture: None,
            boot_mode: None,
            backup: None,
            again: false,
            instead_of: None,
        }
    }
}
