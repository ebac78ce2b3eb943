//! A message in a work queue: a task, its token, and the names that logs and dead letters give it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    contract::{Begun, ExpireTask, HookTask, SnapshotTask, StateError},
    copies::CopyTask,
    error::{ErrorName, Failure},
    hooks::Script,
    ids::SnapshotId,
    tags::BACKUP_RUN,
};

/// The things a task is about, for logs and for the attributes of its dead letter.
pub trait About {
    /// Names and values, at most eight: SQS allows ten attributes, and two are the error and its cause.
    fn about(&self) -> Vec<(&'static str, String)>;

    /// Whether it is done although nobody waits for it any more.
    fn outlives_its_run(&self) -> bool {
        false
    }

    /// Takes note that nobody waits for it: it was put back by hand, or has outlived its run.
    fn note_by_hand(&mut self) {}
}

impl About for SnapshotTask {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Run", self.run_id.clone()), ("Instance", self.instance.instance.to_string())]
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
            ("Run", self.run_id.clone()),
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
        about.extend(run_id.map(|id| ("Run", id.clone())));
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<T> {
    /// [`MESSAGE_VERSION`].
    pub version: u32,
    /// The state machine waits for an answer to this token. A message that was put back by hand has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
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
