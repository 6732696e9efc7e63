//! Holds what a Parquet file says of itself against the file and our limits, before the library reads it.
//!
//! Law: after it nothing claims more bytes than the file has, or memory beyond the limits: lists,
//! nesting, chunks, pages. The library reserves by some of these claims, and a claim of terabytes would
//! end the process.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::thrift::{Fault, Met, Walk};

/// The most bytes of what a file says of itself.
const FOOTER_BYTES_MAX: u64 = 16 << 20;
/// The most bytes of a page, without compression.
const PAGE_BYTES_MAX: i64 = 64 << 20;
/// The most bytes of what a page says of itself. It may hold its least and greatest value.
const PAGE_HEADER_BYTES_MAX: u64 = 1 << 20;
/// The deepest that columns may lie in one another.
const COLUMN_DEPTH_MAX: usize = 16;
/// The most columns, those within others counted.
const COLUMNS_MAX: u64 = 4_096;
/// The most row groups.
const ROW_GROUPS_MAX: u64 = 32_767;
/// The most rows for each byte of the file: events have ids of their own, which take bytes.
const ROWS_PER_BYTE_MAX: u64 = 64;

/// Encodings that say a second time, within the page, how many values there are, and reserve memory
/// for as many.
const LENGTHS_WITHIN: [i64; 2] = [6, 7];

/// Checks the end of a file, which says what is where.
pub(super) fn check_footer(file: &mut File) -> Result<(), Fault> {
    const TAIL_BYTES: u64 = 8;
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    if bytes < TAIL_BYTES + 4 {
        return Err("it is too short to be a Parquet file".to_owned());
    }
    let mut tail = [0; TAIL_BYTES as usize];
    read_at(file, bytes - TAIL_BYTES, &mut tail)?;
    let footer_bytes = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    match &tail[4..] {
        b"PAR1" => {}
        b"PARE" => return Err("it is encrypted; write it without".to_owned()),
        _ => return Err("it does not end as a Parquet file does; write it again".to_owned()),
    }
    if footer_bytes > FOOTER_BYTES_MAX.min(bytes - TAIL_BYTES) {
        return Err(format!("what it says of itself claims to have {footer_bytes} bytes"));
    }
    file.seek(SeekFrom::Start(bytes - TAIL_BYTES - footer_bytes)).map_err(|error| error.to_string())?;
    let mut found = Found::default();
    let visit = |path: &[i16], met| found.note(path, met);
    Walk::new(BufReader::new(&mut *file), footer_bytes, visit).through()?;
    found.check(bytes)
}

/// What matters in a footer. In the format's numbers, 2 is the schema, 3 the rows and 4 the row groups.
#[derive(Default)]
struct Found {
    /// How many children each column has, in the order in which a tree is walked.
    children: Vec<i64>,
    row_groups: u64,
    rows: i64,
}

impl Found {
    fn note(&mut self, path: &[i16], met: Met) {
        match (path, met) {
            ([2], Met::Struct) => self.children.push(0),
            ([2, 5], Met::Number(children)) => self.children.last_mut().into_iter().for_each(|last| *last = children),
            ([4], Met::List(row_groups)) => self.row_groups = row_groups,
            ([3], Met::Number(rows)) => self.rows = rows,
            _ => {}
        }
    }

