//! What people's tools need of AWS, beside what the workers need ([`crate::ports`]).
// The futures are awaited where they are made, in single-threaded programs: they need not be `Send`.
#![allow(async_fn_in_trait)]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::error::Failure;

/// A deployed stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackDescription {
    /// Its outputs, by name.
    pub outputs: BTreeMap<String, String>,
    /// Its parameters, by name.
    pub parameters: BTreeMap<String, String>,
}

/// An execution of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// When it was started.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// As Step Functions names it: `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED`.
    pub status: String,
    /// Its input.
    pub input: String,
    /// Its output, of one that succeeded.
    pub output: String,
    /// The name of its error, of one that failed.
    pub error: String,
    /// Its cause.
    pub cause: String,
}

/// How far a Map Run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapProgress {
    /// The Map state's label.
    pub label: String,
    /// Its ARN.
    pub arn: String,
    /// Items in all.
    pub total: u64,
    /// Items that were worked off.
    pub succeeded: u64,
    /// Items that are being worked on.
    pub running: u64,
    /// Items that failed, timed out or were aborted.
    pub failed: u64,
}

/// A message in a dead-letter queue, with all that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its id in SQS.
    pub id: String,
    /// By which it can be deleted or shown again.
    pub handle: String,
    /// The message.
    pub body: String,
    /// When it was put there; of one that SQS itself moved, when it was put into the queue before.
    pub sent: DateTime<Utc>,
    /// Its attributes, by name.
    pub attributes: BTreeMap<String, String>,
}

/// Step Functions and SQS, for people.
pub trait Operations {
    /// The newest executions of a state machine, so many at most, without inputs and causes.
    async fn executions(&self, machine: &str, most: usize) -> Result<Vec<Execution>, Failure>;

    /// An execution, whole.
    async fn execution(&self, arn: &str) -> Result<Execution, Failure>;

    /// Starts an execution; its ARN.
    async fn start(&self, machine: &str, input: &str) -> Result<String, Failure>;

    /// The state that an execution entered last; none before the first.
    async fn current_state(&self, execution: &str) -> Result<Option<String>, Failure>;

    /// How far the Map Runs of an execution are.
    async fn progress(&self, execution: &str) -> Result<Vec<MapProgress>, Failure>;

    /// How many messages a queue holds, those that are hidden among them; about.
    async fn held(&self, queue: &str) -> Result<u64, Failure>;

    /// The messages that can be received, each once, hidden from others for so many seconds at most.
    async fn letters(&self, queue: &str, hidden_seconds: u32) -> Result<Vec<Letter>, Failure>;

    /// Shows a message to others again.
    async fn show_again(&self, queue: &str, letter: &Letter) -> Result<(), Failure>;

    /// Deletes a message.
    async fn delete(&self, queue: &str, letter: &Letter) -> Result<(), Failure>;

    /// Puts a message into a queue.
    async fn send(&self, queue: &str, body: &str) -> Result<(), Failure>;
}
