//! The block list, to its end, however long it is.

use domain::{
    blocks::{BLOCK_BYTES, BLOCKS_PER_PAGE, BlockReaction, PageStart},
    drill::{Cursor, FIRST_BLOCKS, Seed, VerifyTask, keep_sampled},
    ports::SnapshotBlocks,
};

use crate::{reader::Reader, stop::Stop};

/// Pages that one invocation asks for, at most: 2 TiB of written blocks.
pub(crate) const MAX_PAGES: u32 = 400;
/// How often EBS may not know a token any more before that counts as no answer.
const MAX_LOST_TOKENS: u32 = 20;

/// Reads the list, from where an earlier message has stopped.
pub(crate) async fn read_list(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    task: &VerifyTask,
    cursor: &mut Cursor,
    has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    let seed = Seed::new(&task.drill_id, &task.snapshot);
    let mut pages = 0;
    while !cursor.ended {
        if pages == MAX_PAGES || (pages > 0 && !has_time()) {
            return Err(Stop::Onward);
        }
        pages += 1;
        let start = match &cursor.next {
            Some(token) => PageStart::Token(token),
            None => PageStart::Index(cursor.from),
        };
        let page = match reader.list(start, BLOCKS_PER_PAGE).await {
            Ok(page) => page,
            // Where that token stood, the list goes on by its index.
            Err(error) if error.reaction() == BlockReaction::TokenExpired && cursor.next.is_some() => {
                cursor.next = None;
                cursor.lost_tokens += 1;
                if cursor.lost_tokens > MAX_LOST_TOKENS {
                    return Err(error.into());
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for block in &page.blocks {
            // What was listed before is not counted twice.
            if block.index < cursor.from {
                continue;
            }
            cursor.listed += 1;
            cursor.from = block.index.saturating_add(1);
            match cursor.first.len() < FIRST_BLOCKS {
                true => cursor.first.push(block.index),
                false => keep_sampled(&mut cursor.sampled, seed, block.index),
            }
        }
        let (first, sampled) = (&cursor.first, &cursor.sampled);
        reader.keep_tokens(&page, |index| first.contains(&index) || sampled.contains(&index));
        cursor.ended = page.next.is_none();
        cursor.next = page.next;
        if cursor.ended && cursor.listed == 0 && task.full_size.is_some_and(|bytes| bytes > 0) {
            (cursor.ended, cursor.from) = (false, 0);
            return Err(reader.unanswered("its list of blocks is empty, and EC2 tells a full size".into()));
        }
        if cursor.ended {
            cursor.notes.extend(differs(task, cursor.listed));
        }
    }
    Ok(())
}

/// EC2 tells the size of all blocks that were written. Where the list has others, nobody is wrong for certain.
fn differs(task: &VerifyTask, listed: u64) -> Option<String> {
    let told = task.full_size?.div_ceil(BLOCK_BYTES);
    (told != listed).then(|| format!("its list has {listed} blocks, and its full size is {told} blocks"))
}
