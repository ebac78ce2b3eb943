//! The tag grammar: tags that operators write on instances and volumes, and tags that snapshots and copies carry.
//!
//! On an instance:
//!
//! ```
//! use domain::tags::{Backup, InstanceTags, tags};
//! let (read, problems) = InstanceTags::read(&tags([
//!     ("Backup", "yes"),
//!     ("Retention", "14"),
//!     ("BackupCrossRegion", "eu-west-1, us-east-1,eu-west-1"),
//! ]));
//! assert!(read.backup == Some(Backup::Yes) && problems.is_empty());
//! assert_eq!(read.copy_regions.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["eu-west-1", "us-east-1"]);
//!
//! // A tag that cannot be used is reported; the others still count.
//! let (read, problems) = InstanceTags::read(&tags([("Backup", "Yes"), ("Retention", "7d")]));
//! assert!(read.backup == Some(Backup::Yes) && read.retention.is_none());
//! assert_eq!(problems[0].to_string(), "Retention=\"7d\": allowed is a whole number of days from 1 to 36500");
//! ```
//!
//! `Backup` has three words, in upper or lower case, on instances and on volumes:
//!
//! ```
//! use domain::tags::Backup;
//! assert_eq!("yes".parse(), Ok(Backup::Yes)); // snapshots
//! assert_eq!("No".parse(), Ok(Backup::No)); // no snapshots; those that exist expire by date, the last one too
//! assert_eq!("HOLD".parse(), Ok(Backup::Hold)); // no snapshots; the last ones stay
//! assert!("true".parse::<Backup>().is_err()); // reported with what is allowed; it takes no protection away
//! ```
//!
//! [`crate::hooks`] reads the tags of hooks. On snapshots, dates are `YYYY-MM-DD` in UTC; [`crate::labels`] writes the
//! tags of snapshots.
#![warn(missing_docs)]

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    fleet::Tags,
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    retention::{self, RetentionDays},
};

/// On instances and volumes: one of the words of [`Backup`].
pub const BACKUP: &str = "Backup";
/// On instances: days that a snapshot is kept.
pub const RETENTION: &str = "Retention";
/// On instances and snapshots: days that a copy is kept.
pub const RETENTION_CROSS_REGION: &str = "RetentionCrossRegion";
/// On instances and snapshots: region codes, separated by commas.
pub const BACKUP_CROSS_REGION: &str = "BackupCrossRegion";
/// On instances and snapshots: present or not, with any value.
pub const KEEP_FOREVER: &str = "KeepForever";
/// `BackupHook`: see [`crate::hooks`].
pub const BACKUP_HOOK: &str = "BackupHook";
/// `BackupHookTimeout`: seconds.
pub const BACKUP_HOOK_TIMEOUT: &str = "BackupHookTimeout";
/// `BackupHookOnError`: what follows where the hook fails.
pub const BACKUP_HOOK_ON_ERROR: &str = "BackupHookOnError";
/// The name of an instance; its snapshots and copies carry it.
pub const NAME: &str = "Name";
/// The day of the snapshot; a copy has the day of its source.
pub const CREATED_ON: &str = "CreatedOn";
/// The first day on which the snapshot or copy is not wanted any more.
pub const DELETE_ON: &str = "DeleteOn";
/// On snapshots and copies: [`AUTOMATED`], or not from this system.
pub const TYPE: &str = "Type";
/// The value of `Type` on all snapshots and copies of this system and of the earlier scripts.
pub const AUTOMATED: &str = "Automated";
/// On copies: the region of the source.
pub const BACKUP_FROM_REGION: &str = "BackupFromRegion";
/// On snapshots and copies: the id of the run that made it.
pub const BACKUP_RUN: &str = "BackupRun";
/// On snapshots and copies.
pub const SOURCE_INSTANCE_ID: &str = "SourceInstanceId";
/// On copies.
pub const SOURCE_SNAPSHOT_ID: &str = "SourceSnapshotId";
/// On copies: the volume of the source. The volume id that EC2 shows for a copy is arbitrary.
pub const SOURCE_VOLUME_ID: &str = "SourceVolumeId";
/// On copies.
pub const SOURCE_DEVICE: &str = "SourceDevice";
/// On copies: when the source was begun. Copies with the same are of one moment, whenever they were made.
pub const SOURCE_STARTED: &str = "SourceStarted";
/// On copies: the run that made the source.
pub const SOURCE_RUN: &str = "SourceRun";
/// On copies: of how many volumes the set of the source is.
pub const SOURCE_VOLUMES: &str = "SourceVolumes";
/// On snapshots: the devices and volumes of the set, continued in `Devices.2`, ….
pub const DEVICES: &str = "Devices";
/// `Consistency`: of snapshots for which a hook was asked, [`crate::hooks::script::Level`].
pub const CONSISTENCY: &str = "Consistency";
/// `ConsistencyReason`: why it is less than was asked for.
pub const CONSISTENCY_REASON: &str = "ConsistencyReason";
/// `HookExecution`: the execution id of the hook that had frozen the instance when the snapshot was begun.
pub const HOOK_EXECUTION: &str = "HookExecution";
/// `DumpAt`: when the dump inside the snapshots was made.
pub const DUMP_AT: &str = "DumpAt";
/// `DumpVolume`: the volume that it is on.
pub const DUMP_VOLUME: &str = "DumpVolume";
/// `DumpPath`: its file, within the file system of that volume.
pub const DUMP_PATH: &str = "DumpPath";
/// `DumpSha256`: the SHA-256 of that file.
pub const DUMP_SHA256: &str = "DumpSha256";

