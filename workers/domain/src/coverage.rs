//! How old the newest backup of each protected volume is, here and in each destination, against what the schedule allows;
//! and when what there is was last proven.
//!
//! The age of a copy is that of its data: from the start of its source, or where that is gone from the begin of the day
//! in its `CreatedOn`. What is not known counts as old. A backup that a drill found bad is no backup: its age counts for
//! nothing, and the newest before it is the one that is told.

mod counts;
mod judge;
mod newest;
mod proven;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::InstancePlan,
    schedule::longest_pause,
    settings::Settings,
};

pub use counts::ProofCounts;
pub use judge::{ProofRules, Remembered};
pub use newest::{Newest, NewestBackups};
pub use proven::{Bad, DrillRules, LastRead, LastReads, ProofState, Proofs, Proven};

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
    /// What is proven of them.
    pub proofs: Proofs,
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

    /// What is to be said of its proofs: the worst of its regions.
    fn proof_state(&self) -> Option<ProofState> {
        self.regions.iter().filter_map(|region| region.proofs.state).min()
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
    /// What is proven of its backups there.
    #[serde(default)]
    pub proofs: Proofs,
}

impl CoveredVolume {
    /// What is to be said of its proofs: the worst of its regions.
    pub fn proof_state(&self) -> Option<ProofState> {
        self.regions.iter().filter_map(|region| region.proofs.state).min()
    }
}

impl InRegion {
    /// Which backup a drill found bad, and what there is in its place.
    pub fn bad_told(&self) -> Option<String> {
        let bad = self.proofs.bad.as_ref()?;
        let instead = match (&self.snapshot, self.taken) {
            (Some(other), Some(taken)) => {
                let day = taken.date_naive();
                let is_read = self.proofs.last.as_ref().is_some_and(|last| last.snapshot == *other);
                match (bad.is_newest, is_read) {
                    (true, true) => format!("the next older good one is {other} of {day}"),
                    (true, false) => format!("the next older one is {other} of {day}, which nobody has read"),
                    (false, _) => format!("the newest, {other} of {day}, was not read yet"),
                }
            }
            _ => "there is no other one".into(),
        };
        let Bad { snapshot, taken, on, .. } = bad;
        Some(format!("{snapshot} of {} was found bad on {on}; {instead}", taken.date_naive()))
    }
}

/// The volumes by what is proven of them.
pub fn proof_counts(volumes: &[CoveredVolume]) -> ProofCounts {
    let mut counts = ProofCounts::default();
    for volume in volumes {
        counts.add(volume.regions.iter().map(|region| &region.proofs));
    }
    counts
}

/// What a report knew of proofs, from the coverage in it.
pub fn remembered(volumes: Vec<CoveredVolume>) -> Remembered {
    let mut known = Remembered::default();
    for CoveredVolume { volume, regions, .. } in volumes {
        regions.into_iter().for_each(|region| known.note(region.region, volume.clone(), region.proofs));
    }
    known
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
            proofs: region.proofs,
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

/// The coverage of every planned volume, the worst first: what is missing here, then elsewhere, then what is bad or not
/// proven, then the oldest.
pub fn coverage(
    plans: &[InstancePlan],
    newest: &NewestBackups,
    unreadable: &BTreeSet<Region>,
    allowed: Option<TimeDelta>,
    proofs: ProofRules<'_>,
    now: DateTime<Utc>,
) -> Vec<VolumeCoverage> {
    let (mut all, today) = (Vec::new(), now.date_naive());
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
                let proofs = match state {
                    State::Unreadable => Proofs::default(),
                    _ => proofs.judge(region, &attached.volume, newest.known(region, &attached.volume), today),
                };
                RegionCoverage { region: region.clone(), state, newest: found, age, proofs }
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
        let key = |one: &VolumeCoverage| {
            let unproven = one.proof_state().filter(|state| *state <= ProofState::Overdue);
            let unproven = (unproven.is_none(), unproven);
            (one.state(), one.regions[0].state, unproven, std::cmp::Reverse(one.oldest_hours()))
        };
        key(a).cmp(&key(b)).then_with(|| (&a.name, &a.device, &a.volume).cmp(&(&b.name, &b.device, &b.volume)))
    });
    all
}

#[cfg(test)]
mod tests;
