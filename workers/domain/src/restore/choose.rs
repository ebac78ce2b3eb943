//! Which set of snapshots is restored, of those that one region has.
//!
//! A set is the snapshots of one instance that one run has made, each volume once. Snapshots say so by `SourceInstanceId`
//! and `BackupRun`, and `Devices` says which volumes it has; copies by `SourceRun`, `SourceStarted` and `SourceVolumes`.
//! Older copies, and the snapshots of the earlier scripts, tell only their day: such sets are compared with the next
//! older one, to see whether a volume is missing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    earlier_scripts::described,
    error::{ErrorName, Failure},
    fleet::SnapshotState,
    ids::{SnapshotId, VolumeId},
    labels::{device_of, devices_of},
    proof::Proof,
    restore::{
        plan::{Moment, PassedOver},
        ports::Stored,
        request::{At, Target},
    },
    tags::{BACKUP_RUN, NAME, SOURCE_DEVICE, SOURCE_RUN, SOURCE_STARTED, SOURCE_VOLUMES, SnapshotTags},
};

/// A set that can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its snapshots, by device and id; of each volume one.
    pub members: Vec<Stored>,
    /// When it was made.
    pub moment: Moment,
    /// By which run; of copies, the run of their sources.
    pub run_id: Option<String>,
    /// The volumes that it lacks; those of which only the number is known are `None`.
    pub lacking: Vec<Option<VolumeId>>,
}

impl Set {
    /// The ids of its snapshots.
    pub fn ids(&self) -> BTreeSet<SnapshotId> {
        self.members.iter().map(|member| member.snapshot.id.clone()).collect()
    }

    /// Whether no volume is missing.
    pub fn is_complete(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Whether all its snapshots were begun in one call.
    pub fn is_of_one_moment(&self) -> bool {
        matches!(self.moment, Moment::One(_))
    }

    /// Its snapshots that a drill has found to be bad, and when.
    pub fn known_bad(&self) -> Vec<(SnapshotId, NaiveDate)> {
        let bad = |member: &Stored| Some((member.snapshot.id.clone(), failed_on(member)?));
        self.members.iter().filter_map(bad).collect()
    }

    /// The instance's name.
    pub fn name(&self) -> Option<&String> {
        self.members.iter().find_map(|member| member.snapshot.tags.get(NAME))
    }
}

fn failed_on(stored: &Stored) -> Option<NaiveDate> {
    Proof::read(&stored.snapshot.tags).filter(Proof::has_failed).map(|proof| proof.on)
}

/// A set, and what was passed over for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub set: Set,
    /// The newer sets, the newest first.
    pub passed_over: Vec<(Moment, PassedOver)>,
}

/// The volume that a snapshot or copy is a backup of. The id that EC2 shows for a copy is arbitrary.
pub fn volume_of(stored: &Stored) -> Option<VolumeId> {
    let read = SnapshotTags::read(&stored.snapshot.tags);
    match read.from_region {
        Some(_) => read.source_volume.or_else(|| Some(described(&stored.snapshot.description)?.volume)),
        None => stored.snapshot.volume.clone(),
    }
}

/// The device that its volume had.
pub fn device_for(stored: &Stored) -> Option<String> {
    let tagged = stored.snapshot.tags.get(SOURCE_DEVICE).cloned();
    tagged.or_else(|| device_of(&stored.snapshot)).or_else(|| Some(described(&stored.snapshot.description)?.device))
}

/// When its data were taken, as exactly as it says: of copies, when their source was begun.
fn taken(stored: &Stored) -> Option<DateTime<Utc>> {
    match SnapshotTags::read(&stored.snapshot.tags).from_region {
        Some(_) => stored.snapshot.tags.get(SOURCE_STARTED)?.parse().ok(),
        None => Some(stored.snapshot.started),
    }
}

fn run_of(stored: &Stored) -> Option<&String> {
    let tags = &stored.snapshot.tags;
    match SnapshotTags::read(tags).from_region {
        Some(_) => tags.get(SOURCE_RUN),
        None => tags.get(BACKUP_RUN),
    }
}

/// What the snapshots of one set have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    from_region: Option<String>,
    /// The run; else, of copies, the run that made them and the day; else the day.
    made: String,
}

