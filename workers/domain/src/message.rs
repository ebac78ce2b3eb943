//! A message in a work queue: a task, its token, and the names that logs and dead letters give it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    contract::{Begun, ExpireTask, HookTask, SnapshotTask, StateError},
    copies::CopyTask,
    drill::VerifyTask,
    error::{ErrorName, Failure},
    hooks::Script,
    ids::{Region, SnapshotId},
    tags::{BACKUP_RUN, SOURCE_INSTANCE_ID, SOURCE_VOLUME_ID},
};

/// What a line of a log is about: fields that are called the same in the logs of all functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The run's id.
    pub run: Option<String>,
    pub instance: Option<String>,
    pub volume: Option<String>,
    /// Ids, separated by spaces.
    pub snapshot: Option<String>,
    /// Of a copy, its destination.
    pub region: Option<String>,
    /// Of a hook, which of its scripts.
    pub script: Option<String>,
}

impl Subject {
    /// What begins with an id or a region, as rejections and notes do: `i-1 (web)`.
    pub fn named(text: &str) -> Self {
        let mut subject = Self::default();
        let word = text.split([' ', ',', ':']).next().unwrap_or_default();
        let field = match word.split_once('-').map(|(kind, _)| kind) {
            Some("i") => &mut subject.instance,
            Some("vol") => &mut subject.volume,
            Some("snap") => &mut subject.snapshot,
            _ if word.parse::<Region>().is_ok() => &mut subject.region,
            _ => return subject,
        };
        *field = Some(word.to_owned());
        subject
    }
}

/// The things a task is about, for logs and for the attributes of its dead letter.
pub trait About {
    /// Names and values, at most seven: SQS allows ten attributes; two are the error and its cause, and one may be the run.
    fn about(&self) -> Vec<(&'static str, String)>;

    /// The same, and what else is known of it, for logs.
    fn subject(&self) -> Subject {
        let mut subject = Subject::default();
        for (name, value) in self.about() {
            let field = match name {
                RUN => &mut subject.run,
                "Instance" => &mut subject.instance,
                "Volume" => &mut subject.volume,
                "Snapshot" => &mut subject.snapshot,
                "Region" | "Destination" => &mut subject.region,
                "Script" => &mut subject.script,
                _ => continue,
            };
            *field = Some(value);
        }
        subject
    }

    /// Whether it is done although nobody waits for it any more.
    fn outlives_its_run(&self) -> bool {
        false
    }

    /// Takes note that nobody waits for it: it was put back by hand, or has outlived its run.
    fn note_by_hand(&mut self) {}
}

/// The attribute of a dead letter that names its run.
pub const RUN: &str = "Run";

impl About for SnapshotTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![(RUN, self.run_id.clone()), ("Instance", self.instance.instance.to_string())]
    }

    fn note_by_hand(&mut self) {
        // Whoever had frozen the instance then does not hold it frozen now.
        if self.frozen_by.take().is_some() || (self.instance.hook.is_some() && self.why.is_none()) {
            let cause = "the task was put back by hand, and froze nothing".into();
            self.why = Some(StateError { error: ErrorName::SnapshotNotNow.to_string(), cause });
        }
    }
}

impl About for HookTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![
            (RUN, self.run_id.clone()),
            ("Instance", self.instance.instance.to_string()),
            ("Document", self.hook.document.clone()),
            ("Script", self.script.to_string()),
            ("ExecutionId", self.execution_id.clone()),
        ]
    }

    /// What is frozen is thawed.
    fn outlives_its_run(&self) -> bool {
        self.script == Script::Post
    }

    fn note_by_hand(&mut self) {
        self.by_hand = true;
    }
}

impl About for Begun {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Region", self.region.to_string()), ("Snapshot", joined(&self.snapshots))]
    }
}

impl About for CopyTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        let (snapshot, run_id) = match self {
            Self::Copy { snapshot, tags, .. } => (snapshot, tags.get(BACKUP_RUN)),
            Self::Retag { snapshot, .. } => (snapshot, None),
        };
        let mut about = vec![("Destination", self.region().to_string()), ("Snapshot", snapshot.to_string())];
        about.extend(run_id.map(|id| (RUN, id.clone())));
        about
    }

    fn subject(&self) -> Subject {
        let mut subject = Subject { region: Some(self.region().to_string()), ..Subject::default() };
        match self {
            Self::Copy { snapshot, tags, .. } => {
                subject.snapshot = Some(snapshot.to_string());
                subject.run = tags.get(BACKUP_RUN).cloned();
                subject.instance = tags.get(SOURCE_INSTANCE_ID).cloned();
                subject.volume = tags.get(SOURCE_VOLUME_ID).cloned();
            }
            Self::Retag { snapshot, .. } => subject.snapshot = Some(snapshot.to_string()),
        }
        subject
    }
}

impl About for ExpireTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<_> = self.snapshots.iter().map(|s| s.id.clone()).collect();
        vec![("Region", self.region.to_string()), ("Planned", self.planned.to_string()), ("Snapshot", joined(&ids))]
    }
}

impl About for VerifyTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![
            (RUN, self.drill_id.clone()),
            ("Region", self.region.to_string()),
            ("Snapshot", self.snapshot.to_string()),
            ("Volume", self.volume.to_string()),
        ]
    }
}

fn joined(ids: &[SnapshotId]) -> String {
    ids.iter().map(SnapshotId::as_str).collect::<Vec<_>>().join(" ")
}

/// The version of [`Message`].
pub const MESSAGE_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<T> {
    /// [`MESSAGE_VERSION`].
    pub version: u32,
    /// The state machine waits for an answer to this token. A message that was put back by hand has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
    /// The id of the run that asks for it. A message that was put back by hand has none, or that of its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub task: T,
    /// After this time the task ends with [`ErrorName::OutOfTime`]. A message that was put back by hand has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// When it was first sent; `None`: when SQS put it into the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<DateTime<Utc>>,
}

impl<T: DeserializeOwned> Message<T> {
    /// Reads a message's body.
    ///
    /// # Errors
    ///
    /// [`ErrorName::BadMessage`] says what is wrong with it.
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

    #[test]
    fn the_subject_of_a_line_is_told_by_the_first_word() {
        let of = |text| Subject::named(text);
        assert_eq!(of("i-1 (web)").instance.as_deref(), Some("i-1"));
        assert_eq!(of("vol-1 of i-1").volume.as_deref(), Some("vol-1"));
        assert_eq!(of("snap-1, snap-2").snapshot.as_deref(), Some("snap-1"));
        assert_eq!(of("us-east-1: closed").region.as_deref(), Some("us-east-1"));
        assert_eq!(of("ExpireRegions"), Subject::default());
    }

    #[test]
    fn a_copy_is_about_its_source_and_whose_it_is() {
        let task = serde_json::json!({"action": "copy", "region": "us-east-1", "snapshot": "snap-1", "description": "",
            "tags": {"BackupRun": "r", "SourceInstanceId": "i-1", "SourceVolumeId": "vol-1"}});
        let subject = serde_json::from_value::<CopyTask>(task).unwrap().subject();
        let all = [subject.run, subject.instance, subject.volume, subject.snapshot, subject.region];
        assert_eq!(all.map(Option::unwrap), ["r", "i-1", "vol-1", "snap-1", "us-east-1"]);
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
}
