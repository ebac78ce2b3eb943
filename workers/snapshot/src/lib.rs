//! Snapshot: begins the snapshots of an instance, all volumes at one moment. The call that makes them also tags them.
//!
//! Task: [`SnapshotTask`]. Result: [`Begun`], the snapshots to wait for.
//!
//! One look at EC2 serves a batch. The worker claims missing snapshots before it makes them ([`domain::claims`]).
//!
//! - Delivered twice, also at the same moment: one attempt claims the instance. The other waits, and adopts the
//!   snapshots, from the look or by the ids in the claim.
//! - Crashed after the call, or a lost answer: the claim stays open until EC2 shows the snapshots, or until another
//!   attempt takes it over because EC2 shows nothing. The rest of the batch does not call EC2.
//! - Throttled, or too soon after a volume's last snapshot: later.
//! - A volume that is gone, or at a limit of its own: the other volumes are snapshotted one by one.
//! - An instance that is gone: only its task fails.
//!
//! An instance that a hook has frozen is first in its batch, and is tried once: whatever would have to wait, or to be
//! looked for, is declined at once ([`ErrorName::SnapshotNotNow`]), and the state machine thaws.
//!
//! Snapshots in `error` count as absent.

mod create;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    claims::{Claim, ClaimDecision, ClaimRequest, Held, Made, State, snapshot_key, take, takeover},
    contract::{Begun, SnapshotTask, StateError},
    creating::Context,
    error::{Ec2Error, ErrorName, Failure, Reaction},
    fleet::{Attachment, Snapshot, oldest_live},
    ids::{InstanceId, VolumeId},
    labels::{BegunAs, SnapshotLabels},
    outcome::{Outcome, after, spread},
    policy::InstancePlan,
    ports::{Claims, Ec2, SnapshotFilter},
    tags::SnapshotTags,
};
use futures::future::join_all;
use serde_json::json;

use create::{Created, create};

/// Answers a batch, one outcome per task.
pub async fn handle<E: Ec2, C: Claims>(context: &Context<'_, E, C>, tasks: Vec<SnapshotTask>) -> Vec<Outcome> {
    let looked = context.began;
    let made = look(context, &tasks).await;
    let (mut outcomes, mut begun, mut ec2_unavailable) = (BTreeMap::new(), BTreeSet::new(), false);
    let mut in_order: Vec<(usize, &SnapshotTask)> = tasks.iter().enumerate().collect();
    in_order.sort_by_key(|(place, task)| (task.frozen_by.is_none(), *place));
    for (place, task) in in_order {
        let instance = task.instance.instance.as_str();
        let outcome = match &made[task.run_id.as_str()] {
            // The same instance twice in one batch: the next look, or the claim, shows what the first task made.
            Ok(_) if !begun.insert((&task.run_id, instance)) => later(context, context.settings.poll_seconds, instance),
            // An answer was lost: with the rest of the batch, the function would reach its time-out.
            Ok(_) if ec2_unavailable || context.is_late(looked) => {
                later(context, context.settings.retry_seconds, instance)
            }
            Ok(made) => snapshot_instance(context, task, made, looked).await,
            Err(error) => after(error.clone(), instance, context.now()),
        };
        ec2_unavailable |= matches!(outcome, Outcome::Retry(_));
        let outcome = match (&task.frozen_by, &outcome) {
            (None, _) => outcome,
            (Some(freeze), Outcome::Later(_)) if is_delivered_twice(context, task, freeze).await => Outcome::Later(1),
            (Some(_), _) => at_once(outcome),
        };
        outcomes.insert(place, outcome);
    }
    outcomes.into_values().collect()
}

/// For so long another delivery of the same task is waited for, which nobody has to thaw for.
const TWIN_TAKES: TimeDelta = TimeDelta::seconds(10);

/// Whether the instance is being snapshotted by another delivery of the very same task.
async fn is_delivered_twice<E, C: Claims>(context: &Context<'_, E, C>, task: &SnapshotTask, freeze: &str) -> bool {
    let Ok(Some(stored)) = context.claims.stored(&snapshot_key(&task.run_id, &task.instance.instance)).await else {
        return false;
    };
    let claim = Claim::read(&stored);
    claim.state != State::Free && claim.attempt.is_during(freeze) && context.now() - claim.at < TWIN_TAKES
}

