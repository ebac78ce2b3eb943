//! EC2 through the SDK: pages, filters, error codes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::SystemTime,
};

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_ec2::{
    Client,
    config::{self, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    types::{self, Filter, ResourceType, TagSpecification},
};
use domain::{
    error::{Ec2Error, LOST_ANSWER, NOT_SENT, Reaction},
    expiry::Holders,
    fleet::{Attachment, Instance, Regions, Snapshot, SnapshotState, Tags, Volume},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::{CopyOrder, CreateSet, Created, Ec2, SnapshotFilter},
    tags,
};

use crate::presign;

/// Values in one filter, at most 200 in a call (EC2 user guide, "List and filter using the CLI and API"); one is left
/// for a second filter.
const MAX_FILTER_VALUES: usize = 199;

/// Results per page: the most that the API gives.
const PAGE: i32 = 1000;

/// `KeepForever` in whatever case, and some other keys: EC2 tells letters apart, and the caller reads the tags.
/// `?` is one character or none (EC2 user guide, the same page).
const KEEP_FOREVER_IN_ANY_CASE: [&str; 4] = ["K?????????r", "K?????????R", "k?????????r", "k?????????R"];

/// The page size of a selection: none where it is small.
///
/// With a page size EC2 cuts pages first and filters them then, so that looking for a few costs as many pages as the
/// region has snapshots (boto3 issue 1776; the AWS CLI sets none beside filters). Without one the answer is whole, or
/// has a token all the same.
fn page_size(which: &SnapshotFilter) -> Option<i32> {
    match which {
        SnapshotFilter::Own | SnapshotFilter::Automated | SnapshotFilter::CopiesFrom(_) => Some(PAGE),
        _ => None,
    }
}

/// EC2 in every region, one client each.
pub struct Ec2Client {
    home: Region,
    config: SdkConfig,
    clients: Mutex<BTreeMap<Region, Client>>,
}

impl Ec2Client {
    /// A client for the home region; those of other regions are made when they are needed.
    pub fn new(config: &SdkConfig, home: Region) -> Self {
        Self { home, config: config.clone(), clients: Mutex::default() }
    }

    fn client(&self, region: &Region) -> Client {
        // A poisoned lock only means that another thread panicked while it looked something up.
        let mut clients = self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = || {
            let config =
                config::Builder::from(&self.config).region(config::Region::new(region.as_str().to_owned())).build();
            Client::from_conf(config)
        };
        clients.entry(region.clone()).or_insert_with(new).clone()
    }
}

/// For the calls that have no client token: repeated, they would act twice.
fn never_repeated() -> config::Builder {
    config::Builder::new().retry_config(RetryConfig::disabled())
}

fn failed<E: ProvideErrorMetadata>(
    action: &'static str,
    region: &Region,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Ec2Error {
    move |error| {
        let (code, message) = match &error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                answered(status, service.err().code(), service.err().message().unwrap_or("no message"))
            }
            SdkError::ConstructionFailure(_) => (NOT_SENT.into(), "the request could not be made".into()),
            SdkError::DispatchFailure(f) if f.is_io() || f.is_timeout() || f.is_other() => {
                (LOST_ANSWER.into(), "the connection failed".into())
            }
            SdkError::DispatchFailure(_) => (NOT_SENT.into(), "the request could not be sent".into()),
            SdkError::TimeoutError(_) => (LOST_ANSWER.into(), "no answer in time".into()),
            _ => (LOST_ANSWER.into(), "the answer could not be read".into()),
        };
        Ec2Error { action, region: region.to_string(), code, message }
    }
}

/// Code and message of an answer that is an error.
///
/// Any 5xx that is not a throttle may have been carried out, whatever its code, and whether EC2 or something between
/// here and EC2 sent it.
fn answered(status: u16, code: Option<&str>, message: &str) -> (String, String) {
    let code = code.unwrap_or("Unknown");
    let error = Ec2Error { action: "", region: String::new(), code: code.into(), message: message.into() };
    match error.reaction() {
        Reaction::Never(_) | Reaction::Transient | Reaction::Later(_) if status >= 500 && !error.is_throttle() => {
            (LOST_ANSWER.into(), format!("{code}: {message}"))
        }
        _ => (error.code, error.message),
    }
}

/// EC2 may repeat a parameter that it refuses; the pre-signed URL is a credential, and goes into no log.
fn without_credential(error: Ec2Error, url: &str) -> Ec2Error {
    let message = error.message.replace(url, "(the pre-signed URL)");
    let message = if message.contains("X-Amz-") { "about the pre-signed URL".into() } else { message };
    Ec2Error { message, ..error }
}

