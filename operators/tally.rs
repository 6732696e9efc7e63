//! Adds up what goes to the same place before it is sent.
//!
//! Records that lie together mostly go to the same few places: the usage of a subject to the
//! groups of one customer. What is added up here is not exchanged, sorted and merged.

use differential_dataflow::difference::Semigroup;

/// How many places are kept apart; beyond that it is quicker to send than to search.
const PLACES_MAX: usize = 32;

/// What goes to a few places.
pub struct Tally<D, R> {
    sums: Vec<(D, R)>,
}

impl<D, R> Default for Tally<D, R> {
    fn default() -> Self {
        Tally { sums: Vec::new() }
    }
}

impl<D: Eq, R: Semigroup> Tally<D, R> {
    /// Adds `diff` to what goes to `place`.
    pub fn put(&mut self, place: D, diff: R) {
        match self.sums.iter_mut().rev().find(|(other, _)| *other == place) {
            Some((_, sum)) => sum.plus_equals(&diff),
            None => self.sums.push((place, diff)),
        }
    }

    /// Whether it is time to send.
    pub fn is_full(&self) -> bool {
        self.sums.len() >= PLACES_MAX
    }

    /// What there is to send; nothing is left.
    pub fn drain(&mut self) -> impl Iterator<Item = (D, R)> {
        self.sums.drain(..).filter(|(_, sum)| !sum.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cancels_is_not_sent() {
        let mut tally = Tally::default();
        for (place, diff) in [("a", 1), ("b", 2), ("a", -1), ("b", 3)] {
            tally.put(place, diff);
        }
        assert_eq!(tally.drain().collect::<Vec<_>>(), [("b", 5)]);
        assert_eq!(tally.drain().count(), 0);
    }

    #[test]
    fn it_is_full_at_so_many_places_until_they_are_sent() {
        let mut tally = Tally::default();
        for place in 0..PLACES_MAX {
            assert!(!tally.is_full(), "{place} places are not too many");
            tally.put(place, 1);
            tally.put(place, 1);
        }
        assert!(tally.is_full());
        assert_eq!(tally.drain().count(), PLACES_MAX);
        assert!(!tally.is_full());
    }
}
