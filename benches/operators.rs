//! What single steps cost, without a dataflow around them: one event, one price, one number.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trueup_connectors::EventReader;
use trueup_model::catalog::Catalog;
use trueup_model::decimal;
use trueup_model::dictionary::Dictionary;
use trueup_model::layout::Layouts;
use trueup_model::metering::Metering;
use trueup_model::money::ONE;
use trueup_model::price::{Price, Tier};
use trueup_model::pricing;
use trueup_model::usage::{EventBatch, UsageBatch};
use trueup_operators::event_index::EventIndex;
use trueup_workload::batches::Batches;
use trueup_workload::catalog::{self, Outputs};
use trueup_workload::cloud_events;
use trueup_workload::events::Events;

/// Events in what is measured at a time.
const EVENTS: u64 = 100_000;

/// The layouts by which the workload's events are read.
fn layouts(outputs: Outputs) -> Arc<Layouts> {
    let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
    for change in catalog::changes(outputs) {
        catalog.apply(change, &mut dictionary).expect("the workload's catalog makes sense");
    }
    catalog.layouts().clone()
}

fn making_events(criterion: &mut Criterion) {
    let (events, layouts) = (Events::new(EVENTS), layouts(Outputs::All));
    let mut group = criterion.benchmark_group("workload");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("make a batch", |bench| {
        let mut batches = Batches::new(&layouts);
        bench.iter(|| batches.batch((0..EVENTS).map(|number| events.at(number))));
    });
    group.finish();
}

fn index(criterion: &mut Criterion) {
    let batch = usage(&Events::new(EVENTS), 0);
    let (metering, fresh) = (Metering::default(), EventIndex::in_memory);
    let observe = |index: &mut EventIndex| {
        for place in 0..EVENTS as u32 {
            black_box(index.observe(&batch, place, 0, &metering));
        }
    };
    let mut group = criterion.benchmark_group("event index");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("observe into an empty one", |bench| {
        bench.iter_batched(fresh, |mut index| observe(&mut index), BatchSize::LargeInput);
    });
    group.bench_function("observe what it knows", |bench| {
        let mut index = fresh();
        observe(&mut index);
        bench.iter(|| observe(&mut index));
    });
    group.finish();
}

/// The events as they leave the door.
fn usage(events: &Events, first_row: u64) -> Arc<UsageBatch> {
    let EventBatch { rows, wide, ids, .. } =
        Batches::new(&layouts(Outputs::Core)).batch((0..events.count()).map(|number| events.at(number)));
    Arc::new(UsageBatch { first_row, rows, wide, ids, ..UsageBatch::default() })
}

fn prices(criterion: &mut Criterion) {
    let tier = |up_to: Option<i128>, unit| Tier { up_to: up_to.map(|units| units * ONE), unit, flat: 0 };
    let tiers = vec![tier(Some(1_000), ONE / 200), tier(Some(100_000), ONE / 500), tier(None, ONE / 1_000)];
    let models = [
        ("per unit", Price::PerUnit { unit: ONE / 100 }),
        ("graduated", Price::Graduated { tiers: tiers.clone() }),
        ("volume", Price::Volume { tiers }),
        ("package", Price::Package { size: 1_000 * ONE, price: ONE }),
    ];
    let quantities: Vec<i128> = (0..1_000).map(|k| i128::from(k) * 317 * ONE + ONE / 8).collect();
    let mut group = criterion.benchmark_group("price");
    group.throughput(Throughput::Elements(quantities.len() as u64));
    for (name, price) in models {
        let rate = |quantity: &i128| pricing::rate(&price, *quantity).expect("the amount can be kept");
        group.bench_function(name, |bench| bench.iter(|| quantities.iter().map(rate).sum::<i128>()));
    }
    group.finish();
}

fn texts(criterion: &mut Criterion) {
    let events = Events::new(EVENTS);
    let lines: Vec<Vec<u8>> = (0..10_000).map(|number| line(&events, number)).collect();
    let decimals: Vec<String> = (0..10_000).map(|number| decimal::show(events.at(number).quantity.into(), 6)).collect();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("decimals", |bench| {
        let parse = |text: &String| decimal::parse(text, 6).expect("it is a decimal");
        bench.iter(|| decimals.iter().map(parse).sum::<i128>());
    });
    for (name, outputs) in
        [("events with a quantity", Outputs::Core), ("events with a quantity and a user", Outputs::All)]
    {
        let mut reader = EventReader::new(layouts(outputs), "default", "memory");
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut batch = reader.batch();
                lines.iter().for_each(|line| reader.read_line(line, "a line", &mut batch));
                assert_eq!(batch.len(), lines.len());
                batch.finish()
            });
        });
    }
    group.finish();
}

fn line(events: &Events, number: u64) -> Vec<u8> {
    let mut line = Vec::new();
    cloud_events::write(&events.at(number), &mut line).expect("memory takes it");
    line.pop();
    line
}

criterion_group!(benches, making_events, index, prices, texts);
criterion_main!(benches);
