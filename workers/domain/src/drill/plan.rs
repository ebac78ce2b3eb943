//! What a drill reads: which backups of which volumes, in which order, and how many blocks that takes.
//!
//! What was tried longest ago comes first, and what never was before that. So what one drill leaves out since its blocks
//! are used up, the next one begins with, and what fails each time is not in the way of others.
#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{DumpPlace, Lowered, Reads, Source, VerifyTask, expected, order::Drill, parameters::Sample};
use crate::{
    coverage::LastReads,
    disk::MAX_PARTITIONS,
    expiry::{Candidate, is_backup},
    fleet::{Fleet, Snapshot, SnapshotState},
    hash::{fnv, mixed},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::InstancePlan,
    proof::Level,
    protection::{by_id, floor_volumes, having},
    tags::{DUMP_PATH, DUMP_SHA256, DUMP_VOLUME, InstanceTags},
};

/// A volume whose backups are to be proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protected {
    /// The volume.
    pub volume: VolumeId,
    /// The instance that it is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The name of that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where tags ask for backups of it. Elsewhere what there is is read, and nothing is missing.
    pub regions: BTreeSet<Region>,
}

/// The volumes that are backed up, and those that exist and are not given up: what is left of them may be their last.
pub fn protected(fleet: &Fleet, plans: &[InstancePlan]) -> Vec<Protected> {
    let mut all: BTreeMap<VolumeId, Protected> = BTreeMap::new();
    for plan in plans {
        for attached in &plan.volumes {
            let regions = std::iter::once(&fleet.regions.home).chain(&plan.copy_regions).cloned().collect();
            let (instance, name) = (Some(plan.instance.clone()), Some(plan.name.clone()));
            all.insert(attached.volume.clone(), Protected { volume: attached.volume.clone(), instance, name, regions });
        }
    }
    let (floor, instances) = (floor_volumes(fleet), by_id(fleet));
    for volume in fleet.volumes.iter().filter(|volume| floor.contains(&volume.id)) {
        all.entry(volume.id.clone()).or_insert_with(|| {
            let first = having(volume, &instances).into_iter().next();
            Protected {
                volume: volume.id.clone(),
                instance: first.map(|instance| instance.id.clone()),
                name: first.and_then(|instance| InstanceTags::read(&instance.tags).0.name),
                regions: BTreeSet::new(),
            }
        });
    }
    all.into_values().collect()
}

/// The blocks that may be read in each region: shares of the whole, by the backups that tags ask for.
///
/// Each region is planned by itself, so that one that cannot be read does not stop the others.
pub fn shares(max_blocks: u64, protected: &[Protected], regions: &BTreeSet<Region>) -> BTreeMap<Region, u64> {
    let asked = |region: &Region| protected.iter().filter(|one| one.regions.contains(region)).count() as u64 + 1;
    let all: u64 = regions.iter().map(asked).sum();
    regions.iter().map(|region| (region.clone(), max_blocks * asked(region) / all.max(1))).collect()
}

/// What the steps after StartDrill go by: a file of the drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The volumes.
    pub volumes: Vec<Protected>,
    /// The regions to look at, and the blocks that may be read in each.
    pub shares: BTreeMap<Region, u64>,
}

/// A backup that a drill can read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Readable {
    id: SnapshotId,
    taken: DateTime<Utc>,
    gib: Option<u32>,
    full_size: Option<u64>,
    kms_key: Option<Box<str>>,
    source: Option<SnapshotId>,
    dump: Option<(String, String)>,
    has_failed: bool,
}

/// What there is of a volume in the region.
#[derive(Debug, Default)]
struct Held {
    readable: Vec<Readable>,
    archived: usize,
    last_tried: Option<NaiveDate>,
    last_proven: Option<NaiveDate>,
}

/// Plans a region.
pub struct Planning<'a> {
    drill: &'a Drill,
    home: &'a Region,
    region: &'a Region,
    /// Of an age of so many days at most is what a random sample takes.
    lookback_days: u32,
    protected: BTreeMap<&'a VolumeId, &'a Protected>,
    /// When the completed snapshots of the home region were begun.
    sources: BTreeMap<SnapshotId, DateTime<Utc>>,
    held: BTreeMap<&'a VolumeId, Held>,
}

/// A volume without a backup that could be read, where tags ask for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Without {
    pub volume: VolumeId,
    pub why: String,
}

/// A backup that is not read, since the drill's blocks are used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct LeftOut {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    /// The blocks that it would have taken.
    pub blocks: u64,
    /// When a backup of the volume was last proven in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proven: Option<NaiveDate>,
}

/// The plan of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Planned {
    pub tasks: Vec<VerifyTask>,
    pub left_out: Vec<LeftOut>,
    pub without: Vec<Without>,
}

