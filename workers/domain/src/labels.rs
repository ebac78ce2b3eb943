//! The tags and the description that snapshots and copies get.
//!
//! The devices of a set are in `Devices`, `Devices.2`, …:
//!
//! ```
//! use domain::{labels::devices_of, tags::tags};
//! let found = devices_of(&tags([("Devices", "/dev/sda1=vol-1a /dev/sdf=vol-2b")]));
//! assert_eq!(found[1].device, "/dev/sdf");
//! assert_eq!(found[1].volume.as_str(), "vol-2b");
//! ```

mod continued;
mod details;
mod room;

use chrono::{NaiveDate, SecondsFormat};

use continued::is_of;
pub(crate) use continued::{tags_of, values};
use details::word_of;
pub use details::{VolumeAs, instance_as, instance_tags, volumes_of, volumes_tags};
pub use room::{Details, LeftOut};

use crate::{
    earlier_scripts::described,
    error::cut,
    fleet::{Attachment, InstanceAs, Snapshot, Tags},
    hooks::script::{Dump, Level},
    ids::{InstanceId, Region, VolumeId},
    proof::PROOF_KEYS,
    retention::RetentionDays,
    tags::{
        AUTOMATED, BACKUP_CROSS_REGION, BACKUP_FROM_REGION, BACKUP_RUN, CONSISTENCY, CONSISTENCY_REASON, CREATED_ON,
        DELETE_ON, DEVICES, DUMP_AT, DUMP_PATH, DUMP_SHA256, DUMP_VOLUME, HOOK_EXECUTION, INSTANCE_AS, KEEP_FOREVER,
        MAX_TAGS, MAX_VALUE, NAME, RETENTION_CROSS_REGION, SOURCE_DEVICE, SOURCE_INSTANCE_ID, SOURCE_RUN,
        SOURCE_SNAPSHOT_ID, SOURCE_STARTED, SOURCE_VOLUME_ID, SOURCE_VOLUMES, TYPE, VERIFIED_AS, VERIFIED_ON, VOLUMES,
        keep_forever, tags,
    },
};

/// The values of the tags of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotLabels<'a> {
    /// The instance's name, or its id.
    pub name: &'a str,
    pub instance: &'a InstanceId,
    pub run_id: &'a str,
    /// The day on which the set is begun.
    pub created_on: NaiveDate,
    pub retention: RetentionDays,
    pub retention_cross_region: Option<RetentionDays>,
    /// The instance's `BackupCrossRegion` as it was written.
    pub backup_cross_region: Option<&'a str>,
    pub keep_forever: Option<&'a str>,
    pub devices: &'a [Attachment],
    /// How the volumes were provisioned, and as what the instance was launched: see [`details_of`].
    pub details: &'a Details,
    /// What is known of its consistency when it is begun, where more was asked for.
    pub begun: Option<BegunAs<'a>>,
}

/// What is known of the consistency of a set when it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BegunAs<'a> {
    /// By the hook of this execution id the instance is frozen; the post-script has still to say so.
    Frozen(&'a str),
    /// It is not, for this reason.
    Unfrozen(Option<&'a str>),
}

impl BegunAs<'_> {
    /// No more than crash-consistent: what is more has to be proven.
    fn tags(self) -> Tags {
        let mut tags = tags([(CONSISTENCY, "crash")]);
        match self {
            Self::Frozen(execution) => _ = tags.insert(HOOK_EXECUTION.into(), execution.into()),
            Self::Unfrozen(Some(reason)) => _ = tags.insert(CONSISTENCY_REASON.into(), value(reason)),
            Self::Unfrozen(None) => {}
        }
        tags
    }
}

/// A text as the value of a tag: of at most 256 characters, on one line.
pub fn value(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&line, MAX_VALUE)
}

/// What a hook's scripts made of a set, for [`consistency_tags`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency<'a> {
    /// How good it is.
    pub level: Level,
    /// Why not better.
    pub reason: Option<&'a str>,
    /// The dump that is in it, and the volume that it is on.
    pub dump: Option<(&'a Dump, &'a VolumeId)>,
}

/// The tags that a set gets once the post-script has ended: they replace those that it was begun with.
pub fn consistency_tags(known: &Consistency<'_>) -> Tags {
    let mut tags = tags([(CONSISTENCY, known.level.to_string().as_str())]);
    if let Some(reason) = known.reason {
        tags.insert(CONSISTENCY_REASON.into(), value(reason));
    }
    if let Some((dump, volume)) = known.dump {
        tags.insert(DUMP_AT.into(), dump.at.to_rfc3339_opts(SecondsFormat::Secs, true));
        tags.insert(DUMP_VOLUME.into(), volume.to_string());
        tags.insert(DUMP_PATH.into(), dump.path.clone());
        tags.insert(DUMP_SHA256.into(), dump.sha256.to_ascii_lowercase());
    }
    tags
}