/// On snapshots and copies: the type, IOPS, throughput and size of each volume, see [`crate::labels`]; continued in
/// `Volumes.2`, ….
pub const VOLUMES: &str = "Volumes";
/// On snapshots and copies: what the instance was launched as, see [`crate::labels`].
pub const INSTANCE_AS: &str = "InstanceAs";
/// On snapshots and copies that a drill has read: the day on which it did, see [`crate::proof`].
pub const VERIFIED_ON: &str = "VerifiedOn";
/// On the same: what was proven, or `failed`.
pub const VERIFIED_AS: &str = "VerifiedAs";
/// On volumes and images that were restored: the snapshot.
pub const RESTORED_FROM: &str = "RestoredFrom";
/// On the same: when the restore was finished, or for which plan it was given up (`left for PLAN`).
pub const RESTORED_AT: &str = "RestoredAt";
/// On the same: the id of the restore's plan.
pub const RESTORE_PLAN: &str = "RestorePlan";

/// On the same: all snapshots of the plan, continued in `RestoreSet.2`, …, so that it can go on with the very same.
pub const RESTORE_SET: &str = "RestoreSet";
/// On restored volumes: the volume whose place they take.
pub const REPLACES: &str = "Replaces";
/// On a volume whose place was taken: the id of the restore's plan.
pub const REPLACED_BY: &str = "ReplacedBy";
/// On restored volumes: the state of their instance before it was stopped for them, `running` or `stopped`.
pub const INSTANCE_WAS: &str = "InstanceWas";

/// Tags on one resource, at most (EC2 user guide, "Tag restrictions").
pub const MAX_TAGS: usize = 50;
/// Characters of one tag value, at most (the same page).
pub const MAX_VALUE: usize = 256;

/// A tag that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagProblem {
    /// The key.
    pub tag: String,
    /// The part of the value that cannot be used.
    pub value: String,
    /// What is allowed, as the end of a sentence.
    pub allowed: String,
}

impl fmt::Display for TagProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: allowed is {}", self.tag, self.value, self.allowed)
    }
}

/// The word in a `Backup` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Snapshots are made.
    Yes,
    /// No snapshots are made. Those that exist expire by date, the last one too.
    No,
    /// No snapshots are made. The last ones stay.
    Hold,
}

impl Backup {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::Hold => "Hold",
        }
    }
}

/// The words, as the end of a sentence.
const BACKUP_WORDS: &str = "Yes, No or Hold";

