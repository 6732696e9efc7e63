//! Checkpoints: what was computed through an epoch, kept so that a restart need not compute it again.
//!
//! Law: an engine that begins with a checkpoint, and is told what the journal holds after it, shows
//! at each epoch what one shows that is told all of the journal. A checkpoint is derived from the
//! journal: one that is not whole, or that other code wrote, is passed over, and lost is only time.
//!
//! ```text
//!   workers ── rows that are put away ──┐
//!           ── snapshots of an epoch ───┼── keeper ── runs, arrangements, outline, and then the manifest
//!   door ───── outline of the journal ──┘
//! ```
//! Workers write the rows that come to stand into a file of their own, chunk by chunk. The keeper is a thread of
//! its own, for which nothing waits but a worker that has more to put away than it can take: what checkpoints are
//! made of lies ready, and while too many are not made, none is ordered. Two checkpoints are kept.

mod archive;
mod arrangements;
mod keeper;
mod line;
mod loading;
mod scratch;

use std::io;
use std::sync::Arc;

use trueup_connectors::journal::disk::Disk;

pub use keeper::{Keeper, Kept};
pub use line::{Job, Line, Order};
pub use loading::{Loaded, load};

/// The form of the files. Whoever changes it, or what is in them, changes this.
const FORM: &str = "3";
/// The file of the outline.
const OUTLINE: &str = "outline";
/// What the names of all other files of a checkpoint begin with, but for manifests.
const ROWS: &str = "rows-";
const ARRANGEMENT: &str = "arrangement-";

/// Where checkpoints are kept, and how.
#[derive(Clone)]
pub struct Settings {
    /// Where.
    pub disk: Arc<dyn Disk>,
    /// How many rows come before they are put away.
    pub hot_rows_max: usize,
    /// How many bytes of them are written at once, by each worker, for each of some parts of all identities.
    pub scratch_bytes: usize,
}

impl Settings {
    /// Checkpoints on a disk, with as many rows in a file as are worth it.
    pub fn on(disk: Arc<dyn Disk>) -> Settings {
        Settings { disk, hot_rows_max: 16_000_000, scratch_bytes: 1 << 12 }
    }
}

/// The number of the next run of rows: none is given twice, also to one that nothing needs any more.
fn next_run(disk: &dyn Disk) -> io::Result<u64> {
    let taken = disk.list()?.into_iter().filter_map(|name| name.strip_prefix(ROWS)?.parse::<u64>().ok()).max();
    Ok(taken.unwrap_or_default() + 1)
}

/// The name of the run with this number.
fn run_file(number: u64) -> String {
    format!("{ROWS}{number:012}")
}

/// What a checkpoint's results come from: the form of the files, and the code.
fn fingerprint() -> String {
    format!("{FORM}-{}", env!("TRUEUP_FINGERPRINT"))
}
