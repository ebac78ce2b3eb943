//! What a run did, computed from what exists now: the run is complete when nothing is owed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    contract::{Expiring, Run},
    copies::{CopyTask, Owed},
    fleet::{Instance, Snapshot, SnapshotState},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::{InstancePlan, Rejection},
    ports::WorkQueue,
    tags::{InstanceTags, SnapshotTags},
};

/// The summary of a run: `summary.json` in the report bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The run.
    pub run: Run,
    /// Its home region.
    pub home: Region,
    /// When the summary was made.
    pub ended: DateTime<Utc>,
    /// Why the run is incomplete; empty if it is complete.
    pub problems: Vec<String>,
    /// One per instance that was planned.
    pub instances: Vec<InstanceEnd>,
    /// One per destination region.
    pub copies: Vec<CopiesEnd>,
    /// One per swept region.
    pub expiries: Vec<ExpiryEnd>,
    /// What could not be done as it was asked for.
    pub rejected: Vec<Rejection>,
    /// What failed, as the Map Runs tell it.
    pub failures: Vec<String>,
    /// One per dead-letter queue that was not empty.
    pub dead_letters: Vec<DeadLettersEnd>,
}

/// What became of a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersEnd {
    /// The queue that they were in before.
    pub queue: WorkQueue,
    /// Those that were settled meanwhile, and are deleted.
    pub settled: usize,
    /// Those that are left, by the name of their error.
    pub left: BTreeMap<String, usize>,
}

/// What became of an instance's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEnd {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Its volumes.
    pub volumes: Vec<VolumeEnd>,
}

impl InstanceEnd {
    /// Whether each of its volumes has a completed snapshot.
    pub fn is_complete(&self) -> bool {
        self.volumes.iter().all(|volume| volume.state == Some(SnapshotState::Completed))
    }
}

/// What became of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeEnd {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is attached.
    pub device: String,
    /// The run's snapshot of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// Its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SnapshotState>,
    /// The copies of that snapshot that are complete.
    pub copied_to: BTreeMap<Region, SnapshotId>,
}

/// What became of a destination's copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesEnd {
    /// The destination.
    pub region: Region,
    /// Completed copies that this run made.
    pub made: usize,
    /// Copies that are still owed, pending ones among them.
    pub owed: usize,
    /// Snapshots that left the look-back uncopied.
    pub forgotten: Vec<SnapshotId>,
    /// Copies beyond the first of a source.
    pub surplus: Vec<SnapshotId>,
}

/// What became of a region's expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryEnd {
    /// The region.
    pub region: Region,
    /// Those that were planned to be deleted, and exist no more.
    pub deleted: Vec<Expiring>,
    /// Those that are left: kept at the moment of deletion, or not deleted yet.
    pub left: Vec<Expiring>,
}

/// What became of each planned instance, judged by the run's snapshots and their copies.
///
/// `made` are the run's snapshots in the home region, `copies` the copies by region.
pub fn instance_ends(
    plans: &[InstancePlan],
    made: &[Snapshot],
    copies: &BTreeMap<Region, Vec<Snapshot>>,
) -> Vec<InstanceEnd> {
    let mut by_volume: BTreeMap<&VolumeId, &Snapshot> = BTreeMap::new();
    for snapshot in made {
        let Some(volume) = &snapshot.volume else { continue };
        let better = |have: &&Snapshot| rank(have) <= rank(snapshot);
        if !by_volume.get(volume).is_some_and(better) {
            by_volume.insert(volume, snapshot);
        }
    }
    let mut copied: BTreeMap<SnapshotId, BTreeMap<Region, SnapshotId>> = BTreeMap::new();
    for (region, held) in copies {
        let mut completed: Vec<_> = held.iter().filter(|c| c.state == SnapshotState::Completed).collect();
        completed.sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id))); // The oldest last: it counts.
        for copy in completed {
            if let Some(source) = SnapshotTags::read(&copy.tags).source_snapshot {
                copied.entry(source).or_default().insert(region.clone(), copy.id.clone());
            }
        }
    }
    let end_of = |plan: &InstancePlan| InstanceEnd {
        instance: plan.instance.clone(),
        name: plan.name.clone(),
        volumes: plan
            .volumes
            .iter()
            .map(|attachment| {
                let snapshot = by_volume.get(&attachment.volume);
                VolumeEnd {
                    volume: attachment.volume.clone(),
                    device: attachment.device.clone(),
                    snapshot: snapshot.map(|s| s.id.clone()),
                    state: snapshot.map(|s| s.state),
                    copied_to: snapshot.and_then(|s| copied.get(&s.id)).cloned().unwrap_or_default(),
                }
            })
            .collect(),
    };
    plans.iter().map(end_of).collect()
}

fn rank(snapshot: &Snapshot) -> u8 {
    match snapshot.state {
        SnapshotState::Completed => 0,
        SnapshotState::Pending => 1,
        SnapshotState::Other => 2,
        SnapshotState::Error => 3,
    }
}

