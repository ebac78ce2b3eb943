//! EC2 and KMS in the region that is restored in.

mod changes;
mod reading;

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Filter;
use domain::{
    error::{Ec2Error, Failure},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::SnapshotFilter,
    restore::ports::{
        BackupFilter, Change, Changed, ImageNow, Initialization, InstanceNow, KeyState, Permission, Restoring,
        RootTask, Stored, VolumeNow,
    },
    tags,
};

use super::Operator;
use crate::{
    ec2::{
        errors::{failed, unreadable},
        filters::{MAX_FILTER_VALUES, filter, filters, tag_filter},
    },
    sdk_error,
};

use reading::{read_image, read_initialization, read_instance, read_stored, read_task, read_volume};

/// Ids in one `DescribeVolumeStatus`: they are no filter, and their number is not limited by one.
const MAX_STATUS_IDS: usize = 500;

impl Operator {
    /// The volumes of one filter, added to those that were read before.
    async fn add_volumes(
        &self,
        region: &Region,
        filter: Filter,
        found: &mut BTreeMap<VolumeId, VolumeNow>,
    ) -> Result<(), Ec2Error> {
        let action = "DescribeVolumes";
        let mut pages = self.ec2.client(region).describe_volumes().filters(filter).into_paginator().send();
        while let Some(page) = pages.next().await {
            for volume in page.map_err(failed(action, region))?.volumes() {
                let read = read_volume(volume);
                let read =
                    read.ok_or_else(|| unreadable(action, region, "a volume without an id, a zone or a state"))?;
                found.insert(read.id.clone(), read);
            }
        }
        Ok(())
    }
}

fn backup_filters(which: &BackupFilter) -> Vec<Vec<Filter>> {
    match which {
        BackupFilter::OfInstance(instance) => vec![vec![tag_filter(tags::SOURCE_INSTANCE_ID, [instance.as_str()])]],
        BackupFilter::OfVolumes(volumes) => filters(&SnapshotFilter::BackupsOf(volumes.clone())),
        BackupFilter::Ids(ids) => filters(&SnapshotFilter::Ids(ids.clone())),
    }
}

impl Restoring for Operator {
    async fn backups(&self, region: &Region, which: &BackupFilter) -> Result<Vec<Stored>, Ec2Error> {
        let action = "DescribeSnapshots";
        let client = self.ec2.client(region);
        // One that is found in several ways is one.
        let mut found: BTreeMap<SnapshotId, Stored> = BTreeMap::new();
        for filters in backup_filters(which) {
            let request = client.describe_snapshots().owner_ids("self").set_filters(Some(filters));
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                for snapshot in page.map_err(failed(action, region))?.snapshots() {
                    let read = read_stored(snapshot);
                    let read = read.ok_or_else(|| unreadable(action, region, "a snapshot without an id or a size"))?;
                    found.insert(read.snapshot.id.clone(), read);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    async fn zones(&self, region: &Region) -> Result<Vec<String>, Ec2Error> {
        let action = "DescribeAvailabilityZones";
        let request = self.ec2.client(region).describe_availability_zones();
        let request =
            request.filters(filter("zone-type", ["availability-zone"])).filters(filter("state", ["available"]));
        let answer = request.send().await.map_err(failed(action, region))?;
        Ok(answer.availability_zones().iter().filter_map(|zone| zone.zone_name().map(str::to_owned)).collect())
    }

    async fn instance(&self, region: &Region, id: &InstanceId) -> Result<Option<InstanceNow>, Ec2Error> {
        let action = "DescribeInstances";
        let request = self.ec2.client(region).describe_instances().filters(filter("instance-id", [id.as_str()]));
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed(action, region))?;
            if let Some(instance) = page.reservations().iter().flat_map(|r| r.instances()).next() {
                let read = read_instance(instance);
                return read
                    .ok_or_else(|| unreadable(action, region, "an instance without an id, a zone or a state"))
                    .map(Some);
            }
        }
        Ok(None)
    }

    async fn volumes(&self, region: &Region, ids: &[VolumeId]) -> Result<Vec<VolumeNow>, Ec2Error> {
        let mut found = BTreeMap::new();
        for chunk in ids.chunks(MAX_FILTER_VALUES) {
            self.add_volumes(region, filter("volume-id", chunk.iter().map(VolumeId::as_str)), &mut found).await?;
        }
        Ok(found.into_values().collect())
    }

    async fn restored_volumes(&self, region: &Region) -> Result<Vec<VolumeNow>, Ec2Error> {
        let mut found = BTreeMap::new();
        self.add_volumes(region, filter("tag-key", [tags::RESTORE_PLAN]), &mut found).await?;
        Ok(found.into_values().collect())
    }

    async fn restored_images(&self, region: &Region) -> Result<Vec<ImageNow>, Ec2Error> {
        let action = "DescribeImages";
        let request = self.ec2.client(region).describe_images().owners("self");
        let request = request.include_deprecated(true).include_disabled(true);
        let mut pages = request.filters(filter("tag-key", [tags::RESTORE_PLAN])).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for image in page.map_err(failed(action, region))?.images() {
                let read = read_image(image);
                found.push(read.ok_or_else(|| unreadable(action, region, "an image without an id or a state"))?);
            }
        }
        Ok(found)
    }

