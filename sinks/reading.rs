//! What a sink may ask of the engine: the newest published moment, and its contents and changes.
//!
//! Law: a `Reading` never changes. All views read from one reading are exact as of the same
//! epoch, whatever the engine does meanwhile; publication swaps in a new reading and never
//! waits for an old one. The engine implements these traits; sinks know nothing of how.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use tokio::sync::watch;

use crate::view::View;

/// The engine's logical time: the number of the journal entry that brought a change.
pub type Epoch = u64;

/// Where the newest reading is found.
pub trait Publication: Send + Sync + 'static {
    /// The newest published moment.
    fn newest(&self) -> Arc<dyn Reading>;

    /// Follows the epoch of the newest moment; changes whenever a newer one is published.
    /// The sender goes away when the engine stops.
    fn epochs(&self) -> watch::Receiver<Epoch>;
}

/// What to read of a view.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Only the rows of this customer, where the view has a `customer` column.
    pub customer: Option<String>,
    /// Stop after about this many rows; a hint, the reader still cuts.
    pub rows_max: Option<usize>,
}

/// Record batches of one view, in the order of its key, in the schema of the view.
pub type Batches = Box<dyn Iterator<Item = RecordBatch> + Send>;

/// The changes that an epoch, or several up to one, brought to a view.
#[derive(Clone, Debug)]
pub struct Change {
    /// The epoch that brought them, or the last of those that did.
    pub epoch: Epoch,
    /// The rows that came or went, in the schema of the view.
    pub rows: RecordBatch,
    /// For each row, +1 where it came and -1 where it went. Consolidated: no row has both.
    pub diffs: Int64Array,
}

/// Why changes cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangesError {
    /// The changes after `after` are partly forgotten.
    #[error(
        "changes after epoch {after} are forgotten, the oldest still known follow epoch {oldest}: take a snapshot and follow from its epoch"
    )]
    TooOld {
        /// What was asked for.
        after: Epoch,
        /// The smallest `after` that can still be answered.
        oldest: Epoch,
    },
}

/// All views as of one epoch.
pub trait Reading: Send + Sync + 'static {
    /// The moment: every fact of this epoch and before is counted, none of a later one.
    fn epoch(&self) -> Epoch;

    /// The smallest epoch after which changes can still be told, and as of which views can
    /// still be read: never more than `epoch`.
    fn oldest(&self) -> Epoch;

    /// The billing clock at that moment, in microseconds since 1970 UTC.
    fn clock_micros(&self) -> i64;

    /// The rows of `view` at this moment.
    fn scan(self: Arc<Self>, view: View, scan: &Scan) -> Batches;

    /// The changes of `view` at epochs after `after` up to and with this moment's, in order. With
    /// the scan as of `after` they add up to the scan now. Changes of several epochs may be given
    /// together, under the last of them, and then only what they come to.
    fn changes(self: Arc<Self>, view: View, after: Epoch) -> Result<Vec<Change>, ChangesError>;

    /// How many rows `scan` would give, as near as can be told without reading them.
    fn rows_about(&self, view: View) -> usize;
}
