//! Decides what a plan needs next, from what exists.

use chrono::{DateTime, Utc};

use crate::{
    error::{ErrorName, Failure},
    ids::VolumeId,
    restore::{
        check::KEY_ACTIONS,
        identity::left_for,
        memory::Memory,
        orders::{image_order, mark, volume_order},
        performance::INITIALIZATION_RATE_OF_REGION,
        places::{to_attach, to_replace_root, to_swap},
        plan::{Plan, PlannedImage, PlannedVolume},
        ports::{Change, VolumeState},
        progress::Waiting,
        request::Action,
        todo::{LOOK_SECONDS, LOOKS, Todo, World},
    },
    tags::{RESTORED_AT, tags},
};

/// Decides what is to be done next.
///
/// # Errors
///
/// Where nothing can be done, and waiting does not help.
pub fn next(plan: &Plan, world: &World, memory: &Memory, now: DateTime<Utc>) -> Result<Todo, Failure> {
    if !plan.left.is_empty() && !memory.has_left {
        // So that no later request goes on with it, and nothing is kept for it.
        let tags = tags([(RESTORED_AT, left_for(&plan.id).as_str())]);
        return Ok(Todo::change(Change::Tag { resources: plan.left.clone(), tags }));
    }
    if let Some(image) = &plan.image {
        return of_image(plan, image, world, memory, now);
    }
    if let Some(todo) = to_make(plan, world, memory)? {
        return Ok(todo);
    }
    let place = match &plan.action {
        Action::Attach(id) => to_attach(plan, world, id)?,
        Action::Swap(id) => to_swap(plan, world, memory, id)?,
        Action::ReplaceRoot(id) => to_replace_root(plan, world, memory, id)?,
        Action::MakeVolumes | Action::RegisterImage => None,
    };
    if let Some(todo) = place {
        return Ok(todo);
    }
    let unmarked = world.volumes.iter().filter(|v| v.state != VolumeState::Error && !v.tags.contains_key(RESTORED_AT));
    let unmarked: Vec<String> = unmarked.map(|volume| volume.id.to_string()).collect();
    if !unmarked.is_empty() {
        return Ok(Todo::change(mark(unmarked, now)));
    }
    // What is made is marked first: the initialization goes on without this program.
    let rated = plan.volumes.iter().filter(|planned| planned.initialization_rate.is_some());
    let waits = rated.filter_map(|planned| world.of(planned)).any(|volume| world.is_initializing(&volume.id));
    Ok(match waits {
        true => Todo::Wait(30, Waiting::Initializing(world.initialization.clone())),
        false => Todo::Nothing,
    })
}

fn of_image(
    plan: &Plan,
    image: &PlannedImage,
    world: &World,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Result<Todo, Failure> {
    let Some(found) = world.images.iter().min_by_key(|found| &found.id) else {
        return match &memory.image {
            None => Ok(Todo::change(Change::RegisterImage(image_order(plan, image)))),
            Some(id) if memory.unseen < LOOKS => {
                let (image, state) = (id.clone(), "not seen yet".into());
                Ok(Todo::Wait(LOOK_SECONDS, Waiting::Image { image, state }))
            }
            Some(id) => {
                Err(Failure::new(ErrorName::Ec2Refused, format!("the image {id} was registered, and is not there")))
            }
        };
    };
    match found.state.as_str() {
        "available" if found.tags.contains_key(RESTORED_AT) => Ok(Todo::Nothing),
        "available" => Ok(Todo::change(mark(vec![found.id.clone()], now))),
        "pending" => {
            let (image, state) = (found.id.clone(), found.state.clone());
            Ok(Todo::Wait(LOOK_SECONDS, Waiting::Image { image, state }))
        }
        state => Err(Failure::new(
            ErrorName::Ec2Refused,
            format!(
                "the image {} is {state}, and will not become available: with --instead-of {} another one is registered",
                found.id, plan.id
            ),
        )),
    }
}

/// Which volume is to be made, or waited for.
fn to_make(plan: &Plan, world: &World, memory: &Memory) -> Result<Option<Todo>, Failure> {
    let (mut creating, mut at_a_rate) = (Vec::new(), 0);
    let mut missing = None;
    for planned in &plan.volumes {
        let ordered = memory.ordered.get(&planned.snapshot);
        let Some(volume) = world.of(planned) else {
            let failed = world.all_of(&planned.snapshot).find(|v| ordered.is_some_and(|own| own.volume == v.id));
            match ordered {
                Some(own) if failed.is_some() => return Err(vanished(planned, &own.volume, "turned to error")),
                Some(own) if own.missed >= LOOKS => return Err(vanished(planned, &own.volume, "has vanished")),
                Some(own) => {
                    return Ok(Some(Todo::Wait(LOOK_SECONDS, Waiting::ToBeSeen(own.volume.clone()))));
                }
                None => _ = missing.get_or_insert(planned),
            }
            continue;
        };
        if volume.state == VolumeState::Creating {
            creating.push(volume.id.clone());
        }
        if let Some(rate) = planned.initialization_rate.filter(|_| world.is_initializing(&volume.id)) {
            at_a_rate += rate;
        }
    }
    if let Some(planned) = missing {
        if planned.initialization_rate.is_some_and(|rate| at_a_rate + rate > INITIALIZATION_RATE_OF_REGION) {
            return Ok(Some(Todo::Wait(30, Waiting::RateOfRegion)));
        }
        // With the token of a volume that has failed EC2 would answer that very volume.
        let failed = world.all_of(&planned.snapshot).filter(|v| v.state == VolumeState::Error).count();
        let used_up = memory.used_up.get(&planned.snapshot).copied().unwrap_or(0);
        let number = 1 + used_up + u32::try_from(failed).unwrap_or(0);
        let change = Change::CreateVolume(volume_order(plan, planned, number));
        return Ok(Some(Todo::Do { change, of: Some(planned.snapshot.clone()) }));
    }
    Ok(Some(creating).filter(|ids| !ids.is_empty()).map(|ids| Todo::Wait(LOOK_SECONDS, Waiting::Creating(ids))))
}

/// A volume that is gone though EC2 had answered it: with a key that may not be used, that is how EC2 says so.
///
/// `CreateVolume` authenticates the key asynchronously, and reports success (API reference, `KmsKeyId`).
fn vanished(planned: &PlannedVolume, volume: &VolumeId, how: &str) -> Failure {
    let snapshot = &planned.snapshot;
    // The snapshot is read with its own key, and the volume written with the one that is asked for: EC2 does not say
    // which it was.
    let mut keys: Vec<&str> = planned.keys().collect();
    keys.dedup();
    match keys.as_slice() {
        [_, ..] => Failure::new(
            ErrorName::KeyNotAccessible,
            format!(
                "{volume} from {snapshot} {how}: {} could not be used, or somebody has deleted the volume. Whoever \
                 restores needs {} with each key, by the key's policy or by IAM, and each must be enabled",
                keys.join(" or "),
                KEY_ACTIONS.join(", ")
            ),
        ),
        [] if planned.encrypted => Failure::new(
            ErrorName::KeyNotAccessible,
            format!("{volume} from {snapshot} {how}: its key could not be used, or somebody has deleted the volume"),
        ),
        [] => Failure::new(
            ErrorName::VolumeNotFound,
            format!(
                "{volume} from {snapshot} {how}: somebody has deleted it, or the account encrypts by default with a key that \
                 could not be used"
            ),
        ),
    }
}
