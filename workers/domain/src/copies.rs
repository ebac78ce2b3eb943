//! Which copies are owed to a destination region. Only what exists decides, no record of earlier runs.
//!
//! A completed automated snapshot of the home region is owed a copy while its region list names the destination, the
//! destination has no completed copy, the snapshot is inside the look-back, and the copy would still be wanted tomorrow.
//! A copy is a snapshot with the home region in `BackupFromRegion`, whatever its `Type`.
//! A pending copy is owed too: the copy worker finds it and waits for it, unless it is stuck.

mod kept;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    fleet::{Instance, Regions, Snapshot, SnapshotState, Tags},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    labels::{copy_labels, printable},
    retention::RetentionDays,
    settings::Settings,
    tags::{self, InstanceTags, parsed},
};

use kept::{CopyState, legacy_keys, surplus};

pub use kept::{Copies, Source, is_source};

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
    by_id: BTreeMap<InstanceId, Living>,
    by_volume: BTreeMap<VolumeId, InstanceId>,
}

#[derive(Debug)]
struct Living {
    tags: InstanceTags,
    /// Whether its tag names a region that cannot be used, or says something that cannot be read.
    unclear: bool,
}

impl Living {
    /// The regions that its sources are to be copied to. While that is unclear, those that a source was promised stay: a
    /// typo, and a region that was disabled, are no word against the others.
    fn copy_regions(&self, promised: impl FnOnce() -> Vec<Region>) -> Vec<Region> {
        let mut regions = self.tags.copy_regions.clone();
        if self.unclear {
            regions.extend(promised().into_iter().filter(|region| !self.tags.copy_regions.contains(region)));
        }
        regions
    }
}

impl LiveInstances {
    /// Those of a fleet; `regions` are those of the account.
    pub fn of(instances: &[Instance], regions: &Regions) -> Self {
        let mut living = Self::default();
        for instance in instances.iter().filter(|i| i.is_living()) {
            let (read, _) = InstanceTags::read(&instance.tags);
            if read.is_wanted() {
                for attachment in &instance.volumes {
                    let owner = living.by_volume.entry(attachment.volume.clone()).or_insert(instance.id.clone());
                    *owner = instance.id.clone().min(owner.clone()); // The lowest id, as in `policy::plan`.
                }
                let refused = read.copy_regions.iter().any(|region| regions.refuses(region).is_some());
                let unclear = read.copy_regions_unclear || refused;
                living.by_id.insert(instance.id.clone(), Living { tags: read, unclear });
            }
        }
        living
    }

    fn instance_of(&self, named: Option<&InstanceId>, volume: Option<&VolumeId>) -> Option<&Living> {
        let named = named.and_then(|id| self.by_id.get(id));
        named.or_else(|| self.by_id.get(self.by_volume.get(volume?)?))
    }

    /// The regions that a source is to be copied to: from the tag of its living instance, or else from its own.
    pub fn copy_regions(&self, source: &Snapshot) -> Vec<Region> {
        let named: Option<InstanceId> = parsed(&source.tags, tags::SOURCE_INSTANCE_ID);
        match self.instance_of(named.as_ref(), source.volume.as_ref()) {
            Some(instance) => instance.copy_regions(|| promised(source)),
            None => promised(source),
        }
    }

    /// The same of what is kept of a source.
    pub fn regions_of(&self, source: &Source) -> Vec<Region> {
        match self.instance_of(source.tags.source_instance.as_ref(), source.volume.as_ref()) {
            Some(instance) => instance.copy_regions(|| source.promised()),
            None => source.promised(),
        }
    }

    /// Whether a source is to be copied to a region.
    fn asks_for(&self, source: &Source, region: &Region) -> bool {
        match self.instance_of(source.tags.source_instance.as_ref(), source.volume.as_ref()) {
            Some(instance) if instance.tags.copy_regions.contains(region) => true,
            Some(instance) => instance.unclear && source.promised().contains(region),
            None => source.promised().contains(region),
        }
    }

    /// The first day on which a copy of a source is not wanted any more; `None` if no copy is wanted at all.
    ///
    /// It follows from `RetentionCrossRegion` of the source, or else of its living instance; without these, the copy is
    /// kept as long as the source. It is never less than [`MIN_COPY_DAYS`].
    fn copy_delete_on(&self, source: &Source, created_on: NaiveDate, rules: &CopyRules<'_>) -> Option<NaiveDate> {
        let instance = || self.instance_of(source.tags.source_instance.as_ref(), source.volume.as_ref());
        let days = source.retention_cross_region.or_else(|| instance()?.tags.retention_cross_region);
        let asked = match (days, source.tags.delete_on) {
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

/// What is decided of the copies of a region, before the tags of those that are to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// As in [`Owed`], by the place of the source in its list.
    pub wanted: Vec<Wanted>,
    /// As in [`Owed`].
    pub stuck: Vec<Stuck>,
    /// As in [`Owed`].
    pub forgotten: Vec<SnapshotId>,
    /// As in [`Owed`].
    pub doubtful: Vec<Doubt>,
    /// As in [`Owed`].
    pub surplus: Vec<SnapshotId>,
}

/// Something that a copy task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A copy of the source at this place.
    Copy { at: usize, created_on: NaiveDate, delete_on: NaiveDate },
    /// `KeepForever` on a copy.
    Retag { copy: SnapshotId, keep_forever: Box<str> },
}

impl Decided {
    /// The sources whose copy is owed, forgotten or in doubt.
    pub fn sources<'a>(&'a self, sources: &'a [Source]) -> BTreeSet<&'a SnapshotId> {
        let owed = self.wanted.iter().filter_map(|wanted| match wanted {
            Wanted::Copy { at, .. } => Some(&sources[*at].id),
            Wanted::Retag { .. } => None,
        });
        let stuck = self.stuck.iter().map(|stuck| &stuck.source);
        owed.chain(stuck).chain(&self.forgotten).chain(self.doubtful.iter().map(|doubt| &doubt.source)).collect()
    }
}

/// Decides which copies `region` is owed, and with which tags.
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
    let kept: Vec<Source> = sources.iter().map(Source::from).collect();
    let decided = decide(&kept, &Copies::of(there, rules.home), living, region, rules);
    let mut dropped_tags = BTreeMap::new();
    let task = |wanted| match wanted {
        Wanted::Copy { at, created_on, delete_on } => {
            let source = &sources[at];
            let labels = copy_labels(source, rules.home, rules.run_id, created_on, delete_on);
            if !labels.dropped.is_empty() {
                dropped_tags.insert(source.id.clone(), labels.dropped);
            }
            let (snapshot, description) = (source.id.clone(), printable(&source.description));
            CopyTask::Copy { region: region.clone(), snapshot, description, tags: labels.tags }
        }
        Wanted::Retag { copy, keep_forever } => {
            CopyTask::Retag { region: region.clone(), snapshot: copy, keep_forever: keep_forever.into() }
        }
    };
    let tasks = decided.wanted.into_iter().map(task).collect();
    let Decided { stuck, forgotten, doubtful, surplus, .. } = decided;
    Owed { tasks, stuck, forgotten, doubtful, surplus, dropped_tags }
}

