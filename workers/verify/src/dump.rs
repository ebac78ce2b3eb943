//! The dump inside a snapshot: its file is read out of the ext4 file system that it is in, without a volume.
//!
//! The reader of ext4 asks for bytes and waits for them. It has a thread of its own, which asks this one, since only this
//! one may call AWS. Where reading has to stop, the thread is told so, and says how far it has come: the next message goes
//! on from there.

use std::{
    fmt,
    sync::mpsc::{Receiver, channel},
    thread,
};

use domain::{
    disk::{Kind, Place},
    drill::{Cursor, DumpCursor, DumpPlace, VerifyTask},
    error::{ErrorName, Failure},
    ports::SnapshotBlocks,
};
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
};
use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::{reader::Reader, stop::Stop};

/// Blocks of a list that the reader of a file asks for at once: half a gigabyte of them.
const PAGE: u32 = 1000;
/// Bytes of a file that are read at once.
const CHUNK: usize = 64 * 1024;

/// Reads the dump, from where an earlier message has stopped. What cannot be proven is a note.
pub(crate) async fn read(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    task: &VerifyTask,
    cursor: &mut Cursor,
    has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    let Some(dump) = &task.dump else { return Ok(()) };
    reader.page = PAGE;
    let layout = cursor.layout.clone().unwrap_or_default();
    let places: Vec<&Place> = layout.places.iter().filter(|place| place.found.kind.is_ext()).collect();
    let mut at = cursor.dump.take().unwrap_or_default();
    while let Some(place) = places.get(at.place) {
        let is_one_of_several = places.len() > 1;
        match read_file(reader, dump, place, &at, has_time).await {
            Found::Whole { sha256, bytes } if sha256.eq_ignore_ascii_case(&dump.sha256) => {
                cursor.dump = Some(DumpCursor { read: bytes, state: String::new(), proven: true, ..at });
                return Ok(());
            }
            Found::Whole { sha256, bytes } => {
                at.wrong.push(format!("has {bytes} bytes with the SHA-256 {sha256}; expected is {}", dump.sha256));
            }
            Found::Part { progress, stop } => {
                if let Some((read, state)) = progress {
                    (at.read, at.state) = (read, state);
                }
                cursor.dump = Some(at);
                return Err(stop);
            }
            Found::Nothing => at.empty.push(place.words()),
            // Of several file systems it may be one that has nothing to do with the dump.
            Found::Broken(why) if is_one_of_several => {
                at.doubts.push(format!("{} cannot be read: {why}", place.words()))
            }
            Found::Broken(why) => at.wrong.push(format!("cannot be read: {why}")),
            Found::Unproven(why) => at.doubts.push(why),
        }
        (at.place, at.read, at.state) = (at.place + 1, 0, String::new());
        // Those that were read are not read again.
        cursor.dump = Some(at.clone());
    }
    let DumpCursor { empty, wrong, mut doubts, .. } = at;
    if places.is_empty() || layout.places.iter().any(Place::may_hide_files) {
        let others: Vec<String> = layout.places.iter().map(Place::words).collect();
        doubts.push(format!("files are read out of ext4 only ({})", others.join(", ")));
    }
    if !doubts.is_empty() {
        // A file with another content may be one of another time, on a file system that is not the dump's.
        doubts.extend(wrong);
        // First, since a record has few notes.
        cursor.notes.insert(0, format!("its dump {} is not proven: {}", dump.path, doubts.join("; ")));
        return Ok(());
    }
    if let Some(words) = wrong.first() {
        return Err(corrupt(task, dump, words));
    }
    let read = empty.join(", ");
    Err(corrupt(task, dump, &format!("is missing; expected is its SHA-256 {} ({read})", dump.sha256)))
}

fn corrupt(task: &VerifyTask, dump: &DumpPlace, words: &str) -> Stop {
    let words = format!("the dump {} of {} in {} {words}", dump.path, task.snapshot, task.region);
    Stop::Failed(Failure::new(ErrorName::SnapshotCorrupt, words))
}

/// What became of a file.
enum Found {
    /// It was read to its end.
    Whole { sha256: String, bytes: u64 },
    /// Reading was stopped, so far.
    Part { progress: Option<(u64, String)>, stop: Stop },
    /// The file system has no such file.
    Nothing,
    /// The file system cannot be, which says that the file cannot be restored.
    Broken(String),
    /// It was not read, which says nothing of it.
    Unproven(String),
}

