//! Goes through the rows of a run, reading many pages at once.

use std::io;
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::kept_row::KeptRow;
use trueup_model::packed_row::PackedRow;

use super::super::pages::CONTENTS;
use super::values::Values;
use super::{ROWS, RowRun};

/// Pages that are read at once.
const PAGES: u64 = 128;

/// A row of a run, and the way to those behind it.
pub struct Cursor<'a> {
    run: &'a RowRun,
    /// The number of the row.
    number: u64,
    /// Contents of the page that it is on, and of some behind it.
    contents: Vec<u8>,
    /// Where in them it is.
    offset: usize,
    values: Values<'a>,
}

impl<'a> Cursor<'a> {
    /// The first row of a run; none if it has none.
    pub fn of(run: &'a RowRun) -> io::Result<Option<Cursor<'a>>> {
        if run.rows == 0 {
            return Ok(None);
        }
        let mut first = Cursor { run, number: 0, contents: Vec::new(), offset: 0, values: Values::of(run) };
        first.fetch()?;
        Ok(Some(first))
    }

    /// The row as it is in the run.
    pub fn row(&self) -> PackedRow {
        PackedRow::first_of(&self.contents[self.offset..])
    }

    /// Its wide values, as they are in the run.
    pub fn wide_values(&mut self) -> io::Result<&[u8]> {
        let row = self.row();
        self.values.read(row.first_value(), row.wide())
    }

    /// Where it came from.
    pub fn origin(&self) -> io::Result<Arc<Origin>> {
        self.run.origin(self.row().origin())
    }

    /// The row with all that belongs to it.
    pub fn kept(&mut self) -> io::Result<KeptRow> {
        let origin = self.origin()?;
        Ok(KeptRow::of(&self.row(), origin, self.wide_values()?))
    }

    /// Goes on to the next row, if there is one.
    pub fn pass(&mut self) -> io::Result<bool> {
        self.number += 1;
        if self.number == self.run.rows {
            return Ok(false);
        }
        self.offset += PackedRow::BYTES;
        if self.number.is_multiple_of(ROWS) {
            self.offset = self.offset.next_multiple_of(CONTENTS);
            if self.offset == self.contents.len() {
                self.fetch()?;
            }
        }
        Ok(true)
    }

    fn fetch(&mut self) -> io::Result<()> {
        let page = self.number / ROWS;
        let left = self.run.rows.div_ceil(ROWS) - page;
        self.offset = 0;
        self.run.pages(page, PAGES.min(left) as usize, &mut self.contents)
    }
}
