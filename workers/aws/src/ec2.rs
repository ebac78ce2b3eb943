//! EC2 through the SDK.

pub(crate) mod errors;
pub(crate) mod filters;
pub(crate) mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::SystemTime,
};

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_ec2::{
    Client, config,
    operation::{
        describe_instances::builders::DescribeInstancesFluentBuilder,
        describe_volumes::builders::DescribeVolumesFluentBuilder,
    },
    types::{
        self, ResourceType, TagSpecification,
        VolumeState::{Deleted, Deleting, Error},
    },
};
use domain::{
    error::{Ec2Error, NOT_SENT},
    expiry::Holders,
    fleet::{Attachment, Instance, Regions, Snapshot, Tags, Volume},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::{CopyOrder, CreateSet, Created, Ec2, SnapshotFilter},
    restore::identity::needed_still,
    tags,
};

use crate::{metrics::CountThrottled, presign};

use errors::{failed, unreadable, without_credential};
use filters::{MAX_FILTER_VALUES, PAGE, filter, filters, page_size};
use reading::{read_instance, read_snapshot, read_tags, read_volume};

/// EC2 in every region, one client each.
pub struct Ec2Client {
    home: Region,
    config: SdkConfig,
    clients: Mutex<BTreeMap<Region, Client>>,
}

impl Ec2Client {
    /// The client of a region is built when it is first needed.
    pub fn new(config: &SdkConfig, home: Region) -> Self {
        Self { home, config: config.clone(), clients: Mutex::default() }
    }

    pub(crate) fn client(&self, region: &Region) -> Client {
        // A poisoned lock only means that another thread panicked during a lookup.
        let mut clients = self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = || {
            let own = config::Builder::from(&self.config).region(config::Region::new(region.as_str().to_owned()));
            Client::from_conf(own.interceptor(CountThrottled).build())
        };
        clients.entry(region.clone()).or_insert_with(new).clone()
    }

    /// Reads all pages of a list of instances.
    async fn read_instances(
        &self,
        request: DescribeInstancesFluentBuilder,
        visit: &mut dyn FnMut(Instance),
    ) -> Result<(), Ec2Error> {
        let action = "DescribeInstances";
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed(action, &self.home))?;
            for instance in page.reservations().iter().flat_map(|r| r.instances()) {
                let read = read_instance(instance);
                visit(read.ok_or_else(|| unreadable(action, &self.home, "an instance without an id"))?);
            }
        }
        Ok(())
    }

    /// Reads all pages of a list of volumes.
    async fn read_volumes(
        &self,
        request: DescribeVolumesFluentBuilder,
        visit: &mut dyn FnMut(Volume),
    ) -> Result<(), Ec2Error> {
        let action = "DescribeVolumes";
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            for volume in page.map_err(failed(action, &self.home))?.volumes() {
                let read = read_volume(volume);
                visit(read.ok_or_else(|| unreadable(action, &self.home, "a volume without an id"))?);
            }
        }
        Ok(())
    }
}

/// For the calls without a client token: a retry by the SDK would make a second snapshot or copy.
pub(crate) fn never_repeated() -> config::Builder {
    config::Builder::new().retry_config(RetryConfig::disabled())
}

pub(crate) fn tag_list(own: &Tags) -> Vec<types::Tag> {
    own.iter().map(|(key, value)| types::Tag::builder().key(key).value(value).build()).collect()
}

fn specification(own: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(ResourceType::Snapshot).set_tags(Some(tag_list(own))).build()
}

impl Ec2 for Ec2Client {
    async fn regions(&self) -> Result<Regions, Ec2Error> {
        let answer = self
            .client(&self.home)
            .describe_regions()
            .all_regions(true)
            .send()
            .await
            .map_err(failed("DescribeRegions", &self.home))?;
        let mut regions =
            Regions { home: self.home.clone(), enabled: Default::default(), disabled: Default::default() };
        for region in answer.regions() {
            let Some(Ok(code)) = region.region_name().map(str::parse) else { continue };
            match region.opt_in_status() {
                Some("not-opted-in") => regions.disabled.insert(code),
                _ => regions.enabled.insert(code),
            };
        }
        Ok(regions)
    }

