//! What of a snapshot and of a copy decides which copies are owed: small, since a region may hold 100,000 of each.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    earlier_scripts::{Described, LegacyCopy, LegacyKeys, UnlabelledCopies},
    fleet::{Dated, Snapshot, SnapshotState, oldest_live},
    ids::{Region, SnapshotId, VolumeId},
    retention::RetentionDays,
    tags::{self, SnapshotTags},
};

/// Whether a snapshot of the home region can be owed copies: it is automated, and not a copy itself.
pub fn is_source(read: &SnapshotTags) -> bool {
    read.automated && read.from_region.is_none()
}

/// What is kept of a snapshot of the home region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub id: SnapshotId,
    pub volume: Option<VolumeId>,
    pub state: SnapshotState,
    pub started: DateTime<Utc>,
    pub tags: SnapshotTags,
    pub run_id: Option<Box<str>>,
    pub description: Box<str>,
    /// The value of `KeepForever`.
    pub keep_forever: Option<Box<str>>,
    /// Its own `BackupCrossRegion`, as it was written.
    pub cross_region: Option<Box<str>>,
    pub retention_cross_region: Option<RetentionDays>,
}

impl From<&Snapshot> for Source {
    fn from(snapshot: &Snapshot) -> Self {
        let value = |key| snapshot.tags.get(key).map(|value| value.as_str().into());
        Self {
            id: snapshot.id.clone(),
            volume: snapshot.volume.clone(),
            state: snapshot.state,
            started: snapshot.started,
            tags: SnapshotTags::read(&snapshot.tags),
            run_id: value(tags::BACKUP_RUN),
            description: snapshot.description.as_str().into(),
            keep_forever: tags::keep_forever(&snapshot.tags).map(|value| value.as_str().into()),
            cross_region: value(tags::BACKUP_CROSS_REGION),
            retention_cross_region: tags::parsed(&snapshot.tags, tags::RETENTION_CROSS_REGION),
        }
    }
}

impl Dated for Source {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

impl Source {
    /// Whether it is a backup, or can become one: pending or completed.
    pub fn is_live(&self) -> bool {
        matches!(self.state, SnapshotState::Pending | SnapshotState::Completed)
    }

    fn described(&self, created_on: NaiveDate) -> Described<'_> {
        Described { id: &self.id, created_on, description: &self.description, is_of_a_run: self.run_id.is_some() }
    }

    /// The regions in its own `BackupCrossRegion`.
    pub fn promised(&self) -> Vec<Region> {
        tags::regions(self.cross_region.as_deref().unwrap_or_default()).0
    }
}

/// What is kept of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub id: SnapshotId,
    pub state: SnapshotState,
    pub started: DateTime<Utc>,
    /// Whether it carries `KeepForever`.
    pub keeps_forever: bool,
}

impl Dated for Copy {
    fn dated(&self) -> (SnapshotState, DateTime<Utc>, &SnapshotId) {
        (self.state, self.started, &self.id)
    }
}

impl Copy {
    fn is_live(&self) -> bool {
        matches!(self.state, SnapshotState::Pending | SnapshotState::Completed)
    }
}

/// What there is of a source in a destination.
pub(crate) enum CopyState<'a> {
    Absent,
    Pending(&'a Copy),
    Completed,
    Doubtful,
}

/// The copies of the home region's snapshots in a destination.
#[derive(Debug, Default)]
pub struct Copies {
    by_source: BTreeMap<SnapshotId, Alike>,
    /// Made by the earlier scripts, without `SourceSnapshotId`.
    unlabelled: UnlabelledCopies<Copy>,
}

/// The copies of one source: mostly one.
#[derive(Debug)]
enum Alike {
    One(Copy),
    More(Vec<Copy>),
}

impl Alike {
    fn all(&self) -> &[Copy] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }

    fn push(&mut self, copy: Copy) {
        match self {
            Self::One(first) => *self = Self::More(vec![first.clone(), copy]),
            Self::More(all) => all.push(copy),
        }
    }
}

