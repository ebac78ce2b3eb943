//! The report on a destination's copies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    failures::{COPIES, Failed},
    names::Names,
    problem::{Problem, ProblemKind, advice, at},
};
use crate::{
    copies::{CopyTask, LiveInstances, Owed, surplus_snapshots},
    error::name_of_broken_copy,
    fleet::{Snapshot, SnapshotState, oldest_live},
    ids::{Region, SnapshotId},
    policy::Rejection,
    tags::{BACKUP_RUN, SnapshotTags},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopiesReport {
    pub region: Region,
    /// Completed copies that this run made.
    pub made: usize,
    /// Copies that are owed, pending and stuck ones included, and `KeepForever` tags.
    pub owed: usize,
    /// In a dry run, the copies of the snapshots that a run would make.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of_new_snapshots: usize,
    /// Sources that have left the look-back without a copy.
    pub forgotten: Vec<SnapshotId>,
    /// Copies of a source beyond the one that counts.
    pub surplus: Vec<SnapshotId>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The facts from which a destination's copies are reported.
pub struct Destination<'a> {
    pub region: &'a Region,
    /// The automated snapshots of the home region.
    pub sources: &'a [Snapshot],
    /// The destination's copies of the home region's snapshots.
    pub there: &'a [Snapshot],
    pub owed: &'a Owed,
    /// The run's manifest.
    pub planned: &'a [CopyTask],
    /// Their tags decide where a source is copied to.
    pub living: &'a LiveInstances,
    pub names: &'a Names<'a>,
    pub failed: &'a Failed,
}

impl Destination<'_> {
    /// The counts.
    pub fn end(&self, run_id: &str) -> CopiesReport {
        let made_here = |copy: &&Snapshot| {
            copy.state == SnapshotState::Completed && copy.tags.get(BACKUP_RUN).is_some_and(|made_by| made_by == run_id)
        };
        CopiesReport {
            region: self.region.clone(),
            made: self.there.iter().filter(made_here).count(),
            owed: self.owed.tasks.len() + self.owed.stuck.len(),
            of_new_snapshots: 0,
            forgotten: self.owed.forgotten.clone(),
            surplus: self.owed.surplus.clone(),
        }
    }

    /// The completed copy of each of these sources; if there are several, the oldest.
    pub fn completed(&self, of: &BTreeSet<&SnapshotId>) -> BTreeMap<SnapshotId, SnapshotId> {
        let mut copies: BTreeMap<SnapshotId, Vec<&Snapshot>> = BTreeMap::new();
        for copy in self.there.iter().filter(|copy| copy.state == SnapshotState::Completed) {
            if let Some(source) = SnapshotTags::read(&copy.tags).source_snapshot.filter(|source| of.contains(source)) {
                copies.entry(source).or_default().push(copy);
            }
        }
        copies.into_iter().filter_map(|(source, all)| Some((source, oldest_live(all)?.id.clone()))).collect()
    }

    /// The problems that make the run incomplete, each with its source.
    pub fn problems(&self) -> Vec<Problem> {
        let sources: BTreeMap<&SnapshotId, &Snapshot> = self.sources.iter().map(|s| (&s.id, s)).collect();
        let of = |kind, source: &SnapshotId, error: &str, reason: String, to_do: &str| {
            let snapshot = sources.get(source);
            let error = Some(error).filter(|error| !error.is_empty());
            Problem {
                instances: snapshot.map_or_else(Vec::new, |s| self.names.of_snapshot(s)),
                volume: snapshot.and_then(|s| s.volume.clone()),
                snapshot: Some(source.clone()),
                created_on: snapshot.and_then(|s| SnapshotTags::read(&s.tags).created_on),
                region: Some(self.region.clone()),
                error: error.map(str::to_owned),
                ..Problem::new(kind, reason, advice(error.unwrap_or_default(), to_do))
            }
        };
        let unfinished = self.unfinished();
        let mut problems = Vec::new();
        for task in &self.owed.tasks {
            problems.push(match task {
                CopyTask::Copy { snapshot, .. } => {
                    let broken = unfinished.get(snapshot).copied();
                    let (error, reason) = self.why_not_copied(snapshot, broken);
                    let copy = broken.map(|copy| copy.id.clone());
                    let to_do = "The next run copies it, or start {\"phases\": [\"copy\"]}";
                    Problem { copy, ..of(ProblemKind::NoCopy, snapshot, &error, reason, to_do) }
                }
                CopyTask::Retag { snapshot: copy, .. } => {
                    let source = self.there.iter().find(|held| held.id == *copy);
                    let source = source.and_then(|held| SnapshotTags::read(&held.tags).source_snapshot);
                    let known = self.failed.copy(self.region, copy);
                    let (error, reason) = known.map_or_else(Default::default, |r| (r.error.clone(), r.cause.clone()));
                    let to_do = "The next run sets it; until then the copy is kept, since its source is kept";
                    let of_source = source.as_ref().unwrap_or(copy);
                    Problem {
                        copy: Some(copy.clone()),
                        ..of(ProblemKind::NoKeepForever, of_source, &error, reason, to_do)
                    }
                }
            });
        }
        for stuck in &self.owed.stuck {
            let to_do = "Look at its progress there; if you delete it, the next run copies again";
            problems.push(Problem {
                copy: Some(stuck.copy.clone()),
                since: Some(stuck.since),
                ..of(ProblemKind::StuckCopy, &stuck.source, "", String::new(), to_do)
            });
        }
        for source in &self.owed.forgotten {
            let to_do = "Copy it by hand if you need it; a larger CopyLookbackDays gives the copies more time";
            problems.push(of(ProblemKind::Forgotten, source, "", String::new(), to_do));
        }
        for source in self.ran_out() {
            let known = self.failed.copy(self.region, source);
            let (error, reason) = known.map_or_else(Default::default, |r| (r.error.clone(), r.cause.clone()));
            let to_do = "No run makes it any more; a longer RetentionCrossRegion gives the copies more time";
            let problem = of(ProblemKind::RanOut, source, "", reason, to_do);
            problems.push(Problem { error: Some(error).filter(|error| !error.is_empty()), ..problem });
        }
        problems
    }

    /// The newest copy of each source that is pending or broken.
    fn unfinished(&self) -> BTreeMap<SnapshotId, &Snapshot> {
        let mut unfinished: BTreeMap<SnapshotId, &Snapshot> = BTreeMap::new();
        for copy in self.there.iter().filter(|copy| copy.state != SnapshotState::Completed) {
            if let Some(source) = SnapshotTags::read(&copy.tags).source_snapshot {
                let newest = unfinished.entry(source).or_insert(copy);
                if copy.started > newest.started {
                    *newest = copy;
                }
            }
        }
        unfinished
    }

    fn why_not_copied(&self, source: &SnapshotId, held: Option<&Snapshot>) -> (String, String) {
        let known = self.failed.copy(self.region, source);
        match held {
            Some(copy) if copy.state == SnapshotState::Error => {
                let message = copy.state_message.as_deref().unwrap_or("EC2 gives no reason");
                (name_of_broken_copy(message).to_string(), format!("the copy is in error: {message}"))
            }
            _ if known.is_some() => known.map_or_else(Default::default, |r| (r.error.clone(), r.cause.clone())),
            Some(copy) if copy.state == SnapshotState::Pending => {
                (String::new(), format!("the copy is pending since {}", at(copy.started)))
            }
            _ if self.failed.is_unread(COPIES) => {
                (String::new(), "the reason could not be read: see the Map Run Copies".into())
            }
            _ if !self.is_planned(source) => (String::new(), "it was not in the run's manifest yet".into()),
            _ => (String::new(), "no failure is known: see the log of the copy function".into()),
        }
    }

    fn is_planned(&self, source: &SnapshotId) -> bool {
        self.planned.iter().any(|task| matches!(task, CopyTask::Copy { snapshot, .. } if snapshot == source))
    }

    /// The sources whose planned copy was not made before its retention ran out: it is neither made nor owed, although
    /// the source still exists and still asks for it.
    fn ran_out(&self) -> Vec<&SnapshotId> {
        let sources: BTreeMap<&SnapshotId, &Snapshot> = self.sources.iter().map(|s| (&s.id, s)).collect();
        let (owed, surplus) = (self.owed.sources(), surplus_snapshots(self.sources));
        let planned = self.planned.iter().filter_map(|task| match task {
            CopyTask::Copy { snapshot, .. } => Some(snapshot),
            CopyTask::Retag { .. } => None,
        });
        let still_asks = |id: &&SnapshotId| {
            sources.get(*id).is_some_and(|source| {
                source.state == SnapshotState::Completed && self.living.copy_regions(source).contains(self.region)
            })
        };
        let left: BTreeSet<&SnapshotId> =
            planned.filter(|id| !owed.contains(*id) && !surplus.contains(*id)).filter(still_asks).collect();
        let completed = self.completed(&left);
        left.into_iter().filter(|id| !completed.contains_key(*id)).collect()
    }

    /// Things that are no problem of the run, but that an operator should know.
    pub fn notes(&self) -> Vec<Rejection> {
        let mut notes: Vec<Rejection> =
            self.owed.doubtful.iter().map(|doubt| Rejection::new(&doubt.source, &doubt.reason)).collect();
        for (source, dropped) in &self.owed.dropped_tags {
            let keys = dropped.join(", ");
            notes.push(Rejection::new(source, format!("its copies have no room for these of its tags: {keys}")));
        }
        notes
    }
}
