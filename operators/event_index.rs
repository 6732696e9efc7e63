//! Which statement stands for each event.
//!
//! Law: among all statements of one identity, the one with the greatest (revision, retract)
//! stands, whatever the order in which they came; one that says the same again changes nothing;
//! of two that contradict each other at the same revision, the first in the journal stands. One
//! that says the same again, but is read for other properties by now, stands in place of what
//! was read before: so a new meter counts an event that is sent again.
//!
//! The index is a table of 8-byte slots: 32 bits of the identity's hash and the number of the
//! standing row. Everything else is read from the row itself, which the journal's batches hold
//! anyway. A shard is full at five sixths and then grows by half; since a slot's place follows
//! from its 32 bits alone, growing reads no rows.

use std::sync::Arc;

use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::{UsageBatch, UsageRow};

/// What a statement does to what stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing stood; it stands now.
    First,
    /// It stands now, in place of the row with this number.
    Replaced(u64),
    /// The row that stands says the same.
    Duplicate,
    /// It stands now, in place of the row with this number, which says the same as far as it was
    /// read.
    Reread(u64),
    /// A row with a greater revision stands.
    Superseded,
    /// The row with this number says something else at the same revision, and stands.
    Conflict(u64),
}

/// Rows, found by their number.
#[derive(Default)]
pub struct Rows {
    batches: Vec<Arc<UsageBatch>>,
}

impl Rows {
    /// Adds a batch, whose rows follow those that are there.
    pub fn push(&mut self, batch: Arc<UsageBatch>) {
        debug_assert!(
            self.batches.last().is_none_or(|last| last.first_row + last.rows.len() as u64 == batch.first_row)
        );
        if !batch.rows.is_empty() {
            self.batches.push(batch);
        }
    }

    /// The batch that holds a row, and its place there.
    pub fn find(&self, number: u64) -> (&Arc<UsageBatch>, usize) {
        let after = self.batches.partition_point(|batch| batch.first_row <= number);
        let batch = &self.batches[after - 1];
        (batch, (number - batch.first_row) as usize)
    }
}

const SHARDS: usize = 256;
const EMPTY: u64 = u64::MAX;
/// Slots a shard begins with.
const SLOTS_MIN: usize = 64;

/// The index of the standing rows.
pub struct EventIndex {
    shards: Vec<Shard>,
}

struct Shard {
    slots: Vec<u64>,
    used: usize,
}

impl Default for EventIndex {
    fn default() -> Self {
        let shard = || Shard { slots: vec![EMPTY; SLOTS_MIN], used: 0 };
        EventIndex { shards: (0..SHARDS).map(|_| shard()).collect() }
    }
}

impl EventIndex {
    /// How many identities are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the slots where these identities belong, so that they are in the cache when
    /// `observe` needs them: reads that do not wait for one another cost a thirtieth of those
    /// that do. Returns what it read, lest it be optimized away.
    pub fn warm<'a>(&self, identities: impl Iterator<Item = &'a Identity>) -> u64 {
        identities.fold(0, |seen, identity| {
            let shard = &self.shards[shard_of(identity)];
            seen ^ shard.slots[home(fingerprint(identity), shard.slots.len())]
        })
    }

    /// Takes notice of row `number`, which lies at `place` of `batch`. `rows` holds every row
    /// before those of the batch, and the batch; `metering` knows by which layouts they were read.
    pub fn observe(
        &mut self,
        number: u64,
        batch: &UsageBatch,
        place: usize,
        rows: &Rows,
        metering: &Metering,
    ) -> Outcome {
        let row = &batch.rows[place];
        let identity = &row.identity;
        let shard = &mut self.shards[shard_of(identity)];
        let print = fingerprint(identity);
        let mut slot = home(print, shard.slots.len());
        loop {
            let entry = shard.slots[slot];
            if entry == EMPTY {
                shard.slots[slot] = pack(print, number);
                shard.used += 1;
                if shard.used * 6 > shard.slots.len() * 5 {
                    shard.grow();
                }
                return Outcome::First;
            }
            if (entry >> 32) as u32 == print {
                let standing = entry & u64::from(u32::MAX);
                let (standing_batch, standing_place) = rows.find(standing);
                let standing_row = &standing_batch.rows[standing_place];
                if standing_row.identity == *identity {
                    let outcome = compare((batch, row), (standing_batch, standing_row), standing, metering);
                    if matches!(outcome, Outcome::Replaced(_) | Outcome::Reread(_)) {
                        shard.slots[slot] = pack(print, number);
                    }
                    return outcome;
                }
            }
            slot = if slot + 1 == shard.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// The numbers of all standing rows, in no order.
    pub fn standing(&self) -> impl Iterator<Item = u64> {
        let slots = self.shards.iter().flat_map(|shard| shard.slots.iter());
        slots.filter(|&&slot| slot != EMPTY).map(|slot| slot & u64::from(u32::MAX))
    }
}

impl Shard {
    fn grow(&mut self) {
        let larger = self.slots.len() + self.slots.len() / 2;
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; larger]);
        for entry in old.into_iter().filter(|&entry| entry != EMPTY) {
            let mut slot = home((entry >> 32) as u32, larger);
            while self.slots[slot] != EMPTY {
                slot = if slot + 1 == larger { 0 } else { slot + 1 };
            }
            self.slots[slot] = entry;
        }
    }
}

