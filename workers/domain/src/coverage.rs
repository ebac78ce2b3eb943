//! How old the newest backup of each protected volume is, here and in each destination, against what the schedule allows.
//!
//! The age of a copy is that of its data: from the start of its source, or where that is gone from the begin of the day
//! in its `CreatedOn`. What is not known counts as old.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    expiry::{Candidate, is_backup},
    fleet::{Snapshot, SnapshotState},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::InstancePlan,
    schedule::longest_pause,
    settings::Settings,
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

/// The newest completed backup of each volume in each region that was looked at.
#[derive(Debug)]
pub struct NewestBackups {
    home: Region,
    /// When the home region's snapshots were begun: the age of a copy is that of its source.
    begun: BTreeMap<SnapshotId, DateTime<Utc>>,
    newest: BTreeMap<Region, BTreeMap<VolumeId, Newest>>,
}

impl NewestBackups {
    /// Of none yet.
    pub fn new(home: Region) -> Self {
        Self { home, begun: BTreeMap::new(), newest: BTreeMap::new() }
    }

    /// Takes note that a region is looked at.
    pub fn note_region(&mut self, region: &Region) {
        self.newest.entry(region.clone()).or_default();
    }

    /// Takes note of a snapshot; those of the home region come first.
    pub fn note(&mut self, region: &Region, snapshot: &Snapshot) {
        let candidate = Candidate::from(snapshot);
        if candidate.state != SnapshotState::Completed || !is_backup(&candidate, region, &self.home) {
            return;
        }
        let is_copy = candidate.tags.from_region.is_some();
        let source = candidate.tags.source_snapshot.as_ref().and_then(|source| self.begun.get(source).copied());
        let day = candidate.tags.created_on.map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let taken = match (is_copy, source, day) {
            (false, ..) => candidate.started,
            (true, Some(begun), _) => begun,
            (true, None, Some(day)) => day.min(candidate.started),
            // Of no known day: no recovery point that could be relied on.
            (true, None, None) => return,
        };
        if !is_copy {
            self.begun.insert(candidate.id.clone(), taken);
        }
        let Some(volume) = candidate.volume else { return };
        let new = Newest { snapshot: candidate.id, taken, full_size: candidate.full_size };
        let of_region = self.newest.entry(region.clone()).or_default();
        match of_region.get_mut(&volume) {
            Some(known) if known.taken >= new.taken => {}
            Some(known) => *known = new,
            None => _ = of_region.insert(volume, new),
        }
    }

    /// The regions that were looked at.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.newest.keys()
    }

    /// The newest of a volume in a region.
    pub fn of(&self, region: &Region, volume: &VolumeId) -> Option<&Newest> {
        self.newest.get(region)?.get(volume)
    }
}

/// What is to be said of a volume's backups in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// There is no completed one.
    Missing,
    /// The newest is older than the schedule allows.
    Overdue,
    /// The region could not be read.
    Unreadable,
    /// There is one, and the schedule does not say how old it may be.
    Unjudged,
    /// The newest is young enough.
    Covered,
}

/// A volume's backups in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionCoverage {
    /// The region.
    pub region: Region,
    /// What is to be said of them.
    pub state: State,
    /// The newest.
    pub newest: Option<Newest>,
    /// Its age.
    pub age: Option<TimeDelta>,
}

/// A volume that is to be backed up, and what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeCoverage {
    /// The instance that asks for it.
    pub instance: InstanceId,
    /// Its name, else its id.
    pub name: String,
    /// The volume.
    pub volume: VolumeId,
    /// Its device.
    pub device: String,
    /// The home region first, then the destinations.
    pub regions: Vec<RegionCoverage>,
}

impl VolumeCoverage {
    /// The worst of its regions.
    pub fn state(&self) -> State {
        self.regions.iter().map(|region| region.state).min().unwrap_or(State::Missing)
    }

    /// Whether a backup of it is overdue or missing, anywhere.
    pub fn is_behind(&self) -> bool {
        self.state() <= State::Overdue
    }

    /// In whole hours, as ages are shown: those of one run stay together.
    fn oldest_hours(&self) -> Option<i64> {
        self.regions.iter().filter_map(|region| region.age).map(|age| age.num_hours()).max()
    }
}

/// A volume that is to be backed up and what there is of it, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoveredVolume {
    /// The instance that asks for it.
    pub instance: InstanceId,
    /// Its name, else its id.
    pub name: String,
    /// The volume.
    pub volume: VolumeId,
    /// Its device.
    pub device: String,
    /// The worst of its regions.
    pub state: State,
    /// The home region first.
    pub regions: Vec<InRegion>,
}

/// The newest completed backup of a volume in a region, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InRegion {
    /// The region.
    pub region: Region,
    /// What is to be said of it.
    pub state: State,
    /// The newest.
    pub snapshot: Option<SnapshotId>,
    /// When its data was taken.
    pub taken: Option<DateTime<Utc>>,
    /// Its age, in minutes.
    pub age_minutes: Option<i64>,
}

impl From<VolumeCoverage> for CoveredVolume {
    fn from(covered: VolumeCoverage) -> Self {
        let state = covered.state();
        let in_region = |region: RegionCoverage| InRegion {
            region: region.region,
            state: region.state,
            taken: region.newest.as_ref().map(|newest| newest.taken),
            snapshot: region.newest.map(|newest| newest.snapshot),
            age_minutes: region.age.map(|age| age.num_minutes()),
        };
        Self {
            instance: covered.instance,
            name: covered.name,
            volume: covered.volume,
            device: covered.device,
            state,
            regions: covered.regions.into_iter().map(in_region).collect(),
        }
    }
}

/// How old the newest backup may be: the longest pause of the schedule, and the time that a run may take (`RunHours`).
///
/// None where the schedule does not say it.
pub fn allowed_age(schedule: &str, settings: &Settings, today: NaiveDate) -> Option<TimeDelta> {
    Some(longest_pause(schedule, today)? + TimeDelta::hours(settings.run_hours.into()))
}

/// The coverage of every planned volume, the worst first: what is missing here, then elsewhere, then the oldest.
pub fn coverage(
    plans: &[InstancePlan],
    newest: &NewestBackups,
    unreadable: &BTreeSet<Region>,
    allowed: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Vec<VolumeCoverage> {
    let mut all = Vec::new();
    for plan in plans {
        for attached in &plan.volumes {
            let regions = std::iter::once(&newest.home).chain(&plan.copy_regions).map(|region| {
                let found = newest.of(region, &attached.volume).cloned();
                let age = found.as_ref().map(|newest| now - newest.taken);
                let state = match (age, allowed) {
                    _ if unreadable.contains(region) => State::Unreadable,
                    (None, _) => State::Missing,
                    (Some(_), None) => State::Unjudged,
                    (Some(age), Some(allowed)) if age > allowed => State::Overdue,
                    (Some(_), Some(_)) => State::Covered,
                };
                RegionCoverage { region: region.clone(), state, newest: found, age }
            });
            all.push(VolumeCoverage {
                instance: plan.instance.clone(),
                name: plan.name.clone(),
                volume: attached.volume.clone(),
                device: attached.device.clone(),
                regions: regions.collect(),
            });
        }
    }
    all.sort_by(|a, b| {
        let key = |one: &VolumeCoverage| (one.state(), one.regions[0].state, std::cmp::Reverse(one.oldest_hours()));
        key(a).cmp(&key(b)).then_with(|| (&a.name, &a.device, &a.volume).cmp(&(&b.name, &b.device, &b.volume)))
    });
    all
}

#[cfg(test)]
mod tests;
