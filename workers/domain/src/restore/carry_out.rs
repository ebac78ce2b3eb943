//! Carries a plan out, one step at a time.
//!
//! Each step looks at what exists, decides from that alone what is missing ([`next`]), and does it. So it does not matter
//! how an earlier try ended: after a call whose answer was lost, between two volumes, or with the instance stopped.
//! Nothing is ever deleted, and a volume is detached only if the plan has named it.
//!
//! What a process knows of its own calls is in [`Memory`]; nothing of it is needed to go on after a crash.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    error::{Ec2Error, ErrorName, Failure, Reaction},
    fleet::Tags,
    ids::{InstanceId, SnapshotId, VolumeId},
    restore::{
        check::{self, KEY_ACTIONS},
        identity::client_token,
        performance::INITIALIZATION_RATE_OF_REGION,
        plan::{Plan, PlannedImage, PlannedVolume},
        ports::{
            Attached, AttachmentState, Change, Changed, ImageNow, ImageOrder, ImageVolume, Initialization, InstanceNow,
            Restoring, RootTask, VolumeNow, VolumeOrder, VolumeState,
        },
        progress::{Event, Made, MadeVolume, Step, Waiting},
        request::Action,
    },
    tags::{BACKUP, Backup, INSTANCE_WAS, REPLACED_BY, REPLACES, RESTORE_PLAN, RESTORED_AT, RESTORED_FROM, tags},
};

/// What this process knows of what it has done.
#[derive(Debug, Default)]
pub struct Memory {
    /// The volumes that it has ordered, by snapshot.
    ordered: BTreeMap<SnapshotId, Ordered>,
    /// How many tokens are used up, by snapshot.
    used_up: BTreeMap<SnapshotId, u32>,
    /// How often in a row each call had no good answer.
    refusals: BTreeMap<&'static str, u32>,
    /// The image and the task that it has ordered.
    image: Option<String>,
    task: Option<String>,
    /// How often it was waited for one of them to be seen.
    unseen: u32,
    /// Whether it was asked if all that is needed once the instance is stopped will be allowed.
    asked_first: bool,
    /// What was told already.
    told: BTreeSet<VolumeId>,
}

#[derive(Debug)]
struct Ordered {
    volume: VolumeId,
    /// Whether EC2 has described it.
    seen: bool,
    /// How often it was looked for in vain since.
    missed: u32,
}

/// What exists at this moment, of what concerns a plan.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The plan's volumes.
    pub volumes: Vec<VolumeNow>,
    /// The volumes whose place they take.
    pub old: Vec<VolumeNow>,
    /// The instance.
    pub instance: Option<InstanceNow>,
    /// The plan's images.
    pub images: Vec<ImageNow>,
    /// The plan's tasks.
    pub tasks: Vec<RootTask>,
    /// How far the plan's volumes are initialised, where they have a rate.
    pub initialization: Vec<Initialization>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo {
    /// This change; of a volume, for this snapshot.
    #[allow(missing_docs)]
    Do { change: Change, of: Option<SnapshotId> },
    /// Nothing now.
    Wait(u32, Waiting),
    /// Nothing any more.
    Nothing,
}

impl Todo {
    fn change(change: Change) -> Self {
        Self::Do { change, of: None }
    }
}

/// A volume that was ordered is looked for so often, with [`LOOK_SECONDS`] between.
const LOOKS: u32 = 24;
/// Seconds between two looks at something that changes soon.
const LOOK_SECONDS: u32 = 5;
/// A call without a good answer is repeated so often before the restore gives up: it can be run again.
const MAX_REFUSALS: u32 = 24;

/// The order of a volume. `number` counts the tokens that are used up, from 1.
pub fn volume_order(plan: &Plan, volume: &PlannedVolume, number: u32) -> VolumeOrder {
    let place = plan.volumes.iter().filter(|other| other.snapshot < volume.snapshot).count() + 1;
    VolumeOrder {
        zone: plan.zone.clone().unwrap_or_default(),
        snapshot: volume.snapshot.clone(),
        volume_type: volume.performance.volume_type,
        iops: volume.performance.iops,
        throughput: volume.performance.throughput,
        gib: volume.gib,
        kms_key: volume.kms_key.clone(),
        initialization_rate: volume.initialization_rate,
        tags: volume.tags.clone(),
        client_token: client_token(&plan.id, &format!("v{place}"), number),
    }
}

