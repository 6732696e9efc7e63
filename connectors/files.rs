//! Files of events: NDJSON and CSV.
//!
//! A file is cut into chunks of whole lines; threads turn chunks into batches, and the batches
//! come out in the order of the file, whichever thread was first. Only a few chunks are held at
//! a time, however long the file is. A line is a record: one row or one refusal, and the next
//! line is read as if nothing had happened.

use std::io;

use thiserror::Error;

mod chunks;
pub mod csv;
pub mod csv_mapping;
pub mod ndjson;
mod ordered;

pub use ordered::EventBatches;

/// Why a file could not be read on. What came before it stands.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system would not give its bytes.
    #[error("`{file}` cannot be read beyond line {line}; check the file, then read it again, nothing counts twice")]
    Io {
        /// The file.
        file: String,
        /// The last line that was read.
        line: u64,
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
}
