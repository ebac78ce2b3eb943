//! What may be deleted: one verdict per snapshot, with its reason, from a pure function.
//!
//! Everything that is not certain is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    copies::named_in,
    fleet::{Snapshot, SnapshotState},
    ids::{Region, SnapshotId, VolumeId},
    tags::{self, SnapshotTags},
};

/// What a verdict needs to know of a snapshot: small, since a region may hold 100,000 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: SnapshotId,
    /// Its state.
    pub state: SnapshotState,
    /// When it was begun.
    pub started: DateTime<Utc>,
    /// The volume it is a backup of, as far as that is known.
    pub volume: Option<VolumeId>,
    /// What its tags say.
    pub tags: SnapshotTags,
    /// The description of a copy that does not name its source.
    pub description: Option<Box<str>>,
}

impl From<&Snapshot> for Candidate {
    fn from(snapshot: &Snapshot) -> Self {
        let read = SnapshotTags::read(&snapshot.tags);
        // The volume id of a copy is arbitrary (CopySnapshot documentation).
        let volume = match &read.from_region {
            None => snapshot.volume.clone(),
            Some(_) => read.source_volume.clone().or_else(|| tags::described(&snapshot.description).map(|a| a.volume)),
        };
        let unlabelled_copy = read.from_region.is_some() && read.source_snapshot.is_none();
        Self {
            id: snapshot.id.clone(),
            state: snapshot.state,
            started: snapshot.started,
            volume,
            tags: read,
            description: unlabelled_copy.then(|| snapshot.description.as_str().into()),
        }
    }
}

/// The sources in the home region that carry `KeepForever`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptSources {
    ids: BTreeSet<SnapshotId>,
    described: BTreeMap<Box<str>, BTreeSet<Option<NaiveDate>>>,
}

impl KeptSources {
    /// Takes note of a snapshot of the home region.
    pub fn note(&mut self, source: &Snapshot) {
        let read = SnapshotTags::read(&source.tags);
        if read.keep_forever {
            self.ids.insert(source.id.clone());
            self.described.entry(source.description.as_str().into()).or_default().insert(read.created_on);
        }
    }

    fn keep(&self, copy: &Candidate) -> bool {
        match (&copy.tags.source_snapshot, &copy.description) {
            (Some(source), _) => self.ids.contains(source),
            (None, Some(text)) => named_in(text).any(|id| self.ids.contains(&id)) || self.describe(text, copy),
            (None, None) => false,
        }
    }

    /// A day that cannot be read, on either side, may be the same day.
    fn describe(&self, text: &str, copy: &Candidate) -> bool {
        let Some(days) = self.described.get(text) else { return false };
        copy.tags.created_on.is_none_or(|day| days.contains(&Some(day)) || days.contains(&None))
    }
}

/// What the snapshots of one region are judged by.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The region this stack is deployed in.
    pub home: &'a Region,
    /// The region judged.
    pub region: &'a Region,
    /// Today, UTC.
    pub today: NaiveDate,
    /// The volumes that exist and are still backed up, detached for the moment or not.
    pub living: &'a BTreeSet<VolumeId>,
    /// `MinimumKept`.
    pub minimum_kept: u32,
    /// The sources with `KeepForever`; `None` when the home region could not be read.
    pub kept_sources: Option<&'a KeptSources>,
}

/// Why a snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// It is not `Type=Automated`.
    NotOurs,
    /// It belongs to the stack of another home region.
    AnotherStacks,
    /// It is in the Recycle Bin.
    Recycled,
    /// It carries `KeepForever`.
    KeepForever,
    /// `DeleteOn` is missing, or not a date.
    NoDeleteOn,
    /// `DeleteOn` is in the future.
    NotDue(NaiveDate),
    /// It is not complete yet.
    Pending,
    /// Its source carries `KeepForever`.
    SourceKept,
    /// It cannot be known whether its source carries `KeepForever`.
    SourceUnreadable,
    /// The volume it is a backup of is not known, so that it may be that volume's last.
    VolumeUnknown,
    /// It is one of the newest completed of a living volume (`MinimumKept`).
    Newest,
    /// A copy of it is still owed, which may be wanted for longer than it is itself.
    CopyOwed,
}

