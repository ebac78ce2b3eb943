//! What a drill has proven: its plan against the records that the verify worker has written.
//!
//! A backup of the plan without a record is unanswered, and never passes for proven.
#![warn(missing_docs)]

mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Lowered, Reads, Verified, VerifyTask,
    order::Drill,
    plan::{LeftOut, Protected, Without, predicted},
};
use crate::{
    contract::StateError,
    coverage::{LastRead, LastReads, Proven},
    error::{ErrorName, Failure},
    expiry::{Candidate, is_backup},
    fleet::{Snapshot, SnapshotState},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::Storage,
    proof::{Level, Proof},
    report::Failed,
    run_files,
};

/// The report, for programs: a [`DrillReport`].
pub const REPORT: &str = "report.json";
/// The report as text.
pub const SUMMARY: &str = "summary.txt";
/// What StartDrill has found: a [`Scope`](super::plan::Scope).
pub const SCOPE: &str = "scope.json";
/// What earlier drills have tried and proven, a [`LastReads`]: the only file that drills share.
pub const LAST_READS: &str = "drills/proven.json";

/// What earlier drills have tried and proven; nothing where there was none yet.
///
/// # Errors
///
/// Where it cannot be read. The tags of what still exists say it then.
pub async fn last_reads(storage: &impl Storage) -> Result<LastReads, Failure> {
    Ok(run_files::read_json(storage, LAST_READS).await?.unwrap_or_default())
}

/// For so long it is remembered what was proven of a volume that is not protected any more.
const DAYS_REMEMBERED: i64 = 400;

/// The tasks of a region.
pub fn tasks(region: &Region) -> String {
    format!("verify-{region}.jsonl")
}

/// What of a region is not read, a [`NotRead`].
pub fn not_read(region: &Region) -> String {
    format!("not-read-{region}.json")
}

/// What of a region's backups is not read, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NotRead {
    pub left_out: Vec<LeftOut>,
    pub without: Vec<Without>,
}

/// What became of a region, as far as it is known.
#[derive(Clone, Debug)]
pub struct RegionEnd {
    /// The region.
    pub region: Region,
    /// Its plan, where there is one.
    pub tasks: Vec<VerifyTask>,
    /// What the plan leaves out.
    pub not_read: NotRead,
    /// Why it could not be planned or read.
    pub failure: Option<StateError>,
}

/// A record, as it was read from the report bucket.
pub type Record = Result<Verified, String>;

/// What a report is made of.
pub struct Looked<'a> {
    /// The drill.
    pub drill: &'a Drill,
    /// The region of the stack.
    pub home: &'a Region,
    /// Now.
    pub now: DateTime<Utc>,
    /// The report bucket.
    pub bucket: &'a str,
    /// The volumes that the drill is about.
    pub protected: &'a [Protected],
    /// The regions that were to be looked at.
    pub regions: Vec<RegionEnd>,
    /// The records, by their keys.
    pub records: &'a BTreeMap<String, Record>,
    /// What Step Functions says of tasks that failed.
    pub failed: &'a Failed,
    /// What went wrong besides.
    pub problems: Vec<String>,
}

/// What became of a backup that was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// It could not be read, or is not what it has to be.
    Failed,
    /// Nothing says what became of it.
    Unanswered,
    /// It was gone before it was read.
    Vanished,
    /// What was read of it is what it has to be.
    Proven,
}

/// A backup that was to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Its region.
    pub region: Region,
    /// The snapshot or copy.
    pub snapshot: SnapshotId,
    /// The volume that it is a backup of.
    pub volume: VolumeId,
    /// The instance that has the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The name of that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When its data was taken.
    pub taken: DateTime<Utc>,
    /// What became of it.
    pub end: End,
    /// How much was to be proven.
    pub asked: Level,
    /// How much is.
    pub level: Option<Level>,
    /// The name of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was expected, and what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whether `VerifiedAs=failed` is on it.
    pub marked: bool,
    /// Partition tables and file systems, in words.
    pub found: Vec<String>,
    /// What is no failure, and worth to be told.
    pub notes: Vec<String>,
    /// Of one that is proven, what of the drill's order was not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Of one that has failed, the newest good one that is not younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
    /// The calls that were expected.
    pub predicted: Reads,
    /// The calls that it took, where they are known.
    pub used: Option<Reads>,
}

