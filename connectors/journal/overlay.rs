//! A journal on top of another that is only read: for previews, which must leave no trace.
//!
//! Law: it begins with all entries of the one below, and nothing that is appended reaches that one.

use std::sync::Arc;

use trueup_model::fact::{Entry, Epoch};

use super::{Hash, Journal, JournalError, follows};

/// Entries of another journal, and behind them entries in memory.
pub struct Overlay<J> {
    below: J,
    above: Vec<Arc<Entry>>,
}

impl<J: Journal> Overlay<J> {
    /// Nothing yet on top of a journal.
    pub fn on(below: J) -> Overlay<J> {
        Overlay { below, above: Vec::new() }
    }
}

impl<J: Journal> Journal for Overlay<J> {
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError> {
        // Nobody knows the clock of the last entry below, and the door never lets it go back.
        let clock = self.above.last().map_or(i64::MIN, |last| last.clock);
        follows(&entry, self.last(), clock)?;
        self.above.push(entry);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        let below = self.below.last();
        let skipped = usize::try_from(from.saturating_sub(below + 1)).unwrap_or(usize::MAX);
        let above = self.above.iter().skip(skipped).cloned().map(Ok);
        if from > below {
            return Box::new(above);
        }
        Box::new(self.below.entries(from).chain(above))
    }

    fn last(&self) -> Epoch {
        self.below.last() + self.above.len() as Epoch
    }

    /// Entries on top are not sealed, so no checkpoint is made of them.
    fn seal_of(&self, epoch: Epoch) -> Result<Option<Hash>, JournalError> {
        if epoch > self.below.last() { Ok(None) } else { self.below.seal_of(epoch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryJournal;

    #[test]
    fn what_is_appended_stays_on_top() {
        let entry = |epoch| Arc::new(Entry { epoch, ..Entry::default() });
        let mut below = MemoryJournal::new();
        (1..=2).for_each(|epoch| below.append(entry(epoch)).expect("it follows"));
        let mut overlay = Overlay::on(below);
        (3..=4).for_each(|epoch| overlay.append(entry(epoch)).expect("it follows"));
        overlay.append(entry(3)).expect_err("it does not follow");
        let epochs = |from| overlay.entries(from).map(|entry| entry.expect("it is there").epoch).collect::<Vec<_>>();
        assert_eq!(
            [epochs(0), epochs(2), epochs(3), epochs(4)],
            [vec![1, 2, 3, 4], vec![2, 3, 4], vec![3, 4], vec![4]]
        );
        assert_eq!((overlay.last(), overlay.below.last()), (4, 2));
        assert_eq!(overlay.entries(9).count(), 0);
    }
}
