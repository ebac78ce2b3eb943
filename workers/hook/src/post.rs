use std::collections::BTreeMap;

use domain::{
    claims::{MAX_DESCRIBE_LAG, State},
    contract::{Begun, HookTask},
    error::{ErrorName, Failure, Reaction},
    fleet::{Snapshot, Tags},
    hooks::{
        claim::{HookClaim, StoredHookClaim},
        script::{Dump, Level, PostEnd, ScriptReport, post_end},
    },
    ids::{SnapshotId, VolumeId},
    labels::{Consistency, consistency_tags},
    outcome::Outcome,
    ports::{Claims, Ec2, RunCommand, SnapshotFilter},
    tags::{CONSISTENCY, CONSISTENCY_REASON, HOOK_EXECUTION, MAX_VALUE},
};
use serde_json::json;

use crate::{Followed, HOLDER_LIVES, Hooks, claim_of, look_again, note};

/// Commands that a post-script is sent with, at most.
const MAX_COMMANDS: usize = 3;
/// Tries to send them, where SSM does not answer or does not reach the instance: two minutes of them, the longest that a
/// hook of Data Lifecycle Manager may take.
const MAX_TRIES: u32 = 12;
/// Seconds between two of these.
const PAUSE: u32 = 10;

/// Runs a post-script, or follows it.
pub(crate) async fn handle<E: Ec2, C: Claims, S: RunCommand>(hooks: &Hooks<'_, E, C, S>, task: &HookTask) -> Outcome {
    let context = hooks.context;
    let (key, found) = claim_of(context.claims, task).await;
    let mut there = match found {
        Err(failure) => return thaw_unclaimed(hooks, task, failure).await,
        Ok(None) => {
            return match StoredHookClaim::create(context.claims, &key, context.attempt, hooks.now()).await {
                Ok(Some(mine)) => send(hooks, task, mine).await,
                Ok(None) => look_again(),
                Err(failure) => thaw_unclaimed(hooks, task, failure).await,
            };
        }
        Ok(Some(there)) => there,
    };
    if let Some(command) = there.claim.command().map(str::to_owned) {
        return follow(hooks, task, there, &command).await;
    }
    if there.claim.state == State::Open && there.claim.age(hooks.now()) < HOLDER_LIVES {
        return look_again();
    }
    match there.take(context.claims, context.attempt, hooks.now()).await {
        Ok(true) => send(hooks, task, there).await,
        Ok(false) => look_again(),
        Err(failure) => thaw_unclaimed(hooks, task, failure).await,
    }
}

/// Sends the post-script although the claims cannot be read or written: to thaw twice does no harm, not to thaw does.
///
/// The message comes back, and the script is followed as soon as the claims answer.
async fn thaw_unclaimed<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    failure: Failure,
) -> Outcome {
    let instance = task.instance.instance.as_str();
    tracing::warn!(instance, error = %failure.name, cause = failure.cause, "the post-script is sent without a claim");
    if let Ok(document) = hooks.document(&task.hook)
        && let Err(error) = hooks.send(task, &document).await
    {
        tracing::error!(instance, error = %error.name(), cause = %error, "the post-script could not be sent");
    }
    Outcome::Retry(failure)
}

async fn send<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    mut mine: StoredHookClaim,
) -> Outcome {
    let document = match hooks.document(&task.hook) {
        Ok(document) => document,
        Err(failure) => return give_up(hooks, task, mine, &failure).await,
    };
    let sent = hooks.send(task, &document).await;
    let now = hooks.now();
    match sent {
        Ok(command) => {
            // Where it cannot be written down, the claim is taken over, and the script is sent once more.
            let key = mine.key.clone();
            note(mine.sent(hooks.context.claims, command, now), &key).await;
            look_again()
        }
        Err(error) => match error.reaction() {
            Reaction::Never(name) if name != ErrorName::HookNotManaged => {
                give_up(hooks, task, mine, &error.into()).await
            }
            _ => failed(hooks, task, mine, &error.into()).await,
        },
    }
}

