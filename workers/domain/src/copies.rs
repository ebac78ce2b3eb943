//! Which copies are owed to a destination region. Only what exists decides, no record of earlier runs.
//!
//! A completed automated snapshot of the home region is owed a copy while its region list names the destination, the
//! destination has no completed copy, the snapshot is inside the look-back, and the copy would still be wanted tomorrow.
//! A copy is a snapshot with the home region in `BackupFromRegion`, whatever its `Type`.
//! A pending copy is owed too: the copy worker finds it and waits for it, unless it is stuck.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    earlier_scripts::{LegacyCopy, LegacyKeys, UnlabelledCopies},
    fleet::{Instance, Snapshot, SnapshotState, Tags, oldest_live},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    labels::{copy_labels, printable},
    retention::RetentionDays,
    settings::Settings,
    tags::{self, InstanceTags, SnapshotTags},
};

/// A line of a copies manifest, and the task of the copy worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CopyTask {
    /// Make a copy of `snapshot` in `region`, with these tags and no others.
    Copy { region: Region, snapshot: SnapshotId, description: String, tags: Tags },
    /// Set `KeepForever` on the copy `snapshot` in `region`: the source carries it, and the copy does not.
    Retag { region: Region, snapshot: SnapshotId, keep_forever: String },
}

impl CopyTask {
    /// The destination.
    pub fn region(&self) -> &Region {
        match self {
            Self::Copy { region, .. } | Self::Retag { region, .. } => region,
        }
    }
}

/// The copies that a region is owed, and the sources that need attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// The newest snapshot of each volume comes first, then the second newest of each, and so on.
    pub tasks: Vec<CopyTask>,
    /// Copies that are pending for longer than a day: owed, and not waited for.
    pub stuck: Vec<Stuck>,
    /// Sources that have left the look-back without the copy that they were promised.
    pub forgotten: Vec<SnapshotId>,
    /// Sources that the earlier scripts may have copied: not copied, but reported.
    pub doubtful: Vec<Doubt>,
    /// Copies of a source beyond the one that counts. They expire on their own date.
    pub surplus: Vec<SnapshotId>,
    /// The keys of the sources' tags for which the copies have no room.
    pub dropped_tags: BTreeMap<SnapshotId, Vec<String>>,
}

/// A copy that is pending for longer than [`STUCK_AFTER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub source: SnapshotId,
    pub copy: SnapshotId,
    pub since: DateTime<Utc>,
}

/// A source that may have a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub source: SnapshotId,
    pub reason: String,
}

impl Owed {
    /// The sources whose copy is owed, forgotten or in doubt.
    pub fn sources(&self) -> BTreeSet<&SnapshotId> {
        let owed = self.tasks.iter().filter_map(|task| match task {
            CopyTask::Copy { snapshot, .. } => Some(snapshot),
            CopyTask::Retag { .. } => None,
        });
        let stuck = self.stuck.iter().map(|stuck| &stuck.source);
        owed.chain(stuck).chain(&self.forgotten).chain(self.doubtful.iter().map(|doubt| &doubt.source)).collect()
    }
}

/// A copy that is pending for longer than this is stuck.
pub const STUCK_AFTER: TimeDelta = TimeDelta::hours(24);

/// The fewest days that a copy is kept: a run that passes midnight could not make a copy of a single day.
pub const MIN_COPY_DAYS: u32 = 2;

/// The settings that decide which copies are owed.
#[derive(Clone, Debug)]
pub struct CopyRules<'a> {
    /// The region of the sources.
    pub home: &'a Region,
    /// For the tags of the copies.
    pub run_id: &'a str,
    pub now: DateTime<Utc>,
    /// `CopyLookbackDays`.
    pub lookback_days: u32,
    /// For sources without a retention of their own.
    pub default_retention: RetentionDays,
}

impl<'a> CopyRules<'a> {
    pub fn new(home: &'a Region, run_id: &'a str, settings: &Settings, now: DateTime<Utc>) -> Self {
        Self {
            home,
            run_id,
            now,
            lookback_days: settings.copy_lookback_days,
            default_retention: settings.default_retention,
        }
    }

