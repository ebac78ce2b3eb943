//! EC2 and KMS in memory, for tests of restores.
//!
//! It refuses what EC2 refuses, and knows no call that deletes. Time passes only in [`FakeRestoring::pass`]: until then
//! volumes are being created, and instances stopped. It can be told to refuse a call, to lose its answer, or to end the
//! program at any call, before or after that is carried out.

mod changes;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    mem::replace,
    task::Poll,
};

use crate::{
    error::{Ec2Error, Failure, LOST_ANSWER},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    restore::{
        choose::volume_of,
        ports::{
            Attached, AttachmentState, BackupFilter, Change, Changed, ImageNow, Initialization, InstanceNow, KeyState,
            Permission, Restoring, RootTask, Stored, VolumeNow, VolumeOrder, VolumeState,
        },
    },
    tags::{RESTORE_PLAN, SnapshotTags},
};

/// The code of a call at which the program ends.
pub const KILLED: &str = "Killed";

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this code and message, and nothing happens.
    Refused(&'static str, &'static str),
    /// It is carried out, and the answer is lost.
    AnswerLost,
}

/// At which call the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The number of the call, from 1.
    pub at: usize,
    /// Whether EC2 carries it out.
    pub carried_out: bool,
}

/// EC2 and KMS in memory. There is one region.
#[derive(Debug, Default)]
pub struct FakeRestoring {
    pub backups: RefCell<Vec<Stored>>,
    pub zones: RefCell<Vec<String>>,
    pub volumes: RefCell<Vec<VolumeNow>>,
    pub instances: RefCell<BTreeMap<InstanceId, InstanceNow>>,
    pub images: RefCell<Vec<ImageNow>>,
    pub tasks: RefCell<Vec<RootTask>>,
    /// The state of each key; one that is not here is not found.
    pub keys: RefCell<BTreeMap<String, KeyState>>,
    /// The keys with which a volume vanishes.
    pub revoked: RefCell<BTreeSet<String>>,
    /// The calls that would be denied.
    pub denied: RefCell<BTreeSet<&'static str>>,
    /// How long a new volume is not described.
    pub lag: Cell<u32>,
    /// Whether other tasks run at each call.
    pub paced: Cell<bool>,
    /// MiB/s at which volumes may be initialised at one time.
    pub rate_of_region: Cell<u32>,
    /// Whether an instance stops again as soon as it is started.
    pub stops_again: Cell<bool>,
    /// Whether a task that replaces a root volume fails.
    pub tasks_fail: Cell<bool>,
    /// Every call.
    pub calls: RefCell<Vec<&'static str>>,
    /// Every change that was asked for.
    pub changes: RefCell<Vec<Change>>,
    kill: Cell<Option<Kill>>,
    faults: RefCell<BTreeMap<&'static str, VecDeque<Fault>>>,
    tokens: RefCell<BTreeMap<String, (VolumeOrder, VolumeId)>>,
    task_tokens: RefCell<BTreeMap<String, String>>,
    made_at: RefCell<BTreeMap<VolumeId, (u32, VolumeOrder)>>,
    replacing: RefCell<BTreeMap<String, (InstanceId, VolumeId)>>,
    time: Cell<u32>,
    last_id: Cell<u32>,
}

impl FakeRestoring {
    /// An account without anything, in a region with these zones.
    pub fn new(zones: &[&str]) -> Self {
        let fake = Self::default();
        fake.zones.replace(zones.iter().map(|zone| (*zone).to_owned()).collect());
        fake.rate_of_region.set(5_000);
        fake
    }

