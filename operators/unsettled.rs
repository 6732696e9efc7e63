//! Events that were set aside because they contradict one that stands, until that is settled.
//!
//! Law: whatever is said of an event at the revision that stands, each thing that is not what stands is set
//! aside once, however often it is said and read like this; as soon as a greater revision stands, or a
//! retraction, or something is restored as a backfill was taken back, none of it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use trueup_model::arrival::{Arrival, Origin};
use trueup_model::fact::Epoch;
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::usage::UsageBatch;

use crate::event_index::RowRef;

/// A statement that contradicts the one that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Which event it is about.
    pub identity: Identity,
    /// A digest of what it says.
    pub digest: u64,
    /// When it came, and what stood.
    pub told: Told,
}

impl Contradiction {
    /// What is remembered of a row that contradicts the one that stands.
    pub fn of((batch, place): (&UsageBatch, u32), (other, at): &RowRef, epoch: Epoch) -> Contradiction {
        let (row, standing) = (&batch.rows[place as usize], &other.rows[*at as usize]);
        let told = Told {
            epoch,
            number: batch.first_row + u64::from(place),
            received_at: batch.received_at,
            origin: batch.origin.clone(),
            revision: row.revision,
            standing: other.content_digest(standing),
        };
        Contradiction { identity: row.identity, digest: batch.content_digest(row), told }
    }
}

/// When a contradiction came, and what stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The epoch that brought it.
    pub epoch: Epoch,
    /// Its number among all rows that were accepted.
    pub number: u64,
    /// When it was received, by the billing clock.
    pub received_at: Micros,
    /// By which way.
    pub origin: Arc<Origin>,
    /// The revision of both.
    pub revision: u32,
    /// A digest of what stood when it came.
    pub standing: u64,
}

impl Told {
    /// By which way and in which hour it came.
    pub fn arrival(&self) -> Arrival {
        Arrival::at(self.origin.clone(), self.received_at)
    }
}

/// Contradictions that are not settled, some 100 bytes each.
#[derive(Default)]
pub struct Unsettled(BTreeMap<(Identity, u64), Told>);

impl Unsettled {
    /// Remembers a contradiction, unless the same was said before.
    pub fn put(&mut self, contradiction: Contradiction) -> bool {
        let Contradiction { identity, digest, told } = contradiction;
        match self.0.entry((identity, digest)) {
            Entry::Vacant(entry) => drop(entry.insert(told)),
            Entry::Occupied(_) => return false,
        }
        true
    }

    /// Forgets, and gives, all that contradicts what stood for an event.
    pub fn settle(&mut self, identity: Identity) -> Vec<Contradiction> {
        let of_it = self.0.range((identity, 0)..=(identity, u64::MAX)).map(|(&(_, digest), _)| digest);
        let digests: Vec<u64> = of_it.collect();
        let settled = digests.into_iter().filter_map(|digest| {
            let told = self.0.remove(&(identity, digest))?;
            Some(Contradiction { identity, digest, told })
        });
        settled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_is_known_until_it_is_settled() {
        let contradiction = |event: u64, digest: u64, number: u64| {
            let told = Told { epoch: 1, number, received_at: 0, origin: Arc::default(), revision: 0, standing: 0 };
            Contradiction { identity: Identity([event, 7]), digest, told }
        };
        let mut unsettled = Unsettled::default();
        for (event, digest, is_new) in [(1, 5, true), (1, 5, false), (1, u64::MAX, true), (2, 5, true), (1, 0, true)] {
            assert_eq!(unsettled.put(contradiction(event, digest, digest)), is_new, "{event} {digest}");
        }
        let settled = unsettled.settle(Identity([1, 7]));
        assert_eq!(settled, [0, 5, u64::MAX].map(|digest| contradiction(1, digest, digest)));
        assert!(unsettled.settle(Identity([1, 7])).is_empty());
        assert!(unsettled.put(contradiction(1, 5, 9)), "it is settled, so it is new");
        assert_eq!(unsettled.settle(Identity([2, 7])).len(), 1, "others stay");
    }
}
