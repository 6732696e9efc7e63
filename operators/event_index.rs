//! Which statement stands for each event.
//!
//! Law: among all statements of one identity, the one with the greatest rank (its revision, then
//! whether it retracts) stands, whatever the order in which they came; one that says the same again
//! changes nothing; of two that contradict each other at the same revision, the first in the journal
//! stands. One that says the same again, but is read for other properties by now, stands in place of
//! what was read before: so a new meter counts an event that is sent again. One that is restored
//! stands whatever stood, and what follows is held against it.
//!
//! ```text
//!   hot        a table of 8-byte slots over rows in a file             since the last putting away
//!   sealed     the same, and never changes: being written
//!   cold runs  rows by identity, elsewhere, newest first               see `cold`
//! ```
//! What stands in an upper layer stands in place of what is below it. A slot holds 32 bits of the
//! identity's hash and the address of the standing row; everything else is read from the row itself
//! (see `spilled_rows`), which happens only where something is said again. A shard is full at three
//! quarters and then grows by half; since a slot's place follows from its 32 bits alone, growing reads
//! no rows.

use std::convert::Infallible;
use std::sync::Arc;

use trueup_model::identity::Identity;
use trueup_model::kept_row::{KeptRow, TOGETHER_MAX, together};
use trueup_model::metering::Metering;
use trueup_model::reading::Beside;
use trueup_model::usage::{UsageBatch, UsageRow};

use crate::cold::{Archive, ColdRun, RUNS_MAX};
use crate::scratch::{NoScratch, Scratch};
use crate::spilled_rows::{LANES, SpilledRow, SpilledRows};

/// A row by its batch and its place there.
pub type RowRef = (Arc<UsageBatch>, u32);

/// What a statement does to what stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing stood; it stands now.
    First,
    /// It stands now, in place of this row.
    Replaced(RowRef),
    /// The row that stands says the same, and as much.
    Duplicate,
    /// It stands now, in place of this row, which says the same, but not all that is known now.
    Reread(RowRef),
    /// A row with a greater revision stands.
    Superseded,
    /// This row says something else at the same revision, and stands.
    Conflict(RowRef),
}

/// A shard for each lane of rows.
const SHARDS: usize = LANES;
const EMPTY: u64 = u64::MAX;
/// Slots a shard begins with.
const SLOTS_MIN: usize = 64;
/// Rows that are read together, so that their reads do not wait for one another.
pub const AHEAD: usize = 32;

/// The index of the standing rows.
pub struct EventIndex {
    hot: Table,
    /// What was put away and is being written, newest last, each with its number.
    sealed: Vec<(u64, Arc<Table>)>,
    /// What was written, newest first.
    cold: Vec<Arc<dyn ColdRun>>,
    archive: Option<Box<dyn Archive>>,
}

/// Standing rows that are not in a run: a slot for each in memory, and the rows themselves.
pub struct Table {
    shards: Vec<Shard>,
    rows: SpilledRows,
}

struct Shard {
    slots: Vec<u64>,
    used: usize,
}

/// Which cold runs may hold each of a few identities: a bit for each run.
pub type Masks = [u32];

impl EventIndex {
    /// An index of which all is in memory.
    pub fn in_memory() -> EventIndex {
        EventIndex { hot: Table::over(Box::new(NoScratch)), sealed: Vec::new(), cold: Vec::new(), archive: None }
    }

    /// An index whose rows can be put away; what was put away before is there again.
    pub fn kept_in(mut archive: Box<dyn Archive>) -> EventIndex {
        let hot = Table::over(archive.scratch());
        let mut index = EventIndex { hot, archive: Some(archive), ..EventIndex::in_memory() };
        index.receive();
        index
    }

    /// Puts rows away if as many have come as should, or as their file takes.
    pub fn put_away_if_many(&mut self) {
        let rows = &self.hot.rows;
        if self.archive.as_ref().is_some_and(|archive| rows.count() >= archive.rows_max() || rows.is_long()) {
            self.put_away();
        }
    }

    /// Puts away all rows that are not, if there is somewhere to put them.
    pub fn put_away(&mut self) {
        let Some(archive) = &mut self.archive else { return };
        let table = Arc::new(std::mem::replace(&mut self.hot, Table::over(archive.scratch())));
        self.sealed.push((archive.put_away(table.clone()), table));
    }