    async fn each_instance(&self, visit: &mut dyn FnMut(Instance)) -> Result<(), Ec2Error> {
        let request = self.client(&self.home).describe_instances().max_results(PAGE);
        self.read_instances(request, visit).await
    }

    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error> {
        let request = self.client(&self.home).describe_volumes().max_results(PAGE);
        self.read_volumes(request, visit).await
    }

    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error> {
        let (client, mut volumes, mut instances) = (self.client(&self.home), Vec::new(), Vec::new());
        for chunk in ids.chunks(MAX_FILTER_VALUES) {
            let request = client.describe_volumes().filters(filter("volume-id", chunk.iter().map(VolumeId::as_str)));
            self.read_volumes(request, &mut |volume| volumes.push(volume)).await?;
        }
        let having: BTreeSet<&InstanceId> = volumes.iter().flat_map(|volume| &volume.attached_to).collect();
        let having: Vec<&str> = having.into_iter().map(InstanceId::as_str).collect();
        for chunk in having.chunks(MAX_FILTER_VALUES) {
            let request = client.describe_instances().filters(filter("instance-id", chunk.iter().copied()));
            self.read_instances(request, &mut |instance| instances.push(instance)).await?;
        }
        Ok((volumes, instances))
    }

    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error> {
        let (client, mut holders) = (self.client(region), Holders::new());
        // A disabled image cannot be launched, but still holds its snapshots.
        let images = client.describe_images().owners("self").include_disabled(true).include_deprecated(true);
        let mut pages = images.into_paginator().page_size(PAGE).send();
        while let Some(page) = pages.next().await {
            for image in page.map_err(failed("DescribeImages", region))?.images() {
                let id = image.image_id().unwrap_or("without an id");
                for mapping in image.block_device_mappings() {
                    if let Some(snapshot) = mapping.ebs().and_then(|ebs| ebs.snapshot_id()?.parse().ok()) {
                        holders.insert(snapshot, format!("image {id}"));
                    }
                }
            }
        }
        let mut token = None;
        loop {
            let request = client.describe_locked_snapshots().max_results(PAGE).set_next_token(token.clone());
            let page = request.send().await.map_err(failed("DescribeLockedSnapshots", region))?;
            for locked in page.snapshots() {
                let state = locked.lock_state().map(types::LockState::as_str).unwrap_or("unknown");
                // An expired lock holds nothing.
                if let (Some(id), true) = (locked.snapshot_id().and_then(|id| id.parse().ok()), state != "expired") {
                    holders.insert(id, format!("a lock ({state})"));
                }
            }
            // Some calls of EC2 end with an empty token, and the SDK has no paginator for this one.
            let next = page.next_token().filter(|next| !next.is_empty()).map(str::to_owned);
            if next.is_none() || next == token {
                return Ok(holders);
            }
            token = next;
        }
    }

    async fn needed_by_restores(&self, region: &Region) -> Result<Holders, Ec2Error> {
        let mut needed = Holders::new();
        let volumes = self.client(region).describe_volumes().filters(filter("tag-key", [tags::RESTORE_PLAN]));
        let mut pages = volumes.into_paginator().send();
        while let Some(page) = pages.next().await {
            for volume in page.map_err(failed("DescribeVolumes", region))?.volumes() {
                let tags = read_tags(volume.tags());
                let is_nothing = matches!(volume.state(), Some(Error | Deleting | Deleted));
                if let (Some((plan, set)), false) = (needed_still(&tags), is_nothing) {
                    needed.extend(set.into_iter().map(|id| (id, format!("restore {plan}, which is not finished"))));
                }
            }
        }
        Ok(needed)
    }