/// The order of the image.
pub fn image_order(plan: &Plan, image: &PlannedImage) -> ImageOrder {
    let volume = |volume: &PlannedVolume| ImageVolume {
        device: volume.device.clone().unwrap_or_default(),
        snapshot: volume.snapshot.clone(),
        volume_type: volume.performance.volume_type,
        iops: volume.performance.iops,
        throughput: volume.performance.throughput,
        gib: volume.gib,
        delete_on_termination: volume.delete_on_termination,
    };
    ImageOrder {
        name: image.name.clone(),
        description: image.description.clone(),
        architecture: image.architecture.clone(),
        boot_mode: image.boot_mode.clone(),
        root_device: image.root_device.clone(),
        ena: image.ena,
        volumes: plan.volumes.iter().map(volume).collect(),
        tags: image.tags.clone(),
    }
}

/// The tags of the volumes whose place is taken: they, and their backups, stay.
pub fn hold_tags(plan: &Plan) -> Tags {
    tags([(BACKUP, Backup::Hold.as_str()), (REPLACED_BY, &plan.id)])
}

/// One step: looks, decides, and does it.
///
/// # Errors
///
/// [`ErrorName::KeyNotAccessible`] where a volume has vanished because of its key, and whatever cannot be waited for.
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
        world.initialization = port.initialization(region, &ids).await?;
    }
    Ok(world)
}

/// The volume whose place a volume takes.
fn replaced(volume: &VolumeNow) -> Option<VolumeId> {
    volume.tags.get(REPLACES)?.parse().ok()
}

/// All that has to be allowed once the instance is stopped: it must not stay so for want of a permission.
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
        changes.push(Change::Attach { volume, instance, device });
    }
    changes
}

impl World {
    /// The volume that was made for a planned one. One in `error` is none.
    fn of(&self, planned: &PlannedVolume) -> Option<&VolumeNow> {
        self.all_of(&planned.snapshot).find(|volume| volume.state != VolumeState::Error)
    }

    fn all_of(&self, snapshot: &SnapshotId) -> impl Iterator<Item = &VolumeNow> {
        self.volumes.iter().filter(move |v| v.tags.get(RESTORED_FROM).is_some_and(|from| from == snapshot.as_str()))
    }

    /// Whether a volume is still being initialised at its rate.
    fn is_initializing(&self, volume: &VolumeId) -> bool {
        !self.initialization.iter().any(|found| found.volume == *volume && found.done)
    }
}

/// Decides what is to be done next.
///
/// # Errors
///
/// Where nothing can be done, and waiting does not help.
pub fn next(plan: &Plan, world: &World, memory: &Memory, now: DateTime<Utc>) -> Result<Todo, Failure> {
    if let Some(image) = &plan.image {
        return of_image(plan, image, world, memory, now);
    }
    if let Some(todo) = to_make(plan, world, memory)? {
        return Ok(todo);
    }
    let place = match &plan.action {
        Action::Attach(id) => to_attach(plan, world, id)?,
        Action::Swap(id) => to_swap(plan, world, id)?,
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

fn mark(resources: Vec<String>, now: DateTime<Utc>) -> Change {
    let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    Change::Tag { resources, tags: tags([(RESTORED_AT, at.as_str())]) }
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
        state => Err(Failure::new(ErrorName::Ec2Refused, format!("the image {} is {state}", found.id))),
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
    match planned.kms_key.as_ref().or(planned.snapshot_key.as_ref()) {
        Some(key) => Failure::new(
            ErrorName::KeyNotAccessible,
            format!(
                "{volume} from {snapshot} {how}: {key} could not be used. Whoever restores needs {} with it, by the key's \
                 policy or by IAM, and the key must be enabled",
                KEY_ACTIONS.join(", ")
            ),
        ),
        None if planned.encrypted => Failure::new(
            ErrorName::KeyNotAccessible,
            format!("{volume} from {snapshot} {how}: its key could not be used"),
        ),
        None => Failure::new(
            ErrorName::VolumeNotFound,
            format!(
                "{volume} from {snapshot} {how}: somebody has deleted it, or the account encrypts by default with a key that \
                 could not be used"
            ),
        ),
    }
}

/// The attachment of a volume to an instance.
fn attachment<'a>(volume: &'a VolumeNow, instance: &InstanceId) -> Option<&'a Attached> {
    volume.attached.iter().find(|a| a.instance == *instance && a.state != AttachmentState::Detached)
}

/// What is at a device of an instance.
fn holder<'a>(instance: &'a InstanceNow, device: &str) -> Option<&'a Attached> {
    instance.volumes.iter().find(|a| a.device == device && a.state != AttachmentState::Detached)
}

fn living<'a>(world: &'a World, id: &InstanceId) -> Result<&'a InstanceNow, Failure> {
    let found = world.instance.as_ref().filter(|i| !["terminated", "shutting-down"].contains(&i.state.as_str()));
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