    /// Takes up what was written since; to be called now and then.
    pub fn receive(&mut self) {
        let Some(written) = self.archive.as_mut().and_then(|archive| archive.written()) else { return };
        self.sealed.retain(|(number, _)| *number >= written.parts);
        self.cold = written.runs;
        assert!(self.cold.len() <= RUNS_MAX, "runs are merged before there are so many");
    }

    /// Reads what tells where these identities belong, so that it is in the cache when `observe`
    /// needs it, and which cold runs may hold them: reads that do not wait for one another cost a
    /// thirtieth of those that do.
    pub fn warm(&self, identities: &[Identity], masks: &mut Masks) {
        let tables = self.sealed.iter().map(|(_, table)| &**table).chain([&self.hot]);
        let seen = tables.fold(0, |seen, table| {
            identities.iter().fold(seen, |seen, identity| {
                let shard = &table.shards[shard_of(identity)];
                seen ^ shard.slots[home(fingerprint(identity), shard.slots.len())]
            })
        });
        // Lest the reads be optimized away.
        std::hint::black_box(seen);
        masks.fill(0);
        self.cold.iter().enumerate().for_each(|(run, rows)| rows.may_hold(identities, 1 << run, masks));
    }

    /// Takes notice of the row at `place` of a batch. `mask` is what `warm` found for its identity; `metering`
    /// knows by which layouts rows were read.
    pub fn observe(&mut self, batch: &UsageBatch, place: u32, mask: u32, metering: &Metering) -> Outcome {
        let row = &batch.rows[place as usize];
        self.judge(batch, place, mask, |standing| compare((batch, row), standing, metering))
    }

    /// Lets the row at `place` of a batch stand, whatever stands.
    pub fn restore(&mut self, batch: &UsageBatch, place: u32, mask: u32) -> Outcome {
        self.judge(batch, place, mask, Outcome::Replaced)
    }

    /// Takes notice of a row, of which `judge` says what it does to the one that stands.
    fn judge(&mut self, batch: &UsageBatch, place: u32, mask: u32, judge: impl FnOnce(RowRef) -> Outcome) -> Outcome {
        let row = &batch.rows[place as usize];
        let (slot, hot) = self.hot.seek(&row.identity);
        let is_hot = hot.is_some();
        let standing = hot.or_else(|| self.find_put_away(&row.identity, mask));
        let outcome = standing.map_or(Outcome::First, judge);
        match outcome {
            Outcome::First | Outcome::Replaced(_) | Outcome::Reread(_) => {
                let address = self.hot.rows.put(batch, place);
                self.hot.set(&row.identity, slot, address, !is_hot);
            }
            Outcome::Duplicate | Outcome::Superseded | Outcome::Conflict(_) => {}
        }
        outcome
    }

    /// The row that stands for an identity among those that were put away.
    fn find_put_away(&self, identity: &Identity, mask: u32) -> Option<RowRef> {
        let sealed = self.sealed.iter().rev().find_map(|(_, table)| table.seek(identity).1);
        sealed.or_else(|| find_cold(&self.cold, identity, mask))
    }

    /// All standing rows for which `is_wanted` says so, in no order.
    pub fn standing(&self, is_wanted: impl Fn(&UsageRow) -> bool) -> Vec<RowRef> {
        let mut found = Vec::new();
        let sealed = self.sealed.iter().rev().map(|(_, table)| &**table);
        let tables: Vec<&Table> = [&self.hot].into_iter().chain(sealed).collect();
        for (place, table) in tables.iter().enumerate() {
            let newer = &tables[..place];
            // Of rows that are metered anew nobody asks when and how they came.
            let mut give = |wanted: &mut Vec<KeptRow>| {
                let batch = together(wanted.drain(..));
                found.extend((0..batch.rows.len() as u32).map(|place| (batch.clone(), place)));
            };
            let mut wanted = Vec::new();
            let Ok(()) = table.each_standing(|row| -> Result<(), Infallible> {
                let packed = row.packed();
                if is_wanted(&packed.row()) && !is_in(newer, &packed.identity()) {
                    wanted.push(row.kept());
                }
                if wanted.len() == TOGETHER_MAX {
                    give(&mut wanted);
                }
                Ok(())
            });
            give(&mut wanted);
        }
        for (place, run) in self.cold.iter().enumerate() {
            let newer = &self.cold[..place];
            for batch in run.scan() {
                let rows = batch.rows.iter().zip(0..).filter(|(row, _)| {
                    is_wanted(row) && !is_in(&tables, &row.identity) && !is_among(newer, &row.identity)
                });
                found.extend(rows.map(|(_, place)| (batch.clone(), place)));
            }
        }
        found
    }
}