fn unreadable(action: &'static str, region: &Region, what: &str) -> Ec2Error {
    Ec2Error { action, region: region.to_string(), code: LOST_ANSWER.into(), message: format!("the answer has {what}") }
}

fn filter(name: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().map(Into::into).collect())).build()
}

fn tag_filter(key: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    filter(format!("tag:{key}"), values)
}

/// The filters of each call that a selection takes: one, or as many as its values need.
fn filters(which: &SnapshotFilter) -> Vec<Vec<Filter>> {
    fn in_chunks<T>(ids: &[T], name: &str, value: impl Fn(&T) -> String) -> Vec<Vec<Filter>> {
        ids.chunks(MAX_FILTER_VALUES).map(|chunk| vec![filter(name, chunk.iter().map(&value))]).collect()
    }
    match which {
        SnapshotFilter::Own => vec![vec![]],
        SnapshotFilter::Automated => vec![vec![tag_filter(tags::TYPE, [tags::AUTOMATED])]],
        SnapshotFilter::Ids(ids) => in_chunks(ids, "snapshot-id", ToString::to_string),
        SnapshotFilter::CopiesOf(sources) => {
            in_chunks(sources, &format!("tag:{}", tags::SOURCE_SNAPSHOT_ID), ToString::to_string)
        }
        SnapshotFilter::CopiesFrom(home) => vec![vec![tag_filter(tags::BACKUP_FROM_REGION, [home.as_str()])]],
        SnapshotFilter::BackupsOf(volumes) => [
            in_chunks(volumes, "volume-id", ToString::to_string),
            in_chunks(volumes, &format!("tag:{}", tags::SOURCE_VOLUME_ID), ToString::to_string),
            // Copies of the earlier scripts have the volume in their description alone.
            in_chunks(volumes, "description", |volume| format!("*{volume}*")),
        ]
        .concat(),
        SnapshotFilter::MadeBy(run_id) => vec![vec![tag_filter(tags::BACKUP_RUN, [run_id])]],
        SnapshotFilter::OfRun(run_id, instances) => instances
            .chunks(MAX_FILTER_VALUES)
            .map(|chunk| {
                vec![
                    tag_filter(tags::BACKUP_RUN, [run_id]),
                    tag_filter(tags::SOURCE_INSTANCE_ID, chunk.iter().map(|id| id.as_str())),
                ]
            })
            .collect(),
        SnapshotFilter::KeptForever => vec![vec![filter("tag-key", KEEP_FOREVER_IN_ANY_CASE)]],
        // Whatever their `Type`: it may have been changed by hand.
        SnapshotFilter::PendingCopies => {
            vec![vec![filter("tag-key", [tags::BACKUP_FROM_REGION]), filter("status", ["pending"])]]
        }
    }
}

fn tag_list(own: &Tags) -> Vec<types::Tag> {
    own.iter().map(|(key, value)| types::Tag::builder().key(key).value(value).build()).collect()
}

fn specification(own: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(ResourceType::Snapshot).set_tags(Some(tag_list(own))).build()
}

fn read_tags(list: &[types::Tag]) -> Tags {
    list.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

fn read_snapshot(snapshot: &types::Snapshot) -> Option<Snapshot> {
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
        started: chrono::DateTime::from_timestamp(started.secs(), started.subsec_nanos())?,
        description: snapshot.description().unwrap_or_default().to_owned(),
        state_message: snapshot.state_message().map(str::to_owned),
        tags: read_tags(snapshot.tags()),
    })
}

