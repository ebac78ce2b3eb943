//! The calls that change something, and what EC2 refuses of them.

use super::FakeRestoring;
use crate::{
    error::Ec2Error,
    ids::{InstanceId, VolumeId},
    restore::ports::{
        Attached, AttachmentState, Change, Changed, ImageNow, ImageOrder, RootTask, VolumeNow, VolumeOrder, VolumeState,
    },
};

impl FakeRestoring {
    fn create(&self, order: &VolumeOrder) -> Result<Changed, Ec2Error> {
        let refuse = |code: &str, message: &str| Err(self.error("CreateVolume", code, message));
        if order.client_token.len() > 64 || !order.client_token.is_ascii() {
            return refuse("InvalidParameterValue", "the client token is too long");
        }
        let known = self.tokens.borrow().get(&order.client_token).cloned();
        if let Some((before, id)) = known {
            if before != *order {
                return refuse("IdempotentParameterMismatch", "the parameters are not those of the earlier call");
            }
            // As reported of EC2: aws-ebs-csi-driver 3010, crossplane provider-aws 1858.
            return match self.volumes.borrow().iter().any(|volume| volume.id == id) {
                true => Ok(Changed::Volume(id)),
                false => refuse(
                    "IdempotentParameterMismatch",
                    "The client token you have provided is associated with a resource that is already deleted.",
                ),
            };
        }
        let backups = self.backups.borrow();
        let Some(stored) = backups.iter().find(|stored| stored.snapshot.id == order.snapshot) else {
            return refuse("InvalidSnapshot.NotFound", "there is no such snapshot");
        };
        if !self.zones.borrow().contains(&order.zone) {
            return refuse("InvalidParameterValue", "there is no such zone");
        }
        let made_at = self.made_at.borrow();
        let going_on = made_at.iter().filter(|(id, _)| !self.is_initialized(id));
        let rates: u32 = going_on.filter_map(|(_, (_, order))| order.initialization_rate).sum();
        if order.initialization_rate.is_some_and(|rate| rates + rate > self.rate_of_region.get()) {
            return refuse("VolumeInitializationRateLimitExceeded", "the region has no more");
        }
        drop(made_at);
        let Ok(id) = format!("vol-{}", self.new_id()).parse::<VolumeId>() else { unreachable!("it is an id") };
        self.volumes.borrow_mut().push(VolumeNow {
            id: id.clone(),
            state: VolumeState::Creating,
            zone: order.zone.clone(),
            snapshot: Some(order.snapshot.clone()),
            gib: order.gib,
            encrypted: stored.encrypted || order.kms_key.is_some(),
            tags: order.tags.clone(),
            attached: Vec::new(),
        });
        self.made_at.borrow_mut().insert(id.clone(), (self.time.get(), order.clone()));
        self.tokens.borrow_mut().insert(order.client_token.clone(), (order.clone(), id.clone()));
        Ok(Changed::Volume(id))
    }

    fn attach(&self, volume: &VolumeId, id: &InstanceId, device: &str) -> Result<Changed, Ec2Error> {
        let refuse = |code: &str| Err(self.error("AttachVolume", code, "as EC2 does"));
        let Some(found) = self.volume(volume.as_str()) else { return refuse("InvalidVolume.NotFound") };
        let mut instances = self.instances.borrow_mut();
        let Some(instance) = instances.get_mut(id) else { return refuse("InvalidInstanceID.NotFound") };
        if found.zone != instance.zone {
            return refuse("InvalidVolume.ZoneMismatch");
        }
        match found.state {
            VolumeState::Available => {}
            VolumeState::InUse => return refuse("VolumeInUse"),
            _ => return refuse("IncorrectState"),
        }
        if !["running", "stopped"].contains(&instance.state.as_str()) {
            return refuse("IncorrectState");
        }
        if instance.volumes.iter().any(|attached| attached.device == device) {
            return refuse("InvalidParameterValue");
        }
        instance.volumes.push(Attached {
            instance: id.clone(),
            volume: volume.clone(),
            device: device.to_owned(),
            state: AttachmentState::Attaching,
            delete_on_termination: false,
        });
        Ok(Changed::Done)
    }

    fn detach(&self, volume: &VolumeId, id: &InstanceId) -> Result<Changed, Ec2Error> {
        let mut instances = self.instances.borrow_mut();
        let refuse = |code: &str| Err(self.error("DetachVolume", code, "as EC2 does"));
        let Some(instance) = instances.get_mut(id) else { return refuse("InvalidInstanceID.NotFound") };
        let (root, state) = (instance.root_device.clone(), instance.state.clone());
        match instance.volumes.iter_mut().find(|attached| attached.volume == *volume) {
            None => refuse("IncorrectState"),
            Some(own) if Some(&own.device) == root.as_ref() && state != "stopped" => refuse("OperationNotPermitted"),
            Some(own) => {
                own.state = AttachmentState::Detaching;
                Ok(Changed::Done)
            }
        }
    }

