//! Expire: deletes the snapshots of a batch, each looked at once more before.
//!
//! Task: [`ExpireTask`]. Result: [`Expired`], what was deleted, and what was kept and why.
//!
//! - Delivered twice, or crashed: what is gone is done.
//! - Throttled: later, with what is left.
//! - A snapshot, or the source of a copy, that got `KeepForever`, or a new `DeleteOn`, since it was planned: kept.
//! - In use by an image, locked, owned by AWS Backup: kept, with EC2's reason.
//! - A batch that was planned on another day is dropped: today's discover decides anew.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::ExpireTask,
    error::{Ec2Error, ErrorName, Failure, Reaction},
    expiry::{Candidate, KeptSources, Scope, verdict_now},
    ids::{Region, SnapshotId},
    outcome::{Outcome, after},
    ports::{Ec2, Which},
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
pub async fn handle(ec2: &impl Ec2, home: &Region, tasks: Vec<ExpireTask>, now: DateTime<Utc>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for task in &tasks {
        outcomes.push(match one(ec2, home, task, now).await {
            Ok(expired) => Outcome::Done(json!(expired)),
            Err(Stopped::Ec2(error)) => after(error, task.region.as_str(), now),
            Err(Stopped::Refused(failure)) => Outcome::Fail(failure),
        });
    }
    outcomes
}

enum Stopped {
    Ec2(Ec2Error),
    Refused(Failure),
}

impl From<Ec2Error> for Stopped {
    fn from(error: Ec2Error) -> Self {
        Self::Ec2(error)
    }
}

async fn one(ec2: &impl Ec2, home: &Region, task: &ExpireTask, now: DateTime<Utc>) -> Result<Expired, Stopped> {
    let mut expired = Expired::default();
    if task.planned != now.date_naive() {
        let why = format!("planned on {}: only today's plan is carried out", task.planned);
        expired.kept = task.snapshots.iter().map(|s| (s.id.clone(), why.clone())).collect();
        return Ok(expired);
    }
    let mut kept_sources = KeptSources::default();
    ec2.each_snapshot(home, &Which::KeptForever, &mut |source| kept_sources.note(&source)).await?;
    let ids = task.snapshots.iter().map(|s| s.id.clone()).collect();
    let mut described = BTreeMap::new();
    ec2.each_snapshot(&task.region, &Which::Ids(ids), &mut |snapshot| {
        described.insert(snapshot.id.clone(), Candidate::from(&snapshot));
    })
    .await?;
    // The floor was settled when the batch was planned, from all snapshots of the region.
    let scope = Scope {
        home,
        region: &task.region,
        today: now.date_naive(),
        living: &BTreeSet::new(),
        minimum_kept: 0,
        kept_sources: Some(&kept_sources),
    };
    let mut refused = Vec::new();
    for expiring in &task.snapshots {
        let id = &expiring.id;
        let verdict = described.get(id).map(|candidate| verdict_now(candidate, &scope));
        match verdict {
            Some(verdict) if !verdict.expires() => {
                tracing::warn!(snapshot = %id, %verdict, "kept at the moment of deletion");
                expired.kept.insert(id.clone(), verdict.to_string());
            }
            None => expired.deleted.push(id.clone()),
            Some(_) => match ec2.delete(&task.region, id).await {
                Ok(()) => {
                    tracing::info!(snapshot = %id, region = %task.region, why = ?expiring.why, "deleted");
                    expired.deleted.push(id.clone());
                }
                Err(error) => match error.reaction() {
                    Reaction::Never(ErrorName::SnapshotNotFound) => expired.deleted.push(id.clone()),
                    Reaction::Never(_) if holds(&error) => {
                        tracing::warn!(snapshot = %id, %error, "kept: EC2 refuses");
                        expired.kept.insert(id.clone(), error.to_string());
                    }
                    Reaction::Never(_) => refused.push(error),
                    _ => return Err(error.into()),
                },
            },
        }
    }
    match refused.into_iter().next() {
        Some(error) => Err(Stopped::Refused(error.into())),
        None => Ok(expired),
    }
}

/// Whether EC2 refuses because something holds the snapshot: an image, a lock, AWS Backup.
///
/// The code for a locked snapshot is not documented; any that speaks of a lock is taken for it.
fn holds(error: &Ec2Error) -> bool {
    error.code == "InvalidSnapshot.InUse"
        || error.code == "InvalidParameterValue"
        || error.code.contains("Lock")
        || error.message.contains("locked")
}

#[cfg(test)]
mod tests;
