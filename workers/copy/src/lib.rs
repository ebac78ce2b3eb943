//! Copy: copies a snapshot to a destination region, never more at once than the limit. The call that makes the copy also
//! tags it.
//!
//! Task: [`CopyTask`]. Result: [`Begun`], the copy to wait for; none after a retag.
//!
//! Two looks at EC2 serve a batch in each destination, all destinations at once. The worker claims a copy before it makes
//! it ([`domain::claims`]). In flight are EC2's pending copies, and the claims whose copy EC2 does not show yet.
//!
//! - Delivered twice, also at the same moment: one attempt claims the copy. The other waits, and adopts the copy, from
//!   the look or by the id in the claim.
//! - Crashed after the call, or a lost answer: the claim stays open until EC2 shows the copy, or until another attempt
//!   takes it over because EC2 shows nothing. The rest of the batch does not call that region.
//! - Throttled, no free slot, or refused by EC2's own limit: later, at spread times.
//! - A source that is gone, a region that is not enabled, a key that is revoked: only that task fails.
//! - A copy that would be due on the day it is made: the task fails. If it ended as done, nobody would notice.
//!
//! Copies in `error` count as absent. Overlapping executions and messages put back by hand share the limit.

mod destination;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    claims::{ClaimDecision, ClaimRequest, Held, Made, copy_key, take, takeover},
    contract::Begun,
    copies::CopyTask,
    creating::Context,
    error::{ErrorName, Failure, Reaction},
    fleet::Tags,
    ids::{Region, SnapshotId},
    outcome::{Outcome, after, spread},
    ports::{Claims, CopyOrder, Ec2},
    tags::SnapshotTags,
};
use futures::future::join_all;
use serde_json::json;

use destination::Destination;

/// An invocation does not begin its second look after this time: a call without an answer takes 45 s.
const LOOKS_AGAIN_FOR: TimeDelta = TimeDelta::seconds(12);

/// Answers a batch, one outcome per task.
///
/// `measure` is told how many copies are in flight to a destination after this batch.
pub async fn handle<E: Ec2, C: Claims>(
    context: &Context<'_, E, C>,
    tasks: Vec<CopyTask>,
    measure: impl Fn(&Region, usize),
) -> Vec<Outcome> {
    let measure = &measure;
    let mut by_region: BTreeMap<&Region, Vec<usize>> = BTreeMap::new();
    for (index, task) in tasks.iter().enumerate() {
        by_region.entry(task.region()).or_default().push(index);
    }
    // All at once, so that one region that does not answer does not use up the time of the others.
    let regions = by_region.into_iter().map(async |(region, indices)| {
        let mut batch = Batch::new(context, region);
        for index in indices {
            batch.sort_in(index, &tasks[index]).await;
        }
        batch.copy_all().await;
        if let Some(in_flight) = batch.in_flight {
            measure(region, in_flight);
        }
        batch.outcomes
    });
    let outcomes: BTreeMap<usize, Outcome> = join_all(regions).await.into_iter().flatten().collect();
    outcomes.into_values().collect()
}

/// A copy to make.
struct Wanted<'t> {
    index: usize,
    source: &'t SnapshotId,
    description: &'t str,
    tags: &'t Tags,
}

/// The tasks of a batch for one destination.
struct Batch<'a, 't, E, C> {
    context: &'a Context<'a, E, C>,
    region: &'t Region,
    looked: DateTime<Utc>,
    wanted: Vec<Wanted<'t>>,
    sources: BTreeSet<&'t SnapshotId>,
    /// Whether an answer was lost: with the rest of the batch, the function would reach its time-out.
    ec2_unavailable: bool,
    /// The copies in flight, as far as they were counted.
    in_flight: Option<usize>,
    /// With the task's index in the batch.
    outcomes: Vec<(usize, Outcome)>,
}

impl<'a, 't, E: Ec2, C: Claims> Batch<'a, 't, E, C> {
    fn new(context: &'a Context<'a, E, C>, region: &'t Region) -> Self {
        let looked = context.began;
        let (wanted, sources, outcomes) = (Vec::new(), BTreeSet::new(), Vec::new());
        Self { context, region, looked, wanted, sources, ec2_unavailable: false, in_flight: None, outcomes }
    }

    /// Carries out a retag; keeps a copy for [`Self::copy_all`].
    async fn sort_in(&mut self, index: usize, task: &'t CopyTask) {
        match task {
            CopyTask::Retag { snapshot, .. } if self.is_to_be_left_alone() => {
                self.later(index, snapshot, self.context.settings.retry_seconds);
            }
            CopyTask::Retag { region, snapshot, keep_forever } => {
                let outcome = match self.context.ec2.keep_forever(region, snapshot, keep_forever).await {
                    Ok(()) => {
                        Outcome::Done(json!(Begun { region: region.clone(), snapshots: vec![], started: self.looked }))
                    }
                    Err(error) => after(error, snapshot.as_str(), self.looked),
                };
                self.ec2_unavailable |= matches!(outcome, Outcome::Retry(_));
                self.outcomes.push((index, outcome));
            }
            // The same source twice in one batch: the next look, or the claim, shows what the first task made.
            CopyTask::Copy { snapshot, .. } if !self.sources.insert(snapshot) => {
                self.later(index, snapshot, self.context.settings.poll_seconds);
            }
            CopyTask::Copy { snapshot: source, description, tags, .. } => {
                self.wanted.push(Wanted { index, source, description, tags });
            }
        }
    }

