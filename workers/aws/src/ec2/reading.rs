//! Reads the SDK's instances, volumes and snapshots. `None` if an id, a state or a time is missing.

use aws_sdk_ec2::types;
use chrono::{DateTime, Utc};
use domain::fleet::{Attachment, Instance, Snapshot, SnapshotState, Tags, Volume};

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
        tags: read_tags(snapshot.tags()),
    })
}

pub(super) fn read_instance(instance: &types::Instance) -> Option<Instance> {
    let attached = |mapping: &types::InstanceBlockDeviceMapping| {
        let volume = mapping.ebs()?.volume_id()?.parse().ok()?;
        Some(Attachment { device: mapping.device_name()?.to_owned(), volume })
    };
    Some(Instance {
        id: instance.instance_id()?.parse().ok()?,
        state: instance.state()?.name()?.as_str().to_owned(),
        tags: read_tags(instance.tags()),
        root_device: instance.root_device_name().map(str::to_owned),
        volumes: instance.block_device_mappings().iter().filter_map(attached).collect(),
    })
}

pub(super) fn read_volume(volume: &types::Volume) -> Option<Volume> {
    Some(Volume {
        id: volume.volume_id()?.parse().ok()?,
        tags: read_tags(volume.tags()),
        attached_to: volume.attachments().iter().filter_map(|a| a.instance_id()?.parse().ok()).collect(),
    })
}
