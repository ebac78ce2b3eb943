//! Which blocks of a list are read: some at random, of a list of any length that comes in pages, in little memory.
//!
//! Every block has a rank that depends on the seed and its index alone, and those of the lowest rank are read. So a task
//! that is delivered twice, or goes on in another message, reads the same ones.

use crate::{
    hash::{fnv, mixed},
    ids::SnapshotId,
};

/// Of each snapshot that is probed so many blocks from the beginning of its list are read.
pub const FIRST_BLOCKS: usize = 4;
/// And so many at random.
pub const RANDOM_BLOCKS: usize = 28;

/// What the ranks of one drill's reading of one snapshot depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// Another drill reads other blocks.
    pub fn new(drill_id: &str, snapshot: &SnapshotId) -> Self {
        Self(fnv(drill_id.bytes().chain([b'/']).chain(snapshot.as_str().bytes())))
    }

    fn rank(self, index: u32) -> u64 {
        mixed(self.0.wrapping_add(u64::from(index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// Takes note of a block; `sampled` has those of the lowest rank, in the order of their ranks.
pub fn keep_sampled(sampled: &mut Vec<u32>, seed: Seed, index: u32) {
    let rank = seed.rank(index);
    let is_full = sampled.len() >= RANDOM_BLOCKS;
    if is_full && sampled.last().is_some_and(|last| seed.rank(*last) <= rank) {
        return;
    }
    let at = sampled.partition_point(|kept| seed.rank(*kept) < rank);
    if sampled.get(at) != Some(&index) {
        sampled.insert(at, index);
        sampled.truncate(RANDOM_BLOCKS);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seed(drill: &str) -> Seed {
        Seed::new(drill, &"snap-1".parse().unwrap())
    }

    fn sample(seed: Seed, indices: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut sampled = Vec::new();
        indices.into_iter().for_each(|index| keep_sampled(&mut sampled, seed, index));
        sampled
    }

    proptest! {
        #[test]
        fn a_list_gives_the_same_sample_wherever_its_pages_end(count in 0u32..2_000, again in 0u32..2_000, drill in "[a-z]{1,9}") {
            let once = sample(seed(&drill), 0..count);
            let with_a_page_twice = sample(seed(&drill), (0..count).chain(0..again.min(count)));
            prop_assert_eq!(&once, &with_a_page_twice);
            prop_assert_eq!(once.len(), RANDOM_BLOCKS.min(count as usize));
        }
    }

    #[test]
    fn every_drill_reads_other_blocks_from_all_over_the_list() {
        let (one, other) = (sample(seed("20261122T030000Z"), 0..32_768), sample(seed("20261129T030000Z"), 0..32_768));
        assert!(one.iter().all(|index| !other.contains(index)), "{one:?} {other:?}");
        let mut quarters: Vec<u32> = one.iter().map(|index| index / 8_192).collect();
        quarters.sort_unstable();
        quarters.dedup();
        assert_eq!(quarters, [0, 1, 2, 3], "{one:?}");
    }
}
