//! Rows that come as Arrow, as a table for people or as JSON for programs.
//!
//! Decimals become texts in JSON too, so that no reader rounds them.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::page;
use super::table::Table;
use super::words;

/// Prints rows: a table with how many there are, or one JSON object a line.
pub fn print(schema: &Schema, batches: &[RecordBatch], json: bool) -> Result<(), Failure> {
    if json {
        return batches.iter().try_for_each(print_json);
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
    Ok(())
}

/// Prints each row as a JSON object.
pub fn print_json(batch: &RecordBatch) -> Result<(), Failure> {
    for row in 0..batch.num_rows() {
        page::line(Value::Object(object(batch, row)).to_string());
    }
    Ok(())
}

/// A row as a JSON object.
pub fn object(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let value = |column: usize| (batch.schema_ref().field(column).name().clone(), json(batch.column(column), row));
    (0..batch.num_columns()).map(value).collect()
}

/// A value as people read it; empty where there is none.
pub fn cell(batch: &RecordBatch, row: usize, column: usize) -> String {
    let column = batch.column(column);
    let text = exact(column, row).unwrap_or_default();
    match column.data_type() {
        DataType::Timestamp(..) => {
            let text = text.replace('T', " ");
            let text = text.trim_end_matches('Z');
            text.strip_suffix(":00").unwrap_or(text).to_owned()
        }
        _ => text,
    }
}

fn heading(name: &str, kind: &DataType) -> String {
    if kind.is_numeric() { format!(">{name}") } else { name.to_owned() }
}

fn json(column: &dyn Array, row: usize) -> Value {
    let Some(text) = exact(column, row) else { return Value::Null };
    let is_plain = column.data_type().is_integer() || column.data_type().is_floating() || *column.data_type() == DataType::Boolean;
    let plain = if is_plain { serde_json::from_str(&text).ok() } else { None };
    plain.unwrap_or(Value::String(text))
}

/// A value in full, decimals without the zeros at their end; none if it is null.
fn exact(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default()).ok()?;
    let text = formatter.value(row).try_to_string().ok()?;
    let is_decimal = matches!(column.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..));
    Some(match is_decimal && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    })
}
