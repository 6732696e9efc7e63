//! What is in the journal after a kill: read beside it, from where the last look ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use trueup_connectors::journal::{Aside, FileJournal, Folder, Journal, Opened, Settings, hexadecimal};
use trueup_model::fact::{Epoch, Fact};

/// What was found until now.
#[derive(Default)]
pub struct Found {
    last: Epoch,
    seal: Option<String>,
    /// What was sent and is not there.
    pub missing: BTreeSet<u64>,
    sent: u64,
}

impl Found {
    /// Looks again, when the events up to `sent` have been sent: nothing that was there has changed, and
    /// there is nothing else.
    pub fn look(&mut self, journal: &Path, sent: u64) {
        self.missing.extend(self.sent..sent);
        self.sent = sent;
        let (journal, opened) = beside(journal);
        assert!(opened.last >= self.last, "{} epochs were there, and {} are", self.last, opened.last);
        assert_eq!(seal(&journal, self.last), self.seal, "what was there stays as it was");
        for entry in journal.entries(self.last + 1) {
            for fact in &entry.expect("it is whole").facts {
                let Fact::Usage(batch) = fact else { continue };
                for (_, id) in (0..batch.rows.len()).filter_map(|row| batch.ids.get(row)) {
                    let id = id.parse().expect("ids are numbers");
                    assert!(id < sent, "{id} was not sent");
                    self.missing.remove(&id);
                }
            }
        }
        self.last = opened.last;
        self.seal = seal(&journal, self.last);
    }
}

/// The journal of a folder, only read.
pub fn beside(journal: &Path) -> (FileJournal, Opened) {
    let disk = Folder::new(journal).and_then(Aside::of).expect("the folder can be read");
    FileJournal::open_on(Arc::new(disk), Settings::default()).expect("what a kill leaves is no damage")
}

fn seal(journal: &FileJournal, epoch: Epoch) -> Option<String> {
    journal.seal_of(epoch).expect("its headers can be read").map(|seal| hexadecimal(&seal))
}
