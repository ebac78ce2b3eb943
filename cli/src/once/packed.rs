//! Snapshots in a few bytes each, for what is read many times and decided anew each time.
//!
//! A hundred thousand snapshots with their tags take 200 MB. Packed they take a tenth of it: a key, and a text that stood
//! in one of the last snapshots, is a reference, and most of a snapshot's tags are those of its set and its run.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    fleet::{Snapshot, SnapshotState, Tags},
    ids::SnapshotId,
    ports::SnapshotFilter,
    tags::SnapshotTags,
};

/// Texts that are remembered, so that they are written once: those whose hash has the same slot forget each other.
const SLOTS: usize = 1 << 14;
/// A shorter text is written out: a reference takes as much, since it is a place and a length.
const SHORTEST: usize = 6;

/// Snapshots, one behind the other.
#[derive(Default)]
pub(super) struct Packed {
    /// All texts, one behind the other.
    texts: String,
    /// Everything else, and where the texts stand.
    bytes: Vec<u8>,
    count: usize,
    /// Where the text of a slot stands.
    slots: Vec<u32>,
}

impl Packed {
    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds a snapshot: what decisions are made of. When it was completed, and why it failed, is not kept.
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        if self.slots.is_empty() {
            self.slots = vec![u32::MAX; SLOTS];
        }
        self.count += 1;
        let read = SnapshotTags::read(&snapshot.tags);
        self.new_text(snapshot.id.as_str());
        self.bytes.push(u8::from(read.keep_forever) << 1 | u8::from(read.automated));
        self.text(read.from_region.as_deref().unwrap_or_default());
        self.text(snapshot.volume.as_ref().map_or("", |volume| volume.as_str()));
        self.bytes.push(match snapshot.state {
            SnapshotState::Pending => 0,
            SnapshotState::Completed => 1,
            SnapshotState::Error => 2,
            SnapshotState::Other => 3,
        });
        self.number(snapshot.started.timestamp().cast_unsigned());
        self.number(snapshot.started.timestamp_subsec_nanos().into());
        // Nothing, or one more: an empty volume has a size, too.
        self.number(snapshot.full_size.map_or(0, |bytes| bytes.saturating_add(1)));
        self.text(&snapshot.description);
        self.number(snapshot.tags.len() as u64);
        for (key, value) in &snapshot.tags {
            self.text(key);
            self.text(value);
        }
    }

    /// Those of a filter, in the order in which they were added. Most are told apart before they are unpacked.
    pub(super) fn each(&self, which: &SnapshotFilter, visit: &mut dyn FnMut(Snapshot)) {
        let wanted: Option<BTreeSet<&str>> = match which {
            // Of many ids each would be compared with each.
            SnapshotFilter::Ids(ids) => Some(ids.iter().map(SnapshotId::as_str).collect()),
            _ => None,
        };
        let mut reader = Reader { texts: &self.texts, text_at: 0, bytes: &self.bytes, at: 0 };
        for _ in 0..self.count {
            let (id, flags, from_region) = (reader.text(), reader.byte(), reader.text());
            let told = match which {
                SnapshotFilter::Own => Some(true),
                SnapshotFilter::Ids(_) => wanted.as_ref().map(|wanted| wanted.contains(id)),
                SnapshotFilter::Automated => Some(flags & 1 != 0),
                SnapshotFilter::KeptForever => Some(flags & 2 != 0),
                SnapshotFilter::CopiesFrom(home) => Some(from_region == home.as_str()),
                _ => None,
            };
            if told == Some(false) {
                reader.skip();
                continue;
            }
            let Some(snapshot) = reader.snapshot(id) else { unreachable!("{id} was packed by the same type") };
            if told.is_some() || which.matches(&snapshot) {
                visit(snapshot);
            }
        }
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    /// A text: an odd number is the length of one that is new, an even one where it stands, with its length behind it.
    fn text(&mut self, text: &str) {
        let slot = slot(text);
        let known = self.slots[slot];
        if text.len() >= SHORTEST && known != u32::MAX && self.stands_at(known as usize, text) {
            self.number(u64::from(known) << 1);
            self.number(text.len() as u64);
            return;
        }
        if let (Ok(place), true) = (u32::try_from(self.texts.len()), text.len() >= SHORTEST) {
            self.slots[slot] = place;
        }
        self.new_text(text);
    }

    /// A text that is not remembered, since it does not come again.
    fn new_text(&mut self, text: &str) {
        self.number((text.len() as u64) << 1 | 1);
        self.texts.push_str(text);
    }

    fn stands_at(&self, place: usize, text: &str) -> bool {
        self.texts.as_bytes()[place..].starts_with(text.as_bytes())
    }
}

/// FNV-1a: short, and good enough for texts of a few letters.
fn slot(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 14)) as usize % SLOTS
}

