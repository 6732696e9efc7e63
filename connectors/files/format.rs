//! Which format a file is in, by its name, and how to open it.

use std::fs::File;
use std::path::Path;

use super::arrow::read_arrow;
use super::csv::read_rows_after;
use super::csv_mapping::CsvMapping;
use super::ndjson::read_lines_after;
use super::ordered::EventBatches;
use super::parquet::read_parquet;
use super::{ReadError, Reading};
use crate::cloud_events::EventReader;

/// A format of event files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A CloudEvent, or a batch of them, to a line.
    Lines,
    /// A row to a line, below a header.
    Csv,
    /// Arrow IPC, a file or a stream.
    Arrow,
    /// Parquet.
    Parquet,
}

/// The endings of names, with the formats that they mean.
const ENDINGS: [(&str, Format); 9] = [
    ("ndjson", Format::Lines),
    ("jsonl", Format::Lines),
    ("json", Format::Lines),
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("arrow", Format::Arrow),
    ("arrows", Format::Arrow),
    ("feather", Format::Arrow),
    ("parquet", Format::Parquet),
];

impl Format {
    /// The format that the name of a file says it is in.
    pub fn of(path: &Path) -> Option<Format> {
        let ending = path.extension()?;
        let known = ENDINGS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
        known.map(|(_, format)| *format)
    }

    /// What files of events are called, for messages.
    pub fn endings() -> String {
        let (last, others) = ENDINGS.split_last().expect("there are formats");
        let others: Vec<String> = others.iter().map(|(ending, _)| format!(".{ending}")).collect();
        format!("{} or .{}", others.join(", "), last.0)
    }

    /// What a record of it is called: its number says how far a file was read.
    pub fn record(self) -> &'static str {
        match self {
            Format::Lines | Format::Csv => "line",
            Format::Arrow | Format::Parquet => "row",
        }
    }
}

/// Reads a file of events behind so many records. A CSV file needs a mapping.
///
/// Fails at once if the file cannot be opened, or does not have the columns that its mapping names.
pub fn read_file(
    path: &Path,
    format: Format,
    mapping: Option<&CsvMapping>,
    after: u64,
    reading: &Reading<'_>,
) -> Result<EventBatches, ReadError> {
    let Reading { layouts, tenant, file: name, threads } = *reading;
    let file = File::open(path).map_err(|error| ReadError::Io {
        file: name.to_owned(),
        read_to: format!("{} {after}", format.record()),
        error,
    })?;
    match (format, mapping) {
        (Format::Lines, _) => read_lines_after(file, after, &EventReader::new(layouts.clone(), tenant, name), threads),
        (Format::Csv, Some(mapping)) => read_rows_after(file, after, mapping, reading),
        (Format::Csv, None) => Err(ReadError::NoMapping { file: name.to_owned() }),
        (Format::Arrow, _) => Ok(read_arrow(file, after, reading)),
        (Format::Parquet, _) => Ok(read_parquet(file, after, reading)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        let format = |name: &str| Format::of(Path::new(name));
        assert_eq!(format("calls.NDJSON"), Some(Format::Lines));
        assert_eq!(format("calls.2026.parquet"), Some(Format::Parquet));
        assert_eq!(format("calls.parquet.tmp"), None);
        assert_eq!(format(".parquet"), None);
        assert_eq!(format("calls"), None);
        assert!(Format::endings().ends_with(".feather or .parquet"));
    }
}
