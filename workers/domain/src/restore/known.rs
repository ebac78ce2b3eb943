//! From what is known to the parts of a plan: where, which volumes, which image, and what a person should know.

use std::collections::BTreeSet;

use crate::{
    error::{ErrorName, Failure},
    fleet::{InstanceAs, Tags},
    ids::{SnapshotId, VolumeId},
    labels::{instance_as, printable},
    restore::{
        choose::{Set, device_for, volume_of},
        identity::{self, Trace},
        performance::Overrides,
        plan::{Note, PlannedImage, PlannedVolume},
        ports::{Attached, AttachmentState, InstanceNow, Restoring, Stored},
        price,
        recorded::provisioned,
        request::{Action, Request, Target},
        todo::{holder, is_same_device, letters},
    },
    tags::{BACKUP, NAME, REPLACES, RESTORED_FROM},
};

/// Only these names are reserved for a root volume (EC2 user guide, "Device names for volumes").
const ROOT_DEVICES: [&str; 2] = ["/dev/sda1", "/dev/xvda"];

pub(super) fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::InvalidInput, why)
}

/// What a plan is made of.
pub(super) struct Known<'a> {
    pub(super) request: &'a Request,
    pub(super) id: &'a str,
    pub(super) set: &'a Set,
    pub(super) instance: Option<&'a InstanceNow>,
    pub(super) trace: Option<&'a Trace>,
}