/// Reads what was packed.
struct Reader<'a> {
    texts: &'a str,
    text_at: usize,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }

    #[allow(clippy::cast_possible_truncation)] // What was written are places and lengths of this machine.
    fn text(&mut self) -> &'a str {
        let number = self.number();
        let (new, value) = (number & 1 == 1, (number >> 1) as usize);
        let (from, length) = if new { (self.text_at, value) } else { (value, self.number() as usize) };
        if new {
            self.text_at += length;
        }
        &self.texts[from..from + length]
    }

    /// Goes over a text.
    #[allow(clippy::cast_possible_truncation)]
    fn skip_text(&mut self) {
        let number = self.number();
        match number & 1 {
            0 => _ = self.number(),
            _ => self.text_at += (number >> 1) as usize,
        }
    }

    /// Goes over the rest of a snapshot.
    fn skip(&mut self) {
        self.skip_text();
        self.byte();
        (0..3).for_each(|_| _ = self.number());
        self.skip_text();
        for _ in 0..self.number() {
            self.skip_text();
            self.skip_text();
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn snapshot(&mut self, id: &str) -> Option<Snapshot> {
        let volume = self.text().parse().ok();
        let state = [SnapshotState::Pending, SnapshotState::Completed, SnapshotState::Error, SnapshotState::Other];
        let state = state[usize::from(self.byte())];
        let (seconds, nanos) = (self.number().cast_signed(), self.number() as u32);
        let started: DateTime<Utc> = DateTime::from_timestamp(seconds, nanos)?;
        let full_size = self.number().checked_sub(1);
        let description = self.text().to_owned();
        let tags: Tags = (0..self.number()).map(|_| (self.text().to_owned(), self.text().to_owned())).collect();
        let id: SnapshotId = id.parse().ok()?;
        Some(Snapshot {
            id,
            volume,
            state,
            started,
            completed: None,
            description,
            state_message: None,
            stored: Default::default(),
            full_size,
            tags,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn snapshot(number: usize) -> Snapshot {
        let states = [SnapshotState::Pending, SnapshotState::Completed, SnapshotState::Error, SnapshotState::Other];
        let kind = if number.is_multiple_of(9) { "Other" } else { "Automated" };
        let mut tags: Tags = [("Type", kind), ("Name", "größer"), ("", ""), ("k", "v")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        tags.insert("SourceSnapshotId".into(), format!("snap-{:017x}", number / 3));
        if number % 100 == 3 {
            tags.insert("keepforever".into(), String::new());
        }
        if number % 5 == 2 {
            tags.insert("BackupFromRegion".into(), ["eu-west-1", "us-east-1"][number / 5 % 2].into());
        }
        tags.insert("Long".into(), "x".repeat(number % 300));
        Snapshot {
            id: format!("snap-{number:017x}").parse().unwrap(),
            volume: (!number.is_multiple_of(5)).then(|| format!("vol-{:017x}", number / 7).parse().unwrap()),
            state: states[number % 4],
            started: DateTime::from_timestamp(number as i64 * 86_400 - 1_000_000, 123_000_000).unwrap(),
            completed: None,
            description: if number.is_multiple_of(2) { String::new() } else { format!("web - i-{}", number / 10) },
            state_message: None,
            stored: Default::default(),
            full_size: [None, Some(0), Some(number as u64), Some(u64::MAX - 1)][number % 4],
            tags,
        }
    }

    #[test]
    fn what_was_packed_comes_out_the_same_and_in_order() {
        let (mut packed, all) = (Packed::default(), (0..5_000).map(snapshot).collect::<Vec<_>>());
        all.iter().for_each(|one| packed.push(one));
        let mut read = Vec::new();
        packed.each(&SnapshotFilter::Own, &mut |one| read.push(one));
        assert!(read == all, "each of them, and no other");
        let ids = all.iter().map(|one| one.id.clone()).filter(|id| id.as_str().ends_with('7')).collect();
        let filters = [
            SnapshotFilter::Ids(ids),
            SnapshotFilter::Automated,
            SnapshotFilter::KeptForever,
            SnapshotFilter::CopiesFrom("eu-west-1".parse().unwrap()),
            SnapshotFilter::PendingCopies,
            SnapshotFilter::BackupsOf(vec!["vol-00000000000000001".parse().unwrap()]),
        ];
        for which in filters {
            let mut found = Vec::new();
            packed.each(&which, &mut |one| found.push(one));
            let expected: Vec<_> = all.iter().filter(|one| which.matches(one)).cloned().collect();
            assert!(!found.is_empty() && found.len() < all.len() && found == expected, "{which:?}");
        }
    }

    #[test]
    fn the_tags_of_a_set_are_written_once() {
        let set = |number: usize| Snapshot {
            tags: (0..10).map(|at| (format!("a key of the set {at}"), "its value, which is long".repeat(9))).collect(),
            ..snapshot(number)
        };
        let mut packed = Packed::default();
        (0..1_000).for_each(|number| packed.push(&set(number)));
        let bytes = packed.bytes.len() + packed.texts.len();
        assert!(bytes < 150_000, "{bytes}");
    }
}
