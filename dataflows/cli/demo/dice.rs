//! Draws that a seed decides: the same on every machine, and without floats.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice with this seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero. The bias of the remainder is beyond notice.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that does so in `times` of a thousand cases.
    pub fn happens(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    /// A rank from 0 by Zipf's law: the second is drawn half as often as the first, the third a
    /// third as often.
    pub fn zipf(&mut self, ranks: usize) -> usize {
        const FIRST: u64 = 1_000_000;
        let weight = |rank: usize| FIRST / (rank as u64 + 1);
        let mut drawn = self.below((0..ranks).map(weight).sum());
        for rank in 0..ranks {
            match drawn.checked_sub(weight(rank)) {
                Some(rest) => drawn = rest,
                None => return rank,
            }
        }
        ranks - 1
    }
}
