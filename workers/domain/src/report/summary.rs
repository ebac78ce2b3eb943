use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    changes::{Changes, Listed},
    copies::CopiesReport,
    expiries::ExpiryReport,
    failures::ReportedFailure,
    latest::VERSION,
    problem::{Problem, ProblemKind},
    snapshots::{GoneVolume, InstanceReport},
    timeline::Timeline,
};
use crate::{
    cost::Cost,
    coverage::{CoveredVolume, DrillRules, ProofCounts, State, proof_counts},
    fleet::SnapshotState,
    ids::Region,
    policy::Rejection,
    ports::WorkQueue,
    run::Run,
};

/// The report of a run: `report.json` in the report bucket, which `docs/report.schema.json` describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Of this format: it changes when a field goes or changes its meaning, not when one is added.
    /// 0 is the `summary.json` of earlier versions, which has no number, and less in it.
    #[serde(default)]
    pub version: u32,
    pub run: Run,
    pub home: Region,
    /// When the report was made.
    pub ended: DateTime<Utc>,
    /// The folder of this run's files, `s3://BUCKET/runs/RUN/EXECUTION/`.
    pub files: String,
    /// Why the run is incomplete; in a dry run, the problems that a run would report.
    pub problems: Vec<Problem>,
    /// How old the newest backup of each volume is; none where the fleet could not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageReport>,
    /// When what the run did was done.
    #[serde(default)]
    pub timeline: Timeline,
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
    /// What there is costs so much at least; none where the fleet could not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What is different from the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// What exists, for the next report; none where the fleet could not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}

/// How old the newest backup of each volume is that is to be backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageReport {
    /// Hours that it may be old: the longest pause of the schedule and `RunHours`; none where the schedule does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_hours: Option<i64>,
    /// What is expected of drills.
    #[serde(default)]
    pub drills: DrillRules,
    /// The worst first.
    pub volumes: Vec<CoveredVolume>,
}

impl CoverageReport {
    /// The volumes by what is proven of them.
    pub fn proofs(&self) -> ProofCounts {
        proof_counts(&self.volumes)
    }

    /// The number of volumes in a state.
    pub fn count(&self, state: State) -> usize {
        self.volumes.iter().filter(|volume| volume.state == state).count()
    }

    /// The number of volumes of which a backup is missing or overdue, anywhere.
    pub fn behind(&self) -> usize {
        self.volumes.iter().filter(|volume| volume.state <= State::Overdue).count()
    }
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
    /// A report with nothing in it yet.
    pub fn new(run: Run, home: Region, ended: DateTime<Utc>, bucket: &str) -> Self {
        let files = format!("s3://{bucket}/{}", run.key(""));
        Self {
            version: VERSION,
            run,
            home,
            ended,
            files,
            problems: Vec::new(),
            coverage: None,
            timeline: Timeline::default(),
            instances: Vec::new(),
            copies: Vec::new(),
            expiries: Vec::new(),
            gone: Vec::new(),
            rejected: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
            unread: Vec::new(),
            dead_letters: Vec::new(),
            cost: None,
            changes: None,
            listed: None,
        }
    }

    /// Reads a `report.json`, or the `summary.json` of an earlier version; an error says why it cannot be used.
    pub fn read(json: &str) -> Result<Self, String> {
        /// Enough of any version.
        #[derive(Deserialize)]
        struct Versioned {
            #[serde(default)]
            version: u32,
        }
        let unusable = |error: serde_json::Error| format!("its report cannot be read: {error}");
        match serde_json::from_str(json).map_err(unusable)? {
            Versioned { version: 0..=VERSION } => serde_json::from_str(json).map_err(unusable),
            Versioned { version } => Err(format!("its report has the version {version}, and this one reads {VERSION}")),
        }
    }

    /// Whether nothing is owed. A dry run is complete unless it could not read the fleet.
    pub fn is_complete(&self) -> bool {
        match self.run.dry_run {
            true => !self.problems.iter().any(|problem| problem.kind == ProblemKind::WholeRun),
            false => self.problems.is_empty(),
        }
    }

    /// Whether it is of a run of all phases that acted, and is no duplicate.
    pub fn is_full(&self) -> bool {
        let phases = self.run.phases;
        phases.snapshot && phases.copy && phases.expire && !self.run.dry_run && self.run.duplicate_of.is_none()
    }

    /// Whether it is a complete run of all phases, and neither a dry run nor a duplicate.
    pub fn is_full_backup(&self) -> bool {
        self.is_full() && self.is_complete()
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

    /// The address of a file of this run.
    pub fn file(&self, name: &str) -> String {
        format!("{}{name}", self.files)
    }
}
