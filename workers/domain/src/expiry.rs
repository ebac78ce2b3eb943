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
    earlier_scripts::{KeptDescriptions, described, named_in},
    fleet::{Dated, Snapshot, SnapshotState, oldest_live},
    ids::{Region, SnapshotId, VolumeId},
    tags::{self, SnapshotTags},
};

/// The volume id that EC2 shows of copies, which are of no volume of their region (seen; documented as arbitrary).
const ANY_COPYS_VOLUME: &str = "vol-ffffffff";

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
    /// The run that made it.
    pub run_id: Option<Box<str>>,
    /// The description of a copy that does not name its source.
    pub description: Option<Box<str>>,
}

impl Dated for Candidate {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

impl From<&Snapshot> for Candidate {
    fn from(snapshot: &Snapshot) -> Self {
        let read = SnapshotTags::read(&snapshot.tags);
        // The volume id of a copy is arbitrary (CopySnapshot documentation).
        let volume = match &read.from_region {
            // One that was copied by hand within its region has the volume id of copies.
            None => snapshot.volume.clone().filter(|volume| volume.as_str() != ANY_COPYS_VOLUME),
            Some(_) => read.source_volume.clone().or_else(|| described(&snapshot.description).map(|a| a.volume)),
        };
        let unlabelled_copy = read.from_region.is_some() && read.source_snapshot.is_none();
        Self {
            id: snapshot.id.clone(),
            state: snapshot.state,
            started: snapshot.started,
            volume,
            tags: read,
            run_id: snapshot.tags.get(tags::BACKUP_RUN).map(|id| id.as_str().into()),
            description: unlabelled_copy.then(|| snapshot.description.as_str().into()),
        }
    }
}

/// The sources in the home region that carry `KeepForever`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptSources {
    ids: BTreeSet<SnapshotId>,
    descriptions: KeptDescriptions,
}

impl KeptSources {
    /// Takes note of a snapshot of the home region.
    pub fn note(&mut self, source: &Snapshot) {
        let read = SnapshotTags::read(&source.tags);
        if read.keep_forever {
            self.ids.insert(source.id.clone());
            self.descriptions.note(source, read.created_on);
        }
    }

    fn keep(&self, copy: &Candidate) -> bool {
        match (&copy.tags.source_snapshot, &copy.description) {
            (Some(source), _) => self.ids.contains(source),
            (None, Some(text)) => {
                named_in(text).any(|id| self.ids.contains(&id))
                    || self.descriptions.may_include(text, copy.tags.created_on)
            }
            (None, None) => false,
        }
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
    /// The run that asks: what it made itself it does not delete, however long it takes.
    pub run_id: Option<&'a str>,
    /// The volumes whose last backups stay: see [`crate::protection`].
    pub floor: &'a BTreeSet<VolumeId>,
    /// `MinimumKept`.
    pub minimum_kept: u32,
    /// The sources with `KeepForever`; `None` when the home region could not be read.
    pub kept_sources: Option<&'a KeptSources>,
}

/// What images or locks hold, and the words for it: such as `image ami-0123`.
pub type Holders = BTreeMap<SnapshotId, String>;

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It is one of the newest completed of a volume that exists (`MinimumKept`).
    Newest,
    /// The run that asks made it.
    OfThisRun,
    /// A copy of it is still owed, or in doubt, which may be wanted for longer than it is itself.
    CopyOwed,
    /// An image or a lock holds it: EC2 would refuse.
    Held(String),
    /// It is in `error` and carries `KeepForever`: the role forbids its deletion, and it is no backup.
    BrokenForever,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Whether it is kept although it is due, or broken: a report names what that is.
    pub fn is_left(&self) -> bool {
        use Keep::{BrokenForever, CopyOwed, Held, Newest, OfThisRun, SourceKept, SourceUnreadable, VolumeUnknown};
        matches!(
            self,
            Self::Keep(
                Newest | OfThisRun | CopyOwed | Held(_) | SourceKept | SourceUnreadable | VolumeUnknown | BrokenForever
            )
        )
    }