impl Backup {
    /// Whether what was read is right, and not all was done that was asked for.
    fn is_short(&self) -> bool {
        self.end == End::Proven && (!self.missing.is_empty() || self.level < Some(self.asked))
    }

    /// Where it is, and of what.
    fn of(&self) -> (&Region, &VolumeId) {
        (&self.region, &self.volume)
    }
}

/// A backup that is as old as one that has failed, or older, and was not found bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Older {
    /// Its region.
    pub region: Region,
    /// The snapshot or copy.
    pub snapshot: SnapshotId,
    /// When its data was taken.
    pub taken: DateTime<Utc>,
    /// What is proven of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// A region of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct DrilledRegion {
    pub region: Region,
    /// Why it could not be planned or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Backups that were to be read.
    pub planned: usize,
    pub left_out: Vec<LeftOut>,
    pub without: Vec<Without>,
}

/// What a drill has proven, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillReport {
    /// 1; another number where a field has gone or means something else.
    pub version: u32,
    /// The drill.
    pub drill: Drill,
    /// The region of the stack.
    pub home: Region,
    /// When the report was made.
    pub ended: DateTime<Utc>,
    /// The report bucket.
    pub bucket: String,
    /// Whether all that was to be proven is.
    pub complete: bool,
    /// Why it is not, besides what is said of backups and regions.
    pub problems: Vec<String>,
    /// The regions that were to be looked at.
    pub regions: Vec<DrilledRegion>,
    /// The backups that were to be read, the worst first.
    pub backups: Vec<Backup>,
    /// The calls that were expected, of those whose use is known.
    pub predicted: Reads,
    /// The calls that it took, as far as they are known.
    pub used: Reads,
    /// What these cost, in US dollars.
    pub usd: f64,
    /// What was expected, in US dollars.
    pub usd_predicted: f64,
    /// The month of the prices.
    pub prices_as_of: String,
    /// Where they are from.
    pub prices_source: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    as_of: String,
    source: String,
    #[serde(rename = "usdPer1000Lists")]
    lists: f64,
    #[serde(rename = "usdPer1000Blocks")]
    blocks: f64,
}

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| unreachable!("prices.json: {error}"))
});

/// What calls cost, in US dollars.
#[allow(clippy::cast_precision_loss)] // No drill makes so many.
pub fn usd(reads: Reads) -> f64 {
    (reads.list_calls as f64 * PRICES.lists + reads.blocks as f64 * PRICES.blocks) / 1_000.0
}

fn sum(all: impl Iterator<Item = Reads>) -> Reads {
    all.fold(Reads::default(), |sum, one| Reads {
        list_calls: sum.list_calls + one.list_calls,
        blocks: sum.blocks + one.blocks,
    })
}

impl DrillReport {
    /// The report of what was looked at.
    pub fn of(looked: Looked<'_>) -> Self {
        let Looked { drill, home, now, bucket, protected, regions, records, failed, mut problems } = looked;
        let names: BTreeMap<&VolumeId, &Protected> = protected.iter().map(|one| (&one.volume, one)).collect();
        let tasks = regions.iter().flat_map(|end| &end.tasks);
        let mut backups: Vec<Backup> = tasks
            .map(|task| {
                let mut backup = backup(task, records.get(&task.record_key()), failed);
                let known = names.get(&task.volume);
                backup.instance = known.and_then(|one| one.instance.clone());
                backup.name = known.and_then(|one| one.name.clone());
                backup
            })
            .collect();
        backups.sort_by(|a, b| {
            let key = |one: &Backup| (one.end, one.error.clone(), one.region.clone(), one.volume.clone());
            key(a).cmp(&key(b)).then_with(|| (b.taken, &b.snapshot).cmp(&(a.taken, &a.snapshot)))
        });
        let without: usize = regions.iter().map(|end| end.not_read.without.len()).sum();
        if backups.is_empty() && without > 0 {
            problems.push("no volume has a backup that can be read".into());
        }
        let is_known = |one: &&Backup| one.used.is_some();
        let predicted = sum(backups.iter().filter(is_known).map(|one| one.predicted));
        let used = sum(backups.iter().filter_map(|one| one.used));
        let mut report = Self {
            version: 1,
            drill: drill.clone(),
            home: home.clone(),
            ended: now,
            bucket: bucket.to_owned(),
            complete: false,
            problems,
            regions: regions
                .into_iter()
                .map(|end| DrilledRegion {
                    region: end.region,
                    failure: end.failure.map(|failure| failure.text()),
                    planned: end.tasks.len(),
                    left_out: end.not_read.left_out,
                    without: end.not_read.without,
                })
                .collect(),
            backups,
            predicted,
            used,
            usd: usd(used),
            usd_predicted: usd(predicted),
            prices_as_of: PRICES.as_of.clone(),
            prices_source: PRICES.source.clone(),
        };
        report.complete = report.is_complete();
        report
    }

