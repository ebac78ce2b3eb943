//! Snapshot: begins the snapshots of an instance, all volumes at one moment, tagged as they are made.
//!
//! Task: [`SnapshotTask`]. Result: [`Begun`], what is to be waited for.
//!
//! - Delivered twice, or crashed after the call: the second look finds what the first call made, and adopts it.
//!   Twice in one batch: the second waits for the next look.
//! - An answer that was lost: the message comes back after a minute or more, and the look decides. So does the rest of
//!   the batch, which leaves EC2 alone.
//! - Throttled, or too soon after the volume's last snapshot: later.
//! - An instance or volume that is gone: it fails by itself, the rest of the batch goes on.
//!
//! Snapshots in `error` count as absent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::{Begun, SnapshotTask},
    error::{Ec2Error, ErrorName, Failure, Reaction},
    fleet::{Attachment, Snapshot, Tags},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    outcome::{Outcome, after, spread},
    policy::InstancePlan,
    ports::{CreateSet, Ec2, Which},
    tags::{SnapshotLabels, SnapshotTags},
};
use serde_json::json;

/// Data volumes that one `CreateSnapshots` can leave out (its documentation).
const MOST_EXCLUDED: usize = 40;

/// Answers a batch, one outcome per task.
///
/// What this batch has begun may not be described for `retry_seconds`.
pub async fn handle(
    ec2: &impl Ec2,
    home: &Region,
    retry_seconds: u32,
    tasks: Vec<SnapshotTask>,
    now: DateTime<Utc>,
) -> Vec<Outcome> {
    let mut instances_of_run: BTreeMap<&str, Vec<InstanceId>> = BTreeMap::new();
    for task in &tasks {
        instances_of_run.entry(&task.run).or_default().push(task.instance.instance.clone());
    }
    let mut made = BTreeMap::new();
    for (run, instances) in instances_of_run {
        made.insert(run, ec2.snapshots(home, &Which::OfRun(run.to_owned(), instances)).await);
    }
    let (mut outcomes, mut begun, mut silent) = (Vec::new(), BTreeSet::new(), false);
    for task in &tasks {
        let outcome = match &made[task.run.as_str()] {
            // Once more in one batch, a redelivery or another execution: what the first begins is not described yet.
            // An answer was lost: the rest of the batch need not try, and would outlast the function's time-out.
            Ok(_) if silent || !begun.insert((&task.run, &task.instance.instance)) => {
                Outcome::Later(spread(retry_seconds, task.instance.instance.as_str(), now))
            }
            Ok(made) => one(ec2, home, task, made, now).await,
            Err(error) => after(error.clone(), task.instance.instance.as_str(), now),
        };
        silent |= matches!(outcome, Outcome::Retry(_));
        outcomes.push(outcome);
    }
    outcomes
}

/// `made` is what was there before the batch.
async fn one(ec2: &impl Ec2, home: &Region, task: &SnapshotTask, made: &[Snapshot], now: DateTime<Utc>) -> Outcome {
    let plan = &task.instance;
    let earlier = earlier(plan, made);
    let covered: BTreeSet<&VolumeId> = earlier.iter().filter_map(|s| s.volume.as_ref()).collect();
    let missing: Vec<&Attachment> = plan.volumes.iter().filter(|a| !covered.contains(&a.volume)).collect();
    let mut begun = Begun::of(home, earlier.iter().copied(), now);
    if !missing.is_empty() {
        let labels = SnapshotLabels {
            name: &plan.name,
            instance: &plan.instance,
            run: &task.run,
            created_on: now.date_naive(),
            retention: plan.retention,
            retention_cross_region: plan.retention_cross_region,
            backup_cross_region: plan.backup_cross_region.as_deref(),
            keep_forever: plan.keep_forever.as_deref(),
            devices: &plan.volumes,
        };
        match create(ec2, plan, &missing, earlier.is_empty(), &labels.tags()).await {
            Ok(created) => {
                // Not since the oldest was begun: these may not be described yet, and that is no failure.
                begun.started = now;
                begun.snapshots.extend(created);
            }
            Err(Stopped::Ec2(error)) => return after(error, plan.instance.as_str(), now),
            Err(Stopped::NothingLeft(failure)) => return Outcome::Fail(failure),
        }
    }
    Outcome::Done(json!(begun))
}

/// What an earlier attempt of this run made of the instance: of several of one volume, the oldest live one counts.
fn earlier<'a>(plan: &InstancePlan, made: &'a [Snapshot]) -> Vec<&'a Snapshot> {
    let mut by_volume: BTreeMap<&VolumeId, &Snapshot> = BTreeMap::new();
    for snapshot in made.iter().filter(|s| s.is_live()) {
        let of_this = SnapshotTags::read(&snapshot.tags).source_instance.as_ref() == Some(&plan.instance);
        let Some(volume) = snapshot.volume.as_ref().filter(|_| of_this) else { continue };
        let older = |have: &&Snapshot| (have.started, &have.id) <= (snapshot.started, &snapshot.id);
        if !by_volume.get(volume).is_some_and(older) {
            by_volume.insert(volume, snapshot);
        }
    }
    by_volume.into_values().collect()
}

enum Stopped {
    Ec2(Ec2Error),
    NothingLeft(Failure),
}

impl From<Ec2Error> for Stopped {
    fn from(error: Ec2Error) -> Self {
        Self::Ec2(error)
    }
}

/// One `CreateSnapshots` where that can say what is wanted, else one `CreateSnapshot` per volume.
async fn create(
    ec2: &impl Ec2,
    plan: &InstancePlan,
    missing: &[&Attachment],
    nothing_yet: bool,
    tags: &Tags,
) -> Result<Vec<SnapshotId>, Stopped> {
    let description = format!("{} - {}", plan.name, plan.instance);
    let (root, data): (Vec<_>, Vec<_>) = plan.excluded.iter().cloned().partition(|v| Some(v) == plan.root.as_ref());
    if nothing_yet && data.len() <= MOST_EXCLUDED {
        let set = CreateSet {
            instance: &plan.instance,
            exclude_root: !root.is_empty(),
            exclude: &data,
            description: &description,
            tags,
        };
        match ec2.create_set(&set).await {
            Ok(created) => return Ok(created.into_iter().map(|c| c.id).collect()),
            // A volume to leave out was detached since it was discovered: it cannot be named any more.
            Err(error) if error.code == "InvalidParameterValue" && !data.is_empty() => {
                tracing::warn!(%error, instance = %plan.instance, "one snapshot per volume instead");
            }
            Err(error) => return Err(error.into()),
        }
    }
    one_by_one(ec2, plan, missing, nothing_yet, &description, tags).await
}

async fn one_by_one(
    ec2: &impl Ec2,
    plan: &InstancePlan,
    missing: &[&Attachment],
    nothing_yet: bool,
    description: &str,
    tags: &Tags,
) -> Result<Vec<SnapshotId>, Stopped> {
    let (mut created, mut gone) = (Vec::new(), Vec::new());
    for attachment in missing {
        match ec2.create_one(attachment, description, tags).await {
            Ok(id) => created.push(id),
            Err(error) if error.reaction() == Reaction::Never(ErrorName::VolumeNotFound) => {
                tracing::warn!(instance = %plan.instance, volume = %attachment.volume, %error, "rejected");
                gone.push(attachment.volume.as_str());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if created.is_empty() && nothing_yet {
        let cause = format!("{}: {} do not exist any more", plan.instance, gone.join(", "));
        return Err(Stopped::NothingLeft(Failure::new(ErrorName::VolumeNotFound, cause)));
    }
    Ok(created)
}

#[cfg(test)]
mod tests;