impl std::str::FromStr for Backup {
    type Err = TagProblem;

    fn from_str(text: &str) -> Result<Self, TagProblem> {
        match text.trim().to_ascii_lowercase().as_str() {
            "yes" => Ok(Self::Yes),
            "no" => Ok(Self::No),
            "hold" => Ok(Self::Hold),
            _ => Err(problem(BACKUP, text, BACKUP_WORDS)),
        }
    }
}

/// The word of an instance or a volume, and the problems of its `Backup` tag and of keys that look like it.
///
/// A tag that cannot be read is no word: it neither asks for snapshots nor gives protection up.
pub fn backup_word(tags: &Tags) -> (Option<Backup>, Vec<TagProblem>) {
    let mut problems = Vec::new();
    let word = tags.get(BACKUP).and_then(|value| value.parse().map_err(|p| problems.push(p)).ok());
    // Other tools use keys with the same letters (`backup=daily`): it is reported only if the value is one of our words.
    problems.extend(look_alikes(tags, &[BACKUP]).filter(|p| p.value.parse::<Backup>().is_ok()));
    (word, problems)
}

/// The keys that differ from one of these only by case, `-` and `_`. For EC2 they are other keys.
fn look_alikes<'a>(tags: &'a Tags, ours: &'a [&str]) -> impl Iterator<Item = TagProblem> + 'a {
    // Byte by byte: this is asked of every tag of every snapshot, and mostly answered by the first letter.
    fn letters(key: &str) -> impl Iterator<Item = u8> {
        key.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase())
    }
    tags.iter().filter_map(move |(key, value)| {
        let meant = ours.iter().find(|own| letters(own).eq(letters(key)) && *own != key)?;
        Some(problem(key, value, &format!("the key {meant}, in exactly these letters")))
    })
}

/// The tags of an instance; a tag that is missing or cannot be used is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct InstanceTags {
    pub backup: Option<Backup>,
    /// `None` if it is empty.
    pub name: Option<String>,
    pub retention: Option<RetentionDays>,
    pub retention_cross_region: Option<RetentionDays>,
    /// The value as it was written, for the tag of the snapshots.
    pub backup_cross_region: Option<String>,
    /// The regions in `BackupCrossRegion`, each once, in the order given.
    pub copy_regions: Vec<Region>,
    /// Whether more regions may be meant: a part of the value, or a key that looks like it, cannot be read.
    pub copy_regions_unclear: bool,
    /// The value, which may be empty.
    pub keep_forever: Option<String>,
}

impl InstanceTags {
    /// Whether the instance asks for snapshots.
    pub fn is_wanted(&self) -> bool {
        self.backup == Some(Backup::Yes)
    }

    /// Reads an instance's tags. [`crate::policy`] checks whether the regions exist.
    pub fn read(tags: &Tags) -> (Self, Vec<TagProblem>) {
        let (backup, mut problems) = backup_word(tags);
        if tags.contains_key(BACKUP) {
            let ours = [
                RETENTION,
                RETENTION_CROSS_REGION,
                BACKUP_CROSS_REGION,
                KEEP_FOREVER,
                BACKUP_HOOK,
                BACKUP_HOOK_TIMEOUT,
                BACKUP_HOOK_ON_ERROR,
            ];
            problems.extend(look_alikes(tags, &ours));
        }
        let mut days = |key: &str| {
            let value = tags.get(key)?;
            value.parse().map_err(|_| problems.push(problem(key, value, retention::ALLOWED))).ok()
        };
        let (retention, retention_cross_region) = (days(RETENTION), days(RETENTION_CROSS_REGION));
        let backup_cross_region = tags.get(BACKUP_CROSS_REGION).cloned();
        let (copy_regions, bad_regions) = regions(backup_cross_region.as_deref().unwrap_or_default());
        let copy_regions_unclear =
            !bad_regions.is_empty() || look_alikes(tags, &[BACKUP_CROSS_REGION]).next().is_some();
        problems.extend(bad_regions);
        if let Some(value) = tags.get(RETENTION_CROSS_REGION)
            && backup_cross_region.as_deref().is_none_or(|regions| regions.trim().is_empty())
        {
            problems.push(problem(RETENTION_CROSS_REGION, value, "this tag only together with BackupCrossRegion"));
        }
        let read = Self {
            backup,
            name: tags.get(NAME).filter(|name| !name.trim().is_empty()).cloned(),
            retention,
            retention_cross_region,
            backup_cross_region,
            copy_regions,
            copy_regions_unclear,
            // A key in another case is reported, but still counts.
            keep_forever: keep_forever(tags).cloned(),
        };
        (read, problems)
    }
}

