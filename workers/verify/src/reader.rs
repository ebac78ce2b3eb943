//! A snapshot as bytes: blocks that are read when they are needed, each checked against its checksum.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use domain::{
    blocks::{
        BLOCK_BYTES, BLOCK_LENGTH, BLOCKS_PER_SMALL_PAGE, BlockError, BlockPage, BlockReaction, ListedBlock, PageStart,
    },
    drill::Cursor,
    error::{ErrorName, Failure},
    ids::{Region, SnapshotId},
    ports::SnapshotBlocks,
};
use sha2::{Digest, Sha256};

use crate::stop::Stop;

/// Blocks that are held in memory, at most: 2 MB.
const HELD_BLOCKS: usize = 4;
/// Parts of the block list that are held, at most.
const HELD_PARTS: usize = 8;
/// How often a token of one block is asked for again.
const MAX_TOKENS: u32 = 3;

/// What was spent on a task, of which some things are limited.
#[derive(Debug)]
pub(crate) struct Spent {
    list_calls: Cell<u64>,
    blocks_read: Cell<u64>,
    max_blocks: u64,
}

impl Spent {
    pub(crate) fn of(cursor: &Cursor, max_blocks: u64) -> Self {
        let (list_calls, blocks_read) = (Cell::new(cursor.list_calls), Cell::new(cursor.blocks_read));
        Self { list_calls, blocks_read, max_blocks }
    }

    pub(crate) fn blocks_read(&self) -> u64 {
        self.blocks_read.get()
    }

    pub(crate) fn note(&self, cursor: &mut Cursor) {
        cursor.list_calls = self.list_calls.get();
        cursor.blocks_read = self.blocks_read.get();
    }
}

/// A part of a block list: all blocks that were written from one index to another.
struct Part {
    from: u32,
    /// Of the last block that is known of; `u32::MAX` where the list has ended.
    to: u32,
    tokens: BTreeMap<u32, String>,
}

/// A snapshot as bytes.
pub(crate) struct Reader<'a, B> {
    blocks: &'a B,
    pub(crate) region: &'a Region,
    pub(crate) snapshot: &'a SnapshotId,
    pub(crate) spent: &'a Spent,
    /// Blocks that a list of this reader has at least, where it is asked for one of them.
    pub(crate) page: u32,
    parts: VecDeque<Part>,
    /// Tokens of blocks that are going to be read.
    tokens: BTreeMap<u32, String>,
    held: VecDeque<(u32, Rc<Vec<u8>>)>,
}

impl<'a, B: SnapshotBlocks> Reader<'a, B> {
    pub(crate) fn new(blocks: &'a B, region: &'a Region, snapshot: &'a SnapshotId, spent: &'a Spent) -> Self {
        let page = BLOCKS_PER_SMALL_PAGE;
        let (parts, tokens, held) = (VecDeque::new(), BTreeMap::new(), VecDeque::new());
        Self { blocks, region, snapshot, spent, page, parts, tokens, held }
    }

    /// A reader of another snapshot, at the same expense.
    pub(crate) fn of_other(&self, region: &'a Region, snapshot: &'a SnapshotId) -> Self {
        Self::new(self.blocks, region, snapshot, self.spent)
    }

    /// A page of the block list.
    pub(crate) async fn list(&mut self, start: PageStart<'_>, most: u32) -> Result<BlockPage, BlockError> {
        self.spent.list_calls.set(self.spent.list_calls.get() + 1);
        self.blocks.list_blocks(self.region, self.snapshot, start, most).await
    }

    /// Remembers tokens of blocks that are going to be read, and forgets the others.
    pub(crate) fn keep_tokens(&mut self, page: &BlockPage, is_wanted: impl Fn(u32) -> bool) {
        self.tokens.retain(|index, _| is_wanted(*index));
        let wanted = page.blocks.iter().filter(|block| is_wanted(block.index));
        self.tokens.extend(wanted.map(|block| (block.index, block.token.clone())));
    }

    /// Forgets all tokens: EBS does not know one of them any more.
    pub(crate) fn forget_tokens(&mut self) {
        self.parts.clear();
        self.tokens.clear();
    }

    /// A block, if it was ever written.
    pub(crate) async fn listed(&mut self, index: u32) -> Result<Option<ListedBlock>, Stop> {
        if let Some(token) = self.tokens.get(&index) {
            return Ok(Some(ListedBlock { index, token: token.clone() }));
        }
        let token = self.part(index).await?.tokens.get(&index);
        Ok(token.map(|token| ListedBlock { index, token: token.clone() }))
    }

    /// The blocks that were written from this index on, and up to which one that is known.
    pub(crate) async fn written_from(&mut self, index: u32) -> Result<(Vec<u32>, u32), Stop> {
        let part = self.part(index).await?;
        Ok((part.tokens.range(index..).map(|(index, _)| *index).collect(), part.to))
    }

