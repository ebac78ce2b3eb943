//! Makes the plan: looks at what there is, and decides what is to be done.
//!
//! It changes nothing. What is refused here, is refused before anything is made.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    error::{ErrorName, Failure},
    fleet::{InstanceAs, SnapshotState, Tags},
    ids::{Region, SnapshotId, VolumeId},
    labels::{instance_as, printable},
    restore::{
        choose::{self, Choice, Set, device_for, volume_of},
        identity::{self, Identity, Trace},
        performance::{Overrides, check_rate},
        plan::{Chosen, Note, Plan, PlannedImage, PlannedVolume},
        ports::{Attached, AttachmentState, BackupFilter, InstanceNow, Restoring, Stored},
        price,
        recorded::provisioned,
        request::{Action, At, Request, Target},
    },
    tags::{BACKUP, NAME, REPLACES, RESTORED_FROM, SnapshotTags},
};

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    /// This.
    Plan(Box<Plan>),
    /// Nothing: the same set was restored for the same request, and what was made still exists. [`Request::again`] asks
    /// for it once more.
    Done(Trace),
}

/// Looks, and plans.
///
/// # Errors
///
/// [`ErrorName::InvalidInput`] where the request cannot be carried out as it is, with what is allowed;
/// [`ErrorName::SnapshotNotFound`] where there is no such backup; and what EC2 answers.
pub async fn prepare(port: &impl Restoring, request: &Request, now: DateTime<Utc>) -> Result<Prepared, Failure> {
    check_request(request)?;
    let region = &request.region;
    let instance = match request.action.instance() {
        None => None,
        Some(id) => Some(port.instance(region, id).await?.filter(|i| i.state != "terminated").ok_or_else(|| {
            Failure::new(ErrorName::InstanceNotFound, format!("{id} does not exist in {region}, or is terminated"))
        })?),
    };
    let (volumes, images) = (port.restored_volumes(region).await?, port.restored_images(region).await?);
    let traces = identity::traces(&volumes, &images);
    let earlier = identity::unfinished(&traces, request);
    let found = backups(port, request).await?;
    let sets = choose::sets(&found, &request.target);
    let (set, mut notes, id) = match &earlier {
        Some(trace) => {
            let set = set_of_trace(port, region, trace, &sets).await?;
            let newer = match choose::choose(sets, &request.target, &request.at) {
                Ok(Choice { set: best, .. }) if ids(&best) != ids(&set) => Some(best.moment),
                _ => None,
            };
            (set, vec![Note::GoesOn { newer }], trace.plan.clone())
        }
        None => {
            check_snapshot(request, &found)?;
            let Choice { set, passed_over } = choose::choose(sets, &request.target, &request.at)?;
            let id = match identity::identify(&traces, request, ids(&set).iter()) {
                Identity::Done(trace) => return Ok(Prepared::Done(trace)),
                Identity::New(id) => id,
            };
            (set, passed_over.into_iter().map(|(moment, why)| Note::PassedOver { moment, why }).collect(), id)
        }
    };
    let known = Known { request, id: &id, set: &set, instance: instance.as_ref(), trace: earlier.as_ref() };
    let zone = known.zone(port).await?;
    let volumes = known.volumes()?;
    known.check_places(&volumes, zone.as_deref())?;
    let image = known.image(&volumes)?;
    notes.extend(known.notes(&volumes));
    let rates = volumes.iter().filter_map(|v| v.minutes).collect::<Vec<_>>();
    let minutes = request
        .fast
        .filter(|_| !rates.is_empty())
        .map(|rate| rates.chunks(price::at_once(rate)).map(|chunk| chunk.iter().max().copied().unwrap_or(0)).sum());
    let tags = set.members.first().map(|member| &member.snapshot.tags);
    Ok(Prepared::Plan(Box::new(Plan {
        region: region.clone(),
        zone,
        chosen: Chosen {
            instance: tags.and_then(|tags| SnapshotTags::read(tags).source_instance),
            name: set.name().cloned(),
            run_id: set.run_id.clone(),
            moment: set.moment.clone(),
            from_region: tags.and_then(|tags| SnapshotTags::read(tags).from_region),
            lacking: set.lacking.clone(),
            launched_as: known.launched_as(),
        },
        age_seconds: set.moment.age_seconds(now),
        action: request.action.clone(),
        price: price::of(if image.is_some() { &[] } else { &volumes }),
        volumes,
        image,
        minutes,
        notes,
        goes_on: earlier.is_some(),
        id,
    })))
}

