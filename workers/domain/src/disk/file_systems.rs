//! File systems and what else fills a partition, by the signatures that the kernel and `blkid` go by.
//!
//! Sources: the kernel's documentation, "ext4: Super Block" and "btrfs on-disk format"; `man 5 xfs`; the FAT and exFAT
//! specifications; `lib/format_text/layout.h` of LVM2; the LUKS on-disk format; `include/linux/swap.h`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes from the beginning of a partition that hold the signatures of all that is known here.
pub const WINDOW: usize = 68 * 1024;

/// What fills a partition, or a volume without partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Kind {
    Ext2,
    Ext3,
    Ext4,
    Xfs,
    Btrfs,
    Ntfs,
    Fat,
    ExFat,
    Swap,
    /// A physical volume of LVM: its logical volumes are not looked into.
    Lvm2,
    Luks,
    /// A member of a Linux software RAID.
    Raid,
    /// Zeros, as far as was read.
    Empty,
    Unrecognised,
}

impl Kind {
    /// Whether files are read out of it.
    pub fn is_ext(self) -> bool {
        matches!(self, Self::Ext2 | Self::Ext3 | Self::Ext4)
    }

    /// Whether it may hold files that are not read.
    pub fn may_hold_files(self) -> bool {
        !self.is_ext() && !matches!(self, Self::Swap | Self::Empty)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::Btrfs => "btrfs",
            Self::Ntfs => "NTFS",
            Self::Fat => "FAT",
            Self::ExFat => "exFAT",
            Self::Swap => "swap",
            Self::Lvm2 => "LVM2 physical volume",
            Self::Luks => "LUKS",
            Self::Raid => "Linux RAID member",
            Self::Empty => "empty",
            Self::Unrecognised => "unrecognised",
        })
    }
}

/// A file system, or what else was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// What it is.
    pub kind: Kind,
    /// What its superblock says, in words: `clean`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What it says of its own errors, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => write!(f, "{}, {state}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

/// Recognises what begins with these bytes; [`WINDOW`] of them, or all that there are.
pub fn recognise(bytes: &[u8]) -> FileSystem {
    if let Some(found) = ext(bytes) {
        return found;
    }
    let has = |at: usize, signature: &[u8]| bytes.get(at..at + signature.len()) == Some(signature);
    let is_swap = |page: &usize| has(page - 10, b"SWAPSPACE2") || has(page - 10, b"SWAP-SPACE");
    // The label is in one of the first four sectors.
    let is_lvm = |sector: &usize| has(sector * 512, b"LABELONE") && has(sector * 512 + 24, b"LVM2 001");
    let ends_as_boot_sector = has(510, &[0x55, 0xaa]);
    let kind = if has(0, b"XFSB") {
        Kind::Xfs
    } else if has(0x1_0040, b"_BHRfS_M") {
        Kind::Btrfs
    } else if has(3, b"NTFS    ") {
        Kind::Ntfs
    } else if has(3, b"EXFAT   ") {
        Kind::ExFat
    } else if ends_as_boot_sector && (has(0x52, b"FAT32   ") || has(0x36, b"FAT1") || has(0x36, b"FAT     ")) {
        Kind::Fat
    } else if has(0, b"LUKS\xba\xbe") {
        Kind::Luks
    } else if (0..4).any(|sector| is_lvm(&sector)) {
        Kind::Lvm2
    } else if has(4096, &0xa92b_4efc_u32.to_le_bytes()) || has(0, &0xa92b_4efc_u32.to_le_bytes()) {
        Kind::Raid
    } else if [4096, 8192, 16384, 32768, 65536].iter().any(is_swap) {
        Kind::Swap
    } else if bytes.iter().all(|byte| *byte == 0) {
        Kind::Empty
    } else {
        Kind::Unrecognised
    };
    FileSystem { kind, state: None, errors: None }
}

