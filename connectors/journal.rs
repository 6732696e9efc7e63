#![doc = include_str!("journal/README.md")]

use std::io::{self, ErrorKind};
use std::sync::Arc;

use thiserror::Error;
use trueup_model::fact::{Entry, Epoch};
use trueup_model::grain::Micros;

mod aside;
pub(crate) mod body;
mod copies;
pub mod disk;
mod entries;
mod file;
mod generation;
pub(crate) mod header;
mod memory;
mod read_back;
mod recovery;
mod sealed;
mod segment;
pub mod simulated_disk;
mod usage_columns;

pub use aside::Aside;
pub use copies::{Copies, CopyError, Restored};
pub use disk::Folder;
pub use entries::Entries;
pub use file::{FileJournal, Settings};
pub use generation::hexadecimal;
pub use header::Hash;
pub use memory::MemoryJournal;
pub use read_back::{EntryReader, ReadBack};
pub use recovery::{Cut, Opened};
pub use sealed::{SealedSegment, verify_segment};

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
    /// One that cannot be read is an error, and the last that is given.
    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_>;

    /// The journal, to be read on other threads while it is written here.
    fn read_back(&self) -> ReadBack;

    /// The epoch of the last entry; 0 where there is none.
    fn last(&self) -> Epoch;

    /// Remembers beside the entries how far they are durable by now, so that an end that is gone later
    /// is missed. Without it a journal knows that of its last opening.
    fn mark(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// The segments that will never change again, in order; none where there are no segments.
    fn sealed(&self) -> Vec<SealedSegment> {
        Vec::new()
    }

    /// The seal of an entry, which stands for it and for all before it; none where there is no such
    /// entry, or entries are not sealed. Costs as much as reading the headers of one segment; that
    /// of the last entry is at hand.
    fn seal_of(&self, epoch: Epoch) -> Result<Option<Hash>, JournalError> {
        let _ = epoch;
        Ok(None)
    }
}

impl JournalError {
    /// What a disk says that cannot do what it is to do. Without a descriptor it was not begun.
    pub(crate) fn disk(doing: &'static str, source: io::Error) -> JournalError {
        match disk::is_out_of_descriptors(&source) {
            true => JournalError::NoDescriptor { doing, source },
            false => JournalError::Disk { doing, source },
        }
    }

    /// What a disk says on which a journal cannot be opened.
    pub(crate) fn opening(place: String, source: io::Error) -> JournalError {
        match JournalError::disk("open", source) {
            JournalError::Disk { source, .. } => JournalError::Unopened { place, source },
            without_descriptor => without_descriptor,
        }
    }

    /// Whether the journal takes nothing more, so that the process must end.
    pub fn is_final(&self) -> bool {
        match self {
            JournalError::Gap { .. }
            | JournalError::ClockWentBack { .. }
            | JournalError::Unfit { .. }
            | JournalError::Full { .. }
            | JournalError::NoDescriptor { .. } => false,
            JournalError::Disk { .. }
            | JournalError::Failed
            | JournalError::Unopened { .. }
            | JournalError::Locked { .. }
            | JournalError::Fenced { .. }
            | JournalError::Damaged { .. }
            | JournalError::Missing { .. } => true,
        }
    }
}

/// Why the journal did not do what it was asked.
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
    /// An entry that contradicts itself, so that it could not be read again.
    #[error("entry {epoch} cannot be kept: {why}; the journal is as it was")]
    Unfit {
        /// The epoch of the entry.
        epoch: Epoch,
        /// What is wrong with it.
        why: String,
    },
    /// There is no room for an entry, and the journal is as it was.
    #[error("the disk is full and entry {epoch} was not taken; make room and try again")]
    Full {
        /// The epoch of the entry.
        epoch: Epoch,
        /// What the disk said.
        source: io::Error,
    },
    /// The process may open no more files now, and the journal is as it was.
    #[error(
        "no file descriptor is left to {doing} the journal, which is as it was: close what holds them or raise the limit (`ulimit -n`), and try again"
    )]
    NoDescriptor {
        /// What it was to do.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be opened.
    #[error("the journal in {place} cannot be opened to be written, {}; `trueup verify` reads it meanwhile", remedy(.source))]
    Unopened {
        /// Where it is.
        place: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk failed.
    #[error("the disk failed when it was to {doing} the journal: the process must end, and be restarted to recover")]
    Disk {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("the journal has failed before and takes nothing more: the process must end, and be restarted to recover")]
    Failed,
    /// Another process has it.
    #[error("another process holds the journal in {place}: stop it first, or use another folder")]
    Locked {
        /// Where it is.
        place: String,
    },
    /// Another process has taken it over.
    #[error(
        "the journal was opened by another process (generation {found}, this one is {ours}): what was not acknowledged is for that one to take, and this process must end"
    )]
    Fenced {
        /// The generation of this process.
        ours: u64,
        /// The generation on the disk.
        found: u64,
    },
    /// What is there is not what was written.
    #[error("{file} is damaged at offset {offset}: {why}; put a good copy of it in its place and start again")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// The end of the journal is not there.
    #[error(
        "the journal ends with entry {last}, but had entry {known} before: put the missing segments back, or tell it to go on without them"
    )]
    Missing {
        /// The last entry.
        last: Epoch,
        /// The last entry at the last opening.
        known: Epoch,
    },
}

/// What is wrong with a disk on which a journal cannot be opened, and what to do.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        _ if disk::is_full(source) => "as the disk is full: make room and start again",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "as nobody may write there: give this user the right to, or name another folder in trueup.toml"
        }
        _ => "as the disk failed: see whether it is sound and start again",
    }
}

/// Whether an entry may follow the last one.
fn follows(entry: &Entry, last: Epoch, clock: Micros) -> Result<(), JournalError> {
    let found = entry.epoch;
    if found != last + 1 {
        return Err(JournalError::Gap { last, found });
    }
    match entry.clock < clock {
        true => Err(JournalError::ClockWentBack { epoch: found }),
        false => Ok(()),
    }
}