    fn later(&mut self, index: usize, source: &SnapshotId, seconds: u32) {
        self.outcomes.push((index, Outcome::Later(spread(seconds, source.as_str(), self.context.now()))));
    }

    fn done(&mut self, index: usize, begun: &Begun) {
        self.outcomes.push((index, Outcome::Done(json!(begun))));
    }

    /// Whether the region does not answer, or its answer could come after the function's time-out.
    fn is_to_be_left_alone(&self) -> bool {
        self.ec2_unavailable || self.context.is_late(self.looked)
    }

    /// Gives all remaining tasks an outcome.
    fn rest(&mut self, outcome: impl Fn(&SnapshotId) -> Outcome) {
        for wanted in self.wanted.drain(..) {
            self.outcomes.push((wanted.index, outcome(wanted.source)));
        }
    }

    fn rest_later(&mut self, seconds: u32) {
        let now = self.context.now();
        self.rest(|source| Outcome::Later(spread(seconds, source.as_str(), now)));
    }

    /// Adopts copies that exist, and makes the others as far as there are free slots.
    async fn copy_all(&mut self) {
        let Context { ec2, claims, home, settings, .. } = *self.context;
        let looked = self.looked;
        if self.wanted.is_empty() {
            return;
        }
        if self.is_to_be_left_alone() {
            return self.rest_later(settings.retry_seconds);
        }
        let mut there = Destination::new(self.region, home, looked, takeover(settings.retry_seconds));
        if let Err(error) = there.look_at_pending(ec2).await {
            return self.rest(|source| after(error.clone(), source.as_str(), looked));
        }
        self.in_flight = Some(there.in_flight());
        self.adopt(&there);
        if self.wanted.is_empty() {
            return;
        }
        // If the second look got no answer, the function would reach its time-out, with the tasks of all regions.
        if self.context.now() - looked > LOOKS_AGAIN_FOR {
            return self.rest_later(settings.retry_seconds);
        }
        let limit = settings.copy_concurrency as usize;
        if there.in_flight() >= limit {
            return self.rest_later(settings.poll_seconds);
        }
        if let Err(failure) = there.list_claims(claims).await {
            return self.rest(|_| Outcome::Retry(failure.clone()));
        }
        let sources = self.wanted.iter().map(|wanted| wanted.source.clone()).collect();
        if let Err(error) = there.look_for_copies(ec2, sources).await {
            return self.rest(|source| after(error.clone(), source.as_str(), looked));
        }
        if let Err(failure) = there.read_claims(claims).await {
            return self.rest(|_| Outcome::Retry(failure.clone()));
        }
        self.adopt(&there);
        let (mut claimed, mut begun, mut is_full) = (BTreeSet::new(), 0, false);
        for wanted in std::mem::take(&mut self.wanted) {
            if self.is_to_be_left_alone() {
                self.later(wanted.index, wanted.source, settings.retry_seconds);
                continue;
            }
            if is_full || there.in_flight() + begun >= limit {
                self.later(wanted.index, wanted.source, settings.poll_seconds);
                continue;
            }
            let Some(claim) = self.claim(&wanted, &there).await else { continue };
            claimed.insert(wanted.source);
            // First the claim, then the count: if two attempts do this at the same moment, at least one sees the other.
            match there.others_now(claims, &claimed).await {
                Ok(others) if others + begun < limit => {
                    let source = wanted.source;
                    let copied = self.copy(wanted, claim).await;
                    if copied == Copied::Perhaps {
                        begun += 1;
                        self.in_flight = Some(others + begun);
                    } else {
                        // The claim was given back, and another attempt may hold it by now.
                        claimed.remove(source);
                    }
                    is_full = copied == Copied::RegionIsFull;
                }
                Ok(_) => {
                    self.give_back(claim).await;
                    self.later(wanted.index, wanted.source, settings.poll_seconds);
                    is_full = true;
                }
                Err(failure) => {
                    self.give_back(claim).await;
                    self.ec2_unavailable = true;
                    self.outcomes.push((wanted.index, Outcome::Retry(failure)));
                }
            }
        }
    }