fn compare(
    (batch, row): (&UsageBatch, &UsageRow),
    (standing_batch, standing): (&UsageBatch, &UsageRow),
    number: u64,
    metering: &Metering,
) -> Outcome {
    match (row.revision, row.retract).cmp(&(standing.revision, standing.retract)) {
        std::cmp::Ordering::Greater => Outcome::Replaced(number),
        std::cmp::Ordering::Less => Outcome::Superseded,
        // A retraction says nothing but that it is one.
        std::cmp::Ordering::Equal if row.retract => Outcome::Duplicate,
        std::cmp::Ordering::Equal if batch.same_content(row, standing_batch, standing) => Outcome::Duplicate,
        std::cmp::Ordering::Equal if metering.is_reread((batch, row), (standing_batch, standing)) => {
            Outcome::Reread(number)
        }
        std::cmp::Ordering::Equal => Outcome::Conflict(number),
    }
}

fn shard_of(identity: &Identity) -> usize {
    (identity.0[1] >> 56) as usize
}

fn fingerprint(identity: &Identity) -> u32 {
    identity.0[1] as u32
}

/// Where an entry belongs in a shard of so many slots.
fn home(fingerprint: u32, slots: usize) -> usize {
    ((u64::from(fingerprint) * slots as u64) >> 32) as usize
}

/// A slot. Row numbers are below 2^32 - 1, so a packed slot is never `EMPTY`.
fn pack(fingerprint: u32, number: u64) -> u64 {
    assert!(number < u64::from(u32::MAX), "more than 4,294,967,294 rows need a wider index");
    (u64::from(fingerprint) << 32) | number
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::usage::SentIds;

    fn row(id: u64, revision: u32, retract: bool, value: i64) -> UsageRow {
        let identity = Identity::of("t", "s", &id.to_string());
        UsageRow { identity, occurred_at: 0, value, subject: 0, properties: 0, revision, retract, wide: 0 }
    }

    struct Table {
        index: EventIndex,
        rows: Rows,
        next: u64,
    }

    impl Table {
        fn new() -> Table {
            Table { index: EventIndex::default(), rows: Rows::default(), next: 0 }
        }

        fn observe(&mut self, row: UsageRow) -> Outcome {
            let batch = UsageBatch {
                first_row: self.next,
                received_at: 0,
                rows: vec![row],
                wide: Vec::new(),
                ids: SentIds::default(),
            };
            let batch = Arc::new(batch);
            self.rows.push(batch.clone());
            let outcome = self.index.observe(self.next, &batch, 0, &self.rows, &Metering::default());
            self.next += 1;
            outcome
        }
    }

    #[test]
    fn the_greatest_revision_stands_in_any_order() {
        let mut table = Table::new();
        assert_eq!(table.observe(row(1, 2, false, 20)), Outcome::First);
        assert_eq!(table.observe(row(1, 1, false, 10)), Outcome::Superseded);
        assert_eq!(table.observe(row(1, 2, false, 20)), Outcome::Duplicate);
        assert_eq!(table.observe(row(1, 2, false, 21)), Outcome::Conflict(0));
        assert_eq!(table.observe(row(1, 2, true, 0)), Outcome::Replaced(0));
        // Whatever else it says, a retraction says what another said.
        assert_eq!(table.observe(row(1, 2, true, 9)), Outcome::Duplicate);
        assert_eq!(table.observe(row(1, 2, false, 20)), Outcome::Superseded);
        assert_eq!(table.observe(row(1, 3, false, 30)), Outcome::Replaced(4));
    }

    #[test]
    fn every_identity_is_found_again_after_the_index_has_grown() {
        let mut table = Table::new();
        for id in 0..50_000 {
            assert_eq!(table.observe(row(id, 0, false, 1)), Outcome::First);
        }
        for id in 0..50_000 {
            assert_eq!(table.observe(row(id, 0, false, 1)), Outcome::Duplicate, "{id}");
        }
        assert_eq!(table.index.len(), 50_000);
        let mut standing: Vec<u64> = table.index.standing().collect();
        standing.sort_unstable();
        assert!(standing.iter().copied().eq(0..50_000));
    }

    #[test]
    fn a_shard_is_as_large_as_its_identities_ask() {
        let mut table = Table::new();
        assert!(table.index.is_empty());
        for id in 0..50_000 {
            table.observe(row(id, 0, false, 1));
        }
        assert!(!table.index.is_empty());
        for shard in &table.index.shards {
            // It is full at five sixths, and grows by half.
            let mut slots = SLOTS_MIN;
            while shard.used * 6 > slots * 5 {
                slots += slots / 2;
            }
            assert_eq!(shard.slots.len(), slots, "{} are used", shard.used);
            assert_eq!(shard.slots.iter().filter(|&&slot| slot != EMPTY).count(), shard.used);
        }
    }

    #[test]
    fn identities_are_spread_over_shards_and_slots() {
        let identities: Vec<Identity> = (0..10_000).map(|id| Identity::of("t", "s", &id.to_string())).collect();
        let different = |of: &dyn Fn(&Identity) -> usize| {
            identities.iter().map(of).collect::<std::collections::BTreeSet<usize>>().len()
        };
        assert_eq!(different(&shard_of), SHARDS);
        assert!(different(&|identity| fingerprint(identity) as usize) > 9_990);
        for slots in [64, 96, 1_093] {
            assert_eq!(different(&|identity| home(fingerprint(identity), slots)), slots);
            assert_eq!([0, u32::MAX].map(|fingerprint| home(fingerprint, slots)), [0, slots - 1]);
        }
    }
}
