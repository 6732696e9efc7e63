//! `with-dbsp EVENTS COUNT WORKERS`: the same outputs on dbsp, the engine of Feldera.
//!
//! Loads in epochs of 100,000 events, then takes five thousand events a thousand at a time.
//! The events lie in memory before the clock starts; making rows of them is within the clock.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use dbsp::Runtime;
use dbsp::typed_batch::IndexedZSetReader;
use dbsp::utils::{Tup2, Tup4};

#[global_allocator]
static ALLOCATOR: dbsp::mimalloc::MiMalloc = dbsp::mimalloc::MiMalloc;

const EVENT_BYTES: usize = 48;

/// The identity of an event.
type Key = Tup2<u64, u64>;
/// Revision, whether it is a retraction, packed group, quantity.
type Statement = Tup4<i32, i32, u64, i64>;

/// Customer, meter, dimensions and hour in one word, and the row.
fn row(event: &[u8]) -> Tup2<Key, Tup2<Statement, i64>> {
    let word = |at: usize| u64::from_le_bytes(event[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u64::from(u32::from_le_bytes(event[at..at + 4].try_into().expect("four bytes")));
    let cell = u64::from(event[40]) + 4 * (u64::from(event[41]) + 3 * u64::from(event[42]));
    let group = half(28) << 32 | u64::from(event[38]) << 24 | cell << 16 | half(24) / 3600;
    let revision = i32::from(u16::from_le_bytes([event[36], event[37]]));
    let statement = Tup4(revision, i32::from(event[39]), group, word(16) as i64);
    Tup2(Tup2(word(0), word(8)), Tup2(statement, 1))
}

/// Customer and meter of a packed group.
fn monthly(group: u64) -> u32 {
    (((group >> 32) << 3) | ((group >> 24) & 7)) as u32
}

fn charge(monthly: u32, quantity: i64) -> i64 {
    let (first, second) = (1_000_000_000, 100_000_000_000);
    let by_tiers = quantity.min(first) * 5 + (quantity.min(second) - first).max(0) * 3 + (quantity - second).max(0);
    (by_tiers * (i64::from(monthly & 7) + 1) + 5_000_000) / 10_000_000
}

fn credit(customer: u32, owed: i64) -> i64 {
    if customer % 7 == 0 { owed.min(5000) } else { 0 }
}

fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) * 1.024e-3
}

fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    numbers.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).context("which file of events?")?;
    let count: usize = arguments.get(2).context("how many events?")?.parse()?;
    let workers: usize = arguments.get(3).context("how many workers?")?.parse()?;
    let bytes = fs::read(path)?;
    let (month, later) = bytes.split_at(count * EVENT_BYTES);

    let (mut circuit, (input, hourly, charges, invoices)) = Runtime::init_circuit(workers, |circuit| {
        let (statements, input) = circuit.add_input_indexed_zset::<Key, Statement>();
        let standing = statements.distinct().topk_desc(1).filter(|(_, statement)| statement.1 == 0);
        let hourly = standing.map_index(|(_, s)| (s.2, s.3)).aggregate_linear(|quantity| Tup2(1i64, *quantity));
        let month = standing.map_index(|(_, s)| (monthly(s.2), s.3)).aggregate_linear(|quantity| *quantity);
        let charges = month.map_index(|(monthly, quantity)| (*monthly, charge(*monthly, *quantity)));
        let owed = charges.map_index(|(monthly, cents)| (*monthly >> 3, *cents)).aggregate_linear(|cents| *cents);
        let invoices = owed.map_index(|(customer, owed)| (*customer, *owed - credit(*customer, *owed)));
        Ok((input, hourly.accumulate_output(), charges.accumulate_output(), invoices.accumulate_output()))
    })?;
    let mut totals = [0i64; 4];
    let mut feed = |events: &[u8]| -> Result<[i64; 4]> {
        input.append(&mut events.chunks_exact(EVENT_BYTES).map(row).collect());
        circuit.transaction()?;
        for (_, Tup2(_, quantity), weight) in hourly.concat().consolidate().iter() {
            totals[0] += weight;
            totals[1] += quantity * weight;
        }
        totals[2] += charges.concat().consolidate().iter().map(|(_, cents, weight)| cents * weight).sum::<i64>();
        totals[3] += invoices.concat().consolidate().iter().map(|(_, cents, weight)| cents * weight).sum::<i64>();
        Ok(totals)
    };

    let (start, used) = (Instant::now(), processor_seconds());
    let mut loaded = [0; 4];
    for epoch in month.chunks(100_000 * EVENT_BYTES) {
        loaded = feed(epoch)?;
    }
    let (load_seconds, load_processor_seconds) = (start.elapsed().as_secs_f64(), processor_seconds() - used);
    let mut refreshes = Vec::new();
    let mut refreshed = loaded;
    for epoch in later[..5000 * EVENT_BYTES].chunks(1000 * EVENT_BYTES) {
        let start = Instant::now();
        refreshed = feed(epoch)?;
        refreshes.push(start.elapsed().as_secs_f64());
    }
    refreshes.sort_by(f64::total_cmp);
    let report = serde_json::json!({
        "engine": "dbsp 0.349.0",
        "load_seconds": load_seconds,
        "load_processor_seconds": load_processor_seconds,
        "load_totals": loaded,
        "refresh_seconds": refreshes[refreshes.len() / 2],
        "refresh_totals": refreshed,
        "peak_megabytes": status("VmHWM") - bytes.len() as f64 / 1e6,
    });
    println!("{report}");
    // Its threads need not be waited for.
    std::process::exit(0)
}