/// The keys of [`consistency_tags`]: what a role may write that raises a set.
pub const CONSISTENCY_KEYS: [&str; 6] = [CONSISTENCY, CONSISTENCY_REASON, DUMP_AT, DUMP_VOLUME, DUMP_PATH, DUMP_SHA256];

impl SnapshotLabels<'_> {
    /// The tags, the same for every snapshot of the set.
    pub fn tags(&self) -> Tags {
        let mut tags = tags([
            (NAME, self.name),
            (TYPE, AUTOMATED),
            (BACKUP_RUN, self.run_id),
            (SOURCE_INSTANCE_ID, self.instance.as_str()),
        ]);
        tags.insert(CREATED_ON.into(), self.created_on.to_string());
        tags.insert(DELETE_ON.into(), self.retention.delete_on(self.created_on).to_string());
        if let Some(days) = self.retention_cross_region {
            tags.insert(RETENTION_CROSS_REGION.into(), days.to_string());
        }
        if let Some(regions) = self.backup_cross_region {
            tags.insert(BACKUP_CROSS_REGION.into(), regions.into());
        }
        if let Some(value) = self.keep_forever {
            tags.insert(KEEP_FOREVER.into(), value.into());
        }
        tags.extend(devices_tags(self.devices));
        tags.extend(self.details.tags.clone());
        tags.extend(self.begun.map(BegunAs::tags).unwrap_or_default());
        tags
    }
}

/// What each snapshot may carry beside `Devices` and the details. A hook and a drill write some of it later, and must
/// find room.
const OTHER_KEYS: [&str; 18] = [
    NAME,
    TYPE,
    BACKUP_RUN,
    SOURCE_INSTANCE_ID,
    CREATED_ON,
    DELETE_ON,
    RETENTION_CROSS_REGION,
    BACKUP_CROSS_REGION,
    KEEP_FOREVER,
    HOOK_EXECUTION,
    CONSISTENCY,
    CONSISTENCY_REASON,
    DUMP_AT,
    DUMP_VOLUME,
    DUMP_PATH,
    DUMP_SHA256,
    VERIFIED_ON,
    VERIFIED_AS,
];

/// The details of a set, as far as there is room for them beside its other tags.
pub fn details_of(devices: &[Attachment], volumes: &[VolumeAs], instance: &InstanceAs) -> Details {
    let others = OTHER_KEYS.len() + devices_tags(devices).len();
    Details::fitting(volumes, instance, MAX_TAGS.saturating_sub(others))
}

/// `Devices`, `Devices.2`, ….
pub fn devices_tags(devices: &[Attachment]) -> Tags {
    tags_of(DEVICES, devices.iter().map(|Attachment { device, volume }| format!("{device}={volume}")))
}

/// The devices and volumes that [`devices_tags`] wrote. A pair that cannot be read is left out.
///
/// The name of a device may contain spaces: a pair ends with its volume.
pub fn devices_of(tags: &Tags) -> Vec<Attachment> {
    let (mut found, mut name) = (Vec::new(), String::new());
    for value in values(tags, DEVICES) {
        for word in value.split(' ') {
            let pair = word.rsplit_once('=').and_then(|(end, volume)| Some((end, volume.parse().ok()?)));
            match pair {
                Some((end, volume)) => found.push(Attachment { device: std::mem::take(&mut name) + end, volume }),
                None => name = name + word + " ",
            }
        }
        name.clear();
    }
    found
}

/// Bytes that the description and the tags of a copy may take in its pre-signed URL.
///
/// The URL carries every parameter of the call, and may have 8 KB (assumed, see docs/aws.md). The rest of it needs some
/// 900 bytes, and the session token of a function's credentials some 2,000.
const MAX_COPY_URL_BYTES: usize = 5_000;

/// The tags of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyLabels {
    pub tags: Tags,
    /// The keys of the source's tags for which there was no room.
    pub dropped: Vec<String>,
}

