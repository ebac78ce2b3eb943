//! What is on a volume: partition tables and file systems, told by their signatures.
//!
//! Functions of bytes: whoever calls them reads the bytes, and where nothing was written, zeros.
//! A partition table is read here and not by a crate: those that read one want the whole disk as a file, and a snapshot
//! has blocks that cost a call each.
#![warn(missing_docs)]

mod file_systems;
mod layout;
mod partitions;

pub use file_systems::{FileSystem, Kind, WINDOW, recognise};
pub use layout::{Layout, MAX_PARTITIONS, Place};
pub use partitions::{
    GPT_HEADER_BYTES, Gpt, GptProblem, MbrEntry, Partition, SECTOR, extended, gpt_header, gpt_partitions, mbr,
};