/// Decides which copies `region` is owed, by what is kept of the sources and of the region's copies.
pub fn decide(
    sources: &[Source],
    copies: &Copies,
    living: &LiveInstances,
    region: &Region,
    rules: &CopyRules<'_>,
) -> Decided {
    let (keys, surplus) = (legacy_keys(sources), surplus(sources));
    let mut decided = Decided { surplus: copies.surplus(), ..Decided::default() };
    let mut ranked: Vec<(usize, Wanted)> = Vec::new();
    let mut rank_of_volume: BTreeMap<Option<&VolumeId>, usize> = BTreeMap::new();

    let mut newest_first: Vec<(usize, &Source)> =
        sources.iter().enumerate().filter(|(_, source)| is_source(&source.tags)).collect();
    newest_first.sort_by(|(_, a), (_, b)| b.started.cmp(&a.started).then_with(|| a.id.cmp(&b.id)));

    for (at, source) in newest_first {
        let sharing = keys.sharing(source.tags.created_on, &source.description);
        if let Some(keep_forever) = &source.keep_forever {
            let lacking = copies.without_keep_forever(source, sharing);
            ranked.extend(
                lacking.into_iter().map(|copy| (0, Wanted::Retag { copy, keep_forever: keep_forever.clone() })),
            );
        }
        let rank = rank_of_volume.entry(source.volume.as_ref()).or_default();
        *rank += 1;
        if source.state != SnapshotState::Completed || surplus.contains(&source.id) {
            continue;
        }
        if !living.asks_for(source, region) {
            continue;
        }
        let doubt = |reason: String| Doubt { source: source.id.clone(), reason };
        let Some(created_on) = source.tags.created_on else {
            decided.doubtful.push(doubt("CreatedOn cannot be read: it is not copied".into()));
            continue;
        };
        let Some(delete_on) = living.copy_delete_on(source, created_on, rules) else { continue };
        // EC2 cannot tell an expired copy from one that was never made; a run's manifest tells it of its own copies.
        if delete_on <= rules.today() {
            continue;
        }
        let age = (rules.today() - created_on).num_days();
        let lookback = i64::from(rules.lookback_days);
        let in_lookback = age <= lookback;
        // A source that has left the look-back is reported for as many days again, if its own tag promised the copy.
        let just_left = age <= 2 * lookback && source.promised().contains(region);
        if !(in_lookback || just_left) {
            continue;
        }
        match copies.state_of(source, created_on, sharing) {
            CopyState::Completed => {}
            CopyState::Doubtful => decided.doubtful.push(doubt(format!(
                "{region} has copies of {created_on} by the earlier scripts, and one may be its copy: it is not copied"
            ))),
            CopyState::Absent | CopyState::Pending(_) if !in_lookback => decided.forgotten.push(source.id.clone()),
            CopyState::Pending(copy) if rules.now - copy.started > STUCK_AFTER => {
                decided.stuck.push(Stuck { source: source.id.clone(), copy: copy.id.clone(), since: copy.started })
            }
            CopyState::Absent | CopyState::Pending(_) => {
                ranked.push((*rank, Wanted::Copy { at, created_on, delete_on }));
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank); // Stable: within a rank the newest stays first.
    decided.wanted = ranked.into_iter().map(|(_, wanted)| wanted).collect();
    decided
}

/// The sources without a completed copy in a destination.
pub fn uncopied(sources: &[Source], copies: &Copies) -> BTreeSet<SnapshotId> {
    let keys = legacy_keys(sources);
    let is_copied = |source: &Source| {
        let state = |day| copies.state_of(source, day, keys.sharing(source.tags.created_on, &source.description));
        source.tags.created_on.is_some_and(|day| matches!(state(day), CopyState::Completed))
    };
    sources.iter().filter(|source| !is_copied(source)).map(|source| source.id.clone()).collect()
}

/// The snapshots of a volume in one run beyond the one that counts: two executions may have made one each.
pub fn surplus_snapshots(made: &[Snapshot]) -> BTreeSet<SnapshotId> {
    surplus(&made.iter().map(Source::from).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