/// Which planned volumes have no completed snapshot: problems where they still exist, rejections where they do not.
pub fn missing(ends: &[InstanceEnd], instances: &[Instance]) -> (Vec<String>, Vec<Rejection>) {
    let living: BTreeMap<&InstanceId, &Instance> =
        instances.iter().filter(|i| i.is_living()).map(|i| (&i.id, i)).collect();
    // A volume that several instances share, or that has moved to another one, is owed all the same.
    let wanted = living.values().filter(|i| InstanceTags::read(&i.tags).0.is_wanted());
    let owing: BTreeSet<&VolumeId> = wanted.flat_map(|i| &i.volumes).map(|a| &a.volume).collect();
    let (mut problems, mut rejected) = (Vec::new(), Vec::new());
    for end in ends {
        let lacking = end.volumes.iter().filter(|v| v.state != Some(SnapshotState::Completed));
        let (here, gone): (Vec<_>, Vec<_>) = lacking.partition(|lacking| {
            let own = living.get(&end.instance).is_some_and(|i| i.volumes.iter().any(|a| a.volume == lacking.volume));
            own || owing.contains(&lacking.volume)
        });
        if !here.is_empty() {
            let volumes: Vec<&str> = here.iter().map(|v| v.volume.as_str()).collect();
            problems.push(format!("{} has no completed snapshot of {}", end.instance, volumes.join(", ")));
        }
        if !living.contains_key(&end.instance) && !gone.is_empty() {
            rejected.push(Rejection::new(&end.instance, "the instance is gone since it was discovered"));
        } else {
            rejected.extend(
                gone.iter().map(|v| {
                    Rejection::new(&end.instance, format!("{} was detached since it was discovered", v.volume))
                }),
            );
        }
    }
    (problems, rejected)
}

/// What of a destination makes the run incomplete.
pub fn copy_problems(region: &Region, owed: &Owed) -> Vec<String> {
    let mut problems = Vec::new();
    let (copies, retags): (Vec<_>, Vec<_>) = owed.tasks.iter().partition(|t| matches!(t, CopyTask::Copy { .. }));
    if !copies.is_empty() {
        problems.push(format!("{region} is owed {}", counted(copies.len(), "copy", "copies")));
    }
    if !retags.is_empty() {
        problems.push(format!("{region} is owed {}", counted(retags.len(), "KeepForever tag", "KeepForever tags")));
    }
    if !owed.forgotten.is_empty() {
        let what = counted(owed.forgotten.len(), "snapshot", "snapshots");
        problems.push(format!("{what} left the look-back without a copy in {region}"));
    }
    problems
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Summary {
    /// Whether nothing is owed.
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }

    /// The notification's subject.
    pub fn subject(&self) -> String {
        let state = match (self.run.dry_run, self.is_complete()) {
            (true, true) => "dry run",
            (false, true) => "complete",
            (_, false) => "INCOMPLETE",
        };
        format!("EBS backup {} in {}: {state}", self.run.id, self.home)
    }

    /// Planned volumes, and those with a completed snapshot.
    pub fn volumes(&self) -> (usize, usize) {
        let all = || self.instances.iter().flat_map(|i| &i.volumes);
        (all().count(), all().filter(|v| v.state == Some(SnapshotState::Completed)).count())
    }

    /// The summary for people: `summary.txt` in the report bucket.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    /// A volume, with the name of the instance that has it where that was planned.
    fn named(&self, volume: &VolumeId) -> String {
        match self.instances.iter().find(|i| i.volumes.iter().any(|v| v.volume == *volume)) {
            Some(instance) => format!("{volume} ({})", instance.name),
            None => volume.to_string(),
        }
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.subject())?;
        list(out, "Incomplete, because", &self.problems)?;
        let (planned, completed) = self.volumes();
        writeln!(out, "\nSnapshots: {completed} of {planned} volumes of {} instances", self.instances.len())?;
        for end in &self.instances {
            writeln!(out, "  {} ({})", end.instance, end.name)?;
            for volume in &end.volumes {
                let state = match (&volume.snapshot, volume.state) {
                    (Some(id), Some(SnapshotState::Completed)) => id.to_string(),
                    (Some(id), Some(state)) => format!("{id} is {state:?}"),
                    _ => "no snapshot".into(),
                };
                write!(out, "    {} {}: {state}", volume.volume, volume.device)?;
                for (region, copy) in &volume.copied_to {
                    write!(out, ", copied to {region} as {copy}")?;
                }
                writeln!(out)?;
            }
        }
        if !self.copies.is_empty() {
            writeln!(out, "\nCopies:")?;
        }
        for end in &self.copies {
            write!(out, "  {}: {} made by this run, {} owed", end.region, end.made, end.owed)?;
            if !end.surplus.is_empty() {
                write!(out, ", {} in excess (they expire on their own date)", end.surplus.len())?;
            }
            writeln!(out)?;
        }
        if !self.expiries.is_empty() {
            writeln!(out, "\nExpired:")?;
        }
        for end in &self.expiries {
            let planned = end.deleted.len() + end.left.len();
            writeln!(out, "  {}: {} of {planned} due snapshots deleted", end.region, end.deleted.len())?;
            for (what, list) in [("deleted", &end.deleted), ("left", &end.left)] {
                for Expiring { id, volume, .. } in list {
                    let of = volume.as_ref().map_or_else(String::new, |volume| format!(" of {}", self.named(volume)));
                    writeln!(out, "    {what}: {id}{of}")?;
                }
            }
        }
        if !self.dead_letters.is_empty() {
            writeln!(out, "\nDead letters:")?;
        }
        for DeadLettersEnd { queue, settled, left } in &self.dead_letters {
            write!(out, "  {queue:?}: {settled} settled meanwhile and deleted, {} left", left.values().sum::<usize>())?;
            for (error, count) in left {
                write!(out, ", {count} {error}")?;
            }
            writeln!(out)?;
        }
        let rejected: Vec<String> = self.rejected.iter().map(ToString::to_string).collect();
        list(out, "Rejected", &rejected)?;
        list(out, "Failed on the way", &self.failures)
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    if !lines.is_empty() {
        writeln!(out, "\n{title}:")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

#[cfg(test)]
mod tests;
