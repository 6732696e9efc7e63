//! All views as of one epoch, read from the workers' batches by whoever holds this.
//!
//! Law: a moment never changes. Its rows are a function of the batches, the epoch and the books
//! of that epoch; the changes between an earlier epoch and this one are the difference of the
//! two sets of rows, each under the books of its own epoch.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use arrow::array::{Int64Array, RecordBatch};
use imbl::Vector;
use tokio::sync::watch;
use trueup_connectors::journal::ReadBack;
use trueup_model::books::Books;
use trueup_model::fact::Epoch;
use trueup_sinks::reading::{Batches, Change, ChangesError, Publication, Reading, Scan};
use trueup_sinks::rows::RowWriter;
use trueup_sinks::view::View;

use super::graph::Snapshots;
use super::publication::Published;
use super::view_rows::{self, AsOf, Cell, Row};

/// Rows in a record batch.
const BATCH_ROWS: usize = 8_192;

/// All views as of one epoch.
pub struct Moment {
    epoch: Epoch,
    oldest: Epoch,
    /// The books of each epoch from `oldest` to this one; shared with the moments around it.
    books: Vector<Arc<Books>>,
    parts: Arc<Vec<Snapshots>>,
    /// Where what was set aside is read back.
    journal: ReadBack,
}

impl Moment {
    /// The moment before the first epoch that is shown: empty books, empty views.
    pub fn before(begin: Epoch, journal: ReadBack) -> Moment {
        let epoch = begin.saturating_sub(1);
        Moment { epoch, oldest: epoch, books: Vector::unit(Arc::default()), parts: Arc::default(), journal }
    }

    /// The moment of the epoch that follows `before`; `oldest` is not before its.
    pub fn after(before: &Moment, epoch: Epoch, oldest: Epoch, books: Arc<Books>, parts: Vec<Snapshots>) -> Moment {
        debug_assert!(epoch == before.epoch + 1 && (before.oldest..=epoch).contains(&oldest));
        let mut kept = before.books.clone();
        kept.push_back(books);
        (before.oldest..oldest).for_each(|_| drop(kept.pop_front()));
        Moment { epoch, oldest, books: kept, parts: Arc::new(parts), journal: before.journal.clone() }
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What its rows are made of.
    pub(super) fn newest_as_of(&self) -> AsOf<'_> {
        self.as_of(self.epoch)
    }

    /// The books of its epoch.
    pub fn books(&self) -> &Arc<Books> {
        self.as_of(self.epoch).books
    }

    /// The rows of a view.
    pub fn rows(&self, view: View) -> Vec<Row> {
        let mut rows = Vec::new();
        view_rows::read(view, &self.as_of(self.epoch), &mut |row| rows.push(row));
        rows.sort_unstable();
        rows
    }

    /// The view on an epoch that is still told apart.
    pub(super) fn as_of(&self, epoch: Epoch) -> AsOf<'_> {
        let books = epoch.checked_sub(self.oldest).and_then(|back| self.books.get(back as usize));
        let books = books.expect("books are kept from the oldest epoch on");
        AsOf { epoch, books, parts: &self.parts, journal: &self.journal }
    }

    /// The rows that came or went after `after`, an epoch that is still told apart, each with its
    /// difference.
    pub fn difference(&self, view: View, after: Epoch) -> Vec<(Row, i64)> {
        let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
        let (old, new) = (self.as_of(after), self.as_of(self.epoch));
        view_rows::read_changed(view, &old, &new, &mut |row, diff| *rows.entry(row).or_default() += diff);
        rows.into_iter().filter(|(_, diff)| *diff != 0).collect()
    }
}

impl Reading for Moment {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn oldest(&self) -> Epoch {
        self.oldest
    }

    fn clock_micros(&self) -> i64 {
        self.books().clock
    }

    fn scan(self: Arc<Self>, view: View, scan: &Scan) -> Batches {
        let wanted = scan.customer.clone();
        let customer = view.place("customer");
        let is_wanted = move |row: &Row| match (&wanted, customer) {
            (Some(wanted), Some(column)) => matches!(&row[column], Cell::Text(text) if **text == **wanted),
            _ => true,
        };
        let rows_max = scan.rows_max.unwrap_or(usize::MAX);
        if view_rows::is_large(view) {
            return large_scan(self, view, is_wanted, rows_max);
        }
        let rows = self.rows(view).into_iter().filter(is_wanted).take(rows_max);
        Box::new(in_batches(view, rows))
    }

    fn changes(self: Arc<Self>, view: View, after: Epoch) -> Result<Vec<Change>, ChangesError> {
        if after < self.oldest {
            return Err(ChangesError::TooOld { after, oldest: self.oldest });
        }
        if after >= self.epoch {
            return Ok(Vec::new());
        }
        let (rows, diffs): (Vec<Row>, Vec<i64>) = self.difference(view, after).into_iter().unzip();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = RowWriter::new(view);
        rows.iter().for_each(|row| write(&mut writer, row));
        Ok(vec![Change { epoch: self.epoch, rows: writer.finish(), diffs: Int64Array::from(diffs) }])
    }

    fn rows_about(&self, view: View) -> usize {
        view_rows::rows_about(view, &self.as_of(self.epoch))
    }
}

/// Reads a view that may be too large to hold as rows, on a thread of its own, a few batches
/// ahead of the reader.
fn large_scan(
    moment: Arc<Moment>,
    view: View,
    is_wanted: impl Fn(&Row) -> bool + Send + 'static,
    rows_max: usize,
) -> Batches {
    let (sender, receiver) = sync_channel(4);
    let read = move || {
        let mut writer = RowWriter::new(view);
        let mut left = rows_max;
        let as_of = moment.as_of(moment.epoch);
        view_rows::read_while(view, &as_of, &mut |row| {
            if left == 0 {
                return false;
            }
            if is_wanted(&row) {
                left -= 1;
                write(&mut writer, &row);
            }
            // Sending fails when the reader has gone.
            writer.rows() < BATCH_ROWS || sender.send(writer.finish()).is_ok()
        });
        if writer.rows() > 0 {
            // The reader may have gone; then nobody wants the rest.
            let _ = sender.send(writer.finish());
        }
    };
    let thread = thread::Builder::new().name(format!("scan {}", view.name()));
    Box::new(Found { receiver, thread: Some(thread.spawn(read).expect("a thread can be started")) })
}

/// What a thread finds. If that failed, so does this: rows that end too early would look like all there are.
struct Found {
    receiver: Receiver<RecordBatch>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Found {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        self.receiver.recv().ok().or_else(|| {
            let failed = self.thread.take().and_then(|thread| thread.join().err());
            failed.map(|failed| resume_unwind(failed))
        })
    }
}

fn in_batches(view: View, rows: impl Iterator<Item = Row>) -> impl Iterator<Item = RecordBatch> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let mut writer = RowWriter::new(view);
        rows.by_ref().take(BATCH_ROWS).for_each(|row| write(&mut writer, &row));
        Some(writer.finish())
    })
}

fn write(writer: &mut RowWriter, row: &Row) {
    for cell in row {
        match cell {
            Cell::Null => writer.null(),
            Cell::Text(text) => writer.text(text),
            Cell::Integer(number) => writer.integer(*number),
            Cell::Decimal(units) => writer.decimal(*units),
            Cell::Time(micros) => writer.time(*micros),
        };
    }
}

impl Publication for Published {
    fn newest(&self) -> Arc<dyn Reading> {
        Published::newest(self)
    }

    fn epochs(&self) -> watch::Receiver<Epoch> {
        Published::epochs(self)
    }
}
