//! The outcome of each message of a batch. Every message has exactly one, and one bad message never fails its batch.
//!
//! | outcome | the message | the state machine gets |
//! |---|---|---|
//! | Done | is deleted | success |
//! | Later | is sent again with a delay, then deleted, so that waiting does not count as a delivery | heartbeat |
//! | Onward | the same, with a task that says how far it has come | heartbeat |
//! | Retry | comes back after a growing visibility time-out; at the last delivery, Retry becomes Fail | heartbeat |
//! | Fail | goes to the dead-letter queue with the reason and without its token, then is deleted | failure |
//! | Declined | is deleted: the state machine decides what follows | failure |
//!
//! If a token is dead, the state machine does not wait any more: the message is dropped, and the next discover decides.
//! After the run's deadline a task ends with `OutOfTime`, without a dead letter: the next run makes what is owed.
// The workers have one thread: the futures need not be `Send`.
#![allow(async_fn_in_trait)]

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    error::{ErrorName, Failure},
    message::{About, MESSAGE_VERSION, Message, RUN, Subject},
    outcome::{Outcome, retry_delay},
};
use futures::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// One delivery of a message by SQS.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// SQS's id of the message; with it, Lambda learns which messages come back.
    pub id: String,
    /// The receipt handle.
    pub receipt: String,
    pub body: String,
    /// How often it was delivered, this time included.
    pub receive_count: u32,
    /// When it was put into this queue.
    pub sent: DateTime<Utc>,
}

/// Whether the state machine still waits for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Alive,
    /// The task timed out, or its execution was stopped.
    Dead,
}

/// A call of SQS or Step Functions that failed, with the reason.
#[derive(Debug)]
pub struct CallFailed(pub String);

/// The answers to the state machine.
pub trait Callbacks {
    async fn heartbeat(&self, token: &str) -> Result<Token, CallFailed>;
    async fn succeed(&self, token: &str, result: &Value) -> Result<Token, CallFailed>;
    async fn fail(&self, token: &str, failure: &Failure) -> Result<Token, CallFailed>;
}

/// The worker's queue and its dead-letter queue.
pub trait Queue {
    /// Puts a message into the queue; it is delivered after `seconds`.
    async fn send_later(&self, body: &str, seconds: u32) -> Result<(), CallFailed>;
    /// Puts a message into the dead-letter queue, with attributes.
    async fn send_dead(&self, body: &str, attributes: &[(&str, String)]) -> Result<(), CallFailed>;
    /// Keeps a delivered message hidden for `seconds`.
    async fn hide(&self, receipt: &str, seconds: u32) -> Result<(), CallFailed>;
}

/// The settings of a worker's deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether the worker changes anything. If it does, it first asks whether the token is alive.
    pub acts: bool,
    /// `maxReceiveCount` of the queue.
    pub max_receives: u32,
    /// `RetrySeconds`.
    pub retry_seconds: u32,
}

/// Logs what becomes of a message: a line of the same fields in all functions.
macro_rules! decide {
    ($level:ident, $work:expr, $outcome:literal, $($field:tt)+) => {{
        let Subject { run, instance, volume, snapshot, region, script } = $work.subject();
        let delivery = $work.delivery.id.as_str();
        tracing::$level!(run, instance, volume, snapshot, region, script, outcome = $outcome, delivery, $($field)+)
    }};
}

/// A message that was put back by hand expires after this time.
const HANDMADE_FOR: TimeDelta = TimeDelta::hours(24);

/// A delivery whose message could be read.
struct Work<T> {
    delivery: Delivery,
    message: Message<T>,
}

impl<T: About> Work<T> {
    fn subject(&self) -> Subject {
        let subject = self.message.task.subject();
        Subject { run: subject.run.or_else(|| self.message.run.clone()), ..subject }
    }

    /// The attributes of its dead letter that say what it is about.
    fn about(&self) -> Vec<(&'static str, String)> {
        let mut about = self.message.task.about();
        if !about.iter().any(|(name, _)| *name == RUN) {
            about.extend(self.message.run.clone().map(|run| (RUN, run)));
        }
        about
    }
}

