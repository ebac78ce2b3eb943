//! Which dead letters are settled: what they asked for holds meanwhile, or is not owed any more.
//!
//! A letter that is settled is deleted at the end of a run, so that the alarm of its queue clears and can tell of
//! the next one. What cannot be decided from what the run has looked at stays, and so does what is no task at all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::DeserializeOwned;

use crate::{
    contract::{ExpireTask, HookTask, SnapshotTask, WaitTask},
    copies::{CopyTask, LiveInstances, Owed},
    fleet::{Snapshot, SnapshotState},
    hooks::Script,
    ids::{InstanceId, Region, SnapshotId},
    message::Message,
    ports::{DeadLetter, WorkQueue},
    tags::SnapshotTags,
};

/// What a run has looked at when it reports.
#[derive(Debug, Default)]
pub struct Observed {
    /// When the run was started: what failed since then stays to be read.
    pub started: DateTime<Utc>,
    /// Today, UTC.
    pub today: NaiveDate,
    /// The planned instances, and whether each of their volumes has its snapshot; `None` if none were to be made.
    pub instances: Option<BTreeMap<InstanceId, bool>>,
    /// The instances that exist and are not being terminated.
    pub existing: BTreeSet<InstanceId>,
    /// Those whose post-script has said in this run that they are thawed.
    pub thawed: BTreeSet<InstanceId>,
    /// The sources of the home region, by id; `None` if no copies were to be made.
    pub sources: Option<BTreeMap<SnapshotId, Snapshot>>,
    /// Whose word decides where a source is copied to.
    pub living: LiveInstances,
    /// What each destination that was looked at is owed.
    pub owed: BTreeMap<Region, Owed>,
    /// The snapshots that are not completed, in each region that was looked at.
    pub unfinished: BTreeMap<Region, BTreeSet<SnapshotId>>,
    /// The regions whose expiry was decided anew.
    pub swept: BTreeSet<Region>,
}

impl Observed {
    /// Takes note of what a region holds.
    pub fn note_unfinished(&mut self, region: &Region, held: &[Snapshot]) {
        // What is in error and kept for ever is not owed any more, and stays as it is.
        let stays = |s: &Snapshot| s.state == SnapshotState::Error && SnapshotTags::read(&s.tags).keep_forever;
        let is_unfinished = |s: &&Snapshot| s.state != SnapshotState::Completed && !stays(s);
        let unfinished = held.iter().filter(is_unfinished).map(|s| s.id.clone());
        self.unfinished.insert(region.clone(), unfinished.collect());
    }

    /// Whether a letter is settled.
    pub fn is_settled(&self, letter: &DeadLetter) -> bool {
        let earlier = letter.sent < self.started;
        match letter.queue {
            WorkQueue::Copy => earlier && task(letter).is_some_and(|task| self.is_copied(&task)),
            WorkQueue::Snapshot => earlier && task(letter).is_some_and(|task| self.is_snapshotted(&task)),
            WorkQueue::Wait => earlier && task(letter).is_some_and(|task| self.is_complete(&task)),
            WorkQueue::Hook => earlier && task(letter).is_some_and(|task| self.is_thawed(&task)),
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

    /// A later run has made a snapshot of each volume, or the instance is not backed up any more.
    fn is_snapshotted(&self, task: &SnapshotTask) -> bool {
        self.instances.as_ref().is_some_and(|planned| planned.get(&task.instance.instance).copied().unwrap_or(true))
    }

    /// A later run's hook has thawed the instance, or it is gone. A pre-script is never retried: each run begins anew.
    fn is_thawed(&self, task: &HookTask) -> bool {
        let instance = &task.instance.instance;
        task.script == Script::Pre || self.thawed.contains(instance) || !self.existing.contains(instance)
    }

    /// What was waited for is completed or gone: a copy that broke is owed again by its source.
    fn is_complete(&self, task: &WaitTask) -> bool {
        let unfinished = self.unfinished.get(&task.region);
        unfinished.is_some_and(|unfinished| !task.snapshots.iter().any(|id| unfinished.contains(id)))
    }

    fn is_decided_anew(&self, task: &ExpireTask) -> bool {
        task.planned < self.today && self.swept.contains(&task.region)
    }
}

/// The task of a letter; `None` for what is none.
fn task<T: DeserializeOwned>(letter: &DeadLetter) -> Option<T> {
    Message::read(&letter.body).ok().map(|message| message.task)
}

#[cfg(test)]
mod tests;
