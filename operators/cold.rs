//! Rows that are put away: where the event index puts them, and finds them again.
//!
//! Law: the runs of an archive, newest first, have for each identity that was put away the row that
//! stood last. Where they are kept, and when they are merged, is not for operators to know, and
//! cannot be seen in what they give.

use std::sync::Arc;

use trueup_model::identity::Identity;
use trueup_model::usage::UsageBatch;

use crate::event_index::{Masks, Table};
use crate::scratch::Scratch;

/// The most runs there may be: a bit of a mask stands for each.
pub const RUNS_MAX: usize = u32::BITS as usize;

/// Rows by identity, each identity once; they never change.
///
/// If they cannot be read, whoever keeps them says why and stops the engine by a panic: without
/// them nobody knows what counts.
pub trait ColdRun: Send + Sync {
    /// Sets `bit` in the mask of each identity that may be here. Costs a look into memory for each;
    /// of those that are not here, a few in a thousand are marked too.
    fn may_hold(&self, identities: &[Identity], bit: u32, masks: &mut Masks);

    /// The row of an identity, alone in a batch. Costs a read of some KiB.
    fn find(&self, identity: &Identity) -> Option<Arc<UsageBatch>>;

    /// All rows, some in each batch.
    fn scan(&self) -> Box<dyn Iterator<Item = Arc<UsageBatch>> + '_>;
}

/// Where one worker's rows are put away.
pub trait Archive: Send {
    /// A file for the rows that come until they are put away.
    fn scratch(&mut self) -> Box<dyn Scratch>;

    /// How many rows of this worker may come before they are put away.
    fn rows_max(&self) -> usize;

    /// Takes rows; each such part has a number, one more than that of the part before. Waits if too
    /// many parts are still to be written.
    fn put_away(&mut self, rows: Arc<Table>) -> u64;

    /// What is written, if that is more than was told before.
    fn written(&mut self) -> Option<Written>;
}

/// What an archive has written.
pub struct Written {
    /// How many parts: all with a smaller number.
    pub parts: u64,
    /// The runs that hold them, newest first.
    pub runs: Vec<Arc<dyn ColdRun>>,
}

#[cfg(test)]
pub(crate) mod memory {
    //! An archive in memory, that is as late and as untidy as an archive may be. Now and then it merges.

    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::scratch::memory::MemoryScratch;

    pub struct Run(BTreeMap<Identity, Arc<UsageBatch>>);

    impl ColdRun for Run {
        fn may_hold(&self, identities: &[Identity], bit: u32, masks: &mut Masks) {
            let is_marked = |identity: &Identity| self.0.contains_key(identity) || identity.0[0].is_multiple_of(5);
            identities.iter().zip(masks).filter(|(identity, _)| is_marked(identity)).for_each(|(_, mask)| *mask |= bit);
        }

        fn find(&self, identity: &Identity) -> Option<Arc<UsageBatch>> {
            self.0.get(identity).cloned()
        }

        fn scan(&self) -> Box<dyn Iterator<Item = Arc<UsageBatch>> + '_> {
            Box::new(self.0.values().cloned())
        }
    }

    /// How many runs there may be before the newest are merged.
    const RUNS_FEW: usize = 6;
    /// How many of them.
    const TOGETHER: usize = 3;

    /// Writes a part when `late` others have come after it.
    pub struct MemoryArchive {
        rows_max: usize,
        late: usize,
        parts: Vec<Arc<Table>>,
        /// What is written, oldest first.
        runs: Vec<Arc<Run>>,
        told: usize,
    }

    impl MemoryArchive {
        pub fn new(rows_max: usize, late: usize) -> MemoryArchive {
            MemoryArchive { rows_max, late, parts: Vec::new(), runs: Vec::new(), told: 0 }
        }

        fn write(&mut self, part: usize) {
            self.runs.push(Self::run(&self.parts[part]));
            if self.runs.len() > RUNS_FEW {
                let newest = self.runs.split_off(self.runs.len() - TOGETHER);
                let rows = newest.iter().flat_map(|run| run.0.iter());
                self.runs.push(Arc::new(Run(rows.map(|(identity, row)| (*identity, row.clone())).collect())));
            }
        }

        fn run(part: &Table) -> Arc<Run> {
            let mut rows = BTreeMap::new();
            let Ok(()) = part.each_standing(|row| -> Result<(), Infallible> {
                rows.insert(row.packed().identity(), row.kept().alone());
                Ok(())
            });
            Arc::new(Run(rows))
        }
    }

    impl Archive for MemoryArchive {
        fn scratch(&mut self) -> Box<dyn Scratch> {
            // Every second one takes only half of what it is given.
            Box::new(MemoryScratch::new(64, self.parts.len() % 2 == 1))
        }

        fn rows_max(&self) -> usize {
            self.rows_max
        }

        fn put_away(&mut self, rows: Arc<Table>) -> u64 {
            self.parts.push(rows);
            self.parts.len() as u64 - 1
        }

        fn written(&mut self) -> Option<Written> {
            let parts = self.parts.len().saturating_sub(self.late);
            if parts == self.told {
                return None;
            }
            (self.told..parts).for_each(|part| self.write(part));
            self.told = parts;
            let runs = self.runs.iter().rev().map(|run| run.clone() as Arc<dyn ColdRun>);
            Some(Written { parts: parts as u64, runs: runs.collect() })
        }
    }
}
