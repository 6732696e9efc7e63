//! What an epoch costs an engine that holds little: the least there is to pay for publishing,
//! and what each event adds.

use std::cell::Cell;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trueup::engine::Engine;
use trueup_model::usage::EventBatch;
use trueup_workload::catalog::Outputs;
use trueup_workload::events::Events;
use trueup_workload::feeding;

/// Events that are there before the first epoch is timed.
const HELD_EVENTS: u64 = 100_000;

fn epochs(criterion: &mut Criterion) {
    for (outputs, workers) in [(Outputs::Core, 1), (Outputs::Core, 2), (Outputs::All, 2)] {
        let events = Events::new(HELD_EVENTS);
        let engine = feeding::start(outputs, feeding::setup(workers)).expect("the engine starts");
        let held = feeding::batches(&engine, &events, 0..HELD_EVENTS, HELD_EVENTS, 1);
        feeding::feed(&engine, held).expect("the engine takes events");
        let next = Cell::new(HELD_EVENTS);
        let mut group = criterion.benchmark_group(format!("epoch, {outputs:?} outputs, {workers} workers"));
        group.sample_size(20);
        for epoch_events in [1, 100, 10_000] {
            group.throughput(Throughput::Elements(epoch_events));
            group.bench_function(BenchmarkId::from_parameter(epoch_events), |bench| {
                let make = || following(&engine, &events, &next, epoch_events);
                let feed = |epoch| feeding::feed(&engine, epoch).expect("the engine takes events");
                bench.iter_batched(make, feed, BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

/// An epoch of events that the engine has not seen.
fn following(engine: &Engine, events: &Events, next: &Cell<u64>, count: u64) -> Vec<EventBatch> {
    let start = next.replace(next.get() + count);
    feeding::batches(engine, events, start..start + count, count, 1)
}

criterion_group!(benches, epochs);
criterion_main!(benches);
