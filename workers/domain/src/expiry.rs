//! Which snapshots may be deleted: one verdict per snapshot, with its reason, from a pure function.
//!
//! In doubt a snapshot is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    earlier_scripts::{KeptDescriptions, described, named_in},
    fleet::{Dated, Snapshot, SnapshotState, oldest_live},
    ids::{Region, SnapshotId, VolumeId},
    proof::Proof,
    tags::{self, SnapshotTags},
};

/// The volume id that EC2 shows for copies, which have no volume in their region (seen; documented as arbitrary).
const ANY_COPYS_VOLUME: &str = "vol-ffffffff";

/// The parts of a snapshot that its verdict needs: small, since a region may hold 100,000 snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: SnapshotId,
    pub state: SnapshotState,
    pub started: DateTime<Utc>,
    /// Of a copy that says it, when its source was begun.
    pub source_started: Option<DateTime<Utc>>,
    /// The volume it is a backup of; `None` if that is not known.
    pub volume: Option<VolumeId>,
    pub tags: SnapshotTags,
    /// The run that made it.
    pub run_id: Option<Box<str>>,
    /// The description, only of a copy that does not name its source.
    pub description: Option<Box<str>>,
    /// Bytes of its volume, where EC2 tells them.
    pub full_size: Option<u64>,
    /// What the last drill found that read it.
    pub proof: Option<Proof>,
}

impl Candidate {
    /// Whether a drill found it to be bad.
    pub fn has_failed(&self) -> bool {
        self.proof.is_some_and(|proof| proof.has_failed())
    }
}

impl Dated for Candidate {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

impl Candidate {
    /// When its data was taken: a copy is as old as its source, however late it was made. `begun` tells the start of a
    /// source, where that is known; without it the begin of the copy's day counts. None of a copy of no known day.
    pub fn taken(&self, begun: impl FnOnce(&SnapshotId) -> Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        if self.tags.from_region.is_none() {
            return Some(self.started);
        }
        let source = self.tags.source_snapshot.as_ref().and_then(begun);
        let day = || self.tags.created_on.map(|day| day.and_time(NaiveTime::MIN).and_utc());
        Some(source.or_else(day)?.min(self.started))
    }
}

impl From<&Snapshot> for Candidate {
    fn from(snapshot: &Snapshot) -> Self {
        let read = SnapshotTags::read(&snapshot.tags);
        // The volume id of a copy is arbitrary (CopySnapshot documentation).
        let volume = match &read.from_region {
            // A snapshot that was copied by hand within its region has the volume id of copies.
            None => snapshot.volume.clone().filter(|volume| volume.as_str() != ANY_COPYS_VOLUME),
            Some(_) => read.source_volume.clone().or_else(|| described(&snapshot.description).map(|a| a.volume)),
        };
        let unlabelled_copy = read.from_region.is_some() && read.source_snapshot.is_none();
        Self {
            id: snapshot.id.clone(),
            state: snapshot.state,
            started: snapshot.started,
            source_started: snapshot.tags.get(tags::SOURCE_STARTED).and_then(|at| at.parse().ok()),
            volume,
            tags: read,
            run_id: snapshot.tags.get(tags::BACKUP_RUN).map(|id| id.as_str().into()),
            description: unlabelled_copy.then(|| snapshot.description.as_str().into()),
            full_size: snapshot.full_size,
            proof: Proof::read(&snapshot.tags),
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
    /// Adds a snapshot of the home region, if it carries `KeepForever`.
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

/// The facts that decide the verdicts on a region's snapshots.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub home: &'a Region,
    /// The region of the snapshots.
    pub region: &'a Region,
    /// Today, UTC.
    pub today: NaiveDate,
    /// The run that asks. It never deletes snapshots that it made itself, even if they become due before it ends.
    pub run_id: Option<&'a str>,
    /// The volumes whose last backups stay: see [`crate::protection`].
    pub floor: &'a BTreeSet<VolumeId>,
    /// `MinimumKept`.
    pub minimum_kept: u32,
    /// The sources with `KeepForever`; `None` if the home region could not be read.
    pub kept_sources: Option<&'a KeptSources>,
}

/// The snapshots that an image, a lock or an unfinished restore holds, with the name of the holder, such as `image ami-0123`.
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
    /// It is not known whether its source carries `KeepForever`.
    SourceUnreadable,
    /// Its volume is not known: it may be the last backup of that volume.
    VolumeUnknown,
    /// It is one of the newest completed backups of a volume with a floor (`MinimumKept`).
    Newest,
    /// It is one of the newest of those that no drill found bad, since a drill found newer ones bad.
    NewestNotFailed,
    /// The run that asks made it.
    OfThisRun,
    /// A copy of it is owed or in doubt. The copy may be wanted for longer than the snapshot.
    CopyOwed,
    /// An image or a lock holds it: EC2 would refuse.
    Held(String),
    /// It is in `error`, so no backup, and carries `KeepForever`, so that the role must not delete it.
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

/// The decision about a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Keep(Keep),
    Expire(Expire),
}

impl Verdict {
    pub fn expires(&self) -> bool {
        matches!(self, Self::Expire(_))
    }

    /// Whether the snapshot is kept although it is due or broken. The report lists these.
    pub fn is_left(&self) -> bool {
        use Keep::{
            BrokenForever, CopyOwed, Held, Newest, NewestNotFailed, OfThisRun, SourceKept, SourceUnreadable,
            VolumeUnknown,
        };
        matches!(
            self,
            Self::Keep(
                Newest
                    | NewestNotFailed
                    | OfThisRun
                    | CopyOwed
                    | Held(_)
                    | SourceKept
                    | SourceUnreadable
                    | VolumeUnknown
                    | BrokenForever
            )
        )
    }

