//! The JSON between the state machine, the queues and the workers.
//!
//! An execution's input, all optional:
//!
//! ```
//! use domain::contract::Run;
//! # let start = "2026-11-22T03:00:07Z".parse().unwrap();
//! let input = serde_json::json!({"scheduledTime": "2026-11-22T03:00:00Z", "phases": ["copy"], "dryRun": false});
//! let run = Run::read(&input, "arn:aws:states:eu-west-1:1:execution:backup:a1", start, 20).unwrap();
//! assert_eq!(run.id, "20261122T030000Z");
//! assert!(run.phases.copy && !run.phases.expire);
//!
//! let refused = Run::read(&serde_json::json!({"phases": ["delete"]}), "arn", start, 20).unwrap_err();
//! assert!(refused.to_string().starts_with("InvalidInput: phases"));
//! ```

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    copies::CopyTask,
    error::{ErrorName, Failure},
    expiry::Expire,
    fleet::Snapshot,
    ids::{Region, SnapshotId, VolumeId},
    policy::InstancePlan,
    tags::BACKUP_RUN,
};

/// Which phases an execution runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Snapshot the tagged instances.
    pub snapshot: bool,
    /// Make the copies that are owed.
    pub copy: bool,
    /// Delete what has expired.
    pub expire: bool,
}

/// One run: an execution's input, checked, with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The scheduled time, such as `20261122T030000Z`. A name, shared by two executions of one schedule event.
    pub id: String,
    /// The same as a time, as an input's `scheduledTime` takes it.
    pub scheduled: DateTime<Utc>,
    /// The execution's ARN.
    pub execution: String,
    /// When the execution was started.
    pub started: DateTime<Utc>,
    /// From then on no snapshot or copy is begun or waited for, so that the run ends with its report.
    pub deadline: DateTime<Utc>,
    /// Discover everything, act on nothing.
    pub dry_run: bool,
    /// The phases.
    pub phases: Phases,
    /// Where snapshots are deleted although the breaker would stop it.
    pub allow_mass_expire: AllowMassExpire,
    /// The execution that does the same at this moment; there is nothing to do for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
}

/// Where the breaker is overruled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AllowMassExpire {
    /// Everywhere, or nowhere.
    Everywhere(bool),
    /// In these regions.
    Regions(BTreeSet<Region>),
}

impl AllowMassExpire {
    /// Whether it is overruled there.
    pub fn allows(&self, region: &Region) -> bool {
        match self {
            Self::Everywhere(allowed) => *allowed,
            Self::Regions(regions) => regions.contains(region),
        }
    }
}

/// For so long before its time a run with the snapshot phase may begin: it would take the name of a later run, which
/// then adopts its snapshots and makes none.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(15);

/// The forms of a run's id, and of the `scheduledTime` that repeats it.
const RUN_ID: &str = "%Y%m%dT%H%M%SZ";

/// What an input may hold, for the messages.
const FIELDS: &str = "scheduledTime, phases, dryRun, allowMassExpire";

impl Run {
    /// Reads an execution's input; [`ErrorName::InvalidInput`] names the field and what is allowed.
    ///
    /// `run_hours` is the parameter `RunHours`.
    pub fn read(input: &Value, execution: &str, started: DateTime<Utc>, run_hours: u32) -> Result<Self, Failure> {
        let refuse = |field: &str, given: &Value, allowed: &str| {
            let (field, given): (String, String) =
                (field.chars().take(100).collect(), given.to_string().chars().take(200).collect());
            Failure::new(ErrorName::InvalidInput, format!("{field}: {given} was given: allowed is {allowed}"))
        };
        let Value::Object(fields) = input else {
            return Err(refuse("input", input, &format!("an object with {FIELDS}, all optional")));
        };
        if let Some((name, value)) = fields.iter().find(|(name, _)| !FIELDS.split(", ").any(|f| f == *name)) {
            return Err(refuse(name, value, FIELDS));
        }
        let flag = |name: &str| match fields.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(refuse(name, other, "true or false")),
        };
        let phases = match fields.get("phases") {
            None => Phases { snapshot: true, copy: true, expire: true },
            Some(given) => phases(given)
                .ok_or_else(|| refuse("phases", given, "a list of one or more of snapshot, copy, expire"))?,
        };
        let scheduled = match fields.get("scheduledTime") {
            None => started,
            Some(given) => {
                let (day, ahead) =
                    (TimeDelta::hours(24), if phases.snapshot { CLOCKS_DIFFER } else { TimeDelta::hours(24) });
                let time = given.as_str().and_then(scheduled_time).filter(|time| *time - started <= ahead);
                let wanted = "a time such as \"2026-11-22T03:00:00Z\" or \"20261122T030000Z\", at most 15 minutes ahead, \
                    or 24 hours where the phases leave out snapshot";
                let time = time.ok_or_else(|| refuse("scheduledTime", given, wanted))?;
                if phases.snapshot && started - time > day {
                    // It would adopt that run's snapshots, and make none of today.
                    let wanted = "a time at most 24 hours back where the phases include snapshot; \
                        {\"phases\": [\"copy\", \"expire\"]} takes any";
                    return Err(refuse("scheduledTime", given, wanted));
                }
                time
            }
        };
        let allow_mass_expire = match fields.get("allowMassExpire") {
            None => AllowMassExpire::Everywhere(false),
            Some(given) => serde_json::from_value(given.clone()).map_err(|_| {
                refuse("allowMassExpire", given, "true, false, or a list of regions such as [\"eu-west-1\"]")
            })?,
        };
        Ok(Self {
            id: scheduled.format(RUN_ID).to_string(),
            scheduled,
            execution: execution.to_owned(),
            started,
            deadline: started + TimeDelta::hours(run_hours.into()),
            dry_run: flag("dryRun")?,
            phases,
            allow_mass_expire,
            duplicate_of: None,
        })
    }

    /// Where this execution's manifests and its summary stand in the report bucket.
    ///
    /// By execution, since two executions may share a run id.
    pub fn key(&self, name: &str) -> String {
        let execution = self.execution.rsplit(':').next().unwrap_or_default();
        format!("runs/{}/{execution}/{name}", self.id)
    }
}

