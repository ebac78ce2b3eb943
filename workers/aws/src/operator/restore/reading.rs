//! Reads the SDK's volumes, instances, images and tasks. `None` if an id, a state or a zone is missing.

use aws_sdk_ec2::types;
use domain::{
    ids::VolumeId,
    restore::ports::{
        Attached, AttachmentState, ImageNow, Initialization, InstanceNow, RootTask, Stored, VolumeNow, VolumeState,
    },
};

use crate::ec2::reading::{read_snapshot, read_tags};

pub(super) fn read_stored(snapshot: &types::Snapshot) -> Option<Stored> {
    Some(Stored {
        snapshot: read_snapshot(snapshot)?,
        gib: u32::try_from(snapshot.volume_size()?).ok()?,
        encrypted: snapshot.encrypted().unwrap_or(false),
        kms_key: snapshot.kms_key_id().map(str::to_owned),
        // One that was restored for some days says `standard` meanwhile (API reference, `Snapshot`, `StorageTier`).
        archived: snapshot.storage_tier() == Some(&types::StorageTier::Archive),
    })
}

pub(super) fn read_volume(volume: &types::Volume) -> Option<VolumeNow> {
    let attached = |attachment: &types::VolumeAttachment| {
        Some(Attached {
            instance: attachment.instance_id()?.parse().ok()?,
            volume: volume.volume_id()?.parse().ok()?,
            device: attachment.device()?.to_owned(),
            state: match attachment.state()? {
                types::VolumeAttachmentState::Attached => AttachmentState::Attached,
                types::VolumeAttachmentState::Attaching => AttachmentState::Attaching,
                types::VolumeAttachmentState::Detached => AttachmentState::Detached,
                // `detaching`, `busy`, and what is not known: the device is not free.
                _ => AttachmentState::Detaching,
            },
            delete_on_termination: attachment.delete_on_termination().unwrap_or(false),
        })
    };
    Some(VolumeNow {
        id: volume.volume_id()?.parse().ok()?,
        state: match volume.state()? {
            types::VolumeState::Creating => VolumeState::Creating,
            types::VolumeState::Available => VolumeState::Available,
            types::VolumeState::InUse => VolumeState::InUse,
            types::VolumeState::Deleting | types::VolumeState::Deleted => VolumeState::Deleted,
            types::VolumeState::Error => VolumeState::Error,
            _ => VolumeState::Other,
        },
        zone: volume.availability_zone()?.to_owned(),
        snapshot: volume.snapshot_id().and_then(|id| id.parse().ok()),
        gib: u32::try_from(volume.size()?).ok()?,
        encrypted: volume.encrypted().unwrap_or(false),
        tags: read_tags(volume.tags()),
        attached: volume.attachments().iter().filter_map(attached).collect(),
    })
}

pub(super) fn read_instance(instance: &types::Instance) -> Option<InstanceNow> {
    let id: domain::ids::InstanceId = instance.instance_id()?.parse().ok()?;
    let attached = |mapping: &types::InstanceBlockDeviceMapping| {
        let ebs = mapping.ebs()?;
        Some(Attached {
            instance: id.clone(),
            volume: ebs.volume_id()?.parse().ok()?,
            device: mapping.device_name()?.to_owned(),
            state: match ebs.status()? {
                types::AttachmentStatus::Attached => AttachmentState::Attached,
                types::AttachmentStatus::Attaching => AttachmentState::Attaching,
                types::AttachmentStatus::Detached => AttachmentState::Detached,
                _ => AttachmentState::Detaching,
            },
            delete_on_termination: ebs.delete_on_termination().unwrap_or(false),
        })
    };
    let codes = instance.product_codes().iter().filter_map(|code| code.product_code_id());
    // `RunInstances` is Linux without a licence; others are followed by a number (EC2 user guide, "AMI billing information
    // fields").
    let why = |reason: &types::StateReason| {
        let told = [reason.code(), reason.message()].into_iter().flatten();
        // The message begins with the code, mostly.
        told.max_by_key(|text| text.len()).map(str::to_owned)
    };
    let operation = instance.usage_operation().filter(|operation| *operation != "RunInstances");
    Some(InstanceNow {
        state: instance.state()?.name()?.as_str().to_owned(),
        why: instance.state_reason().and_then(why),
        zone: instance.placement()?.availability_zone()?.to_owned(),
        on_outpost: instance.outpost_arn().is_some(),
        architecture: instance.architecture().map(|own| own.as_str().to_owned()),
        boot_mode: instance.boot_mode().map(|own| own.as_str().to_owned()),
        root_device: instance.root_device_name().map(str::to_owned),
        root_is_ebs: instance.root_device_type() == Some(&types::DeviceType::Ebs),
        ena: instance.ena_support().unwrap_or(false),
        billing: codes.chain(operation).map(str::to_owned).collect(),
        tags: read_tags(instance.tags()),
        volumes: instance.block_device_mappings().iter().filter_map(attached).collect(),
        id: id.clone(),
    })
}