/// What a task is expected to take. Of a dump only the most is known before it is read.
pub fn predicted(task: &VerifyTask) -> Reads {
    let level = match task.level {
        // Nothing to compare it with.
        Level::Copy | Level::Dump if task.source.is_none() => Level::Probe,
        Level::Dump => Level::Copy,
        level => level,
    };
    let mut reads = expected(level, task.full_size, task.volume_gib);
    if let Some(dump) = task.dump.as_ref().filter(|_| task.level == Level::Dump) {
        reads.blocks += most_of(dump.max_gib.min(task.volume_gib));
    }
    reads
}

/// Blocks of a GiB: they have 512 KiB each (EBS user guide, "EBS direct APIs").
const BLOCKS_OF_A_GIB: u64 = 2_048;

/// The blocks of so many GiB.
fn most_of(gib: u32) -> u64 {
    u64::from(gib) * BLOCKS_OF_A_GIB
}

/// How much is read of a backup: what is asked for, as far as there is something to hold it to.
fn level(asked: Level, has_source: bool, has_dump: bool) -> Level {
    match asked {
        Level::Dump if has_dump => Level::Dump,
        Level::Copy | Level::Dump if has_source => Level::Copy,
        Level::Copy | Level::Dump => Level::Probe,
        level => level,
    }
}

impl<'a> Planning<'a> {
    /// Of a region of which nothing is read yet.
    pub fn new(
        drill: &'a Drill,
        home: &'a Region,
        region: &'a Region,
        scope: &'a Scope,
        last_reads: &LastReads,
        lookback_days: u32,
    ) -> Self {
        let protected: BTreeMap<_, _> = scope.volumes.iter().map(|one| (&one.volume, one)).collect();
        let known = last_reads.get(region);
        let held = protected
            .keys()
            .map(|volume| {
                let read = known.and_then(|known| known.get(*volume));
                let last_proven = read.and_then(|read| read.proven.as_ref()).map(|proven| proven.on);
                (*volume, Held { last_tried: read.map(|read| read.tried), last_proven, ..Held::default() })
            })
            .collect();
        Self { drill, home, region, lookback_days, protected, sources: BTreeMap::new(), held }
    }

    /// Takes note of a snapshot of the home region: of copies, it tells the age, and what they can be compared with.
    pub fn note_source(&mut self, source: &Snapshot) {
        if source.state == SnapshotState::Completed && !source.stored.archived {
            self.sources.insert(source.id.clone(), source.started);
        }
    }

    /// Takes note of a snapshot of the region; those of the home region were noted as sources before.
    pub fn note(&mut self, snapshot: &Snapshot) {
        let candidate = Candidate::from(snapshot);
        if candidate.state != SnapshotState::Completed || !is_backup(&candidate, self.region, self.home) {
            return;
        }
        let Some(held) = candidate.volume.as_ref().and_then(|volume| self.held.get_mut(volume)) else { return };
        held.last_tried = held.last_tried.max(candidate.proof.map(|proof| proof.on));
        let proven = candidate.proof.filter(|proof| !proof.has_failed()).map(|proof| proof.on);
        held.last_proven = held.last_proven.max(proven);
        if snapshot.stored.archived {
            held.archived += 1;
            return;
        }
        let is_copy = candidate.tags.from_region.is_some();
        let source = candidate.tags.source_snapshot.clone().filter(|id| is_copy && self.sources.contains_key(id));
        let taken = candidate.taken(|id| self.sources.get(id).copied());
        let tag = |key: &str| snapshot.tags.get(key);
        let is_on_it =
            tag(DUMP_VOLUME).is_some_and(|on| candidate.volume.as_ref().is_some_and(|own| own.as_str() == on));
        let has_failed = candidate.has_failed();
        held.readable.push(Readable {
            taken: taken.unwrap_or(candidate.started),
            id: candidate.id,
            gib: snapshot.stored.gib,
            full_size: snapshot.full_size,
            kms_key: snapshot.stored.kms_key.clone(),
            source,
            dump: tag(DUMP_PATH).cloned().zip(tag(DUMP_SHA256).cloned()).filter(|_| is_on_it),
            has_failed,
        });
        if self.drill.sample == Sample::Newest {
            keep_newest(&mut held.readable);
        }
    }

