//! Which identities a run may hold: a Bloom filter of blocks.
//!
//! Law: what was put in is always found; of what was not, some 2 in a thousand are. One look costs
//! one cache line. Blocks, salts and bits are those of Parquet's filters (parquet-format,
//! BloomFilter.md): 256 bits, of which each identity sets eight, one in each word.
//!
//! Identities are hashes, so they are not hashed again: their second half names the block, and it is
//! also what they are sorted by, so that a filter is filled from its beginning to its end.

use trueup_model::identity::Identity;

/// Bits for each identity.
const BITS: u64 = 14;
/// How many blocks are read before one is looked into.
const AHEAD: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 32;

const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Aligned, so that a block lies in one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Block([u32; 8]);

impl Block {
    fn may_hold(&self, identity: &Identity) -> bool {
        let word = |place: usize| self.0[place] >> shift(identity, SALTS[place]);
        // Four at once: of what is not there so few pass that the processor guesses right.
        (word(0) & word(1) & word(2) & word(3)) & 1 != 0 && (word(4) & word(5) & word(6) & word(7)) & 1 != 0
    }
}

/// A filter.
pub struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty filter with room for so many identities.
    pub fn with_room(identities: u64) -> Filter {
        let blocks = (identities * BITS).div_ceil(8 * BLOCK_BYTES as u64).max(1);
        Filter { blocks: vec![Block::default(); blocks as usize] }
    }

    /// Puts an identity in.
    pub fn put(&mut self, identity: &Identity) {
        let block = self.block(identity);
        self.blocks[block].0.iter_mut().zip(SALTS).for_each(|(word, salt)| *word |= 1 << shift(identity, salt));
    }

    /// Whether it may have been put in.
    pub fn may_hold(&self, identity: &Identity) -> bool {
        self.blocks[self.block(identity)].may_hold(identity)
    }

    /// Sets `bit` in the mask of each identity that may have been put in. Some blocks are read before one
    /// is looked into: reads that wait for the outcome of the look before them cost many times as much.
    pub fn mark(&self, identities: &[Identity], bit: u32, masks: &mut [u32]) {
        let mut blocks = [Block::default(); AHEAD];
        for (identities, masks) in identities.chunks(AHEAD).zip(masks.chunks_mut(AHEAD)) {
            identities.iter().zip(&mut blocks).for_each(|(identity, block)| *block = self.blocks[self.block(identity)]);
            for ((identity, block), mask) in identities.iter().zip(&blocks).zip(masks) {
                *mask |= bit * u32::from(block.may_hold(identity));
            }
        }
    }

    fn block(&self, identity: &Identity) -> usize {
        ((u128::from(identity.0[1]) * self.blocks.len() as u128) >> 64) as usize
    }

    /// Its bytes.
    pub fn bytes(&self) -> impl Iterator<Item = [u8; BLOCK_BYTES]> + '_ {
        self.blocks.iter().map(|block| {
            let mut bytes = [0; BLOCK_BYTES];
            bytes.chunks_exact_mut(4).zip(block.0).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
            bytes
        })
    }

    /// The filter of these bytes.
    pub fn of(bytes: &[u8]) -> Filter {
        let block = |bytes: &[u8]| {
            let mut words = [0; 8];
            let read = bytes.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            words.iter_mut().zip(read).for_each(|(word, read)| *word = read);
            Block(words)
        };
        Filter { blocks: bytes.chunks_exact(BLOCK_BYTES).map(block).collect() }
    }
}

/// Which bit of the word that has this salt. The low half of the first number is taken, as its high half
/// says which worker an identity lives with.
fn shift(identity: &Identity, salt: u32) -> u32 {
    (identity.0[0] as u32).wrapping_mul(salt) >> 27
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let identity = |id: u32| Identity::of("t", "s", &id.to_string());
        let mut filter = Filter::with_room(100_000);
        (0..100_000).for_each(|id| filter.put(&identity(id)));
        let filter = Filter::of(&filter.bytes().collect::<Vec<_>>().concat());
        assert!((0..100_000).all(|id| filter.may_hold(&identity(id))));
        let identities: Vec<Identity> = (99_000..101_000).map(identity).collect();
        let (mut masks, one) = (vec![1; identities.len()], |identity| 1 + 4 * u32::from(filter.may_hold(identity)));
        filter.mark(&identities, 4, &mut masks);
        assert_eq!(masks, identities.iter().map(one).collect::<Vec<u32>>(), "other bits stay");
        let wrong = (100_000..200_000).filter(|&id| filter.may_hold(&identity(id))).count();
        assert!((100..450).contains(&wrong), "{wrong} of 100,000 are marked and are not there");
    }

    #[test]
    fn a_filter_has_at_least_one_block() {
        assert!(!Filter::with_room(0).may_hold(&Identity([1, 2])));
    }
}
