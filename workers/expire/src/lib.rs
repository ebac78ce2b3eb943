//! Expire: deletes the snapshots of a batch, after it has judged each of them again.
//!
//! Task: [`ExpireTask`]. Result: [`Expired`], the snapshots that were deleted, and those that were kept and why.
//!
//! The worker does not trust what was read when the batch was planned. It reads the snapshots, their volumes, the
//! instances that these are attached to, and all other backups of these volumes in the region.
//!
//! - Delivered twice, or crashed: a snapshot that is gone counts as deleted.
//! - Throttled, or not enough time: later, with the rest.
//! - After it was planned, a snapshot, or the source of a copy, got `KeepForever` or a new `DeleteOn`, or it is now the
//!   last backup of a volume: it is kept.
//! - A snapshot that EC2 refuses to delete (in use by an image, locked, owned by AWS Backup, forbidden): the others are
//!   still deleted, then the task fails with EC2's message.
//! - A batch that was planned on another day is dropped: today's discover decides again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::{ExpireTask, Expiring},
    error::{Ec2Error, ErrorName, Failure, LOST_ANSWER, NOT_SENT, Reaction},
    expiry::{Candidate, KeptSources, Scope, Verdict, keep_what_is_held, verdicts},
    fleet::{Fleet, Regions},
    ids::{Region, SnapshotId, VolumeId},
    outcome::{Outcome, after, spread},
    ports::{Ec2, SnapshotFilter},
    protection::floor_volumes,
    settings::Settings,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The result of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Deleted by this attempt, or gone before.
    pub deleted: Vec<SnapshotId>,
    /// Each with the reason.
    pub kept: BTreeMap<SnapshotId, String>,
}

/// Answers a batch of messages, one outcome per task; each task is a batch of snapshots.
///
/// `has_time` says whether there is time for one more call.
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
        // With a region that does not answer, the function would reach its time-out.
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
    /// An error that is not about one snapshot only.
    Ec2(Ec2Error),
    /// EC2 refused to delete some snapshots; the others are deleted.
    Refused(Failure),
    /// EC2 did not delete some snapshots because of a transient fault; the others are deleted.
    Passing(Failure),
    /// The rest needs another invocation.
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
        let why = format!("planned on {}: a plan is only carried out on its own day", task.planned);
        expired.kept = task.snapshots.iter().map(|s| (s.id.clone(), why.clone())).collect();
        return Ok(expired);
    }
    let judged = judge_again(ec2, home, settings, task, now).await?;
    let (mut tried, mut deleted_now, mut refused, mut passing) = (0, 0, Vec::new(), None);
    let region = task.region.as_str();
    for Expiring { id, why, .. } in &task.snapshots {
        match judged.get(id) {
            Some(verdict) if !verdict.expires() => {
                tracing::warn!(snapshot = %id, region, outcome = "kept", cause = %verdict, "kept at the moment of deletion");
                expired.kept.insert(id.clone(), verdict.to_string());
            }
            None => expired.deleted.push(id.clone()),
            // At least one is tried, so that a region with slow answers makes progress.
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
                        tracing::info!(snapshot = %id, region, outcome = "deleted", cause = %Verdict::Expire(*why), "deleted");
                        deleted_now += 1;
                        expired.deleted.push(id.clone());
                    }
                    Err(error) => match error.reaction() {
                        Reaction::Never(ErrorName::SnapshotNotFound) => expired.deleted.push(id.clone()),
                        Reaction::Never(_) => refused.push((id, error)),
                        // The error is not about this snapshot: the others would meet it, too.
                        _ if Ec2Error::is_throttle(&error.code)
                            || error.code == LOST_ANSWER
                            || error.code == NOT_SENT =>
                        {
                            return Err(error.into());
                        }
                        // The next attempt looks at what is left.
                        _ => passing = Some((id, error)),
                    },
                }
            }
        }
    }
    match passing {
        // Retried a limited number of times, although EC2 calls it temporary: the sweep would wait for hours.
        Some((id, error)) => {
            refused.push((id, error));
            Err(Stopped::Passing(Failure::new(ErrorName::Ec2Unavailable, words(&refused))))
        }
        None if refused.is_empty() => Ok(expired),
        None => Err(Stopped::Refused(failure_of(&refused))),
    }
}

/// The verdicts on the snapshots of the batch that still exist.
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
    let mut verdicts = verdicts(&all, &scope);
    // Where nothing would go, nothing more has to be known. Images and locks need not be looked at: EC2 refuses these.
    if verdicts.iter().any(Verdict::expires) {
        keep_what_is_held(&all, &mut verdicts, &ec2.needed_by_restores(&task.region).await?);
    }
    Ok(all.into_iter().map(|candidate| candidate.id).zip(verdicts).collect())
}

/// The volumes of these that have a floor.
async fn floor_of(ec2: &impl Ec2, home: &Region, ids: Vec<VolumeId>) -> Result<BTreeSet<VolumeId>, Ec2Error> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (volumes, instances) = ec2.volumes(&ids).await?;
    let regions = Regions { home: home.clone(), enabled: BTreeSet::new(), disabled: BTreeSet::new() };
    Ok(floor_volumes(&Fleet { regions, instances, volumes }))
}

/// One failure for all snapshots that EC2 refused to delete. It is `SnapshotHeld` if images, locks or AWS Backup hold all
/// of them.
fn failure_of(refused: &[(&SnapshotId, Ec2Error)]) -> Failure {
    let own = refused.iter().find(|(_, error)| !holds(error));
    let name = match own.map(|(_, error)| error.reaction()) {
        None => ErrorName::SnapshotHeld,
        Some(Reaction::Never(name)) => name,
        Some(_) => ErrorName::Ec2Refused,
    };
    Failure::new(name, words(refused))
}

/// EC2's message for each snapshot: the report finds it by the id.
fn words(refused: &[(&SnapshotId, Ec2Error)]) -> String {
    let each = refused.iter().map(|(id, error)| format!("{id}: {}: {}", error.code, error.message));
    each.collect::<Vec<_>>().join("; ")
}

/// Whether EC2 refuses because an image, a lock or AWS Backup holds the snapshot.
///
/// The code for a locked snapshot is not documented: every code or message with the word lock counts. If AWS Backup owns
/// it, the code is `InvalidParameterValue`, and the message says so (seen by others).
fn holds(error: &Ec2Error) -> bool {
    error.code == "InvalidSnapshot.InUse"
        || (error.code == "InvalidParameterValue" && error.message.contains("Backup"))
        || error.code.contains("Lock")
        || error.message.contains("locked")
}

#[cfg(test)]
mod tests;
