//! What a program that carries out a plan knows of its own calls. Nothing of it is needed to go on after a crash.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Ec2Error, ErrorName, Failure, Reaction},
    ids::{SnapshotId, VolumeId},
    restore::{
        identity::is_left,
        plan::Plan,
        ports::{Change, Changed, VolumeState},
        progress::{Event, Step, Waiting},
        todo::{LOOK_SECONDS, LOOKS, World},
    },
    tags::{REPLACED_BY, RESTORED_AT},
};

/// What this process knows of what it has done.
#[derive(Debug, Default)]
pub struct Memory {
    /// The volumes that it has ordered, by snapshot.
    pub(super) ordered: BTreeMap<SnapshotId, Ordered>,
    /// How many tokens are used up, by snapshot.
    pub(super) used_up: BTreeMap<SnapshotId, u32>,
    /// How often in a row each call had no good answer.
    pub(super) refusals: BTreeMap<&'static str, u32>,
    /// The image and the task that it has ordered.
    pub(super) image: Option<String>,
    pub(super) task: Option<String>,
    /// How often it was waited for one of them to be seen.
    pub(super) unseen: u32,
    /// How often the instance was seen stopped since it was started; none before that.
    pub(super) stopped_since: Option<u32>,
    /// Whether it was asked if all that is needed once the instance is stopped will be allowed.
    pub(super) asked_first: bool,
    /// Whether what the plan is made instead of says so.
    pub(super) has_left: bool,
    /// What was told already.
    told: BTreeSet<VolumeId>,
}

#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) volume: VolumeId,
    /// Whether EC2 has described it.
    seen: bool,
    /// How often it was looked for in vain since.
    pub(super) missed: u32,
}

/// A call without a good answer is repeated so often before the restore gives up: it can be run again.
const MAX_REFUSALS: u32 = 24;

impl Memory {
    /// Takes note of what was seen, and tells what an earlier try has made.
    pub(super) fn note(&mut self, plan: &Plan, world: &World, tell: &mut dyn FnMut(Event)) {
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
        let is_stopped = world.instance.as_ref().is_some_and(|instance| instance.state == "stopped");
        self.stopped_since = self.stopped_since.map(|looks| if is_stopped { looks + 1 } else { 0 });
        let is_seen = !world.images.is_empty() || !world.tasks.is_empty();
        self.unseen = if is_seen { 0 } else { self.unseen.saturating_add(1) };
    }

    pub(super) fn has_done(
        &mut self,
        change: &Change,
        of: Option<SnapshotId>,
        changed: Changed,
        tell: &mut dyn FnMut(Event),
    ) {
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
            (Change::Tag { resources, tags }, _) if tags.get(RESTORED_AT).is_some_and(|mark| is_left(mark)) => {
                self.has_left = true;
                tell(Event::Left { resources: resources.clone() });
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
            (Change::Start { instance }, _) => {
                self.stopped_since = Some(0);
                tell(Event::Starting { instance: instance.clone() });
            }
            _ => {}
        }
    }

    /// What follows from an error: every call is one that may be repeated after looking.
    pub(super) fn react(&mut self, error: &Ec2Error, plan: &Plan, of: Option<&SnapshotId>) -> Result<Step, Failure> {
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
