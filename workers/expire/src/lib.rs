//! Expire: deletes the snapshots of a batch, each looked at once more before.
//!
//! Task: [`ExpireTask`]. Result: [`Expired`], what was deleted, and what was kept and why.
//!
//! The look is the worker's own: the snapshots, the volumes that they are backups of, the instances that have these,
//! and all other backups of these volumes in the region. What was read when the batch was planned is not trusted.
//!
//! - Delivered twice, or crashed: what is gone is done.
//! - Throttled, or out of the function's time: later, with what is left.
//! - A snapshot, or the source of a copy, that got `KeepForever`, or a new `DeleteOn`, since it was planned, or that is
//!   the last backup of a volume by now: kept.
//! - One that EC2 refuses to delete (in use by an image, locked, owned by AWS Backup, forbidden): the others are deleted
//!   all the same, and then the task fails with EC2's words.
//! - A batch that was planned on another day is dropped: today's discover decides anew.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::{ExpireTask, Expiring},
    error::{Ec2Error, ErrorName, Failure, LOST_ANSWER, NOT_SENT, Reaction},
    expiry::{Candidate, KeptSources, Scope, Verdict, verdicts},
    fleet::{Fleet, Regions},
    ids::{Region, SnapshotId, VolumeId},
    outcome::{Outcome, after, spread},
    ports::{Ec2, SnapshotFilter},
    protection::floor_volumes,
    settings::Settings,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Gone now.
    pub deleted: Vec<SnapshotId>,
    /// Kept, and why.
    pub kept: BTreeMap<SnapshotId, String>,
}

/// Answers a batch of batches, one outcome per task.
///
/// `has_time` says whether something more may be begun before the function is ended.
pub async fn handle(
    ec2: &impl Ec2,
    home: &Region,
    settings: &Settings,
    tasks: Vec<ExpireTask>,
    now: DateTime<Utc>,
    has_time: impl Fn() -> bool,
) -> Vec<Outcome> {
    let (mut outcomes, mut unanswering) = (Vec::new(), BTreeSet::new());
    for task in &tasks {
        let later = || Outcome::Later(spread(settings.poll_seconds, task.region.as_str(), now));
        // A region that does not answer would outlast the function.
        if unanswering.contains(&task.region) || !has_time() {
            outcomes.push(later());
            continue;
        }
        outcomes.push(match expire_batch(ec2, home, settings, task, now, &has_time).await {
            Ok(expired) => Outcome::Done(json!(expired)),
            Err(Stopped::OutOfTime) => later(),
            Err(Stopped::Refused(failure)) => Outcome::Fail(failure),
            Err(Stopped::Passing(failure)) => Outcome::Retry(failure),
            Err(Stopped::Ec2(error)) => {
                if error.reaction() == Reaction::MayHaveHappened {
                    unanswering.insert(&task.region);
                }
                after(error, task.region.as_str(), now)
            }
        });
    }
    outcomes
}

enum Stopped {
    /// An error that passes, or one that concerns more than a snapshot.
    Ec2(Ec2Error),
    /// EC2 refused to delete some; the others are deleted.
    Refused(Failure),
    /// EC2 did not delete some for a reason that may pass; the others are deleted.
    Passing(Failure),
    /// What is left needs another invocation.
    OutOfTime,
}

impl From<Ec2Error> for Stopped {
    fn from(error: Ec2Error) -> Self {
        Self::Ec2(error)
    }
}

async fn expire_batch(
    ec2: &impl Ec2,
    home: &Region,
    settings: &Settings,
    task: &ExpireTask,
    now: DateTime<Utc>,
    has_time: impl Fn() -> bool,
) -> Result<Expired, Stopped> {
    let mut expired = Expired::default();
    if task.planned != now.date_naive() {
        let why = format!("planned on {}: only today's plan is carried out", task.planned);
        expired.kept = task.snapshots.iter().map(|s| (s.id.clone(), why.clone())).collect();
        return Ok(expired);
    }
    let judged = judge_again(ec2, home, settings, task, now).await?;
    let (mut tried, mut deleted_now, mut refused, mut passing) = (0, 0, Vec::new(), None);
    for Expiring { id, why, .. } in &task.snapshots {
        match judged.get(id) {
            Some(verdict) if !verdict.expires() => {
                tracing::warn!(snapshot = %id, %verdict, "kept at the moment of deletion");
                expired.kept.insert(id.clone(), verdict.to_string());
            }
            None => expired.deleted.push(id.clone()),
            // One at least, so that a region whose look takes long is swept all the same.
            Some(_) if tried > 0 && !has_time() => {
                if deleted_now > 0 {
                    return Err(Stopped::OutOfTime);
                }
                break;
            }
            Some(_) => {
                tried += 1;
                match ec2.delete(&task.region, id).await {
                    Ok(()) => {
                        tracing::info!(snapshot = %id, region = %task.region, ?why, "deleted");
                        deleted_now += 1;
                        expired.deleted.push(id.clone());
                    }
                    Err(error) => match error.reaction() {
                        Reaction::Never(ErrorName::SnapshotNotFound) => expired.deleted.push(id.clone()),
                        Reaction::Never(_) => refused.push((id, error)),
                        // About more than this one: the others would meet it, too.
                        _ if error.is_throttle() || error.code == LOST_ANSWER || error.code == NOT_SENT => {
                            return Err(error.into());
                        }
                        // The next look tells what is left.
                        _ => passing = Some((id, error)),
                    },
                }
            }
        }
    }
    match passing {
        // Not for ever, though EC2 says that it passes: the sweep would wait for it for hours.
        Some((id, error)) => {
            refused.push((id, error));
            Err(Stopped::Passing(Failure::new(ErrorName::Ec2Unavailable, words(&refused))))
        }
        None if refused.is_empty() => Ok(expired),
        None => Err(Stopped::Refused(failure_of(&refused))),
    }
}

