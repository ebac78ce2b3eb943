//! A letter as people read it: without its token, and with what to do about it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{error::ErrorName, report::advice};
use serde::Serialize;
use serde_json::Value;

use super::held::{Held, short};
use crate::{args::Queue, commands::Commands};

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// The queue it was in before.
    pub queue: Queue,
    /// The name of its error.
    pub error: String,
    /// Its cause.
    pub cause: String,
    /// What it is about, by name.
    pub about: BTreeMap<String, String>,
    /// When it was put there.
    pub sent: DateTime<Utc>,
    /// What it asked for.
    pub task: Value,
    /// What to do about it.
    pub what_to_do: String,
}

/// The attributes in which the schedule's letters say what was wrong (EventBridge Scheduler user guide).
const SCHEDULE_ERROR: [&str; 2] = ["ERROR_CODE", "ERROR_MESSAGE"];

impl Shown {
    pub(super) fn of(Held { queue, letter }: &Held, commands: &Commands) -> Self {
        let (error, cause) = match queue {
            Queue::Schedule => (SCHEDULE_ERROR[0], SCHEDULE_ERROR[1]),
            _ => ("Error", "Cause"),
        };
        let attribute = |name: &str| letter.attributes.get(name).cloned();
        let crashed = || match queue {
            Queue::Schedule => "unknown".to_owned(),
            // What SQS itself moved has no attributes.
            _ => ErrorName::WorkerCrashed.to_string(),
        };
        let about = letter.attributes.iter().filter(|(name, _)| *name != error && *name != cause);
        let error = attribute(error).unwrap_or_else(crashed);
        let about: BTreeMap<String, String> = about.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self {
            what_to_do: what_to_do(*queue, commands, &letter.id, &error, about.get("SCHEDULED_TIME")),
            id: letter.id.clone(),
            queue: *queue,
            cause: attribute(cause).unwrap_or_else(|| "its worker crashed on every delivery: its log says why".into()),
            about,
            sent: letter.sent,
            task: task(&letter.body),
            error,
        }
    }

    /// What it is about, in one line.
    pub(super) fn about_words(&self) -> String {
        let shown = ["Instance", "Snapshot", "Destination", "Region", "SCHEDULED_TIME"];
        let words = shown.iter().filter_map(|name| self.about.get(*name));
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// What a letter asked for. Its token, which is a secret, is no part of it.
fn task(body: &str) -> Value {
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(mut message)) => {
            message.remove("taskToken");
            message.remove("task").unwrap_or(Value::Object(message))
        }
        Ok(_) | Err(_) => Value::String(domain::error::cut(body, 1_000)),
    }
}

fn what_to_do(queue: Queue, commands: &Commands, id: &str, error: &str, scheduled: Option<&String>) -> String {
    let act = |act: &str| commands.line(&format!("dlq {act} {}", short(id)));
    let (retry, drop) = (act("retry"), act("drop"));
    if error == ErrorName::BadMessage.as_str() {
        return format!("It is no task: {drop}");
    }
    match queue {
        Queue::Snapshot => advice(
            error,
            &format!("The next run snapshots the instance anew; at once, within 24 hours of its own run: {retry}"),
        ),
        Queue::Hook => advice(
            error,
            &format!(
                "The next run freezes anew. Where an instance may still be frozen, its post-script thaws it: {retry}"
            ),
        ),
        Queue::Wait => {
            "Nothing: what it waited for goes on by itself, or is owed again, and the next run clears it".into()
        }
        Queue::Copy => advice(error, &format!("The next run makes the copy; once the reason is repaired: {retry}")),
        Queue::Verify => advice(error, &format!("The next drill reads the backup again; at once: {retry}")),
        Queue::Expire => advice(error, "The next run decides anew, and clears it"),
        Queue::Schedule => {
            let time = scheduled.map_or("TIME".into(), |time| crate::show::plain(time));
            let (repeat, run) =
                (commands.line(&format!("run --scheduled-time {time} --watch")), commands.line("run --watch"));
            format!("Repair the reason; then {repeat}, within 24 hours of that time, else {run}; then {drop}")
        }
    }
}
