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

/// What is to become of the mark `VerifiedAs=failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is to be written: the snapshot is bad for certain.
    Write,
    /// An earlier drill has written it.
    Stands,
    /// Nothing certain is known.
    Without,
}

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
        missing: cursor.missing,
        list_calls: cursor.list_calls,
        blocks_read: cursor.blocks_read,
        blocks_listed: cursor.listed,
    }
}

/// The record of a snapshot that is proven.
pub(crate) fn proven(task: &VerifyTask, cursor: Cursor, level: Level, now: DateTime<Utc>) -> Verified {
    Verified { level: Some(level), ..record(task, cursor, now) }
}

/// The record of one that is not.
pub(crate) fn failed(task: &VerifyTask, cursor: Cursor, failure: &Failure, now: DateTime<Utc>) -> Verified {
    Verified { failure: Some(finding(failure)), ..record(task, cursor, now) }
}

fn finding(failure: &Failure) -> Finding {
    Finding { error: failure.name, cause: failure.cause.clone() }
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

/// Whether what a record says stands in the tags, too.
pub(crate) fn is_tagged(verified: &Verified) -> bool {
    !verified.missing.iter().any(|missing| missing.starts_with(UNTAGGED))
}

/// Writes down why something is tried again, for whoever looks at the drill's files meanwhile; not over what another
/// delivery has proven.
pub(crate) async fn note(storage: &impl Storage, verified: &Verified, task: &VerifyTask) {
    let written = match of_success(storage, task).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => write(storage, task, verified).await,
        Err(failure) => Err(failure),
    };
    if let Err(unwritten) = written {
        tracing::warn!(snapshot = %task.snapshot, cause = unwritten.cause, "the record could not be written");
    }
}

/// Writes down what is proven, and answers. `held` is what the snapshot's tags say.
///
/// Until the tags are written, the record says that they are not.
pub(crate) async fn finish(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    task: &VerifyTask,
    mut verified: Verified,
    held: Option<Proof>,
    now: DateTime<Utc>,
) -> Outcome {
    verified.missing.retain(|missing| !missing.starts_with(UNTAGGED));
    let proof = Proof { on: verified.at.date_naive(), level: verified.level };
    // Another drill may have read it since, and more of it.
    let is_behind = held.is_some_and(|held| (held.on, held.level) >= (proof.on, proof.level));
    if !is_behind {
        let done = verified.missing.len();
        verified.missing.push(format!("{UNTAGGED} yet"));
        if let Err(failure) = write(ports.storage, task, &verified).await {
            return Outcome::Retry(failure);
        }
        if let Err(error) = tag(ports.ec2, task, proof).await {
            let Reaction::Never(name) = error.reaction() else { return after(error, task.snapshot.as_str(), now) };
            if name == ErrorName::SnapshotNotFound || is_gone(ports.ec2, task).await {
                let failure = Failure::new(ErrorName::SnapshotNotFound, error);
                verified = Verified { level: None, failure: Some(finding(&failure)), ..verified };
                return match write(ports.storage, task, &verified).await {
                    Ok(()) => Outcome::Declined(failure),
                    Err(unwritten) => Outcome::Retry(unwritten),
                };
            }
            // It is proven all the same; the record says so.
            verified.missing[done] = format!("{UNTAGGED}: {error}");
        } else {
            verified.missing.truncate(done);
        }
    }
    match write(ports.storage, task, &verified).await {
        Ok(()) => Outcome::Done(json!(verified)),
        Err(failure) => Outcome::Retry(failure),
    }
}

/// Writes down what has failed; the letter has the same words.
pub(crate) async fn fail(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    task: &VerifyTask,
    mut verified: Verified,
    mut failure: Failure,
    mark: Mark,
    now: DateTime<Utc>,
) -> Outcome {
    verified.marked = mark == Mark::Stands;
    // What another delivery has proven stays proven, unless this one found it to be bad.
    if mark == Mark::Without
        && failure.name != ErrorName::SnapshotNotFound
        && matches!(of_success(ports.storage, task).await, Ok(Some(_)))
    {
        // The next delivery answers it.
        return Outcome::Later(1);
    }
    if let Err(unwritten) = write(ports.storage, task, &verified).await {
        return Outcome::Retry(unwritten);
    }
    if mark == Mark::Write {
        // Only what carries the mark is said to carry it: expiry goes by the tag.
        match tag(ports.ec2, task, Proof { on: verified.at.date_naive(), level: None }).await {
            Ok(()) => verified.marked = true,
            Err(error) if matches!(error.reaction(), Reaction::Never(_)) => {
                failure.cause = format!("{}. {UNTAGGED}: {error}", failure.cause);
                verified.failure = Some(finding(&failure));
            }
            Err(error) => return after(error, task.snapshot.as_str(), now),
        }
        if let Err(unwritten) = write(ports.storage, task, &verified).await {
            return Outcome::Retry(unwritten);
        }
    }
    match failure.name {
        // To expire is what it was made for: nobody has to put it back.
        ErrorName::SnapshotNotFound => Outcome::Declined(failure),
        _ => Outcome::Fail(failure),
    }
}

async fn is_gone(ec2: &impl Ec2, task: &VerifyTask) -> bool {
    matches!(crate::standing(ec2, task).await, Ok(crate::Standing::Gone(_)))
}

async fn tag(ec2: &impl Ec2, task: &VerifyTask, proof: Proof) -> Result<(), Ec2Error> {
    ec2.set_tags(&task.region, std::slice::from_ref(&task.snapshot), &proof.tags()).await
}