    /// Adds an instance with volumes at devices, the root volume first.
    pub fn add_instance(&self, id: &str, zone: &str, state: &str, volumes: &[(&str, &str)]) {
        let Ok(instance) = id.parse::<InstanceId>() else { return };
        let attached: Vec<Attached> = volumes
            .iter()
            .filter_map(|(device, volume)| {
                Some(Attached {
                    instance: instance.clone(),
                    volume: volume.parse().ok()?,
                    device: (*device).to_owned(),
                    state: AttachmentState::Attached,
                    delete_on_termination: false,
                })
            })
            .collect();
        for own in &attached {
            self.volumes.borrow_mut().push(VolumeNow {
                id: own.volume.clone(),
                state: VolumeState::InUse,
                zone: zone.to_owned(),
                snapshot: None,
                gib: 8,
                encrypted: false,
                tags: BTreeMap::new(),
                attached: vec![own.clone()],
            });
        }
        let now = InstanceNow {
            id: instance.clone(),
            state: state.to_owned(),
            why: None,
            zone: zone.to_owned(),
            on_outpost: false,
            architecture: Some("x86_64".into()),
            boot_mode: None,
            root_device: volumes.first().map(|(device, _)| (*device).to_owned()),
            root_is_ebs: true,
            ena: true,
            billing: Vec::new(),
            tags: BTreeMap::new(),
            volumes: attached,
        };
        self.instances.borrow_mut().insert(instance, now);
    }

    /// Attaches a volume to one more instance (Multi-Attach).
    pub fn share(&self, volume: &str, instance: &str) {
        let Ok(instance) = instance.parse::<InstanceId>() else { return };
        for own in self.volumes.borrow_mut().iter_mut().filter(|own| own.id.as_str() == volume) {
            let more = own.attached.first().map(|at| Attached { instance: instance.clone(), ..at.clone() });
            own.attached.extend(more);
        }
    }

    /// The program ends at a call, counted from now.
    pub fn kill_at(&self, at: usize, carried_out: bool) {
        self.kill.set(Some(Kill { at: self.calls.borrow().len() + at, carried_out }));
    }

    /// The program does not end.
    pub fn spare(&self) {
        self.kill.set(None);
    }

    /// Makes the next calls of an action fail, in turn.
    pub fn fail_next(&self, action: &'static str, fault: Fault) {
        self.faults.borrow_mut().entry(action).or_default().push_back(fault);
    }

    /// How often an action was called.
    pub fn count(&self, action: &str) -> usize {
        self.calls.borrow().iter().filter(|called| **called == action).count()
    }

    /// The volumes that restores have made.
    pub fn restored(&self) -> Vec<VolumeNow> {
        self.volumes.borrow().iter().filter(|volume| volume.tags.contains_key(RESTORE_PLAN)).cloned().collect()
    }

    /// A volume.
    pub fn volume(&self, id: &str) -> Option<VolumeNow> {
        self.volumes.borrow().iter().find(|volume| volume.id.as_str() == id).cloned()
    }

    /// Somebody deletes a volume.
    pub fn lose(&self, id: &VolumeId) {
        self.volumes.borrow_mut().retain(|volume| volume.id != *id);
    }

    /// Time passes: what was begun goes on.
    pub fn pass(&self) {
        self.time.set(self.time.get() + 1);
        let made_at = self.made_at.borrow();
        let vanishes = |volume: &VolumeNow| {
            let key = made_at.get(&volume.id).and_then(|(_, order)| {
                let stored = self.backups.borrow().iter().find(|s| s.snapshot.id == order.snapshot)?.kms_key.clone();
                order.kms_key.clone().or(stored)
            });
            volume.state == VolumeState::Creating && key.is_some_and(|key| self.revoked.borrow().contains(&key))
        };
        self.volumes.borrow_mut().retain(|volume| !vanishes(volume));
        for volume in self.volumes.borrow_mut().iter_mut() {
            if volume.state == VolumeState::Creating {
                volume.state = VolumeState::Available;
            }
        }
        for instance in self.instances.borrow_mut().values_mut() {
            instance.state = match instance.state.as_str() {
                "stopping" => "stopped".into(),
                "pending" if self.stops_again.get() => {
                    instance.why = Some("Client.InternalError: Client error on launch".into());
                    "stopped".into()
                }
                "pending" => "running".into(),
                other => other.to_owned(),
            };
            for attached in &mut instance.volumes {
                attached.state = match attached.state {
                    AttachmentState::Attaching => AttachmentState::Attached,
                    AttachmentState::Detaching => AttachmentState::Detached,
                    other => other,
                };
            }
            instance.volumes.retain(|attached| attached.state != AttachmentState::Detached);
        }
        for image in self.images.borrow_mut().iter_mut().filter(|image| image.state == "pending") {
            image.state = "available".into();
        }
        for task in self.tasks.borrow_mut().iter_mut() {
            task.state = match task.state.as_str() {
                "pending" => "in-progress".into(),
                "in-progress" if self.tasks_fail.get() => "failed".into(),
                "in-progress" => {
                    self.put_in_place(&task.id);
                    "succeeded".into()
                }
                other => other.to_owned(),
            };
        }
        self.align();
    }