/// Handles a batch. Returns the ids of the messages that SQS is to deliver again.
pub async fn deliver<T, H>(
    batch: Vec<Delivery>,
    ports: &(impl Callbacks + Queue),
    rules: Rules,
    now: DateTime<Utc>,
    handle: H,
) -> Vec<String>
where
    T: DeserializeOwned + Serialize + Clone + About,
    H: AsyncFnOnce(Vec<T>) -> Vec<Outcome>,
{
    let opened: Vec<Opened<T>> = join_all(batch.into_iter().map(|delivery| open(delivery, ports, rules, now))).await;
    let (mut again, mut work) = (Vec::new(), Vec::new());
    for opened in opened {
        match opened {
            Opened::Work(ready) => work.push(ready),
            Opened::Again(id) => again.push(id),
            Opened::Finished => {}
        }
    }
    if work.is_empty() {
        return again;
    }
    let outcomes = handle(work.iter().map(|w| w.message.task.clone()).collect()).await;
    // Without this, a task without an outcome would be deleted.
    again.extend(work.iter().skip(outcomes.len()).map(|work| work.delivery.id.clone()));
    let finished = work.iter().zip(outcomes).map(|(work, outcome)| finish(work, outcome, ports, rules));
    again.extend(join_all(finished).await.into_iter().flatten());
    again
}

enum Opened<T> {
    Work(Work<T>),
    /// To be delivered again.
    Again(String),
    /// Nothing more to do.
    Finished,
}

async fn open<T: DeserializeOwned + Serialize + About>(
    delivery: Delivery,
    ports: &(impl Callbacks + Queue),
    rules: Rules,
    now: DateTime<Utc>,
) -> Opened<T> {
    let mut message = match Message::<T>::read(&delivery.body) {
        Ok(message) => message,
        Err(failure) => return bury_poison(&delivery, &failure, ports).await,
    };
    let outlives = message.task.outlives_its_run();
    if outlives {
        message.deadline = None;
    }
    if message.task_token.is_none() {
        message.task.note_by_hand();
    }
    let mut work = Work { delivery, message };
    match &work.message.task_token {
        Some(token) if work.message.deadline.is_some_and(|deadline| now > deadline) => {
            let failure = Failure::new(ErrorName::OutOfTime, "the run's deadline is over: the next run makes it");
            decide!(warn, work, "dropped", error = %failure.name, cause = failure.cause, "out of time");
            // If the answer was lost, the message comes back, and the answer is sent again.
            match log_lost(&work.delivery.id, ports.fail(token, &failure).await) {
                true => Opened::Finished,
                false => Opened::Again(work.delivery.id),
            }
        }
        None if now - work.message.sent_at.unwrap_or(work.delivery.sent) > HANDMADE_FOR => {
            let failure = Failure::new(ErrorName::MessageExpired, "it was put back by hand more than 24 hours ago");
            match finish(&work, Outcome::Fail(failure), ports, rules).await {
                Some(id) => Opened::Again(id),
                None => Opened::Finished,
            }
        }
        Some(token) if rules.acts => match ports.heartbeat(token).await {
            Ok(Token::Alive) => Opened::Work(work),
            Ok(Token::Dead) if outlives => {
                decide!(warn, work, "orphaned", "the token is dead: it is done for nobody");
                work.message.task_token = None;
                work.message.task.note_by_hand();
                Opened::Work(work)
            }
            Err(_) if outlives => Opened::Work(work),
            Ok(Token::Dead) => {
                decide!(warn, work, "dropped", "the token is dead: nobody waits for it");
                Opened::Finished
            }
            Err(CallFailed(why)) => {
                decide!(warn, work, "retried", cause = why, "no answer to the heartbeat: not begun");
                Opened::Again(work.delivery.id)
            }
        },
        _ => Opened::Work(work),
    }
}

/// A message that is not a task goes to the dead-letter queue at its first delivery, unchanged except for its token.
async fn bury_poison<T>(delivery: &Delivery, failure: &Failure, ports: &(impl Callbacks + Queue)) -> Opened<T> {
    let (mut body, mut token) = (delivery.body.clone(), None);
    if let Ok(Value::Object(mut fields)) = serde_json::from_str(&delivery.body) {
        token = fields.remove("taskToken").and_then(|token| token.as_str().map(str::to_owned));
        body = Value::Object(fields).to_string();
    }
    let id = delivery.id.as_str();
    tracing::error!(
        outcome = "failed", delivery = id, error = %failure.name, cause = failure.cause, "to the dead-letter queue"
    );
    if let Err(CallFailed(why)) = ports.send_dead(&body, &reason(failure)).await {
        tracing::error!(delivery = id, cause = why, "the dead-letter queue could not be reached");
        return Opened::Again(delivery.id.clone());
    }
    if let Some(token) = token {
        log_lost(&delivery.id, ports.fail(&token, failure).await);
    }
    Opened::Finished
}

