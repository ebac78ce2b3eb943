//! What is proven of a snapshot: the tags that a drill writes on it, and how they are read.
//!
//! ```
//! use domain::{proof::{Level, Proof}, tags::tags};
//! let read = Proof::read(&tags([("VerifiedOn", "2026-11-22"), ("VerifiedAs", "probe")])).unwrap();
//! assert_eq!((read.on.to_string().as_str(), read.level), ("2026-11-22", Some(Level::Probe)));
//!
//! // A drill that could not read it says so.
//! let read = Proof::read(&tags([("VerifiedOn", "2026-11-22"), ("VerifiedAs", "failed")])).unwrap();
//! assert!(read.has_failed());
//!
//! // What cannot be read proves nothing, and fails nothing.
//! assert_eq!(Proof::read(&tags([("VerifiedOn", "yesterday"), ("VerifiedAs", "probe")])), None);
//! ```
#![warn(missing_docs)]

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    fleet::Tags,
    tags::{self, VERIFIED_AS, VERIFIED_ON, read_date},
};

/// The value of `VerifiedAs` on a snapshot that a drill has found to be bad.
pub const FAILED: &str = "failed";

/// The keys that a drill writes, and no others.
pub const PROOF_KEYS: [&str; 2] = [VERIFIED_ON, VERIFIED_AS];

/// How much of a snapshot was read. Each level proves all that the levels before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Its list of blocks was read to the end.
    List,
    /// Some of its blocks were read, and had the checksums that EBS keeps of them.
    Probe,
    /// Some blocks of a copy were the same as those of its source.
    Copy,
    /// The dump inside it was read, and has the checksum that its tag tells.
    Dump,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 4] = [Self::List, Self::Probe, Self::Copy, Self::Dump];

    /// The words of all levels, as the end of a sentence.
    pub const ALLOWED: &str = "list, probe, copy or dump";

    /// As it stands in a tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Probe => "probe",
            Self::Copy => "copy",
            Self::Dump => "dump",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not a level: allowed is {}", Self::ALLOWED))
    }
}

/// What the last drill that read a snapshot has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The day, UTC.
    pub on: NaiveDate,
    /// What was proven; none where the snapshot is bad.
    pub level: Option<Level>,
}

impl Proof {
    /// Reads a snapshot's tags; none where no drill has read it, or its tags cannot be read.
    pub fn read(tags: &Tags) -> Option<Self> {
        let on = tags.get(VERIFIED_ON).and_then(|day| read_date(day))?;
        match tags.get(VERIFIED_AS)?.as_str() {
            FAILED => Some(Self { on, level: None }),
            level => Some(Self { on, level: Some(level.parse().ok()?) }),
        }
    }

    /// Whether the snapshot is known to be bad.
    pub fn has_failed(&self) -> bool {
        self.level.is_none()
    }

    /// The tags that say so.
    pub fn tags(&self) -> Tags {
        let level = self.level.map_or(FAILED, Level::as_str);
        tags::tags([(VERIFIED_ON, self.on.to_string().as_str()), (VERIFIED_AS, level)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_the_same() {
        let on = "2026-11-22".parse().unwrap();
        for level in Level::ALL.map(Some).into_iter().chain([None]) {
            let proof = Proof { on, level };
            assert_eq!(Proof::read(&proof.tags()), Some(proof));
            assert_eq!(proof.tags().keys().map(String::as_str).collect::<Vec<_>>(), [VERIFIED_AS, VERIFIED_ON]);
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_no_proof_and_no_failure() {
        let tags = tags::tags([(VERIFIED_ON, "2026-11-22"), (VERIFIED_AS, "Failed")]);
        assert_eq!(Proof::read(&tags), None);
    }
}