/// A time as people write it, or as a run's id has it; whole seconds, which is all that the id tells apart.
fn scheduled_time(text: &str) -> Option<DateTime<Utc>> {
    let id = || NaiveDateTime::parse_from_str(text, RUN_ID).ok().map(|time| time.and_utc());
    text.parse::<DateTime<Utc>>().ok().or_else(id)?.with_nanosecond(0)
}

fn phases(given: &Value) -> Option<Phases> {
    let mut phases = Phases { snapshot: false, copy: false, expire: false };
    for phase in given.as_array().filter(|list| !list.is_empty())? {
        match phase.as_str()? {
            "snapshot" => phases.snapshot = true,
            "copy" => phases.copy = true,
            "expire" => phases.expire = true,
            _ => return None,
        }
    }
    Some(phases)
}

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
    /// [`InstancePlan`] lines.
    pub manifest: Manifest,
    /// The regions that tags, of instances or of snapshots, ask for.
    pub copy_regions: Vec<Region>,
    /// The regions to sweep.
    pub expire_regions: Vec<Region>,
}

/// The task of the snapshot worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTask {
    /// The run's id.
    pub run: String,
    /// What to snapshot.
    pub instance: InstancePlan,
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
    /// Why the Map over the instances could not run.
    #[serde(default)]
    pub snapshot_failure: Option<StateError>,
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
    /// The cause in words: a function's error message where there is one.
    pub fn message(&self) -> String {
        serde_json::from_str::<Value>(&self.cause)
            .ok()
            .and_then(|cause| Some(cause.get("errorMessage")?.as_str()?.to_owned()))
            .unwrap_or_else(|| self.cause.clone())
    }
}

/// What a task is about, for logs and for the attributes of a message in a dead-letter queue.
pub trait About {
    /// Names and values; at most eight.
    fn about(&self) -> Vec<(&'static str, String)>;
}

impl About for SnapshotTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Run", self.run.clone()), ("Instance", self.instance.instance.to_string())]
    }
}

impl About for Begun {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Region", self.region.to_string()), ("Snapshot", joined(&self.snapshots))]
    }
}

impl About for CopyTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        let (snapshot, run) = match self {
            Self::Copy { snapshot, tags, .. } => (snapshot, tags.get(BACKUP_RUN)),
            Self::Retag { snapshot, .. } => (snapshot, None),
        };
        let mut about = vec![("Destination", self.region().to_string()), ("Snapshot", snapshot.to_string())];
        about.extend(run.map(|run| ("Run", run.clone())));
        about
    }
}

impl About for ExpireTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<_> = self.snapshots.iter().map(|s| s.id.clone()).collect();
        vec![("Region", self.region.to_string()), ("Planned", self.planned.to_string()), ("Snapshot", joined(&ids))]
    }
}

fn joined(ids: &[SnapshotId]) -> String {
    ids.iter().map(SnapshotId::as_str).collect::<Vec<_>>().join(" ")
}

/// The version of [`Message`].
pub const MESSAGE_VERSION: u32 = 1;

/// A message in a work queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<T> {
    /// [`MESSAGE_VERSION`].
    pub version: u32,
    /// Whom to answer; nobody where the message was put back by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
    /// What to do.
    pub task: T,
    /// When its run ends: from then on the task ends with [`ErrorName::OutOfTime`]. None on what was put back by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// When it was first sent; where it is missing, SQS knows when it was put into the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<DateTime<Utc>>,
}

