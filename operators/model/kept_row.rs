//! A row by itself, with all that belongs to it: as it is put away, and found again.

use std::sync::Arc;

use crate::arrival::Origin;
use crate::grain::Micros;
use crate::packed_row::PackedRow;
use crate::usage::{UsageBatch, UsageRow};

/// How many rows are brought together at most, when all that stand are gone through.
pub const TOGETHER_MAX: usize = 8_192;
/// Bytes of a wide value, the least significant first.
pub const VALUE_BYTES: usize = 16;

/// A row with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRow {
    /// The row. Its `value` means nothing where it has wide values.
    pub row: UsageRow,
    /// When it was received, by the billing clock.
    pub received_at: Micros,
    /// By which way.
    pub origin: Arc<Origin>,
    /// Its wide values.
    pub wide: Vec<i128>,
}

impl KeptRow {
    /// The row of these bytes, and of those of its wide values.
    pub fn of(packed: &PackedRow, origin: Arc<Origin>, wide: &[u8]) -> KeptRow {
        KeptRow { row: packed.row(), received_at: packed.received_at(), origin, wide: values(wide) }
    }

    /// It alone in a batch. What was sent as its source and id is not kept.
    pub fn alone(mut self) -> Arc<UsageBatch> {
        if self.row.wide > 0 {
            self.row.value = 0;
        }
        let KeptRow { row, received_at, origin, wide } = self;
        Arc::new(UsageBatch { received_at, origin, rows: vec![row], wide, ..UsageBatch::default() })
    }
}

/// These rows in a batch, which says nothing of when and how they came.
pub fn together(rows: impl Iterator<Item = KeptRow>) -> Arc<UsageBatch> {
    let mut batch = UsageBatch::default();
    for KeptRow { mut row, wide, .. } in rows {
        if row.wide > 0 {
            row.value = batch.wide.len() as i64;
            batch.wide.extend(wide);
        }
        batch.rows.push(row);
    }
    Arc::new(batch)
}

/// The values that lie in these bytes.
fn values(bytes: &[u8]) -> Vec<i128> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| i128::from_le_bytes(*value)).collect()
}
