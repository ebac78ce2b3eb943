use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::claims;
use crate::{
    error::{Ec2Error, LOST_ANSWER},
    expiry::Holders,
    fleet::{Attachment, Fleet, Instance, Regions, Snapshot, SnapshotState, Tags, Volume},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::{CopyOrder, CreateSet, Created, Ec2, SnapshotFilter},
    tags,
};

/// What happens to the next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds; the next fault is for the call after it.
    Spared,
    /// It is refused with this code, and nothing happens.
    Refused(&'static str),
    /// It is carried out, and the answer is lost.
    AnswerLost,
}

/// EC2 in memory.
#[derive(Debug)]
pub struct FakeEc2 {
    pub regions: Regions,
    /// Instances of the home region.
    pub instances: RefCell<Vec<Instance>>,
    /// Tags of volumes of the home region.
    pub volume_tags: RefCell<BTreeMap<VolumeId, Tags>>,
    /// Volumes of the home region that are attached to nothing.
    pub detached: RefCell<Vec<VolumeId>>,
    /// The snapshots of each region that images and locks hold.
    pub held_from_outside: RefCell<BTreeMap<Region, Holders>>,
    /// What restores need that are not finished; EC2 would delete it.
    pub restoring: RefCell<BTreeMap<Region, Holders>>,
    pub snapshots: RefCell<BTreeMap<Region, Vec<Snapshot>>>,
    /// The time at which things are begun.
    pub now: Cell<DateTime<Utc>>,
    /// Copies in flight per destination, at most.
    pub copy_limit: Cell<usize>,
    /// How long a new snapshot is not described (EC2 is eventually consistent).
    pub describe_lag: Cell<TimeDelta>,
    /// Whether other tasks run before snapshots are described or copied, and before the answer comes.
    pub paced: Cell<bool>,
    /// Every call: action and region.
    pub calls: RefCell<Vec<(&'static str, Region)>>,
    /// The key that each copy was ordered with.
    pub copy_keys: RefCell<Vec<Option<String>>>,
    faults: RefCell<BTreeMap<&'static str, VecDeque<Fault>>>,
    next_id: Cell<u32>,
}

impl FakeEc2 {
    /// An empty account, with `home` first of the enabled regions.
    pub fn new(enabled: &[&str], now: DateTime<Utc>) -> Self {
        let enabled: Vec<Region> = enabled.iter().filter_map(|code| code.parse().ok()).collect();
        Self {
            regions: Regions {
                home: enabled[0].clone(),
                enabled: enabled.into_iter().collect(),
                disabled: BTreeSet::new(),
            },
            instances: RefCell::default(),
            volume_tags: RefCell::default(),
            detached: RefCell::default(),
            held_from_outside: RefCell::default(),
            restoring: RefCell::default(),
            snapshots: RefCell::default(),
            now: Cell::new(now),
            copy_limit: Cell::new(5),
            describe_lag: Cell::new(TimeDelta::zero()),
            paced: Cell::new(false),
            calls: RefCell::default(),
            copy_keys: RefCell::default(),
            faults: RefCell::default(),
            next_id: Cell::new(1),
        }
    }

    /// Adds a running instance with its volumes at `/dev/sda1`, `/dev/sdb`, ….
    pub fn add_instance(&self, id: &str, own: &[(&str, &str)], volumes: &[&str]) {
        let devices = ["/dev/sda1", "/dev/sdb", "/dev/sdc", "/dev/sdd"];
        let attached = devices.iter().zip(volumes).filter_map(|(device, volume)| {
            Some(Attachment { device: (*device).to_owned(), volume: volume.parse().ok()? })
        });
        if let Ok(id) = id.parse() {
            self.instances.borrow_mut().push(Instance {
                tags: tags::tags(own.iter().copied()),
                root_device: Some("/dev/sda1".into()),
                volumes: attached.collect(),
                ..Instance::new(id, "running")
            });
        }
    }

    /// Adds a snapshot, and returns its id.
    pub fn add_snapshot(
        &self,
        region: &Region,
        volume: Option<&VolumeId>,
        state: SnapshotState,
        own: Tags,
    ) -> SnapshotId {
        let id = self.new_id();
        self.snapshots.borrow_mut().entry(region.clone()).or_default().push(Snapshot {
            id: id.clone(),
            volume: volume.cloned(),
            state,
            started: self.now.get(),
            description: String::new(),
            state_message: None,
            completed: None,
            full_size: None,
            stored: Default::default(),
            tags: own,
        });
        id
    }

    pub fn fleet(&self) -> Fleet {
        let (regions, instances) = (self.regions.clone(), self.instances.borrow().clone());
        Fleet { regions, instances, volumes: self.all_volumes() }
    }

