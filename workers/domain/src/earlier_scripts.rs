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
    fleet::{Attachment, Snapshot, SnapshotState},
    ids::SnapshotId,
    tags::{BACKUP_RUN, SnapshotTags},
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
pub struct LegacyKeys(BTreeMap<LegacyKey, usize>);

impl LegacyKeys {
    pub fn of<'a>(sources: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut count = BTreeMap::new();
        for source in sources {
            *count.entry(legacy_key(source)).or_default() += 1;
        }
        Self(count)
    }

    /// How many sources have the key of this one, itself included.
    pub fn sharing(&self, source: &Snapshot) -> usize {
        self.0.get(&legacy_key(source)).copied().unwrap_or(1)
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

/// The copies in a region without `SourceSnapshotId`.
#[derive(Debug, Default)]
pub struct UnlabelledCopies<'a>(Vec<(&'a Snapshot, Option<NaiveDate>)>);

impl<'a> UnlabelledCopies<'a> {
    /// Adds a copy that is pending or completed.
    pub fn add(&mut self, copy: &'a Snapshot, created_on: Option<NaiveDate>) {
        self.0.push((copy, created_on));
    }

    /// Whether a source has a copy. `sharing` is the number of sources with its key.
    pub fn copy_of(&self, source: &Snapshot, created_on: NaiveDate, sharing: usize) -> LegacyCopy {
        let is_completed = |copy: &Snapshot| copy.state == SnapshotState::Completed;
        if self.naming(source, created_on).next().is_some() {
            // A pending one cannot be adopted: the copy worker looks for `SourceSnapshotId`.
            let copied = self.naming(source, created_on).any(is_completed);
            return if copied { LegacyCopy::Completed } else { LegacyCopy::Doubtful };
        }
        let described: Vec<_> = self.described_as(source, created_on).collect();
        let completed = described.iter().filter(|copy| is_completed(copy)).count();
        let anonymous = self.of_day(created_on).any(|copy| copy.description.is_empty());
        match described.len() {
            0 if anonymous && !source.tags.contains_key(BACKUP_RUN) => LegacyCopy::Doubtful,
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
    pub fn certainly_of(
        &self,
        source: &Snapshot,
        created_on: NaiveDate,
        sharing: usize,
    ) -> impl Iterator<Item = &'a Snapshot> {
        let described = self.described_as(source, created_on).filter(move |_| sharing == 1);
        self.naming(source, created_on).chain(described)
    }

    fn of_day(&self, created_on: NaiveDate) -> impl Iterator<Item = &'a Snapshot> {
        self.0.iter().filter(move |(_, day)| *day == Some(created_on)).map(|(copy, _)| *copy)
    }

    fn naming(&self, source: &Snapshot, created_on: NaiveDate) -> impl Iterator<Item = &'a Snapshot> {
        self.of_day(created_on).filter(|copy| named_in(&copy.description).any(|id| id == source.id))
    }

    fn described_as(&self, source: &Snapshot, created_on: NaiveDate) -> impl Iterator<Item = &'a Snapshot> {
        self.of_day(created_on).filter(|copy| !source.description.is_empty() && copy.description == source.description)
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
