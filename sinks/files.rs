//! Writes every view of a moment into a folder, one file each: Parquet, CSV or JSON lines.
//!
//! Law: a file has its name only once it is whole; a reader of the folder never sees half of
//! one. All files of a call are of the same epoch.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::csv::writer::WriterBuilder;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::error::Error;
use crate::reading::{Batches, Reading, Scan};
use crate::view::View;

/// The form of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// Comma-separated values with a line of names; an empty value is an empty field.
    Csv,
    /// One JSON object a line; decimals are strings, so that no reader rounds them.
    Json,
}

impl Format {
    /// How the names of its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Json => "jsonl",
        }
    }
}

/// Writes every view of `reading` into `folder`, which is made if need be; for each view, tells
/// the file and how many rows it has. Files of the same name are replaced.
pub fn write_views(
    reading: Arc<dyn Reading>,
    folder: &Path,
    format: Format,
) -> Result<Vec<(View, PathBuf, usize)>, Error> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let write = |view: View| {
        let path = folder.join(format!("{}.{}", view.name(), format.extension()));
        let rows = write_view(reading.clone(), view, &path, format)?;
        Ok((view, path, rows))
    };
    View::ALL.into_iter().map(write).collect()
}

/// Writes one view of `reading` to `path`; gives how many rows it has.
pub fn write_view(reading: Arc<dyn Reading>, view: View, path: &Path, format: Format) -> Result<usize, Error> {
    let begun = path.with_extension(format!("{}.part", format.extension()));
    let file = File::create(&begun).map_err(at(&begun))?;
    let batches = reading.scan(view, &Scan::default());
    let (rows, file) = match format {
        Format::Parquet => write_parquet(file, &view.schema(), batches),
        Format::Csv => write_csv(file, &view.schema(), batches),
        Format::Json => write_json(file, batches),
    }
    .map_err(at(&begun))?;
    file.sync_all().map_err(at(&begun))?;
    fs::rename(&begun, path).map_err(at(path))?;
    Ok(rows)
}

fn write_parquet(file: File, schema: &SchemaRef, batches: Batches) -> io::Result<(usize, File)> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
    let rows = counted(batches, |batch| Ok(writer.write(batch)?))?;
    Ok((rows, writer.into_inner()?))
}

fn write_csv(file: File, schema: &SchemaRef, batches: Batches) -> io::Result<(usize, File)> {
    let mut writer = WriterBuilder::new().with_header(true).build(BufWriter::new(file));
    // Without this a view without rows would be a file without names.
    writer.write(&RecordBatch::new_empty(schema.clone())).map_err(io_error)?;
    let rows = counted(batches, |batch| writer.write(batch).map_err(io_error))?;
    flushed(writer.into_inner()).map(|file| (rows, file))
}

fn write_json(file: File, batches: Batches) -> io::Result<(usize, File)> {
    let mut writer = LineDelimitedWriter::new(BufWriter::new(file));
    let rows =
        counted(batches, |batch| decimals_as_text(batch).and_then(|batch| writer.write(&batch)).map_err(io_error))?;
    writer.finish().map_err(io_error)?;
    flushed(writer.into_inner()).map(|file| (rows, file))
}

fn decimals_as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| match column.data_type() {
        DataType::Decimal128(..) => Ok((field.name(), cast(column, &DataType::Utf8)?)),
        _ => Ok((field.name(), column.clone())),
    });
    RecordBatch::try_from_iter(columns.collect::<Result<Vec<_>, ArrowError>>()?)
}

fn counted(batches: Batches, mut write: impl FnMut(&RecordBatch) -> io::Result<()>) -> io::Result<usize> {
    let mut rows = 0;
    for batch in batches {
        write(&batch)?;
        rows += batch.num_rows();
    }
    Ok(rows)
}

fn flushed(mut writer: BufWriter<File>) -> io::Result<File> {
    writer.flush()?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}

fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, cause) => cause,
        other => io::Error::other(other),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.display().to_string();
    move |cause| Error::File { path: path.clone(), cause }
}