fn to_attach(plan: &Plan, world: &World, id: &InstanceId) -> Result<Option<Todo>, Failure> {
    let instance = living(world, id)?;
    let mut attaching = Vec::new();
    for (planned, volume, device) in placed(plan, world) {
        match attachment(volume, id) {
            Some(at) if at.device != device => return Err(elsewhere(volume, at, device)),
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

/// The old volumes get their tags before anything happens to them.
fn to_hold(plan: &Plan, world: &World) -> Option<Todo> {
    let held = |old: &&VolumeNow| old.tags.get(REPLACED_BY) == Some(&plan.id);
    let unheld = world.old.iter().filter(|old| !held(old) && old.state != VolumeState::Deleted);
    let resources: Vec<String> = unheld.map(|old| old.id.to_string()).collect();
    (!resources.is_empty()).then(|| Todo::change(Change::Tag { resources, tags: hold_tags(plan) }))
}

fn to_swap(plan: &Plan, world: &World, id: &InstanceId) -> Result<Option<Todo>, Failure> {
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
    if let Some(todo) = to_hold(plan, world) {
        return Ok(Some(todo));
    }
    let in_place = |volume: &VolumeNow, device: &str| {
        attachment(volume, id).is_some_and(|at| at.device == device && at.state == AttachmentState::Attached)
    };
    if placed(plan, world).any(|(_, volume, device)| !in_place(volume, device)) {
        return to_change_places(plan, world, instance).map(Some);
    }
    if let Some(todo) = placed(plan, world).find_map(|(planned, volume, _)| deletion(planned, volume, id)) {
        return Ok(Some(todo));
    }
    Ok(match instance.state.as_str() {
        _ if was != RUNNING => None,
        RUNNING => None,
        STOPPED => Some(Todo::change(Change::Start { instance: id.clone() })),
        _ => Some(wait_for(instance, RUNNING)),
    })
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
            Some(at) if at.device != device => return Err(elsewhere(volume, at, device)),
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

fn to_replace_root(plan: &Plan, world: &World, memory: &Memory, id: &InstanceId) -> Result<Option<Todo>, Failure> {
    let instance = living(world, id)?;
    let Some(volume) = plan.volumes.first().and_then(|planned| world.of(planned)) else { return Ok(None) };
    let is = |task: &RootTask, states: &[&str]| states.contains(&task.state.as_str());
    if world.tasks.iter().any(|task| is(task, &["succeeded"])) {
        return Ok(None);
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
        Some(at) if at.device == root => return Ok(None),
        Some(at) => return Err(elsewhere(volume, at, root)),
        None => must_be_free(volume, id)?,
    }
    if let Some(other) = holder(instance, root).filter(|other| replaced(volume).as_ref() != Some(&other.volume)) {
        return Err(taken(other));
    }
    if let Some(todo) = to_hold(plan, world) {
        return Ok(Some(todo));
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

fn made(plan: &Plan, world: &World) -> Made {
    let volume = |planned: &PlannedVolume| {
        let (snapshot, device) = (planned.snapshot.clone(), planned.device.clone());
        Some(MadeVolume { volume: world.of(planned)?.id.clone(), snapshot, device })
    };
    Made {
        volumes: plan.volumes.iter().filter_map(volume).collect(),
        image: world.images.iter().map(|image| image.id.clone()).min(),
        replaced: world.old.iter().map(|old| old.id.clone()).collect(),
    }
}

impl Memory {
    /// Takes note of what was seen, and tells what an earlier try has made.
    fn note(&mut self, plan: &Plan, world: &World, tell: &mut dyn FnMut(Event)) {
        for planned in &plan.volumes {
            let snapshot = &planned.snapshot;
            if let Some(own) = self.ordered.get_mut(snapshot) {
                let is_seen = world.all_of(snapshot).any(|volume| volume.id == own.volume);
                // What was described and is not any more is looked for only a little longer: EC2's answers may be old.
                own.missed = match (is_seen, own.seen) {
                    (true, _) => 0,
                    (false, true) => own.missed + LOOKS / 4,
                    (false, false) => own.missed + 1,
                };
                own.seen |= is_seen;
            }
            for (at, volume) in world.all_of(snapshot).filter(|v| v.state != VolumeState::Error).enumerate() {
                if self.told.insert(volume.id.clone()) {
                    let (snapshot, volume) = (snapshot.clone(), volume.id.clone());
                    tell(if at == 0 { Event::Found { snapshot, volume } } else { Event::Surplus { snapshot, volume } });
                }
            }
        }
        let is_seen = !world.images.is_empty() || !world.tasks.is_empty();
        self.unseen = if is_seen { 0 } else { self.unseen.saturating_add(1) };
    }

    fn has_done(&mut self, change: &Change, of: Option<SnapshotId>, changed: Changed, tell: &mut dyn FnMut(Event)) {
        match (change, changed) {
            (Change::CreateVolume(_), Changed::Volume(volume)) => {
                if let Some(snapshot) = of {
                    self.told.insert(volume.clone());
                    self.ordered.insert(snapshot.clone(), Ordered { volume: volume.clone(), seen: false, missed: 0 });
                    tell(Event::Created { snapshot, volume });
                }
            }
            (Change::RegisterImage(_), Changed::Image(image)) => {
                (self.image, self.unseen) = (Some(image.clone()), 0);
                tell(Event::Registered { image });
            }
            (Change::ReplaceRoot { instance, .. }, Changed::Task(task)) => {
                (self.task, self.unseen) = (Some(task.clone()), 0);
                tell(Event::ReplacingRoot { instance: instance.clone(), task });
            }
            (Change::Tag { resources, tags }, _) if tags.contains_key(REPLACED_BY) => {
                tell(Event::Held { volumes: resources.iter().filter_map(|id| id.parse().ok()).collect() });
            }
            (Change::Tag { resources, tags }, _) if tags.contains_key(RESTORED_AT) => {
                tell(Event::Finished { resources: resources.clone() });
            }
            (Change::Attach { volume, device, .. }, _) => {
                tell(Event::Attaching { volume: volume.clone(), device: device.clone() });
            }
            (Change::Detach { volume, device, .. }, _) => {
                tell(Event::Detaching { volume: volume.clone(), device: device.clone() });
            }
            (Change::Stop { instance }, _) => tell(Event::Stopping { instance: instance.clone() }),
            (Change::Start { instance }, _) => tell(Event::Starting { instance: instance.clone() }),
            _ => {}
        }
    }

    /// What follows from an error: every call is one that may be repeated after looking.
    fn react(&mut self, error: &Ec2Error, plan: &Plan, of: Option<&SnapshotId>) -> Result<Step, Failure> {
        let (action, code) = (error.action, error.code.clone());
        let wait = |seconds| Ok(Step::Wait { seconds, why: Waiting::Ec2 { action, code: error.code.clone() } });
        if Ec2Error::is_throttle(&code) {
            return wait(10);
        }
        let refusals = self.refusals.entry(action).or_default();
        *refusals += 1;
        let patient = *refusals <= MAX_REFUSALS;
        match (action, code.as_str()) {
            // The token's volume is deleted (so EC2's message says), or not described yet: that is looked for first.
            ("CreateVolume", "IdempotentParameterMismatch") => {
                if let Some(snapshot) = of.filter(|_| error.message.contains("deleted") || *refusals > 3) {
                    *refusals = 0;
                    *self.used_up.entry(snapshot.clone()).or_default() += 1;
                    return Ok(Step::Next);
                }
                wait(LOOK_SECONDS)
            }
            // The account's other volumes have the region's rate.
            ("CreateVolume", code)
                if patient && of.is_some_and(|id| has_rate(plan, id)) && code.ends_with("LimitExceeded") =>
            {
                wait(30)
            }
            _ if patient && is_looked_after(action, &code) => wait(LOOK_SECONDS),
            ("AttachVolume", "AttachmentLimitExceeded") => Err(Failure::new(
                ErrorName::Ec2Refused,
                format!(
                    "{error}: the instance has as many volumes as its type may have; detach one, or attach to another"
                ),
            )),
            ("AttachVolume", "InvalidVolume.ZoneMismatch") => Err(Failure::new(ErrorName::InvalidInput, error)),
            _ => match error.reaction() {
                Reaction::Later(seconds) if patient => wait(seconds.min(10)),
                Reaction::MayHaveHappened | Reaction::Transient if patient => wait(LOOK_SECONDS),
                _ => Err(Failure::new(error.name(), error)),
            },
        }
    }
}

fn has_rate(plan: &Plan, snapshot: &SnapshotId) -> bool {
    plan.volumes.iter().any(|planned| planned.snapshot == *snapshot && planned.initialization_rate.is_some())
}

/// Refusals that say that something is as it was just made, or is not described yet: the next look decides.
fn is_looked_after(action: &str, code: &str) -> bool {
    match action {
        "AttachVolume" => ["VolumeInUse", "IncorrectState", "InvalidVolume.NotFound"].contains(&code),
        "DetachVolume" => ["IncorrectState", "InvalidAttachment.NotFound"].contains(&code),
        "StopInstances" | "StartInstances" => code == "IncorrectInstanceState",
        "CreateTags" => code.ends_with(".NotFound"),
        "ModifyInstanceAttribute" => code.contains("BlockDevice"),
        "CreateReplaceRootVolumeTask" => {
            ["InvalidVolume.NotFound", "IncorrectState", "IncorrectInstanceState"].contains(&code)
        }
        "RegisterImage" => code == "InvalidAMIName.Duplicate",
        _ => false,
    }
}
#[cfg(test)]
mod tests;
