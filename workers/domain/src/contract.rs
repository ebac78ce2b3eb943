//! The JSON between the states of the state machine and the workers.
//!
//! | state | worker | gets | answers |
//! |---|---|---|---|
//! | `StartRun` | discover | [`DiscoverEvent::StartRun`] | [`Run`] |
//! | `DiscoverInstances` | discover | [`DiscoverEvent::DiscoverInstances`] | [`FleetFound`] |
//! | `SnapshotInstances` / `Snapshot` | snapshot | [`SnapshotTask`] | [`Begun`] |
//! | `SnapshotInstances` / `WaitComplete` | wait-complete | [`WaitTask`] | nothing |
//! | `SnapshotHooked` / `PreHook` | hook | [`HookTask`] | [`PreHooked`] |
//! | `SnapshotHooked` / `SnapshotFrozen`, `SnapshotUnfrozen` | snapshot | [`SnapshotTask`] | [`Begun`] |
//! | `SnapshotHooked` / `PostHook`, `Thaw` | hook | [`HookTask`] | nothing |
//! | `SnapshotHooked` / `WaitHookedComplete` | wait-complete | [`WaitTask`] | nothing |
//! | `PlanCopies` / `DiscoverCopies` | discover | [`DiscoverEvent::DiscoverCopies`] | [`Manifest`] |
//! | `CopyToRegions` / `Copy` | copy | [`CopyTask`](crate::copies::CopyTask) | [`Begun`] |
//! | `CopyToRegions` / `WaitCopyComplete` | wait-complete | [`WaitTask`] | nothing |
//! | `ListFleetAgain` | discover | [`DiscoverEvent::ListFleetAgain`] | nothing |
//! | `ExpireRegions` / `DiscoverExpired` | discover | [`DiscoverEvent::DiscoverExpired`] | [`SweepPlan`] |
//! | `ExpireRegions` / `Expire` | expire | [`ExpireTask`] | what was deleted, and what was kept and why |
//! | `Report` | report | [`ReportEvent`] | whether the run is complete, and the cause where it is not |
//!
//! Discover and report are invoked directly. The others get their task in a [`Message`](crate::message::Message) from
//! their queue, and answer its token.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Failure,
    expiry::Expire,
    fleet::Snapshot,
    hooks::{HookPlan, Script, script::ScriptReport},
    ids::{Region, SnapshotId, VolumeId},
    policy::InstancePlan,
    run::Run,
};

/// A list of work in the report bucket, as JSON lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// How many lines: a Map over none is skipped.
    pub count: u64,
}

/// What the state machine asks of the discover worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all_fields = "camelCase")]
pub enum DiscoverEvent {
    /// Check the execution's input.
    StartRun {
        /// As it was given.
        input: Value,
        /// The execution's ARN.
        execution: String,
        /// When it was started.
        started: DateTime<Utc>,
    },
    /// Write the instances manifest.
    DiscoverInstances {
        /// The run.
        run: Run,
    },
    /// Write down the fleet as it is before anything is expired.
    ListFleetAgain {
        /// The run.
        run: Run,
    },
    /// Write a destination's copies manifest.
    DiscoverCopies {
        /// The run.
        run: Run,
        /// The destination.
        region: Region,
    },
    /// Write a region's expiry manifest.
    DiscoverExpired {
        /// The run.
        run: Run,
        /// The region.
        region: Region,
    },
}

/// What `DiscoverInstances` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetFound {
    /// [`InstancePlan`] lines, of instances without a hook.
    pub manifest: Manifest,
    /// The same of those with one. None where an execution of an older definition has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooked: Option<Manifest>,
    /// The regions that tags, of instances or of snapshots, ask for.
    pub copy_regions: Vec<Region>,
    /// The regions to sweep.
    pub expire_regions: Vec<Region>,
}

/// The task of the snapshot worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotTask {
    /// The run's id.
    pub run: String,
    /// What to snapshot.
    pub instance: InstancePlan,
    /// The execution id of the hook that has frozen the instance: then it is done at once or declined, since a frozen
    /// database never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_by: Option<String>,
    /// Why the instance is not frozen, though a hook was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<StateError>,
}

/// The task of the hook worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookTask {
    /// Which script to run.
    pub script: Script,
    /// The run's id.
    pub run: String,
    /// The instance and its volumes.
    pub instance: InstancePlan,
    /// Its hook.
    pub hook: HookPlan,
    /// The id of this try, a UUID: the same for its pre-script and its post-script.
    pub execution_id: String,
    /// Of a post-script, the snapshots that were begun while the instance was frozen; none where it only thaws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// Of a post-script, what its pre-script answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<PreHooked>,
    /// Whether nobody waits for it: then nothing is frozen, and nothing but thawed.
    #[serde(skip)]
    pub by_hand: bool,
}

/// Whether an instance is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frozen {
    /// It is.
    Yes,
    /// It is not, for certain.
    No,
    /// It may be: it has to be thawed.
    Perhaps,
    /// It is not, and need not be: its snapshots of this run are there.
    Needless,
}

/// The result of a pre-script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreHooked {
    /// Whether the instance is frozen.
    pub frozen: Frozen,
    /// Why it is not, or may not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<StateError>,
    /// What the script reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ScriptReport>,
}

/// Snapshots or copies that were begun: the result of the snapshot and the copy worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Where they are.
    pub region: Region,
    /// Their ids; none if nothing is to be waited for.
    pub snapshots: Vec<SnapshotId>,
    /// Since when they are waited for: not before any of them that this attempt began.
    pub started: DateTime<Utc>,
}