/// The regions in a `BackupCrossRegion` value, each once, and the parts that are not region codes.
pub fn regions(value: &str) -> (Vec<Region>, Vec<TagProblem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.to_ascii_lowercase().parse::<Region>() {
            Ok(region) if found.contains(&region) => {}
            Ok(region) => found.push(region),
            Err(_) => {
                problems.push(problem(BACKUP_CROSS_REGION, part, "region codes such as eu-west-1, separated by commas"))
            }
        }
    }
    (found, problems)
}

/// A tag that cannot be used, and what is allowed.
pub(crate) fn problem(tag: &str, value: &str, allowed: &str) -> TagProblem {
    TagProblem { tag: tag.into(), value: value.into(), allowed: allowed.into() }
}

/// The tags of a snapshot or copy that this system reads; a tag that is missing or cannot be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SnapshotTags {
    /// Whether `Type` is exactly `Automated`.
    pub automated: bool,
    pub created_on: Option<NaiveDate>,
    pub delete_on: Option<NaiveDate>,
    /// Whether it carries `KeepForever`, with any value.
    pub keep_forever: bool,
    /// `BackupFromRegion` as it was written. It makes the snapshot a copy, even if it is not a region code.
    pub from_region: Option<String>,
    pub source_snapshot: Option<SnapshotId>,
    pub source_volume: Option<VolumeId>,
    pub source_instance: Option<InstanceId>,
}

impl SnapshotTags {
    /// Reads the tags of a snapshot or copy.
    ///
    /// It goes over them once: of a large account millions are read, and each look for a key compares with most others.
    pub fn read(tags: &Tags) -> Self {
        let mut read = Self::default();
        for (key, value) in tags {
            match key.as_str() {
                TYPE => read.automated = value == AUTOMATED,
                CREATED_ON => read.created_on = read_date(value),
                DELETE_ON => read.delete_on = read_date(value),
                BACKUP_FROM_REGION => read.from_region = Some(value.clone()),
                SOURCE_SNAPSHOT_ID => read.source_snapshot = value.parse().ok(),
                SOURCE_VOLUME_ID => read.source_volume = value.parse().ok(),
                SOURCE_INSTANCE_ID => read.source_instance = value.parse().ok(),
                // For EC2 a key in another case is another key; here it counts.
                key if key.eq_ignore_ascii_case(KEEP_FOREVER) => read.keep_forever = true,
                _ => {}
            }
        }
        read
    }
}

/// The value of a tag, if it can be read.
pub(crate) fn parsed<T: std::str::FromStr>(tags: &Tags, key: &str) -> Option<T> {
    tags.get(key)?.parse().ok()
}

/// Reads a date in a tag. It must be exactly `YYYY-MM-DD`: a text that is nearly a date must not delete anything.
pub fn read_date(text: &str) -> Option<NaiveDate> {
    let as_written = |(at, b): (usize, u8)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() };
    let exact = text.len() == 10 && text.bytes().enumerate().all(as_written);
    // Millions are read of a large account: chrono's parser of any format would take a tenth of all time.
    exact
        .then(|| NaiveDate::from_ymd_opt(text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?))?
}

/// The value of `KeepForever`, whose key may be in any case.
pub fn keep_forever(tags: &Tags) -> Option<&String> {
    tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(KEEP_FOREVER)).map(|(_, value)| value)
}

/// Makes tags from pairs of keys and values.
pub fn tags<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests;
