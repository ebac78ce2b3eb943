//! WaitComplete: answers the task when its snapshots or copies are complete, with few calls of EC2.
//!
//! Task: [`WaitTask`]. Result: `{}`.
//!
//! One `DescribeSnapshots` serves all tasks of a batch that are about the same region.
//! The pause between two looks is a tenth of the wait so far.
//!
//! - Delivered twice, or crashed: a look changes nothing.
//! - Throttled: later.
//! - A region that does not answer: only its tasks are retried.
//! - An id that is not described: later for ten minutes (EC2 is eventually consistent), then the task fails.
//! - A snapshot that turned to `error`: the task fails with EC2's message.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    contract::WaitTask,
    error::{ErrorName, Failure, name_of_broken_copy},
    fleet::{Snapshot, SnapshotState},
    ids::{Region, SnapshotId},
    outcome::{Outcome, after, poll_delay},
    ports::{Ec2, SnapshotFilter},
    tags::SnapshotTags,
};
use futures::future::join_all;
use serde_json::json;

/// An id that EC2 does not describe for this long does not exist; before, it may only be late.
const MAX_DESCRIBE_LAG: TimeDelta = TimeDelta::minutes(10);

/// Answers a batch, one outcome per task.
pub async fn handle(ec2: &impl Ec2, poll_seconds: u32, tasks: Vec<WaitTask>, now: DateTime<Utc>) -> Vec<Outcome> {
    let mut asked: BTreeMap<&Region, Vec<SnapshotId>> = BTreeMap::new();
    for task in &tasks {
        asked.entry(&task.region).or_default().extend(task.snapshots.iter().cloned());
    }
    // All regions at once: one that does not answer must not use up the function's time for the others.
    let looks = asked.into_iter().map(async |(region, mut ids)| {
        ids.sort_unstable();
        ids.dedup();
        let answer =
            if ids.is_empty() { Ok(Vec::new()) } else { ec2.snapshots(region, &SnapshotFilter::Ids(ids)).await };
        let by_id = |all: Vec<Snapshot>| all.into_iter().map(|s| (s.id.clone(), s)).collect::<BTreeMap<_, _>>();
        (region, answer.map(by_id))
    });
    let found: BTreeMap<_, _> = join_all(looks).await.into_iter().collect();
    tasks
        .iter()
        .map(|task| match &found[&task.region] {
            Ok(described) => look_at(task, described, poll_seconds, now),
            Err(error) => after(error.clone(), task.region.as_str(), now),
        })
        .collect()
}

fn look_at(
    task: &WaitTask,
    described: &BTreeMap<SnapshotId, Snapshot>,
    poll_seconds: u32,
    now: DateTime<Utc>,
) -> Outcome {
    let mut waiting = false;
    for id in &task.snapshots {
        match described.get(id) {
            Some(snapshot) if snapshot.state == SnapshotState::Completed => {}
            Some(snapshot) if snapshot.state == SnapshotState::Pending => waiting = true,
            Some(snapshot) => return Outcome::Fail(broken(snapshot, &task.region)),
            None if now - task.started < MAX_DESCRIBE_LAG => waiting = true,
            None => {
                let cause = format!("{id} does not exist in {}, ten minutes after it was begun", task.region);
                return Outcome::Fail(Failure::new(ErrorName::SnapshotNotFound, cause));
            }
        }
    }
    match waiting {
        true => Outcome::Later(poll_delay(task.started, now, poll_seconds)),
        false => Outcome::Done(json!({})),
    }
}

fn broken(snapshot: &Snapshot, region: &Region) -> Failure {
    if snapshot.state == SnapshotState::Other {
        let cause = format!("{} in {region} is in the Recycle Bin", snapshot.id);
        return Failure::new(ErrorName::SnapshotNotFound, cause);
    }
    let message = snapshot.state_message.as_deref().unwrap_or("EC2 gives no reason");
    let name = match SnapshotTags::read(&snapshot.tags).from_region {
        Some(_) => name_of_broken_copy(message),
        None => ErrorName::SnapshotFailed,
    };
    Failure::new(name, format!("{} in {region} is in error: {message}", snapshot.id))
}

#[cfg(test)]
mod tests;