/// Why a snapshot is expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expire {
    /// `DeleteOn` is today or earlier.
    Due(NaiveDate),
    /// It is in `error`: it never became a backup.
    Broken,
}

/// What is to become of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It stays.
    Keep(Keep),
    /// It is deleted.
    Expire(Expire),
}

impl Verdict {
    /// Whether it is deleted.
    pub fn expires(&self) -> bool {
        matches!(self, Self::Expire(_))
    }

    /// Whether the snapshot is this stack's to judge.
    fn is_ours(&self) -> bool {
        !matches!(self, Self::Keep(Keep::NotOurs | Keep::AnotherStacks))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(Keep::NotOurs) => write!(f, "kept: not Type=Automated"),
            Self::Keep(Keep::AnotherStacks) => write!(f, "kept: another home region's"),
            Self::Keep(Keep::Recycled) => write!(f, "kept: in the Recycle Bin"),
            Self::Keep(Keep::KeepForever) => write!(f, "kept: KeepForever"),
            Self::Keep(Keep::NoDeleteOn) => write!(f, "kept: no readable DeleteOn"),
            Self::Keep(Keep::NotDue(day)) => write!(f, "kept: not due until {day}"),
            Self::Keep(Keep::Pending) => write!(f, "kept: pending"),
            Self::Keep(Keep::SourceKept) => write!(f, "kept: its source carries KeepForever"),
            Self::Keep(Keep::SourceUnreadable) => write!(f, "kept: its source cannot be read"),
            Self::Keep(Keep::VolumeUnknown) => write!(f, "kept: its volume is not known"),
            Self::Keep(Keep::Newest) => write!(f, "kept: newest completed of a living volume"),
            Self::Keep(Keep::CopyOwed) => write!(f, "kept: a copy of it is owed"),
            Self::Expire(Expire::Due(day)) => write!(f, "expired: due since {day}"),
            Self::Expire(Expire::Broken) => write!(f, "expired: broken"),
        }
    }
}

/// One verdict per candidate, in their order.
pub fn verdicts(candidates: &[Candidate], scope: &Scope<'_>) -> Vec<Verdict> {
    let newest = newest(candidates, scope);
    candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| match judge(candidate, scope, newest.contains(&index)) {
            Ok(expire) => Verdict::Expire(expire),
            Err(keep) => Verdict::Keep(keep),
        })
        .collect()
}

/// Keeps what is due and still owes a copy: without it the copy could never be made.
pub fn keep_sources_of_owed_copies(candidates: &[Candidate], verdicts: &mut [Verdict], owed: &BTreeSet<SnapshotId>) {
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if matches!(verdict, Verdict::Expire(Expire::Due(_))) && owed.contains(&candidate.id) {
            *verdict = Verdict::Keep(Keep::CopyOwed);
        }
    }
}

/// The verdict on one snapshot, looked at again at the moment of deletion: the floor was settled when it was planned.
pub fn verdict_now(candidate: &Candidate, scope: &Scope<'_>) -> Verdict {
    match judge(candidate, scope, false) {
        Ok(expire) => Verdict::Expire(expire),
        Err(keep) => Verdict::Keep(keep),
    }
}

fn judge(candidate: &Candidate, scope: &Scope<'_>, newest: bool) -> Result<Expire, Keep> {
    let tags = &candidate.tags;
    let is_copy = tags.from_region.is_some();
    ownership(candidate, scope)?;
    if candidate.state == SnapshotState::Other {
        return Err(Keep::Recycled);
    }
    if tags.keep_forever {
        return Err(Keep::KeepForever);
    }
    if candidate.state == SnapshotState::Error {
        return Ok(Expire::Broken);
    }
    let due = tags.delete_on.ok_or(Keep::NoDeleteOn)?;
    if due > scope.today {
        return Err(Keep::NotDue(due));
    }
    if candidate.state == SnapshotState::Pending {
        return Err(Keep::Pending);
    }
    if is_copy {
        let kept = scope.kept_sources.ok_or(Keep::SourceUnreadable)?;
        if kept.keep(candidate) {
            return Err(Keep::SourceKept);
        }
    }
    if candidate.volume.is_none() {
        return Err(Keep::VolumeUnknown);
    }
    if newest {
        return Err(Keep::Newest);
    }
    Ok(Expire::Due(due))
}

