//! Batches that the door makes of rows of the journal.

use std::collections::HashSet;
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::fact::Fact;
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::usage::{Says, SentIds, UsageBatch, UsageRow};
use trueup_operators::event_index::RowRef;

/// A row by its batch and its place there.
pub(super) fn row_of((batch, place): &RowRef) -> &UsageRow {
    &batch.rows[*place as usize]
}

/// By which source and id a row was sent; empty where its source sent only identities.
pub(super) fn sent_as((batch, place): &RowRef) -> (&str, &str) {
    batch.ids.get(*place as usize).unwrap_or_default()
}

/// By which source and id inputs were sent that are set aside; none where it cannot be read which event it is.
pub(super) fn names_set_aside<'a>(
    facts: impl Iterator<Item = &'a Fact>,
) -> impl Iterator<Item = Option<(&'a str, &'a str)>> {
    let refused = facts.filter_map(|fact| if let Fact::Refused(refused) = fact { Some(refused) } else { None });
    refused.flatten().map(|refused| refused.event_source.as_deref().zip(refused.event_id.as_deref()))
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
    fn push(&mut self, batch: &UsageBatch, place: usize, mut row: UsageRow) {
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

    /// Takes a row back: at its own revision a retraction beats it.
    pub fn retract(&mut self, row: &RowRef) {
        self.push(&row.0, row.1 as usize, UsageRow { says: Says::Retraction, value: 0, wide: 0, ..*row_of(row) });
    }

    /// Says again what a row says, as it was read then.
    pub fn restate(&mut self, row: &RowRef) {
        self.push(&row.0, row.1 as usize, *row_of(row));
    }

    /// Says nothing of the event of a row.
    pub fn say_nothing(&mut self, row: &RowRef) {
        let nothing = UsageRow { says: Says::Nothing, revision: 0, value: 0, wide: 0, ..*row_of(row) };
        self.push(&row.0, row.1 as usize, nothing);
    }

    /// The batch. Sources and ids are kept only if all rows have them.
    pub fn finish(mut self) -> Arc<UsageBatch> {
        if self.batch.ids.get(self.batch.rows.len().saturating_sub(1)).is_none() {
            self.batch.ids = SentIds::default();
        }
        Arc::new(self.batch)
    }
}

/// The rows of a batch that are about some events, as they came in by this way.
pub(super) fn about(wanted: &HashSet<Identity>, batch: &UsageBatch, way: &Arc<Origin>) -> Arc<UsageBatch> {
    let mut kept = Rows::new(batch.first_row, batch.received_at, way.clone());
    let rows = batch.rows.iter().enumerate().filter(|(_, row)| wanted.contains(&row.identity));
    rows.for_each(|(place, row)| kept.push(batch, place, *row));
    kept.finish()
}
