//! Which dead letters are settled: what they asked for exists now, or is not owed any more.
//!
//! The report deletes settled letters at the end of a run, so that the alarm of their queue clears and can report the
//! next letter. A letter stays if the run did not look at what decides about it, or if it is not a task.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::DeserializeOwned;

use crate::{
    contract::{ExpireTask, HookTask, SnapshotTask, WaitTask},
    copies::{CopyTask, LiveInstances, Owed},
    drill::VerifyTask,
    fleet::{Snapshot, SnapshotState},
    hooks::Script,
    ids::{InstanceId, Region, SnapshotId},
    message::Message,
    ports::{DeadLetter, WorkQueue},
    proof::Proof,
    tags::SnapshotTags,
};

/// What the report of a run has seen.
#[derive(Debug, Default)]
pub struct Observed {
    /// When the run was started. A letter that is younger stays, so that somebody can read it.
    pub started: DateTime<Utc>,
    /// Today, UTC.
    pub today: NaiveDate,
    /// The planned instances, and whether all their volumes have a snapshot; `None` without the snapshot phase.
    pub instances: Option<BTreeMap<InstanceId, bool>>,
    /// The instances that exist and are not being terminated.
    pub existing: BTreeSet<InstanceId>,
    /// Those whose post-script has said in this run that they are thawed.
    pub thawed: BTreeSet<InstanceId>,
    /// The sources of the home region, by id; `None` without the copy phase.
    pub sources: Option<BTreeMap<SnapshotId, Snapshot>>,
    /// Their tags decide where a source is copied to.
    pub living: LiveInstances,
    /// The copies owed to each destination that was read.
    pub owed: BTreeMap<Region, Owed>,
    /// The snapshots that are not completed, in each region that was read.
    pub unfinished: BTreeMap<Region, BTreeSet<SnapshotId>>,
    /// All snapshots in each region that was read, and the day on which they were proven.
    pub proven: BTreeMap<Region, BTreeMap<SnapshotId, Option<NaiveDate>>>,
    /// The regions whose expiry this run has decided.
    pub swept: BTreeSet<Region>,
}

impl Observed {
    /// Adds all snapshots of a region: which of them are not completed, and which are proven.
    pub fn note_snapshots(&mut self, region: &Region, held: &[Snapshot]) {
        // A snapshot in error with `KeepForever` stays for ever: nothing waits for it.
        let stays = |s: &Snapshot| s.state == SnapshotState::Error && SnapshotTags::read(&s.tags).keep_forever;
        let is_unfinished = |s: &&Snapshot| s.state != SnapshotState::Completed && !stays(s);
        let unfinished = held.iter().filter(is_unfinished).map(|s| s.id.clone());
        self.unfinished.insert(region.clone(), unfinished.collect());
        let proven = |s: &Snapshot| Proof::read(&s.tags).filter(|proof| !proof.has_failed()).map(|proof| proof.on);
        self.proven.insert(region.clone(), held.iter().map(|s| (s.id.clone(), proven(s))).collect());
    }

    /// Whether a letter is settled.
    pub fn is_settled(&self, letter: &DeadLetter) -> bool {
        let earlier = letter.sent < self.started;
        match letter.queue {
            WorkQueue::Copy => earlier && task(letter).is_some_and(|task| self.is_copied(&task)),
            WorkQueue::Snapshot => earlier && task(letter).is_some_and(|task| self.is_snapshotted(&task)),
            WorkQueue::Wait => earlier && task(letter).is_some_and(|task| self.is_complete(&task)),
            WorkQueue::Hook => earlier && task(letter).is_some_and(|task| self.is_thawed(&task)),
            WorkQueue::Verify => earlier && task(letter).is_some_and(|task| self.is_proven(&task, letter.sent)),
            WorkQueue::Expire => earlier && task(letter).is_some_and(|task| self.is_decided_anew(&task)),
        }
    }

    fn is_copied(&self, task: &CopyTask) -> bool {
        match task {
            CopyTask::Copy { region, snapshot, .. } => {
                let Some(sources) = &self.sources else { return false };
                let Some(source) = sources.get(snapshot) else { return true };
                !self.living.copy_regions(source).contains(region)
                    || self.owed.get(region).is_some_and(|owed| !owed.sources().contains(snapshot))
            }
            CopyTask::Retag { region, .. } => self.owed.get(region).is_some_and(|owed| !owed.tasks.contains(task)),
        }
    }

    /// Whether a later run has snapshotted all volumes, or the instance is not backed up any more.
    fn is_snapshotted(&self, task: &SnapshotTask) -> bool {
        self.instances.as_ref().is_some_and(|planned| planned.get(&task.instance.instance).copied().unwrap_or(true))
    }

    /// A later run's hook has thawed the instance, or it is gone. A pre-script is never retried: each run begins anew.
    fn is_thawed(&self, task: &HookTask) -> bool {
        let instance = &task.instance.instance;
        task.script == Script::Pre || self.thawed.contains(instance) || !self.existing.contains(instance)
    }

    /// Whether all snapshots are completed or gone. A copy in error is owed again.
    fn is_complete(&self, task: &WaitTask) -> bool {
        let unfinished = self.unfinished.get(&task.region);
        unfinished.is_some_and(|unfinished| !task.snapshots.iter().any(|id| unfinished.contains(id)))
    }

    /// Whether the snapshot is gone, or a later drill has proven it.
    ///
    /// A tag has the day only. On the day of the letter it may have been proven before.
    fn is_proven(&self, task: &VerifyTask, sent: DateTime<Utc>) -> bool {
        let proven = self.proven.get(&task.region).map(|held| held.get(&task.snapshot));
        proven.is_some_and(|held| held.is_none_or(|on| on.is_some_and(|on| on > sent.date_naive())))
    }

    fn is_decided_anew(&self, task: &ExpireTask) -> bool {
        task.planned < self.today && self.swept.contains(&task.region)
    }
}

/// The task of a letter; `None` if it is not a task.
fn task<T: DeserializeOwned>(letter: &DeadLetter) -> Option<T> {
    Message::read(&letter.body).ok().map(|message| message.task)
}

#[cfg(test)]
mod tests;