fn ids(set: &Set) -> BTreeSet<SnapshotId> {
    set.members.iter().map(|member| member.snapshot.id.clone()).collect()
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::InvalidInput, why)
}

/// What of a request can never be, whatever there is.
fn check_request(request: &Request) -> Result<(), Failure> {
    if let Some(rate) = request.fast {
        check_rate(rate).map_err(refused)?;
        if request.action == Action::RegisterImage {
            return Err(refused(
                "a rate of initialization is of volumes, and an image makes none: say it at the launch",
            ));
        }
    }
    if let Some(key) = request.kms_key.as_ref().filter(|_| request.action == Action::RegisterImage) {
        let why = "the volumes of an image have the keys of their snapshots; allowed is a key where volumes are made";
        return Err(refused(format!("{key}: {why}")));
    }
    if matches!(request.target, Target::Snapshot(_)) && request.at != At::Newest {
        return Err(refused(format!("{}: a snapshot is of one moment; allowed is no other one", request.at)));
    }
    Ok(())
}

/// Reads what may be restored.
async fn backups(port: &impl Restoring, request: &Request) -> Result<Vec<Stored>, Failure> {
    let region = &request.region;
    Ok(match &request.target {
        Target::Snapshot(id) => port.backups(region, &BackupFilter::Ids(vec![id.clone()])).await?,
        Target::Volume(id) => port.backups(region, &BackupFilter::OfVolumes(vec![id.clone()])).await?,
        Target::Instance(id) => {
            let mut found = port.backups(region, &BackupFilter::OfInstance(id.clone())).await?;
            // Snapshots of the earlier scripts do not name their instance, but their volumes.
            let living = port.instance(region, id).await?.filter(|instance| instance.state != "terminated");
            let mut volumes: BTreeSet<VolumeId> = found.iter().filter_map(volume_of).collect();
            volumes.extend(living.into_iter().flat_map(|i| i.volumes).map(|attached| attached.volume));
            if !volumes.is_empty() {
                let has: BTreeSet<SnapshotId> = found.iter().map(|stored| stored.snapshot.id.clone()).collect();
                let more = port.backups(region, &BackupFilter::OfVolumes(volumes.iter().cloned().collect())).await?;
                let of_them = |stored: &Stored| volume_of(stored).is_some_and(|volume| volumes.contains(&volume));
                found.extend(more.into_iter().filter(|s| !has.contains(&s.snapshot.id) && of_them(s)));
            }
            found
        }
    })
}

/// A snapshot that was named must be there, and whole.
fn check_snapshot(request: &Request, found: &[Stored]) -> Result<(), Failure> {
    let Target::Snapshot(id) = &request.target else { return Ok(()) };
    let why = match found.first() {
        None => format!("{id} does not exist in {}", request.region),
        Some(stored) if stored.archived => archived(id),
        Some(stored) => match stored.snapshot.state {
            SnapshotState::Completed => return Ok(()),
            SnapshotState::Pending => format!("{id} is not completed yet"),
            SnapshotState::Error => format!("{id} has failed, and will never be completed"),
            SnapshotState::Other => format!("{id} is in the Recycle Bin: recover it first"),
        },
    };
    Err(Failure::new(ErrorName::SnapshotNotFound, why))
}

fn archived(id: &SnapshotId) -> String {
    format!("{id} is archived: `aws ec2 restore-snapshot-tier` brings it back first, which takes up to 72 hours")
}

/// The set of an unfinished plan. Its snapshots must all be there: another set would be another restore.
async fn set_of_trace(port: &impl Restoring, region: &Region, trace: &Trace, sets: &[Set]) -> Result<Set, Failure> {
    let wanted: BTreeSet<SnapshotId> = trace.set.iter().cloned().collect();
    if let Some(set) = sets.iter().find(|set| ids(set) == wanted) {
        return Ok(set.clone());
    }
    let mut members = port.backups(region, &BackupFilter::Ids(trace.set.clone())).await?;
    members.retain(|stored| stored.snapshot.state == SnapshotState::Completed && !stored.archived);
    members.sort_by_key(|stored| (device_for(stored), stored.snapshot.id.clone()));
    let has: BTreeSet<SnapshotId> = members.iter().map(|stored| stored.snapshot.id.clone()).collect();
    let gone: Vec<String> = wanted.difference(&has).map(SnapshotId::to_string).collect();
    match choose::moment_of(&members) {
        Some(moment) if gone.is_empty() => Ok(Set { members, moment, run_id: None, lacking: Vec::new() }),
        _ => Err(Failure::new(
            ErrorName::SnapshotNotFound,
            format!(
                "the unfinished restore {} cannot go on: {} is gone. It has made {}, which stay; say `instead of {}` to \
                 begin a new one",
                trace.plan,
                if gone.is_empty() { "its set".into() } else { gone.join(", ") },
                trace
                    .volumes
                    .iter()
                    .map(VolumeId::to_string)
                    .chain(trace.images.iter().cloned())
                    .collect::<Vec<_>>()
                    .join(", "),
                trace.plan
            ),
        )),
    }
}

