#![doc = include_str!("README.md")]

pub mod arrow_events;
pub mod arrow_put;
pub mod backfills;
pub mod board;
pub mod catalog_files;
pub mod checkpoint;
pub mod cloud_events;
mod columns;
pub mod declarations;
pub mod fault;
pub mod files;
pub mod http;
pub mod intake;
pub mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod limits;
pub mod quarantine;
pub mod schemas;
pub mod shelf;
mod time_text;
mod value;
pub mod watched;

pub use arrow_events::{ArrowEvents, ColumnsError};
pub use catalog_files::{CatalogProblems, Place, read_catalog};
pub use cloud_events::{EventReader, usage_event};
pub use fault::Fault;
pub use files::csv::read_csv;
pub use files::csv_mapping::CsvMapping;
pub use files::ndjson::read_ndjson;
pub use files::{EventBatches, ReadError};
pub use journal::{FileJournal, Journal, JournalError, MemoryJournal};