impl<T: DeserializeOwned> Message<T> {
    /// Reads a message's body; [`ErrorName::BadMessage`] says what is wrong with it.
    pub fn read(body: &str) -> Result<Self, Failure> {
        let refuse = |problem: &dyn std::fmt::Display| Failure::new(ErrorName::BadMessage, problem);
        let value: Value = serde_json::from_str(body).map_err(|e| refuse(&format!("the message is not JSON: {e}")))?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(MESSAGE_VERSION) => {}
            _ => return Err(refuse(&format!("version: allowed is {MESSAGE_VERSION}"))),
        }
        serde_json::from_value(value).map_err(|e| refuse(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(input: Value) -> Result<Run, Failure> {
        Run::read(&input, "arn:aws:states:eu-west-1:1:execution:b:e1", "2026-11-22T03:00:07Z".parse().unwrap(), 20)
    }

    #[test]
    fn an_empty_input_is_a_full_run_now() {
        let run = read(json!({})).unwrap();
        assert_eq!((run.id.as_str(), run.dry_run), ("20261122T030007Z", false));
        assert!(!run.allow_mass_expire.allows(&"eu-west-1".parse().unwrap()));
        assert_eq!(run.deadline.to_string(), "2026-11-22 23:00:07 UTC");
        assert_eq!(run.phases, Phases { snapshot: true, copy: true, expire: true });
        assert_eq!(run.key("instances.jsonl"), "runs/20261122T030007Z/e1/instances.jsonl");
    }

    #[test]
    fn a_bad_input_is_refused_with_the_field_and_what_is_allowed() {
        for (input, field, allowed) in [
            (json!({"phases": ["delete"]}), "phases", "snapshot, copy, expire"),
            (json!({"phases": []}), "phases", "one or more"),
            (json!({"phases": "copy"}), "phases", "a list"),
            (json!({"dryRun": "yes"}), "dryRun", "true or false"),
            (json!({"allowMassExpire": 1}), "allowMassExpire", "a list of regions"),
            (json!({"allowMassExpire": ["mars"]}), "allowMassExpire", "a list of regions"),
            (json!({"scheduledTime": "2026-11-21T03:00:06Z"}), "scheduledTime", "24 hours back"),
            (json!({"scheduledTime": "tomorrow"}), "scheduledTime", "24 hours"),
            (json!({"scheduledTime": "2026-11-22T03:16:00Z"}), "scheduledTime", "15 minutes ahead"),
            (json!({"scheduledTime": "2026-11-24T03:00:00Z", "phases": ["copy"]}), "scheduledTime", "24 hours"),
            (json!({"phase": ["copy"]}), "phase", "phases"),
            (json!([]), "input", "an object"),
        ] {
            let failure = read(input.clone()).unwrap_err();
            assert_eq!(failure.name, ErrorName::InvalidInput, "{input}");
            assert!(failure.cause.starts_with(field) && failure.cause.contains(allowed), "{failure}");
        }
    }

    #[test]
    fn a_run_is_repeated_by_its_time_and_by_its_id_and_copies_of_any_time() {
        for given in ["2026-11-21T18:00:00Z", "20261121T180000Z", "2026-11-21T19:00:00+01:00"] {
            assert_eq!(read(json!({"scheduledTime": given})).unwrap().id, "20261121T180000Z", "{given}");
        }
        let old = json!({"scheduledTime": "2026-01-02T03:00:00Z", "phases": ["copy", "expire"]});
        assert_eq!(read(old).unwrap().id, "20260102T030000Z");
    }

    #[test]
    fn the_breaker_is_overruled_only_where_the_input_says() {
        let (here, there): (Region, Region) = ("eu-west-1".parse().unwrap(), "us-east-1".parse().unwrap());
        let allowed = read(json!({"allowMassExpire": ["eu-west-1"]})).unwrap().allow_mass_expire;
        assert!(allowed.allows(&here) && !allowed.allows(&there));
        assert!(read(json!({"allowMassExpire": true})).unwrap().allow_mass_expire.allows(&there));
        let back: AllowMassExpire = serde_json::from_value(json!(allowed)).unwrap();
        assert_eq!(back, allowed);
    }

    #[test]
    fn a_poison_message_says_what_is_wrong_with_it() {
        for (body, part) in [
            ("snap", "not JSON"),
            ("{}", "version"),
            (r#"{"version":2,"task":{},"sentAt":"2026-11-22T03:00:00Z"}"#, "allowed is 1"),
            (r#"{"version":1,"sentAt":"2026-11-22T03:00:00Z"}"#, "task"),
            (r#"{"version":1,"task":{"region":"mars"},"sentAt":"2026-11-22T03:00:00Z"}"#, "mars"),
        ] {
            let failure = Message::<ExpireTask>::read(body).unwrap_err();
            assert!(failure.name == ErrorName::BadMessage && failure.cause.contains(part), "{failure}");
        }
    }

    #[test]
    fn a_functions_error_is_shown_as_its_message() {
        let cause = r#"{"errorType":"Ec2Unavailable","errorMessage":"no answer"}"#.into();
        assert_eq!(StateError { error: "Ec2Unavailable".into(), cause }.message(), "no answer");
        assert_eq!(StateError { error: "States.Timeout".into(), cause: "x".into() }.message(), "x");
    }
}