async fn follow<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    there: StoredHookClaim,
    command: &str,
) -> Outcome {
    let end = match hooks.follow(task, &there.claim, command).await {
        Followed::NotYet => return look_again(),
        Followed::Lost(failure) => return failed(hooks, task, there, &failure).await,
        Followed::Ended(ended) => post_end(&ended),
    };
    let (report, less) = match end {
        PostEnd::Perhaps(failure) => return failed(hooks, task, there, &failure).await,
        PostEnd::Thawed(Ok(report)) => (report, None),
        PostEnd::Thawed(Err(failure)) | PostEnd::ThawedBefore(failure) => (None, Some(failure)),
    };
    // An earlier command may have thawed: that of this one was then no end of the freeze.
    let less = match there.claim.commands.len() {
        0 | 1 => less,
        count => less.or_else(|| {
            let cause = format!("its post-script needed {count} commands: how long it was frozen is not known");
            Some(Failure::new(ErrorName::PostHookFailed, cause))
        }),
    };
    match &task.begun {
        Some(begun) if !task.by_hand && !begun.snapshots.is_empty() => {
            raise(hooks, task, begun, report.as_ref(), less.as_ref()).await
        }
        _ => Outcome::Done(json!({})),
    }
}

/// Another command, or the end: then the instance may still be frozen.
async fn failed<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    mut claim: StoredHookClaim,
    failure: &Failure,
) -> Outcome {
    let HookClaim { tries, commands, .. } = &claim.claim;
    let (run, instance, sent) = (&task.run_id, task.instance.instance.as_str(), commands.len());
    tracing::warn!(run, instance, script = %task.script, outcome = "unknown", error = %failure.name, cause = failure.cause, tries, sent, "not known to be thawed");
    if commands.len() >= MAX_COMMANDS || *tries >= MAX_TRIES {
        return give_up(hooks, task, claim, failure).await;
    }
    let (key, was_sent) = (claim.key.clone(), claim.claim.state == State::Made);
    note(claim.set_free(hooks.context.claims, hooks.now()), &key).await;
    // What was sent and failed is tried again at once; what does not get through, when it may.
    if was_sent { look_again() } else { Outcome::Later(PAUSE) }
}

async fn give_up<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    mut claim: StoredHookClaim,
    failure: &Failure,
) -> Outcome {
    let key = claim.key.clone();
    // Who puts it back by hand has it tried as often again.
    note(claim.forget(hooks.context.claims, hooks.now()), &key).await;
    let cause = format!("{} may still be frozen: {failure}", task.instance.instance);
    let failure = Failure::new(ErrorName::PostHookFailed, cause);
    if let Some(begun) = task.begun.as_ref().filter(|_| !task.by_hand) {
        let reason = failure.to_string();
        let crash = Consistency { level: Level::Crash, reason: Some(&reason), dump: None };
        label(hooks, begun, &consistency_tags(&crash)).await;
    }
    Outcome::Fail(failure)
}

/// Says on the snapshots what they are.
async fn raise<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    task: &HookTask,
    begun: &Begun,
    report: Option<&ScriptReport>,
    less: Option<&Failure>,
) -> Outcome {
    let context = hooks.context;
    let described = context.ec2.snapshots(&begun.region, &SnapshotFilter::Ids(begun.snapshots.clone())).await;
    let described: BTreeMap<SnapshotId, Snapshot> = match described {
        Ok(all) => all.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect(),
        // It is thawed: from here on nobody waits who may not.
        Err(error) => return domain::outcome::after(error, task.instance.instance.as_str(), hooks.now()),
    };
    let is_missing = begun.snapshots.iter().any(|id| !described.contains_key(id));
    if is_missing && hooks.now() - begun.started < MAX_DESCRIBE_LAG {
        return look_again();
    }
    let of_this_freeze = |id: &SnapshotId| {
        described.get(id).is_some_and(|s| s.tags.get(HOOK_EXECUTION).is_some_and(|freeze| *freeze == task.execution_id))
    };
    let pre = task.pre.as_ref().and_then(|pre| pre.report.as_ref());
    let dump = report.and_then(|r| r.dump.as_ref()).or_else(|| pre.and_then(|r| r.dump.as_ref()));
    let found = dump.map(|dump| place_of(dump, task));
    let reason = if let Some(failure) = less {
        Some(failure.to_string())
    } else if let Some(said) = [pre, report].into_iter().flatten().find(|r| r.consistency == Level::Crash) {
        Some(said.reason.clone().unwrap_or_else(|| "the scripts say no more".into()))
    } else if !begun.snapshots.iter().all(of_this_freeze) {
        Some("not all of the set was begun while this hook held the instance frozen".into())
    } else if let Some(outside) = [pre, report].into_iter().flatten().find_map(|said| outside_the_set(said, task)) {
        Some(outside)
    } else {
        found.as_ref().and_then(|found| found.as_ref().err().cloned())
    };
    let known = Consistency {
        level: if reason.is_some() { Level::Crash } else { Level::Application },
        reason: reason.as_deref(),
        dump: dump.zip(found.as_ref().and_then(|found| found.as_ref().ok())),
    };
    let tags = consistency_tags(&known);
    if begun.snapshots.iter().all(|id| described.get(id).is_some_and(|s| carries(&s.tags, &tags))) {
        return Outcome::Done(json!({}));
    }
    match context.ec2.set_tags(&begun.region, &begun.snapshots, &tags).await {
        Ok(()) => Outcome::Done(json!({})),
        Err(error) if matches!(error.reaction(), Reaction::Never(_)) => {
            // The instance is thawed, and its snapshots are there: they stay what they were begun as.
            let instance = task.instance.instance.as_str();
            tracing::error!(instance, error = %error.name(), cause = %error, "the snapshots could not be labelled");
            Outcome::Done(json!({}))
        }
        Err(error) => domain::outcome::after(error, task.instance.instance.as_str(), hooks.now()),
    }
}