    /// The part of the list that has this index.
    async fn part(&mut self, index: u32) -> Result<&Part, Stop> {
        if let Some(at) = self.parts.iter().position(|part| (part.from..=part.to).contains(&index)) {
            return Ok(&self.parts[at]);
        }
        let mut page = self.list(PageStart::Index(index), self.page).await.map_err(Stop::from)?;
        // A page may be empty and not the last one.
        while page.blocks.is_empty()
            && let Some(next) = page.next.take()
        {
            page = self.list(PageStart::Token(&next), self.page).await.map_err(Stop::from)?;
        }
        let to = if page.next.is_none() { u32::MAX } else { page.blocks.last().map_or(index, |last| last.index) };
        let tokens: BTreeMap<u32, String> = page.blocks.into_iter().map(|block| (block.index, block.token)).collect();
        self.parts.truncate(HELD_PARTS - 1);
        self.parts.push_front(Part { from: index, to, tokens });
        Ok(&self.parts[0])
    }

    /// The bytes of a block; none if it was never written.
    pub(crate) async fn block(&mut self, index: u32) -> Result<Option<Rc<Vec<u8>>>, Stop> {
        if let Some((_, data)) = self.held.iter().find(|(held, _)| *held == index) {
            return Ok(Some(data.clone()));
        }
        let Some(data) = self.read_checked(index).await? else { return Ok(None) };
        let data = Rc::new(data);
        self.held.truncate(HELD_BLOCKS - 1);
        self.held.push_front((index, data.clone()));
        Ok(Some(data))
    }

    /// Bytes of the volume; what was never written is zeros.
    pub(crate) async fn bytes(&mut self, start: u64, length: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let at = start + done as u64;
            let (index, within) = place(at).ok_or_else(|| self.unanswered(format!("there is no byte {at}")))?;
            let count = (BLOCK_LENGTH - within).min(length - done);
            if let Some(data) = self.block(index).await? {
                bytes[done..done + count].copy_from_slice(&data[within..within + count]);
            }
            done += count;
        }
        Ok(bytes)
    }

    /// A block with the right checksum. What is wrong is read once more, so that it is not the way that was wrong.
    async fn read_checked(&mut self, index: u32) -> Result<Option<Vec<u8>>, Stop> {
        let (mut tokens, mut wrong) = (0, None);
        loop {
            let Some(listed) = self.listed(index).await? else { return Ok(None) };
            if self.spent.blocks_read.get() >= self.spent.max_blocks {
                return Err(Stop::Enough);
            }
            self.spent.blocks_read.set(self.spent.blocks_read.get() + 1);
            let block = match self.blocks.read_block(self.region, self.snapshot, &listed).await {
                Ok(block) => block,
                Err(error) if error.reaction() == BlockReaction::TokenExpired && tokens < MAX_TOKENS => {
                    // What was not handed out is not charged.
                    self.spent.blocks_read.set(self.spent.blocks_read.get() - 1);
                    tokens += 1;
                    self.forget_tokens();
                    continue;
                }
                Err(error) => {
                    self.spent.blocks_read.set(self.spent.blocks_read.get() - 1);
                    return Err(error.into());
                }
            };
            if block.data.len() != block.length {
                let words = format!("block {index} came with {} of its {} bytes", block.data.len(), block.length);
                return Err(self.unanswered(words));
            }
            let found = base64(&Sha256::digest(&block.data));
            let problem = if found != block.checksum {
                format!("block {index} has the SHA-256 {found}; expected is {}", block.checksum)
            } else if block.length != BLOCK_LENGTH {
                format!("block {index} has {} bytes; expected are {BLOCK_LENGTH}", block.length)
            } else {
                if let Some(wrong) = wrong {
                    tracing::warn!(snapshot = %self.snapshot, region = %self.region, cause = wrong, "right when it was read again");
                }
                return Ok(Some(block.data));
            };
            if wrong.is_some() {
                let words = format!("{} in {}: {problem}", self.snapshot, self.region);
                return Err(Stop::Failed(Failure::new(ErrorName::SnapshotCorrupt, words)));
            }
            wrong = Some(problem);
        }
    }

    pub(crate) fn unanswered(&self, words: String) -> Stop {
        let words = format!("{} in {}: {words}", self.snapshot, self.region);
        Stop::Unanswered(Failure::new(ErrorName::SnapshotUnreadable, words))
    }
}

/// The block of a byte, and where it is in there.
#[allow(clippy::cast_possible_truncation)] // Less than a block.
fn place(at: u64) -> Option<(u32, usize)> {
    Some((u32::try_from(at / BLOCK_BYTES).ok()?, (at % BLOCK_BYTES) as usize))
}

/// As EBS writes checksums.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            let digit = DIGITS[(number >> (18 - 6 * digit) & 63) as usize];
            text.push(if shown { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_as_ebs_writes_them() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