    /// Today, UTC.
    fn today(&self) -> NaiveDate {
        self.now.date_naive()
    }
}

/// The instances that exist and are tagged `Backup=Yes`, by id and by volume.
#[derive(Debug, Default)]
pub struct LiveInstances {
    by_id: BTreeMap<InstanceId, InstanceTags>,
    by_volume: BTreeMap<VolumeId, InstanceId>,
}

impl LiveInstances {
    pub fn of(instances: &[Instance]) -> Self {
        let mut living = Self::default();
        for instance in instances.iter().filter(|i| i.is_living()) {
            let (read, _) = InstanceTags::read(&instance.tags);
            if read.is_wanted() {
                for attachment in &instance.volumes {
                    let owner = living.by_volume.entry(attachment.volume.clone()).or_insert(instance.id.clone());
                    *owner = instance.id.clone().min(owner.clone()); // The lowest id, as in `policy::plan`.
                }
                living.by_id.insert(instance.id.clone(), read);
            }
        }
        living
    }

    fn instance_of(&self, snapshot: &Snapshot, read: &SnapshotTags) -> Option<&InstanceTags> {
        let named = read.source_instance.as_ref().and_then(|id| self.by_id.get(id));
        named.or_else(|| self.by_id.get(self.by_volume.get(snapshot.volume.as_ref()?)?))
    }

    /// The regions that a source is to be copied to: from the tag of its living instance, or else from its own.
    pub fn copy_regions(&self, source: &Snapshot) -> Vec<Region> {
        let read = SnapshotTags::read(&source.tags);
        match self.instance_of(source, &read) {
            Some(instance) => instance.copy_regions.clone(),
            None => promised(source),
        }
    }

    /// The first day on which a copy of a source is not wanted any more; `None` if no copy is wanted at all.
    ///
    /// It follows from `RetentionCrossRegion` of the source, or else of its living instance; without these, the copy is
    /// kept as long as the source. It is never less than [`MIN_COPY_DAYS`].
    fn copy_delete_on(
        &self,
        source: &Snapshot,
        read: &SnapshotTags,
        created_on: NaiveDate,
        rules: &CopyRules<'_>,
    ) -> Option<NaiveDate> {
        let days = source.tags.get(tags::RETENTION_CROSS_REGION).and_then(|days| days.parse::<RetentionDays>().ok());
        let days = days.or_else(|| self.instance_of(source, read)?.retention_cross_region);
        let asked = match (days, read.delete_on) {
            (Some(days), _) => days.delete_on(created_on),
            // Somebody has set the source to expire on its first day.
            (None, Some(day)) if day <= created_on => return None,
            (None, Some(day)) => day,
            (None, None) => rules.default_retention.delete_on(created_on),
        };
        Some(asked.max(created_on + Days::new(MIN_COPY_DAYS.into())))
    }
}

/// The regions in a snapshot's own `BackupCrossRegion`.
pub fn promised(source: &Snapshot) -> Vec<Region> {
    tags::regions(source.tags.get(tags::BACKUP_CROSS_REGION).map_or("", String::as_str)).0
}

/// Whether a snapshot of the home region can be owed copies: it is automated, and not a copy itself.
pub fn is_source(read: &SnapshotTags) -> bool {
    read.automated && read.from_region.is_none()
}