fn batch_of(stored: &Stored) -> Batch {
    let tags = &stored.snapshot.tags;
    let read = SnapshotTags::read(tags);
    let day = read.created_on.unwrap_or_else(|| stored.snapshot.started.date_naive());
    let made = match (run_of(stored), &read.from_region) {
        (Some(run_id), _) => run_id.clone(),
        (None, Some(_)) => format!("{day} {}", tags.get(BACKUP_RUN).map_or("", String::as_str)),
        (None, None) => day.to_string(),
    };
    Batch { from_region: read.from_region, made }
}

/// All sets, the newest first. Snapshots that cannot be restored now are in none, so that what they are of is lacking.
pub fn sets(found: &[Stored], target: &Target) -> Vec<Set> {
    let mut batches: BTreeMap<Batch, Vec<(VolumeId, &Stored)>> = BTreeMap::new();
    for stored in found {
        let read = SnapshotTags::read(&stored.snapshot.tags);
        let Some(volume) = volume_of(stored) else { continue };
        let wanted = match target {
            // Those of another instance were found by a volume that both have had.
            Target::Instance(id) => read.source_instance.as_ref().is_none_or(|of| of == id),
            Target::Volume(id) => volume == *id,
            Target::Snapshot(id) => stored.snapshot.id == *id,
        };
        if wanted && (read.automated || read.from_region.is_some() || matches!(target, Target::Snapshot(_))) {
            batches.entry(batch_of(stored)).or_default().push((volume, stored));
        }
    }
    let one_volume = !matches!(target, Target::Instance(_));
    let mut sets: Vec<(Set, bool)> = batches.into_values().filter_map(|batch| set_of(&batch, one_volume)).collect();
    sets.sort_by_key(|(set, _)| std::cmp::Reverse(newness(set)));
    for at in 0..sets.len() {
        // A set that does not say how many volumes it has is held against the next older one.
        if let [(set, false), older, ..] = &sets[at..] {
            let has: BTreeSet<_> = set.members.iter().filter_map(volume_of).collect();
            let lacking = older.0.members.iter().filter_map(volume_of).filter(|volume| !has.contains(volume));
            let lacking: Vec<_> = lacking.map(Some).collect();
            sets[at].0.lacking.extend(lacking);
        }
    }
    sets.into_iter().map(|(set, _)| set).collect()
}

/// A set is as new as its oldest snapshot: a mixture with one that was made later is not newer than a set between them.
fn newness(set: &Set) -> (DateTime<Utc>, DateTime<Utc>, Option<String>) {
    (set.moment.first(), set.moment.last(), set.run_id.clone())
}

/// The set of a batch, and whether it says how many volumes it has; none where nothing of it can be restored.
fn set_of(batch: &[(VolumeId, &Stored)], one_volume: bool) -> Option<(Set, bool)> {
    let usable = |stored: &Stored| stored.snapshot.state == SnapshotState::Completed && !stored.archived;
    let named: BTreeSet<VolumeId> =
        batch.iter().flat_map(|(_, stored)| devices_of(&stored.snapshot.tags)).map(|device| device.volume).collect();
    let number = batch.iter().find_map(|(_, stored)| stored.snapshot.tags.get(SOURCE_VOLUMES)?.parse::<usize>().ok());
    let all: BTreeSet<&VolumeId> = batch.iter().map(|(volume, _)| volume).collect();
    let wanted: BTreeSet<&VolumeId> = if one_volume { all } else { all.into_iter().chain(&named).collect() };

    // A run may have made several sets: one of which all are there, of one moment, is better than a mixture.
    let mut moments: BTreeMap<DateTime<Utc>, BTreeMap<&VolumeId, &Stored>> = BTreeMap::new();
    let mut newest: BTreeMap<&VolumeId, &Stored> = BTreeMap::new();
    for (volume, stored) in batch.iter().filter(|(_, stored)| usable(stored)) {
        if let Some(at) = taken(stored) {
            moments.entry(at).or_default().entry(volume).or_insert(stored);
        }
        let place = newest.entry(volume).or_insert(stored);
        if order(stored) > order(place) {
            *place = stored;
        }
    }
    let whole = moments.values().rev().find(|members| members.len() == wanted.len());
    let mut members: Vec<Stored> = whole.unwrap_or(&newest).values().map(|stored| (*stored).clone()).collect();
    members.sort_by_key(|stored| (device_for(stored), stored.snapshot.id.clone()));
    let moment = moment_of(&members)?;
    let has: BTreeSet<VolumeId> = members.iter().filter_map(volume_of).collect();
    let mut lacking: Vec<Option<VolumeId>> =
        wanted.into_iter().filter(|volume| !has.contains(volume)).cloned().map(Some).collect();
    if let Some(number) = number.filter(|_| !one_volume) {
        lacking.resize(lacking.len().max(number.saturating_sub(has.len())), None);
    }
    let run_id = members.iter().find_map(run_of).cloned();
    let says = one_volume || !named.is_empty() || number.is_some();
    Some((Set { members, moment, run_id, lacking }, says))
}

