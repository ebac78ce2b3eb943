//! The tag grammar: what operators write on instances and volumes, and what snapshots and copies carry.
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
//! // What cannot be used is reported by itself; the rest of the tags counts.
//! let (read, problems) = InstanceTags::read(&tags([("Backup", "Yes"), ("Retention", "7d")]));
//! assert!(read.backup == Some(Backup::Yes) && read.retention.is_none());
//! assert_eq!(problems[0].to_string(), "Retention=\"7d\": allowed is a whole number of days from 1 to 36500");
//! ```
//!
//! `Backup` has three words, in any case, on instances and on volumes:
//!
//! ```
//! use domain::tags::Backup;
//! assert_eq!("yes".parse(), Ok(Backup::Yes)); // snapshots
//! assert_eq!("No".parse(), Ok(Backup::No)); // no snapshots, and what there is expires by date, the last one too
//! assert_eq!("HOLD".parse(), Ok(Backup::Hold)); // no snapshots, and the last ones stay
//! assert!("true".parse::<Backup>().is_err()); // reported with what is allowed; it takes no protection away
//! ```
//!
//! What asks for a hook is read in [`crate::hooks`].
//! On snapshots, dates are `YYYY-MM-DD` in UTC; what is written on them is in [`crate::labels`].

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    fleet::Tags,
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    retention::{self, RetentionDays},
};

/// `Backup`: see [`Backup`].
pub const BACKUP: &str = "Backup";
/// `Retention`: days.
pub const RETENTION: &str = "Retention";
/// `RetentionCrossRegion`: days, for the copies.
pub const RETENTION_CROSS_REGION: &str = "RetentionCrossRegion";
/// `BackupCrossRegion`: region codes, separated by commas.
pub const BACKUP_CROSS_REGION: &str = "BackupCrossRegion";
/// `KeepForever`: present or not.
pub const KEEP_FOREVER: &str = "KeepForever";
/// `BackupHook`: see [`crate::hooks`].
pub const BACKUP_HOOK: &str = "BackupHook";
/// `BackupHookTimeout`: seconds.
pub const BACKUP_HOOK_TIMEOUT: &str = "BackupHookTimeout";
/// `BackupHookOnError`: what follows where the hook fails.
pub const BACKUP_HOOK_ON_ERROR: &str = "BackupHookOnError";
/// `Name`.
pub const NAME: &str = "Name";
/// `CreatedOn`: the day of the snapshot; a copy has its source's.
pub const CREATED_ON: &str = "CreatedOn";
/// `DeleteOn`: the first day on which it is no longer wanted.
pub const DELETE_ON: &str = "DeleteOn";
/// `Type`.
pub const TYPE: &str = "Type";
/// The value of `Type` on everything that this system, and the earlier scripts, made.
pub const AUTOMATED: &str = "Automated";
/// `BackupFromRegion`: on copies, the region of the source.
pub const BACKUP_FROM_REGION: &str = "BackupFromRegion";
/// `BackupRun`: the run that made it.
pub const BACKUP_RUN: &str = "BackupRun";
/// `SourceInstanceId`.
pub const SOURCE_INSTANCE_ID: &str = "SourceInstanceId";
/// `SourceSnapshotId`: on copies.
pub const SOURCE_SNAPSHOT_ID: &str = "SourceSnapshotId";
/// `SourceVolumeId`: on copies, whose own volume id is arbitrary.
pub const SOURCE_VOLUME_ID: &str = "SourceVolumeId";
/// `SourceDevice`: on copies.
pub const SOURCE_DEVICE: &str = "SourceDevice";
/// `Devices`, continued in `Devices.2`, ….
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

/// Tags on one resource, at most (EC2 user guide, "Tag restrictions").
pub const MAX_TAGS: usize = 50;
/// Characters of one tag value, at most (the same page).
pub const MAX_VALUE: usize = 256;

/// A tag that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagProblem {
    /// Its key.
    pub tag: String,
    /// The part of its value that is meant.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for TagProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: allowed is {}", self.tag, self.value, self.allowed)
    }
}

/// What a `Backup` tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Snapshots are made.
    Yes,
    /// No snapshots are made, and the last ones are given up: what there is expires by date.
    No,
    /// No snapshots are made, and the last ones stay.
    Hold,
}

/// What `Backup` may say, as the end of a sentence.
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

/// What the `Backup` tag of an instance or a volume says, and what about it, or a key that looks like it, is wrong.
///
/// What cannot be read says nothing: it neither asks for snapshots nor gives protection up.
pub fn backup_word(tags: &Tags) -> (Option<Backup>, Vec<TagProblem>) {
    let mut problems = Vec::new();
    let word = tags.get(BACKUP).and_then(|value| value.parse().map_err(|p| problems.push(p)).ok());
    // Other tools have keys of the same letters (`backup=daily`): only what may be meant for this one is reported.
    problems.extend(look_alikes(tags, &[BACKUP]).filter(|p| p.value.parse::<Backup>().is_ok()));
    (word, problems)
}

