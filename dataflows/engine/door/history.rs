//! What stood for some identities, epoch by epoch, as the journal tells it.
//!
//! The index of the workers knows only what stands now. What stood before, and what would stand if less had been
//! said, is found by reading the journal from its beginning; of all rows only those of the identities that are
//! asked for are kept, so memory grows with them and not with the journal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::fact::{Entry, Fact};
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::{SentIds, UsageBatch, UsageRow};
use trueup_operators::event_index::{Outcome, RowRef, compare};

/// What stands after some rows, and what contradicts it.
pub(super) struct History<'a> {
    metering: &'a Metering,
    standing: HashMap<Identity, RowRef>,
    /// By what each says.
    contradicting: HashMap<Identity, BTreeMap<u64, RowRef>>,
}

impl<'a> History<'a> {
    /// Before the first row.
    pub fn new(metering: &'a Metering) -> History<'a> {
        History { metering, standing: HashMap::new(), contradicting: HashMap::new() }
    }

    /// The next rows; tells how many of them contradict what stands.
    pub fn take(&mut self, rows: &Arc<UsageBatch>) -> usize {
        (0..rows.rows.len() as u32).filter(|&place| !self.agrees((rows.clone(), place))).count()
    }

    /// The next row; whether it does not contradict what stands.
    fn agrees(&mut self, row: RowRef) -> bool {
        let (batch, identity) = (&row.0, row_of(&row).identity);
        let standing = self.standing.get(&identity).cloned();
        let outcome = standing.map_or(Outcome::First, |found| compare((batch, row_of(&row)), found, self.metering));
        match outcome {
            Outcome::First | Outcome::Reread(_) => drop(self.standing.insert(identity, row)),
            Outcome::Replaced(_) => {
                self.standing.insert(identity, row);
                self.contradicting.remove(&identity);
            }
            Outcome::Duplicate | Outcome::Superseded => {}
            Outcome::Conflict(_) => {
                let known = self.contradicting.entry(identity).or_default();
                known.entry(batch.content_digest(row_of(&row))).or_insert(row);
                return false;
            }
        }
        true
    }

    /// What stands for an identity now.
    pub fn standing(&self, identity: &Identity) -> Option<&RowRef> {
        self.standing.get(identity)
    }

    /// What stands for each identity now.
    pub fn all_standing(&self) -> impl Iterator<Item = &RowRef> {
        self.standing.values()
    }

    /// What contradicts what stands for an identity, each thing once.
    pub fn contradicting(&self, identity: &Identity) -> impl Iterator<Item = &RowRef> {
        self.contradicting.get(identity).into_iter().flat_map(BTreeMap::values)
    }
}

/// A row by its batch and its place there.
pub(super) fn row_of((batch, place): &RowRef) -> &UsageRow {
    &batch.rows[*place as usize]
}

/// The rows of a batch that are about some identities, under the name of a way.
pub(super) fn about(wanted: &HashSet<Identity>, batch: &UsageBatch, way: &Arc<Origin>) -> Arc<UsageBatch> {
    let mut kept = Rows::new(batch.first_row, batch.received_at, way.clone());
    let rows = batch.rows.iter().enumerate().filter(|(_, row)| wanted.contains(&row.identity));
    rows.for_each(|(place, row)| kept.push(batch, place, *row));
    kept.finish()
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

    /// Adds the row at `place` of `batch` as `row`, which may differ from it in its revision and in what it says.
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
