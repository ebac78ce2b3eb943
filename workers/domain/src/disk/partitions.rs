//! Partition tables: MBR with logical partitions, and GPT.
//!
//! Source: UEFI specification 2.10, chapter 5, "GUID Partition Table (GPT) Disk Layout".

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a sector, in which partition tables count. EBS volumes have no others.
pub const SECTOR: u64 = 512;
/// Bytes of a GPT header that are read: one sector.
pub const GPT_HEADER_BYTES: usize = 512;
/// Entries of a GPT, in bytes, at most: eight times what is usual.
const MAX_GPT_BYTES: u64 = 128 * 1024;

/// An entry of an MBR, or of the chain of sectors behind an extended partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbrEntry {
    /// Its type.
    pub kind: u8,
    /// In sectors; of the chain, from where the chain says.
    pub start: u64,
    /// In sectors.
    pub sectors: u64,
}

impl MbrEntry {
    /// Whether it holds logical partitions.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    /// Whether it only says that the disk has a GPT.
    pub fn is_protective(&self) -> bool {
        self.kind == 0xee
    }
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// As Linux counts it.
    pub number: u32,
    /// In bytes of the volume.
    pub start: u64,
    /// In bytes.
    pub length: u64,
    /// Whether it is there for the firmware or the boot loader, and for nobody's files.
    pub is_for_boot: bool,
}

/// The four entries of the first sector, `None` for those that are not used; no MBR if it is not signed, or if an entry
/// is none.
///
/// The boot sector of a file system is signed alike: look for file systems first.
pub fn mbr(sector: &[u8]) -> Option<[Option<MbrEntry>; 4]> {
    if sector.get(510..512) != Some(&[0x55, 0xaa]) {
        return None;
    }
    let mut entries = [None; 4];
    for (slot, raw) in entries.iter_mut().zip(sector[446..510].chunks_exact(16)) {
        let (status, kind) = (raw[0], raw[4]);
        if status & 0x7f != 0 {
            return None;
        }
        let word = |at: usize| u64::from(u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]));
        let entry = MbrEntry { kind, start: word(8), sectors: word(12) };
        if kind != 0 && entry.sectors > 0 {
            if entry.start == 0 && !entry.is_protective() {
                return None;
            }
            *slot = Some(entry);
        }
    }
    entries.iter().any(Option::is_some).then_some(entries)
}

/// A sector of the chain behind an extended partition: the logical partition, from this sector on, and the next sector,
/// from the beginning of the extended partition on.
pub fn extended(sector: &[u8]) -> Option<(Option<MbrEntry>, Option<u64>)> {
    let [logical, next, ..] = mbr(sector)?;
    Some((logical.filter(|entry| !entry.is_extended()), next.filter(MbrEntry::is_extended).map(|entry| entry.start)))
}

/// The header of a GPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// Where its entries begin, in bytes of the volume.
    pub entries_at: u64,
    /// Bytes of all entries.
    pub entries_bytes: usize,
    entry_bytes: usize,
    entries_crc: u32,
}

/// Why a GPT cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GptProblem {
    /// There is none.
    Missing,
    /// Its header is not as its checksum says.
    HeaderChecksum,
    /// It says something that cannot be.
    Nonsense,
    /// Its entries are not as their checksum says.
    EntriesChecksum,
}

impl fmt::Display for GptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::HeaderChecksum => "has a wrong checksum",
            Self::Nonsense => "has a header that cannot be",
            Self::EntriesChecksum => "has entries with a wrong checksum",
        })
    }
}

/// Reads a header: the second sector of the volume, or the last one.
pub fn gpt_header(sector: &[u8]) -> Result<Gpt, GptProblem> {
    let sector = sector.get(..GPT_HEADER_BYTES).ok_or(GptProblem::Missing)?;
    if &sector[..8] != b"EFI PART" {
        return Err(GptProblem::Missing);
    }
    let word = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let size = word(12) as usize;
    if !(92..=GPT_HEADER_BYTES).contains(&size) {
        return Err(GptProblem::Nonsense);
    }
    // Its own checksum counts as zero.
    let mut header = sector[..size].to_vec();
    header[16..20].fill(0);
    if crc32(&header) != word(16) {
        return Err(GptProblem::HeaderChecksum);
    }
    let (entry_bytes, entries_bytes) = (word(84), u64::from(word(80)) * u64::from(word(84)));
    let entries_at = long(72).checked_mul(SECTOR).ok_or(GptProblem::Nonsense)?;
    if entry_bytes < 128 || entries_bytes > MAX_GPT_BYTES {
        return Err(GptProblem::Nonsense);
    }
    #[allow(clippy::cast_possible_truncation)] // Below MAX_GPT_BYTES.
    let entries_bytes = entries_bytes as usize;
    Ok(Gpt { entries_at, entries_bytes, entry_bytes: entry_bytes as usize, entries_crc: word(88) })
}

