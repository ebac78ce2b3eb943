//! What the scripts of a hook say: by the way their command ended, by their exit code, and by the last line of their
//! output.
//!
//! | exit code | of a pre-script | of a post-script |
//! |---|---|---|
//! | 0 | frozen | thawed |
//! | 201 | it failed | it failed: it may still be frozen |
//! | 202 | it failed, and may have frozen | it failed: it may still be frozen |
//! | 203 | | it had thawed by itself before |
//! | 204, 205 | another freeze is open | nothing was frozen |
//! | 206 | it cannot be frozen, the reason in words | as 202 |
//! | 128 and more | killed: it may be frozen | killed: it may still be frozen |
//! | others | it failed | as 202 |
//!
//! The codes are those of Data Lifecycle Manager's documents (EBS user guide, its sample documents).
//!
//! The last line of the output may be a report, which the documents of the stack print:
//!
//! ```
//! use domain::hooks::script::{Level, report};
//! let line = r#"{"version":1,"consistency":"crash","reason":"the server does not run"}"#;
//! let said = report(&format!("frozen\n{line}\n")).unwrap().unwrap();
//! assert_eq!((said.consistency, said.reason.as_deref()), (Level::Crash, Some("the server does not run")));
//! assert_eq!(report("done\n"), Ok(None)); // of another document: it says all by its exit code
//! assert!(report(r#"{"version":2}"#).is_err()); // understood by nobody here
//! ```

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{ErrorName, Failure, cut},
    ids::VolumeId,
    ports::{CommandEnd, Ended},
};

/// How good a set of snapshots is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As after a power failure: all volumes at one moment.
    Crash,
    /// As after an orderly stop of the application.
    Application,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::Application => "application",
        })
    }
}

/// A dump that a script has written onto a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The volume, where the script can tell it.
    #[serde(default, deserialize_with = "none_where_empty", skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The device that its file system is on, as the instance names it.
    #[serde(default)]
    pub device: String,
    /// The file, within that file system.
    pub path: String,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// Its size.
    #[serde(default)]
    pub bytes: u64,
}

fn none_where_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<VolumeId>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

/// What a script reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptReport {
    /// How good the snapshots are, as far as the script knows.
    pub consistency: Level,
    /// Why not better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The dump that it has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<Dump>,
    /// The volumes that it froze, if it can tell them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeId>,
    /// The devices that it froze and that are no EBS volumes, or cannot be told to be.
    #[serde(rename = "unknownDevices", default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_devices: Vec<String>,
}

/// SSM shows so many characters of an output (`GetCommandInvocation` documentation).
const MAX_OUTPUT: usize = 24_000;

/// The report in the last line of an output; none where there is no such line, and an error where it is not understood.
pub fn report(output: &str) -> Result<Option<ScriptReport>, String> {
    if output.chars().count() >= MAX_OUTPUT {
        return Err(format!("its output has more than {MAX_OUTPUT} characters, of which SSM shows the first"));
    }
    let last = output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    if !last.starts_with('{') {
        return Ok(None);
    }
    let refuse = |why: &dyn fmt::Display| Err(format!("its report is not understood: {why}: {}", cut(last, 300)));
    let value: Value = match serde_json::from_str(last) {
        Ok(value) => value,
        Err(error) => return refuse(&error),
    };
    match value.get("version").and_then(Value::as_u64) {
        Some(1) => {}
        _ => return refuse(&"version: allowed is 1"),
    }
    match serde_json::from_value::<ScriptReport>(value) {
        Ok(report) => match report.dump.as_ref().and_then(unusable) {
            None => Ok(Some(report)),
            Some(why) => refuse(&why),
        },
        Err(error) => refuse(&error),
    }
}

fn unusable(dump: &Dump) -> Option<&'static str> {
    let is_hash = dump.sha256.len() == 64 && dump.sha256.bytes().all(|b| b.is_ascii_hexdigit());
    match (is_hash, dump.path.starts_with('/')) {
        (false, _) => Some("dump.sha256: allowed are 64 hexadecimal digits"),
        (_, false) => Some("dump.path: allowed is what begins with /"),
        _ => None,
    }
}

/// How a pre-script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreEnd {
    /// The instance is frozen, or dumped.
    Frozen(Option<ScriptReport>),
    /// It is not, for certain.
    NotFrozen(Failure),
    /// It may be.
    Perhaps(Failure),
}