async fn read_file(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    dump: &DumpPlace,
    place: &Place,
    begun: &DumpCursor,
    has_time: &impl Fn() -> bool,
) -> Found {
    let ((ask, mut asked), (answer, answers)) = (unbounded(), channel());
    let bridge = Bridge { ask, answers };
    let path = if dump.path.starts_with('/') { dump.path.clone() } else { format!("/{}", dump.path) };
    let (most, kind) = (u64::from(dump.max_gib) << 30, place.found.kind);
    let resumed = resume(&begun.state).map(|state| (begun.read, state));
    let file = thread::spawn(move || hash(bridge, &path, kind, resumed, most));
    let (mut stopped, read_before) = (None, reader.spent.blocks_read());
    // The channel ends with the thread's reader.
    while let Some(Asked { start, length }) = asked.next().await {
        // At least one block is read, so that slow answers make progress.
        let bytes = match reader.spent.blocks_read() == read_before || has_time() {
            true => reader.bytes(place.start() + start, length).await,
            false => Err(Stop::Onward),
        };
        let bytes = bytes.map_err(|stop| stopped = Some(stop)).ok();
        if answer.send(bytes).is_err() {
            break;
        }
    }
    let hashed = file.join().unwrap_or_else(|_| Hashed::Unproven("the reader of ext4 has given up".into()));
    match (hashed, stopped) {
        (Hashed::Whole { sha256, bytes }, _) => Found::Whole { sha256, bytes },
        (Hashed::Part { read, state }, Some(stop)) => {
            Found::Part { progress: (read > 0).then(|| (read, suspend(&state))), stop }
        }
        (_, Some(stop)) => Found::Part { progress: None, stop },
        (Hashed::Part { .. }, None) => Found::Unproven("the reader of ext4 has stopped".into()),
        (Hashed::Nothing, None) => Found::Nothing,
        (Hashed::Broken(why), None) => Found::Broken(why),
        (Hashed::Unproven(why), None) => Found::Unproven(why),
    }
}

/// Bytes of the file system that its reader asks for.
struct Asked {
    start: u64,
    length: usize,
}

/// The file system, as its reader sees it.
struct Bridge {
    ask: UnboundedSender<Asked>,
    answers: Receiver<Option<Vec<u8>>>,
}

/// Reading has to stop.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading was stopped")
    }
}

impl std::error::Error for Stopped {}

impl Ext4Read for Bridge {
    fn read(&mut self, start: u64, target: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.ask.unbounded_send(Asked { start, length: target.len() }).map_err(|_| Stopped)?;
        match self.answers.recv() {
            Ok(Some(bytes)) => {
                target.copy_from_slice(&bytes);
                Ok(())
            }
            _ => Err(Stopped.into()),
        }
    }
}

/// What the thread says of a file.
enum Hashed {
    Whole { sha256: String, bytes: u64 },
    Part { read: u64, state: Sha256 },
    Nothing,
    Broken(String),
    Unproven(String),
}

fn hash(bridge: Bridge, path: &str, kind: Kind, resumed: Option<(u64, Sha256)>, most: u64) -> Hashed {
    let (mut read, mut state) = resumed.unwrap_or_default();
    let go_on = || -> Result<Option<u64>, Ext4Error> {
        let mut file = Ext4::load(Box::new(bridge))?.open(path)?;
        let bytes = file.metadata().len();
        if bytes > most {
            return Ok(Some(bytes));
        }
        if read > 0 {
            file.seek_to(read)?;
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read_bytes(&mut chunk)? {
                0 => return Ok(None),
                count => {
                    state.update(&chunk[..count]);
                    read += count as u64;
                }
            }
        }
    };
    match go_on() {
        Ok(None) => Hashed::Whole { sha256: hexadecimal(&state.finalize()), bytes: read },
        Ok(Some(bytes)) => Hashed::Unproven(format!("it has {bytes} bytes, and {most} may be read (DrillMaxDumpGiB)")),
        Err(Ext4Error::Io(_)) => Hashed::Part { read, state },
        Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => Hashed::Nothing,
        // A journal that its reader cannot follow may be one that Linux replays.
        Err(Ext4Error::Corrupt(why)) if !why.to_string().contains("journal") => {
            Hashed::Broken(format!("{kind}: {why}"))
        }
        Err(error) => Hashed::Unproven(format!("{kind}: {error}")),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn suspend(state: &Sha256) -> String {
    hexadecimal(&state.serialize())
}

/// None: it is begun anew.
fn resume(state: &str) -> Option<Sha256> {
    let byte = |at: usize| u8::from_str_radix(state.get(at..at + 2)?, 16).ok();
    let bytes = (0..state.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Sha256::deserialize(&SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_where_it_was() {
        let (one, other) = ([7; 1000], [9; 333]);
        let mut state = resume(&suspend(&Sha256::new_with_prefix(one))).unwrap();
        state.update(other);
        assert_eq!(state.finalize(), Sha256::new_with_prefix(one).chain_update(other).finalize());
        for bad in ["", "7", "zz", "00"] {
            assert!(resume(bad).is_none(), "{bad:?}");
        }
    }
}