    fn is_complete(&self) -> bool {
        let bad = |one: &Backup| {
            matches!(one.end, End::Failed | End::Unanswered) || one.end == End::Proven && !one.missing.is_empty()
        };
        self.problems.is_empty()
            && self.regions.iter().all(|region| region.failure.is_none())
            && !self.backups.iter().any(bad)
            && self.unproven().is_empty()
    }

    /// How many backups ended like that.
    pub fn count(&self, end: End) -> usize {
        self.backups.iter().filter(|one| one.end == end).count()
    }

    /// The backups of which less is proven than was asked for. It is a failure only where another drill could prove more.
    pub fn short(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|one| one.is_short())
    }

    /// The backups of which it is not known whether they are good: unanswered, vanished, left out.
    pub fn not_known(&self) -> usize {
        let left_out: usize = self.regions.iter().map(|region| region.left_out.len()).sum();
        self.count(End::Unanswered) + self.count(End::Vanished) + left_out
    }

    /// The volumes of which backups were to be read in a region, and none is proven.
    pub fn unproven(&self) -> BTreeSet<(&Region, &VolumeId)> {
        let proven: BTreeSet<_> = self.backups.iter().filter(|one| one.end == End::Proven).map(Backup::of).collect();
        self.backups.iter().map(Backup::of).filter(|one| !proven.contains(one)).collect()
    }

    /// The volumes of backups that have failed, for [`DrillReport::note_older`].
    pub fn failed_volumes(&self) -> BTreeSet<VolumeId> {
        self.backups.iter().filter(|one| one.end == End::Failed).map(|one| one.volume.clone()).collect()
    }

    /// Says of each backup that has failed where the newest good one is that is not younger: in the same region, or else
    /// in another one. `held` are snapshots of each region, those of the home region first.
    pub fn note_older(&mut self, held: &[(Region, Snapshot)]) {
        let begun: BTreeMap<&SnapshotId, DateTime<Utc>> =
            held.iter().filter(|(region, _)| *region == self.home).map(|(_, one)| (&one.id, one.started)).collect();
        let ends: BTreeMap<(&Region, &SnapshotId), (End, Option<Level>)> =
            self.backups.iter().map(|one| ((&one.region, &one.snapshot), (one.end, one.level))).collect();
        let mut good: BTreeMap<VolumeId, Vec<Older>> = BTreeMap::new();
        for (region, snapshot) in held {
            let candidate = Candidate::from(snapshot);
            let is_readable = candidate.state == SnapshotState::Completed && !snapshot.stored.archived;
            let proof = match ends.get(&(region, &candidate.id)) {
                Some((End::Proven, level)) => Some(Proof { on: self.ended.date_naive(), level: *level }),
                Some((End::Failed, _)) => Some(Proof { on: self.ended.date_naive(), level: None }),
                _ => candidate.proof,
            };
            if !is_readable
                || !is_backup(&candidate, region, &self.home)
                || proof.is_some_and(|proof| proof.has_failed())
            {
                continue;
            }
            let taken = candidate.taken(|id| begun.get(id).copied()).unwrap_or(candidate.started);
            let Some(volume) = candidate.volume else { continue };
            let older = Older { region: region.clone(), snapshot: candidate.id, taken, proof };
            good.entry(volume).or_default().push(older);
        }
        for backup in self.backups.iter_mut().filter(|one| one.end == End::Failed) {
            let there = good.get(&backup.volume).into_iter().flatten();
            let not_younger = there.filter(|one| one.taken <= backup.taken);
            backup.older =
                not_younger.max_by_key(|one| (one.taken, one.region == backup.region, one.snapshot.clone())).cloned();
        }
    }

    /// What is known to be tried and proven after this drill, of what is still protected.
    pub fn last_reads(&self, before: &LastReads, protected: &[Protected]) -> LastReads {
        let known: BTreeSet<&VolumeId> = protected.iter().map(|one| &one.volume).collect();
        let mut after = before.clone();
        let today = self.ended.date_naive();
        for volumes in after.values_mut() {
            // A list of volumes that was too short takes nothing away that somebody may still ask for.
            volumes.retain(|volume, read| known.contains(volume) || (today - read.tried).num_days() <= DAYS_REMEMBERED);
        }
        // What nobody came to is still to be tried.
        for one in self.backups.iter().filter(|one| one.end != End::Unanswered) {
            let read = LastRead { tried: today, proven: None };
            let known = after.entry(one.region.clone()).or_default().entry(one.volume.clone()).or_insert(read);
            known.tried = known.tried.max(today);
            let Some(level) = one.level.filter(|_| one.end == End::Proven) else { continue };
            if known.proven.as_ref().is_none_or(|proven| (proven.on, proven.level) < (today, level)) {
                known.proven = Some(Proven { snapshot: one.snapshot.clone(), on: today, level });
            }
        }
        after
    }

    /// The address of one of its files.
    pub fn file(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.drill.key(name))
    }
}

