//! Makes the plan: looks at what there is, and decides what is to be done.
//!
//! It changes nothing. What is refused here, is refused before anything is made.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    error::{ErrorName, Failure},
    fleet::SnapshotState,
    ids::{Region, SnapshotId, VolumeId},
    restore::{
        choose::{self, Choice, Set, device_for, volume_of},
        identity::{self, Identity, Trace},
        known::{Known, refused},
        performance::check_rate,
        plan::{Chosen, Note, Plan},
        ports::{BackupFilter, InstanceNow, Restoring, Stored},
        price,
        request::{Action, At, Request, Target},
    },
    tags::SnapshotTags,
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
    let left = identity::left_over(&traces, request)?;
    if let Some(left) = &left {
        check_left(left, instance.as_ref())?;
    }
    let earlier = identity::unfinished(&traces, request);
    let found = backups(port, request).await?;
    let sets = choose::sets(&found, &request.target);
    let (set, mut notes, id) = match &earlier {
        Some(trace) => {
            let set = set_of_trace(port, region, trace, &sets).await?;
            let newer = match choose::choose(sets, &request.target, &request.at) {
                Ok(Choice { set: best, .. }) if best.ids() != set.ids() => Some(best.moment),
                _ => None,
            };
            (set, vec![Note::GoesOn { newer }], trace.plan.clone())
        }
        None => {
            check_snapshot(request, &found)?;
            let Choice { set, passed_over } = choose::choose(sets, &request.target, &request.at)?;
            let id = match identity::identify(&traces, request, set.ids().iter()) {
                Identity::Done(trace) if left.is_none() => return still_there(trace, request).map(Prepared::Done),
                Identity::Done(trace) => {
                    return Err(refused(format!(
                        "the same set was restored by {}: --again, beside --instead-of, restores it once more",
                        trace.plan
                    )));
                }
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
    let left = left.map(|left| left.made()).unwrap_or_default();
    notes.extend((!left.is_empty()).then_some(Note::LeavesOther));
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
        left,
        id,
    })))
}

/// A swap that has begun is run to its end: another plan would know neither that the instance did run, nor whose place its
/// volumes have taken.
fn check_left(left: &Trace, instance: Option<&InstanceNow>) -> Result<(), Failure> {
    let Some(instance) = instance else { return Ok(()) };
    let was = left.instance_was.as_deref();
    if left.attached || was.is_some_and(|was| was != instance.state) {
        return Err(refused(format!(
            "{} has begun to change what {} has: run the same command without --instead-of, which ends it; then another \
             set can be restored",
            left.plan, instance.id
        )));
    }
    Ok(())
}

/// A restore is done only while all that it has made exists. To make the rest anew beside it is not for a program to
/// decide: what is left may be attached, and in use.
fn still_there(trace: Trace, request: &Request) -> Result<Trace, Failure> {
    let lost: Vec<String> = trace.lost(&request.action).into_iter().map(SnapshotId::to_string).collect();
    if lost.is_empty() {
        return Ok(trace);
    }
    let left: Vec<String> = trace.volumes.iter().map(VolumeId::to_string).collect();
    Err(Failure::new(
        ErrorName::VolumeNotFound,
        format!(
            "the restore {} was finished, but what it has made from {} is gone since; {} is still there. --again restores \
             the whole set once more",
            trace.plan,
            lost.join(", "),
            left.join(", ")
        ),
    ))
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
    if let Some(set) = sets.iter().find(|set| set.ids() == wanted) {
        return Ok(set.clone());
    }
    // Since then more of it may have been completed, which this plan goes without.
    if let Some(more) = sets.iter().find(|set| wanted.is_subset(&set.ids())) {
        let (members, others): (Vec<_>, Vec<_>) =
            more.members.iter().cloned().partition(|stored| wanted.contains(&stored.snapshot.id));
        let lacking = more.lacking.iter().cloned().chain(others.iter().map(volume_of)).collect();
        let moment = choose::moment_of(&members).unwrap_or_else(|| more.moment.clone());
        return Ok(Set { members, moment, run_id: more.run_id.clone(), lacking });
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
                trace.made().join(", "),
                trace.plan
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