/// What a plan is made of.
struct Known<'a> {
    request: &'a Request,
    id: &'a str,
    set: &'a Set,
    instance: Option<&'a InstanceNow>,
    trace: Option<&'a Trace>,
}

impl Known<'_> {
    /// What is recorded of the instance.
    fn launched_as(&self) -> InstanceAs {
        self.set.members.iter().find_map(|member| instance_as(&member.snapshot.tags)).unwrap_or_default()
    }

    /// Where: as an earlier try has done it, as is asked for, where the instance is, where it was, or anywhere.
    async fn zone(&self, port: &impl Restoring) -> Result<Option<String>, Failure> {
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

    /// The device of the root volume, as far as it is known.
    ///
    /// Only these names are reserved for it (EC2 user guide, "Device names for volumes").
    fn root_device(&self) -> Option<String> {
        let devices: Vec<String> = self.set.members.iter().filter_map(device_for).collect();
        let of_instance = self.instance.and_then(|i| i.root_device.clone()).filter(|root| devices.contains(root));
        of_instance.or_else(|| {
            let reserved = ["/dev/sda1", "/dev/xvda"].into_iter();
            reserved.map(str::to_owned).find(|name| devices.contains(name))
        })
    }

    fn volumes(&self) -> Result<Vec<PlannedVolume>, Failure> {
        let root = self.root_device();
        let members = self.set.members.iter().filter(|member| {
            let only_root = matches!(self.request.action, Action::ReplaceRoot(_));
            // A single snapshot was named for it.
            !only_root || self.set.members.len() == 1 || device_for(member) == root
        });
        let planned: Vec<PlannedVolume> =
            members.map(|member| self.volume(member, root.as_deref())).collect::<Result<_, _>>()?;
        match planned.is_empty() {
            true => Err(refused(format!("{}: no volume of this set was a root volume", self.request.target))),
            false => Ok(planned),
        }
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
        let place = match action {
            Action::ReplaceRoot(_) => self.instance.and_then(|instance| instance.root_device.as_deref()),
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
        identity::tags_of(self.id, ids(self.set).iter())
    }

    /// What is at a device of the instance.
    fn holder(&self, device: &str) -> Option<&Attached> {
        let held = |a: &&Attached| a.device == device && a.state != AttachmentState::Detached;
        self.instance?.volumes.iter().find(held)
    }

    /// Whether the volumes can go where they are to go.
    fn check_places(&self, volumes: &[PlannedVolume], zone: Option<&str>) -> Result<(), Failure> {
        let Some(instance) = self.instance else { return Ok(()) };
        let id = &instance.id;
        debug_assert_eq!(zone, Some(instance.zone.as_str()));
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
            if !devices.insert(device) {
                return Err(refused(format!("{of}: another volume of the set was at {device}, too")));
            }
            if let (Action::Attach(_), Some(holder)) = (&self.request.action, self.holder(device)) {
                if !self.trace.is_some_and(|trace| trace.volumes.contains(&holder.volume)) {
                    let holder = &holder.volume;
                    return Err(refused(format!(
                        "{device} of {id} is taken by {holder}: detach that first, or swap, or restore one volume only"
                    )));
                }
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

    fn image(&self, volumes: &[PlannedVolume]) -> Result<Option<PlannedImage>, Failure> {
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

    fn notes(&self, volumes: &[PlannedVolume]) -> Vec<Note> {
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
            if let (Some(old), Some(device)) = (&volume.replaces, &volume.device) {
                if volume.source_volume.as_ref() != Some(old) {
                    notes.push(Note::OtherVolumeAtDevice { device: device.clone(), volume: old.clone() });
                }
            }
        }
        notes
    }
}

/// Characters of an image's name, at most (API reference, `RegisterImage`).
const MAX_IMAGE_NAME: usize = 128;

/// A name that EC2 accepts, which ends in what makes it the only one.
fn image_name(name: &str, end: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c) { c } else { '_' };
    let room = MAX_IMAGE_NAME.saturating_sub(end.len() + 1);
    format!("{} {end}", name.chars().map(allowed).take(room).collect::<String>().trim())
}

#[cfg(test)]
mod tests;
