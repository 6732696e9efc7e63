//! Parquet files whose rows are events, by the rules of columns of Arrow.
//!
//! Law: every row is one event or one refusal, in the order of the file, and whatever the bytes, the
//! answer is that or an error. Positions are `row N`, counted from 1 through the whole file. Only the
//! columns that are read are looked at, a page at a time.
//!
//! What a file says of itself is checked first (`guard.rs`). Within pages the library still meets what
//! it does not expect with a panic here and there, too deep to be checked from outside, so a panic while
//! it reads is taken as damage of the file. What Arrow wrote of its own types into the file is not read:
//! the types of Parquet are enough, and they leave less to forge.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::schema::types::SchemaDescriptor;

use super::Reading;
use super::arrow::{FileRows, PIECE_ROWS, Pieces, TableError};
use super::ordered::{EventBatches, in_order};
use crate::arrow_events::ArrowEvents;
use crate::arrow_events::table::{Content, Named, Table, column_within};

mod guard;
mod thrift;

/// Reads the rows of a file after so many of them as events.
///
/// Holds a page of each column that is read, and a few pieces of some thousand rows.
pub fn read_parquet(file: File, after: u64, reading: &Reading<'_>) -> EventBatches {
    let Reading { layouts, tenant, file: name, threads } = *reading;
    let events = ArrowEvents::new(layouts.clone(), tenant, name);
    let tables = Tables { state: State::Closed(file), after, events: events.clone() };
    let pieces = Pieces::new(tables, after, name).beginning_at(after);
    in_order(pieces, after, threads, move |rows: &FileRows| rows.read(&events))
}

/// The tables of a Parquet file.
struct Tables {
    state: State,
    after: u64,
    events: ArrowEvents,
}

enum State {
    Closed(File),
    Open {
        reader: Box<ParquetRecordBatchReader>,
        /// Columns of kinds that no event has, which are not read.
        foreign: Vec<Named>,
    },
    Over,
}

impl Iterator for Tables {
    type Item = Result<Table, TableError>;

    fn next(&mut self) -> Option<Result<Table, TableError>> {
        let state = std::mem::replace(&mut self.state, State::Over);
        // Nothing is looked at after a panic: the file is closed.
        let next = catch_unwind(AssertUnwindSafe(|| self.step(state)));
        let table = next.unwrap_or_else(|_| Some(Err("the reader of Parquet gave up on it".to_owned())))?;
        Some(table.map_err(|what| TableError::Damaged(with_remedy(what))))
    }
}

/// What is wrong, and what to do if that does not say it.
fn with_remedy(what: String) -> String {
    if what.contains("; ") { what } else { format!("{what}; write it again, with a Parquet library") }
}

impl Tables {
    fn step(&mut self, state: State) -> Option<Result<Table, String>> {
        let opened = match state {
            State::Closed(file) => self.open(file),
            State::Open { reader, foreign } => Ok((reader, foreign)),
            State::Over => return None,
        };
        let (mut reader, foreign) = match opened {
            Ok(opened) => opened,
            Err(what) => return Some(Err(what)),
        };
        let batch = match reader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.to_string())),
        };
        let mut table = Table::of(&batch);
        table.columns.extend(foreign.iter().cloned());
        self.state = State::Open { reader, foreign };
        Some(Ok(table))
    }

    fn open(&self, mut file: File) -> Result<(Box<ParquetRecordBatchReader>, Vec<Named>), String> {
        let told = |error: parquet::errors::ParquetError| error.to_string();
        guard::check_footer(&mut file)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(told)?;
        let chosen = Chosen::of(metadata.metadata().file_metadata().schema_descr(), &self.events);
        guard::check_columns(&mut file, metadata.metadata(), &chosen.leaves)?;
        let projection = ProjectionMask::leaves(metadata.parquet_schema(), chosen.leaves);
        let after = usize::try_from(self.after).unwrap_or(usize::MAX);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(projection)
            .with_batch_size(PIECE_ROWS)
            .with_offset(after)
            .build()
            .map_err(told)?;
        Ok((Box::new(reader), chosen.foreign))
    }
}

/// Which columns are read.
struct Chosen {
    leaves: Vec<usize>,
    foreign: Vec<Named>,
}

impl Chosen {
    /// Those of which something is read; one within another only if that is `data`, and lists never.
    fn of(schema: &SchemaDescriptor, events: &ArrowEvents) -> Chosen {
        let mut chosen = Chosen { leaves: Vec::new(), foreign: Vec::new() };
        for (leaf, column) in schema.columns().iter().enumerate() {
            let parts = column.path().parts();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let (name, is_foreign) = match column_within(&parts) {
                Some(name) => (name, column.max_rep_level() > 0),
                None => (parts.first().map(|name| (*name).to_owned()).unwrap_or_default(), true),
            };
            if !events.reads(&name) {
                continue;
            }
            if !is_foreign {
                chosen.leaves.push(leaf);
            } else if chosen.foreign.iter().all(|known| known.name != name) {
                let content = Content::Foreign("lists, maps or structs".to_owned());
                chosen.foreign.push(Named { name, content, around: None });
            }
        }
        chosen
    }
}