impl Begun {
    /// What is waited for when these snapshots, begun earlier, are: the oldest tells how long that has been.
    pub fn of<'a>(region: &Region, snapshots: impl IntoIterator<Item = &'a Snapshot>, now: DateTime<Utc>) -> Self {
        let mut begun = Self { region: region.clone(), snapshots: Vec::new(), started: now };
        for snapshot in snapshots {
            begun.snapshots.push(snapshot.id.clone());
            begun.started = begun.started.min(snapshot.started);
        }
        begun
    }
}

/// The task of the wait-complete worker.
pub type WaitTask = Begun;

/// The task of the expire worker, and a line of an expiry manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireTask {
    /// Where.
    pub region: Region,
    /// The only day on which it may be carried out.
    pub planned: NaiveDate,
    /// What to delete, and why.
    pub snapshots: Vec<Expiring>,
}

/// A snapshot to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it is a backup of, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// Why.
    pub why: Expire,
}

/// What `DiscoverExpired` found.
///
/// That a region is stopped is no failure of the function that finds it: an alarm of its errors would else tell of what
/// the report says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SweepPlan {
    /// [`ExpireTask`] lines.
    Manifest(Manifest),
    /// Nothing that is due goes there: [`ErrorName::MassExpire`].
    Stopped(StateError),
}

/// A line of `left-REGION.jsonl`: a snapshot that is due, or broken, and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDue {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it is a backup of, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// Why, in words: see [`crate::expiry::Verdict`].
    pub verdict: String,
}

/// `holds/REGION` in the report bucket: nothing that is due goes in that region until an execution allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The run that was stopped.
    pub run: String,
    /// What it would have deleted, in words.
    pub why: String,
}

impl Hold {
    /// Where the hold of a region stands in the report bucket.
    pub fn key(region: &Region) -> String {
        format!("holds/{region}")
    }
}

/// What the state machine hands to the report worker: all that the run left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportEvent {
    /// The run.
    pub run: Run,
    /// What `DiscoverInstances` found.
    #[serde(default)]
    pub fleet: Option<FleetFound>,
    /// Why it failed.
    #[serde(default)]
    pub fleet_failure: Option<StateError>,
    /// Why the fleet could not be listed once more: then nothing was expired.
    #[serde(default)]
    pub fleet_again_failure: Option<StateError>,
    /// Why the Maps over the instances could not run.
    #[serde(default)]
    pub snapshot_failure: Option<StateError>,
    /// How each of them ended: that of the instances without a hook, and that of those with one.
    #[serde(default)]
    pub snapshots: Vec<PhaseEnd>,
    /// Why the destination regions could not be gone through.
    #[serde(default)]
    pub copy_failure: Option<StateError>,
    /// Why the regions to sweep could not be gone through.
    #[serde(default)]
    pub expiry_failure: Option<StateError>,
    /// One per destination region.
    #[serde(default)]
    pub copies: Vec<RegionResult>,
    /// One per swept region.
    #[serde(default)]
    pub expiries: Vec<RegionResult>,
}

/// How a Map over instances ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseEnd {
    /// Why it could not run.
    #[serde(default)]
    pub failure: Option<StateError>,
}

/// How a region's phase ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionResult {
    /// The region.
    pub region: Region,
    /// Its manifest, if it could be written.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// Why the phase failed there.
    #[serde(default)]
    pub failure: Option<StateError>,
}

/// An error as a `Catch` hands it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateError {
    /// Its name.
    #[serde(rename = "Error")]
    pub error: String,
    /// Its cause; of a function, the JSON of its error.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> Self {
        Self { error: failure.name.to_string(), cause: failure.cause }
    }
}

impl StateError {
    /// As one text: the name and the cause.
    pub fn text(&self) -> String {
        format!("{}: {}", self.error, self.message())
    }

    /// The cause in words: a function's error message where there is one.
    pub fn message(&self) -> String {
        serde_json::from_str::<Value>(&self.cause)
            .ok()
            .and_then(|cause| Some(cause.get("errorMessage")?.as_str()?.to_owned()))
            .unwrap_or_else(|| self.cause.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tasks_of_hooked_instances_are_read_as_the_state_machine_writes_them() {
        let instance = json!({"instance": "i-1", "name": "db", "volumes": [], "retention": 7});
        let hook = json!({"document": "d", "timeoutSeconds": 60, "onError": "skip"});
        let frozen: SnapshotTask =
            serde_json::from_value(json!({"run": "r", "instance": instance, "frozenBy": "e"})).unwrap();
        assert_eq!(frozen.frozen_by.as_deref(), Some("e"));
        let why = json!({"Error": "HookTimedOut", "Cause": "slow"});
        let not: SnapshotTask = serde_json::from_value(json!({"run": "r", "instance": instance, "why": why})).unwrap();
        assert_eq!(not.why.unwrap().text(), "HookTimedOut: slow");
        let begun = json!({"region": "eu-west-1", "snapshots": [], "started": "2026-11-22T03:00:00Z"});
        let post: HookTask = serde_json::from_value(json!({"script": "post-script", "run": "r", "executionId": "e",
            "instance": instance, "hook": hook, "begun": begun, "pre": {"frozen": "yes"}}))
        .unwrap();
        assert_eq!((post.script, post.pre.unwrap().frozen), (Script::Post, Frozen::Yes));
        assert!(post.begun.is_some() && post.execution_id == "e" && !post.by_hand);
    }

    #[test]
    fn a_functions_error_is_shown_as_its_message() {
        let cause = r#"{"errorType":"Ec2Unavailable","errorMessage":"no answer"}"#.into();
        assert_eq!(StateError { error: "Ec2Unavailable".into(), cause }.message(), "no answer");
        assert_eq!(StateError { error: "States.Timeout".into(), cause: "x".into() }.message(), "x");
    }
}
