//! How far an engine is on its way to where its journal ends, in words for whoever asks meanwhile.
//!
//! Law: the words change with each epoch that is computed again, and say nothing that is not done. Ways in
//! and sinks listen from the first moment on and show these words alone, since nothing that could be read
//! before the end would be true of now.

use tokio::sync::watch;
use trueup_model::fact::Epoch;

/// Tells how far it is.
#[derive(Debug)]
pub struct Recovery {
    words: watch::Sender<String>,
    /// The last epoch of the journal.
    last: Epoch,
    /// The last epoch that was not computed again, since a checkpoint has it.
    kept: Option<Epoch>,
}

/// How many epochs are computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many were.
    pub done: Epoch,
    /// How many there are.
    pub all: Epoch,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery { words: watch::Sender::new(try_again("the journal is being opened")), last: 0, kept: None }
    }
}

impl Recovery {
    /// What is to be told whoever asks.
    pub fn words(&self) -> watch::Receiver<String> {
        self.words.subscribe()
    }

    /// The journal is open, and this is its last epoch.
    pub fn ends_at(&mut self, last: Epoch) {
        self.last = last;
        self.tell("the newest checkpoint is being read");
    }

    /// An epoch was handed to be computed again, the first that was not kept or the one after the last.
    pub fn passed(&mut self, epoch: Epoch) -> Progress {
        let kept = *self.kept.get_or_insert(epoch.saturating_sub(1));
        let progress = Progress { done: epoch - kept, all: self.last.max(epoch) - kept };
        self.tell(&format!("the journal is being computed again: {} of {} epochs", progress.done, progress.all));
        progress
    }

    /// The journal is computed to its end, and something else is to be done before answers are true.
    pub fn goes_on(&self, with: &str) {
        self.tell(with);
    }

    fn tell(&self, what: &str) {
        self.words.send_replace(try_again(what));
    }
}

fn try_again(what: &str) -> String {
    format!("{what}; try again in a moment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_that_a_checkpoint_has_are_not_counted() {
        let mut recovery = Recovery::default();
        let words = recovery.words();
        assert_eq!(*words.borrow(), "the journal is being opened; try again in a moment");
        recovery.ends_at(97);
        assert_eq!(recovery.passed(91), Progress { done: 1, all: 7 });
        assert_eq!(recovery.passed(92), Progress { done: 2, all: 7 });
        assert_eq!(*words.borrow(), "the journal is being computed again: 2 of 7 epochs; try again in a moment");
        recovery.goes_on("the catalog is being read");
        assert_eq!(*words.borrow(), "the catalog is being read; try again in a moment");
    }
}
