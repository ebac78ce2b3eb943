//! Reads the SDK's instances, volumes and snapshots. `None` if an id, a state or a time is missing.

use aws_sdk_ec2::types;
use chrono::{DateTime, Utc};
use domain::fleet::{Attachment, Instance, InstanceAs, Snapshot, SnapshotState, StoredAs, Tags, Volume};

pub(crate) fn read_tags(list: &[types::Tag]) -> Tags {
    list.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

fn read_time(time: &aws_sdk_ec2::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

pub(crate) fn read_snapshot(snapshot: &types::Snapshot) -> Option<Snapshot> {
    let started = snapshot.start_time()?;
    Some(Snapshot {
        id: snapshot.snapshot_id()?.parse().ok()?,
        volume: snapshot.volume_id().and_then(|id| id.parse().ok()),
        state: match snapshot.state()? {
            types::SnapshotState::Pending => SnapshotState::Pending,
            types::SnapshotState::Completed => SnapshotState::Completed,
            types::SnapshotState::Error => SnapshotState::Error,
            _ => SnapshotState::Other,
        },
        started: read_time(started)?,
        completed: snapshot.completion_time().and_then(read_time),
        description: snapshot.description().unwrap_or_default().to_owned(),
        state_message: snapshot.state_message().map(str::to_owned),
        full_size: snapshot.full_snapshot_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok()),
        stored: StoredAs {
            gib: snapshot.volume_size().and_then(|gib| u32::try_from(gib).ok()),
            kms_key: snapshot.kms_key_id().map(Into::into),
            archived: snapshot.storage_tier() == Some(&types::StorageTier::Archive),
        },
        tags: read_tags(snapshot.tags()),
    })
}

pub(super) fn read_instance(instance: &types::Instance) -> Option<Instance> {
    let attached = |mapping: &types::InstanceBlockDeviceMapping| {
        let volume = mapping.ebs()?.volume_id()?.parse().ok()?;
        Some(Attachment { device: mapping.device_name()?.to_owned(), volume })
    };
    let deleted = |mapping: &types::InstanceBlockDeviceMapping| {
        let volume = mapping.ebs().filter(|volume| volume.delete_on_termination() == Some(true))?;
        volume.volume_id()?.parse().ok()
    };
    Some(Instance {
        tags: read_tags(instance.tags()),
        root_device: instance.root_device_name().map(str::to_owned),
        volumes: instance.block_device_mappings().iter().filter_map(attached).collect(),
        deleted_with_it: instance.block_device_mappings().iter().filter_map(deleted).collect(),
        launched_as: launched_as(instance),
        ..Instance::new(instance.instance_id()?.parse().ok()?, instance.state()?.name()?.as_str())
    })
}

fn launched_as(instance: &types::Instance) -> InstanceAs {
    let asked = instance.boot_mode().map(types::BootModeValues::as_str);
    let booted = instance.current_instance_boot_mode().map(types::InstanceBootModeValues::as_str);
    let text = |text: Option<&str>| text.map(str::to_owned);
    InstanceAs {
        image: text(instance.image_id()),
        instance_type: text(instance.instance_type().map(types::InstanceType::as_str)),
        zone: text(instance.placement().and_then(types::Placement::availability_zone)),
        architecture: text(instance.architecture().map(types::ArchitectureValues::as_str)),
        boot_mode: text(booted.or(asked)),
        subnet: text(instance.subnet_id()),
        security_groups: instance.security_groups().iter().filter_map(|group| text(group.group_id())).collect(),
        key_name: text(instance.key_name()),
    }
}

pub(super) fn read_volume(volume: &types::Volume) -> Option<Volume> {
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    Some(Volume {
        tags: read_tags(volume.tags()),
        attached_to: volume.attachments().iter().filter_map(|a| a.instance_id()?.parse().ok()).collect(),
        kind: volume.volume_type().map(|kind| kind.as_str().into()),
        iops: number(volume.iops()),
        throughput: number(volume.throughput()),
        gib: number(volume.size()),
        ..Volume::new(volume.volume_id()?.parse().ok()?)
    })
}
