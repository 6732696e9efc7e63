//! A moment computed back from a newer one by undoing the changes since.
//!
//! Law: its scan is the newer scan less every change after its epoch. It costs a scan of the
//! whole view and as much memory, so it is the answer only where the moment itself is gone.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, Scalar, StringArray};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::eq;
use arrow::error::ArrowError;

use crate::multiset::{Multiset, sorted};
use crate::reading::{Batches, Change, ChangesError, Epoch, Reading, Scan};
use crate::view::View;

/// The views as of an epoch before that of `base`, and not before what `base` still knows.
pub struct Past {
    base: Arc<dyn Reading>,
    epoch: Epoch,
}

impl Past {
    /// The moment of `epoch`, which `base` must still know the changes after.
    pub fn new(base: Arc<dyn Reading>, epoch: Epoch) -> Past {
        assert!((base.oldest()..=base.epoch()).contains(&epoch), "a past is computed only where changes are known");
        Past { base, epoch }
    }

    fn undone(&self, view: View) -> Result<RecordBatch, ArrowError> {
        let mut rows = Multiset::new(view.schema())?;
        for batch in self.base.clone().scan(view, &Scan::default()) {
            rows.add(batch, |_| 1)?;
        }
        let changes = self.base.clone().changes(view, self.epoch);
        for change in changes.expect("a reading never forgets what it knew") {
            rows.add(change.rows, |place| -change.diffs.value(place))?;
        }
        let (rows, weights) = rows.finish()?;
        assert!(weights.values().iter().all(|weight| *weight == 1), "a view never holds a row twice");
        sorted(&rows, view.key().len())
    }
}

impl Reading for Past {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn oldest(&self) -> Epoch {
        self.base.oldest()
    }

    // The clock of a moment is not among its changes, so this is the clock of the newer one.
    fn clock_micros(&self) -> i64 {
        self.base.clock_micros()
    }

    fn scan(self: Arc<Self>, view: View, scan: &Scan) -> Batches {
        let rows = self.undone(view).and_then(|rows| of_customer(rows, view, scan.customer.as_deref()));
        let rows = rows.expect("the rows of a view follow its schema");
        Box::new(std::iter::once(rows))
    }

    fn changes(self: Arc<Self>, view: View, after: Epoch) -> Result<Vec<Change>, ChangesError> {
        if after >= self.epoch {
            return Ok(Vec::new());
        }
        // What changed since `after`, less what changed since this moment. Choosing by epoch would
        // not do, since changes of several epochs may be given together.
        let since_after = self.base.clone().changes(view, after)?;
        let since_this = self.base.clone().changes(view, self.epoch)?;
        let between = net(view, since_after, since_this).expect("the rows of a view follow its schema");
        Ok(Vec::from_iter(between.map(|(rows, diffs)| Change { epoch: self.epoch, rows, diffs })))
    }

    fn rows_about(&self, view: View) -> usize {
        self.base.rows_about(view)
    }
}

/// What is left of `more` without `less`, if anything.
fn net(view: View, more: Vec<Change>, less: Vec<Change>) -> Result<Option<(RecordBatch, Int64Array)>, ArrowError> {
    let mut rows = Multiset::new(view.schema())?;
    for change in more {
        rows.add(change.rows, |place| change.diffs.value(place))?;
    }
    for change in less {
        rows.add(change.rows, |place| -change.diffs.value(place))?;
    }
    Ok(Some(rows.finish()?).filter(|(rows, _)| rows.num_rows() > 0))
}

fn of_customer(rows: RecordBatch, view: View, customer: Option<&str>) -> Result<RecordBatch, ArrowError> {
    let column = view.place("customer");
    let (Some(customer), Some(column)) = (customer, column) else { return Ok(rows) };
    let wanted = Scalar::new(StringArray::from(vec![customer]));
    filter_record_batch(&rows, &eq(rows.column(column), &wanted)?)
}
