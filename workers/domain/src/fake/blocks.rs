//! The EBS direct APIs in memory.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Read},
};

use crate::{
    blocks::{BLOCK_LENGTH, Block, BlockError, BlockPage, ListedBlock, PageStart},
    ids::{Region, SnapshotId},
    ports::SnapshotBlocks,
};

/// Compared as a whole: large images are read without optimisation.
static ZEROS: [u8; BLOCK_LENGTH] = [0; BLOCK_LENGTH];

/// What happens to the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockFault {
    /// It succeeds; the next fault is for the call after it.
    Spared,
    /// It is refused with this code and reason.
    Refused(&'static str, &'static str),
    /// The block is altered on its way.
    Altered,
    /// All tokens that were handed out before are forgotten.
    TokensExpired,
}

/// The blocks of a snapshot that were written, by their indices.
pub type Written = BTreeMap<u32, Vec<u8>>;

/// The blocks of snapshots in memory.
#[derive(Debug)]
pub struct FakeBlocks {
    /// The written blocks of each snapshot, as far as they are not zeros.
    pub snapshots: RefCell<BTreeMap<(Region, SnapshotId), Written>>,
    /// Blocks that are not what their checksums say.
    pub corrupt: RefCell<BTreeSet<(SnapshotId, u32)>>,
    /// Snapshots whose key cannot be used.
    pub locked: RefCell<BTreeSet<SnapshotId>>,
    /// Regions that do not answer.
    pub down: RefCell<BTreeSet<Region>>,
    /// Blocks of a page, at most, whatever is asked for.
    pub per_page: Cell<usize>,
    /// The lists and blocks that were asked for, with the first index of each.
    pub calls: RefCell<Vec<(&'static str, SnapshotId, u32)>>,
    faults: RefCell<BTreeMap<&'static str, VecDeque<BlockFault>>>,
    /// Tokens of an earlier generation are forgotten.
    generation: Cell<u32>,
    /// The checksum of a block, as EBS writes it: whoever tests has it.
    checksum: fn(&[u8]) -> String,
}

impl FakeBlocks {
    /// No snapshots at all.
    pub fn new(checksum: fn(&[u8]) -> String) -> Self {
        Self {
            snapshots: RefCell::default(),
            corrupt: RefCell::default(),
            locked: RefCell::default(),
            down: RefCell::default(),
            per_page: Cell::new(usize::MAX),
            calls: RefCell::default(),
            faults: RefCell::default(),
            generation: Cell::new(0),
            checksum,
        }
    }

    /// Adds a snapshot of these blocks; each is filled up with zeros when it is read.
    pub fn add(&self, region: &Region, snapshot: &SnapshotId, blocks: impl IntoIterator<Item = (u32, Vec<u8>)>) {
        self.snapshots.borrow_mut().insert((region.clone(), snapshot.clone()), blocks.into_iter().collect());
    }

    /// Adds a snapshot of a disk's image. What is zeros was never written.
    pub fn add_image(&self, region: &Region, snapshot: &SnapshotId, mut image: impl Read) -> io::Result<()> {
        let mut blocks = BTreeMap::new();
        for index in 0.. {
            let mut data = Vec::new();
            image.by_ref().take(BLOCK_LENGTH as u64).read_to_end(&mut data)?;
            if data.is_empty() {
                break;
            }
            if data[..] != ZEROS[..data.len()] {
                blocks.insert(index, data);
            }
        }
        self.add(region, snapshot, blocks);
        Ok(())
    }

    /// Makes the next call of `action` fail; several faults are met in turn.
    pub fn fail_next(&self, action: &'static str, fault: BlockFault) {
        self.faults.borrow_mut().entry(action).or_default().push_back(fault);
    }

