//! The calls of a plan that make something, or write its marks: the same at each try.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    fleet::Tags,
    restore::{
        identity::client_token,
        plan::{Plan, PlannedImage, PlannedVolume},
        ports::{Change, ImageOrder, ImageVolume, VolumeOrder},
    },
    tags::{BACKUP, Backup, REPLACED_BY, RESTORED_AT, tags},
};

/// The order of a volume. `number` counts the tokens that are used up, from 1.
pub fn volume_order(plan: &Plan, volume: &PlannedVolume, number: u32) -> VolumeOrder {
    let place = plan.volumes.iter().filter(|other| other.snapshot < volume.snapshot).count() + 1;
    VolumeOrder {
        zone: plan.zone.clone().unwrap_or_default(),
        snapshot: volume.snapshot.clone(),
        performance: volume.performance,
        gib: volume.gib,
        kms_key: volume.kms_key.clone(),
        initialization_rate: volume.initialization_rate,
        tags: volume.tags.clone(),
        client_token: client_token(&plan.id, &format!("v{place}"), number),
    }
}

/// The order of the image.
pub fn image_order(plan: &Plan, image: &PlannedImage) -> ImageOrder {
    let volume = |volume: &PlannedVolume| ImageVolume {
        device: volume.device.clone().unwrap_or_default(),
        snapshot: volume.snapshot.clone(),
        performance: volume.performance,
        gib: volume.gib,
        delete_on_termination: volume.delete_on_termination,
    };
    ImageOrder {
        name: image.name.clone(),
        description: image.description.clone(),
        architecture: image.architecture.clone(),
        boot_mode: image.boot_mode.clone(),
        root_device: image.root_device.clone(),
        ena: image.ena,
        volumes: plan.volumes.iter().map(volume).collect(),
        tags: image.tags.clone(),
    }
}

/// The tags of the volumes whose place is taken: they, and their backups, stay.
pub fn hold_tags(plan: &Plan) -> Tags {
    tags([(BACKUP, Backup::Hold.as_str()), (REPLACED_BY, &plan.id)])
}

/// The mark that all is done.
pub(super) fn mark(resources: Vec<String>, now: DateTime<Utc>) -> Change {
    let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    Change::Tag { resources, tags: tags([(RESTORED_AT, at.as_str())]) }
}