fn ownership(candidate: &Candidate, scope: &Scope<'_>) -> Result<(), Keep> {
    if !candidate.tags.automated {
        return Err(Keep::NotOurs);
    }
    let ours = match candidate.tags.from_region.as_deref() {
        None => scope.region == scope.home,
        Some(from) => from == scope.home.as_str(),
    };
    if ours { Ok(()) } else { Err(Keep::AnotherStacks) }
}

/// The day of the data, the moment at which the snapshot was begun, its id, and the candidate's index.
type Aged<'a> = (NaiveDate, DateTime<Utc>, &'a SnapshotId, usize);

/// The indices of the `minimum_kept` newest completed snapshots of every living volume.
///
/// Whether one of them carries `KeepForever` makes no difference: tagging a snapshot never costs another its place.
/// A copy is begun later than its data: without `CreatedOn` it may be the newest, and takes no other's place.
fn newest(candidates: &[Candidate], scope: &Scope<'_>) -> BTreeSet<usize> {
    let kept = scope.minimum_kept as usize;
    let (mut by_volume, mut newest) = (BTreeMap::<&VolumeId, Vec<Aged<'_>>>::new(), BTreeSet::new());
    for (index, candidate) in candidates.iter().enumerate() {
        let Some(volume) = candidate.volume.as_ref().filter(|v| scope.living.contains(*v)) else { continue };
        if candidate.state == SnapshotState::Completed && ownership(candidate, scope).is_ok() {
            // A copy by the day of its data: a backlog is copied later than what is newer. EC2 knows a snapshot's own day.
            match (candidate.tags.from_region.is_some(), candidate.tags.created_on) {
                (true, None) if kept > 0 => _ = newest.insert(index),
                (is_copy, day) => {
                    let day = day.filter(|_| is_copy).unwrap_or_else(|| candidate.started.date_naive());
                    by_volume.entry(volume).or_default().push((day, candidate.started, &candidate.id, index));
                }
            }
        }
    }
    for mut all in by_volume.into_values() {
        all.sort_unstable();
        // Two copies of one source are one backup: the older one counts, and the other only fills what is left.
        let mut sources = BTreeSet::new();
        let (first, surplus): (Vec<_>, Vec<_>) = all.into_iter().partition(|(day, .., index)| {
            let source = &candidates[*index].tags.source_snapshot;
            source.as_ref().is_none_or(|source| sources.insert((source, *day)))
        });
        newest.extend(first.iter().rev().chain(surplus.iter().rev()).take(kept).map(|(.., index)| *index));
    }
    newest
}

/// A region in which too much would be deleted at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{region}: {due} of {snapshots} snapshots ({due_days} of {days} days) are due, more than {percent} %: \
     nothing is deleted there; if it is meant, run with {{\"allowMassExpire\": true}}"
)]
pub struct MassExpire {
    region: Region,
    due: usize,
    snapshots: usize,
    due_days: usize,
    days: usize,
    percent: u32,
}

/// From this many snapshots up the share that is due is looked at.
const BREAKER_FROM: usize = 20;

/// Refuses to delete more than `max_percent` of a region's snapshots, and of their days, at once.
///
/// Both shares must be exceeded, so that several snapshots a day with a short retention do not trip it.
pub fn breaker(
    candidates: &[Candidate],
    verdicts: &[Verdict],
    region: &Region,
    max_percent: u32,
) -> Result<(), MassExpire> {
    let count = |wanted: fn(&Verdict) -> bool| {
        let chosen = || candidates.iter().zip(verdicts).filter(move |(_, v)| wanted(v));
        let day = |c: &Candidate| c.tags.created_on.unwrap_or_else(|| c.started.date_naive());
        let days: BTreeSet<_> = chosen().map(|(c, _)| day(c)).collect();
        (chosen().count(), days.len())
    };
    let (snapshots, days) = count(Verdict::is_ours);
    let (due, due_days) = count(|v| matches!(v, Verdict::Expire(Expire::Due(_))));
    let exceeds = |part: usize, whole: usize| part * 100 > whole * max_percent as usize;
    if snapshots >= BREAKER_FROM && exceeds(due, snapshots) && exceeds(due_days, days) {
        return Err(MassExpire { region: region.clone(), due, snapshots, due_days, days, percent: max_percent });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
