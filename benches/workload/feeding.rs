//! An engine with the workload's catalog, and epochs of its events.

use std::ops::Range;
use std::sync::Arc;

use trueup::engine::clock::Clock;
use trueup::engine::door::{DoorError, Submission};
use trueup::engine::moment::Moment;
use trueup::engine::publication::Stopped;
use trueup::engine::{Engine, Setup};
use trueup_model::fact::Epoch;
use trueup_model::usage::EventBatch;

use crate::batches::Batches;
use crate::catalog::{self, MONTH_END, Outputs};
use crate::events::Events;

/// Why an engine did not take what it was fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The door refused it.
    #[error("the engine refused an epoch")]
    Door(#[from] DoorError),
    /// The workers are gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// An engine's set-up with so many workers, and everything else as it is by default.
pub fn setup(workers: usize) -> Setup {
    Setup { workers, clock: Clock::Told, ..Setup::default() }
}

/// Starts an engine on the last moment of the month, with the catalog and no events.
pub fn start(outputs: Outputs, setup: Setup) -> Result<Engine, FeedError> {
    let engine = Engine::start(setup);
    let beginning = vec![Submission::Clock(MONTH_END), Submission::Catalog(catalog::changes(outputs))];
    let receipt = engine.accept(beginning)?;
    engine.wait(receipt.epoch)?;
    Ok(engine)
}

/// The events of these numbers, cut into batches of `epoch_events`. Makes them on `threads`
/// threads.
pub fn batches(
    engine: &Engine,
    events: &Events,
    numbers: Range<u64>,
    epoch_events: u64,
    threads: usize,
) -> Vec<EventBatch> {
    let layouts = engine.layouts();
    let starts: Vec<u64> = numbers.clone().step_by(epoch_events as usize).collect();
    let share = starts.len().div_ceil(threads).max(1);
    let make = |starts: &[u64]| -> Vec<EventBatch> {
        let mut batches = Batches::new(&layouts);
        let epoch = |start: u64| start..(start + epoch_events).min(numbers.end);
        starts.iter().map(|&start| batches.batch(epoch(start).map(|number| events.at(number)))).collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = starts.chunks(share).map(|starts| scope.spawn(move || make(starts))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("events can be made")).collect()
    })
}

/// Has a batch accepted as an epoch; gives its number.
pub fn accept(engine: &Engine, batch: EventBatch) -> Result<Epoch, FeedError> {
    Ok(engine.accept(vec![Submission::Events(batch)])?.epoch)
}

/// Has each batch accepted as an epoch, one behind the other, and waits for the last.
pub fn feed(engine: &Engine, epochs: Vec<EventBatch>) -> Result<Arc<Moment>, FeedError> {
    let mut last = engine.newest().epoch();
    for batch in epochs {
        last = accept(engine, batch)?;
    }
    Ok(engine.wait(last)?)
}
