use domain::{
    claims::State,
    contract::{Frozen, HookTask, PreHooked},
    error::{ErrorName, Failure, Reaction},
    fleet::Snapshot,
    hooks::{
        claim::StoredHookClaim,
        script::{PreEnd, ScriptReport, pre_end},
    },
    outcome::{Outcome, after, spread},
    ports::{Claims, Ec2, RunCommand, SnapshotFilter},
};
use serde_json::json;

use crate::{Followed, HOLDER_LIVES, Hooks, claim_of, longest, look_again, note};

/// Runs a pre-script, or follows it.
pub(crate) async fn handle<E: Ec2, C: Claims, S: RunCommand>(hooks: &Hooks<'_, E, C, S>, task: &HookTask) -> Outcome {
    if task.by_hand {
        let (run, instance) = (&task.run_id, task.instance.instance.as_str());
        tracing::warn!(run, instance, script = %task.script, outcome = "dropped", "nobody waits for it: nothing is frozen");
        return not_frozen(&Failure::new(ErrorName::SnapshotNotNow, "it was put back by hand, and nobody would thaw"));
    }
    let (key, found) = claim_of(hooks.context.claims, task).await;
    match found {
        // The instance may be frozen: a retry would come a minute later. The state's time-out ends this.
        Err(failure) => {
            let instance = task.instance.instance.as_str();
            tracing::warn!(instance, error = %failure.name, cause = failure.cause, "the claim cannot be read");
            look_again()
        }
        Ok(None) => begin(hooks, task, &key).await,
        Ok(Some(there)) => match there.claim.command() {
            Some(command) => follow(hooks, task, &there, command).await,
            None if there.claim.state == State::Free => take_over(hooks, task, there).await,
            // Somebody is about to send it, or was killed while that was done.
            None if there.claim.age(hooks.now()) < HOLDER_LIVES => look_again(),
            None => {
                let cause = "whoever sent the pre-script did not live to hear of it";
                perhaps(&Failure::new(ErrorName::SsmUnavailable, cause))
            }
        },
    }
}

/// Claims and sends, where there is something to freeze for.
async fn begin<E: Ec2, C: Claims, S: RunCommand>(hooks: &Hooks<'_, E, C, S>, task: &HookTask, key: &str) -> Outcome {
    let context = hooks.context;
    if let Err(failure) = hooks.document(&task.hook) {
        return not_frozen(&failure);
    }
    let instance = &task.instance.instance;
    let which = SnapshotFilter::OfRun(task.run_id.clone(), vec![instance.clone()]);
    match context.ec2.snapshots(context.home, &which).await {
        Err(error) => return after(error, instance.as_str(), hooks.now()),
        Ok(made) if is_there_already(task, &made) => {
            return done(&PreHooked { frozen: Frozen::Needless, why: None, report: None });
        }
        Ok(_) => {}
    }
    if hooks.is_late() {
        return Outcome::Later(spread(context.settings.retry_seconds, instance.as_str(), hooks.now()));
    }
    match StoredHookClaim::create(context.claims, key, context.attempt, hooks.now()).await {
        Ok(Some(mine)) => send(hooks, task, mine).await,
        Ok(None) => look_again(),
        Err(failure) => Outcome::Retry(failure),
    }
}

async fn take_over<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    mut there: StoredHookClaim,
) -> Outcome {
    match there.take(hooks.context.claims, hooks.context.attempt, hooks.now()).await {
        Ok(true) => send(hooks, task, there).await,
        Ok(false) => look_again(),
        Err(failure) => Outcome::Retry(failure),
    }
}

async fn send<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    mut mine: StoredHookClaim,
) -> Outcome {
    let claims = hooks.context.claims;
    let document = match hooks.document(&task.hook) {
        Ok(document) => document,
        Err(failure) => return not_frozen(&failure),
    };
    let sent = hooks.send(task, &document).await;
    let now = hooks.now();
    let error = match sent {
        Ok(command) => {
            return match mine.sent(claims, command, now).await {
                Ok(true) => look_again(),
                Ok(false) => {
                    perhaps(&Failure::new(ErrorName::StorageFailed, "the claim of the pre-script was changed"))
                }
                Err(failure) => perhaps(&failure),
            };
        }
        Err(error) => error,
    };
    let key = mine.key.clone();
    match error.reaction() {
        // Not for a second time: it may be at work.
        Reaction::MayHaveHappened => perhaps(&error.into()),
        Reaction::Later(seconds) => {
            note(mine.set_free(claims, now), &key).await;
            Outcome::Later(spread(seconds, task.instance.instance.as_str(), now))
        }
        Reaction::Transient => {
            note(mine.set_free(claims, now), &key).await;
            Outcome::Retry(error.into())
        }
        Reaction::Never(_) => {
            note(mine.set_free(claims, now), &key).await;
            not_frozen(&error.into())
        }
    }
}

async fn follow<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    there: &StoredHookClaim,
    command: &str,
) -> Outcome {
    match hooks.follow(task, &there.claim, command).await {
        Followed::NotYet => look_again(),
        Followed::Lost(failure) => perhaps(&failure),
        Followed::Ended(ended) => match pre_end(&ended) {
            // Delivered again, long after: it may have thawed by itself meanwhile.
            PreEnd::Frozen(_) if there.claim.age(hooks.now()) > longest(&task.hook) => {
                let cause = "that the pre-script had ended was seen only after all of its time-outs";
                perhaps(&Failure::new(ErrorName::HookTimedOut, cause))
            }
            PreEnd::Frozen(report) => frozen(report),
            PreEnd::NotFrozen(failure) => not_frozen(&failure),
            PreEnd::Perhaps(failure) => perhaps(&failure),
        },
    }
}

/// Whether the run has a live snapshot of each volume.
fn is_there_already(task: &HookTask, made: &[Snapshot]) -> bool {
    let of = |volume| made.iter().any(|snapshot| snapshot.is_live() && snapshot.volume.as_ref() == Some(volume));
    task.instance.volumes.iter().all(|attachment| of(&attachment.volume))
}

fn done(result: &PreHooked) -> Outcome {
    Outcome::Done(json!(result))
}

fn frozen(report: Option<ScriptReport>) -> Outcome {
    done(&PreHooked { frozen: Frozen::Yes, why: None, report })
}

fn not_frozen(failure: &Failure) -> Outcome {
    done(&PreHooked { frozen: Frozen::No, why: Some(failure.clone().into()), report: None })
}

fn perhaps(failure: &Failure) -> Outcome {
    done(&PreHooked { frozen: Frozen::Perhaps, why: Some(failure.clone().into()), report: None })
}