/// The verdicts on those of the batch that exist, from what exists now.
async fn judge_again(
    ec2: &impl Ec2,
    home: &Region,
    settings: &Settings,
    task: &ExpireTask,
    now: DateTime<Utc>,
) -> Result<BTreeMap<SnapshotId, Verdict>, Ec2Error> {
    let mut kept_sources = KeptSources::default();
    ec2.each_snapshot(home, &SnapshotFilter::KeptForever, &mut |source| kept_sources.note(&source)).await?;
    let ids = task.snapshots.iter().map(|s| s.id.clone()).collect();
    let mut candidates: BTreeMap<SnapshotId, Candidate> = BTreeMap::new();
    ec2.each_snapshot(&task.region, &SnapshotFilter::Ids(ids), &mut |snapshot| {
        candidates.insert(snapshot.id.clone(), Candidate::from(&snapshot));
    })
    .await?;
    let volumes: BTreeSet<VolumeId> = candidates.values().filter_map(|c| c.volume.clone()).collect();
    let floor = floor_of(ec2, home, volumes.into_iter().collect()).await?;
    if !floor.is_empty() {
        ec2.each_snapshot(&task.region, &SnapshotFilter::BackupsOf(floor.iter().cloned().collect()), &mut |snapshot| {
            candidates.entry(snapshot.id.clone()).or_insert_with(|| Candidate::from(&snapshot));
        })
        .await?;
    }
    let scope = Scope {
        home,
        region: &task.region,
        today: now.date_naive(),
        run_id: None,
        floor: &floor,
        minimum_kept: settings.minimum_kept,
        kept_sources: Some(&kept_sources),
    };
    let all: Vec<Candidate> = candidates.into_values().collect();
    let verdicts = verdicts(&all, &scope);
    Ok(all.into_iter().map(|candidate| candidate.id).zip(verdicts).collect())
}

/// Those of the volumes that exist and whose last backups stay.
async fn floor_of(ec2: &impl Ec2, home: &Region, ids: Vec<VolumeId>) -> Result<BTreeSet<VolumeId>, Ec2Error> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (volumes, instances) = ec2.volumes(&ids).await?;
    let regions = Regions { home: home.clone(), enabled: BTreeSet::new(), disabled: BTreeSet::new() };
    Ok(floor_volumes(&Fleet { regions, instances, volumes }))
}

/// One failure for all that EC2 refused, with its words. What is held from outside is no fault of the system's.
fn failure_of(refused: &[(&SnapshotId, Ec2Error)]) -> Failure {
    let own = refused.iter().find(|(_, error)| !holds(error));
    let name = match own.map(|(_, error)| error.reaction()) {
        None => ErrorName::SnapshotHeld,
        Some(Reaction::Never(name)) => name,
        Some(_) => ErrorName::Ec2Refused,
    };
    Failure::new(name, words(refused))
}

/// EC2's words on each: the report tells them by the ids.
fn words(refused: &[(&SnapshotId, Ec2Error)]) -> String {
    let each = refused.iter().map(|(id, error)| format!("{id}: {}: {}", error.code, error.message));
    each.collect::<Vec<_>>().join("; ")
}

/// Whether EC2 refuses because something holds the snapshot: an image, a lock, AWS Backup.
///
/// The code for a locked snapshot is not documented; any that speaks of a lock is taken for it. For what AWS Backup
/// owns it is `InvalidParameterValue` with a text that says so (seen by others).
fn holds(error: &Ec2Error) -> bool {
    error.code == "InvalidSnapshot.InUse"
        || (error.code == "InvalidParameterValue" && error.message.contains("Backup"))
        || error.code.contains("Lock")
        || error.message.contains("locked")
}

#[cfg(test)]
mod tests;
