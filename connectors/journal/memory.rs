//! A journal that lasts as long as its process: for tests, previews and the command line.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use trueup_model::fact::{Entry, Epoch};
use trueup_model::grain::Micros;

use super::{Journal, JournalError, ReadBack, follows};

/// Entries in memory. Nothing is durable, and `sync` has nothing to do.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    entries: Arc<RwLock<Vec<Arc<Entry>>>>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> MemoryJournal {
        MemoryJournal::default()
    }

    fn held(&self) -> RwLockReadGuard<'_, Vec<Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError> {
        let clock = self.held().last().map_or(Micros::MIN, |last| last.clock);
        follows(&entry, self.last(), clock)?;
        self.entries.write().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        let start = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        // One at a time, so that whoever reads them all keeps nobody from adding.
        Box::new((start..usize::MAX).map_while(|place| self.held().get(place).cloned()).map(Ok))
    }

    fn read_back(&self) -> ReadBack {
        ReadBack::of_memory(&self.entries)
    }

    fn last(&self) -> Epoch {
        self.held().len() as Epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(epoch: Epoch, clock: i64) -> Arc<Entry> {
        Arc::new(Entry { epoch, clock, ..Entry::default() })
    }

    #[test]
    fn entries_come_back_in_order_from_any_epoch() {
        let mut journal = MemoryJournal::new();
        assert_eq!(journal.last(), 0);
        for epoch in 1..=3 {
            journal.append(entry(epoch, 10)).expect("it follows the last");
        }
        journal.sync().expect("memory has nothing to sync");
        let epoch = |entry: Result<Arc<Entry>, JournalError>| entry.expect("memory can be read").epoch;
        let epochs = |from| journal.entries(from).map(epoch).collect::<Vec<_>>();
        assert_eq!(epochs(0), [1, 2, 3]);
        assert_eq!(epochs(1), [1, 2, 3]);
        assert_eq!(epochs(3), [3]);
        assert_eq!(epochs(u64::MAX), [0; 0]);
    }

    #[test]
    fn gaps_repeats_and_clocks_that_go_back_are_refused() {
        let mut journal = MemoryJournal::new();
        journal.append(entry(1, 10)).expect("it is the first");
        for (wrong, message) in [
            (entry(3, 10), "entry 3 cannot follow entry 1; number it 2"),
            (entry(1, 10), "entry 1 cannot follow entry 1; number it 2"),
            (
                entry(2, 9),
                "the billing clock of entry 2 lies before that of the entry before it; it may only go forward",
            ),
        ] {
            let error = journal.append(wrong).expect_err("it does not follow");
            assert_eq!(error.to_string(), message);
        }
        assert_eq!(journal.last(), 1);
    }
}