/// The row of an identity in the newest of the runs that has it.
fn find_cold(runs: &[Arc<dyn ColdRun>], identity: &Identity, mask: u32) -> Option<RowRef> {
    let candidates = runs.iter().enumerate().filter(|(run, _)| mask & (1 << run) != 0);
    candidates.map(|(_, run)| run).find_map(|run| run.find(identity)).map(|batch| (batch, 0))
}

/// Whether one of the tables has an identity.
fn is_in(tables: &[&Table], identity: &Identity) -> bool {
    tables.iter().any(|table| table.seek(identity).1.is_some())
}

/// Whether one of the runs has an identity.
fn is_among(runs: &[Arc<dyn ColdRun>], identity: &Identity) -> bool {
    let mut mask = [0];
    runs.iter().enumerate().for_each(|(run, rows)| rows.may_hold(std::slice::from_ref(identity), 1 << run, &mut mask));
    find_cold(runs, identity, mask[0]).is_some()
}

impl Table {
    /// No rows yet; those that come lie in this file.
    fn over(scratch: Box<dyn Scratch>) -> Table {
        let shard = || Shard { slots: vec![EMPTY; SLOTS_MIN], used: 0 };
        Table { shards: (0..SHARDS).map(|_| shard()).collect(), rows: SpilledRows::new(scratch) }
    }

