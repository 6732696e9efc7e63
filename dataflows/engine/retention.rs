//! For how long back times stay told apart: how far back views can be read and changes followed.
//!
//! A time that is told apart costs an update for each record that changed at it. So the past is
//! bounded by epochs, which is what a reader that was away counts in, and by events, which is
//! what memory counts in, with those that were set aside: a thousand epochs of one event are
//! remembered, and so is one of a million, but not a thousand of a million.

use std::collections::VecDeque;

use trueup_model::fact::Epoch;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many epochs back.
    pub epochs: Epoch,
    /// No further back than so many events, except for the last epoch, however large.
    pub events: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { epochs: 1_024, events: 100_000 }
    }
}

/// The epochs that are told apart from the one before them, with their numbers of events.
pub struct Past {
    retention: Retention,
    epochs: VecDeque<u64>,
    events: u64,
}

impl Past {
    /// No past.
    pub fn new(retention: Retention) -> Past {
        Past { retention, epochs: VecDeque::new(), events: 0 }
    }

    /// Goes on to an epoch; gives the oldest that can still be read.
    pub fn pass(&mut self, epoch: Epoch, events: u64) -> Epoch {
        self.epochs.push_back(events);
        self.events += events;
        while self.is_too_long() {
            self.events -= self.epochs.pop_front().unwrap_or_default();
        }
        epoch - self.epochs.len() as Epoch
    }

    fn is_too_long(&self) -> bool {
        let epochs = self.epochs.len() as Epoch;
        epochs > self.retention.epochs || (epochs > 1 && self.events > self.retention.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_bounded_by_epochs_and_by_events() {
        let mut past = Past::new(Retention { epochs: 3, events: 100 });
        let oldest: Vec<Epoch> =
            (1..).zip([1, 1, 1, 1, 98, 1, 500, 1, 0, 0]).map(|(epoch, events)| past.pass(epoch, events)).collect();
        assert_eq!(oldest, [0, 0, 0, 1, 2, 3, 6, 7, 7, 7]);
        let mut none = Past::new(Retention { epochs: 0, events: 100 });
        assert_eq!([none.pass(1, 5), none.pass(2, 5)], [1, 2]);
    }
}
