//! How volumes come to their places: attached, swapped, or as a root volume.

use crate::{
    error::{ErrorName, Failure},
    fleet::is_living,
    ids::InstanceId,
    restore::{
        identity::client_token,
        memory::Memory,
        orders::hold_tags,
        plan::{Plan, PlannedVolume},
        ports::{Attached, AttachmentState, Change, InstanceNow, RootTask, VolumeNow, VolumeState},
        progress::Waiting,
        todo::{LOOK_SECONDS, LOOKS, Todo, World, attachment, holder, is_same_device, replaced},
    },
    tags::{INSTANCE_WAS, REPLACED_BY, RESTORE_PLAN, tags},
};

fn living<'a>(world: &'a World, id: &InstanceId) -> Result<&'a InstanceNow, Failure> {
    let found = world.instance.as_ref().filter(|instance| is_living(&instance.state));
    found.ok_or_else(|| {
        Failure::new(ErrorName::InstanceNotFound, format!("{id} does not exist any more, or is terminated"))
    })
}

/// Whether a volume can still be attached, or what is in the way.
fn must_be_free(volume: &VolumeNow, instance: &InstanceId) -> Result<(), Failure> {
    match volume.attached.iter().find(|a| a.instance != *instance && a.state != AttachmentState::Detached) {
        None => Ok(()),
        Some(other) => Err(Failure::new(
            ErrorName::InvalidInput,
            format!(
                "{} of this restore is attached to {} at {}: detach it first",
                volume.id, other.instance, other.device
            ),
        )),
    }
}

pub(super) fn to_attach(plan: &Plan, world: &World, id: &InstanceId) -> Result<Option<Todo>, Failure> {
    let instance = living(world, id)?;
    let mut attaching = Vec::new();
    for (planned, volume, device) in placed(plan, world) {
        match attachment(volume, id) {
            Some(at) if !is_same_device(&at.device, device) => return Err(elsewhere(volume, at, device)),
            Some(at) if at.state == AttachmentState::Attached => {}
            Some(_) => attaching.push(volume.id.clone()),
            None => {
                must_be_free(volume, id)?;
                if let Some(other) = holder(instance, device).filter(|other| other.volume != volume.id) {
                    return Err(taken(other));
                }
                return Ok(Some(attach(volume, id, device)));
            }
        }
        if let Some(todo) = deletion(planned, volume, id) {
            return Ok(Some(todo));
        }
    }
    Ok(Some(attaching).filter(|ids| !ids.is_empty()).map(|ids| Todo::Wait(LOOK_SECONDS, Waiting::Attaching(ids))))
}

/// The volumes with their devices.
fn placed<'a>(plan: &'a Plan, world: &'a World) -> impl Iterator<Item = (&'a PlannedVolume, &'a VolumeNow, &'a str)> {
    plan.volumes.iter().filter_map(|planned| Some((planned, world.of(planned)?, planned.device.as_deref()?)))
}

fn attach(volume: &VolumeNow, instance: &InstanceId, device: &str) -> Todo {
    let (volume, instance, device) = (volume.id.clone(), instance.clone(), device.to_owned());
    Todo::change(Change::Attach { volume, instance, device })
}

fn taken(other: &Attached) -> Failure {
    Failure::new(
        ErrorName::InvalidInput,
        format!(
            "{} of {} is taken by {}, which this restore has not to do with",
            other.device, other.instance, other.volume
        ),
    )
}

fn elsewhere(volume: &VolumeNow, at: &Attached, wanted: &str) -> Failure {
    Failure::new(
        ErrorName::InvalidInput,
        format!("{} of this restore is at {} of {}, and should be at {wanted}", volume.id, at.device, at.instance),
    )
}

/// Whether a volume goes with its instance is set as it was; an attachment begins without it.
fn deletion(planned: &PlannedVolume, volume: &VolumeNow, id: &InstanceId) -> Option<Todo> {
    let at = attachment(volume, id)?;
    let wrong = at.state == AttachmentState::Attached && planned.delete_on_termination && !at.delete_on_termination;
    let (instance, device) = (id.clone(), at.device.clone());
    wrong.then(|| Todo::change(Change::DeleteOnTermination { instance, device, on: true }))
}

/// The states of an instance before it was stopped, as its tag says them.
const RUNNING: &str = "running";
const STOPPED: &str = "stopped";

fn wait_for(instance: &InstanceNow, wanted: &'static str) -> Todo {
    let (instance, state) = (instance.id.clone(), instance.state.clone());
    Todo::Wait(LOOK_SECONDS, Waiting::Instance { instance, state, wanted })
}