    /// Gives an outcome to copies that exist, are made by another attempt, or must not be made at all.
    fn adopt(&mut self, there: &Destination<'_>) {
        for wanted in std::mem::take(&mut self.wanted) {
            if let Some(copy) = there.copy_of(wanted.source) {
                self.done(wanted.index, &Begun::of(self.region, [copy], self.looked));
            } else if let Some(due) = due_already(wanted.tags, self.looked) {
                let cause = format!(
                    "{} to {}: the copy would be due when it is made (DeleteOn={due}): it is not made any more",
                    wanted.source, self.region
                );
                let failure = Failure::new(ErrorName::MessageExpired, cause);
                self.outcomes.push((wanted.index, Outcome::Fail(failure)));
            } else if let Some(claim) = there.claim_in_flight(wanted.source) {
                self.wait_for(&wanted, &claim.made);
            } else {
                self.wanted.push(wanted);
            }
        }
    }

    /// Adopts the copy that another attempt has made, by its id, or waits for it.
    fn wait_for(&mut self, wanted: &Wanted<'_>, made: &[Made]) {
        match made.last() {
            Some(Made { id, at, .. }) => {
                let begun = Begun { region: self.region.clone(), snapshots: vec![id.clone()], started: *at };
                self.done(wanted.index, &begun);
            }
            None => self.later(wanted.index, wanted.source, self.context.settings.poll_seconds),
        }
    }

    /// Claims a copy; `None` if another attempt holds the claim, or the claim cannot be read or written.
    async fn claim(&mut self, wanted: &Wanted<'_>, there: &Destination<'_>) -> Option<Held> {
        let Context { claims, settings, attempt, .. } = *self.context;
        let takeover = takeover(settings.retry_seconds);
        let asking = ClaimRequest { attempt, looked: self.looked, shown: there.shown(wanted.source), takeover };
        let key = copy_key(self.region, wanted.source);
        match take(claims, key, asking, self.context.now(), <[Made]>::is_empty).await {
            Ok(ClaimDecision::Mine(claim)) => return Some(claim),
            Ok(ClaimDecision::Others(made)) => self.wait_for(wanted, &made),
            Err(failure) => {
                self.ec2_unavailable = true;
                self.outcomes.push((wanted.index, Outcome::Retry(failure)));
            }
        }
        None
    }

    /// Sets a claim free under which nothing was tried. If that fails, it is taken over later.
    async fn give_back(&self, claim: Held) {
        if let Err(failure) = claim.close(self.context.claims, vec![]).await {
            let region = self.region.as_str();
            tracing::warn!(region, error = %failure.name, cause = failure.cause, "the claim could not be set free");
        }
    }

    async fn copy(&mut self, wanted: Wanted<'t>, mut claim: Held) -> Copied {
        let Context { ec2, claims, home, settings, .. } = *self.context;
        match claim.renew(claims, self.context.now(), takeover(settings.retry_seconds)).await {
            Ok(true) => {}
            Ok(false) => {
                self.later(wanted.index, wanted.source, settings.poll_seconds);
                return Copied::No;
            }
            Err(failure) => {
                self.ec2_unavailable = true;
                self.outcomes.push((wanted.index, Outcome::Retry(failure)));
                return Copied::No;
            }
        }
        let order = CopyOrder {
            from: home,
            to: self.region,
            source: wanted.source,
            description: wanted.description,
            tags: wanted.tags,
            kms_key: settings.destination_kms_keys.get(self.region).map(String::as_str),
        };
        let at = self.context.now();
        let answer = ec2.copy(&order).await;
        let made: Vec<Made> = answer.iter().map(|id| Made { id: id.clone(), volume: None, at }).collect();
        let is_in_doubt = answer.as_ref().is_err_and(|error| error.reaction() == Reaction::MayHaveHappened);
        if !is_in_doubt && let Err(failure) = claim.close(claims, made.clone()).await {
            let (snapshot, region) = (wanted.source.as_str(), self.region.as_str());
            tracing::warn!(snapshot, region, error = %failure.name, cause = failure.cause, "the claim could not be written");
        }
        self.ec2_unavailable |= is_in_doubt;
        let Err(error) = answer else {
            self.wait_for(&wanted, &made);
            return Copied::Perhaps;
        };
        let copied = match error.code.as_str() {
            // The copies of others take all slots: the rest of the batch waits.
            "ResourceLimitExceeded" => Copied::RegionIsFull,
            _ if is_in_doubt => Copied::Perhaps,
            _ => Copied::No,
        };
        self.outcomes.push((wanted.index, after(error, wanted.source.as_str(), self.context.now())));
        copied
    }
}

/// Whether a copy was begun.
#[derive(PartialEq, Eq)]
enum Copied {
    Perhaps,
    No,
    RegionIsFull,
}

/// The day on which the copy is due, if that is not in the future: its message lay in a dead-letter queue for too long.
fn due_already(tags: &Tags, now: DateTime<Utc>) -> Option<NaiveDate> {
    SnapshotTags::read(tags).delete_on.filter(|day| *day <= now.date_naive())
}

#[cfg(test)]
mod tests;
