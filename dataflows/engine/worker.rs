//! One timely worker: takes an epoch, steps until it is complete, shows what came of it.
//!
//! One epoch is in flight at a time, so every batch holds exactly one epoch, and a worker with
//! nothing to do sleeps until there is something.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use timely::worker::Worker;

use super::checkpoints::{Job, Line};
use super::graph::{self, EpochInput, Inputs, Start, Traces};
use super::publication::Published;

/// Orders the steps of the workers, so that a run can be repeated exactly.
pub trait Pace: Send + Sync {
    /// Called before each step of a worker; returns when it may go on.
    fn turn(&self, worker: usize);

    /// Called when a worker has no more steps to make for the epoch at work.
    fn leave(&self, worker: usize);
}

/// How long a worker that waits for the others sleeps before it looks whether one has failed.
const WATCH: Duration = Duration::from_millis(200);

/// What a worker is handed.
pub struct Desk {
    /// Epochs, in order; closed when the engine stops.
    pub epochs: Receiver<Arc<EpochInput>>,
    /// Where results are shown.
    pub published: Arc<Published>,
    /// Orders the steps, in tests.
    pub pace: Option<Arc<dyn Pace>>,
    /// Who makes checkpoints, if anybody does.
    pub keeper: Option<Line>,
}

/// Runs from where it begins until the epochs end, or a worker fails.
pub fn run(worker: &mut Worker, desk: &Desk, start: Start) {
    let _alarm = Alarm(&desk.published);
    let (index, peers) = (worker.index(), worker.peers());
    let (begin, books) = (start.epoch, start.books.clone());
    let (mut inputs, mut traces) = worker.dataflow(|scope| graph::build(scope, start, index, peers));
    if begin > 0 {
        let snapshots = traces.snapshots(begin);
        traces.forget(begin, begin);
        desk.published.submit(index, begin, begin, &books, snapshots);
    }
    while let Some(epoch) = next_epoch(worker, desk) {
        if !work(worker, desk, &epoch, &mut inputs, &mut traces) {
            return leave(worker);
        }
    }
    drop((inputs, traces));
    // Timely would wait for peers by itself, but also for one that fails only now.
    while worker.has_dataflows() {
        if desk.published.has_stopped() {
            return leave(worker);
        }
        worker.step_or_park(Some(WATCH));
    }
}

/// Leaves what cannot be completed: the peers of a worker that failed wait for what it owes them,
/// and would for ever.
fn leave(worker: &mut Worker) {
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}

/// Says so if a worker fails.
struct Alarm<'a>(&'a Published);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop("a worker failed, which is a fault of ours: the log says where");
        }
    }
}

/// The next epoch; none when there will be none. While it waits it merges what is left to merge.
fn next_epoch(worker: &mut Worker, desk: &Desk) -> Option<Arc<EpochInput>> {
    loop {
        match desk.epochs.recv_timeout(Duration::from_millis(100)) {
            Ok(epoch) => return Some(epoch),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if desk.pace.is_none() => {
                worker.step();
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Computes an epoch and shows it; false if a worker failed meanwhile.
fn work(worker: &mut Worker, desk: &Desk, input: &EpochInput, inputs: &mut Inputs, traces: &mut Traces) -> bool {
    let index = worker.index();
    inputs.feed(input);
    while !traces.have(input.epoch) {
        if desk.published.has_stopped() {
            return false;
        }
        match &desk.pace {
            None => {
                worker.step_or_park(Some(WATCH));
            }
            Some(pace) => {
                pace.turn(index);
                worker.step();
            }
        }
    }
    let snapshots = traces.snapshots(input.epoch);
    traces.forget(input.oldest, input.epoch);
    let keeper = desk.keeper.as_ref().filter(|_| input.is_kept);
    let kept = keeper.map(|keeper| (keeper, Box::new(snapshots.clone())));
    desk.published.submit(index, input.epoch, input.oldest, &input.turn.books, snapshots);
    if let Some((keeper, snapshots)) = kept {
        keeper.tell(Job::Snapshots { worker: index, epoch: input.epoch, snapshots });
    }
    if let Some(pace) = &desk.pace {
        pace.leave(index);
    }
    true
}
