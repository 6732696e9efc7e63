//! Adds and subtracts rows as multisets: what is left after equal rows have cancelled out.
//!
//! Law: `finish` gives each distinct row whose weights do not sum to zero once, with that sum,
//! in the order in which the rows were first added. State: every distinct row, in memory.

use std::collections::HashMap;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// Rows with weights.
pub struct Multiset {
    schema: SchemaRef,
    converter: RowConverter,
    batches: Vec<RecordBatch>,
    /// For each distinct row, where it was first seen, and its weight.
    weights: HashMap<Box<[u8]>, (usize, usize, i64)>,
}

impl Multiset {
    /// No rows, of this schema.
    pub fn new(schema: SchemaRef) -> Result<Multiset, ArrowError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Multiset { schema, converter, batches: Vec::new(), weights: HashMap::new() })
    }

    /// Adds each row of `batch` with the weight that `weight` gives for its place.
    pub fn add(&mut self, batch: RecordBatch, weight: impl Fn(usize) -> i64) -> Result<(), ArrowError> {
        let number = self.batches.len();
        let rows = self.rows(&batch)?;
        for (place, row) in rows.into_iter().enumerate() {
            let entry = self.weights.entry(row).or_insert((number, place, 0));
            entry.2 += weight(place);
        }
        self.batches.push(batch);
        Ok(())
    }

    /// What is left, and each row's weight.
    pub fn finish(self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        let mut left: Vec<_> = self.weights.into_values().filter(|(_, _, weight)| *weight != 0).collect();
        left.sort_unstable();
        let weights = left.iter().map(|(_, _, weight)| *weight).collect();
        let places: Vec<_> = left.iter().map(|(batch, place, _)| (*batch, *place)).collect();
        if places.is_empty() {
            return Ok((RecordBatch::new_empty(self.schema), weights));
        }
        let batches: Vec<_> = self.batches.iter().collect();
        let rows = interleave_record_batch(&batches, &places)?;
        Ok((rows.with_schema(self.schema)?, weights))
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Vec<Box<[u8]>>, ArrowError> {
        let rows = self.converter.convert_columns(batch.columns())?;
        Ok(rows.iter().map(|row| Box::from(row.as_ref())).collect())
    }
}

/// The rows of `batches` in the order of their leading `key` columns, as one batch.
pub fn sorted(batch: &RecordBatch, key: usize) -> Result<RecordBatch, ArrowError> {
    let columns = &batch.columns()[..key];
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let rows = RowConverter::new(fields.collect())?.convert_columns(columns)?;
    let mut order: Vec<u32> = (0..).take(batch.num_rows()).collect();
    order.sort_unstable_by_key(|place| rows.row(*place as usize));
    arrow::compute::take_record_batch(batch, &UInt32Array::from(order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowWriter;
    use crate::view::View;

    fn ledger(rows: &[(&str, i64)]) -> RecordBatch {
        let mut writer = RowWriter::new(View::Ledger);
        for (state, events) in rows {
            writer.text(state).integer(*events);
        }
        writer.finish()
    }

    #[test]
    fn equal_rows_cancel_and_the_rest_keeps_its_weight() {
        let mut rows = Multiset::new(View::Ledger.schema()).unwrap();
        rows.add(ledger(&[("counted", 3), ("waiting", 1)]), |_| -1).unwrap();
        rows.add(ledger(&[("waiting", 1), ("counted", 4), ("counted", 4)]), |_| 1).unwrap();
        let (left, weights) = rows.finish().unwrap();
        assert_eq!(left, ledger(&[("counted", 3), ("counted", 4)]));
        assert_eq!(weights, Int64Array::from(vec![-1, 2]));
    }

    #[test]
    fn rows_are_sorted_by_their_key() {
        let batch = ledger(&[("waiting", 1), ("counted", 4)]);
        assert_eq!(sorted(&batch, 1).unwrap(), ledger(&[("counted", 4), ("waiting", 1)]));
    }
}