    fn put_in_place(&self, task: &str) {
        let replacing = self.replacing.borrow();
        let Some((id, volume)) = replacing.get(task) else { return };
        if let Some(instance) = self.instances.borrow_mut().get_mut(id) {
            let root = instance.root_device.clone().unwrap_or_default();
            instance.volumes.retain(|attached| attached.device != root);
            instance.volumes.push(Attached {
                instance: id.clone(),
                volume: volume.clone(),
                device: root,
                state: AttachmentState::Attached,
                delete_on_termination: false,
            });
        }
    }

    /// Volumes say the same of attachments as instances.
    fn align(&self) {
        let instances = self.instances.borrow();
        for volume in self.volumes.borrow_mut().iter_mut() {
            let own = instances.values().flat_map(|i| &i.volumes).filter(|attached| attached.volume == volume.id);
            volume.attached = own.cloned().collect();
            if matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
                volume.state = if volume.attached.is_empty() { VolumeState::Available } else { VolumeState::InUse };
            }
        }
    }

    fn new_id(&self) -> String {
        self.last_id.set(self.last_id.get() + 1);
        format!("{:017x}", 0xabc_0000 + self.last_id.get())
    }

    fn error(&self, action: &'static str, code: &str, message: &str) -> Ec2Error {
        Ec2Error { action, region: "here".into(), code: code.into(), message: message.into() }
    }

    /// A call begins; whether its answer is lost, and how.
    async fn enter(&self, action: &'static str) -> Result<Option<&'static str>, Ec2Error> {
        if self.paced.get() {
            let mut go_on = false;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if replace(&mut go_on, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        self.calls.borrow_mut().push(action);
        if let Some(kill) = self.kill.get().filter(|kill| self.calls.borrow().len() >= kill.at) {
            // Once it has ended, a program makes no other call.
            return match kill.carried_out && self.calls.borrow().len() == kill.at {
                true => Ok(Some(KILLED)),
                false => Err(self.error(action, KILLED, "the program has ended")),
            };
        }
        match self.faults.borrow_mut().get_mut(action).and_then(VecDeque::pop_front) {
            None => Ok(None),
            Some(Fault::AnswerLost) => Ok(Some(LOST_ANSWER)),
            Some(Fault::Refused(code, message)) => Err(self.error(action, code, message)),
        }
    }

    fn answer<T>(&self, action: &'static str, lost: Option<&str>, answer: T) -> Result<T, Ec2Error> {
        match lost {
            None => Ok(answer),
            Some(code) => Err(self.error(action, code, "the answer did not come")),
        }
    }

    fn described(&self) -> Vec<VolumeNow> {
        let made_at = self.made_at.borrow();
        let is_seen =
            |volume: &VolumeNow| made_at.get(&volume.id).is_none_or(|(at, _)| at + self.lag.get() <= self.time.get());
        self.volumes.borrow().iter().filter(|volume| is_seen(volume)).cloned().collect()
    }

    fn is_initialized(&self, volume: &VolumeId) -> bool {
        self.made_at.borrow().get(volume).is_none_or(|(at, _)| at + 3 <= self.time.get())
    }
}

impl Restoring for FakeRestoring {
    async fn backups(&self, _: &Region, which: &BackupFilter) -> Result<Vec<Stored>, Ec2Error> {
        let lost = self.enter("DescribeSnapshots").await?;
        let matches = |stored: &&Stored| match which {
            BackupFilter::OfInstance(id) => {
                SnapshotTags::read(&stored.snapshot.tags).source_instance.is_some_and(|of| of == *id)
            }
            BackupFilter::OfVolumes(ids) => volume_of(stored).is_some_and(|volume| ids.contains(&volume)),
            BackupFilter::Ids(ids) => ids.contains(&stored.snapshot.id),
        };
        let found = self.backups.borrow().iter().filter(matches).cloned().collect();
        self.answer("DescribeSnapshots", lost, found)
    }

    async fn zones(&self, _: &Region) -> Result<Vec<String>, Ec2Error> {
        let lost = self.enter("DescribeAvailabilityZones").await?;
        self.answer("DescribeAvailabilityZones", lost, self.zones.borrow().clone())
    }

    async fn instance(&self, _: &Region, id: &InstanceId) -> Result<Option<InstanceNow>, Ec2Error> {
        let lost = self.enter("DescribeInstances").await?;
        self.answer("DescribeInstances", lost, self.instances.borrow().get(id).cloned())
    }

    async fn volumes(&self, _: &Region, ids: &[VolumeId]) -> Result<Vec<VolumeNow>, Ec2Error> {
        let lost = self.enter("DescribeVolumes").await?;
        let found = self.described().into_iter().filter(|volume| ids.contains(&volume.id)).collect();
        self.answer("DescribeVolumes", lost, found)
    }

    async fn restored_volumes(&self, _: &Region) -> Result<Vec<VolumeNow>, Ec2Error> {
        let lost = self.enter("DescribeVolumes").await?;
        let found = self.described().into_iter().filter(|volume| volume.tags.contains_key(RESTORE_PLAN)).collect();
        self.answer("DescribeVolumes", lost, found)
    }

    async fn restored_images(&self, _: &Region) -> Result<Vec<ImageNow>, Ec2Error> {
        let lost = self.enter("DescribeImages").await?;
        self.answer("DescribeImages", lost, self.images.borrow().clone())
    }

    async fn root_tasks(&self, _: &Region, id: &InstanceId) -> Result<Vec<RootTask>, Ec2Error> {
        let lost = self.enter("DescribeReplaceRootVolumeTasks").await?;
        let found = self.tasks.borrow().iter().filter(|task| task.instance == *id).cloned().collect();
        self.answer("DescribeReplaceRootVolumeTasks", lost, found)
    }

    async fn initialization(&self, _: &Region, ids: &[VolumeId]) -> Result<Vec<Initialization>, Ec2Error> {
        let lost = self.enter("DescribeVolumeStatus").await?;
        let state = |volume: &VolumeId| {
            let done = self.is_initialized(volume);
            let volume = volume.clone();
            Initialization { volume, done, progress: Some(if done { 100 } else { 40 }), seconds_left: None }
        };
        self.answer("DescribeVolumeStatus", lost, ids.iter().map(state).collect())
    }

    async fn key(&self, _: &Region, key: &str) -> Result<KeyState, Failure> {
        let lost = self.enter("DescribeKey").await?;
        let state = self.keys.borrow().get(key).cloned().unwrap_or(KeyState::NotFound);
        Ok(self.answer("DescribeKey", lost, state)?)
    }

    async fn change(&self, _: &Region, change: &Change) -> Result<Changed, Ec2Error> {
        let action = change.action();
        let lost = self.enter(action).await?;
        if self.denied.borrow().contains(action) {
            return Err(self.error(action, "UnauthorizedOperation", "You are not authorized"));
        }
        self.changes.borrow_mut().push(change.clone());
        let changed = self.carry_out(change)?;
        self.align();
        self.answer(action, lost, changed)
    }

    async fn allowed(&self, _: &Region, change: &Change) -> Result<Permission, Ec2Error> {
        let lost = self.enter("DryRun").await?;
        let denied = self.denied.borrow().contains(change.action());
        let answer = if denied { Permission::Denied("You are not authorized".into()) } else { Permission::Granted };
        self.answer("DryRun", lost, answer)
    }
}

/// The ids of the snapshots of some volumes, sorted.
pub fn sources(volumes: &[VolumeNow]) -> Vec<SnapshotId> {
    let mut ids: Vec<SnapshotId> = volumes.iter().filter_map(|volume| volume.snapshot.clone()).collect();
    ids.sort();
    ids
}