/// The tags of a copy: the ones of this system, then the other tags of the source as far as there is room.
///
/// Only AWS can write tags that begin with `aws:`. `BackupCrossRegion` would ask for copies of the copy; `SourceDevice`
/// takes the place of `Devices`, and of `Volumes` it has its own volume's part. What a drill has proven of the source is
/// not proven of the copy.
pub fn copy_labels(
    source: &Snapshot,
    home: &Region,
    run_id: &str,
    created_on: NaiveDate,
    delete_on: NaiveDate,
) -> CopyLabels {
    let mut ours = tags([
        (CREATED_ON, created_on.to_string().as_str()),
        (DELETE_ON, &delete_on.to_string()),
        (TYPE, AUTOMATED),
        (BACKUP_FROM_REGION, home.as_str()),
        (BACKUP_RUN, run_id),
        (SOURCE_SNAPSHOT_ID, source.id.as_str()),
    ]);
    if let Some(volume) = &source.volume {
        ours.insert(SOURCE_VOLUME_ID.into(), volume.to_string());
    }
    if let Some(device) = device_of(source) {
        ours.insert(SOURCE_DEVICE.into(), device);
    }
    // With these, a restore finds the copies of one moment, and knows whether it has all, without the home region.
    ours.insert(SOURCE_STARTED.into(), source.started.to_rfc3339_opts(SecondsFormat::Millis, true));
    if let Some(run_id) = source.tags.get(BACKUP_RUN) {
        ours.insert(SOURCE_RUN.into(), run_id.clone());
    }
    let set = devices_of(&source.tags);
    if !set.is_empty() {
        ours.insert(SOURCE_VOLUMES.into(), set.len().to_string());
    }
    for key in [NAME, SOURCE_INSTANCE_ID, RETENTION_CROSS_REGION, HOOK_EXECUTION].into_iter().chain(CONSISTENCY_KEYS) {
        if let Some(value) = source.tags.get(key) {
            ours.insert(key.into(), value.clone());
        }
    }
    if let Some(value) = keep_forever(&source.tags) {
        ours.insert(KEEP_FOREVER.into(), value.clone());
    }
    let of_volume = source.volume.as_ref().and_then(|volume| word_of(&source.tags, volume));
    let of_instance = source.tags.iter().filter(|(key, _)| is_of(INSTANCE_AS, key));
    let stays = |key: &str| {
        let continued = [DEVICES, VOLUMES, INSTANCE_AS].iter().any(|first| is_of(first, key));
        key.starts_with("aws:") || key == BACKUP_CROSS_REGION || continued || PROOF_KEYS.contains(&key)
    };
    let bytes = encoded(&source.description) + bytes_of(&ours);
    let foreign: Vec<_> = source.tags.iter().filter(|(key, _)| !stays(key) && !ours.contains_key(*key)).collect();
    let mut room = CopyRoom { bytes, labels: CopyLabels { tags: ours, dropped: Vec::new() } };
    room.add(of_volume.map(|word| (VOLUMES, word)));
    // All of it or nothing: a part would be read as the whole.
    room.add(of_instance.map(|(key, value)| (key.as_str(), value.as_str())));
    foreign.into_iter().for_each(|(key, value)| room.add([(key.as_str(), value.as_str())]));
    room.labels
}

/// What the tags of a copy take of its room.
struct CopyRoom {
    bytes: usize,
    labels: CopyLabels,
}

impl CopyRoom {
    /// Adds tags that belong together, or drops them. A drill must find room for its own.
    fn add<'a>(&mut self, more: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let more = tags(more);
        let bytes = self.bytes + bytes_of(&more);
        if self.labels.tags.len() + more.len() <= MAX_TAGS - PROOF_KEYS.len() && bytes <= MAX_COPY_URL_BYTES {
            self.bytes = bytes;
            self.labels.tags.extend(more);
        } else {
            self.labels.dropped.extend(more.into_keys());
        }
    }
}

fn bytes_of(tags: &Tags) -> usize {
    tags.iter().map(|(key, value)| bytes_in_url(key, value)).sum()
}

/// Bytes of a tag in a URL, with the names of its two parameters.
fn bytes_in_url(key: &str, value: &str) -> usize {
    const NAMES: usize = "&TagSpecification.1.Tag.50.Key=&TagSpecification.1.Tag.50.Value=".len();
    NAMES + encoded(key) + encoded(value)
}

/// Bytes of a text in a URL: the unreserved characters of RFC 3986 take one byte, every other byte takes three.
fn encoded(text: &str) -> usize {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { 1 } else { 3 }).sum()
}

/// Characters in a snapshot's description, at most (an error message of EC2 says so).
const MAX_DESCRIPTION: usize = 255;

/// The description of an instance's snapshots: `Name - i-…`, of at most 255 printable ASCII characters.
///
/// A character that is not ASCII becomes `?`, and a long name is cut. The tag `Name` has the name unchanged.
pub fn description(name: &str, instance: &InstanceId) -> String {
    let end = format!(" - {instance}");
    printable(name).chars().take(MAX_DESCRIPTION - end.len()).chain(end.chars()).collect()
}

/// Makes a description that EC2 accepts.
pub fn printable(text: &str) -> String {
    let allowed = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().map(allowed).take(MAX_DESCRIPTION).collect()
}

/// The device of a snapshot's volume: from `Devices`, or from the description `Name - vol-… (device)` of the earlier
/// scripts.
pub fn device_of(snapshot: &Snapshot) -> Option<String> {
    let volume = snapshot.volume.as_ref()?;
    let tagged = devices_of(&snapshot.tags).into_iter().find(|a| a.volume == *volume).map(|a| a.device);
    tagged.or_else(|| described(&snapshot.description).filter(|a| a.volume == *volume).map(|a| a.device))
}

#[cfg(test)]
mod tests;
