//! Brings runs together: of each identity the row of the first run that has it.
//!
//! Rows are copied as the bytes they are: a merge writes millions of them, and looks into none.

use std::io;
use std::sync::Arc;

use trueup_model::identity::Identity;

use super::RowRun;
use super::cursor::Cursor;
use super::writer::{Places, RunWriter};
use crate::journal::disk::Disk;

/// Writes into a new run the rows of these runs, newest first, that are wanted. Returns how many there were.
pub fn merge(
    disk: &dyn Disk,
    name: &str,
    rows_about: u64,
    runs: &[Arc<RowRun>],
    is_wanted: impl Fn(Identity) -> bool,
) -> io::Result<u64> {
    let mut writer = RunWriter::create(disk, name, rows_about)?;
    let mut heads: Vec<Head> = Vec::with_capacity(runs.len());
    for run in runs {
        heads.extend(Head::of(run)?);
    }
    while let Some(newest) = least(&heads) {
        let Head { order: least, cursor, .. } = &heads[newest];
        let least = *least;
        if is_wanted(cursor.row().identity()) {
            heads[newest].copy(&mut writer)?;
        }
        pass(&mut heads, newest, least)?;
    }
    writer.finish()
}

/// The newest run of those whose next row is the least.
fn least(heads: &[Head]) -> Option<usize> {
    let (mut newest, mut least) = (0, heads.first()?.order);
    for (place, head) in heads.iter().enumerate().skip(1) {
        if head.order < least {
            (newest, least) = (place, head.order);
        }
    }
    Some(newest)
}

/// Passes a row in all runs that have it: those before `newest` have not.
fn pass(heads: &mut Vec<Head>, newest: usize, passed: (u64, u64)) -> io::Result<()> {
    let mut place = newest;
    while place < heads.len() {
        if heads[place].order == passed && !heads[place].pass()? {
            heads.remove(place);
        } else {
            place += 1;
        }
    }
    Ok(())
}

/// The next row of a run, with what it is sorted by, and those behind it.
struct Head<'a> {
    order: (u64, u64),
    cursor: Cursor<'a>,
    /// Where the origins of the run are in the one that is written, as far as that is known.
    places: Places,
}

impl Head<'_> {
    /// The first row of a run; none if it has none.
    fn of(run: &RowRun) -> io::Result<Option<Head<'_>>> {
        let cursor = Cursor::of(run)?;
        Ok(cursor.map(|cursor| Head { order: cursor.row().identity().order(), cursor, places: Places::default() }))
    }

    /// Goes on to the next row, if there is one.
    fn pass(&mut self) -> io::Result<bool> {
        let is_there = self.cursor.pass()?;
        if is_there {
            self.order = self.cursor.row().identity().order();
        }
        Ok(is_there)
    }

    fn copy(&mut self, writer: &mut RunWriter) -> io::Result<()> {
        let packed = self.cursor.row();
        let origin = self.places.place(packed.origin(), || Ok(writer.origin(&self.cursor.origin()?)))?;
        writer.put(packed, origin, self.cursor.wide_values()?)
    }
}