    /// How many identities it has.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows the row of each identity, in their order, until `show` fails. Needs memory for a few of them.
    pub fn each_standing<E>(&self, mut show: impl FnMut(SpilledRow<'_>) -> Result<(), E>) -> Result<(), E> {
        for (lane, shard) in self.shards.iter().enumerate() {
            let records = self.rows.lane(lane);
            let mut slots: Vec<u64> = shard.slots.iter().copied().filter(|&slot| slot != EMPTY).collect();
            // By fingerprints, which follow the order of identities but for the few that are the same.
            slots.sort_unstable();
            let (mut rest, mut rows) = (&slots[..], Vec::with_capacity(AHEAD));
            while !rest.is_empty() {
                let (block, others) = rest.split_at(block_of(rest));
                records.read(block.iter().map(|&slot| address(slot)), &mut rows);
                rows.sort_unstable_by_key(|row| row.packed().identity().order());
                rows.drain(..).try_for_each(&mut show)?;
                rest = others;
            }
        }
        Ok(())
    }

    /// Where an identity is, or would be: its slot, and its row if it has one.
    fn seek(&self, identity: &Identity) -> (usize, Option<RowRef>) {
        let shard = &self.shards[shard_of(identity)];
        let print = fingerprint(identity);
        let mut slot = home(print, shard.slots.len());
        loop {
            let entry = shard.slots[slot];
            if entry == EMPTY {
                return (slot, None);
            }
            if (entry >> 32) as u32 == print
                && let Some(row) = self.rows.find(identity, address(entry))
            {
                return (slot, Some((row, 0)));
            }
            slot = if slot + 1 == shard.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Lets a row stand for an identity, at the slot where that was sought.
    fn set(&mut self, identity: &Identity, slot: usize, address: u32, is_new: bool) {
        let packed = pack(fingerprint(identity), address);
        let shard = &mut self.shards[shard_of(identity)];
        shard.slots[slot] = packed;
        if is_new {
            shard.used += 1;
            if shard.used * 4 > shard.slots.len() * 3 {
                shard.grow();
            }
        }
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

/// What a row does to the one that stands for its identity.
pub fn compare((batch, row): (&UsageBatch, &UsageRow), found: RowRef, metering: &Metering) -> Outcome {
    let other = &*found.0;
    let standing = &other.rows[found.1 as usize];
    match row.rank().cmp(&standing.rank()) {
        std::cmp::Ordering::Greater => Outcome::Replaced(found),
        std::cmp::Ordering::Less => Outcome::Superseded,
        // A retraction says nothing but that it is one.
        std::cmp::Ordering::Equal if !row.asserts() => Outcome::Duplicate,
        std::cmp::Ordering::Equal => match metering.compare((batch, row), (other, standing)) {
            Beside::Same => Outcome::Duplicate,
            Beside::More => Outcome::Reread(found),
            Beside::Other => Outcome::Conflict(found),
        },
    }
}

/// How many of these slots, which ascend, are read together: some, and none without those of its fingerprint.
fn block_of(slots: &[u64]) -> usize {
    let some = slots.len().min(AHEAD);
    let last = slots[some - 1] >> 32;
    some + slots[some..].iter().take_while(|&slot| slot >> 32 == last).count()
}

fn shard_of(identity: &Identity) -> usize {
    (identity.0[1] >> 56) as usize
}

/// The bits behind those that name the shard: so slots lie nearly in the order of identities, and are
/// quickly sorted.
fn fingerprint(identity: &Identity) -> u32 {
    (identity.0[1] >> 24) as u32
}

/// Where an entry belongs in a shard of so many slots.
fn home(fingerprint: u32, slots: usize) -> usize {
    ((u64::from(fingerprint) * slots as u64) >> 32) as usize
}

/// A slot. No address is the greatest there is, so a packed slot is never `EMPTY`.
fn pack(fingerprint: u32, address: u32) -> u64 {
    (u64::from(fingerprint) << 32) | u64::from(address)
}

/// The address in a slot.
fn address(slot: u64) -> u32 {
    slot as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use trueup_model::usage::Says;

    use crate::cold::memory::MemoryArchive;

    fn row(id: u64, revision: u32, retract: bool, value: i64) -> UsageRow {
        let identity = Identity::of("t", "s", &id.to_string());
        let says = Says::of(retract);
        UsageRow { identity, occurred_at: 0, value, subject: 0, properties: 0, revision, says, wide: 0 }
    }

    /// An index that is told one row at a time.
    struct Told {
        index: EventIndex,
        next: u64,
    }

    impl Told {
        fn new() -> Told {
            Told { index: EventIndex::in_memory(), next: 0 }
        }

        fn kept(rows_max: usize, late: usize) -> Told {
            Told { index: EventIndex::kept_in(Box::new(MemoryArchive::new(rows_max, late))), next: 0 }
        }

        /// What comes of a row: by its name, and the value of the row that stood.
        fn observe(&mut self, row: UsageRow) -> (&'static str, Option<i64>) {
            let batch = UsageBatch { first_row: self.next, rows: vec![row], ..UsageBatch::default() };
            self.next += 1;
            self.index.receive();
            let mut masks = [0];
            self.index.warm(&[row.identity], &mut masks);
            let outcome = self.index.observe(&batch, 0, masks[0], &Metering::default());
            self.index.put_away_if_many();
            let value = |(batch, place): RowRef| Some(batch.rows[place as usize].value);
            match outcome {
                Outcome::First => ("first", None),
                Outcome::Replaced(old) => ("replaced", value(old)),
                Outcome::Duplicate => ("duplicate", None),
                Outcome::Reread(old) => ("reread", value(old)),
                Outcome::Superseded => ("superseded", None),
                Outcome::Conflict(standing) => ("conflict", value(standing)),
            }
        }

        fn standing(&self) -> BTreeSet<(Identity, u32, bool, i64)> {
            let found = self.index.standing(|row| row.value != 3);
            let rows: Vec<UsageRow> = found.iter().map(|(batch, place)| batch.rows[*place as usize]).collect();
            let shown = rows.iter().map(|row| (row.identity, row.revision, !row.asserts(), row.value)).collect();
            assert_eq!(BTreeSet::len(&shown), rows.len(), "each stands once");
            shown
        }
    }

    #[test]
    fn the_greatest_revision_stands_in_any_order() {
        let mut told = Told::new();
        assert_eq!(told.observe(row(1, 2, false, 20)), ("first", None));
        assert_eq!(told.observe(row(1, 1, false, 10)), ("superseded", None));
        assert_eq!(told.observe(row(1, 2, false, 20)), ("duplicate", None));
        assert_eq!(told.observe(row(1, 2, false, 21)), ("conflict", Some(20)));
        assert_eq!(told.observe(row(1, 2, true, 0)), ("replaced", Some(20)));
        // Whatever else it says, a retraction says what another said.
        assert_eq!(told.observe(row(1, 2, true, 9)), ("duplicate", None));
        assert_eq!(told.observe(row(1, 2, false, 20)), ("superseded", None));
        assert_eq!(told.observe(row(1, 3, false, 30)), ("replaced", Some(0)));
    }

    #[test]
    fn where_a_row_is_kept_cannot_be_seen() {
        // Statements of a few events, in an order that looks random.
        let statement = |number: u64| {
            let digit = |place: u32| (number * 191 % 2_401) / 7_u64.pow(place) % 7;
            let retract = digit(2) == 0 && digit(3) == 1;
            row(digit(0) * 7 + digit(1), digit(2) as u32 / 2, retract, digit(3) as i64)
        };
        for (rows_max, late) in [(1, 0), (7, 1), (16, 3), (100, 2), (1_000, 0)] {
            let (mut memory, mut archive) = (Told::new(), Told::kept(rows_max, late));
            for number in 0..2_401 {
                let statement = statement(number);
                assert_eq!(
                    archive.observe(statement),
                    memory.observe(statement),
                    "statement {number}, {rows_max} in memory"
                );
                if number % 50 == 0 {
                    assert_eq!(archive.standing(), memory.standing(), "after {number}, {rows_max} in memory");
                }
            }
            assert_eq!(archive.standing(), memory.standing());
        }
    }

    #[test]
    fn every_identity_is_found_again_after_the_index_has_grown() {
        let mut told = Told::new();
        for id in 0..50_000 {
            assert_eq!(told.observe(row(id, 0, false, 1)).0, "first");
        }
        for id in 0..50_000 {
            assert_eq!(told.observe(row(id, 0, false, 1)).0, "duplicate", "{id}");
        }
        assert_eq!(told.index.hot.len(), 50_000);
        let mut seen = Vec::new();
        let Ok(()) = told.index.hot.each_standing(|row| -> Result<(), Infallible> {
            seen.push(row.packed().identity());
            Ok(())
        });
        assert!(seen.is_sorted_by_key(|identity| identity.order()), "they are shown in their order");
        assert_eq!(BTreeSet::from_iter(seen), (0..50_000).map(|id| row(id, 0, false, 1).identity).collect());
    }

    #[test]
    fn a_shard_is_as_large_as_its_identities_ask() {
        let mut told = Told::new();
        assert!(told.index.hot.is_empty());
        for id in 0..50_000 {
            told.observe(row(id, 0, false, 1));
        }
        assert!(!told.index.hot.is_empty());
        for shard in &told.index.hot.shards {
            // It is full at three quarters, and grows by half.
            let mut slots = SLOTS_MIN;
            while shard.used * 4 > slots * 3 {
                slots += slots / 2;
            }
            assert_eq!(shard.slots.len(), slots, "{} are used", shard.used);
            assert_eq!(shard.slots.iter().filter(|&&slot| slot != EMPTY).count(), shard.used);
        }
    }

    #[test]
    fn an_identity_that_is_hot_takes_17_bytes_of_slots_at_most() {
        let mut told = Told::new();
        let (mut least, mut most) = (usize::MAX, 0);
        for id in 0..200_000_u32 {
            told.observe(row(id.into(), 0, false, 1));
            if id > 50_000 && id.is_multiple_of(500) {
                let slots: usize = told.index.hot.shards.iter().map(|shard| shard.slots.len()).sum();
                let each = slots * size_of::<u64>() * 10 / told.index.hot.len();
                (least, most) = (least.min(each), most.max(each));
            }
        }
        println!("an identity that is hot takes {least} to {most} tenths of a byte");
        assert!(most < 170, "{most}");
    }

    #[test]
    fn rows_are_shown_in_the_order_of_their_identities() {
        let mut told = Told::new();
        for number in 0..4_000_u64 {
            let mixed = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            // Of each eight the shard and the fingerprint are the same.
            let identity = Identity([number, (mixed(number / 8) & !0xFF_FFFF) | (mixed(number) >> 40)]);
            told.observe(UsageRow { identity, ..row(0, 1, false, 0) });
        }
        let mut shown = Vec::new();
        let Ok(()) = told.index.hot.each_standing(|row| -> Result<(), Infallible> {
            shown.push(row.packed().identity().order());
            Ok(())
        });
        let same = shown.windows(2).filter(|pair| pair[0].0 >> 24 == pair[1].0 >> 24).count();
        assert!(shown.is_sorted() && shown.len() == 4_000 && same > 1_000, "{same} look like the one before");
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