/// The partitions of a GPT, from its entries.
pub fn gpt_partitions(gpt: &Gpt, entries: &[u8]) -> Result<Vec<Partition>, GptProblem> {
    let entries = entries.get(..gpt.entries_bytes).ok_or(GptProblem::Nonsense)?;
    if crc32(entries) != gpt.entries_crc {
        return Err(GptProblem::EntriesChecksum);
    }
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(gpt.entry_bytes)) {
        if entry[..16].iter().all(|byte| *byte == 0) {
            continue;
        }
        let long = |at: usize| entry[at..at + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (first, last) = (long(32), long(40));
        let bytes = |sectors: u64| sectors.checked_mul(SECTOR).ok_or(GptProblem::Nonsense);
        let sectors = last.checked_sub(first).ok_or(GptProblem::Nonsense)? + 1;
        let is_for_boot = FOR_BOOT.contains(&&entry[..16]);
        partitions.push(Partition { number, start: bytes(first)?, length: bytes(sectors)?, is_for_boot });
    }
    Ok(partitions)
}

/// The types of partitions without anybody's files, as they stand on disk: EFI system, BIOS boot, Microsoft reserved,
/// PowerPC PReP boot.
const FOR_BOOT: [&[u8]; 4] = [
    &[0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
    b"Hah!IdontNeedEFI",
    &[0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02, 0x15, 0xae],
    &[0x2d, 0x73, 0x1a, 0x9e, 0x3c, 0xb1, 0x11, 0x4b, 0x85, 0x23, 0x29, 0x08, 0x36, 0x16, 0x21, 0x5f],
];

/// CRC-32 as Ethernet and GPT have it. Some kilobytes at most: a table would not pay.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An MBR of entries: type, start, sectors.
    fn sector(entries: &[(u8, u32, u32)]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (at, (kind, start, sectors)) in (446..).step_by(16).zip(entries) {
            sector[at + 4] = *kind;
            sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    /// A GPT of partitions: first and last sector. The header, and the entries.
    fn gpt(partitions: &[(u64, u64)]) -> (Vec<u8>, Vec<u8>) {
        let mut entries = vec![0; 128 * 128];
        for (entry, (first, last)) in entries.chunks_exact_mut(128).zip(partitions) {
            entry[..16].fill(7);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[12] = 92;
        header[72] = 2;
        header[80] = 128;
        header[84] = 128;
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let crc = crc32(&header[..92]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        (header, entries)
    }

    #[test]
    fn the_checksum_is_the_one_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_boot_sector_that_is_no_table_is_none() {
        assert_eq!(mbr(&[0; 512]), None);
        assert_eq!(mbr(&sector(&[])), None, "signed, and empty");
        assert_eq!(mbr(&sector(&[(0x83, 0, 9)])), None, "a partition over the table itself");
        let mut code = sector(&[(0x83, 2048, 9)]);
        code[446] = 0x20;
        assert_eq!(mbr(&code), None, "boot code where the entries are");
        assert_eq!(mbr(&[0x55; 100]), None);
    }

    #[test]
    fn logical_partitions_are_a_chain() {
        let [first, second, ..] = mbr(&sector(&[(0x83, 2048, 4096), (0x05, 8192, 90_000)])).unwrap();
        assert_eq!(first.map(|entry| (entry.start, entry.sectors, entry.is_extended())), Some((2048, 4096, false)));
        assert!(second.unwrap().is_extended());
        let (logical, next) = extended(&sector(&[(0x83, 63, 1000), (0x05, 2000, 1063)])).unwrap();
        assert_eq!((logical.unwrap().start, next), (63, Some(2000)));
        assert_eq!(extended(&sector(&[(0x83, 63, 1000)])).unwrap().1, None);
    }

    #[test]
    fn a_gpt_is_believed_if_both_checksums_are_right() {
        let (header, entries) = gpt(&[(2048, 4095), (4096, 8191)]);
        let read = gpt_header(&header).unwrap();
        assert_eq!((read.entries_at, read.entries_bytes), (1024, 16_384));
        let partitions = gpt_partitions(&read, &entries).unwrap();
        let places: Vec<_> = partitions.iter().map(|p| (p.number, p.start, p.length)).collect();
        assert_eq!(places, [(1, 1 << 20, 1 << 20), (2, 2 << 20, 2 << 20)]);
        let mut wrong = header.clone();
        wrong[40] ^= 1;
        assert_eq!(gpt_header(&wrong), Err(GptProblem::HeaderChecksum));
        let mut wrong = entries.clone();
        wrong[33] ^= 1;
        assert_eq!(gpt_partitions(&read, &wrong), Err(GptProblem::EntriesChecksum));
        assert_eq!(gpt_header(&[0; 512]), Err(GptProblem::Missing));
        assert_eq!(gpt_header(&header[..90]), Err(GptProblem::Missing));
        let (header, entries) = gpt(&[(4096, 2048)]);
        assert_eq!(gpt_partitions(&gpt_header(&header).unwrap(), &entries), Err(GptProblem::Nonsense));
    }
}
