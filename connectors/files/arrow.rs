//! Files of Arrow, both streams and files with a list at their end, whose rows are events.
//!
//! Law: every row is one event or one refusal, in the order of the file. Positions are `row N`,
//! counted from 1 through the whole file. Batches within the file may have any size up to the
//! limits; they are cut into smaller ones, each read by a thread of its own.

use std::io::Read;

use trueup_model::usage::EventBatch;

use super::ordered::{EventBatches, Piece, in_order};
use super::{ReadError, Reading};
use crate::arrow_events::ArrowEvents;
use crate::arrow_events::ipc::messages::{CutError, Messages};
use crate::arrow_events::ipc::{Decoder, Limits};
use crate::arrow_events::table::Table;

/// The most bytes of a batch within a file, also when it is decompressed.
pub const BATCH_BYTES_MAX: usize = 256 << 20;
/// The most rows of a batch within a file.
pub const BATCH_ROWS_MAX: usize = 1 << 24;
/// How many rows a thread reads at a time.
pub(super) const PIECE_ROWS: usize = 8 << 10;

/// Reads the rows of `input` after so many of them as events.
///
/// Fails at the first batch if its columns cannot be those of events.
pub fn read_arrow(input: impl Read + Send + 'static, after: u64, reading: &Reading<'_>) -> EventBatches {
    let Reading { layouts, tenant, file, threads } = *reading;
    let events = ArrowEvents::new(layouts.clone(), tenant, file);
    let limits = Limits { rows_max: BATCH_ROWS_MAX, bytes_max: BATCH_BYTES_MAX };
    let tables = Tables {
        messages: Messages::new(input, limits.bytes_max),
        decoder: Decoder::new(limits),
        events: events.clone(),
    };
    in_order(Pieces::new(tables, after, file), after, threads, move |rows: &FileRows| rows.read(&events))
}

/// Some rows of a file, after so many others.
#[derive(Debug)]
pub(super) struct FileRows {
    before: u64,
    table: Table,
}

impl FileRows {
    /// Reads them as events.
    pub fn read(&self, events: &ArrowEvents) -> Result<EventBatch, ReadError> {
        let position = |row: usize| format!("row {}", self.before + row as u64);
        let file = || events.source_name().to_owned();
        let read = events.read_table(&self.table, position, usize::MAX);
        read.map_err(|error| ReadError::Columns { file: file(), error })
    }
}

/// Tables of a file, cut into pieces.
pub(super) struct Pieces<T> {
    tables: T,
    file: String,
    /// How many rows are before the next piece.
    before: u64,
    /// How many rows are not wanted.
    after: u64,
    table: Table,
    is_over: bool,
}

/// Why there is no next table.
pub(super) enum TableError {
    /// The system would not give the bytes.
    Io(std::io::Error),
    /// What is wrong with them, and what to do.
    Damaged(String),
}

impl<T> Pieces<T> {
    /// The pieces of `tables` behind so many rows.
    pub fn new(tables: T, after: u64, file: &str) -> Pieces<T> {
        let table = Table { rows: 0, columns: Vec::new() };
        Pieces { tables, file: file.to_owned(), before: 0, after, table, is_over: false }
    }

    /// Says that the tables begin behind so many rows.
    pub fn beginning_at(self, before: u64) -> Pieces<T> {
        Pieces { before, ..self }
    }

    fn error(&self, error: TableError) -> ReadError {
        let (file, read_to) = (self.file.clone(), format!("row {}", self.before));
        match error {
            TableError::Io(error) => ReadError::Io { file, read_to, error },
            TableError::Damaged(detail) => ReadError::Damaged { file, read_to, detail },
        }
    }
}

impl<T: Iterator<Item = Result<Table, TableError>>> Iterator for Pieces<T> {
    type Item = Result<Piece<FileRows>, ReadError>;

    fn next(&mut self) -> Option<Result<Piece<FileRows>, ReadError>> {
        while !self.is_over {
            let unwanted = self.after.saturating_sub(self.before).min(self.table.rows as u64);
            self.cut(unwanted as usize);
            if self.table.rows > 0 {
                let before = self.before;
                let table = self.cut(PIECE_ROWS.min(self.table.rows));
                return Some(Ok(Piece { content: FileRows { before, table }, last: self.before }));
            }
            match self.tables.next() {
                Some(Ok(table)) => self.table = table,
                Some(Err(error)) => {
                    self.is_over = true;
                    return Some(Err(self.error(error)));
                }
                None => self.is_over = true,
            }
        }
        None
    }
}

impl<T> Pieces<T> {
    /// Takes the first rows of the table.
    fn cut(&mut self, rows: usize) -> Table {
        let first = self.table.slice(0, rows);
        self.table = self.table.slice(rows, self.table.rows - rows);
        self.before += rows as u64;
        first
    }
}

/// The tables of an Arrow file.
struct Tables<R> {
    messages: Messages<R>,
    decoder: Decoder,
    events: ArrowEvents,
}

impl<R: Read> Iterator for Tables<R> {
    type Item = Result<Table, TableError>;

    fn next(&mut self) -> Option<Result<Table, TableError>> {
        loop {
            let (header, body) = match self.messages.next() {
                Ok(message) => message?,
                Err(CutError::Io(error)) => return Some(Err(TableError::Io(error))),
                Err(CutError::Ipc(error)) => return Some(Err(TableError::Damaged(error.to_string()))),
            };
            match self.decoder.read(&header, &body, |column| self.events.reads(column)) {
                Ok(None) => {}
                Ok(Some(table)) => return Some(Ok(table)),
                Err(error) => return Some(Err(TableError::Damaged(error.to_string()))),
            }
        }
    }
}
