//! A stream of Arrow that came as a whole, such as the value of a message of Kafka.
//!
//! Law: all of its rows are read, each as one event or one refusal, or none is. Every batch is held
//! against its bytes, and all of them together against the limits of one, before the first row is
//! read.

use std::fmt::Display;

use thiserror::Error;
use trueup_model::usage::{EventBatch, EventBatchBuilder};

use super::ipc::messages::{CutError, Messages};
use super::ipc::{Decoder, IpcError, Limits};
use super::table::Table;
use super::{ArrowEvents, ColumnsError};
use crate::arrow_put::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};

/// The most rows of a stream that comes as a whole.
pub const ROWS_MAX: usize = BATCH_ROWS_MAX;
/// The most bytes of it, also when it is decompressed.
pub const BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Why no row of a stream is taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// Its bytes are not what Arrow writes, or too many.
    #[error(transparent)]
    Message(#[from] IpcError),
    /// Its columns are not those of events.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// It has too many rows.
    #[error("there are more than {ROWS_MAX} rows: send them in several messages")]
    TooLong,
    /// It has none.
    #[error("there is no row, so no event: leave it out, or send rows in it")]
    Empty,
    /// Something comes behind it.
    #[error("{0} bytes come behind the end of the stream, and would be lost: send one stream to a message")]
    Behind(usize),
}

impl ArrowEvents {
    /// Reads all rows of a stream, or of an Arrow file; `position` says where a row is, counted from 1
    /// through all of it, and is asked for refusals only.
    pub fn read_whole<D: Display>(
        &self,
        stream: &[u8],
        position: impl Fn(usize) -> D,
    ) -> Result<EventBatch, StreamError> {
        let mut builder = EventBatchBuilder::new(&self.tenant, &self.source_name, self.layouts.generation);
        self.add_whole(stream, position, usize::MAX, &mut builder)?;
        Ok(builder.finish())
    }

    /// The same into a batch that is being filled; no more rows once more than so many are refused in
    /// it. After an error nothing was added to it.
    pub(crate) fn add_whole<D: Display>(
        &self,
        stream: &[u8],
        position: impl Fn(usize) -> D,
        refused_max: usize,
        builder: &mut EventBatchBuilder,
    ) -> Result<(), StreamError> {
        let mut before = 0;
        for table in self.tables(stream)? {
            // Whether columns can be those of events is the same in all batches of a schema, so it is
            // found before the first row.
            self.add_rows(&table, |row| position(before + row), refused_max, builder)?;
            before += table.rows;
        }
        Ok(())
    }

    /// The batches of a stream that have rows.
    fn tables(&self, stream: &[u8]) -> Result<Vec<Table>, StreamError> {
        let mut rest = stream;
        let mut decoder = Decoder::of_one_input(Limits { rows_max: ROWS_MAX, bytes_max: BYTES_MAX });
        let mut messages = Messages::new(&mut rest, BYTES_MAX);
        let (mut tables, mut rows) = (Vec::new(), 0);
        while let Some((header, body)) = messages.next().map_err(ipc_error)? {
            let Some(table) = decoder.read(&header, &body, |column| self.reads(column))? else { continue };
            rows += table.rows;
            if rows > ROWS_MAX {
                return Err(StreamError::TooLong);
            }
            if table.rows > 0 {
                tables.push(table);
            }
        }
        match rest.len() {
            0 if tables.is_empty() => Err(StreamError::Empty),
            0 => Ok(tables),
            bytes => Err(StreamError::Behind(bytes)),
        }
    }
}

/// What is wrong with bytes that are all there.
fn ipc_error(error: CutError) -> IpcError {
    match error {
        CutError::Ipc(error) => error,
        CutError::Io(error) => unreachable!("bytes in memory can be read: {error}"),
    }
}
