//! Rows that come as Arrow, as a table for people or as JSON for programs.
//!
//! Decimals become texts in JSON too, so that no reader rounds them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;
use trueup_model::grain::{Micros, show_micros};

use super::page;
use super::table::Table;
use super::words;

/// Prints rows: a table with how many there are, or one JSON object a line.
pub fn print(schema: &Schema, batches: &[RecordBatch], json: bool) {
    if json {
        batches.iter().for_each(print_json);
        return;
    }
    let columns: Vec<String> = schema.fields().iter().map(|field| heading(field.name(), field.data_type())).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new(&columns);
    for batch in batches {
        for row in 0..batch.num_rows() {
            table.row((0..batch.num_columns()).map(|column| cell(batch, row, column)));
        }
    }
    table.print();
    page::line(words::counted(batches.iter().map(RecordBatch::num_rows).sum(), "row"));
}

/// Prints each row as a JSON object.
fn print_json(batch: &RecordBatch) {
    (0..batch.num_rows()).for_each(|row| page::line(object(batch, row)));
}

/// A row as a JSON object, its keys in the order of the columns.
pub fn object(batch: &RecordBatch, row: usize) -> String {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let pair = |(field, column)| {
        let (field, column): (&FieldRef, &ArrayRef) = (field, column);
        format!("{}:{}", Value::from(field.name().as_str()), json(column, row))
    };
    format!("{{{}}}", fields.map(pair).collect::<Vec<_>>().join(","))
}

/// A value as people read it; empty where there is none.
pub fn cell(batch: &RecordBatch, row: usize, column: usize) -> String {
    let column = batch.column(column);
    match micros(column, row) {
        Some(at) => words::instant(at),
        None => exact(column, row).unwrap_or_default(),
    }
}

fn heading(name: &str, kind: &DataType) -> String {
    if kind.is_numeric() { format!(">{name}") } else { name.to_owned() }
}

fn json(column: &dyn Array, row: usize) -> Value {
    let Some(text) = exact(column, row) else { return Value::Null };
    let is_plain =
        column.data_type().is_integer() || column.data_type().is_floating() || *column.data_type() == DataType::Boolean;
    let plain = if is_plain { serde_json::from_str(&text).ok() } else { None };
    plain.unwrap_or(Value::String(text))
}

/// A value in full, decimals without the zeros at their end; none if it is null.
fn exact(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    if let Some(at) = micros(column, row) {
        return Some(show_micros(at));
    }
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default()).ok()?;
    let text = formatter.value(row).try_to_string().ok()?;
    let is_decimal = matches!(column.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..));
    Some(match is_decimal && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    })
}

/// The instant of a value that is one, as views have it.
fn micros(column: &dyn Array, row: usize) -> Option<Micros> {
    let is_instant = matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
    (is_instant && column.is_valid(row)).then(|| column.as_primitive::<TimestampMicrosecondType>().value(row))
}