    async fn each_snapshot(
        &self,
        region: &Region,
        which: &SnapshotFilter,
        visit: &mut dyn FnMut(Snapshot),
    ) -> Result<(), Ec2Error> {
        let client = self.client(region);
        for filters in filters(which) {
            let request = client.describe_snapshots().owner_ids("self").set_filters(Some(filters));
            let mut pages = request.set_max_results(page_size(which)).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(failed("DescribeSnapshots", region))?;
                for snapshot in page.snapshots() {
                    let read = read_snapshot(snapshot);
                    visit(read.ok_or_else(|| unreadable("DescribeSnapshots", region, "a snapshot without an id"))?);
                }
            }
        }
        Ok(())
    }

    async fn create_set(&self, set: &CreateSet<'_>) -> Result<Vec<Created>, Ec2Error> {
        let action = "CreateSnapshots";
        let excluded: Vec<String> = set.exclude.iter().map(ToString::to_string).collect();
        let instance = types::InstanceSpecification::builder()
            .instance_id(set.instance.as_str())
            .set_exclude_boot_volume(set.exclude_root.then_some(true))
            .set_exclude_data_volume_ids((!excluded.is_empty()).then_some(excluded))
            .build();
        let answer = self
            .client(&self.home)
            .create_snapshots()
            .instance_specification(instance)
            .description(set.description)
            .tag_specifications(specification(set.tags))
            .customize()
            .config_override(never_repeated())
            .send()
            .await
            .map_err(failed(action, &self.home))?;
        let read = |s: &types::SnapshotInfo| {
            Some(Created { id: s.snapshot_id()?.parse().ok()?, volume: s.volume_id()?.parse().ok()? })
        };
        let created: Option<Vec<_>> = answer.snapshots().iter().map(read).collect();
        created.ok_or_else(|| unreadable(action, &self.home, "a snapshot without an id"))
    }

    async fn create_one(&self, volume: &Attachment, description: &str, own: &Tags) -> Result<SnapshotId, Ec2Error> {
        let action = "CreateSnapshot";
        let answer = self
            .client(&self.home)
            .create_snapshot()
            .volume_id(volume.volume.as_str())
            .description(description)
            .tag_specifications(specification(own))
            .customize()
            .config_override(never_repeated())
            .send()
            .await
            .map_err(failed(action, &self.home))?;
        let id = answer.snapshot_id().and_then(|id| id.parse().ok());
        id.ok_or_else(|| unreadable(action, &self.home, "no snapshot id"))
    }

    async fn copy(&self, order: &CopyOrder<'_>) -> Result<SnapshotId, Ec2Error> {
        let action = "CopySnapshot";
        let not_signed =
            |message: String| Ec2Error { action, region: order.to.to_string(), code: NOT_SENT.into(), message };
        let provider =
            self.config.credentials_provider().ok_or_else(|| not_signed("there are no credentials".into()))?;
        let credentials =
            provider.provide_credentials().await.map_err(|e| not_signed(format!("no credentials: {e}")))?;
        let url = presign::presigned_url(order, &credentials, SystemTime::now())
            .map_err(|e| not_signed(format!("the URL cannot be signed: {e}")))?;
        let answer = self
            .client(order.to)
            .copy_snapshot()
            .source_region(order.from.as_str())
            .source_snapshot_id(order.source.as_str())
            .destination_region(order.to.as_str())
            .presigned_url(&url)
            .set_encrypted(order.kms_key.map(|_| true))
            .set_kms_key_id(order.kms_key.map(str::to_owned))
            .set_description((!order.description.is_empty()).then(|| order.description.to_owned()))
            .set_tag_specifications((!order.tags.is_empty()).then(|| vec![specification(order.tags)]))
            .customize()
            .config_override(never_repeated())
            .send()
            .await
            .map_err(failed(action, order.to))
            .map_err(|error| without_credential(error, &url))?;
        let id = answer.snapshot_id().and_then(|id| id.parse().ok());
        id.ok_or_else(|| unreadable(action, order.to, "no snapshot id"))
    }

    async fn delete(&self, region: &Region, snapshot: &SnapshotId) -> Result<(), Ec2Error> {
        let request = self.client(region).delete_snapshot().snapshot_id(snapshot.as_str());
        request.send().await.map_err(failed("DeleteSnapshot", region))?;
        Ok(())
    }

    async fn keep_forever(&self, region: &Region, snapshot: &SnapshotId, value: &str) -> Result<(), Ec2Error> {
        let tag = types::Tag::builder().key(tags::KEEP_FOREVER).value(value).build();
        let request = self.client(region).create_tags().resources(snapshot.as_str()).tags(tag);
        request.send().await.map_err(failed("CreateTags", region))?;
        Ok(())
    }

    async fn set_tags(&self, region: &Region, snapshots: &[SnapshotId], own: &Tags) -> Result<(), Ec2Error> {
        let ids = snapshots.iter().map(ToString::to_string).collect();
        let request = self.client(region).create_tags().set_resources(Some(ids)).set_tags(Some(tag_list(own)));
        request.send().await.map_err(failed("CreateTags", region))?;
        Ok(())
    }
}