/// The old volumes get their tags when their places are taken, and nothing has them any more: one that is in use, since
/// the restore was given up, must go on being backed up, and one that was only detached is a problem of each run.
fn to_hold(plan: &Plan, world: &World, id: &InstanceId) -> Option<Todo> {
    let held = |old: &VolumeNow| old.tags.get(REPLACED_BY) == Some(&plan.id);
    let unheld = || world.old.iter().filter(|old| !held(old) && old.state != VolumeState::Deleted);
    let is_free = |old: &&VolumeNow| old.attached.iter().all(|at| at.state == AttachmentState::Detached);
    let resources: Vec<String> = unheld().filter(is_free).map(|old| old.id.to_string()).collect();
    if !resources.is_empty() {
        return Some(Todo::change(Change::Tag { resources, tags: hold_tags(plan) }));
    }
    // EC2's answers may be old: two volumes are not at one device.
    let root = world.instance.as_ref().and_then(|instance| instance.root_device.clone());
    let place = |old: &VolumeNow| {
        let new = world.volumes.iter().find(|new| replaced(new).as_ref() == Some(&old.id))?;
        attachment(new, id).map(|at| at.device.clone()).or_else(|| root.clone())
    };
    let is_leaving = |old: &&VolumeNow| {
        attachment(old, id).is_some_and(|at| place(old).is_some_and(|device| is_same_device(&device, &at.device)))
    };
    let leaving: Vec<_> = unheld().filter(is_leaving).map(|old| old.id.clone()).collect();
    (!leaving.is_empty()).then_some(Todo::Wait(LOOK_SECONDS, Waiting::Detaching(leaving)))
}

/// Starts an instance once: one that stops again would be started without an end.
fn start(instance: &InstanceNow, memory: &Memory) -> Result<Todo, Failure> {
    match memory.stopped_since {
        None => Ok(Todo::change(Change::Start { instance: instance.id.clone() })),
        // EC2's answers may be old.
        Some(looks) if looks < LOOKS => Ok(wait_for(instance, RUNNING)),
        Some(_) => {
            // That one is of the stop before.
            let why = instance.why.as_deref().filter(|why| !why.contains("UserInitiatedShutdown"));
            let why = why.unwrap_or("EC2 does not say why");
            // What EC2 says where a key of one of the volumes may not be used (EC2 user guide, "Troubleshoot instance launch
            // issues"; docs/aws.md).
            let name = match why.contains("Client.InternalError") {
                true => ErrorName::KeyNotAccessible,
                false => ErrorName::Ec2Refused,
            };
            let words = format!(
                "{} has its volumes, was started, and stopped again: {why}. If a volume is encrypted, whoever starts the \
                 instance needs its key; then run the same command again",
                instance.id
            );
            Err(Failure::new(name, words))
        }
    }
}

pub(super) fn to_swap(plan: &Plan, world: &World, memory: &Memory, id: &InstanceId) -> Result<Option<Todo>, Failure> {
    let instance = living(world, id)?;
    // What it was stands on the volumes before it is stopped, so that it is known after a crash.
    let was = placed(plan, world).find_map(|(_, volume, _)| volume.tags.get(INSTANCE_WAS).cloned());
    let unmarked = placed(plan, world).filter(|(_, volume, _)| !volume.tags.contains_key(INSTANCE_WAS));
    let unmarked: Vec<String> = unmarked.map(|(_, volume, _)| volume.id.to_string()).collect();
    let was = match (was, instance.state.as_str()) {
        (Some(was), _) => was,
        (None, "stopping") => return Ok(Some(wait_for(instance, STOPPED))),
        (None, "stopped") => STOPPED.into(),
        (None, _) => RUNNING.into(),
    };
    if !unmarked.is_empty() {
        let tags = tags([(INSTANCE_WAS, was.as_str())]);
        return Ok(Some(Todo::change(Change::Tag { resources: unmarked, tags })));
    }
    let in_place = |volume: &VolumeNow, device: &str| {
        attachment(volume, id)
            .is_some_and(|at| is_same_device(&at.device, device) && at.state == AttachmentState::Attached)
    };
    if placed(plan, world).any(|(_, volume, device)| !in_place(volume, device)) {
        return to_change_places(plan, world, instance).map(Some);
    }
    if was == RUNNING {
        match instance.state.as_str() {
            RUNNING => {}
            STOPPED => return start(instance, memory).map(Some),
            _ => return Ok(Some(wait_for(instance, RUNNING))),
        }
    }
    if let Some(todo) = to_hold(plan, world, id) {
        return Ok(Some(todo));
    }
    // Last: whoever may not change that attribute is not left with an instance that is stopped.
    Ok(placed(plan, world).find_map(|(planned, volume, _)| deletion(planned, volume, id)))
}