/// The superblock of ext2, ext3 and ext4, at 1024 bytes.
fn ext(bytes: &[u8]) -> Option<FileSystem> {
    let superblock = bytes.get(1024..2048)?;
    let half = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    let word =
        |at: usize| u32::from_le_bytes([superblock[at], superblock[at + 1], superblock[at + 2], superblock[at + 3]]);
    if half(0x38) != 0xef53 {
        return None;
    }
    let (state, compatible, incompatible, errors) = (half(0x3a), word(0x5c), word(0x60), word(0x194));
    // Extents, 64 bit, flexible block groups.
    let kind = match (incompatible & (0x40 | 0x80 | 0x200) != 0, compatible & 0x4 != 0) {
        (true, _) => Kind::Ext4,
        (false, true) => Kind::Ext3,
        (false, false) => Kind::Ext2,
    };
    let mut words = Vec::new();
    if state & 0x2 != 0 {
        words.push("with errors");
    } else if incompatible & 0x4 != 0 {
        // What a volume looks like that was in use: whoever mounts it replays the journal.
        words.push("in use, journal to be replayed");
    } else if state & 0x1 != 0 {
        words.push("clean");
    } else {
        words.push("not unmounted");
    }
    if state & 0x4 != 0 {
        words.push("orphans to be recovered");
    }
    let errors = (state & 0x2 != 0 || errors > 0).then(|| format!("{kind} has recorded {errors} errors: fsck it"));
    Some(FileSystem { kind, state: Some(words.join(", ")), errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; WINDOW];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn each_signature_is_looked_for_at_its_place() {
        let boot: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        for (parts, expected) in [
            (vec![(0, b"XFSB".as_slice())], Kind::Xfs),
            (vec![(0x1_0040, b"_BHRfS_M")], Kind::Btrfs),
            (vec![(3, b"NTFS    "), boot], Kind::Ntfs),
            (vec![(3, b"EXFAT   "), boot], Kind::ExFat),
            (vec![(0x52, b"FAT32   "), boot], Kind::Fat),
            (vec![(0x36, b"FAT16   "), boot], Kind::Fat),
            (vec![(0, b"LUKS\xba\xbe")], Kind::Luks),
            (vec![(512, b"LABELONE"), (536, b"LVM2 001")], Kind::Lvm2),
            (vec![(4096, &[0xfc, 0x4e, 0x2b, 0xa9])], Kind::Raid),
            (vec![(4086, b"SWAPSPACE2")], Kind::Swap),
            (vec![(65_526, b"SWAPSPACE2")], Kind::Swap),
            (vec![], Kind::Empty),
            (vec![boot], Kind::Unrecognised),
            (vec![(1, b"XFSB")], Kind::Unrecognised),
            (vec![(0x52, b"FAT32   ")], Kind::Unrecognised),
            (vec![(512, b"LABELONE")], Kind::Unrecognised),
        ] {
            assert_eq!(recognise(&window(&parts)).kind, expected, "{parts:?}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_panic() {
        for length in [0, 1, 512, 1025, 2047, 2048, 4096, WINDOW - 1] {
            assert_eq!(recognise(&vec![0; length]).kind, Kind::Empty);
            assert_eq!(recognise(&vec![1; length.max(1)]).kind, Kind::Unrecognised);
        }
    }

    #[test]
    fn the_superblock_of_ext_says_which_one_it_is_and_how_it_was_left() {
        let superblock = |state: u8, compatible: u8, incompatible: u8, errors: u8| {
            recognise(&window(&[
                (1024 + 0x38, &[0x53, 0xef, state]),
                (1024 + 0x5c, &[compatible]),
                (1024 + 0x60, &[incompatible]),
                (1024 + 0x194, &[errors]),
            ]))
        };
        for (given, expected, errors) in [
            (superblock(1, 0x4, 0x40, 0), "ext4, clean", None),
            (superblock(1, 0x4, 0x44, 0), "ext4, in use, journal to be replayed", None),
            (superblock(1, 0x4, 0, 0), "ext3, clean", None),
            (superblock(0, 0, 0, 0), "ext2, not unmounted", None),
            (superblock(3, 0x4, 0x40, 7), "ext4, with errors", Some("ext4 has recorded 7 errors: fsck it")),
            (superblock(5, 0x4, 0x40, 0), "ext4, clean, orphans to be recovered", None),
        ] {
            assert_eq!((given.to_string().as_str(), given.errors.as_deref()), (expected, errors));
        }
    }
}
