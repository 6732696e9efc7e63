//! Rows as JSON, to be kept with their refusals: what was sent, as far as it can be shown.

use serde_json::{Map, Value};

use super::column::Column;
use super::table::Table;
use crate::limits::{PAYLOAD_BYTES_MAX, cut};

/// The columns of a table by their names.
pub(super) struct Payloads<'a>(Vec<(&'a str, Column<'a>)>);

impl<'a> Payloads<'a> {
    /// Those of a table.
    pub fn of(table: &'a Table) -> Payloads<'a> {
        Payloads(table.columns.iter().map(|named| (&*named.name, Column::of(named))).collect())
    }

    /// The values of a row, no more of them than are kept.
    pub fn of_row(&self, row: usize) -> String {
        let mut values = Map::new();
        let mut bytes = 0;
        for (name, column) in &self.0 {
            if bytes > PAYLOAD_BYTES_MAX {
                break;
            }
            if let Some(written) = column.written(row) {
                let written = cut(&written, PAYLOAD_BYTES_MAX);
                bytes += name.len() + written.len();
                values.insert(cut(name, PAYLOAD_BYTES_MAX).to_owned(), Value::from(written));
            }
        }
        Value::Object(values).to_string()
    }
}
