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
    pub run: Run,
    pub home: Region,
    /// When the summary was made.
    pub ended: DateTime<Utc>,
    /// The folder of this run's files, `s3://BUCKET/runs/RUN/EXECUTION/`.
    pub files: String,
    /// Why the run is incomplete; in a dry run, the problems that a run would report.
    pub problems: Vec<Problem>,
    /// One per instance that was planned.
    pub instances: Vec<InstanceReport>,
    /// One per destination region.
    pub copies: Vec<CopiesReport>,
    /// One per swept region in which something was due or broken.
    pub expiries: Vec<ExpiryReport>,
    /// The volumes that do not exist any more, but still have backups.
    pub gone: Vec<GoneVolume>,
    /// Tags, instances and settings that could not be used when the run was planned.
    pub rejected: Vec<Rejection>,
    /// Things that are no problem of the run, but that an operator should know.
    pub notes: Vec<Rejection>,
    /// The failures that were read from the Map Runs.
    pub failures: Vec<ReportedFailure>,
    /// A line for each source of failures that could not be read.
    pub unread: Vec<String>,
    /// One per dead-letter queue that was not empty.
    pub dead_letters: Vec<DeadLettersReport>,
}

/// The dead letters of one queue, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersReport {
    /// The work queue that they come from.
    pub queue: WorkQueue,
    /// Settled, and deleted.
    pub settled: usize,
    /// Not settled, by the name of their error.
    pub left: BTreeMap<String, usize>,
}

impl Summary {
    /// A summary with nothing in it yet.
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

    /// Whether nothing is owed. A dry run is complete unless it could not read the fleet.
    pub fn is_complete(&self) -> bool {
        match self.run.dry_run {
            true => !self.problems.iter().any(|problem| problem.kind == ProblemKind::WholeRun),
            false => self.problems.is_empty(),
        }
    }

    /// Whether it is a complete run of all phases, and neither a dry run nor a duplicate.
    pub fn is_full_backup(&self) -> bool {
        let phases = self.run.phases;
        let full = phases.snapshot && phases.copy && phases.expire;
        full && self.is_complete() && !self.run.dry_run && self.run.duplicate_of.is_none()
    }

    /// The number of planned volumes, and of those with a completed snapshot.
    pub fn volumes(&self) -> (usize, usize) {
        let all = || self.instances.iter().flat_map(|i| &i.volumes);
        (all().count(), all().filter(|v| v.state == Some(SnapshotState::Completed)).count())
    }

    /// The number of rejections of a tag's key or value: they begin with `KEY=VALUE`.
    pub fn rejected_tags(&self) -> usize {
        let is_tag = |rejected: &&Rejection| rejected.problem.split(' ').next().is_some_and(|word| word.contains('='));
        self.rejected.iter().filter(is_tag).count()
    }
}