    /// Makes the next call of `action` fail; several faults are met in turn.
    pub fn fail_next(&self, action: &'static str, fault: Fault) {
        self.faults.borrow_mut().entry(action).or_default().push_back(fault);
    }

    /// Completes all pending snapshots.
    pub fn complete_all(&self) {
        self.change(|snapshot| {
            if snapshot.state == SnapshotState::Pending {
                snapshot.state = SnapshotState::Completed;
            }
        });
    }

    pub fn change(&self, mut change: impl FnMut(&mut Snapshot)) {
        self.snapshots.borrow_mut().values_mut().flatten().for_each(&mut change);
    }

    /// The snapshots of a region.
    pub fn held(&self, region: &Region) -> Vec<Snapshot> {
        self.snapshots.borrow().get(region).cloned().unwrap_or_default()
    }

    pub fn count(&self, action: &str) -> usize {
        self.calls.borrow().iter().filter(|(called, _)| *called == action).count()
    }

    fn new_id(&self) -> SnapshotId {
        let number = self.next_id.get();
        self.next_id.set(number + 1);
        match format!("snap-{number:017x}").parse() {
            Ok(id) => id,
            Err(_) => unreachable!("a hexadecimal number is an id"),
        }
    }

    fn error(&self, action: &'static str, region: &Region, code: &str) -> Ec2Error {
        Ec2Error { action, region: region.to_string(), code: code.into(), message: "as the test asked".into() }
    }

    /// Records the call; `Ok(true)` means that it is to be carried out and its answer lost.
    fn enter(&self, action: &'static str, region: &Region) -> Result<bool, Ec2Error> {
        self.calls.borrow_mut().push((action, region.clone()));
        match self.faults.borrow_mut().get_mut(action).and_then(VecDeque::pop_front) {
            None | Some(Fault::Spared) => Ok(false),
            Some(Fault::AnswerLost) => Ok(true),
            Some(Fault::Refused(code)) => Err(self.error(action, region, code)),
        }
    }

    fn answer<T>(&self, action: &'static str, region: &Region, lost: bool, answer: T) -> Result<T, Ec2Error> {
        if lost { Err(self.error(action, region, LOST_ANSWER)) } else { Ok(answer) }
    }

    fn all_volumes(&self) -> Vec<Volume> {
        let mut volumes: BTreeMap<VolumeId, Volume> = BTreeMap::new();
        let tags = |id: &VolumeId| self.volume_tags.borrow().get(id).cloned().unwrap_or_default();
        for id in self.detached.borrow().iter() {
            volumes.insert(id.clone(), Volume { tags: tags(id), ..Volume::new(id.clone()) });
        }
        for instance in self.instances.borrow().iter() {
            for attachment in &instance.volumes {
                let id = &attachment.volume;
                let volume = volumes.entry(id.clone());
                let new = || Volume { tags: tags(id), ..Volume::new(id.clone()) };
                volume.or_insert_with(new).attached_to.push(instance.id.clone());
            }
        }
        volumes.into_values().collect()
    }

    fn begin(&self, region: &Region, volume: Option<&VolumeId>, description: &str, own: &Tags) -> SnapshotId {
        let id = self.add_snapshot(region, volume, SnapshotState::Pending, own.clone());
        self.change(|snapshot| {
            if snapshot.id == id {
                snapshot.description = description.to_owned();
            }
        });
        id
    }
}

impl Ec2 for FakeEc2 {
    async fn regions(&self) -> Result<Regions, Ec2Error> {
        self.enter("DescribeRegions", &self.regions.home)?;
        Ok(self.regions.clone())
    }

    async fn each_instance(&self, visit: &mut dyn FnMut(Instance)) -> Result<(), Ec2Error> {
        self.enter("DescribeInstances", &self.regions.home)?;
        self.instances.borrow().iter().cloned().for_each(visit);
        Ok(())
    }

    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error> {
        self.enter("DescribeVolumes", &self.regions.home)?;
        self.all_volumes().into_iter().for_each(visit);
        Ok(())
    }

    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error> {
        self.enter("DescribeVolumes", &self.regions.home)?;
        let volumes: Vec<Volume> = self.all_volumes().into_iter().filter(|v| ids.contains(&v.id)).collect();
        let having: BTreeSet<&InstanceId> = volumes.iter().flat_map(|v| &v.attached_to).collect();
        if having.is_empty() {
            return Ok((volumes, Vec::new()));
        }
        self.enter("DescribeInstances", &self.regions.home)?;
        let instances = self.instances.borrow().iter().filter(|i| having.contains(&i.id)).cloned().collect();
        Ok((volumes, instances))
    }

    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error> {
        self.enter("DescribeImages", region)?;
        self.enter("DescribeLockedSnapshots", region)?;
        Ok(self.held_from_outside.borrow().get(region).cloned().unwrap_or_default())
    }