/// The outcome for an instance that is frozen: it is begun, or the state machine hears at once that it is not.
fn at_once(outcome: Outcome) -> Outcome {
    let not_now = |why: &dyn std::fmt::Display| Outcome::Declined(Failure::new(ErrorName::SnapshotNotNow, why));
    match outcome {
        Outcome::Later(_) | Outcome::Onward(..) => {
            not_now(&"EC2 could not begin the snapshots at once, and a frozen instance does not wait")
        }
        Outcome::Retry(failure) => not_now(&failure),
        Outcome::Fail(failure) | Outcome::Declined(failure) => Outcome::Declined(failure),
        Outcome::Done(result) => Outcome::Done(result),
    }
}

/// What is known of the consistency of a set; nothing where no hook was asked for.
fn begun_as<'a>(task: &'a SnapshotTask, why: Option<&'a str>) -> Option<BegunAs<'a>> {
    match &task.frozen_by {
        Some(execution) => Some(BegunAs::Frozen(execution)),
        None if task.instance.hook.is_some() => Some(BegunAs::Unfrozen(why)),
        None => task.instance.no_hook.as_deref().map(|reason| BegunAs::Unfrozen(Some(reason))),
    }
}

/// The snapshots of the instances in the batch that EC2 shows, by run id.
async fn look<'t, E: Ec2, C>(
    context: &Context<'_, E, C>,
    tasks: &'t [SnapshotTask],
) -> BTreeMap<&'t str, Result<Vec<Snapshot>, Ec2Error>> {
    let mut instances_of_run: BTreeMap<&str, Vec<InstanceId>> = BTreeMap::new();
    for task in tasks {
        instances_of_run.entry(&task.run_id).or_default().push(task.instance.instance.clone());
    }
    // All at once, so that the time of several slow answers does not add up.
    let looks = instances_of_run.into_iter().map(async |(run_id, instances)| {
        (run_id, context.ec2.snapshots(context.home, &SnapshotFilter::OfRun(run_id.to_owned(), instances)).await)
    });
    join_all(looks).await.into_iter().collect()
}

fn later<E, C>(context: &Context<'_, E, C>, seconds: u32, instance: &str) -> Outcome {
    Outcome::Later(spread(seconds, instance, context.now()))
}

/// `made` are the snapshots of the run that EC2 showed when the batch began.
async fn snapshot_instance<E: Ec2, C: Claims>(
    context: &Context<'_, E, C>,
    task: &SnapshotTask,
    made: &[Snapshot],
    looked: DateTime<Utc>,
) -> Outcome {
    let plan = &task.instance;
    let of_this = |s: &&Snapshot| SnapshotTags::read(&s.tags).source_instance.as_ref() == Some(&plan.instance);
    let shown: Vec<Snapshot> = made.iter().filter(of_this).cloned().collect();
    let earlier = earlier(plan, &shown);
    let mut begun = Begun::of(context.home, earlier.values().copied(), looked);
    let missing: Vec<&Attachment> = plan.volumes.iter().filter(|a| !earlier.contains_key(&a.volume)).collect();
    if missing.is_empty() {
        return Outcome::Done(json!(begun));
    }
    let takeover = takeover(context.settings.retry_seconds);
    let attempt = match &task.frozen_by {
        Some(freeze) => &context.attempt.during(freeze),
        None => context.attempt,
    };
    let asking = ClaimRequest { attempt, looked, shown: &shown, takeover };
    let wanted = |made: &[Made]| missing.iter().any(|a| !is_made(a, made));
    let key = snapshot_key(&task.run_id, &plan.instance);
    let mut held = match take(context.claims, key, asking, context.now(), wanted).await {
        Ok(ClaimDecision::Mine(held)) => held,
        Ok(ClaimDecision::Others(made)) if !wanted(&made) => {
            adopt(&mut begun, &missing, &made);
            return Outcome::Done(json!(begun));
        }
        Ok(ClaimDecision::Others(_)) => return later(context, context.settings.poll_seconds, plan.instance.as_str()),
        Err(failure) => return Outcome::Retry(failure),
    };
    match held.renew(context.claims, context.now(), takeover).await {
        Ok(true) => {}
        Ok(false) => return later(context, context.settings.poll_seconds, plan.instance.as_str()),
        Err(failure) => return Outcome::Retry(failure),
    }
    adopt(&mut begun, &missing, held.made());
    let still: Vec<&Attachment> = missing.into_iter().filter(|a| !is_made(a, held.made())).collect();
    let why = task.why.as_ref().map(StateError::text);
    let details = plan.details();
    let labels = SnapshotLabels {
        name: &plan.name,
        instance: &plan.instance,
        run_id: &task.run_id,
        created_on: context.now().date_naive(),
        retention: plan.retention,
        retention_cross_region: plan.retention_cross_region,
        backup_cross_region: plan.backup_cross_region.as_deref(),
        keep_forever: plan.keep_forever.as_deref(),
        devices: &plan.volumes,
        details: &details,
        begun: begun_as(task, why.as_deref()),
    };
    let created = create(context, plan, &still, begun.snapshots.is_empty(), &labels.tags(), looked).await;
    if let (false, Some(cause)) = (created.made.is_empty(), details.left_out_text()) {
        let (run, instance) = (&task.run_id, plan.instance.as_str());
        tracing::warn!(run, instance, outcome = "noted", cause, "the snapshots have no room for it among their tags");
    }
    write_down(context, held, &created, plan).await;
    adopt(&mut begun, &still, &created.made);
    concluded(context, plan, begun, created)
}

