//! Files of events: NDJSON, CSV, Arrow and Parquet.
//!
//! A file is cut into pieces, such as chunks of whole lines; threads turn pieces into batches, and
//! the batches come out in the order of the file, whichever thread was first. Only a few pieces are
//! held at a time, however long the file is. A line, or a row, is a record: one row or one refusal,
//! and the next record is read as if nothing had happened.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use trueup_model::layout::Layouts;

use crate::arrow_events::ColumnsError;

pub mod arrow;
mod chunks;
pub mod csv;
pub mod csv_mapping;
mod format;
pub mod ndjson;
mod ordered;
pub mod parquet;
pub mod progress;

pub use format::{Format, read_file};
pub use ordered::EventBatches;

/// Why a file could not be read on. What came before it stands.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system would not give its bytes.
    #[error("`{file}` cannot be read beyond {read_to}; check the file, then read it again, nothing counts twice")]
    Io {
        /// The file.
        file: String,
        /// The last record that was read, such as `line 17`.
        read_to: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The mapping names a column that the file does not have.
    #[error("`{file}` has no column `{column}`, it has {found}; correct the mapping")]
    NoColumn {
        /// The file.
        file: String,
        /// What the mapping names.
        column: String,
        /// The columns of the file.
        found: String,
    },
    /// The first line is no list of column names.
    #[error("the first line of `{file}` does not name columns: {detail}")]
    NoHeader {
        /// The file.
        file: String,
        /// What it is instead.
        detail: String,
    },
    /// It is CSV, and nothing says which of its columns is what.
    #[error("`{file}` is CSV and has no mapping: say which of its columns is what")]
    NoMapping {
        /// The file.
        file: String,
    },
    /// What is in it is not what its format allows, or more than is read.
    #[error("`{file}` cannot be read beyond {read_to}: {detail}")]
    Damaged {
        /// The file.
        file: String,
        /// The last record that was read, such as `row 17`.
        read_to: String,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// Its columns are not those of events.
    #[error("`{file}`: {error}")]
    Columns {
        /// The file.
        file: String,
        /// What is wrong.
        error: ColumnsError,
    },
}

/// How to read a file, whatever its format.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The layouts of now.
    pub layouts: &'a Arc<Layouts>,
    /// Whose events they are.
    pub tenant: &'a str,
    /// The name of the file, for messages and positions.
    pub file: &'a str,
    /// On how many threads.
    pub threads: usize,
}
