//! Snapshots and copies that the earlier scripts made: the rules for what their tags do not say.
//!
//! Their snapshots have the description `Name - vol-… (device)`; their copies carry `BackupFromRegion`, but no source.
//! A copy whose description EC2 wrote names its source there. Any other copy has the day and the description of its
//! source. If several sources have the same day and description, the source stays in doubt.
//!
//! When the last of these snapshots has expired, this module and its callers can be deleted.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::{
    fleet::{Attachment, Dated, Snapshot, SnapshotState},
    ids::SnapshotId,
    tags::SnapshotTags,
};

/// The volume and device in a description, `Name - vol-… (device)`.
pub fn described(description: &str) -> Option<Attachment> {
    let (rest, device) = description.strip_suffix(')')?.rsplit_once(" (")?;
    let volume = rest.rsplit_once(" - ").map_or(rest, |(_, volume)| volume);
    Some(Attachment { device: device.into(), volume: volume.trim().parse().ok()? })
}

/// The snapshots that a description names. EC2 itself describes a copy as `[Copied snap-… from eu-west-1]`.
pub fn named_in(description: &str) -> impl Iterator<Item = SnapshotId> {
    description.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter_map(|word| word.parse().ok())
}

/// The day and the description of a snapshot.
pub type LegacyKey = (Option<NaiveDate>, String);

/// The key that a snapshot shares with its copy.
pub fn legacy_key(snapshot: &Snapshot) -> LegacyKey {
    (SnapshotTags::read(&snapshot.tags).created_on, snapshot.description.clone())
}

/// How many sources share a key.
#[derive(Debug)]
pub struct LegacyKeys<'a>(BTreeMap<(Option<NaiveDate>, &'a str), usize>);

impl<'a> LegacyKeys<'a> {
    /// Of the days and descriptions of sources.
    pub fn of(sources: impl IntoIterator<Item = (Option<NaiveDate>, &'a str)>) -> Self {
        let mut count = BTreeMap::new();
        for key in sources {
            *count.entry(key).or_default() += 1;
        }
        Self(count)
    }

    /// How many sources have the key of this one, itself included.
    pub fn sharing(&self, created_on: Option<NaiveDate>, description: &'a str) -> usize {
        self.0.get(&(created_on, description)).copied().unwrap_or(1)
    }
}

/// Whether a source has a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyCopy {
    Absent,
    Completed,
    /// It may have one.
    Doubtful,
}

/// What a source is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    pub id: &'a SnapshotId,
    pub created_on: NaiveDate,
    pub description: &'a str,
    /// Whether it has `BackupRun`: the earlier scripts did not make it.
    pub is_of_a_run: bool,
}

/// The copies in a region without `SourceSnapshotId`, by what is kept of each.
#[derive(Debug)]
pub struct UnlabelledCopies<C>(Vec<(C, Option<NaiveDate>, Box<str>)>);

impl<C> Default for UnlabelledCopies<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Dated> UnlabelledCopies<C> {
    /// Adds a copy that is pending or completed.
    pub fn add(&mut self, copy: C, created_on: Option<NaiveDate>, description: &str) {
        self.0.push((copy, created_on, description.into()));
    }

    /// Whether a source has a copy. `sharing` is the number of sources with its key.
    pub fn copy_of(&self, source: &Described<'_>, sharing: usize) -> LegacyCopy {
        let is_completed = |copy: &C| copy.dated().0 == SnapshotState::Completed;
        if self.naming(*source).next().is_some() {
            // A pending one cannot be adopted: the copy worker looks for `SourceSnapshotId`.
            let copied = self.naming(*source).any(is_completed);
            return if copied { LegacyCopy::Completed } else { LegacyCopy::Doubtful };
        }
        let described: Vec<_> = self.described_as(*source).collect();
        let completed = described.iter().filter(|copy| is_completed(copy)).count();
        let anonymous = self.of_day(source.created_on).any(|(_, description)| description.is_empty());
        match described.len() {
            0 if anonymous && !source.is_of_a_run => LegacyCopy::Doubtful,
            0 => LegacyCopy::Absent,
            _ if sharing == 1 && completed > 0 => LegacyCopy::Completed,
            // With more copies than sources, one source was copied twice, and another perhaps never.
            n if n == sharing && completed == sharing => LegacyCopy::Completed,
            _ => LegacyCopy::Doubtful,
        }
    }

    /// The copies that are certainly copies of this source.
    ///
    /// If several copies have the same key and one source is kept for ever, `expiry` keeps all of them.
    pub fn certainly_of<'a>(&'a self, source: Described<'a>, sharing: usize) -> impl Iterator<Item = &'a C> {
        let described = self.described_as(source).filter(move |_| sharing == 1);
        self.naming(source).chain(described)
    }

    fn of_day(&self, created_on: NaiveDate) -> impl Iterator<Item = (&C, &str)> {
        let of_day = self.0.iter().filter(move |(_, day, _)| *day == Some(created_on));
        of_day.map(|(copy, _, description)| (copy, &**description))
    }

    fn naming<'a>(&'a self, source: Described<'a>) -> impl Iterator<Item = &'a C> {
        let names = move |description: &str| named_in(description).any(|id| id == *source.id);
        self.of_day(source.created_on).filter(move |(_, description)| names(description)).map(|(copy, _)| copy)
    }

    fn described_as<'a>(&'a self, source: Described<'a>) -> impl Iterator<Item = &'a C> {
        let is_alike = move |description: &str| !source.description.is_empty() && description == source.description;
        self.of_day(source.created_on).filter(move |(_, description)| is_alike(description)).map(|(copy, _)| copy)
    }
}

/// The descriptions and days of sources with `KeepForever`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptDescriptions(BTreeMap<Box<str>, BTreeSet<Option<NaiveDate>>>);

impl KeptDescriptions {
    pub fn note(&mut self, source: &Snapshot, created_on: Option<NaiveDate>) {
        self.0.entry(source.description.as_str().into()).or_default().insert(created_on);
    }

    /// Whether a copy may be a copy of one of them. A day that cannot be read, on either side, may be the same day.
    pub fn may_include(&self, description: &str, created_on: Option<NaiveDate>) -> bool {
        let Some(days) = self.0.get(description) else { return false };
        created_on.is_none_or(|day| days.contains(&Some(day)) || days.contains(&None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_scripts_description_is_read() {
        let found = described("web (blue) - vol-0a1b (/dev/sdf)").unwrap();
        assert_eq!((found.volume.as_str(), found.device.as_str()), ("vol-0a1b", "/dev/sdf"));
        for text in ["", "by hand", "web - disk (/dev/sdf)", "web - vol-1 /dev/sdf"] {
            assert_eq!(described(text), None, "{text:?}");
        }
    }
}
