//! The types that leave this house, and batches of a size that every client takes.
//!
//! Law: a schema and every batch sent under it have exactly the same types, and those are ones
//! that the C++, Go and Java readers all know: no views, dictionaries, runs, large, half,
//! unsigned or narrow decimal types, and no time zone but UTC.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Messages are cut to about this size; Go clients of some age refuse more than 4 MB.
pub const MESSAGE_BYTES_ABOUT: usize = 2 << 20;

const MESSAGE_ROWS_MAX: usize = 65_536;

/// The schema under which rows of `schema` are sent, with what catalogs say about each type.
pub fn sent_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(sent_column).collect::<Fields>()))
}

/// The rows of `batch` in the types of `schema`, which is what [`sent_schema`] made of its own.
pub fn sent_rows(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => cast(column, field.data_type()),
    });
    // The number of rows is said apart, since a batch may have rows and no columns.
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &rows)
}

/// The same rows in pieces that fit a message each; no rows are one empty piece.
pub fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let step = (rows / (bytes_about(batch) / MESSAGE_BYTES_ABOUT + 1)).clamp(1, MESSAGE_ROWS_MAX);
    if rows <= step {
        return vec![batch.clone()];
    }
    (0..rows).step_by(step).map(|start| batch.slice(start, step.min(rows - start))).collect()
}

fn bytes_about(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

fn sent_column(field: &FieldRef) -> FieldRef {
    let field = Field::new(field.name(), sent_type(field.data_type()), field.is_nullable());
    let facts = type_facts(field.data_type());
    Arc::new(field.with_metadata(facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

fn sent_inner(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), sent_type(field.data_type()), field.is_nullable()))
}

fn sent_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => sent_type(values),
        DataType::RunEndEncoded(_, values) => sent_type(values.data_type()),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(digits, places) | DataType::Decimal64(digits, places) => {
            DataType::Decimal128(*digits, *places)
        }
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(item) | DataType::LargeList(item) => DataType::List(sent_inner(item)),
        DataType::ListView(item) | DataType::LargeListView(item) => DataType::List(sent_inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(sent_inner(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(sent_inner).collect()),
        other => other.clone(),
    }
}

/// What the Flight SQL column metadata says about a type.
fn type_facts(kind: &DataType) -> Vec<(&'static str, String)> {
    let mut facts = vec![("ARROW:FLIGHT:SQL:TYPE_NAME", type_name(kind).to_owned())];
    if let Some((precision, scale)) = digits(kind) {
        facts.push(("ARROW:FLIGHT:SQL:PRECISION", precision.to_string()));
        facts.push(("ARROW:FLIGHT:SQL:SCALE", scale.to_string()));
    }
    facts
}

fn type_name(kind: &DataType) -> &'static str {
    match kind {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "DECIMAL",
        DataType::Utf8 => "VARCHAR",
        DataType::Binary | DataType::FixedSizeBinary(_) => "VARBINARY",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Duration(_) | DataType::Interval(_) => "INTERVAL",
        DataType::List(_) | DataType::FixedSizeList(..) => "ARRAY",
        DataType::Struct(_) => "STRUCT",
        DataType::Map(..) => "MAP",
        _ => "OTHER",
    }
}

fn digits(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        DataType::Int64 => Some((19, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int8 => Some((3, 0)),
        DataType::Timestamp(..) => Some((6, 6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{StringArray, StringViewArray, UInt64Array};

    #[test]
    fn rows_are_sent_in_types_that_every_client_reads() {
        let batch = RecordBatch::try_from_iter([
            ("text", Arc::new(StringViewArray::from(vec!["a"])) as Arc<dyn Array>),
            ("count", Arc::new(UInt64Array::from(vec![u64::MAX])) as Arc<dyn Array>),
        ])
        .unwrap();
        let schema = sent_schema(&batch.schema());
        let sent = sent_rows(&schema, &batch).unwrap();
        assert_eq!(sent.column(0).as_ref(), &StringArray::from(vec!["a"]) as &dyn Array);
        assert_eq!(sent.column(1).data_type(), &DataType::Decimal128(20, 0));
        assert_eq!(sent.schema(), schema);
    }

    #[test]
    fn large_batches_are_cut_and_nothing_is_lost() {
        let long = "x".repeat(1 << 20);
        let column = Arc::new(StringArray::from(vec![long.as_str(); 7])) as Arc<dyn Array>;
        let batch = RecordBatch::try_from_iter([("long", column)]).unwrap();
        let cut = pieces(&batch);
        assert!(cut.len() > 1);
        assert_eq!(cut.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
        assert_eq!(pieces(&batch.slice(0, 0)).len(), 1);
    }
}