/// How a post-script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostEnd {
    /// The instance is thawed, and was frozen until then; or its report is not understood.
    Thawed(Result<Option<ScriptReport>, Failure>),
    /// It is thawed, and was so before the script came.
    ThawedBefore(Failure),
    /// It may still be frozen.
    Perhaps(Failure),
}

/// How a pre-script ended that SSM says this of.
pub fn pre_end(ended: &Ended) -> PreEnd {
    let failed = |name, what: &str| Failure::new(name, format!("the pre-script {what}{}", words(ended)));
    match (ended.end, ended.exit) {
        (CommandEnd::Success, _) => match report(&ended.output) {
            Ok(report) => PreEnd::Frozen(report),
            Err(why) => PreEnd::Perhaps(Failure::new(ErrorName::HookNotUnderstood, format!("the pre-script: {why}"))),
        },
        (CommandEnd::NotDelivered, _) => PreEnd::NotFrozen(not_delivered(ended, "pre-script")),
        (CommandEnd::TimedOut, _) => PreEnd::Perhaps(failed(ErrorName::HookTimedOut, "did not end in time")),
        (CommandEnd::Failed, Some(206)) => {
            let name = if is_on_root(ended) { ErrorName::DataOnRootVolume } else { ErrorName::HookNotReady };
            PreEnd::NotFrozen(failed(name, "cannot freeze"))
        }
        (CommandEnd::Failed, Some(204 | 205)) => {
            PreEnd::NotFrozen(failed(ErrorName::HookOutOfOrder, "finds that another freeze is open"))
        }
        // A pre-script that could not undo what it had frozen says so with the code of a post-script.
        (CommandEnd::Failed, Some(202)) => {
            PreEnd::Perhaps(failed(ErrorName::PreHookFailed, "failed with exit code 202"))
        }
        (CommandEnd::Failed, Some(code @ (1..128 | 201..=206))) => {
            PreEnd::NotFrozen(failed(ErrorName::PreHookFailed, &format!("failed with exit code {code}")))
        }
        // Killed, or cancelled: whether it had frozen by then is not known.
        _ => PreEnd::Perhaps(failed(ErrorName::PreHookFailed, &format!("was ended ({})", ended.status))),
    }
}

/// How a post-script ended that SSM says this of.
pub fn post_end(ended: &Ended) -> PostEnd {
    let failed = |name, what: &str| Failure::new(name, format!("the post-script {what}{}", words(ended)));
    match (ended.end, ended.exit) {
        (CommandEnd::Success, _) => PostEnd::Thawed(
            report(&ended.output)
                .map_err(|why| Failure::new(ErrorName::HookNotUnderstood, format!("the post-script: {why}"))),
        ),
        (CommandEnd::Failed, Some(203)) => PostEnd::ThawedBefore(failed(
            ErrorName::HookThawedEarly,
            "came too late: the instance had thawed by itself",
        )),
        (CommandEnd::Failed, Some(204 | 205)) => {
            PostEnd::ThawedBefore(failed(ErrorName::HookOutOfOrder, "finds that nothing was frozen"))
        }
        (CommandEnd::NotDelivered, _) => PostEnd::Perhaps(not_delivered(ended, "post-script")),
        (CommandEnd::TimedOut, _) => PostEnd::Perhaps(failed(ErrorName::HookTimedOut, "did not end in time")),
        (CommandEnd::Failed, Some(code)) => {
            PostEnd::Perhaps(failed(ErrorName::PostHookFailed, &format!("failed with exit code {code}")))
        }
        _ => PostEnd::Perhaps(failed(ErrorName::PostHookFailed, &format!("was ended ({})", ended.status))),
    }
}

fn not_delivered(ended: &Ended, script: &str) -> Failure {
    // Where a policy forbids the instance, SSM may take the command and say so only then (its user guide).
    let name = if ended.status == "AccessDenied" { ErrorName::AccessDenied } else { ErrorName::HookAgentGone };
    Failure::new(name, format!("the instance's SSM agent did not take the {script} ({})", ended.status))
}

/// Whether a script refuses since what it should freeze lies on the root file system.
fn is_on_root(ended: &Ended) -> bool {
    let words = words(ended).to_ascii_lowercase();
    words.contains("root file system") || words.contains("cannot be frozen safely")
}

/// What a script itself said, as the end of a sentence: the reason of its report, else its last words.
fn words(ended: &Ended) -> String {
    let reported = report(&ended.output).ok().flatten().and_then(|report| report.reason);
    let last = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
    match reported.or_else(|| last(&ended.errors)).or_else(|| last(&ended.output)) {
        Some(words) => format!(": {}", cut(&words, 300)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