impl Copies {
    /// Of these.
    pub fn of<'a>(there: impl IntoIterator<Item = &'a Snapshot>, home: &Region) -> Self {
        let mut copies = Self::default();
        there.into_iter().for_each(|one| copies.note(one, home));
        copies
    }

    /// Takes note of one, if it is a copy of a snapshot of the home region.
    pub fn note(&mut self, one: &Snapshot, home: &Region) {
        let read = SnapshotTags::read(&one.tags);
        if read.from_region.as_deref() != Some(home.as_str()) {
            return;
        }
        let copy =
            Copy { id: one.id.clone(), state: one.state, started: one.started, keeps_forever: read.keep_forever };
        match read.source_snapshot {
            Some(source) => match self.by_source.get_mut(&source) {
                Some(alike) => alike.push(copy),
                None => _ = self.by_source.insert(source, Alike::One(copy)),
            },
            None if copy.is_live() => {
                self.unlabelled.add(copy, read.created_on, &one.description);
            }
            None => {}
        }
    }

    fn labelled(&self, source: &Source) -> &[Copy] {
        self.by_source.get(&source.id).map_or(&[], Alike::all)
    }

    pub(crate) fn state_of(&self, source: &Source, created_on: NaiveDate, sharing: usize) -> CopyState<'_> {
        let labelled = self.labelled(source);
        if labelled.iter().any(|copy| copy.state == SnapshotState::Completed) {
            return CopyState::Completed;
        }
        if let Some(pending) = oldest_live(labelled) {
            return CopyState::Pending(pending);
        }
        match self.unlabelled.copy_of(&source.described(created_on), sharing) {
            LegacyCopy::Absent => CopyState::Absent,
            LegacyCopy::Completed => CopyState::Completed,
            LegacyCopy::Doubtful => CopyState::Doubtful,
        }
    }

    /// The copies of a source that do not carry `KeepForever`.
    pub(crate) fn without_keep_forever(&self, source: &Source, sharing: usize) -> Vec<SnapshotId> {
        let mut copies: Vec<&Copy> = self.labelled(source).iter().collect();
        if let Some(created_on) = source.tags.created_on {
            copies.extend(self.unlabelled.certainly_of(source.described(created_on), sharing));
        }
        copies.retain(|copy| copy.is_live() && !copy.keeps_forever);
        copies.into_iter().map(|copy| copy.id.clone()).collect()
    }

    pub(crate) fn surplus(&self) -> Vec<SnapshotId> {
        let mut surplus = BTreeSet::new();
        for alike in self.by_source.values() {
            let counts = oldest_live(alike.all()).map(|copy| &copy.id);
            let beyond = alike.all().iter().filter(|copy| copy.is_live() && Some(&copy.id) != counts);
            surplus.extend(beyond.map(|copy| copy.id.clone()));
        }
        surplus.into_iter().collect()
    }
}

/// The keys of the live sources, by which copies of the earlier scripts are matched.
pub(crate) fn legacy_keys(sources: &[Source]) -> LegacyKeys<'_> {
    let live = sources.iter().filter(|source| source.is_live() && is_source(&source.tags));
    LegacyKeys::of(live.map(|source| (source.tags.created_on, &*source.description)))
}

/// The sources of a volume in one run beyond the one that counts.
pub(crate) fn surplus(made: &[Source]) -> BTreeSet<SnapshotId> {
    let mut by_volume: BTreeMap<(&VolumeId, &str), Vec<&Source>> = BTreeMap::new();
    for source in made.iter().filter(|source| source.is_live() && is_source(&source.tags)) {
        if let (Some(volume), Some(run_id)) = (&source.volume, source.run_id.as_deref()) {
            by_volume.entry((volume, run_id)).or_default().push(source);
        }
    }
    let beyond = |all: Vec<&Source>| {
        let counts = oldest_live(all.iter().copied()).map(|one| one.id.clone());
        all.into_iter().map(|one| one.id.clone()).filter(move |id| Some(id) != counts.as_ref()).collect::<Vec<_>>()
    };
    by_volume.into_values().filter(|all| all.len() > 1).flat_map(beyond).collect()
}
