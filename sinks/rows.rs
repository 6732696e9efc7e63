//! Writes rows of a view into record batches, column by column.
//!
//! The caller appends each row's values in the order of the view's columns; a value of the
//! wrong kind, or a row cut short, is a broken promise of ours and panics.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};

use crate::view::{Column, DECIMAL_PLACES, Kind, View};

/// Collects rows of one view.
pub struct RowWriter {
    view: View,
    columns: Vec<Writer>,
    next: usize,
    rows: usize,
}

enum Writer {
    Text(StringBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
}

impl RowWriter {
    /// A writer with no rows yet.
    pub fn new(view: View) -> RowWriter {
        RowWriter { view, columns: view.columns().iter().map(writer).collect(), next: 0, rows: 0 }
    }

    /// How many whole rows were written.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        match self.column() {
            Writer::Text(column) => column.append_value(value),
            _ => panic!("a text was written to a column of another kind of {}", self.view.name()),
        }
        self.advance()
    }

    /// Appends a whole number.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        match self.column() {
            Writer::Integer(column) => column.append_value(value),
            _ => panic!("an integer was written to a column of another kind of {}", self.view.name()),
        }
        self.advance()
    }

    /// Appends a decimal, given in units of 10^-12.
    pub fn decimal(&mut self, units: i128) -> &mut Self {
        match self.column() {
            Writer::Decimal(column) => column.append_value(units),
            _ => panic!("a decimal was written to a column of another kind of {}", self.view.name()),
        }
        self.advance()
    }

    /// Appends an instant, in microseconds since 1970 UTC.
    pub fn time(&mut self, micros: i64) -> &mut Self {
        match self.column() {
            Writer::Time(column) => column.append_value(micros),
            _ => panic!("a time was written to a column of another kind of {}", self.view.name()),
        }
        self.advance()
    }

    /// Leaves the column empty.
    pub fn null(&mut self) -> &mut Self {
        assert!(self.view.columns()[self.next].nullable, "{} may not be empty", self.view.columns()[self.next].name);
        match self.column() {
            Writer::Text(column) => column.append_null(),
            Writer::Integer(column) => column.append_null(),
            Writer::Decimal(column) => column.append_null(),
            Writer::Time(column) => column.append_null(),
        }
        self.advance()
    }

    /// Appends a text, or leaves the column empty.
    pub fn text_or_null(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// The rows written so far; the writer is empty again afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        assert_eq!(self.next, 0, "the last row of {} was cut short", self.view.name());
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(finish).collect();
        RecordBatch::try_new(self.view.schema(), arrays).expect("the writers follow the view's schema")
    }

    fn column(&mut self) -> &mut Writer {
        &mut self.columns[self.next]
    }

    fn advance(&mut self) -> &mut Self {
        self.next += 1;
        if self.next == self.columns.len() {
            self.next = 0;
            self.rows += 1;
        }
        self
    }
}

fn writer(column: &Column) -> Writer {
    match column.kind {
        Kind::Text => Writer::Text(StringBuilder::new()),
        Kind::Integer => Writer::Integer(Int64Builder::new()),
        Kind::Decimal => Writer::Decimal(
            Decimal128Builder::new()
                .with_precision_and_scale(38, DECIMAL_PLACES)
                .expect("38 digits hold twelve places"),
        ),
        Kind::Time => Writer::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
    }
}

fn finish(writer: &mut Writer) -> ArrayRef {
    match writer {
        Writer::Text(column) => Arc::new(column.finish()),
        Writer::Integer(column) => Arc::new(column.finish()),
        Writer::Decimal(column) => Arc::new(column.finish()),
        Writer::Time(column) => Arc::new(column.finish()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_the_schema_of_the_view() {
        let mut rows = RowWriter::new(View::Ledger);
        rows.text("counted").integer(3);
        assert_eq!(rows.rows(), 1);
        let batch = rows.finish();
        assert_eq!(batch.schema(), View::Ledger.schema());
        assert_eq!((batch.num_rows(), rows.rows()), (1, 0));
    }
}