    /// Forgets all tokens.
    pub fn expire_tokens(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// How many calls there were.
    pub fn count(&self, action: &str) -> usize {
        self.calls.borrow().iter().filter(|(called, ..)| *called == action).count()
    }

    fn refused(&self, action: &'static str, region: &Region, code: &str, reason: &str) -> BlockError {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        let message = "as the test asked".into();
        BlockError { action, region: region.to_string(), code: code.into(), reason, message }
    }

    /// Records the call; the fault that does not refuse it, if there is one.
    fn enter(
        &self,
        action: &'static str,
        region: &Region,
        snapshot: &SnapshotId,
        index: u32,
    ) -> Result<Option<BlockFault>, BlockError> {
        self.calls.borrow_mut().push((action, snapshot.clone(), index));
        if self.down.borrow().contains(region) {
            return Err(self.refused(action, region, crate::error::LOST_ANSWER, ""));
        }
        if self.locked.borrow().contains(snapshot) {
            return Err(self.refused(action, region, "AccessDeniedException", "DEPENDENCY_ACCESS_DENIED"));
        }
        let fault = self.faults.borrow_mut().get_mut(action).and_then(VecDeque::pop_front);
        match fault {
            Some(BlockFault::Refused(code, reason)) => Err(self.refused(action, region, code, reason)),
            Some(BlockFault::TokensExpired) => {
                self.expire_tokens();
                Ok(None)
            }
            fault => Ok(fault),
        }
    }

    /// The index in a token, if the token is still known.
    fn redeem(&self, token: &str) -> Option<u32> {
        let (generation, index) = token.split_once('/')?;
        (generation.parse() == Ok(self.generation.get())).then(|| index.parse().ok())?
    }
}

impl SnapshotBlocks for FakeBlocks {
    async fn list_blocks(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        start: PageStart<'_>,
        most: u32,
    ) -> Result<BlockPage, BlockError> {
        let action = "ListSnapshotBlocks";
        let asked = match start {
            PageStart::Index(index) => index,
            PageStart::Token(token) => token.split_once('/').and_then(|(_, index)| index.parse().ok()).unwrap_or(0),
        };
        self.enter(action, region, snapshot, asked)?;
        let from = match start {
            PageStart::Index(index) => Some(index),
            PageStart::Token(token) => self.redeem(token),
        };
        let from = from.ok_or_else(|| self.refused(action, region, "ValidationException", "INVALID_PAGE_TOKEN"))?;
        let snapshots = self.snapshots.borrow();
        let held = snapshots
            .get(&(region.clone(), snapshot.clone()))
            .ok_or_else(|| self.refused(action, region, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"))?;
        let generation = self.generation.get();
        let mut rest = held.range(from..).map(|(index, _)| *index);
        let blocks: Vec<ListedBlock> = rest
            .by_ref()
            .take(self.per_page.get().min(most as usize))
            .map(|index| ListedBlock { index, token: format!("{generation}/{index}") })
            .collect();
        Ok(BlockPage { blocks, next: rest.next().map(|index| format!("{generation}/{index}")) })
    }

    async fn read_block(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> Result<Block, BlockError> {
        let action = "GetSnapshotBlock";
        let fault = self.enter(action, region, snapshot, block.index)?;
        if self.redeem(&block.token) != Some(block.index) {
            return Err(self.refused(action, region, "ValidationException", "INVALID_BLOCK_TOKEN"));
        }
        let snapshots = self.snapshots.borrow();
        let data = snapshots.get(&(region.clone(), snapshot.clone())).and_then(|held| held.get(&block.index)).cloned();
        let mut data =
            data.ok_or_else(|| self.refused(action, region, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"))?;
        data.resize(BLOCK_LENGTH, 0);
        let checksum = (self.checksum)(&data);
        if fault == Some(BlockFault::Altered) || self.corrupt.borrow().contains(&(snapshot.clone(), block.index)) {
            data[BLOCK_LENGTH / 2] ^= 1;
        }
        Ok(Block { length: data.len(), data, checksum })
    }
}