/// The keys that differ from one of these only by case, `-` and `_`, which EC2 takes for another key.
fn look_alikes<'a>(tags: &'a Tags, ours: &'a [&str]) -> impl Iterator<Item = TagProblem> + 'a {
    let letters = |key: &str| key.replace(['-', '_'], "").to_ascii_lowercase();
    tags.iter().filter_map(move |(key, value)| {
        let meant = ours.iter().find(|own| letters(own) == letters(key) && *own != key)?;
        Some(problem(key, value, &format!("the key {meant}, in exactly these letters")))
    })
}

/// What an instance's tags ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTags {
    /// `Backup`, if it is there and can be used.
    pub backup: Option<Backup>,
    /// `Name`, if it is not empty.
    pub name: Option<String>,
    /// `Retention`, if it is there and can be used.
    pub retention: Option<RetentionDays>,
    /// `RetentionCrossRegion`, likewise.
    pub retention_cross_region: Option<RetentionDays>,
    /// `BackupCrossRegion` as it stands, for the snapshot's own tag.
    pub backup_cross_region: Option<String>,
    /// The regions in it, each once, in the order given.
    pub copy_regions: Vec<Region>,
    /// The value of `KeepForever`, which may be empty.
    pub keep_forever: Option<String>,
}

impl InstanceTags {
    /// Whether snapshots are asked for.
    pub fn is_wanted(&self) -> bool {
        self.backup == Some(Backup::Yes)
    }

    /// Reads them. Whether the regions exist is not a question of grammar; see [`crate::policy`].
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
        problems.extend(bad_regions);
        if let Some(value) = tags.get(RETENTION_CROSS_REGION)
            && backup_cross_region.as_deref().is_none_or(|regions| regions.trim().is_empty())
        {
            problems.push(problem(RETENTION_CROSS_REGION, value, "it only beside BackupCrossRegion"));
        }
        let read = Self {
            backup,
            name: tags.get(NAME).filter(|name| !name.trim().is_empty()).cloned(),
            retention,
            retention_cross_region,
            backup_cross_region,
            copy_regions,
            // In another case it is reported, and was meant all the same.
            keep_forever: keep_forever(tags).cloned(),
        };
        (read, problems)
    }
}

/// The regions in a `BackupCrossRegion` value, each once, and what in it is no region code.
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

/// What a snapshot's tags say, as far as this system reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTags {
    /// `Type=Automated`, in exactly this case.
    pub automated: bool,
    /// `CreatedOn`, if it is a date.
    pub created_on: Option<NaiveDate>,
    /// `DeleteOn`, if it is a date.
    pub delete_on: Option<NaiveDate>,
    /// Whether `KeepForever` is there.
    pub keep_forever: bool,
    /// `BackupFromRegion`, as it stands: it makes the snapshot a copy, even if it is no region code.
    pub from_region: Option<String>,
    /// `SourceSnapshotId`.
    pub source_snapshot: Option<SnapshotId>,
    /// `SourceVolumeId`.
    pub source_volume: Option<VolumeId>,
    /// `SourceInstanceId`.
    pub source_instance: Option<InstanceId>,
}

impl SnapshotTags {
    /// Reads them.
    pub fn read(tags: &Tags) -> Self {
        let date = |key| tags.get(key).and_then(|value| read_date(value));
        Self {
            automated: tags.get(TYPE).is_some_and(|value| value == AUTOMATED),
            created_on: date(CREATED_ON),
            delete_on: date(DELETE_ON),
            // In another case it is another key for EC2, and was meant all the same.
            keep_forever: tags.keys().any(|key| key.eq_ignore_ascii_case(KEEP_FOREVER)),
            from_region: tags.get(BACKUP_FROM_REGION).cloned(),
            source_snapshot: parsed(tags, SOURCE_SNAPSHOT_ID),
            source_volume: parsed(tags, SOURCE_VOLUME_ID),
            source_instance: parsed(tags, SOURCE_INSTANCE_ID),
        }
    }
}

fn parsed<T: std::str::FromStr>(tags: &Tags, key: &str) -> Option<T> {
    tags.get(key)?.parse().ok()
}

/// A date as the tags write it. Exactly `YYYY-MM-DD`: what is nearly a date is not trusted with a deletion.
pub fn read_date(text: &str) -> Option<NaiveDate> {
    let as_written = |(at, b): (usize, u8)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() };
    let exact = text.len() == 10 && text.bytes().enumerate().all(as_written);
    exact.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()
}

/// The value of `KeepForever`, whatever the case of its key.
pub fn keep_forever(tags: &Tags) -> Option<&String> {
    tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(KEEP_FOREVER)).map(|(_, value)| value)
}

/// Tags from pairs.
pub fn tags<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests;
