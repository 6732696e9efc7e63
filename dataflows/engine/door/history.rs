//! What stood for some identities, epoch by epoch, as the journal tells it.
//!
//! The index of the workers knows only what stands now. What stood before is found by reading the
//! journal from its beginning; of all rows only those of the identities that are asked for are kept,
//! so memory grows with them and not with the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::fact::{Entry, Fact};
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::{SentIds, UsageBatch, UsageRow};
use trueup_operators::event_index::{Outcome, RowRef, compare};

/// Follows what stands for some identities.
pub(super) struct History<'a> {
    wanted: &'a HashSet<Identity>,
    metering: &'a Metering,
    standing: HashMap<Identity, RowRef>,
    rows: u64,
}

impl<'a> History<'a> {
    /// The history of these identities, before the first entry.
    pub fn of(wanted: &'a HashSet<Identity>, metering: &'a Metering) -> History<'a> {
        History { wanted, metering, standing: HashMap::new(), rows: 0 }
    }

    /// The next entry.
    pub fn follow(&mut self, entry: &Entry) {
        usage(entry).for_each(|batch| {
            self.take(batch, |_, _| {});
        });
    }

    /// The next batch; tells how many of its rows contradict what stands. `stands` hears of each row that comes to
    /// stand, and of the one that stood.
    pub fn take(&mut self, batch: &UsageBatch, mut stands: impl FnMut(&RowRef, Option<&RowRef>)) -> usize {
        let mut kept = Rows::new(self.rows, batch.received_at, batch.origin.clone());
        let wanted = batch.rows.iter().enumerate().filter(|(_, row)| self.wanted.contains(&row.identity));
        wanted.for_each(|(place, row)| kept.push(batch, place, *row));
        let kept = kept.finish();
        self.rows += kept.rows.len() as u64;
        let outcomes = (0..kept.rows.len() as u32).map(|place| self.observe((kept.clone(), place), &mut stands));
        outcomes.filter(|outcome| matches!(outcome, Outcome::Conflict(_))).count()
    }

    fn observe(&mut self, (batch, place): RowRef, stands: &mut impl FnMut(&RowRef, Option<&RowRef>)) -> Outcome {
        let row = &batch.rows[place as usize];
        let standing = self.standing.get(&row.identity).cloned();
        let outcome = standing.map_or(Outcome::First, |standing| compare((&batch, row), standing, self.metering));
        let before = match &outcome {
            Outcome::First => None,
            Outcome::Replaced(before) | Outcome::Reread(before) => Some(before),
            Outcome::Duplicate | Outcome::Superseded | Outcome::Conflict(_) => return outcome,
        };
        let (identity, row) = (row.identity, (batch, place));
        stands(&row, before);
        self.standing.insert(identity, row);
        outcome
    }

    /// How many rows there were so far; the next has this number.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What stands for each identity now.
    pub fn standing(&self) -> HashMap<Identity, RowRef> {
        self.standing.clone()
    }
}

/// The usage of an entry.
pub(super) fn usage(entry: &Entry) -> impl Iterator<Item = &Arc<UsageBatch>> {
    entry.facts.iter().filter_map(|fact| match fact {
        Fact::Usage(batch) => Some(batch),
        _ => None,
    })
}

/// A batch of rows of other batches, while it is being made.
pub(super) struct Rows {
    batch: UsageBatch,
}

impl Rows {
    /// No rows yet.
    pub fn new(first_row: u64, received_at: Micros, origin: Arc<Origin>) -> Rows {
        Rows { batch: UsageBatch { first_row, received_at, origin, ..UsageBatch::default() } }
    }

    /// Adds the row at `place` of `batch` as `row`, which may differ from it in its revision and in
    /// whether it is a retraction.
    pub fn push(&mut self, batch: &UsageBatch, place: usize, mut row: UsageRow) {
        let values = batch.wide_values(&row);
        if row.wide > 0 {
            row.value = self.batch.wide.len() as i64;
            self.batch.wide.extend_from_slice(values);
        }
        if let Some((source, id)) = batch.ids.get(place) {
            self.batch.ids.push(source, id);
        }
        self.batch.rows.push(row);
    }

    /// The batch. Sources and ids are kept only if all rows have them.
    pub fn finish(mut self) -> Arc<UsageBatch> {
        if self.batch.ids.get(self.batch.rows.len().saturating_sub(1)).is_none() {
            self.batch.ids = SentIds::default();
        }
        Arc::new(self.batch)
    }
}