    async fn root_tasks(&self, region: &Region, instance: &InstanceId) -> Result<Vec<RootTask>, Ec2Error> {
        let action = "DescribeReplaceRootVolumeTasks";
        let request = self.ec2.client(region).describe_replace_root_volume_tasks();
        let request = request.filters(filter("instance-id", [instance.as_str()])).max_results(PAGE_OF_TASKS);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for task in page.map_err(failed(action, region))?.replace_root_volume_tasks() {
                let read = read_task(task);
                found.push(read.ok_or_else(|| unreadable(action, region, "a task without an id or a state"))?);
            }
        }
        Ok(found)
    }

    async fn initialization(&self, region: &Region, volumes: &[VolumeId]) -> Result<Vec<Initialization>, Ec2Error> {
        let action = "DescribeVolumeStatus";
        let (client, mut found) = (self.ec2.client(region), Vec::new());
        for chunk in volumes.chunks(MAX_STATUS_IDS) {
            let ids = chunk.iter().map(ToString::to_string).collect();
            let mut pages = client.describe_volume_status().set_volume_ids(Some(ids)).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(failed(action, region))?;
                found.extend(page.volume_statuses().iter().filter_map(read_initialization));
            }
        }
        Ok(found)
    }

    async fn key(&self, region: &Region, key: &str) -> Result<KeyState, Failure> {
        let own = aws_sdk_kms::config::Builder::from(&self.config);
        let own = own.region(aws_sdk_kms::config::Region::new(region.to_string())).build();
        let answer = aws_sdk_kms::Client::from_conf(own).describe_key().key_id(key).send().await;
        let error = match answer {
            Ok(answer) => {
                let state = answer.key_metadata().and_then(|key| key.key_state());
                let state = state.ok_or_else(|| sdk_error::unusable("DescribeKey", "a key without a state"))?;
                return Ok(match state {
                    aws_sdk_kms::types::KeyState::Enabled => KeyState::Enabled,
                    other => KeyState::Unusable(other.as_str().to_owned()),
                });
            }
            Err(error) => error,
        };
        let code = aws_sdk_kms::error::ProvideErrorMetadata::code(&error).unwrap_or_default();
        match code {
            "NotFoundException" => Ok(KeyState::NotFound),
            "AccessDeniedException" => Ok(KeyState::NotTold(sdk_error::error_text(error))),
            _ => Err(sdk_error::failed("DescribeKey", error)),
        }
    }

    async fn change(&self, region: &Region, change: &Change) -> Result<Changed, Ec2Error> {
        changes::send(&self.ec2.client(region), region, change, changes::Mode::Act).await
    }

    async fn allowed(&self, region: &Region, change: &Change) -> Result<Permission, Ec2Error> {
        let answer = changes::send(&self.ec2.client(region), region, change, changes::Mode::Ask).await;
        changes::permission(answer, region, change)
    }
}

/// Tasks on a page: 50 at most (API reference of `DescribeReplaceRootVolumeTasks`).
const PAGE_OF_TASKS: i32 = 50;