/// Carries out an outcome. `Some` is the id of a message that SQS is to deliver again.
async fn finish<T: Serialize + About>(
    work: &Work<T>,
    outcome: Outcome,
    ports: &(impl Callbacks + Queue),
    rules: Rules,
) -> Option<String> {
    let Work { delivery, message } = work;
    let token = message.task_token.as_deref();
    let again = Some(delivery.id.clone());
    if let (Outcome::Declined(failure), Some(token)) = (&outcome, token) {
        decide!(warn, work, "declined", error = %failure.name, cause = failure.cause, "declined");
        // Not told: the message comes back, and is told again.
        return if log_lost(&delivery.id, ports.fail(token, failure).await) { None } else { again };
    }
    // What is sent again is the task as far as it has come, or as it came.
    let onward = if let Outcome::Onward(task, _) = &outcome { Some(task.clone()) } else { None };
    match outcome {
        Outcome::Done(result) => {
            note_done(work, &result);
            let told = match token {
                Some(token) => ports.succeed(token, &result).await,
                None => Ok(Token::Alive),
            };
            // If the answer was lost, the message comes back, the worker finds the task done, and answers again.
            log_lost(&delivery.id, told).then_some(()).map_or(again, |()| None)
        }
        Outcome::Later(seconds) | Outcome::Onward(_, seconds) => {
            let mut token = token;
            if let Some(asked) = token
                && let Ok(Token::Dead) = ports.heartbeat(asked).await
            {
                if !message.task.outlives_its_run() {
                    decide!(warn, work, "dropped", "the token is dead: nobody waits for it");
                    return None;
                }
                token = None;
            }
            match onward {
                Some(_) => decide!(info, work, "onward", seconds, "a part is done"),
                None => decide!(info, work, "later", seconds, "later"),
            }
            let task = onward.unwrap_or_else(|| json!(message.task));
            let next = json!({
                "version": MESSAGE_VERSION,
                "taskToken": token,
                "run": message.run,
                "task": task,
                "deadline": message.deadline,
                "sentAt": message.sent_at.unwrap_or(delivery.sent),
            });
            match ports.send_later(&next.to_string(), seconds).await {
                Ok(()) => None,
                Err(CallFailed(why)) => {
                    let delivery = delivery.id.as_str();
                    tracing::warn!(delivery, cause = why, "could not be sent again: SQS redelivers it instead");
                    again
                }
            }
        }
        Outcome::Retry(failure) if delivery.receive_count < rules.max_receives => {
            let seconds = retry_delay(delivery.receive_count, rules.retry_seconds);
            decide!(warn, work, "retried", error = %failure.name, cause = failure.cause, seconds, "retried");
            if let Some(token) = token {
                log_lost(&delivery.id, ports.heartbeat(token).await);
            }
            if let Err(CallFailed(why)) = ports.hide(&delivery.receipt, seconds).await {
                let delivery = delivery.id.as_str();
                tracing::warn!(delivery, cause = why, "could not be hidden: comes back after the queue's time-out");
            }
            again
        }
        Outcome::Retry(failure) | Outcome::Fail(failure) | Outcome::Declined(failure) => {
            decide!(error, work, "failed", error = %failure.name, cause = failure.cause, "to the dead-letter queue");
            let mut attributes = reason(&failure);
            attributes.extend(work.about());
            let body = json!({"version": MESSAGE_VERSION, "task": message.task});
            if let Err(CallFailed(why)) = ports.send_dead(&body.to_string(), &attributes).await {
                tracing::error!(delivery = delivery.id, cause = why, "the dead-letter queue could not be reached");
                return again;
            }
            if let Some(token) = token {
                log_lost(&delivery.id, ports.fail(token, &failure).await);
            }
            None
        }
    }
}

/// Logs a task that is done, with the snapshots of its result where it has some.
fn note_done<T: About>(work: &Work<T>, result: &Value) {
    let ids = result["snapshots"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let made = Some(ids.collect::<Vec<_>>().join(" ")).filter(|made| !made.is_empty());
    let (subject, delivery) = (work.subject(), work.delivery.id.as_str());
    let Subject { run, instance, volume, script, .. } = subject;
    let region = subject.region.as_deref().or_else(|| result["region"].as_str());
    // Of a copy, the snapshot is its source, and what was made is the copy.
    let (snapshot, copy) = if subject.snapshot.is_some() { (subject.snapshot, made) } else { (made, None) };
    tracing::info!(run, instance, volume, snapshot, copy, region, script, outcome = "done", delivery, "done");
}

fn reason(failure: &Failure) -> Vec<(&'static str, String)> {
    vec![("Error", failure.name.to_string()), ("Cause", failure.cause.clone())]
}

/// Whether the state machine got the answer, or does not wait any more. A lost answer is logged.
fn log_lost(delivery: &str, told: Result<Token, CallFailed>) -> bool {
    match told {
        Ok(_) => true,
        Err(CallFailed(why)) => {
            tracing::warn!(delivery, cause = why, "the state machine did not get the answer");
            false
        }
    }
}

#[cfg(test)]
mod tests;