/// Decides which copies `region` is owed.
///
/// `sources` are the home region's automated snapshots, `there` the destination's. Copies of other stacks, and
/// snapshots that were made there, are ignored.
pub fn owed(
    sources: &[Snapshot],
    there: &[Snapshot],
    living: &LiveInstances,
    region: &Region,
    rules: &CopyRules<'_>,
) -> Owed {
    let copies = Copies::of(there, rules.home);
    let (keys, surplus) = (legacy_keys(sources), surplus_snapshots(sources));
    let mut owed = Owed { surplus: copies.surplus(), ..Owed::default() };
    let mut ranked: Vec<(usize, CopyTask)> = Vec::new();
    let mut rank_of_volume: BTreeMap<Option<&VolumeId>, usize> = BTreeMap::new();

    let mut newest_first: Vec<(&Snapshot, SnapshotTags)> =
        sources.iter().map(|s| (s, SnapshotTags::read(&s.tags))).filter(|(_, read)| is_source(read)).collect();
    newest_first.sort_by(|(a, _), (b, _)| b.started.cmp(&a.started).then_with(|| a.id.cmp(&b.id)));

    for (source, read) in newest_first {
        let sharing = keys.sharing(source);
        if let Some(value) = tags::keep_forever(&source.tags) {
            ranked.extend(copies.retags(source, &read, value, region, sharing).map(|retag| (0, retag)));
        }
        let rank = rank_of_volume.entry(source.volume.as_ref()).or_default();
        *rank += 1;
        if source.state != SnapshotState::Completed || surplus.contains(&source.id) {
            continue;
        }
        if !living.copy_regions(source).contains(region) {
            continue;
        }
        let doubt = |reason: String| Doubt { source: source.id.clone(), reason };
        let Some(created_on) = read.created_on else {
            owed.doubtful.push(doubt("CreatedOn cannot be read: it is not copied".into()));
            continue;
        };
        let Some(delete_on) = living.copy_delete_on(source, &read, created_on, rules) else { continue };
        // EC2 cannot tell an expired copy from one that was never made; a run's manifest tells it of its own copies.
        if delete_on <= rules.today() {
            continue;
        }
        let age = (rules.today() - created_on).num_days();
        let lookback = i64::from(rules.lookback_days);
        let in_lookback = age <= lookback;
        // A source that has left the look-back is reported for as many days again, if its own tag promised the copy.
        let just_left = age <= 2 * lookback && promised(source).contains(region);
        if !(in_lookback || just_left) {
            continue;
        }
        match copies.state_of(source, created_on, sharing) {
            CopyState::Completed => {}
            CopyState::Doubtful => owed.doubtful.push(doubt(format!(
                "{region} has copies of {created_on} by the earlier scripts, and one may be its copy: it is not copied"
            ))),
            CopyState::Absent | CopyState::Pending(_) if !in_lookback => owed.forgotten.push(source.id.clone()),
            CopyState::Pending(copy) if rules.now - copy.started > STUCK_AFTER => {
                owed.stuck.push(Stuck { source: source.id.clone(), copy: copy.id.clone(), since: copy.started })
            }
            CopyState::Absent | CopyState::Pending(_) => {
                let labels = copy_labels(source, rules.home, rules.run_id, created_on, delete_on);
                if !labels.dropped.is_empty() {
                    owed.dropped_tags.insert(source.id.clone(), labels.dropped);
                }
                let task = CopyTask::Copy {
                    region: region.clone(),
                    snapshot: source.id.clone(),
                    description: printable(&source.description),
                    tags: labels.tags,
                };
                ranked.push((*rank, task));
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank); // Stable: within a rank the newest stays first.
    owed.tasks = ranked.into_iter().map(|(_, task)| task).collect();
    owed
}

/// The sources without a completed copy in a destination.
pub fn uncopied(sources: &[Snapshot], there: &[Snapshot], home: &Region) -> BTreeSet<SnapshotId> {
    let (copies, keys) = (Copies::of(there, home), legacy_keys(sources));
    let is_copied = |source: &Snapshot| {
        let sharing = keys.sharing(source);
        let created_on = SnapshotTags::read(&source.tags).created_on;
        created_on.is_some_and(|day| matches!(copies.state_of(source, day, sharing), CopyState::Completed))
    };
    sources.iter().filter(|source| !is_copied(source)).map(|source| source.id.clone()).collect()
}

/// The snapshots of a volume in one run beyond the one that counts: two executions may have made one each.
pub fn surplus_snapshots(made: &[Snapshot]) -> BTreeSet<SnapshotId> {
    let mut by_volume: BTreeMap<(&VolumeId, &String), Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in made.iter().filter(|s| s.is_live() && is_source(&SnapshotTags::read(&s.tags))) {
        if let (Some(volume), Some(run_id)) = (&snapshot.volume, snapshot.tags.get(tags::BACKUP_RUN)) {
            by_volume.entry((volume, run_id)).or_default().push(snapshot);
        }
    }
    let beyond = |all: Vec<&Snapshot>| {
        let counts = oldest_live(all.iter().copied()).map(|one| one.id.clone());
        all.into_iter().map(|one| one.id.clone()).filter(move |id| Some(id) != counts.as_ref()).collect::<Vec<_>>()
    };
    by_volume.into_values().flat_map(beyond).collect()
}

enum CopyState<'a> {
    Absent,
    Pending(&'a Snapshot),
    Completed,
    Doubtful,
}

/// The keys of the live sources, by which copies of the earlier scripts are matched.
fn legacy_keys(sources: &[Snapshot]) -> LegacyKeys {
    LegacyKeys::of(sources.iter().filter(|s| s.is_live() && is_source(&SnapshotTags::read(&s.tags))))
}

/// The copies of the home region's snapshots in a destination.
struct Copies<'a> {
    by_source: BTreeMap<SnapshotId, Vec<&'a Snapshot>>,
    /// Made by the earlier scripts, without `SourceSnapshotId`.
    unlabelled: UnlabelledCopies<'a>,
}

impl<'a> Copies<'a> {
    fn of(there: &'a [Snapshot], home: &Region) -> Self {
        let mut copies = Self { by_source: BTreeMap::new(), unlabelled: UnlabelledCopies::default() };
        for copy in there {
            let read = SnapshotTags::read(&copy.tags);
            if read.from_region.as_deref() != Some(home.as_str()) {
                continue;
            }
            match read.source_snapshot {
                Some(source) => copies.by_source.entry(source).or_default().push(copy),
                None if copy.is_live() => copies.unlabelled.add(copy, read.created_on),
                None => {}
            }
        }
        copies
    }

    fn state_of(&self, source: &Snapshot, created_on: NaiveDate, sharing: usize) -> CopyState<'a> {
        let labelled = || self.by_source.get(&source.id).into_iter().flatten().copied();
        if labelled().any(|copy| copy.state == SnapshotState::Completed) {
            return CopyState::Completed;
        }
        if let Some(pending) = oldest_live(labelled()) {
            return CopyState::Pending(pending);
        }
        match self.unlabelled.copy_of(source, created_on, sharing) {
            LegacyCopy::Absent => CopyState::Absent,
            LegacyCopy::Completed => CopyState::Completed,
            LegacyCopy::Doubtful => CopyState::Doubtful,
        }
    }

    fn retags(
        &self,
        source: &Snapshot,
        read: &SnapshotTags,
        value: &str,
        region: &Region,
        sharing: usize,
    ) -> impl Iterator<Item = CopyTask> {
        let mut copies: Vec<&Snapshot> = self.by_source.get(&source.id).into_iter().flatten().copied().collect();
        if let Some(created_on) = read.created_on {
            copies.extend(self.unlabelled.certainly_of(source, created_on, sharing));
        }
        copies.retain(|copy| copy.is_live() && tags::keep_forever(&copy.tags).is_none());
        copies.into_iter().map(|copy| CopyTask::Retag {
            region: region.clone(),
            snapshot: copy.id.clone(),
            keep_forever: value.to_owned(),
        })
    }

    fn surplus(&self) -> Vec<SnapshotId> {
        let mut surplus = BTreeSet::new();
        for copies in self.by_source.values() {
            let counts = oldest_live(copies.iter().copied()).map(|copy| &copy.id);
            surplus.extend(copies.iter().filter(|c| c.is_live() && Some(&c.id) != counts).map(|c| c.id.clone()));
        }
        surplus.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
