//! What is on a volume, as far as it was looked for: partitions, and what fills each.

use serde::{Deserialize, Serialize};

use super::{
    file_systems::{FileSystem, Kind},
    partitions::Partition,
};

/// Partitions whose file systems are looked for, at most.
pub const MAX_PARTITIONS: usize = 16;

/// What fills a partition, or the volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `None`: it fills the volume.
    pub partition: Option<Partition>,
    /// What it is.
    pub found: FileSystem,
}

impl Place {
    /// In bytes of the volume.
    pub fn start(&self) -> u64 {
        self.partition.map_or(0, |partition| partition.start)
    }

    /// Whether it may hold a file that cannot be read.
    pub fn may_hide_files(&self) -> bool {
        self.found.kind.may_hold_files() && !self.partition.is_some_and(|partition| partition.is_for_boot)
    }

    /// What it is, and where.
    pub fn words(&self) -> String {
        match self.partition {
            Some(partition) => format!("partition {}: {}", partition.number, self.found),
            None => self.found.to_string(),
        }
    }
}

/// What is on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The partition table, in words.
    pub table: Option<String>,
    /// The partitions that were not looked into yet, the next one first.
    pub pending: Vec<Partition>,
    /// What fills the others.
    pub places: Vec<Place>,
    /// What is worth to be told of the tables.
    pub notes: Vec<String>,
}

impl Layout {
    /// Whether every partition was looked into.
    pub fn is_whole(&self) -> bool {
        self.pending.is_empty()
    }

    /// The table and what fills the partitions, in words.
    pub fn words(&self) -> Vec<String> {
        self.table.iter().cloned().chain(self.places.iter().map(Place::words)).collect()
    }

    /// What is no failure, and worth to be told: errors that a file system counts, and what is not recognised.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        for place in &self.places {
            notes.extend(place.found.errors.clone());
            if place.found.kind == Kind::Unrecognised {
                notes.push(match place.partition {
                    Some(partition) => format!("what is in partition {} is not recognised", partition.number),
                    None => "what is on the volume is not recognised".into(),
                });
            }
        }
        notes
    }
}