    /// Whether the breaker counts it: not what is kept for ever or held from outside, nor what can never be due.
    fn counts(&self) -> bool {
        use Keep::{BrokenForever, Held, KeepForever, NoDeleteOn, SourceKept, VolumeUnknown};
        let stands_outside =
            matches!(self, Self::Keep(KeepForever | BrokenForever | SourceKept | Held(_) | NoDeleteOn | VolumeUnknown));
        self.is_ours() && !stands_outside
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
            Self::Keep(Keep::Newest) => write!(f, "kept: newest completed of a volume that exists"),
            Self::Keep(Keep::OfThisRun) => write!(f, "kept: made by this run"),
            Self::Keep(Keep::CopyOwed) => write!(f, "kept: a copy of it is owed, or in doubt"),
            Self::Keep(Keep::Held(holder)) => write!(f, "kept: held by {holder}"),
            Self::Keep(Keep::BrokenForever) => {
                write!(f, "kept: it is in error, and carries KeepForever: only you can delete it")
            }
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

/// Keeps what is due and held from outside: EC2 would refuse, and one day it is free again.
pub fn keep_what_is_held(candidates: &[Candidate], verdicts: &mut [Verdict], holders: &Holders) {
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if let (Verdict::Expire(_), Some(holder)) = (&*verdict, holders.get(&candidate.id)) {
            *verdict = Verdict::Keep(Keep::Held(holder.clone()));
        }
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
        let broken = candidate.state == SnapshotState::Error;
        return Err(if broken { Keep::BrokenForever } else { Keep::KeepForever });
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
    if scope.run_id.is_some() && candidate.run_id.as_deref() == scope.run_id {
        return Err(Keep::OfThisRun);
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

/// What two backups of a day have in common that are one: the run of a snapshot, the source of a copy; else nothing.
fn origin(candidate: &Candidate) -> Option<&str> {
    match candidate.tags.from_region {
        None => candidate.run_id.as_deref(),
        Some(_) => candidate.tags.source_snapshot.as_ref().map(SnapshotId::as_str),
    }
}

/// The indices of the `minimum_kept` newest completed snapshots of every volume with a floor.
///
/// Whether one of them carries `KeepForever` makes no difference: tagging a snapshot never costs another its place.
/// A copy is begun later than its data: without `CreatedOn` it may be the newest, and takes no other's place.
fn newest(candidates: &[Candidate], scope: &Scope<'_>) -> BTreeSet<usize> {
    let kept = scope.minimum_kept as usize;
    let (mut by_volume, mut newest) = (BTreeMap::<&VolumeId, Vec<(NaiveDate, usize)>>::new(), BTreeSet::new());
    for (index, candidate) in candidates.iter().enumerate() {
        let Some(volume) = candidate.volume.as_ref().filter(|v| scope.floor.contains(*v)) else { continue };
        if candidate.state == SnapshotState::Completed && ownership(candidate, scope).is_ok() {
            // A copy by the day of its data: a backlog is copied later than what is newer. EC2 knows a snapshot's own day.
            // No copy is newer than its own start.
            let day = candidate.tags.created_on.filter(|day| *day <= candidate.started.date_naive());
            match (candidate.tags.from_region.is_some(), day) {
                (true, None) if kept > 0 => _ = newest.insert(index),
                (is_copy, day) => {
                    let day = day.filter(|_| is_copy).unwrap_or_else(|| candidate.started.date_naive());
                    by_volume.entry(volume).or_default().push((day, index));
                }
            }
        }
    }
    for mut all in by_volume.into_values() {
        all.sort_unstable_by_key(|(day, index)| (*day, candidates[*index].started, &candidates[*index].id));
        // Of two that are one backup, the one that counts fills a place, and the other only what is left.
        let mut alike: BTreeMap<(NaiveDate, &str), Vec<&Candidate>> = BTreeMap::new();
        for (day, index) in &all {
            if let Some(origin) = origin(&candidates[*index]) {
                alike.entry((*day, origin)).or_default().push(&candidates[*index]);
            }
        }
        let (first, surplus): (Vec<_>, Vec<_>) = all.into_iter().partition(|(day, index)| {
            let one = &candidates[*index];
            let counts = |origin| oldest_live(alike[&(*day, origin)].iter().copied()).is_some_and(|c| c.id == one.id);
            origin(one).is_none_or(counts)
        });
        newest.extend(first.iter().rev().chain(surplus.iter().rev()).take(kept).map(|(_, index)| *index));
    }
    newest
}

/// A region in which too much would be deleted at once.
///
/// A backup is what there is of one volume of one day, so that several snapshots a day do not hide how much would go;
/// volumes are looked at besides, so that a single long archive does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MassExpire {
    /// Too many backups.
    #[error("{due} of {all} backups (of a volume and a day) would go at once, more than {percent} %")]
    Backups {
        /// Those that would go.
        due: usize,
        /// All that count.
        all: usize,
        /// `MaxExpirePercent`.
        percent: u32,
    },
    /// Too many volumes would be left without a backup.
    #[error("{due} of {all} volumes would lose their last backup there at once, more than {percent} %")]
    Volumes {
        /// Those of which nothing would stay.
        due: usize,
        /// All that count.
        all: usize,
        /// `MaxExpirePercent`.
        percent: u32,
    },
}

/// What stops the expiry of a region, and the whole input that lets it go on.
pub fn stopped(region: &Region, why: &impl fmt::Display) -> String {
    format!(
        "{region}: {why}: nothing that is due is deleted there; if it is meant, start an execution with \
         {{\"phases\": [\"expire\"], \"allowMassExpire\": [\"{region}\"]}}"
    )
}

/// From this many backups, or volumes, up the share that is due is looked at.
const BREAKER_FROM: usize = 20;

/// Refuses to let more than `max_percent` of a region's backups go at once, or the last backups of more than
/// `max_percent` of its volumes.
///
/// A backup goes when none of its completed snapshots stays. What others made takes no part. What is kept for ever, or
/// held by an image or a lock, and what can never be due, stands outside.
pub fn breaker(candidates: &[Candidate], verdicts: &[Verdict], max_percent: u32) -> Result<(), MassExpire> {
    // Of each volume and day: whether it counts, and whether something stays. What is of no known volume stands alone.
    let mut backups: BTreeMap<(&str, NaiveDate), (bool, bool)> = BTreeMap::new();
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if candidate.state == SnapshotState::Completed && verdict.is_ours() {
            let day = candidate.tags.created_on.unwrap_or_else(|| candidate.started.date_naive());
            let volume = candidate.volume.as_ref().map_or(candidate.id.as_str(), VolumeId::as_str);
            let (counts, stays) = backups.entry((volume, day)).or_default();
            // What is of no known volume can never be due.
            *counts |= candidate.volume.is_some() && verdict.counts();
            *stays |= !verdict.expires();
        }
    }
    let mut volumes: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for ((volume, _), (counts, stays)) in &backups {
        let of_volume = volumes.entry(volume).or_default();
        // What stands outside keeps no volume: an archive of one snapshot each would hide that all else goes.
        *of_volume = (of_volume.0 | counts, of_volume.1 | (*counts && *stays));
    }
    let percent = max_percent;
    if let Some((due, all)) = exceeds(backups.values(), percent) {
        return Err(MassExpire::Backups { due, all, percent });
    }
    match exceeds(volumes.values(), percent) {
        Some((due, all)) => Err(MassExpire::Volumes { due, all, percent }),
        None => Ok(()),
    }
}

/// How many of those that count would go, and how many there are, where that is too much.
fn exceeds<'a>(all: impl Iterator<Item = &'a (bool, bool)>, percent: u32) -> Option<(usize, usize)> {
    let counted: Vec<bool> = all.filter(|(counts, _)| *counts).map(|(_, stays)| *stays).collect();
    let due = counted.iter().filter(|stays| !**stays).count();
    (counted.len() >= BREAKER_FROM && due * 100 > counted.len() * percent as usize).then_some((due, counted.len()))
}

#[cfg(test)]
mod tests;
