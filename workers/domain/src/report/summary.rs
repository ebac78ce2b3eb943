use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    copies::CopiesReport,
    expiries::ExpiryReport,
    failures::ReportedFailure,
    problem::{Problem, ProblemKind},
    snapshots::{GoneVolume, InstanceReport},
};
use crate::{fleet::SnapshotState, ids::Region, policy::Rejection, ports::WorkQueue, run::Run};

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
    /// Where this run's files stand, `s3://BUCKET/runs/RUN/EXECUTION/`.
    pub files: String,
    /// Why the run is incomplete; of a dry run, what a run would report.
    pub problems: Vec<Problem>,
    /// One per instance that was planned.
    pub instances: Vec<InstanceReport>,
    /// One per destination region.
    pub copies: Vec<CopiesReport>,
    /// One per swept region in which something was due or broken.
    pub expiries: Vec<ExpiryReport>,
    /// The volumes that are gone, and whose last backup is still there.
    pub gone: Vec<GoneVolume>,
    /// What of the tags, of instances or of settings could not be used when the run was planned.
    pub rejected: Vec<Rejection>,
    /// What came up on the way and is no problem.
    pub notes: Vec<Rejection>,
    /// What failed, as the Map Runs tell it.
    pub failures: Vec<ReportedFailure>,
    /// What failed and was not read, as lines.
    pub unread: Vec<String>,
    /// One per dead-letter queue that was not empty.
    pub dead_letters: Vec<DeadLettersReport>,
}

/// What became of a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersReport {
    /// The queue that they were in before.
    pub queue: WorkQueue,
    /// Those that were settled meanwhile, and are deleted.
    pub settled: usize,
    /// Those that are left, by the name of their error.
    pub left: BTreeMap<String, usize>,
}

impl Summary {
    /// A summary of which nothing is known yet.
    pub fn new(run: Run, home: Region, ended: DateTime<Utc>, bucket: &str) -> Self {
        let files = format!("s3://{bucket}/{}", run.key(""));
        Self {
            run,
            home,
            ended,
            files,
            problems: Vec::new(),
            instances: Vec::new(),
            copies: Vec::new(),
            expiries: Vec::new(),
            gone: Vec::new(),
            rejected: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
            unread: Vec::new(),
            dead_letters: Vec::new(),
        }
    }

    /// Whether nothing is owed. A dry run owes nothing, unless it could not look at all.
    pub fn is_complete(&self) -> bool {
        match self.run.dry_run {
            true => !self.problems.iter().any(|problem| problem.kind == ProblemKind::WholeRun),
            false => self.problems.is_empty(),
        }
    }

    /// Whether it is what the schedule is for: a complete run of all phases, that acted.
    ///
    /// A second execution of the same event, which has nothing to do, is none.
    pub fn is_full_backup(&self) -> bool {
        let phases = self.run.phases;
        let full = phases.snapshot && phases.copy && phases.expire;
        full && self.is_complete() && !self.run.dry_run && self.run.duplicate_of.is_none()
    }

    /// Planned volumes, and those with a completed snapshot.
    pub fn volumes(&self) -> (usize, usize) {
        let all = || self.instances.iter().flat_map(|i| &i.volumes);
        (all().count(), all().filter(|v| v.state == Some(SnapshotState::Completed)).count())
    }

    /// The rejections that are about the value or the key of a tag: they begin with `KEY=VALUE`.
    pub fn rejected_tags(&self) -> usize {
        let is_tag = |rejected: &&Rejection| rejected.problem.split(' ').next().is_some_and(|word| word.contains('='));
        self.rejected.iter().filter(is_tag).count()
    }
}
