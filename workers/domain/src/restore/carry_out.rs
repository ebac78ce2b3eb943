//! Carries a plan out, one step at a time.
//!
//! Each step looks at what exists, decides from that alone what is missing (`next`), and does it. So it does not matter
//! how an earlier try ended: after a call whose answer was lost, between two volumes, or with the instance stopped.
//! Nothing is ever deleted, and a volume is detached only if the plan has named it.

use chrono::{DateTime, Utc};

pub use super::memory::Memory;
use super::{
    check,
    next::next,
    plan::{Plan, PlannedVolume},
    ports::{Change, Restoring, VolumeState},
    progress::{Event, Made, MadeVolume, Step},
    request::Action,
    todo::{Todo, World, replaced},
};
use crate::{
    error::{Ec2Error, Failure},
    fleet::Tags,
    ids::VolumeId,
    tags::RESTORE_PLAN,
};

/// One step: looks, decides, and does it.
///
/// # Errors
///
/// [`crate::error::ErrorName::KeyNotAccessible`] where a volume has vanished because of its key, and whatever cannot be waited for.
/// After any failure the same request can be made again, and goes on.
pub async fn step(
    port: &impl Restoring,
    plan: &Plan,
    memory: &mut Memory,
    now: DateTime<Utc>,
    tell: &mut dyn FnMut(Event),
) -> Result<Step, Failure> {
    let world = match look(port, plan).await {
        Ok(world) => world,
        Err(error) => return memory.react(&error, plan, None),
    };
    memory.note(plan, &world, tell);
    let todo = next(plan, &world, memory, now)?;
    let (change, of) = match todo {
        Todo::Nothing => return Ok(Step::Finished(made(plan, &world))),
        Todo::Wait(seconds, why) => return Ok(Step::Wait { seconds, why }),
        Todo::Do { change, of } => (change, of),
    };
    if matches!(change, Change::Stop { .. } | Change::Detach { .. }) && !memory.asked_first {
        let asked = check::denied(port, plan, &needed_while_stopped(plan, &world)).await;
        match asked {
            Err(error) => return memory.react(&error, plan, None),
            Ok(problems) => problems.first().map_or(Ok(()), |problem| Err(problem.failure()))?,
        }
        memory.asked_first = true;
    }
    match port.change(&plan.region, &change).await {
        Ok(changed) => {
            memory.refusals.remove(change.action());
            memory.has_done(&change, of, changed, tell);
            Ok(Step::Next)
        }
        Err(error) => memory.react(&error, plan, of.as_ref()),
    }
}

/// What a restore that could not be finished has made so far, and in which state the instance is; none where EC2 does
/// not answer.
pub async fn made_so_far(port: &impl Restoring, plan: &Plan) -> Option<Made> {
    look(port, plan).await.ok().map(|world| made(plan, &world))
}

async fn look(port: &impl Restoring, plan: &Plan) -> Result<World, Ec2Error> {
    let region = &plan.region;
    let of_plan = |tags: &Tags| tags.get(RESTORE_PLAN) == Some(&plan.id);
    let mut world = World::default();
    if plan.image.is_some() {
        world.images = port.restored_images(region).await?;
        world.images.retain(|image| of_plan(&image.tags));
        return Ok(world);
    }
    world.volumes = port.restored_volumes(region).await?;
    world.volumes.retain(|volume| of_plan(&volume.tags) && volume.state != VolumeState::Deleted);
    // The one that counts comes first: one that is in its place already, else the one with the lowest id.
    world.volumes.sort_by_key(|volume| (volume.attached.is_empty(), volume.id.clone()));
    if let Some(id) = plan.action.instance() {
        world.instance = port.instance(region, id).await?;
    }
    let old: Vec<VolumeId> = world.volumes.iter().filter_map(replaced).collect();
    if !old.is_empty() {
        world.old = port.volumes(region, &old).await?;
    }
    if let Action::ReplaceRoot(id) = &plan.action {
        world.tasks = port.root_tasks(region, id).await?;
        world.tasks.retain(|task| of_plan(&task.tags));
    }
    if plan.volumes.iter().any(|volume| volume.initialization_rate.is_some()) && !world.volumes.is_empty() {
        let ids: Vec<VolumeId> = world.volumes.iter().map(|volume| volume.id.clone()).collect();
        world.initialization = match port.initialization(region, &ids).await {
            // One has vanished since it was described: the next look tells which, and why.
            Err(error) if error.code == "InvalidVolume.NotFound" => Vec::new(),
            told => told?,
        };
    }
    Ok(world)
}

/// All that has to be allowed once the instance is stopped: it must not stay so, and its restore must not stay
/// unfinished, for want of a permission.
fn needed_while_stopped(plan: &Plan, world: &World) -> Vec<Change> {
    let Action::Swap(instance) = &plan.action else { return Vec::new() };
    let mut changes = vec![Change::Start { instance: instance.clone() }];
    for planned in &plan.volumes {
        let (Some(volume), Some(device)) = (world.of(planned), &planned.device) else { continue };
        let old =
            world.instance.iter().flat_map(|i| &i.volumes).filter(|a| Some(&a.volume) == replaced(volume).as_ref());
        changes.extend(old.map(|old| Change::Detach {
            volume: old.volume.clone(),
            instance: instance.clone(),
            device: old.device.clone(),
        }));
        let (volume, instance, device) = (volume.id.clone(), instance.clone(), device.clone());
        changes.push(Change::Attach { volume, instance: instance.clone(), device: device.clone() });
        if planned.delete_on_termination {
            changes.push(Change::DeleteOnTermination { instance, device, on: true });
        }
    }
    changes
}

fn made(plan: &Plan, world: &World) -> Made {
    let volume = |planned: &PlannedVolume| {
        let (snapshot, device) = (planned.snapshot.clone(), planned.device.clone());
        Some(MadeVolume { volume: world.of(planned)?.id.clone(), snapshot, device })
    };
    Made {
        volumes: plan.volumes.iter().filter_map(volume).collect(),
        image: world.images.iter().map(|image| image.id.clone()).min(),
        replaced: world.old.iter().map(|old| old.id.clone()).collect(),
        instance_state: world.instance.as_ref().map(|instance| instance.state.clone()),
    }
}

#[cfg(test)]
mod tests;