fn read_instance(instance: &types::Instance) -> Option<Instance> {
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

fn read_volume(volume: &types::Volume) -> Option<Volume> {
    Some(Volume {
        id: volume.volume_id()?.parse().ok()?,
        tags: read_tags(volume.tags()),
        attached_to: volume.attachments().iter().filter_map(|a| a.instance_id()?.parse().ok()).collect(),
    })
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
        let client = self.client(&self.home);
        let mut pages = client.describe_instances().into_paginator().page_size(PAGE).send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("DescribeInstances", &self.home))?;
            for instance in page.reservations().iter().flat_map(|r| r.instances()) {
                let read = read_instance(instance);
                visit(read.ok_or_else(|| unreadable("DescribeInstances", &self.home, "an instance without an id"))?);
            }
        }
        Ok(())
    }

    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error> {
        let client = self.client(&self.home);
        let mut pages = client.describe_volumes().into_paginator().page_size(PAGE).send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("DescribeVolumes", &self.home))?;
            for volume in page.volumes() {
                let read = read_volume(volume);
                visit(read.ok_or_else(|| unreadable("DescribeVolumes", &self.home, "a volume without an id"))?);
            }
        }
        Ok(())
    }

    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error> {
        let (client, mut volumes, mut instances) = (self.client(&self.home), Vec::new(), Vec::new());
        for chunk in ids.chunks(MAX_FILTER_VALUES) {
            let request = client.describe_volumes().filters(filter("volume-id", chunk.iter().map(VolumeId::as_str)));
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                for volume in page.map_err(failed("DescribeVolumes", &self.home))?.volumes() {
                    let read = read_volume(volume);
                    volumes
                        .push(read.ok_or_else(|| unreadable("DescribeVolumes", &self.home, "a volume without an id"))?);
                }
            }
        }
        let having: BTreeSet<&InstanceId> = volumes.iter().flat_map(|volume| &volume.attached_to).collect();
        let having: Vec<&str> = having.into_iter().map(InstanceId::as_str).collect();
        for chunk in having.chunks(MAX_FILTER_VALUES) {
            let request = client.describe_instances().filters(filter("instance-id", chunk.iter().copied()));
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(failed("DescribeInstances", &self.home))?;
                for instance in page.reservations().iter().flat_map(|r| r.instances()) {
                    let read = read_instance(instance);
                    instances.push(
                        read.ok_or_else(|| unreadable("DescribeInstances", &self.home, "an instance without an id"))?,
                    );
                }
            }
        }
        Ok((volumes, instances))
    }

    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error> {
        let (client, mut holders) = (self.client(region), Holders::new());
        // A disabled image cannot be launched, and holds its snapshots all the same.
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
            // For some calls EC2 ends with an empty token; this one has no paginator that knows.
            let next = page.next_token().filter(|next| !next.is_empty()).map(str::to_owned);
            if next.is_none() || next == token {
                return Ok(holders);
            }
            token = next;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_carries_the_pre_signed_url() {
        let url = "https://ec2.eu-west-1.amazonaws.com/?Action=CopySnapshot&X-Amz-Signature=00";
        for message in [format!("Value ({url}) for parameter PresignedUrl is invalid"), "bad X-Amz-Signature=00".into()]
        {
            let error = Ec2Error {
                action: "CopySnapshot",
                region: "us-east-1".into(),
                code: "InvalidParameterValue".into(),
                message,
            };
            let shown = without_credential(error, url).to_string();
            assert!(!shown.contains("X-Amz-") && shown.contains("re-signed URL"), "{shown}");
        }
    }

    #[test]
    fn a_5xx_that_is_no_throttle_may_have_been_carried_out_whatever_its_code() {
        let reaction = |status, code| {
            let (code, message) = answered(status, code, "no");
            Ec2Error { action: "CopySnapshot", region: "us-east-1".into(), code, message }.reaction()
        };
        for code in
            [None, Some("ServerInternal"), Some("SomethingNew"), Some("UnauthorizedOperation"), Some("IncorrectState")]
        {
            assert_eq!(reaction(500, code), Reaction::MayHaveHappened, "{code:?}");
        }
        assert!(matches!(reaction(503, Some("RequestLimitExceeded")), Reaction::Later(_)));
        assert!(matches!(reaction(400, Some("SomethingNew")), Reaction::Never(_)));
    }

    #[test]
    fn keep_forever_is_found_in_whatever_case() {
        // `?` is one character or none.
        let matches = |pattern: &str, key: &str| {
            let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
            pattern[0] == key[0] && pattern.last() == key.last() && key.len() <= pattern.len()
        };
        let letters = tags::KEEP_FOREVER.as_bytes();
        for spelling in 0..1u32 << letters.len() {
            let cased = letters.iter().enumerate().map(|(at, letter)| match spelling >> at & 1 {
                0 => letter.to_ascii_lowercase() as char,
                _ => letter.to_ascii_uppercase() as char,
            });
            let key: String = cased.collect();
            assert!(KEEP_FOREVER_IN_ANY_CASE.iter().any(|pattern| matches(pattern, &key)), "{key}");
        }
    }

    #[test]
    fn a_long_list_of_ids_is_asked_for_in_chunks_that_a_filter_takes() {
        let ids: Vec<SnapshotId> = (0..450).map(|i| format!("snap-{i:017x}").parse().unwrap()).collect();
        let sizes: Vec<usize> =
            filters(&SnapshotFilter::Ids(ids)).iter().map(|filters| filters[0].values().len()).collect();
        assert_eq!(sizes, [199, 199, 52]);
    }
}