    /// Whether the breaker counts it. It does not count snapshots that are kept for ever, held by an image or a lock, or
    /// can never be due.
    pub(crate) fn counts(&self) -> bool {
        use Keep::{BrokenForever, Held, KeepForever, NoDeleteOn, SourceKept, VolumeUnknown};
        let stands_outside =
            matches!(self, Self::Keep(KeepForever | BrokenForever | SourceKept | Held(_) | NoDeleteOn | VolumeUnknown));
        self.is_ours() && !stands_outside
    }

    /// Whether the snapshot belongs to this stack.
    pub fn is_ours(&self) -> bool {
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
            Self::Keep(Keep::NewestNotFailed) => {
                write!(f, "kept: newest completed that no drill found bad, of a volume that exists")
            }
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

/// One verdict per candidate, in the same order.
pub fn verdicts(candidates: &[Candidate], scope: &Scope<'_>) -> Vec<Verdict> {
    let newest = newest(candidates, scope);
    candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| match judge(candidate, scope, newest.get(&index)) {
            Ok(expire) => Verdict::Expire(expire),
            Err(keep) => Verdict::Keep(keep),
        })
        .collect()
}

/// Keeps due sources whose copy is owed: without the source, the copy could never be made.
pub fn keep_sources_of_owed_copies(candidates: &[Candidate], verdicts: &mut [Verdict], owed: &BTreeSet<SnapshotId>) {
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if matches!(verdict, Verdict::Expire(Expire::Due(_))) && owed.contains(&candidate.id) {
            *verdict = Verdict::Keep(Keep::CopyOwed);
        }
    }
}

/// Keeps due snapshots that something holds: an image or a lock, since EC2 would refuse to delete them, or a restore that
/// needs them to go on.
pub fn keep_what_is_held(candidates: &[Candidate], verdicts: &mut [Verdict], holders: &Holders) {
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if let (Verdict::Expire(_), Some(holder)) = (&*verdict, holders.get(&candidate.id)) {
            *verdict = Verdict::Keep(Keep::Held(holder.clone()));
        }
    }
}

fn judge(candidate: &Candidate, scope: &Scope<'_>, newest: Option<&Keep>) -> Result<Expire, Keep> {
    let tags = &candidate.tags;
    let is_copy = tags.from_region.is_some();
    ownership(candidate, scope.region, scope.home)?;
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
    if let Some(keep) = newest {
        return Err(keep.clone());
    }
    if scope.run_id.is_some() && candidate.run_id.as_deref() == scope.run_id {
        return Err(Keep::OfThisRun);
    }
    Ok(Expire::Due(due))
}

/// Whether what a region holds is a backup of this home region's stack, or of the earlier scripts.
pub fn is_backup(candidate: &Candidate, region: &Region, home: &Region) -> bool {
    ownership(candidate, region, home).is_ok()
}

fn ownership(candidate: &Candidate, region: &Region, home: &Region) -> Result<(), Keep> {
    if !candidate.tags.automated {
        return Err(Keep::NotOurs);
    }
    let ours = match candidate.tags.from_region.as_deref() {
        None => region == home,
        Some(from) => from == home.as_str(),
    };
    if ours { Ok(()) } else { Err(Keep::AnotherStacks) }
}

/// Two backups of a volume and a day with the same origin are one backup: the run of a snapshot, or the source of a copy.
fn origin(candidate: &Candidate) -> Option<&str> {
    match candidate.tags.from_region {
        None => candidate.run_id.as_deref(),
        Some(_) => candidate.tags.source_snapshot.as_ref().map(SnapshotId::as_str),
    }
}

/// The indices of the `minimum_kept` newest completed snapshots of every volume with a floor, and of the as many newest
/// ones that no drill found bad.
///
/// Both: the word of a drill only ever adds protection, so that one that is wrong deletes nothing.
fn newest(candidates: &[Candidate], scope: &Scope<'_>) -> BTreeMap<usize, Keep> {
    let not_failed = newest_of(candidates, scope, |candidate| !candidate.has_failed());
    let all = newest_of(candidates, scope, |_| true);
    let kept = |keep: Keep| move |index| (index, keep.clone());
    not_failed.into_iter().map(kept(Keep::NewestNotFailed)).chain(all.into_iter().map(kept(Keep::Newest))).collect()
}

/// A snapshot with `KeepForever` fills a place like any other, so that the tag never removes protection from another.
/// A copy is begun later than its data. Without `CreatedOn` it may be the newest: it is kept, but fills no place.
fn newest_of(candidates: &[Candidate], scope: &Scope<'_>, counts: impl Fn(&Candidate) -> bool) -> BTreeSet<usize> {
    let kept = scope.minimum_kept as usize;
    let (mut by_volume, mut newest) = (BTreeMap::<&VolumeId, Vec<(NaiveDate, usize)>>::new(), BTreeSet::new());
    for (index, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| counts(candidate)) {
        let Some(volume) = candidate.volume.as_ref().filter(|v| scope.floor.contains(*v)) else { continue };
        if candidate.state == SnapshotState::Completed && is_backup(candidate, scope.region, scope.home) {
            // A copy is sorted by the day of its data, since an old snapshot may be copied late. A day after the copy's own
            // start is wrong. EC2 knows the day of a snapshot.
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
        // Of a day, too: the copies of several runs may be made in any order.
        let begun = |one: &Candidate| one.source_started.map_or(one.started, |source| source.min(one.started));
        all.sort_unstable_by_key(|(day, index)| (*day, begun(&candidates[*index]), &candidates[*index].id));
        // If two are one backup, the one that counts fills a place; the other fills one only if places are left.
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

#[cfg(test)]
pub(crate) mod tests;
