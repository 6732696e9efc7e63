//! Where a worker's rows are put away: the keeper writes them, the worker finds them again.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use trueup_connectors::checkpoint::row_run::RowRun;
use trueup_model::identity::Identity;
use trueup_model::kept_row::{KeptRow, TOGETHER_MAX, together};
use trueup_model::usage::UsageBatch;
use trueup_operators::cold::{Archive, ColdRun, Written};
use trueup_operators::event_index::{Masks, Table};
use trueup_operators::scratch::Scratch;

use super::Settings;
use super::line::{Job, Line};
use super::scratch::ScratchFile;
use crate::engine::publication::Published;

/// What is written of one worker's rows.
#[derive(Default)]
pub struct Shelf {
    /// How many parts were written since the start.
    pub parts: u64,
    /// The runs that hold them and what was there before, newest first.
    pub runs: Vec<Arc<RowRun>>,
    /// How often that changed.
    pub changes: u64,
}

impl Shelf {
    /// A part was written.
    pub fn add(&mut self, run: Arc<RowRun>) {
        self.runs.insert(0, run);
        self.parts += 1;
        self.changes += 1;
    }

    /// Runs at these places became one.
    pub fn replace(&mut self, places: Range<usize>, merged: Arc<RowRun>) {
        self.runs.splice(places, [merged]);
        self.changes += 1;
    }
}

/// A shelf that the keeper fills and a worker reads.
pub type SharedShelf = Arc<Mutex<Shelf>>;

/// One worker's archive.
pub struct RowArchive {
    worker: usize,
    rows_max: usize,
    settings: Settings,
    keeper: Line,
    shelf: SharedShelf,
    published: Arc<Published>,
    /// How many parts were put away.
    put_away: u64,
    /// How many files for rows were begun: one before the rows of the part before it are put away.
    scratches: u64,
    /// Which changes of the shelf were told.
    told: Option<u64>,
}

impl RowArchive {
    /// The archive of a worker.
    pub fn new(
        worker: usize,
        rows_max: usize,
        settings: Settings,
        keeper: Line,
        shelf: SharedShelf,
        published: Arc<Published>,
    ) -> RowArchive {
        RowArchive { worker, rows_max, settings, keeper, shelf, published, put_away: 0, scratches: 0, told: None }
    }
}

impl Archive for RowArchive {
    fn scratch(&mut self) -> Box<dyn Scratch> {
        self.scratches += 1;
        Box::new(ScratchFile::new(&self.settings, self.worker, self.scratches, self.published.clone()))
    }

    fn rows_max(&self) -> usize {
        self.rows_max
    }

    fn put_away(&mut self, rows: Arc<Table>) -> u64 {
        let part = self.put_away;
        self.put_away += 1;
        self.keeper.tell(Job::Rows { worker: self.worker, rows });
        part
    }

    fn written(&mut self) -> Option<Written> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if self.told.replace(shelf.changes) == Some(shelf.changes) {
            return None;
        }
        let cold = |run: &Arc<RowRun>| -> Arc<dyn ColdRun> {
            Arc::new(Cold { run: run.clone(), published: self.published.clone() })
        };
        Some(Written { parts: shelf.parts, runs: shelf.runs.iter().map(cold).collect() })
    }
}

/// A run as operators see it.
struct Cold {
    run: Arc<RowRun>,
    published: Arc<Published>,
}

impl Cold {
    /// What was read; or the end of the engine, with a reason that says what to do.
    fn read<T>(&self, read: io::Result<T>) -> T {
        read.unwrap_or_else(|error| {
            let why = format!(
                "{} of the checkpoints cannot be read: {error}; remove the folder of the checkpoints and start again, \
                 and they are made anew from the journal",
                self.run.name()
            );
            self.published.stop(&why);
            panic!("{why}")
        })
    }
}

impl ColdRun for Cold {
    fn may_hold(&self, identities: &[Identity], bit: u32, masks: &mut Masks) {
        self.run.mark(identities, bit, masks);
    }

    fn find(&self, identity: &Identity) -> Option<Arc<UsageBatch>> {
        self.read(self.run.find(identity)).map(KeptRow::alone)
    }

    fn scan(&self) -> Box<dyn Iterator<Item = Arc<UsageBatch>> + '_> {
        let mut rows = self.run.scan().map(|kept| self.read(kept)).peekable();
        Box::new(std::iter::from_fn(move || {
            rows.peek()?;
            Some(together(rows.by_ref().take(TOGETHER_MAX)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use trueup_connectors::journal::simulated_disk::SimulatedDisk;
    use trueup_connectors::journal::{Journal, MemoryJournal};

    use super::super::{Keeper, Kept};
    use super::*;

    #[test]
    fn what_comes_while_rows_are_put_away_has_a_file_of_its_own() {
        let settings = Settings::on(Arc::new(SimulatedDisk::new(1)));
        let keeper = Keeper::start(&settings, 1, Kept::default()).expect("the disk is good");
        let mut archive = keeper.archive(0, Arc::new(Published::new(1, 0, MemoryJournal::new().read_back())));
        let files = [1, 2, 3].map(|number| (number, archive.scratch()));
        for (number, file) in &files {
            assert!(file.write(0, &[*number; 64]), "file {number} takes it");
        }
        for (number, file) in &files {
            let mut read = [0; 64];
            file.read(0, &mut read).expect("it was written");
            assert_eq!(read, [*number; 64]);
        }
        drop(files);
        assert_eq!(settings.disk.list().expect("the disk is good").len(), 1, "what is left is the outline");
        keeper.finish();
    }
}
