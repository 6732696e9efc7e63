//! Reads entries again while the journal is written, from any thread.
//!
//! Law: whatever was made durable before an entry is asked for is found. It borrows nothing of the
//! journal, and holds up nobody who writes.

use std::sync::{Arc, PoisonError, RwLock};

use trueup_model::fact::{Entry, Epoch};

use super::JournalError;
use super::disk::Disk;
use super::entries::Entries;
use super::segment::Segment;

/// A journal, to be read beside whoever writes it.
#[derive(Clone)]
pub struct ReadBack(Place);

#[derive(Clone)]
enum Place {
    Memory(Arc<RwLock<Vec<Arc<Entry>>>>),
    Disk(Arc<dyn Disk>, Arc<RwLock<Vec<Segment>>>),
}

impl Default for ReadBack {
    /// Of a journal without entries.
    fn default() -> ReadBack {
        ReadBack(Place::Memory(Arc::default()))
    }
}

impl ReadBack {
    pub(super) fn of_memory(entries: &Arc<RwLock<Vec<Arc<Entry>>>>) -> ReadBack {
        ReadBack(Place::Memory(entries.clone()))
    }

    /// Of segments that are shared with whoever adds to them.
    pub(super) fn of_disk(disk: Arc<dyn Disk>, segments: &Arc<RwLock<Vec<Segment>>>) -> ReadBack {
        ReadBack(Place::Disk(disk, segments.clone()))
    }

    /// A reader at its beginning, for one thread.
    pub fn reader(&self) -> EntryReader {
        EntryReader { journal: self.clone(), ahead: None, found: None }
    }

    /// The entries from an epoch on that are there now, in order. One that cannot be read is an error, and the last
    /// that is given. The last of all may not be durable yet.
    pub fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>>> {
        match &self.0 {
            Place::Memory(entries) => {
                let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
                let after = entries.partition_point(|entry| entry.epoch < from);
                let found = entries[after..].to_vec();
                Box::new(found.into_iter().map(Ok))
            }
            Place::Disk(..) => Box::new(self.on_disk(from).into_iter().flatten()),
        }
    }

    fn on_disk(&self, from: Epoch) -> Option<Entries> {
        let Place::Disk(disk, segments) = &self.0 else { return None };
        let segments = segments.read().unwrap_or_else(PoisonError::into_inner);
        Some(Entries::new(disk.clone(), &segments, from))
    }
}

/// Finds entries; those that ascend are found by going forward, and the last is at hand.
pub struct EntryReader {
    journal: ReadBack,
    /// What lies behind the last that was found, on a disk.
    ahead: Option<Entries>,
    found: Option<Arc<Entry>>,
}

impl EntryReader {
    /// An entry; none if there is none of this epoch.
    pub fn entry(&mut self, epoch: Epoch) -> Result<Option<Arc<Entry>>, JournalError> {
        if let Some(found) = self.found.as_ref().filter(|found| found.epoch == epoch) {
            return Ok(Some(found.clone()));
        }
        let is_ahead = self.found.take().is_some_and(|found| found.epoch < epoch);
        self.found = match &self.journal.0 {
            Place::Memory(entries) => {
                let place = epoch.checked_sub(1).and_then(|place| usize::try_from(place).ok());
                let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
                place.and_then(|place| entries.get(place)).cloned()
            }
            Place::Disk(..) => self.on_disk(epoch, is_ahead)?,
        };
        Ok(self.found.clone())
    }

    fn on_disk(&mut self, epoch: Epoch, is_ahead: bool) -> Result<Option<Arc<Entry>>, JournalError> {
        if is_ahead && let Some(ahead) = &mut self.ahead {
            ahead.pass_to(epoch);
            if let Some(entry) = ahead.next().transpose()? {
                return Ok(Some(entry).filter(|entry| entry.epoch == epoch));
            }
        }
        // It lies behind, or came after the last look.
        self.ahead = self.journal.on_disk(epoch);
        let entry = self.ahead.as_mut().and_then(Iterator::next).transpose()?;
        Ok(entry.filter(|entry| entry.epoch == epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;
    use crate::journal::{FileJournal, Journal, MemoryJournal, Settings};

    fn add(journal: &mut dyn Journal, entries: usize) {
        for _ in 0..entries {
            let epoch = journal.last() + 1;
            let offsets = [("source".to_owned(), epoch.to_string())].into();
            journal.append(Arc::new(Entry { epoch, offsets, ..Entry::default() })).expect("it follows");
        }
        journal.sync().expect("the disk is good");
    }

    fn finds_each(journal: &mut dyn Journal) {
        let read_back = journal.read_back();
        let mut reader = read_back.reader();
        assert!(reader.entry(1).expect("it can be read").is_none());
        add(journal, 9);
        // Forward, in leaps, again and back; and what came after the first look.
        let mut find = |epoch: Epoch| {
            let found = reader.entry(epoch).expect("it can be read");
            found.map(|entry| entry.offsets["source"].parse::<Epoch>().expect("it is a number"))
        };
        for epoch in [1, 2, 5, 5, 9, 8, 1, 9] {
            assert_eq!(find(epoch), Some(epoch));
        }
        assert_eq!((find(0), find(10)), (None, None));
        add(journal, 4);
        for epoch in [10, 13, 12, 3] {
            assert_eq!(find(epoch), Some(epoch));
        }
        assert_eq!(find(14), None);
        for from in [0, 1, 7, 13, 14] {
            let given = read_back.entries(from).map(|entry| entry.expect("it can be read").epoch);
            assert_eq!(given.collect::<Vec<Epoch>>(), (from.max(1)..14).collect::<Vec<Epoch>>());
        }
    }

    #[test]
    fn entries_are_found_whichever_way_and_while_others_come() {
        finds_each(&mut MemoryJournal::new());
        let settings = Settings { segment_bytes: 600, ..Settings::default() };
        let disk = Arc::new(SimulatedDisk::new(1));
        let (mut journal, _) = FileJournal::open_on(disk, settings).expect("the disk is good");
        finds_each(&mut journal);
        assert!(journal.sealed().len() > 1, "they are in several segments");
    }
}