    fn set_state(&self, action: &'static str, id: &InstanceId, from: &[&str], to: &str) -> Result<Changed, Ec2Error> {
        let mut instances = self.instances.borrow_mut();
        match instances.get_mut(id) {
            None => Err(self.error(action, "InvalidInstanceID.NotFound", "there is none")),
            Some(instance) if !from.contains(&instance.state.as_str()) => {
                Err(self.error(action, "IncorrectInstanceState", "not in this state"))
            }
            Some(instance) => {
                if instance.state == from[0] {
                    instance.state = to.to_owned();
                }
                Ok(Changed::Done)
            }
        }
    }

    fn replace_root(&self, change: &Change) -> Result<Changed, Ec2Error> {
        let Change::ReplaceRoot { instance, volume, client_token, tags } = change else { return Ok(Changed::Done) };
        let refuse = |code: &str| Err(self.error("CreateReplaceRootVolumeTask", code, "as EC2 does"));
        if let Some(task) = self.task_tokens.borrow().get(client_token) {
            return Ok(Changed::Task(task.clone()));
        }
        let zone = match self.instances.borrow().get(instance) {
            None => return refuse("InvalidInstanceID.NotFound"),
            Some(instance) if instance.state != "running" => return refuse("IncorrectInstanceState"),
            Some(instance) => instance.zone.clone(),
        };
        match self.volume(volume.as_str()) {
            None => return refuse("InvalidVolume.NotFound"),
            Some(found) if found.state != VolumeState::Available => return refuse("IncorrectState"),
            Some(found) if found.zone != zone => return refuse("InvalidVolume.ZoneMismatch"),
            Some(_) => {}
        }
        let id = format!("replacevol-{}", self.new_id());
        let (state, instance, tags) = ("pending".into(), instance.clone(), tags.clone());
        self.replacing.borrow_mut().insert(id.clone(), (instance.clone(), volume.clone()));
        self.tasks.borrow_mut().push(RootTask { id: id.clone(), instance, state, tags });
        self.task_tokens.borrow_mut().insert(client_token.clone(), id.clone());
        Ok(Changed::Task(id))
    }

    fn register(&self, order: &ImageOrder) -> Result<Changed, Ec2Error> {
        let refuse = |code: &str| Err(self.error("RegisterImage", code, "as EC2 does"));
        if self.images.borrow().iter().any(|image| image.name == order.name) {
            return refuse("InvalidAMIName.Duplicate");
        }
        if !(3..=128).contains(&order.name.len()) {
            return refuse("InvalidAMIName.Malformed");
        }
        if !order.volumes.iter().any(|volume| volume.device == order.root_device) {
            return refuse("InvalidBlockDeviceMapping");
        }
        let id = format!("ami-{}", self.new_id());
        let (name, state, tags) = (order.name.clone(), "pending".into(), order.tags.clone());
        self.images.borrow_mut().push(ImageNow { id: id.clone(), name, state, tags });
        Ok(Changed::Image(id))
    }

    pub(super) fn carry_out(&self, change: &Change) -> Result<Changed, Ec2Error> {
        match change {
            Change::CreateVolume(order) => self.create(order),
            Change::Attach { volume, instance, device } => self.attach(volume, instance, device),
            Change::Detach { volume, instance, .. } => self.detach(volume, instance),
            Change::Stop { instance } => {
                self.set_state(change.action(), instance, &["running", "stopping", "stopped"], "stopping")
            }
            Change::Start { instance } => {
                self.set_state(change.action(), instance, &["stopped", "pending", "running"], "pending")
            }
            Change::ReplaceRoot { .. } => self.replace_root(change),
            Change::RegisterImage(order) => self.register(order),
            Change::DeleteOnTermination { instance, device, on } => {
                let mut instances = self.instances.borrow_mut();
                let own = instances.get_mut(instance).into_iter().flat_map(|instance| &mut instance.volumes);
                own.filter(|a| a.device == *device).for_each(|attached| attached.delete_on_termination = *on);
                Ok(Changed::Done)
            }
            Change::Tag { resources, tags } => {
                let is_meant = |id: &str| resources.iter().any(|wanted| wanted == id);
                for volume in self.volumes.borrow_mut().iter_mut().filter(|volume| is_meant(volume.id.as_str())) {
                    volume.tags.extend(tags.clone());
                }
                for image in self.images.borrow_mut().iter_mut().filter(|image| is_meant(&image.id)) {
                    image.tags.extend(tags.clone());
                }
                Ok(Changed::Done)
            }
        }
    }
}