impl Known<'_> {
    /// What is recorded of the instance.
    pub(super) fn launched_as(&self) -> InstanceAs {
        self.set.members.iter().find_map(|member| instance_as(&member.snapshot.tags)).unwrap_or_default()
    }

    /// Where: as an earlier try has done it, as is asked for, where the instance is, where it was, or anywhere.
    pub(super) async fn zone(&self, port: &impl Restoring) -> Result<Option<String>, Failure> {
        let Request { region, action, zone: asked, .. } = self.request;
        if *action == Action::RegisterImage {
            return match asked {
                None => Ok(None),
                Some(zone) => Err(refused(format!("{zone}: an image is in no zone; allowed is none with it"))),
            };
        }
        if let Some(instance) = self.instance {
            return match asked.as_ref().filter(|zone| **zone != instance.zone) {
                None => Ok(Some(instance.zone.clone())),
                Some(zone) => {
                    let (id, there) = (&instance.id, &instance.zone);
                    Err(refused(format!(
                        "{zone}: {id} is in {there}, and a volume must be in the zone of its instance"
                    )))
                }
            };
        }
        if let Some(zone) = self.trace.and_then(|trace| trace.zone.clone()) {
            return Ok(Some(zone));
        }
        let mut zones = port.zones(region).await?;
        zones.sort();
        let wanted = asked.clone().or_else(|| self.launched_as().zone.filter(|zone| zones.contains(zone)));
        match wanted {
            Some(zone) if !zones.contains(&zone) => {
                Err(refused(format!("{zone} is no zone of {region}: allowed is {}", zones.join(", "))))
            }
            Some(zone) => Ok(Some(zone)),
            None if zones.is_empty() => Err(refused(format!("{region} has no zone that is available"))),
            None => Ok(zones.into_iter().next()),
        }
    }

    /// The device of the set's root volume, as far as it is known.
    fn root_device(&self) -> Option<String> {
        let devices: Vec<String> = self.set.members.iter().filter_map(device_for).collect();
        let mut names = self.instance.and_then(|i| i.root_device.as_deref()).into_iter().chain(ROOT_DEVICES);
        names.find_map(|name| devices.iter().find(|device| is_same_device(device, name)).cloned())
    }

    /// Whether a member may take the place of a root volume.
    ///
    /// Where one volume or one snapshot was named, it may be one whose device nobody knows.
    fn may_be_root(&self, member: &Stored, root: Option<&str>) -> bool {
        let is_named =
            matches!(self.request.target, Target::Volume(_) | Target::Snapshot(_)) && self.set.members.len() == 1;
        match device_for(member) {
            Some(device) => root == Some(device.as_str()),
            None => is_named,
        }
    }

    pub(super) fn volumes(&self) -> Result<Vec<PlannedVolume>, Failure> {
        let root = self.root_device();
        let only_root = matches!(self.request.action, Action::ReplaceRoot(_));
        let members = self.set.members.iter().filter(|member| !only_root || self.may_be_root(member, root.as_deref()));
        let planned: Vec<PlannedVolume> =
            members.map(|member| self.volume(member, root.as_deref())).collect::<Result<_, _>>()?;
        if planned.is_empty() {
            let devices: Vec<String> = self.set.members.iter().filter_map(device_for).collect();
            let had = if devices.is_empty() { "devices that are not known".into() } else { devices.join(", ") };
            return Err(refused(format!(
                "{}: no volume of this set was a root volume, they were at {had}; allowed is a set with {}, or one volume \
                 or snapshot whose device is not known",
                self.request.target,
                ROOT_DEVICES.join(" or ")
            )));
        }
        Ok(planned)
    }

    fn volume(&self, stored: &Stored, root: Option<&str>) -> Result<PlannedVolume, Failure> {
        let Request { volume_type, iops, throughput, fast, kms_key, backup, action, .. } = self.request;
        let (source_volume, device) = (volume_of(stored), device_for(stored));
        let snapshot = &stored.snapshot;
        let known = source_volume.as_ref().and_then(|volume| provisioned(&snapshot.tags, volume));
        let recorded = known.as_ref().and_then(|known| known.performance);
        let overrides = Overrides { volume_type: *volume_type, iops: *iops, throughput: *throughput };
        let performance = recorded.unwrap_or_default().with(overrides);
        let label = source_volume.as_ref().map_or_else(|| snapshot.id.to_string(), VolumeId::to_string);
        performance.check(stored.gib).map_err(|why| refused(format!("{label}: {why}")))?;
        let is_root = device.is_some() && device.as_deref() == root || matches!(action, Action::ReplaceRoot(_));
        let boots = matches!(action, Action::Swap(_) | Action::ReplaceRoot(_) | Action::RegisterImage);
        if is_root && boots && !performance.volume_type.can_boot() {
            let why = format!("no instance boots from {}; allowed is gp3, gp2, io1, io2", performance.volume_type);
            return Err(refused(format!("{label}: {why}")));
        }
        // An instance boots from its own root device, whatever that of the set was called.
        let root_of_instance = self.instance.and_then(|instance| instance.root_device.clone());
        let device = match action {
            Action::Swap(_) if is_root => root_of_instance.clone().or(device),
            _ => device,
        };
        let place = match action {
            Action::ReplaceRoot(_) => root_of_instance.as_deref(),
            Action::Swap(_) => device.as_deref(),
            _ => None,
        };
        let replaces = place.and_then(|device| self.holder(device)).map(|holder| holder.volume.clone());
        // Where an earlier try has put a volume of this plan in its place, that volume knows whose place it was.
        let replaces = replaces.filter(|volume| !self.trace.is_some_and(|trace| trace.volumes.contains(volume)));
        let mut tags = self.plan_tags();
        tags.insert(RESTORED_FROM.into(), snapshot.id.to_string());
        tags.extend(snapshot.tags.get(NAME).map(|name| (NAME.into(), name.clone())));
        tags.extend(backup.map(|word| (BACKUP.into(), word.as_str().into())));
        tags.extend(replaces.as_ref().map(|volume| (REPLACES.into(), volume.to_string())));
        let full_bytes = snapshot.full_size.unwrap_or(u64::from(stored.gib) << 30);
        Ok(PlannedVolume {
            snapshot: snapshot.id.clone(),
            source_volume,
            root: is_root,
            performance,
            recorded: recorded.is_some() || volume_type.is_some(),
            gib: stored.gib,
            full_bytes,
            encrypted: stored.encrypted || kms_key.is_some(),
            snapshot_key: stored.kms_key.clone(),
            kms_key: kms_key.clone(),
            delete_on_termination: known.is_some_and(|known| known.delete_on_termination),
            initialization_rate: *fast,
            minutes: fast.map(|rate| price::minutes(full_bytes, rate)),
            replaces,
            device,
            tags,
        })
    }

    fn plan_tags(&self) -> Tags {
        identity::tags_of(self.id, self.set.ids().iter())
    }

    /// What is at a device of the instance.
    fn holder(&self, device: &str) -> Option<&Attached> {
        holder(self.instance?, device)
    }

    /// Whether the volumes can go where they are to go.
    pub(super) fn check_places(&self, volumes: &[PlannedVolume], zone: Option<&str>) -> Result<(), Failure> {
        let Some(instance) = self.instance else { return Ok(()) };
        let id = &instance.id;
        debug_assert_eq!(zone, Some(instance.zone.as_str()));
        if instance.on_outpost {
            return Err(refused(format!(
                "{id} is on an Outpost, and volumes are made in the region, which cannot be attached there"
            )));
        }
        if let Action::ReplaceRoot(_) = self.request.action {
            if !["running", "pending"].contains(&instance.state.as_str()) {
                let why =
                    "EC2 replaces the root volume of an instance that runs; a swap does it with one that is stopped";
                return Err(refused(format!("{id} is {}: {why}", instance.state)));
            }
            if instance.root_device.is_none() || !instance.root_is_ebs {
                return Err(refused(format!("{id} has no root volume in EBS")));
            }
            return Ok(());
        }
        let mut devices = BTreeSet::new();
        for volume in volumes {
            let of = volume.source_volume.as_ref().map_or_else(|| volume.snapshot.to_string(), VolumeId::to_string);
            let Some(device) = &volume.device else {
                return Err(refused(format!(
                    "{of}: its device is not known; allowed is to make the volume without attaching"
                )));
            };
            if !devices.insert(letters(device)) {
                return Err(refused(format!("{of}: another volume of the set was at {device}, too")));
            }
            if let (Action::Attach(_), Some(holder)) = (&self.request.action, self.holder(device))
                && !self.trace.is_some_and(|trace| trace.volumes.contains(&holder.volume))
            {
                let holder = &holder.volume;
                return Err(refused(format!(
                    "{device} of {id} is taken by {holder}: detach that first, or swap, or restore one volume only"
                )));
            }
        }
        match &self.request.action {
            Action::Swap(_) if !instance.root_is_ebs => {
                Err(refused(format!("{id} has its root device in an instance store, and cannot be stopped")))
            }
            Action::Swap(_) if instance.state == "shutting-down" => Err(refused(format!("{id} is being terminated"))),
            _ => Ok(()),
        }
    }

    pub(super) fn image(&self, volumes: &[PlannedVolume]) -> Result<Option<PlannedImage>, Failure> {
        if self.request.action != Action::RegisterImage {
            return Ok(None);
        }
        let known = self.launched_as();
        let Some(architecture) = self.request.architecture.clone().or(known.architecture) else {
            return Err(refused("the snapshots do not say the architecture: say x86_64 or arm64"));
        };
        if let Some(volume) = volumes.iter().find(|volume| volume.device.is_none()) {
            return Err(refused(format!("{}: its device is not known, and an image needs it", volume.snapshot)));
        }
        let Some(root_device) = self.root_device() else {
            let devices: Vec<&str> = volumes.iter().filter_map(|volume| volume.device.as_deref()).collect();
            let why = format!("none of the devices is a root device: {}", devices.join(", "));
            return Err(refused(format!("{why}; allowed is a set with /dev/sda1 or /dev/xvda")));
        };
        let mut tags = self.plan_tags();
        let name = self.set.name().cloned().unwrap_or_else(|| self.request.target.to_string());
        tags.insert(NAME.into(), name.clone());
        let root = volumes.iter().find(|volume| volume.root);
        tags.extend(root.map(|volume| (RESTORED_FROM.into(), volume.snapshot.to_string())));
        let day = self.set.moment.day();
        Ok(Some(PlannedImage {
            name: image_name(&name, &format!("{day} {}", self.id)),
            description: printable(&format!("{} of {day}, from its snapshots", self.request.target)),
            architecture,
            boot_mode: self.request.boot_mode.clone().or(known.boot_mode),
            root_device,
            ena: true,
            tags,
        }))
    }

    pub(super) fn notes(&self, volumes: &[PlannedVolume]) -> Vec<Note> {
        let mut notes = Vec::new();
        if !self.set.is_of_one_moment() && volumes.len() > 1 {
            notes.push(Note::NotOneMoment);
        }
        if !self.set.is_complete() {
            notes.push(Note::Lacking);
        }
        let used: BTreeSet<&SnapshotId> = volumes.iter().map(|volume| &volume.snapshot).collect();
        let bad = self.set.known_bad().into_iter().filter(|(snapshot, _)| used.contains(snapshot));
        notes.extend(bad.map(|(snapshot, on)| Note::KnownBad { snapshot, on }));
        let unknown = volumes.iter().filter(|volume| !volume.recorded);
        notes.extend(unknown.map(|volume| Note::TypeUnknown { snapshot: volume.snapshot.clone() }));
        if self.request.action == Action::RegisterImage {
            let known = self.instance.map(|instance| instance.billing.clone()).unwrap_or_default();
            notes.extend([Note::LosesBilling { known }, Note::ImageHoldsSnapshots, Note::FirstReadIsSlow]);
            return notes;
        }
        match self.request.fast {
            None => notes.push(Note::FirstReadIsSlow),
            Some(rate) if volumes.len() > price::at_once(rate) => {
                notes.push(Note::Staged { at_once: price::at_once(rate) });
            }
            Some(_) => {}
        }
        let Some(instance) = self.instance else { return notes };
        match self.request.action {
            Action::Swap(_) => notes.push(Note::Stops { instance: instance.id.clone() }),
            Action::ReplaceRoot(_) => notes.push(Note::Reboots { instance: instance.id.clone() }),
            _ => return notes,
        }
        if let Some(group) = instance.tags.get("aws:autoscaling:groupName") {
            notes.push(Note::AutoScaling { group: group.clone() });
        }
        for volume in volumes {
            if let (Some(old), Some(device)) = (&volume.replaces, &volume.device)
                && volume.source_volume.as_ref() != Some(old)
            {
                notes.push(Note::OtherVolumeAtDevice { device: device.clone(), volume: old.clone() });
            }
        }
        if let Action::Swap(_) = self.request.action {
            let staying = staying(instance, volumes);
            notes.extend(staying.map(|a| Note::Stays { device: a.device.clone(), volume: a.volume.clone() }));
        }
        notes
    }
}

/// What is at devices of the instance that no planned volume goes to.
fn staying<'a>(instance: &'a InstanceNow, volumes: &'a [PlannedVolume]) -> impl Iterator<Item = &'a Attached> {
    let goes_to = |device: &str| {
        volumes.iter().any(|volume| volume.device.as_deref().is_some_and(|own| is_same_device(own, device)))
    };
    let gone = [AttachmentState::Detached, AttachmentState::Detaching];
    instance.volumes.iter().filter(move |a| !gone.contains(&a.state) && !goes_to(&a.device))
}

/// Characters of an image's name, at most (API reference, `RegisterImage`).
pub(super) const MAX_IMAGE_NAME: usize = 128;

/// A name that EC2 accepts, which ends in what makes it the only one.
pub(super) fn image_name(name: &str, end: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c) { c } else { '_' };
    let room = MAX_IMAGE_NAME.saturating_sub(end.len() + 1);
    format!("{} {end}", name.chars().map(allowed).take(room).collect::<String>().trim())
}
