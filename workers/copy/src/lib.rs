//! Copy: copies a snapshot to a destination region, tagged as it is made, never more at once than the limit.
//!
//! Task: [`CopyTask`]. Result: [`Begun`], what is to be waited for; nothing after a retag.
//!
//! - Delivered twice, or crashed after the call: the look finds the copy that the first call made, and adopts it.
//!   Twice in one batch: the second waits for the next look.
//! - An answer that was lost: the message comes back after a minute or more, and the look decides. The rest of the
//!   batch leaves that region alone.
//! - Throttled, no free slot, or refused by EC2's own limit: later, spread out.
//! - A source that is gone, a region that is not enabled, a key that is revoked: it fails by itself.
//!
//! Copies in `error` count as absent. Before it copies, the worker counts the system's pending copies in the
//! destination, so that overlapping executions and messages put back by hand share the limit.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::Begun,
    copies::{CopyTask, counting_copy},
    error::{Ec2Error, Reaction},
    fleet::{Snapshot, Tags},
    ids::{Region, SnapshotId},
    outcome::{Outcome, after, spread},
    ports::{CopyOrder, Ec2, Which},
    settings::Settings,
    tags::SnapshotTags,
};
use serde_json::json;

/// Answers a batch, one outcome per task.
pub async fn handle(
    ec2: &impl Ec2,
    home: &Region,
    settings: &Settings,
    tasks: Vec<CopyTask>,
    now: DateTime<Utc>,
) -> Vec<Outcome> {
    let mut sources: BTreeMap<&Region, Vec<SnapshotId>> = BTreeMap::new();
    for task in &tasks {
        if let CopyTask::Copy { region, snapshot, .. } = task {
            sources.entry(region).or_default().push(snapshot.clone());
        }
    }
    let mut destinations = BTreeMap::new();
    for (region, sources) in sources {
        destinations.insert(region, look(ec2, home, region, sources, settings.copy_concurrency).await);
    }
    let mut outcomes = Vec::new();
    for task in &tasks {
        outcomes.push(match task {
            CopyTask::Retag { region, snapshot, keep_forever } => {
                match ec2.keep_forever(region, snapshot, keep_forever).await {
                    Ok(()) => Outcome::Done(json!(Begun { region: region.clone(), snapshots: vec![], started: now })),
                    Err(error) => after(error, snapshot.as_str(), now),
                }
            }
            CopyTask::Copy { region, snapshot, description, tags } => match destinations.get_mut(region) {
                Some(Ok(destination)) => {
                    let order = CopyOrder {
                        from: home,
                        to: region,
                        source: snapshot,
                        description,
                        tags,
                        kms_key: settings.destination_kms_keys.get(region).map(String::as_str),
                    };
                    one(ec2, &order, destination, settings, now).await
                }
                Some(Err(error)) => after(error.clone(), snapshot.as_str(), now),
                None => unreachable!("every copy's destination was looked at"),
            },
        });
    }
    outcomes
}

/// What is in a destination before the batch acts.
struct Destination {
    /// Copies of home, by their source: all of the batch's that count, where there is a slot to fill.
    copies: BTreeMap<SnapshotId, Vec<Snapshot>>,
    /// This system's copies in flight, those that this batch began among them.
    in_flight: u32,
    /// The sources that this batch began to copy.
    begun: BTreeSet<SnapshotId>,
    /// Whether an answer was lost: the rest of the batch need not try, and would outlast the function's time-out.
    silent: bool,
}

/// Counts the copies in flight, which finds those of the batch's sources too.
///
/// Only where there is a slot to fill it looks for completed ones as well: EC2's filters are joined by *and*, so that
/// one call cannot ask for both, and a region's completed copies are too many to list.
async fn look(
    ec2: &impl Ec2,
    home: &Region,
    region: &Region,
    mut sources: Vec<SnapshotId>,
    limit: u32,
) -> Result<Destination, Ec2Error> {
    let mut destination = Destination { copies: BTreeMap::new(), in_flight: 0, begun: BTreeSet::new(), silent: false };
    ec2.each_snapshot(region, &Which::PendingCopies, &mut |copy| {
        destination.in_flight += 1;
        destination.note(copy, home);
    })
    .await?;
    sources.retain(|source| !destination.copies.contains_key(source));
    if destination.in_flight < limit && !sources.is_empty() {
        ec2.each_snapshot(region, &Which::CopiesOf(sources), &mut |copy| destination.note(copy, home)).await?;
    }
    Ok(destination)
}

impl Destination {
    fn note(&mut self, copy: Snapshot, home: &Region) {
        let read = SnapshotTags::read(&copy.tags);
        if let (Some(source), Some(from)) = (read.source_snapshot, read.from_region)
            && from == home.as_str()
        {
            self.copies.entry(source).or_default().push(copy);
        }
    }
}

async fn one(
    ec2: &impl Ec2,
    order: &CopyOrder<'_>,
    destination: &mut Destination,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Outcome {
    let earlier = destination.copies.get(order.source).and_then(|copies| counting_copy(copies.iter()));
    if let Some(copy) = earlier {
        return Outcome::Done(json!(Begun::of(order.to, [copy], now)));
    }
    let mut begun = Begun { region: order.to.clone(), snapshots: vec![], started: now };
    if is_over(order.tags, now) {
        tracing::warn!(snapshot = %order.source, region = %order.to, "not copied: the copy would be expired already");
        return Outcome::Done(json!(begun));
    }
    // The same source once more in one batch, a redelivery or another run; or a region that does not answer.
    if destination.begun.contains(order.source) || destination.silent {
        return Outcome::Later(spread(settings.retry_seconds, order.source.as_str(), now));
    }
    if destination.in_flight >= settings.copy_concurrency {
        return Outcome::Later(spread(settings.poll_seconds, order.source.as_str(), now));
    }
    match ec2.copy(order).await {
        Ok(id) => {
            destination.in_flight += 1;
            destination.begun.insert(order.source.clone());
            begun.snapshots.push(id);
            Outcome::Done(json!(begun))
        }
        Err(error) => {
            if error.code == "ResourceLimitExceeded" {
                // Full, with copies of others: the rest of the batch need not try.
                destination.in_flight = destination.in_flight.max(settings.copy_concurrency);
            }
            destination.silent = error.reaction() == Reaction::MayHaveHappened;
            after(error, order.source.as_str(), now)
        }
    }
}

/// Whether the copy would be due on the day it is made: the message lay in a dead-letter queue for too long.
fn is_over(tags: &Tags, now: DateTime<Utc>) -> bool {
    SnapshotTags::read(tags).delete_on.is_some_and(|day| day <= now.date_naive())
}

#[cfg(test)]
mod tests;