fn carries(own: &Tags, wanted: &Tags) -> bool {
    let same = |key: &&str| own.get(*key) == wanted.get(*key);
    [CONSISTENCY, CONSISTENCY_REASON].iter().all(same) && wanted.iter().all(|(key, value)| own.get(key) == Some(value))
}

async fn label<E: Ec2, C, S>(hooks: &Hooks<'_, E, C, S>, begun: &Begun, tags: &Tags) {
    if let Err(error) = hooks.context.ec2.set_tags(&begun.region, &begun.snapshots, tags).await {
        tracing::error!(error = %error.name(), cause = %error, "the snapshots could not be labelled");
    }
}

/// What a script froze and the set does not hold.
fn outside_the_set(said: &ScriptReport, task: &HookTask) -> Option<String> {
    let volumes = &task.instance.volumes;
    if let Some(volume) = said.volumes.iter().find(|volume| !volumes.iter().any(|a| a.volume == **volume)) {
        return Some(format!("{volume} was frozen, and is not snapshotted with this instance"));
    }
    let is_in_set = |device: &&String| volumes.iter().any(|a| is_same_device(&a.device, device));
    let outside = said.unknown_devices.iter().find(|device| !is_in_set(device))?;
    Some(format!("{outside} was frozen, and is none of the volumes that EC2 knows"))
}

/// The volume that a dump is on; why it cannot be found again, else.
fn place_of(dump: &Dump, task: &HookTask) -> Result<VolumeId, String> {
    if dump.path.chars().count() > MAX_VALUE {
        return Err(format!("the path of its dump has more than {MAX_VALUE} characters"));
    }
    let volumes = &task.instance.volumes;
    let told = dump.volume.clone();
    // A disk of the instance store has no volume: that the instance has a single one does not mean that it is the dump's.
    let by_device = || volumes.iter().find(|a| is_same_device(&a.device, &dump.device)).map(|a| a.volume.clone());
    let found = told.or_else(by_device);
    match found {
        None => Err(format!("its dump is on {:?}, which is none of the volumes that EC2 knows", dump.device)),
        Some(volume) if volumes.iter().any(|a| a.volume == volume) => Ok(volume),
        Some(volume) => Err(format!("its dump is on {volume}, which is not snapshotted")),
    }
}

/// Whether an instance names a device as EC2 does: `/dev/xvdf1` is a partition of `/dev/sdf`.
///
/// Source: EC2 user guide, "Device names for volumes".
fn is_same_device(of_ec2: &str, of_instance: &str) -> bool {
    fn bare(device: &str) -> &str {
        let name = device.trim_start_matches("/dev/");
        let name = name.strip_prefix("xvd").or_else(|| name.strip_prefix("sd")).unwrap_or(name);
        name.trim_end_matches(|c: char| c.is_ascii_digit())
    }
    !bare(of_instance).is_empty() && !of_instance.contains("nvme") && bare(of_ec2) == bare(of_instance)
}
