//! What was found, as a record in the report bucket and as tags of the snapshot.

use chrono::{DateTime, Utc};
use domain::{
    drill::{Cursor, Finding, Verified, VerifyTask},
    error::{Ec2Error, ErrorName, Failure, Reaction},
    outcome::{Outcome, after},
    ports::{Ec2, SnapshotBlocks, Storage},
    proof::{Level, Proof},
    run_files,
};
use serde_json::json;

use crate::context::Ports;

/// Notes of a record, at most: it becomes part of the state machine's state.
const MAX_NOTES: usize = 20;
/// How it is told that a snapshot did not get its tags.
const UNTAGGED: &str = "its tags could not be written";

fn record(task: &VerifyTask, cursor: Cursor, now: DateTime<Utc>) -> Verified {
    let mut notes = cursor.notes;
    notes.truncate(MAX_NOTES);
    Verified {
        region: task.region.clone(),
        snapshot: task.snapshot.clone(),
        volume: task.volume.clone(),
        taken: task.taken,
        at: now,
        asked: task.level,
        level: None,
        failure: None,
        marked: false,
        found: cursor.layout.map(|layout| layout.words()).unwrap_or_default(),
        notes,
        missing: Vec::new(),
        list_calls: cursor.list_calls,
        blocks_read: cursor.blocks_read,
        blocks_listed: cursor.listed,
    }
}

/// The record of a snapshot that is proven.
pub(crate) fn proven(task: &VerifyTask, cursor: Cursor, level: Level, now: DateTime<Utc>) -> Verified {
    Verified { level: Some(level), ..record(task, cursor, now) }
}

/// The record of one that is not. It is marked if that is for certain.
pub(crate) fn failed(
    task: &VerifyTask,
    cursor: Cursor,
    failure: &Failure,
    is_certain: bool,
    now: DateTime<Utc>,
) -> Verified {
    let failure = Some(Finding { error: failure.name, cause: failure.cause.clone() });
    Verified { failure, marked: is_certain, ..record(task, cursor, now) }
}

/// The record of an earlier delivery, if that had proven the snapshot.
pub(crate) async fn of_success(storage: &impl Storage, task: &VerifyTask) -> Result<Option<Verified>, Failure> {
    let body = storage.read(&task.record_key()).await?;
    // One that cannot be read is written anew.
    let verified: Option<Verified> = body.and_then(|body| serde_json::from_str(&body).ok());
    Ok(verified.filter(|verified| verified.level.is_some() && verified.asked == task.level))
}

pub(crate) async fn write(storage: &impl Storage, task: &VerifyTask, verified: &Verified) -> Result<(), Failure> {
    run_files::write_json(storage, &task.record_key(), verified).await
}

/// Writes down what is proven, and answers.
pub(crate) async fn finish(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    task: &VerifyTask,
    mut verified: Verified,
    now: DateTime<Utc>,
) -> Outcome {
    // Of an earlier delivery that may be over.
    verified.missing.retain(|missing| !missing.starts_with(UNTAGGED));
    if let Err(failure) = write(ports.storage, task, &verified).await {
        return Outcome::Retry(failure);
    }
    match tag(ports.ec2, task, &verified).await {
        Ok(()) => Outcome::Done(json!(verified)),
        Err(error) => match error.reaction() {
            Reaction::Never(ErrorName::SnapshotNotFound) => {
                let failure = Failure::from(error);
                verified = Verified { level: None, ..verified };
                verified.failure = Some(Finding { error: failure.name, cause: failure.cause.clone() });
                match write(ports.storage, task, &verified).await {
                    Ok(()) => Outcome::Declined(failure),
                    Err(unwritten) => Outcome::Retry(unwritten),
                }
            }
            // It is proven all the same; the record says so.
            Reaction::Never(_) => {
                verified.missing.push(format!("{UNTAGGED}: {error}"));
                match write(ports.storage, task, &verified).await {
                    Ok(()) => Outcome::Done(json!(verified)),
                    Err(unwritten) => Outcome::Retry(unwritten),
                }
            }
            _ => after(error, task.snapshot.as_str(), now),
        },
    }
}

/// Writes down what has failed; the letter has the same words.
pub(crate) async fn fail(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    task: &VerifyTask,
    verified: Verified,
    failure: Failure,
    now: DateTime<Utc>,
) -> Outcome {
    // What another delivery has proven stays proven, unless this one found it to be bad.
    if failure.name != ErrorName::SnapshotCorrupt
        && let Ok(Some(proven)) = of_success(ports.storage, task).await
    {
        return finish(ports, task, proven, now).await;
    }
    if let Err(unwritten) = write(ports.storage, task, &verified).await {
        return Outcome::Retry(unwritten);
    }
    if verified.marked
        && let Err(error) = tag(ports.ec2, task, &verified).await
    {
        match error.reaction() {
            // That it is bad is told in any case.
            Reaction::Never(_) => {
                let cause = format!("{}. Its tags could not be written: {error}", failure.cause);
                return Outcome::Fail(Failure::new(failure.name, cause));
            }
            _ => return after(error, task.snapshot.as_str(), now),
        }
    }
    match failure.name {
        // To expire is what it was made for: nobody has to put it back.
        ErrorName::SnapshotNotFound => Outcome::Declined(failure),
        _ => Outcome::Fail(failure),
    }
}

async fn tag(ec2: &impl Ec2, task: &VerifyTask, verified: &Verified) -> Result<(), Ec2Error> {
    let proof = Proof { on: verified.at.date_naive(), level: verified.level };
    ec2.set_tags(&task.region, std::slice::from_ref(&task.snapshot), &proof.tags()).await
}