impl Lowered {
    fn words(self, region: &Region) -> String {
        let Self { from, blocks, share } = self;
        format!("{from} would take {blocks} blocks, and DrillMaxBlocks leaves {share} to {region}")
    }
}

/// What became of a backup.
fn backup(task: &VerifyTask, record: Option<&Record>, failed: &Failed) -> Backup {
    let mut backup = Backup {
        region: task.region.clone(),
        snapshot: task.snapshot.clone(),
        volume: task.volume.clone(),
        instance: None,
        name: None,
        taken: task.taken,
        end: End::Unanswered,
        asked: task.lowered.map_or(task.level, |lowered| lowered.from),
        level: None,
        error: None,
        cause: None,
        marked: false,
        found: Vec::new(),
        notes: Vec::new(),
        missing: task.lowered.iter().map(|lowered| lowered.words(&task.region)).collect(),
        older: None,
        predicted: predicted(task),
        used: None,
    };
    match record {
        Some(Ok(verified)) if verified.region == task.region && verified.snapshot == task.snapshot => {
            backup.level = verified.level;
            backup.marked = verified.marked;
            backup.found.clone_from(&verified.found);
            backup.notes.clone_from(&verified.notes);
            backup.missing.extend(verified.missing.iter().cloned());
            backup.used = Some(Reads { list_calls: verified.list_calls, blocks: verified.blocks_read });
            match (&verified.failure, verified.level) {
                (Some(finding), _) => {
                    let is_gone = finding.error == ErrorName::SnapshotNotFound;
                    backup.end = if is_gone { End::Vanished } else { End::Failed };
                    backup.level = None;
                    backup.error = Some(finding.error.to_string());
                    backup.cause = Some(finding.cause.clone());
                }
                (None, Some(_)) => backup.end = End::Proven,
                (None, None) => backup.cause = Some("its record says neither what is proven nor what failed".into()),
            }
        }
        Some(Ok(other)) => {
            backup.cause = Some(format!("its record is of {} in {}", other.snapshot, other.region));
        }
        Some(Err(why)) => backup.cause = Some(format!("its record cannot be read: {why}")),
        None => {
            let reason = failed.copy(&task.region, &task.snapshot);
            let is_gone = reason.is_some_and(|reason| reason.error == ErrorName::SnapshotNotFound.as_str());
            backup.end = if is_gone { End::Vanished } else { End::Unanswered };
            backup.error = reason.map(|reason| reason.error.clone());
            backup.cause = Some(reason.map_or_else(|| "it has no record".into(), |reason| reason.cause.clone()));
        }
    }
    backup
}

#[cfg(test)]
mod tests;
