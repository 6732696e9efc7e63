//! The durable journal against disks that lose, tear, reorder, refuse and lie about writes.
//!
//! Every test ends in the same question: are the entries that are given out those that were
//! appended, and are all among them that were acknowledged?

mod bit_flips;
#[cfg(feature = "s3")]
mod buckets;
mod copies;
mod damage;
mod failing_calls;
mod folder;
mod lock_and_fence;
mod older;
mod power_cuts;
mod roundtrip;
mod samples;
mod sealed;
mod torn_tail;

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, JournalError, Opened, Settings};
use trueup_model::fact::Entry;

/// Opens the journal of a disk, with segments of this length.
fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<(FileJournal, Opened), JournalError> {
    let settings = Settings { segment_bytes, ..Settings::default() };
    FileJournal::open_on(Arc::new(disk.clone()), settings)
}

/// All entries of a journal, or the error that ends them.
fn entries(journal: &FileJournal) -> Result<Vec<Arc<Entry>>, JournalError> {
    journal.entries(0).collect()
}

/// A journal of these entries, each durable.
fn journal_of(disk: &SimulatedDisk, segment_bytes: u64, entries: &[Arc<Entry>]) -> FileJournal {
    let (mut journal, _) = open(disk, segment_bytes).expect("nothing fails");
    for entry in entries {
        journal.append(entry.clone()).expect("it follows and nothing fails");
        journal.sync().expect("nothing fails");
    }
    journal
}

/// The names of the segments of a disk, in order.
fn segments(disk: &SimulatedDisk) -> Vec<String> {
    use trueup_connectors::journal::disk::Disk;
    let mut names = disk.list().expect("nothing fails");
    names.retain(|name| name.ends_with(".journal"));
    names.sort();
    names
}