    async fn needed_by_restores(&self, region: &Region) -> Result<Holders, Ec2Error> {
        self.enter("DescribeVolumes", region)?;
        Ok(self.restoring.borrow().get(region).cloned().unwrap_or_default())
    }

    async fn each_snapshot(
        &self,
        region: &Region,
        which: &SnapshotFilter,
        visit: &mut dyn FnMut(Snapshot),
    ) -> Result<(), Ec2Error> {
        claims::pause(&self.paced).await;
        self.enter("DescribeSnapshots", region)?;
        let lag = self.describe_lag.get();
        let described = |s: &Snapshot| lag.is_zero() || s.started + lag <= self.now.get();
        self.held(region).into_iter().filter(|s| described(s) && which.matches(s)).for_each(visit);
        claims::pause(&self.paced).await;
        Ok(())
    }

    async fn create_set(&self, set: &CreateSet<'_>) -> Result<Vec<Created>, Ec2Error> {
        let (action, home) = ("CreateSnapshots", &self.regions.home);
        claims::pause(&self.paced).await;
        let lost = self.enter(action, home)?;
        let found = self.instances.borrow().iter().find(|i| i.id == *set.instance).cloned();
        let instance = found
            .filter(|i| i.state != "terminated")
            .ok_or_else(|| self.error(action, home, "InvalidInstanceID.NotFound"))?;
        let created = instance
            .volumes
            .iter()
            .filter(|a| !set.exclude.contains(&a.volume))
            .filter(|a| !(set.exclude_root && Some(&a.device) == instance.root_device.as_ref()))
            .map(|a| Created {
                id: self.begin(home, Some(&a.volume), set.description, set.tags),
                volume: a.volume.clone(),
            })
            .collect();
        self.answer(action, home, lost, created)
    }

    async fn create_one(&self, volume: &Attachment, description: &str, own: &Tags) -> Result<SnapshotId, Ec2Error> {
        let (action, home) = ("CreateSnapshot", &self.regions.home);
        let lost = self.enter(action, home)?;
        let id = self.begin(home, Some(&volume.volume), description, own);
        self.answer(action, home, lost, id)
    }

    async fn copy(&self, order: &CopyOrder<'_>) -> Result<SnapshotId, Ec2Error> {
        let action = "CopySnapshot";
        claims::pause(&self.paced).await;
        let lost = self.enter(action, order.to)?;
        self.copy_keys.borrow_mut().push(order.kms_key.map(str::to_owned));
        let source = self.held(order.from).into_iter().find(|s| s.id == *order.source);
        match source.map(|s| s.state) {
            None => return Err(self.error(action, order.to, "InvalidSnapshot.NotFound")),
            Some(SnapshotState::Completed) => {}
            Some(_) => return Err(self.error(action, order.to, "IncorrectState")),
        }
        let in_flight =
            |s: &&Snapshot| s.state == SnapshotState::Pending && s.tags.contains_key(tags::BACKUP_FROM_REGION);
        if self.held(order.to).iter().filter(in_flight).count() >= self.copy_limit.get() {
            return Err(self.error(action, order.to, "ResourceLimitExceeded"));
        }
        let arbitrary = "vol-ffffffff".parse().ok();
        let id = self.begin(order.to, arbitrary.as_ref(), order.description, order.tags);
        claims::pause(&self.paced).await;
        self.answer(action, order.to, lost, id)
    }

    async fn delete(&self, region: &Region, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        let action = "DeleteSnapshot";
        let lost = self.enter(action, region)?;
        if self.held_from_outside.borrow().get(region).is_some_and(|held| held.contains_key(snapshot)) {
            return Err(self.error(action, region, "InvalidSnapshot.InUse"));
        }
        let mut all = self.snapshots.borrow_mut();
        let held = all.entry(region.clone()).or_default();
        let before = held.len();
        held.retain(|s| s.id != *snapshot);
        if held.len() == before {
            return Err(self.error(action, region, "InvalidSnapshot.NotFound"));
        }
        self.answer(action, region, lost, ())
    }

    async fn keep_forever(&self, region: &Region, snapshot: &SnapshotId, value: &str) -> Result<(), Ec2Error> {
        let lost = self.enter("CreateTags", region)?;
        self.change(|held| {
            if held.id == *snapshot {
                held.tags.insert(tags::KEEP_FOREVER.into(), value.into());
            }
        });
        self.answer("CreateTags", region, lost, ())
    }

    async fn set_tags(&self, region: &Region, snapshots: &[SnapshotId], own: &Tags) -> Result<(), Ec2Error> {
        let lost = self.enter("CreateTags", region)?;
        self.change(|held| {
            if snapshots.contains(&held.id) {
                held.tags.extend(own.clone());
            }
        });
        self.answer("CreateTags", region, lost, ())
    }
}