    fn check(&self, bytes: u64) -> Result<(), Fault> {
        if self.row_groups > ROW_GROUPS_MAX || self.children.len() as u64 > COLUMNS_MAX {
            let (row_groups, columns) = (self.row_groups, self.children.len());
            return Err(format!(
                "it has {row_groups} row groups and {columns} columns, and may have {ROW_GROUPS_MAX} and {COLUMNS_MAX}; \
                 write fewer"
            ));
        }
        // How many children are still to come, at each depth.
        let mut open: Vec<i64> = Vec::new();
        for children in &self.children {
            open.last_mut().into_iter().for_each(|left| *left -= 1);
            if !(0..=COLUMNS_MAX as i64).contains(children) {
                return Err(format!("a column claims to have {children} within it"));
            }
            open.push(*children);
            if open.len() > COLUMN_DEPTH_MAX {
                return Err(format!("its columns lie more than {COLUMN_DEPTH_MAX} deep; write them side by side"));
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        check_rows(self.rows, bytes)
    }
}

fn check_rows(rows: i64, bytes: u64) -> Result<(), Fault> {
    let rows_max = bytes.saturating_mul(ROWS_PER_BYTE_MAX);
    match u64::try_from(rows) {
        Ok(rows) if rows <= rows_max => Ok(()),
        _ => Err(format!("it claims to have {rows} rows in {bytes} bytes")),
    }
}

/// Checks row groups, and the chunks and pages of the columns that will be read.
pub(super) fn check_columns(file: &mut File, metadata: &ParquetMetaData, columns: &[usize]) -> Result<(), Fault> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let mut rows = 0i64;
    for row_group in metadata.row_groups() {
        rows = rows.saturating_add(row_group.num_rows());
        if row_group.num_rows() < 0 {
            return Err(format!("a row group claims to have {} rows", row_group.num_rows()));
        }
        for column in columns {
            let chunk = row_group.columns().get(*column).ok_or("a row group has too few columns")?;
            check_chunk(file, bytes, chunk)?;
        }
    }
    check_rows(rows, bytes)
}

fn check_chunk(file: &mut File, bytes: u64, chunk: &ColumnChunkMetaData) -> Result<(), Fault> {
    match chunk.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => {}
        other => {
            let name = other.to_string();
            let name = name.split('(').next().unwrap_or_default();
            return Err(format!(
                "it is compressed by {name}, which does not say how large a page becomes; compress it by zstd, snappy or \
                 LZ4_RAW"
            ));
        }
    }
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let (start, length) = (u64::try_from(start), u64::try_from(chunk.compressed_size()));
    let (Ok(start), Ok(length)) = (start, length) else {
        return Err("a column claims to begin or end before the file".to_owned());
    };
    match start.checked_add(length) {
        Some(end) if end <= bytes => check_pages(file, start, length),
        _ => Err(format!("a column claims to have {length} bytes from byte {start} on, and there are {bytes}")),
    }
}

/// What matters of a page. In the format's numbers, 5, 7 and 8 are data, dictionary and data of the
/// second version.
#[derive(Default)]
struct Page {
    unpacked_bytes: i64,
    packed_bytes: i64,
    values: i64,
    dictionary_values: i64,
    encoding: i64,
}

impl Page {
    fn note(&mut self, path: &[i16], met: Met) {
        let Met::Number(number) = met else { return };
        match path {
            [2] => self.unpacked_bytes = number,
            [3] => self.packed_bytes = number,
            [5 | 8, 1] => self.values = number,
            [7, 1] => self.dictionary_values = number,
            [5, 2] | [8, 4] => self.encoding = number,
            _ => {}
        }
    }

    fn check(&self, left: u64) -> Result<u64, Fault> {
        let packed = u64::try_from(self.packed_bytes).ok().filter(|packed| *packed <= left);
        let packed = packed.ok_or_else(|| {
            format!("a page claims to have {} bytes, and {left} are left of its column", self.packed_bytes)
        })?;
        if !(0..=PAGE_BYTES_MAX).contains(&self.unpacked_bytes) {
            let claimed = self.unpacked_bytes;
            return Err(format!(
                "a page claims to have {claimed} bytes without compression, and may have {PAGE_BYTES_MAX}; write smaller \
                 pages"
            ));
        }
        if self.values < 0 || !(0..=self.unpacked_bytes).contains(&self.dictionary_values) {
            return Err("a page claims to have more values than fit into it".to_owned());
        }
        if LENGTHS_WITHIN.contains(&self.encoding) {
            return Err("its texts are encoded by their differences; write them plain or with a dictionary".to_owned());
        }
        Ok(packed)
    }
}

/// Walks from page to page.
fn check_pages(file: &mut File, start: u64, length: u64) -> Result<(), Fault> {
    file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
    let mut input = BufReader::new(&mut *file);
    let mut left = length;
    while left > 0 {
        let mut page = Page::default();
        let header_max = left.min(PAGE_HEADER_BYTES_MAX);
        let header_left = Walk::new(&mut input, header_max, |path: &[i16], met| page.note(path, met)).through()?;
        left -= header_max - header_left;
        let packed = page.check(left)?;
        left -= packed;
        input.seek_relative(packed as i64).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn read_at(file: &mut File, at: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes)).map_err(|error| error.to_string())
}