    /// The plan, which reads `share` blocks at most.
    pub fn plan(self, share: u64, now: DateTime<Utc>) -> Planned {
        let Self { drill, home, region, lookback_days, protected, held, .. } = self;
        let (mut planned, mut wanted) = (Planned::default(), Vec::new());
        for (volume, held) in held {
            let chosen = match drill.sample {
                Sample::Newest | Sample::All => held.readable,
                Sample::Random => {
                    one_of(held.readable, volume, drill, region, now - TimeDelta::days(lookback_days.into()))
                }
            };
            if chosen.is_empty() && protected[volume].regions.contains(region) {
                let why = match held.archived {
                    0 => "it has no completed backup there".to_owned(),
                    _ => "its only backups there are in the archive tier, where they cannot be read".to_owned(),
                };
                planned.without.push(Without { volume: volume.clone(), why });
            }
            let turn = (held.last_tried, turn(drill, volume));
            wanted.extend(chosen.into_iter().map(|one| (turn, held.last_proven, volume, one)));
        }
        // Never tried comes before every day.
        wanted.sort_by(|a, b| (a.0, a.2, a.3.taken, &a.3.id).cmp(&(b.0, b.2, b.3.taken, &b.3.id)));
        let mut needed = 0;
        for (_, last_proven, volume, one) in wanted {
            let task = task(drill, home, region, volume, one, share);
            let blocks = at_least(&task);
            if needed + blocks <= share {
                needed += blocks;
                planned.tasks.push(task);
            } else {
                planned.left_out.push(LeftOut { volume: volume.clone(), snapshot: task.snapshot, blocks, last_proven });
            }
        }
        // What is over is for partitions that nobody knows of.
        let over = (share - needed) / (planned.tasks.len() as u64).max(1);
        for task in &mut planned.tasks {
            task.max_blocks = at_least(task) + over.min(MOST_OF_A_LAYOUT - SOME_OF_A_LAYOUT);
        }
        planned
    }
}

/// The task of a backup. Where it alone would take more than the region's share, no drill could ever read it: so less is
/// read of it, and that is told.
fn task(drill: &Drill, home: &Region, region: &Region, volume: &VolumeId, one: Readable, share: u64) -> VerifyTask {
    let (has_source, has_dump) = (one.source.is_some(), one.dump.is_some());
    let from = level(drill.level, has_source, has_dump);
    let place = |(path, sha256)| DumpPlace { path, sha256, max_gib: drill.max_dump_gib };
    let mut task = VerifyTask {
        drill_id: drill.id.clone(),
        folder: drill.folder(),
        region: region.clone(),
        snapshot: one.id,
        volume: volume.clone(),
        taken: one.taken,
        level: from,
        lowered: None,
        source: one.source.map(|snapshot| Source { region: home.clone(), snapshot }),
        // Where EC2 tells nothing, the full size is all that is known.
        volume_gib: one.gib.unwrap_or_default(),
        full_size: one.full_size,
        kms_key: one.kms_key.map(Into::into),
        dump: one.dump.map(place),
        max_blocks: 0,
        cursor: None,
    };
    let blocks = predicted(&task).blocks;
    for lower in Level::ALL.into_iter().rev().filter(|level| *level < from) {
        if at_least(&task) <= share {
            break;
        }
        task.level = level(lower, has_source, has_dump);
        task.lowered = Some(Lowered { from, blocks, share });
    }
    task.dump = task.dump.filter(|_| task.level == Level::Dump);
    task
}

/// Blocks that partition tables and the beginnings of partitions take at most, beyond those that are read anyway: two for
/// each partition, one for each link of a chain of logical ones, and those of both GPTs.
const MOST_OF_A_LAYOUT: u64 = 4 * MAX_PARTITIONS as u64;
/// What is kept for them where all blocks of a region are planned: as many as a server's disk has.
const SOME_OF_A_LAYOUT: u64 = 8;

/// Without so many blocks a task is not begun.
fn at_least(task: &VerifyTask) -> u64 {
    match predicted(task).blocks {
        0 => 0,
        blocks => blocks + SOME_OF_A_LAYOUT,
    }
}

/// Keeps the newest, and the newest that no drill found bad.
fn keep_newest(all: &mut Vec<Readable>) {
    let age = |one: &Readable| (one.taken, one.id.clone());
    let newest = all.iter().max_by_key(|one| age(one)).map(|one| one.id.clone());
    let good = all.iter().filter(|one| !one.has_failed).max_by_key(|one| age(one)).map(|one| one.id.clone());
    all.retain(|one| Some(&one.id) == newest.as_ref() || Some(&one.id) == good.as_ref());
}

/// One of those that are not older than that; the newest where all are.
fn one_of(
    mut all: Vec<Readable>,
    volume: &VolumeId,
    drill: &Drill,
    region: &Region,
    since: DateTime<Utc>,
) -> Vec<Readable> {
    all.sort_by(|a, b| (a.taken, &a.id).cmp(&(b.taken, &b.id)));
    let older = all.partition_point(|one| one.taken < since).min(all.len().saturating_sub(1));
    let count = (all.len() - older) as u64;
    if count == 0 {
        return Vec::new();
    }
    let at = older + usize::try_from(hash([&drill.id, region.as_str(), volume.as_str()]) % count).unwrap_or_default();
    vec![all.swap_remove(at)]
}

/// The order of what was tried on the same day, another one in each drill.
fn turn(drill: &Drill, volume: &VolumeId) -> u64 {
    hash([&drill.id, volume.as_str()])
}

fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    mixed(fnv(texts.into_iter().flat_map(|text| text.bytes().chain([b'/']))))
}

#[cfg(test)]
mod tests;
