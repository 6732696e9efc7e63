//! Rows as columns with names, whichever library read them.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::meaning::{NEST, nested};

/// Some rows, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// How many rows.
    pub rows: usize,
    /// Its columns.
    pub columns: Vec<Named>,
}

/// A column with its name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// Which rows of the column around it have nothing.
    pub around: Option<NullBuffer>,
}

/// What is in a column.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A value for each row.
    Values(ArrayRef),
    /// Something of a kind that no event has, by the name of the kind.
    Foreign(String),
}

/// The name of the column that a path of names leads to, if it is a column of its own or a field of `data`.
pub(crate) fn column_within(path: &[&str]) -> Option<String> {
    match *path {
        [name] => Some(name.to_owned()),
        [NEST, field] => Some(nested(field)),
        _ => None,
    }
}

impl Table {
    /// The columns of a batch; the fields of a column `data` stand beside the others.
    pub fn of(batch: &RecordBatch) -> Table {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            match array.data_type() {
                DataType::Struct(fields) if field.name() == NEST => {
                    let array = array.as_struct();
                    let inside = fields.iter().zip(array.columns()).map(|(field, column)| Named {
                        name: nested(field.name()),
                        content: Content::Values(column.clone()),
                        around: array.nulls().cloned(),
                    });
                    columns.extend(inside);
                }
                _ => columns.push(Named {
                    name: field.name().clone(),
                    content: Content::Values(array.clone()),
                    around: None,
                }),
            }
        }
        Table { rows: batch.num_rows(), columns }
    }

    /// Some of its rows; nothing is copied.
    pub fn slice(&self, first: usize, rows: usize) -> Table {
        let columns = self.columns.iter().map(|column| Named {
            name: column.name.clone(),
            content: match &column.content {
                Content::Values(array) => Content::Values(array.slice(first, rows)),
                Content::Foreign(kind) => Content::Foreign(kind.clone()),
            },
            around: column.around.as_ref().map(|nulls| nulls.slice(first, rows)),
        });
        Table { rows, columns: columns.collect() }
    }

    /// The names of the columns, for messages.
    pub fn names(&self) -> String {
        const SHOWN_MAX: usize = 32;
        let names: Vec<&str> = self.columns.iter().take(SHOWN_MAX).map(|column| &*column.name).collect();
        match self.columns.len() {
            0 => "none".to_owned(),
            columns if columns > SHOWN_MAX => format!("{} and {} more", names.join(", "), columns - SHOWN_MAX),
            _ => names.join(", "),
        }
    }
}
