//! The wide values of a run; those of rows that follow one another lie behind one another.

use std::io::{self, ErrorKind};

use trueup_model::kept_row::VALUE_BYTES;

use super::{ROWS, RowRun, VALUES};

/// Reads wide values, page by page.
pub struct Values<'a> {
    run: &'a RowRun,
    /// The page that was read last, and what is on it.
    page: Option<u64>,
    contents: Vec<u8>,
    /// What was asked for last.
    found: Vec<u8>,
}

impl<'a> Values<'a> {
    /// Reads those of a run.
    pub fn of(run: &'a RowRun) -> Values<'a> {
        Values { run, page: None, contents: Vec::new(), found: Vec::new() }
    }

    /// So many values from the first on, as bytes.
    pub fn read(&mut self, first: u64, count: u16) -> io::Result<&[u8]> {
        self.found.clear();
        for place in 0..u64::from(count) {
            self.add(first.saturating_add(place))?;
        }
        Ok(&self.found)
    }

    fn add(&mut self, place: u64) -> io::Result<()> {
        if place >= self.run.values {
            return Err(io::Error::new(ErrorKind::InvalidData, "a row names values that are not there"));
        }
        let page = self.run.rows.div_ceil(ROWS) + place / VALUES;
        if self.page != Some(page) {
            self.page = None;
            self.run.pages(page, 1, &mut self.contents)?;
            self.page = Some(page);
        }
        self.found.extend_from_slice(&self.contents[(place % VALUES) as usize * VALUE_BYTES..][..VALUE_BYTES]);
        Ok(())
    }
}