/// The snapshots that earlier attempts of this run made, one per volume: the one that counts.
fn earlier<'a>(plan: &'a InstancePlan, shown: &'a [Snapshot]) -> BTreeMap<&'a VolumeId, &'a Snapshot> {
    let of = |volume: &'a VolumeId| {
        Some((volume, oldest_live(shown.iter().filter(|snapshot| snapshot.volume.as_ref() == Some(volume)))?))
    };
    plan.volumes.iter().filter_map(|attachment| of(&attachment.volume)).collect()
}

fn is_made(attachment: &Attachment, made: &[Made]) -> bool {
    made.iter().any(|made| made.volume.as_ref() == Some(&attachment.volume))
}

/// Adds snapshots that EC2 does not show yet to those to wait for.
fn adopt(begun: &mut Begun, volumes: &[&Attachment], made: &[Made]) {
    for made in made.iter().filter(|made| volumes.iter().any(|a| made.volume.as_ref() == Some(&a.volume))) {
        // The wait begins with the youngest: it has ten minutes from then until EC2 must describe it.
        begun.started = if begun.snapshots.is_empty() { made.at } else { begun.started.max(made.at) };
        begun.snapshots.push(made.id.clone());
    }
}

/// Writes the ids into the claim. If that fails, other attempts wait until EC2 shows the snapshots.
async fn write_down<E, C: Claims>(context: &Context<'_, E, C>, held: Held, created: &Created, plan: &InstancePlan) {
    let made = created.made.clone();
    let written = match created.is_in_doubt() {
        true => held.leave_open(context.claims, made).await,
        false => held.close(context.claims, made).await,
    };
    if let Err(failure) = written {
        let instance = plan.instance.as_str();
        tracing::warn!(instance, error = %failure.name, cause = failure.cause, "the claim could not be written");
    }
}

/// The outcome after the calls, also if EC2 refused some volumes, or some were not tried.
fn concluded<E, C>(context: &Context<'_, E, C>, plan: &InstancePlan, begun: Begun, created: Created) -> Outcome {
    let (instance, now) = (plan.instance.as_str(), context.now());
    // If a part of the set was begun, EC2 needs this time until it shows that part.
    let at_least = if begun.snapshots.is_empty() { 0 } else { context.settings.retry_seconds };
    if let Some(error) = created.stopped {
        return match after(error, instance, now) {
            Outcome::Later(seconds) => Outcome::Later(seconds.max(at_least)),
            outcome => outcome,
        };
    }
    let seconds = |error: &Ec2Error| match error.reaction() {
        Reaction::Later(seconds) => Some(seconds),
        _ => None,
    };
    if created.is_cut_short || created.refused.iter().any(|(_, error)| seconds(error).is_some()) {
        let longest = created.refused.iter().filter_map(|(_, error)| seconds(error)).max().unwrap_or(0);
        return Outcome::Later(spread(longest.max(at_least).max(1), instance, now));
    }
    let is_gone = |error: &Ec2Error| error.reaction() == Reaction::Never(ErrorName::VolumeNotFound);
    if let Some((_, error)) = created.refused.iter().find(|(_, error)| !is_gone(error)) {
        return Outcome::Fail(error.clone().into());
    }
    if begun.snapshots.is_empty() {
        let gone: Vec<&str> = created.refused.iter().map(|(volume, _)| volume.as_str()).collect();
        let cause = format!("{}: {} do not exist any more", plan.instance, gone.join(", "));
        return Outcome::Fail(Failure::new(ErrorName::VolumeNotFound, cause));
    }
    Outcome::Done(json!(begun))
}

#[cfg(test)]
mod tests;