fn order(stored: &Stored) -> (Option<DateTime<Utc>>, DateTime<Utc>, &SnapshotId) {
    (taken(stored), stored.snapshot.started, &stored.snapshot.id)
}

/// The moment of some snapshots; none of none.
pub fn moment_of(members: &[Stored]) -> Option<Moment> {
    let times: Option<BTreeSet<DateTime<Utc>>> = members.iter().map(taken).collect();
    let Some(times) = times else {
        let day = |stored: &Stored| SnapshotTags::read(&stored.snapshot.tags).created_on;
        // The oldest day: what is not known must not look younger than it is.
        let days = members.iter().map(|stored| day(stored).unwrap_or_else(|| stored.snapshot.started.date_naive()));
        return days.min().map(Moment::Day);
    };
    let (first, last) = (*times.first()?, *times.last()?);
    Some(if first == last { Moment::One(first) } else { Moment::Between { first, last } })
}

/// Chooses the set.
///
/// # Errors
///
/// [`ErrorName::SnapshotNotFound`] says what there is instead.
pub fn choose(sets: Vec<Set>, target: &Target, at: &At) -> Result<Choice, Failure> {
    let named = matches!(at, At::Run(_) | At::Day(_)) || matches!(target, Target::Snapshot(_));
    let matches = |set: &Set| match at {
        At::Newest => true,
        At::Day(day) => set.moment.day() == *day,
        At::Until(time) => set.moment.last() <= *time,
        At::Run(run_id) => set.run_id.as_ref() == Some(run_id),
    };
    let fitting: Vec<&Set> = sets.iter().filter(|set| matches(set)).collect();
    let good = |set: &&&Set| set.known_bad().is_empty();
    let best = fitting.iter().filter(good).find(|set| set.is_complete()).or_else(|| {
        // What is not complete is better than nothing, and told; what is bad must be named.
        fitting.iter().find(|set| good(set) || named)
    });
    let Some(best) = best else {
        let bad = fitting.first().and_then(|set| set.known_bad().into_iter().next());
        let why = match bad {
            Some((snapshot, on)) => format!(
                "{target}: the drill of {on} has found {snapshot} to be bad, and there is no better set. It can still be \
                 restored where its run or day is named"
            ),
            None => format!("{target}: no completed backup of {at} is here; there is {}", listed(&sets)),
        };
        return Err(Failure::new(ErrorName::SnapshotNotFound, why));
    };
    let newer = fitting.iter().take_while(|set| *set != best);
    let why = |set: &Set| if set.known_bad().is_empty() { PassedOver::Incomplete } else { PassedOver::KnownBad };
    let passed_over = newer.map(|set| (set.moment.clone(), why(set))).collect();
    Ok(Choice { set: (*best).clone(), passed_over })
}

/// The first sets, in words.
fn listed(sets: &[Set]) -> String {
    let word = |set: &Set| match (&set.run_id, &set.moment) {
        (Some(run_id), _) => run_id.clone(),
        (None, moment) => moment.day().to_string(),
    };
    let shown: Vec<String> = sets.iter().take(5).map(word).collect();
    match (shown.is_empty(), sets.len() - shown.len()) {
        (true, _) => "none at all in this region".into(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{}, and {more} older ones", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