/// Stops the instance, detaches the old volumes, and attaches the new ones.
fn to_change_places(plan: &Plan, world: &World, instance: &InstanceNow) -> Result<Todo, Failure> {
    let id = &instance.id;
    // All is looked at before the instance is stopped.
    let mut to_detach = Vec::new();
    let mut detaching = Vec::new();
    let mut attaching = Vec::new();
    let mut to_attach = Vec::new();
    for (_, volume, device) in placed(plan, world) {
        match attachment(volume, id) {
            Some(at) if !is_same_device(&at.device, device) => return Err(elsewhere(volume, at, device)),
            Some(at) if at.state == AttachmentState::Attached => continue,
            Some(_) => {
                attaching.push(volume.id.clone());
                continue;
            }
            None => must_be_free(volume, id)?,
        }
        match holder(instance, device) {
            None => {}
            Some(other) if other.state == AttachmentState::Detaching => detaching.push(other.volume.clone()),
            Some(other) if replaced(volume).as_ref() == Some(&other.volume) => to_detach.push(other),
            Some(other) => return Err(taken(other)),
        }
        to_attach.push((volume, device));
    }
    match instance.state.as_str() {
        STOPPED => {}
        RUNNING => return Ok(Todo::change(Change::Stop { instance: id.clone() })),
        _ => return Ok(wait_for(instance, STOPPED)),
    }
    if let Some(old) = to_detach.first() {
        let (volume, instance, device) = (old.volume.clone(), id.clone(), old.device.clone());
        return Ok(Todo::change(Change::Detach { volume, instance, device }));
    }
    if !detaching.is_empty() {
        return Ok(Todo::Wait(LOOK_SECONDS, Waiting::Detaching(detaching)));
    }
    Ok(match to_attach.first() {
        Some((volume, device)) => attach(volume, id, device),
        None => Todo::Wait(LOOK_SECONDS, Waiting::Attaching(attaching)),
    })
}

pub(super) fn to_replace_root(
    plan: &Plan,
    world: &World,
    memory: &Memory,
    id: &InstanceId,
) -> Result<Option<Todo>, Failure> {
    let instance = living(world, id)?;
    let Some(volume) = plan.volumes.first().and_then(|planned| world.of(planned)) else { return Ok(None) };
    let is = |task: &RootTask, states: &[&str]| states.contains(&task.state.as_str());
    if world.tasks.iter().any(|task| is(task, &["succeeded"])) {
        return Ok(to_hold(plan, world, id));
    }
    if let Some(task) = world.tasks.iter().find(|task| !is(task, &["failed", "failed-detached"])) {
        let (task, state) = (task.id.clone(), task.state.clone());
        return Ok(Some(Todo::Wait(LOOK_SECONDS, Waiting::RootTask { task, state })));
    }
    if let Some(failed) = world.tasks.iter().find(|task| Some(&task.id) == memory.task.as_ref()) {
        let (task, state) = (&failed.id, &failed.state);
        return Err(Failure::new(
            ErrorName::Ec2Refused,
            format!("{task}, which was to put {} in the place of the root volume of {id}, is {state}", volume.id),
        ));
    }
    if let Some(task) = memory.task.as_ref().filter(|_| memory.unseen < LOOKS) {
        let (task, state) = (task.clone(), "not seen yet".into());
        return Ok(Some(Todo::Wait(LOOK_SECONDS, Waiting::RootTask { task, state })));
    }
    // EC2 forgets its tasks in time; the volume is where it belongs nevertheless.
    let root = instance.root_device.as_deref().unwrap_or_default();
    match attachment(volume, id) {
        Some(at) if at.device == root => return Ok(to_hold(plan, world, id)),
        Some(at) => return Err(elsewhere(volume, at, root)),
        None => must_be_free(volume, id)?,
    }
    if let Some(other) = holder(instance, root).filter(|other| replaced(volume).as_ref() != Some(&other.volume)) {
        return Err(taken(other));
    }
    match instance.state.as_str() {
        RUNNING => {}
        "pending" => return Ok(Some(wait_for(instance, RUNNING))),
        state => {
            let why = format!("{id} is {state}: EC2 replaces the root volume of an instance that runs");
            return Err(Failure::new(ErrorName::InvalidInput, why));
        }
    }
    let number = 1 + u32::try_from(world.tasks.len()).unwrap_or(0);
    Ok(Some(Todo::change(Change::ReplaceRoot {
        instance: id.clone(),
        volume: volume.id.clone(),
        client_token: client_token(&plan.id, "root", number),
        tags: tags([(RESTORE_PLAN, plan.id.as_str())]),
    })))
}
