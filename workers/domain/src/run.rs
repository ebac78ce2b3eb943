//! A run: an execution's input, checked and with all defaults filled in.
//!
//! All fields of the input are optional:
//!
//! ```
//! use domain::run::Run;
//! # let start = "2026-11-22T03:00:07Z".parse().unwrap();
//! let input = serde_json::json!({"scheduledTime": "2026-11-22T03:00:00Z", "phases": ["copy"], "dryRun": false});
//! let run = Run::read(&input, "arn:aws:states:eu-west-1:1:execution:backup:a1", start, 20).unwrap();
//! assert_eq!(run.id, "20261122T030000Z");
//! assert!(run.phases.copy && !run.phases.expire);
//!
//! let refused = Run::read(&serde_json::json!({"phases": ["delete"]}), "arn", start, 20).unwrap_err();
//! assert!(refused.to_string().starts_with("InvalidInput: phases"));
//! ```
#![warn(missing_docs)]

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{ErrorName, Failure},
    ids::Region,
};

/// The phases that an execution runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Snapshot the tagged instances.
    pub snapshot: bool,
    /// Make the copies that are owed.
    pub copy: bool,
    /// Delete what has expired.
    pub expire: bool,
}

/// One run: an execution's input, checked and with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Run {
    /// The scheduled time, such as `20261122T030000Z`. Two executions of one schedule event have the same.
    pub id: String,
    /// The id as a time.
    pub scheduled: DateTime<Utc>,
    /// The execution's ARN.
    pub execution: String,
    /// When the execution was started.
    pub started: DateTime<Utc>,
    /// After this time no snapshot or copy is begun or waited for, so that the run ends with its report.
    pub deadline: DateTime<Utc>,
    /// Discover everything, change nothing.
    pub dry_run: bool,
    pub phases: Phases,
    /// The regions in which the breaker is overruled.
    pub allow_mass_expire: AllowMassExpire,
    /// Another execution that does the same run at this moment. If there is one, this execution does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
}

/// The regions in which the breaker is overruled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AllowMassExpire {
    /// In all regions, or in none.
    Everywhere(bool),
    /// In these regions only.
    Regions(BTreeSet<Region>),
}

impl AllowMassExpire {
    /// Whether the breaker is overruled in this region.
    pub fn allows(&self, region: &Region) -> bool {
        match self {
            Self::Everywhere(allowed) => *allowed,
            Self::Regions(regions) => regions.contains(region),
        }
    }
}

/// How far ahead `scheduledTime` may be with the snapshot phase: clocks differ. A run with the id of a later run would
/// have its snapshots adopted by that one, which would make none.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(15);

/// For so long after its scheduled time a run's snapshots may be made: later ones would be of another day, under its id.
const SNAPSHOTS_WITHIN: TimeDelta = TimeDelta::hours(24);

/// The form of a run's id.
pub(crate) const RUN_ID: &str = "%Y%m%dT%H%M%SZ";

/// The fields of an input, for the messages.
const FIELDS: &str = "scheduledTime, phases, dryRun, allowMassExpire";

impl Run {
    /// Reads an execution's input. `run_hours` is the parameter `RunHours`.
    ///
    /// # Errors
    ///
    /// [`ErrorName::InvalidInput`] names the field, and says what was given and what is allowed.
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
                let ahead = if phases.snapshot { CLOCKS_DIFFER } else { TimeDelta::hours(24) };
                let time = given.as_str().and_then(scheduled_time).filter(|time| *time - started <= ahead);
                let wanted = "a time such as \"2026-11-22T03:00:00Z\" or \"20261122T030000Z\", at most 15 minutes ahead, \
                    or 24 hours where the phases leave out snapshot";
                let time = time.ok_or_else(|| refuse("scheduledTime", given, wanted))?;
                if phases.snapshot && started - time > SNAPSHOTS_WITHIN {
                    // The run would adopt the snapshots of that time, and make none today.
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

    /// The key of one of this execution's files in the report bucket.
    ///
    /// It contains the execution, since two executions may share a run id.
    pub fn key(&self, name: &str) -> String {
        let execution = self.execution.rsplit(':').next().unwrap_or_default();
        format!("runs/{}/{execution}/{name}", self.id)
    }
}

/// Reads a time as people write it, or a run's id. Cut to whole seconds, as in the id.
pub(crate) fn scheduled_time(text: &str) -> Option<DateTime<Utc>> {
    text.parse::<DateTime<Utc>>().ok().or_else(|| read_run_id(text))?.with_nanosecond(0)
}

/// Reads a run's id as a time.
pub fn read_run_id(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, RUN_ID).ok().map(|time| time.and_utc())
}

/// Whether it is too late for the snapshots of a run.
pub fn is_too_late_for_snapshots(run_id: &str, now: DateTime<Utc>) -> bool {
    read_run_id(run_id).is_some_and(|scheduled| now - scheduled > SNAPSHOTS_WITHIN)
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
}
