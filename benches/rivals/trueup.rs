//! `with-trueup EVENTS COUNT WORKERS`: trueup on the same file, measured as its rivals are.
//!
//! Loads in epochs of 100,000 events, then takes five thousand events a thousand at a time.
//! The events lie in memory before the clock starts; making batches of them is within the clock.

#![expect(clippy::float_arithmetic, reason = "measurements are no money")]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use trueup_sinks::reading::Reading;
use trueup_workload::batches::Batches;
use trueup_workload::catalog::Outputs;
use trueup_workload::events::Event;
use trueup_workload::machine::{Memory, processor_time};
use trueup_workload::reference::Totals;
use trueup_workload::{feeding, totals};

/// Measures trueup on a file of events.
#[derive(Parser)]
struct Arguments {
    /// The file.
    events: PathBuf,
    /// How many of its events are loaded.
    count: usize,
    /// How many workers.
    workers: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let bytes = fs::read(&arguments.events)?;
    let (month, later) = bytes.split_at(arguments.count * Event::BYTES);
    let engine = feeding::start(Outputs::Core, feeding::setup(arguments.workers))?;
    let mut batches = Batches::new(&engine.layouts());
    let mut batch = |bytes: &[u8]| {
        let event = |bytes: &[u8]| Event::from_bytes(bytes.try_into().expect("events have one length"));
        batches.batch(bytes.chunks_exact(Event::BYTES).map(event))
    };

    let (start, used) = (Instant::now(), processor_time());
    let mut last = engine.newest().epoch();
    for epoch in month.chunks(100_000 * Event::BYTES) {
        last = feeding::accept(&engine, batch(epoch))?;
    }
    let loaded = engine.wait(last)?;
    let (wall, processors) = (start.elapsed(), processor_time() - used);
    let loaded: Arc<dyn Reading> = loaded;
    let load_totals = totals::of(&loaded);
    drop(loaded);

    let mut refreshes = Vec::new();
    for epoch in later[..5_000 * Event::BYTES].chunks(1_000 * Event::BYTES) {
        let start = Instant::now();
        let epoch = feeding::accept(&engine, batch(epoch))?;
        engine.wait(epoch)?;
        refreshes.push(start.elapsed().as_secs_f64());
    }
    refreshes.sort_by(f64::total_cmp);
    let refreshed: Arc<dyn Reading> = engine.newest();
    let json = |totals: Totals| totals.to_string().replace('(', "[").replace(')', "]");
    println!(
        "{{\"engine\": \"trueup\", \"load_seconds\": {}, \"load_processor_seconds\": {}, \"load_totals\": {}, \
         \"refresh_seconds\": {}, \"refresh_totals\": {}, \"peak_megabytes\": {}}}",
        wall.as_secs_f64(),
        processors.as_secs_f64(),
        json(load_totals),
        refreshes[refreshes.len() / 2],
        json(totals::of(&refreshed)),
        Memory::now().peak - bytes.len() as f64 / 1e6,
    );
    Ok(())
}
