//! When a volume's backups in a region were last proven, and whether that is too long ago.
//!
//! A proof stands in the tags of a snapshot, and goes with it. So the last report is asked, too: what it knew of a
//! volume stays known while newer backups of it are not proven.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{CoveredVolume, newest::OfVolume};
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

/// What the last report knew of proofs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered(BTreeMap<VolumeId, BTreeMap<Region, Proofs>>);

impl Remembered {
    /// From the coverage of a report.
    pub fn of(volumes: Vec<CoveredVolume>) -> Self {
        let known = volumes.into_iter().map(|one| {
            let regions = one.regions.into_iter().filter(|region| region.proofs.unproven_since.is_some());
            (one.volume, regions.map(|region| (region.region, region.proofs)).collect())
        });
        Self(known.collect())
    }

    fn of_volume(&self, region: &Region, volume: &VolumeId) -> Option<&Proofs> {
        self.0.get(volume)?.get(region)
    }
}

/// What is needed beside the backups to judge proofs.
#[derive(Clone, Copy, Debug)]
pub struct ProofRules<'a> {
    /// What is expected of drills.
    pub drills: DrillRules,
    /// What the last report knew.
    pub remembered: &'a Remembered,
}

impl ProofRules<'_> {
    /// The proofs of a volume in a region that was read.
    pub(super) fn judge(&self, region: &Region, volume: &VolumeId, found: Option<&OfVolume>, today: NaiveDate) -> Proofs {
        let Some(found) = found else { return Proofs::default() };
        let before = self.remembered.of_volume(region, volume);
        let of_tags = found.proven.as_deref().cloned();
        let of_report = before.and_then(|before| before.last.clone());
        let last = of_report.into_iter().chain(of_tags).max_by_key(|one| (one.on, one.level));
        let first = [found.first, before.and_then(|before| before.unproven_since)].into_iter().flatten().min();
        let mut proofs = Proofs {
            state: None,
            unproven_since: last.as_ref().map(|last| last.on).or(first),
            last,
            bad: found.last_read_is_bad(),
        };
        let limit = self.drills.max_days.filter(|_| self.drills.on).map(i64::from);
        let is_overdue = limit.is_some_and(|limit| proofs.days(today).is_none_or(|days| days > limit));
        proofs.state = Some(match &proofs {
            Proofs { bad: Some(_), .. } => ProofState::Bad,
            _ if is_overdue => ProofState::Overdue,
            Proofs { last: None, .. } => ProofState::Never,
            _ => ProofState::Proven,
        });
        proofs
    }
}
