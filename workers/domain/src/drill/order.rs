//! A drill: an execution's input, checked and with all defaults filled in.
//!
//! All fields of the input are optional:
//!
//! ```
//! use domain::{drill::{order::Drill, parameters::{Parameters, Sample}}, proof::Level};
//! # let start = "2026-11-22T05:00:07Z".parse().unwrap();
//! # let deadline = "2026-11-23T01:00:07Z".parse().unwrap();
//! let defaults = Parameters { level: Level::Probe, sample: Sample::Newest, max_blocks: 1_000_000, max_dump_gib: 10 };
//! let input = serde_json::json!({"scheduledTime": "2026-11-22T05:00:00Z", "level": "copy", "regions": ["us-east-1"]});
//! let drill = Drill::read(&input, "arn:aws:states:eu-west-1:1:execution:drill:e1", start, deadline, &defaults).unwrap();
//! assert_eq!((drill.level, drill.sample, drill.id.as_str()), (Level::Copy, Sample::Newest, "20261122T050000Z"));
//! assert_eq!(drill.folder(), "drills/20261122T050000Z/e1");
//!
//! let bad = serde_json::json!({"level": "all of it"});
//! let refused = Drill::read(&bad, "arn", start, deadline, &defaults).unwrap_err();
//! assert_eq!(refused.to_string(), "InvalidInput: level: \"all of it\" was given: allowed is list, probe, copy or dump");
//! ```
#![warn(missing_docs)]

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parameters::{Parameters, Sample};
use crate::{
    error::{ErrorName, Failure, cut},
    ids::Region,
    proof::Level,
    run::{RUN_ID, scheduled_time},
};

/// One drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// The scheduled time, such as `20261122T050000Z`.
    pub id: String,
    /// The execution's ARN.
    pub execution: String,
    /// When the execution was started.
    pub started: DateTime<Utc>,
    /// After this time nothing more is read, so that the drill ends with its report.
    pub deadline: DateTime<Utc>,
    /// How much of each backup is read.
    pub level: Level,
    /// Which backups are read.
    pub sample: Sample,
    /// The regions to look at; where the input names none, all that hold backups.
    pub regions: Option<BTreeSet<Region>>,
    /// The blocks that may be read in all.
    pub max_blocks: u64,
    /// A larger dump is not read, in GiB.
    pub max_dump_gib: u32,
}

/// The fields of an input, for the messages.
const FIELDS: &str = "scheduledTime, level, sample, regions";

/// How far ahead `scheduledTime` may be: it names the drill, and nothing else.
const MAX_AHEAD: TimeDelta = TimeDelta::hours(24);

/// What a message says of a field of the input.
pub fn refuse(field: &str, given: &Value, allowed: &str) -> Failure {
    let (field, given) = (cut(field, 100), cut(&given.to_string(), 200));
    Failure::new(ErrorName::InvalidInput, format!("{field}: {given} was given: allowed is {allowed}"))
}

impl Drill {
    /// Reads an execution's input.
    ///
    /// # Errors
    ///
    /// [`ErrorName::InvalidInput`] names the field, and says what was given and what is allowed.
    pub fn read(
        input: &Value,
        execution: &str,
        started: DateTime<Utc>,
        deadline: DateTime<Utc>,
        defaults: &Parameters,
    ) -> Result<Self, Failure> {
        let Value::Object(fields) = input else {
            return Err(refuse("input", input, &format!("an object with {FIELDS}, all optional")));
        };
        if let Some((name, value)) = fields.iter().find(|(name, _)| !FIELDS.split(", ").any(|f| f == *name)) {
            return Err(refuse(name, value, FIELDS));
        }
        let scheduled = match fields.get("scheduledTime") {
            None => started,
            Some(given) => {
                given.as_str().and_then(scheduled_time).filter(|time| *time - started <= MAX_AHEAD).ok_or_else(
                    || {
                        refuse(
                            "scheduledTime",
                            given,
                            "a time such as \"2026-11-22T05:00:00Z\" or \"20261122T050000Z\", at most 24 hours ahead",
                        )
                    },
                )?
            }
        };
        let level = match fields.get("level") {
            None => defaults.level,
            Some(given) => word(given).ok_or_else(|| refuse("level", given, Level::ALLOWED))?,
        };
        let sample = match fields.get("sample") {
            None => defaults.sample,
            Some(given) => word(given).ok_or_else(|| refuse("sample", given, Sample::ALLOWED))?,
        };
        let regions = match fields.get("regions") {
            None => None,
            Some(given) => Some(
                serde_json::from_value::<BTreeSet<Region>>(given.clone())
                    .ok()
                    .filter(|regions| !regions.is_empty())
                    .ok_or_else(|| refuse("regions", given, "a list of one or more regions such as [\"eu-west-1\"]"))?,
            ),
        };
        Ok(Self {
            id: scheduled.format(RUN_ID).to_string(),
            execution: execution.to_owned(),
            started,
            deadline,
            level,
            sample,
            regions,
            max_blocks: defaults.max_blocks,
            max_dump_gib: defaults.max_dump_gib,
        })
    }

    /// Where this execution's files are, in the report bucket. Two executions may share a drill's id.
    pub fn folder(&self) -> String {
        format!("drills/{}/{}", self.id, self.execution.rsplit(':').next().unwrap_or_default())
    }

    /// The key of one of its files.
    pub fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }
}

fn word<T: std::str::FromStr>(given: &Value) -> Option<T> {
    given.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(input: Value) -> Result<Drill, Failure> {
        let defaults = Parameters { level: Level::Probe, sample: Sample::Random, max_blocks: 5_000, max_dump_gib: 3 };
        let (started, deadline) =
            ("2026-11-22T05:00:07.123Z".parse().unwrap(), "2026-11-23T01:00:07Z".parse().unwrap());
        Drill::read(&input, "arn:aws:states:eu-west-1:1:execution:drill:e1", started, deadline, &defaults)
    }

    #[test]
    fn an_empty_input_is_a_drill_of_the_parameters_now() {
        let drill = read(json!({})).unwrap();
        assert_eq!((drill.id.as_str(), drill.level, drill.sample), ("20261122T050007Z", Level::Probe, Sample::Random));
        assert_eq!((drill.regions.clone(), drill.max_blocks, drill.max_dump_gib), (None, 5_000, 3));
        assert_eq!(drill.key("report.json"), "drills/20261122T050007Z/e1/report.json");
        assert_eq!(serde_json::from_value::<Drill>(json!(drill)).unwrap(), drill);
    }

    #[test]
    fn a_bad_input_is_refused_with_the_field_and_what_is_allowed() {
        for (input, field, allowed) in [
            (json!({"level": "Probe"}), "level", "list, probe, copy or dump"),
            (json!({"level": 3}), "level", "list, probe, copy or dump"),
            (json!({"sample": "one"}), "sample", "newest, random or all"),
            (json!({"regions": "eu-west-1"}), "regions", "a list"),
            (json!({"regions": []}), "regions", "one or more"),
            (json!({"regions": ["mars"]}), "regions", "such as"),
            (json!({"scheduledTime": "soon"}), "scheduledTime", "a time such as"),
            (json!({"scheduledTime": "2026-11-24T05:00:00Z"}), "scheduledTime", "24 hours ahead"),
            (json!({"dryRun": true}), "dryRun", "level, sample, regions"),
            (json!("probe"), "input", "an object"),
        ] {
            let failure = read(input.clone()).unwrap_err();
            assert_eq!(failure.name, ErrorName::InvalidInput, "{input}");
            assert!(failure.cause.starts_with(field) && failure.cause.contains(allowed), "{failure}");
        }
    }
}