pub(super) fn read_image(image: &types::Image) -> Option<ImageNow> {
    Some(ImageNow {
        id: image.image_id()?.to_owned(),
        name: image.name().unwrap_or_default().to_owned(),
        state: image.state()?.as_str().to_owned(),
        tags: read_tags(image.tags()),
    })
}

pub(super) fn read_task(task: &types::ReplaceRootVolumeTask) -> Option<RootTask> {
    Some(RootTask {
        id: task.replace_root_volume_task_id()?.to_owned(),
        instance: task.instance_id()?.parse().ok()?,
        state: task.task_state()?.as_str().to_owned(),
        tags: read_tags(task.tags()),
    })
}

/// `None` also of a volume of which nothing is told yet, which takes up to five minutes (API reference,
/// `VolumeStatusItem`).
pub(super) fn read_initialization(status: &types::VolumeStatusItem) -> Option<Initialization> {
    let volume: VolumeId = status.volume_id()?.parse().ok()?;
    let details = status.initialization_status_details()?;
    let progress = details.progress().and_then(|percent| u8::try_from(percent).ok());
    Some(Initialization {
        volume,
        done: progress.is_some_and(|percent| percent >= 100),
        progress,
        seconds_left: details.estimated_time_to_complete_in_seconds().and_then(|seconds| u64::try_from(seconds).ok()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_which_nothing_is_told_yet_is_not_taken_for_initialised() {
        let status = |details: Option<types::InitializationStatusDetails>| {
            types::VolumeStatusItem::builder().volume_id("vol-0a").set_initialization_status_details(details).build()
        };
        assert_eq!(read_initialization(&status(None)), None);
        let at = |percent| Some(types::InitializationStatusDetails::builder().progress(percent).build());
        assert!(!read_initialization(&status(at(99))).unwrap().done);
        assert!(read_initialization(&status(at(100))).unwrap().done);
        let empty = types::InitializationStatusDetails::builder().build();
        assert!(!read_initialization(&status(Some(empty))).unwrap().done);
    }

    #[test]
    fn a_device_is_not_free_while_it_is_being_detached() {
        let state = |state: types::VolumeAttachmentState| {
            let attachment = types::VolumeAttachment::builder().instance_id("i-0a").device("/dev/sdf").state(state);
            let volume = types::Volume::builder().volume_id("vol-0a").state(types::VolumeState::InUse).size(1);
            let volume = volume.availability_zone("us-east-1a").attachments(attachment.build()).build();
            read_volume(&volume).unwrap().attached[0].state
        };
        assert_eq!(state(types::VolumeAttachmentState::Busy), AttachmentState::Detaching);
        assert_eq!(state("something-new".into()), AttachmentState::Detaching);
        assert_eq!(state(types::VolumeAttachmentState::Attached), AttachmentState::Attached);
    }

    #[test]
    fn what_is_billed_with_an_instance_is_told_and_plain_linux_is_nothing() {
        let billing = |operation: &str| {
            let placement = types::Placement::builder().availability_zone("us-east-1a").build();
            let state = types::InstanceState::builder().name(types::InstanceStateName::Running).build();
            let instance = types::Instance::builder().instance_id("i-0a").placement(placement).state(state);
            read_instance(&instance.usage_operation(operation).build()).unwrap().billing
        };
        assert_eq!(billing("RunInstances"), Vec::<String>::new());
        assert_eq!(billing("RunInstances:0010"), ["RunInstances:0010"]);
    }
}
