//! What a run did, computed from what exists now: the run is complete when nothing is owed.
//!
//! [`Summary`] is the whole of it, `summary.json` in the report bucket. Its problems are data first ([`Problem`]), so
//! that a machine finds the same as a person, and are told worst first: what is unprotected or has no snapshot, what
//! is owed as a copy, what failed as a whole, the rest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{contract::Run, error::ErrorName, fleet::SnapshotState, ids::Region, policy::Rejection, ports::WorkQueue};

mod copies;
mod expiries;
mod failures;
mod names;
mod problem;
mod snapshots;
mod text;

pub use copies::{CopiesReport, Destination};
pub use expiries::{ExpiryReport, RegionSweep, Swept};
pub use failures::{Failed, Reason, ReportedFailure, reported_failures};
pub use names::Names;
pub use problem::{Named, Problem, ProblemKind, lines};
pub use snapshots::{Copied, GoneVolume, InstanceReport, VolumeReport, instance_reports, missing, of_run, unprotected};
pub use text::console_link;

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

/// What to do about an error, before what is to be done in any case.
fn advice(error: &str, otherwise: &str) -> String {
    let name = ErrorName::ALL.iter().find(|name| name.as_str() == error);
    let first = match name {
        Some(ErrorName::OutOfTime) => {
            return "The next run makes them; if it happens again, raise RunHours or CopyConcurrency".into();
        }
        Some(ErrorName::AccessDenied) => "Grant the permission",
        Some(ErrorName::KeyNotAccessible) => "Mend the key's policy, or DestinationKmsKeys",
        Some(ErrorName::RegionNotEnabled) => "Enable the region, or take it out of the tag",
        Some(ErrorName::CopyNotSupported) => "Take the region out of the tag",
        Some(ErrorName::SnapshotLimitExceeded) => "Raise the account's quota of snapshots",
        Some(ErrorName::TagsRefused) => "Allow the tags that README lists",
        _ => return otherwise.to_owned(),
    };
    format!("{first}. {otherwise}")
}

#[cfg(test)]
mod tests;
