//! The way to the keeper: what it is told, in order, and how much may wait for it.
//!
//! Law: only a worker that puts away rows while more of them wait than may is held up, and only until some are
//! taken up. A keeper that has gone is told nothing, and nothing is wrong but that there are no more checkpoints.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use trueup_model::fact::{Entry, Epoch};
use trueup_operators::event_index::Table;

use crate::engine::graph::Snapshots;

/// How many checkpoints may be ordered and not made: each keeps in memory what it is to hold.
const ORDERS_MAX: usize = 4;

/// What the keeper is told.
pub enum Job {
    /// A worker's rows are put away.
    Rows {
        /// The worker.
        worker: usize,
        /// The rows.
        rows: Arc<Table>,
    },
    /// There is to be a checkpoint; the snapshots of its epoch follow.
    Order(Order),
    /// A worker's snapshots of the epoch of a checkpoint.
    Snapshots {
        /// The worker.
        worker: usize,
        /// The epoch.
        epoch: Epoch,
        /// What it had.
        snapshots: Box<Snapshots>,
    },
    /// There is nothing more to do.
    End,
}

/// What the door knows of a checkpoint.
pub struct Order {
    /// Its epoch.
    pub epoch: Epoch,
    /// The seal of that epoch's entry.
    pub seal: String,
    /// How many usage rows the journal has up to there.
    pub rows: u64,
    /// How many inputs stand in quarantine then.
    pub quarantined: u64,
    /// The outline of the entries since the last order.
    pub outline: Vec<Entry>,
}

/// Tells the keeper.
#[derive(Clone)]
pub struct Line {
    jobs: Sender<Job>,
    waiting: Arc<Waiting>,
}

/// The keeper's end of a line.
pub struct Told {
    jobs: Receiver<Job>,
    waiting: Arc<Waiting>,
}

/// What waits for the keeper.
struct Waiting {
    count: Mutex<Count>,
    has_changed: Condvar,
    /// If more rows wait, whoever comes with others does.
    rows_max: usize,
}

#[derive(Default)]
struct Count {
    rows: usize,
    orders: usize,
    keeper_has_gone: bool,
}

/// A line on which about so many rows may wait.
pub fn line(rows_max: usize) -> (Line, Told) {
    let waiting = Arc::new(Waiting { count: Mutex::default(), has_changed: Condvar::new(), rows_max });
    let (sender, receiver) = channel();
    (Line { jobs: sender, waiting: waiting.clone() }, Told { jobs: receiver, waiting })
}

impl Line {
    /// Tells of a job.
    pub fn tell(&self, job: Job) {
        match &job {
            Job::Rows { rows, .. } => self.waiting.enter(rows.len()),
            Job::Order(_) => self.waiting.count().orders += 1,
            Job::Snapshots { .. } | Job::End => {}
        }
        let _ = self.jobs.send(job);
    }

    /// Whether one more checkpoint may be ordered.
    pub fn has_room(&self) -> bool {
        self.waiting.count().orders < ORDERS_MAX
    }
}

impl Told {
    /// The next job; none if nobody is left who would tell of one.
    pub fn next(&self) -> Option<Job> {
        let job = self.jobs.recv().ok()?;
        if let Job::Rows { rows, .. } = &job {
            self.waiting.count().rows -= rows.len();
            self.waiting.has_changed.notify_all();
        }
        Some(job)
    }

    /// So many orders are done, or cannot be.
    pub fn done(&self, orders: usize) {
        self.waiting.count().orders -= orders;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.waiting.count().keeper_has_gone = true;
        self.waiting.has_changed.notify_all();
    }
}

impl Waiting {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so many rows wait, once there is room.
    fn enter(&self, rows: usize) {
        let is_full = |count: &mut Count| count.rows > self.rows_max && !count.keeper_has_gone;
        let entered = self.has_changed.wait_while(self.count(), is_full);
        entered.unwrap_or_else(PoisonError::into_inner).rows += rows;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn order(epoch: Epoch) -> Job {
        Job::Order(Order { epoch, seal: String::new(), rows: 0, quarantined: 0, outline: Vec::new() })
    }

    #[test]
    fn orders_have_room_again_when_they_are_done() {
        let (line, told) = line(0);
        for epoch in 1..=ORDERS_MAX as Epoch {
            assert!(line.has_room());
            line.tell(order(epoch));
        }
        assert!(!line.has_room());
        told.done(1);
        assert!(line.has_room());
    }

    #[test]
    fn rows_wait_for_room_and_nothing_else_does() {
        let (line, told) = line(10);
        line.waiting.enter(11);
        let full = line.clone();
        let waits = thread::spawn(move || full.waiting.enter(1));
        line.tell(order(1));
        assert!(matches!(told.next(), Some(Job::Order(_))), "it is told though rows wait");
        assert!(!waits.is_finished());
        line.waiting.count().rows -= 11;
        line.waiting.has_changed.notify_all();
        waits.join().expect("it has room");
    }

    #[test]
    fn nobody_waits_for_a_keeper_that_has_gone() {
        let (line, told) = line(10);
        line.waiting.enter(11);
        let full = line.clone();
        let waits = thread::spawn(move || full.waiting.enter(1));
        drop(told);
        waits.join().expect("it waits no more");
        line.tell(Job::End);
    }
}
