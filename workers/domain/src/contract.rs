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
//! The second state machine is that of drills:
//!
//! | state | worker | gets | answers |
//! |---|---|---|---|
//! | `StartDrill` | discover | [`DiscoverEvent::StartDrill`] | [`DrillStarted`] |
//! | `PlanDrill` / `PlanRegion` | discover | [`DiscoverEvent::PlanDrill`] | [`Manifest`] of [`VerifyTask`](crate::drill::VerifyTask) lines |
//! | `VerifyRegions` / `Verify` | verify | [`VerifyTask`](crate::drill::VerifyTask) | [`Verified`](crate::drill::Verified) |
//! | `ReportDrill` | report | [`DrillReportEvent`] | whether all is proven, and the cause where it is not |
//!
//! The state machine invokes discover and report directly. The other workers get their task in a
//! [`Message`](crate::message::Message) from their queue, and answer its token.
#![warn(missing_docs)]

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    drill::order::Drill,
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
#[allow(missing_docs)]
pub struct Manifest {
    pub bucket: String,
    pub key: String,
    /// The number of lines. With 0, the state machine skips the Map.
    pub count: u64,
}

/// The event of the discover worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum DiscoverEvent {
    /// Check the execution's input.
    StartRun { input: Value, execution: String, started: DateTime<Utc> },
    /// Write the instances manifest.
    DiscoverInstances { run: Run },
    /// List the fleet again before anything is expired.
    ListFleetAgain { run: Run },
    /// Write a destination's copies manifest.
    DiscoverCopies { run: Run, region: Region },
    /// Write a region's expiry manifest.
    DiscoverExpired { run: Run, region: Region },
    /// Check the input of a drill, and find the regions that it looks at.
    StartDrill { input: Value, execution: String, started: DateTime<Utc> },
    /// Write a region's manifest of what a drill reads there.
    PlanDrill { drill: Drill, region: Region },
}

/// The result of `StartDrill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DrillStarted {
    pub drill: Drill,
    /// The regions to look at.
    pub regions: Vec<Region>,
}

/// The result of `DiscoverInstances`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetFound {
    /// [`InstancePlan`] lines, of instances without a hook.
    pub manifest: Manifest,
    /// The same of those with one. None where an execution of an older definition has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooked: Option<Manifest>,
    /// The destination regions that tags of instances or snapshots name.
    pub copy_regions: Vec<Region>,
    /// The regions to sweep.
    pub expire_regions: Vec<Region>,
}

/// The task of the snapshot worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct SnapshotTask {
    #[serde(rename = "run")]
    pub run_id: String,
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
    #[serde(rename = "run")]
    /// The run's id.
    pub run_id: String,
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
#[allow(missing_docs)]
pub struct Begun {
    pub region: Region,
    /// Empty if there is nothing to wait for.
    pub snapshots: Vec<SnapshotId>,
    /// When the wait began. It is not earlier than the start of a snapshot that this attempt began.
    pub started: DateTime<Utc>,
}

impl Begun {
    /// Snapshots that an earlier attempt began. The wait began when the oldest of them was begun.
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
#[allow(missing_docs)]
pub struct ExpireTask {
    pub region: Region,
    /// The only day (UTC) on which it may be carried out.
    pub planned: NaiveDate,
    pub snapshots: Vec<Expiring>,
}

/// A snapshot to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Expiring {
    pub id: SnapshotId,
    /// The volume it is a backup of; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    pub why: Expire,
}

/// The result of `DiscoverExpired`.
///
/// A stopped region is a result and no error of the function: otherwise the alarm of the function's errors would repeat
/// what the report says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SweepPlan {
    /// [`ExpireTask`] lines.
    Manifest(Manifest),
    /// The breaker or a hold stops the region: [`ErrorName::MassExpire`](crate::error::ErrorName::MassExpire).
    Stopped(StateError),
}

/// A line of `left-REGION.jsonl`: a snapshot that is due or broken, and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeptDue {
    pub id: SnapshotId,
    /// The volume it is a backup of; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The text of its [`Verdict`](crate::expiry::Verdict).
    pub verdict: String,
}

/// `holds/REGION` in the report bucket: nothing that is due is deleted in that region until an execution allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Hold {
    pub since: DateTime<Utc>,
    /// The run that was stopped first.
    #[serde(rename = "run")]
    pub run_id: String,
    /// How much would have been deleted.
    pub why: String,
}

impl Hold {
    /// The key of a region's hold in the report bucket.
    pub fn key(region: &Region) -> String {
        format!("holds/{region}")
    }
}

/// The event of the report worker: all results and failures of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ReportEvent {
    pub run: Run,
    /// The result of `DiscoverInstances`.
    #[serde(default)]
    pub fleet: Option<FleetFound>,
    /// Why `DiscoverInstances` failed.
    #[serde(default)]
    pub fleet_failure: Option<StateError>,
    /// Why `ListFleetAgain` failed: then nothing was expired.
    #[serde(default)]
    pub fleet_again_failure: Option<StateError>,
    /// Why the Maps over the instances failed.
    #[serde(default)]
    pub snapshot_failure: Option<StateError>,
    /// How each of them ended: that of the instances without a hook, and that of those with one.
    #[serde(default)]
    pub snapshots: Vec<PhaseEnd>,
    /// Why the Map over the destination regions failed.
    #[serde(default)]
    pub copy_failure: Option<StateError>,
    /// Why the Map over the regions to sweep failed.
    #[serde(default)]
    pub expiry_failure: Option<StateError>,
    /// One per destination region.
    #[serde(default)]
    pub copies: Vec<RegionResult>,
    /// One per swept region.
    #[serde(default)]
    pub expiries: Vec<RegionResult>,
}

/// The event of the report worker for a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct DrillReportEvent {
    pub drill: Drill,
    /// The regions that were to be looked at.
    pub regions: Vec<Region>,
    /// Why the Map over the regions to plan failed.
    #[serde(default)]
    pub plan_failure: Option<StateError>,
    /// Why the Map over the regions to read failed.
    #[serde(default)]
    pub verify_failure: Option<StateError>,
    /// One per region.
    #[serde(default)]
    pub verified: Vec<RegionResult>,
}

/// What the report worker is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
#[allow(missing_docs)]
pub enum ToReport {
    Run(Box<ReportEvent>),
    Drill(Box<DrillReportEvent>),
}

impl TryFrom<Value> for ToReport {
    type Error = serde_json::Error;

    /// An event with a `drill` is of one. Decided first, so that what is wrong with an event is told.
    fn try_from(event: Value) -> Result<Self, Self::Error> {
        match event.get("drill") {
            Some(_) => serde_json::from_value(event).map(Self::Drill),
            None => serde_json::from_value(event).map(Self::Run),
        }
    }
}

/// How a Map over instances ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseEnd {
    /// Why it could not run.
    #[serde(default)]
    pub failure: Option<StateError>,
}

/// How a phase ended in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RegionResult {
    pub region: Region,
    /// `None` if it could not be written.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    #[serde(default)]
    pub failure: Option<StateError>,
}

/// An error that a `Catch` put into the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StateError {
    #[serde(rename = "Error")]
    pub error: String,
    /// If a function failed, the JSON of its error.
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

    /// The cause as text: if a function failed, its error message.
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
