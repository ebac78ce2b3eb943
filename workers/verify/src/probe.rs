//! Some blocks: each must be what its checksum says, and of a copy, the same as in its source.

use domain::{
    drill::{Cursor, VerifyTask},
    error::{ErrorName, Failure},
    ports::SnapshotBlocks,
    proof::Level,
};

use crate::{reader::Reader, stop::Stop};

/// Reads the blocks that were remembered, from where an earlier message has stopped.
pub(crate) async fn read_blocks(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    task: &VerifyTask,
    cursor: &mut Cursor,
    has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    let source = task.source.as_ref().filter(|_| task.level >= Level::Copy);
    let mut source = source.map(|source| reader.of_other(&source.region, &source.snapshot));
    let indices: Vec<u32> = cursor.first.iter().chain(&cursor.sampled).copied().collect();
    let begun_at = cursor.probed;
    // A copy without any block may have a source with some.
    if let (true, Some(source)) = (indices.is_empty(), source.as_mut()) {
        note_compared(cursor, compare(reader, source, 0, 0).await)?;
    }
    for (number, index) in indices.into_iter().enumerate().skip(begun_at) {
        if number > begun_at && !has_time() {
            return Err(Stop::Onward);
        }
        if reader.block(index).await?.is_none() {
            return Err(reader.unanswered(format!("block {index} was in its list, and is not any more")));
        }
        if let Some(source) = source.as_mut().filter(|_| !cursor.uncompared && cursor.compared == number) {
            // The first one with all that comes before it.
            let from = if number == 0 { 0 } else { index };
            cursor.compared += note_compared(cursor, compare(reader, source, from, index).await)?;
        }
        cursor.probed = number + 1;
    }
    Ok(())
}

/// Takes note of a comparison; how many blocks were compared, one or none.
fn note_compared(cursor: &mut Cursor, compared: Result<Option<String>, Uncompared>) -> Result<usize, Stop> {
    let (note, count) = match compared {
        Ok(note) => (note, 1),
        Err(Uncompared::Source(failure)) => {
            cursor.uncompared = true;
            let words = format!("not compared with its source: {failure}");
            if failure.name == ErrorName::SnapshotNotFound {
                (Some(words), 0)
            } else {
                cursor.missing.push(words);
                (None, 0)
            }
        }
        Err(Uncompared::Stopped(stop)) => return Err(stop),
    };
    let is_new = |note: &String| !cursor.notes.contains(note);
    if let Some(note) = note.filter(is_new) {
        cursor.notes.push(note);
    }
    Ok(count)
}

/// Why a block was not compared.
enum Uncompared {
    /// Its source is gone, or may not be read, or is bad itself: that says nothing of the copy, and stays so.
    Source(Failure),
    Stopped(Stop),
}

impl From<Stop> for Uncompared {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// What stops the reading of a source.
fn of_source(stop: Stop) -> Uncompared {
    match stop {
        Stop::Failed(failure) | Stop::Impossible(failure) => Uncompared::Source(failure),
        stop => Uncompared::Stopped(stop),
    }
}

/// Compares a block of a copy with its source, and which blocks were written at all from `from` on, as far as a page of
/// both lists goes; a note where only the lists differ.
///
/// What was never written reads as zeros, so a block that only one of them has is only wrong if it has something else.
async fn compare<B: SnapshotBlocks>(
    copy: &mut Reader<'_, B>,
    source: &mut Reader<'_, B>,
    from: u32,
    index: u32,
) -> Result<Option<String>, Uncompared> {
    let mut is_second = false;
    loop {
        let (there, to) = source.written_from(from).await.map_err(of_source)?;
        let (here, end) = copy.written_from(from).await?;
        let until = to.min(end);
        let only_in = |ones: &[u32], others: &[u32]| {
            ones.iter().copied().find(|one| *one <= until && others.binary_search(one).is_err())
        };
        let (only_there, only_here) = (only_in(&there, &here), only_in(&here, &there));
        let mut wrong = None;
        for index in [Some(index), only_there, only_here].into_iter().flatten() {
            let expected = source.block(index).await.map_err(of_source)?;
            let found = copy.block(index).await?;
            let is_same = match (&expected, &found) {
                (Some(expected), Some(found)) => expected == found,
                (Some(one), None) | (None, Some(one)) => one.iter().all(|byte| *byte == 0),
                (None, None) => true,
            };
            if !is_same {
                wrong = Some((index, expected, found));
                break;
            }
        }
        let Some((index, expected, found)) = wrong else {
            let differ = only_there.is_some() || only_here.is_some();
            return Ok(differ.then(|| "its list of blocks differs from its source's, in blocks of zeros".into()));
        };
        // A list that lacks a block may be one that came too short: both are asked for once more.
        if (expected.is_none() || found.is_none()) && !is_second {
            is_second = true;
            source.forget_tokens();
            copy.forget_tokens();
            continue;
        }
        let words = format!(
            "block {index} of {} in {} is not as in its source {} in {}: expected is {}, found is {}",
            copy.snapshot,
            copy.region,
            source.snapshot,
            source.region,
            in_words(expected.as_ref().map(|data| data.as_slice())),
            in_words(found.as_ref().map(|data| data.as_slice()))
        );
        return Err(Uncompared::Stopped(Stop::Failed(Failure::new(ErrorName::SnapshotCorrupt, words))));
    }
}

fn in_words(data: Option<&[u8]>) -> String {
    use sha2::Digest;
    match data {
        Some(data) => format!("the SHA-256 {}", crate::reader::base64(&sha2::Sha256::digest(data))),
        None => "a block that was never written".into(),
    }
}
