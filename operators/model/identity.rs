//! Who an event is: a 128-bit keyed hash of tenant, source and id.
//!
//! No time is in it and no window on it: the same event sent a year later is the same event.
//! The hash is SipHash-1-3 with a fixed key, so that it is stable across processes, restarts
//! and versions, and cheap enough for every event; the journal keeps the id itself.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Identity of a usage event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity(pub [u64; 2]);

impl Identity {
    /// The identity of event `id` of `source`, as sent by `tenant`.
    ///
    /// Lengths are hashed with the texts, so that no two triples run together.
    pub fn of(tenant: &str, source: &str, id: &str) -> Identity {
        let mut hasher = SipHasher13::new_with_keys(0x7472_7565_7570_2d69, 0x6465_6e74_6974_7931);
        for part in [tenant, source, id] {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        let hash = hasher.finish128();
        Identity([hash.h1, hash.h2])
    }

    /// What rows are sorted by, where they are.
    pub fn order(self) -> (u64, u64) {
        (self.0[1], self.0[0])
    }

    /// The worker, of `workers`, that remembers this identity.
    pub fn worker(self, workers: usize) -> usize {
        route(self.place(), workers)
    }

    /// The place of what is remembered of it, to be spread over workers by `route`.
    pub fn place(self) -> u64 {
        self.0[0]
    }
}

/// Spreads well-mixed hashes over `workers`. Ours and fixed: placement must not change with a
/// library's hash function.
pub fn route(hash: u64, workers: usize) -> usize {
    ((u128::from(hash) * workers as u128) >> 64) as usize
}

/// A stable hash of two ids: where the state of a key lives.
pub fn stable_hash(first: u32, second: u32) -> u64 {
    mix((u64::from(first) << 32) | u64::from(second))
}

/// The place of everything that is billed to a customer, to be spread over workers by `route`.
pub fn customer_place(customer: u32) -> u64 {
    stable_hash(customer, 0)
}

/// The worker, of `workers`, where that is.
pub fn home(customer: u32, workers: usize) -> usize {
    route(customer_place(customer), workers)
}

/// The finalizer of SplitMix64: a bijection in which every input bit moves every output bit.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fixed_for_all_time() {
        // A journal that is kept remembers events by these, and where things live follows from them.
        let identity = Identity::of("default", "/gateway", "call-1");
        assert_eq!(identity, Identity([305_429_596_554_095_162, 10_571_480_394_501_766_635]));
        assert_eq!([stable_hash(1, 2), customer_place(7)], [12_929_899_232_056_340_514, 13_608_266_740_756_273_489]);
        assert_ne!(identity, Identity::of("default", "/gatewayc", "all-1"), "texts do not run together");
    }

    #[test]
    fn routes_stay_in_range() {
        assert_eq!(route(0, 3), 0);
        assert_eq!(route(u64::MAX, 3), 2);
        assert_eq!(route(u64::MAX, 1), 0);
    }
}
