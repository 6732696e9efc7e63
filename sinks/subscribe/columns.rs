//! The columns of a subscription: time, progress and difference, then those that are followed.
//!
//! Every column may be empty, since a progress mark has only a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::reading::Epoch;
use crate::wire;

/// The schema of a subscription to rows of `followed`.
pub fn schema(followed: &Schema) -> SchemaRef {
    let own = [("_time", DataType::Int64), ("_progress", DataType::Boolean), ("_diff", DataType::Int64)];
    let own = own.map(|(name, kind)| Field::new(name, kind, true));
    let followed = followed.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    wire::sent_schema(&Schema::new(own.into_iter().chain(followed).collect::<Fields>()))
}

/// Rows that came or went, each at a time and by a difference.
pub fn rows(
    schema: &SchemaRef,
    times: Int64Array,
    diffs: Int64Array,
    rows: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let progress = BooleanArray::from(vec![false; rows.num_rows()]);
    let own = [Arc::new(times) as ArrayRef, Arc::new(progress), Arc::new(diffs)];
    RecordBatch::try_new(schema.clone(), own.into_iter().chain(rows.columns().iter().cloned()).collect())
}

/// The mark that everything up to and with `through` was sent.
pub fn mark(schema: &SchemaRef, through: Epoch) -> Result<RecordBatch, ArrowError> {
    let own = [Arc::new(Int64Array::from(vec![signed(through)])) as ArrayRef, Arc::new(BooleanArray::from(vec![true]))];
    let rest = schema.fields().iter().skip(own.len()).map(|field| new_null_array(field.data_type(), 1));
    RecordBatch::try_new(schema.clone(), own.into_iter().chain(rest).collect())
}

/// An epoch as a value of the `_time` column.
pub fn signed(epoch: Epoch) -> i64 {
    i64::try_from(epoch).expect("epochs are counted, not chosen")
}
