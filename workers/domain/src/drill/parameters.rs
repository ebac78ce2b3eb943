//! What a drill reads where its input does not say it: the parameters of the stack.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::proof::Level;

/// Which backups of a volume a drill reads in each region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// The newest; and if a drill found that one bad, the newest that none did.
    #[default]
    Newest,
    /// One of those within the look-back, another one in each drill.
    Random,
    /// All.
    All,
}

impl Sample {
    /// All words.
    pub const ALL: [(&str, Self); 3] = [("newest", Self::Newest), ("random", Self::Random), ("all", Self::All)];
    /// The same, as the end of a sentence.
    pub const ALLOWED: &str = "newest, random or all";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.iter().find(|(_, sample)| sample == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(word, _)| *word == text);
        known.map(|(_, sample)| sample).ok_or_else(|| format!("{text:?} is no sample: allowed is {}", Self::ALLOWED))
    }
}

/// The parameters of drills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `DrillLevel`: how much of each backup is read.
    pub level: Level,
    /// `DrillSample`: which backups are.
    pub sample: Sample,
    /// `DrillMaxBlocks`: the blocks that a drill may read; 1,000 to 1,000,000,000.
    pub max_blocks: u64,
    /// `DrillMaxDumpGiB`: a larger dump is not read; 1 to 1,000.
    pub max_dump_gib: u32,
}
