//! The journal: everything that was accepted, in order, and the only truth there is.
//!
//! Law: entries are numbered 1, 2, 3 without a gap; an entry never changes and is never removed;
//! after `sync` has returned, all entries appended before it outlive any crash. Views, indexes
//! and checkpoints are worked out from it and may be thrown away.

use std::sync::Arc;

use thiserror::Error;
use trueup_model::fact::{Entry, Epoch};

mod memory;

pub use memory::MemoryJournal;

/// Where entries are kept.
pub trait Journal: Send {
    /// Adds the next entry. It is part of the journal at once, and durable after the next
    /// [`sync`](Journal::sync) that returns without an error.
    ///
    /// An entry whose epoch is not one more than the last, or whose clock goes back, is refused
    /// and leaves the journal as it was.
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError>;

    /// Makes durable what was appended. Only then may it be acknowledged.
    ///
    /// It is never tried again: after a failed sync nobody knows what reached the disk, so the
    /// journal refuses everything from then on, and the engine stops and recovers from what is
    /// there.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// The entries from epoch `from` on, in order; the first epoch is 1, and 0 means the same.
    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Arc<Entry>> + '_>;

    /// The epoch of the last entry; 0 where there is none.
    fn last(&self) -> Epoch;
}

/// Why the journal did not take an entry.
#[derive(Debug, Error)]
pub enum JournalError {
    /// An entry that does not follow the last one.
    #[error("entry {found} cannot follow entry {last}; number it {}", last + 1)]
    Gap {
        /// The last epoch of the journal.
        last: Epoch,
        /// The epoch of the entry.
        found: Epoch,
    },
    /// A billing clock that goes back.
    #[error("the billing clock of entry {epoch} lies before that of the entry before it; it may only go forward")]
    ClockWentBack {
        /// The epoch of the entry.
        epoch: Epoch,
    },
    /// The disk did not take it.
    #[error("the journal could not be written; stop, look at the disk, and start again to recover")]
    Disk(#[from] std::io::Error),
    /// An earlier write failed.
    #[error("the journal has failed before and takes nothing more; stop, and start again to recover")]
    Failed,
}
