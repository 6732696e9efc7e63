//! What a journal on a disk costs, and what a restart after a kill does: as JSON lines on standard
//! output and as sentences beside them.
//!
//! Each part of a run is a process of its own: one loads the month with a journal that is synced at
//! each epoch and with checkpoints, and is killed by itself; the next begins again. Without equal
//! totals there is no figure. What each figure means is in `benches/README.md`.

#![expect(clippy::float_arithmetic, reason = "measurements are no money")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use trueup::engine::checkpoints;
use trueup::engine::door::Submission;
use trueup::engine::view_rows::Cell;
use trueup::engine::{Engine, Setup};
use trueup_connectors::journal::{FileJournal, Folder, Settings};
use trueup_connectors::{EventReader, read_ndjson};
use trueup_sinks::reading::Reading;
use trueup_sinks::view::View;
use trueup_workload::catalog::{self, MONTH_END, Outputs};
use trueup_workload::events::Events;
use trueup_workload::machine::{Machine, Memory};
use trueup_workload::{cloud_events, feeding, reference, totals};

/// Events that are made at a time while the clock stands still.
const WINDOW_EVENTS: u64 = 1_000_000;
/// Windows that rates are compared by, each a share of all events.
const SHARES: u64 = 10;
/// Events of which the totals are known or worked out; beyond, the number of events is compared.
const TOTALS_MAX: u64 = 20_000_000;

type Failed = Box<dyn Error>;

/// Measures a journal on a disk, and a restart.
#[derive(Parser)]
struct Arguments {
    /// How many events the month has.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// How many of them, the last, come after the last checkpoint.
    #[arg(long, default_value_t = 1_000_000)]
    after: u64,
    /// How many events an epoch has.
    #[arg(long, default_value_t = 100_000)]
    epoch_events: u64,
    /// How many workers compute.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// How many rows come before they are put away.
    #[arg(long, default_value_t = 16_000_000)]
    hot_rows: usize,
    /// After how many events a checkpoint is made.
    #[arg(long, default_value_t = 20_000_000)]
    checkpoint_events: u64,
    /// Where the journal is to lie; it is emptied before.
    #[arg(long, default_value = "target/durable")]
    folder: PathBuf,
    /// Reads the events from a file of CloudEvents in JSON, instead of taking them as they are made.
    #[arg(long)]
    ndjson: bool,
    /// Which part this process is.
    #[arg(long, hide = true)]
    part: Option<String>,
    /// Given by `cargo bench`; without it a few events are run through, as a test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if !arguments.bench && arguments.part.is_none() {
        (arguments.events, arguments.after, arguments.hot_rows) = (20_000, 2_000, 3_000);
        (arguments.epoch_events, arguments.checkpoint_events) = (1_000, 5_000);
    }
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failed> {
    match arguments.part.as_deref() {
        Some("load") => return load(arguments),
        Some(_) => return restart(arguments),
        None => {}
    }
    if arguments.folder.exists() {
        std::fs::remove_dir_all(&arguments.folder)?;
    }
    let machine = Machine::this();
    eprintln!("{}, commit {}", machine.name, machine.commit);
    // The first ends as if it were killed, the second as it should.
    for (part, ends_well) in [("load", false), ("restart", true)] {
        let output = alone(arguments, part)?;
        if output.status.success() != ends_well {
            return Err(format!("the part `{part}` did not end as it should").into());
        }
        let figures = String::from_utf8_lossy(&output.stdout).into_owned();
        for figure in figures.lines() {
            let (name, value, unit): (String, f64, String) = serde_json::from_str(figure)?;
            let line = json!({
                "figure": name, "value": value, "unit": unit, "events": arguments.events, "workers": arguments.workers,
                "epoch_events": arguments.epoch_events, "hot_rows": arguments.hot_rows, "runs": 1,
                "commit": machine.commit, "machine": machine.name,
            });
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    std::fs::remove_dir_all(&arguments.folder)?;
    Ok(())
}

/// Runs a part in a process of its own.
fn alone(arguments: &Arguments, part: &str) -> Result<std::process::Output, Failed> {
    let Arguments { events, after, epoch_events, workers, hot_rows, checkpoint_events, folder, .. } = arguments;
    let mut command = Command::new(std::env::current_exe()?);
    let numbers = [
        ("--events", events),
        ("--after", after),
        ("--epoch-events", epoch_events),
        ("--workers", &(*workers as u64)),
        ("--hot-rows", &(*hot_rows as u64)),
        ("--checkpoint-events", checkpoint_events),
    ];
    for (name, number) in numbers {
        command.args([name, &number.to_string()]);
    }
    command.arg("--folder").arg(folder).args(["--part", part]);
    if arguments.ndjson {
        command.arg("--ndjson");
    }
    Ok(command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?)
}

fn note(name: &str, value: f64, unit: &str) {
    eprintln!("{name:<26} {value:>14.3} {unit}");
    println!("{}", json!([name, value, unit]));
}

/// An engine on what is in the folder.
fn begin(arguments: &Arguments) -> Result<Engine, Failed> {
    let (journal, _) = FileJournal::open(&arguments.folder, Settings::default())?;
    let disk = Arc::new(Folder::new(arguments.folder.join("checkpoints"))?);
    let kept = checkpoints::Settings { hot_rows_max: arguments.hot_rows, ..checkpoints::Settings::on(disk) };
    let setup = Setup { journal: Box::new(journal), checkpoints: Some(kept), ..feeding::setup(arguments.workers) };
    Ok(Engine::resume(setup, |_| {})?)
}

/// Loads the month, and ends as if it were killed.
fn load(arguments: &Arguments) -> Result<(), Failed> {
    let engine = begin(arguments)?;
    engine.accept(vec![Submission::Clock(MONTH_END), Submission::Catalog(catalog::changes(Outputs::Core))])?;
    let events = Events::new(arguments.events);
    let kept_until = arguments.events - arguments.after;
    let share = arguments.events / SHARES;
    let (mut spent, mut rates, mut unkept) = (Duration::ZERO, Vec::new(), 0);
    let (mut in_share, mut spent_before) = (0, Duration::ZERO);
    let mut start = 0;
    while start < events.count() {
        let end = (start + WINDOW_EVENTS.min(share)).min(events.count());
        // No window begins before the last checkpoint and ends after it.
        let end = if start < kept_until { end.min(kept_until) } else { end };
        spent += match arguments.ndjson {
            true => feed_lines(&engine, arguments, &events, start..end)?,
            false => feed_batches(&engine, arguments, &events, start..end)?,
        };
        let clock = Instant::now();
        unkept += end - start;
        if end == kept_until || (unkept >= arguments.checkpoint_events && end < kept_until) {
            engine.checkpoint()?;
            unkept = 0;
        }
        spent += clock.elapsed();
        in_share += end - start;
        if in_share >= share {
            let rate = in_share as f64 / (spent - spent_before).as_secs_f64();
            eprintln!("{end:>12} events: {rate:.0} events/s, {:.0} MB resident", Memory::now().resident);
            rates.push(rate);
            (in_share, spent_before) = (0, spent);
        }
        start = end;
    }
    compare(&engine, &events)?;
    let from = if arguments.ndjson { "durable_load_ndjson" } else { "durable_load" };
    note(from, events.count() as f64 / spent.as_secs_f64(), "events/s");
    note("first_share", rates[0], "events/s");
    note("last_share", rates[rates.len() - 1], "events/s");
    note("loaded_resident", Memory::now().resident, "MB");
    note("peak_memory", Memory::now().peak, "MB");
    let (rows, all) = (folder_megabytes(&arguments.folder.join("checkpoints")), folder_megabytes(&arguments.folder));
    note("checkpoints_on_disk", rows, "MB");
    note("journal_on_disk", all, "MB");
    wait_for_checkpoint(arguments)?;
    std::io::stdout().flush()?;
    // As by a kill: nothing is told to anybody.
    std::process::abort();
}

/// Feeds events as they are made; gives how long it took until the last could be seen.
fn feed_batches(
    engine: &Engine,
    arguments: &Arguments,
    events: &Events,
    numbers: Range<u64>,
) -> Result<Duration, Failed> {
    let epochs = feeding::batches(engine, events, numbers, arguments.epoch_events, 2);
    let clock = Instant::now();
    feeding::feed(engine, epochs)?;
    Ok(clock.elapsed())
}

/// The same from lines of a file, which is in the page cache: on as many reading threads as there are
/// workers, from its first byte.
fn feed_lines(
    engine: &Engine,
    arguments: &Arguments,
    events: &Events,
    numbers: Range<u64>,
) -> Result<Duration, Failed> {
    let path = arguments.folder.with_extension("ndjson");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    numbers.into_iter().try_for_each(|number| cloud_events::write(&events.at(number), &mut file))?;
    file.into_inner()?;
    let clock = Instant::now();
    let reader = EventReader::new(engine.layouts(), "default", "events.ndjson");
    let (mut epoch, mut rows, mut last) = (Vec::new(), 0, 0);
    for batch in read_ndjson(File::open(&path)?, &reader, arguments.workers) {
        let batch = batch?;
        rows += batch.rows.len() as u64;
        epoch.push(Submission::Events(batch));
        if rows >= arguments.epoch_events {
            last = engine.accept(std::mem::take(&mut epoch))?.epoch;
            rows = 0;
        }
    }
    if !epoch.is_empty() {
        last = engine.accept(epoch)?.epoch;
    }
    engine.wait(last)?;
    let spent = clock.elapsed();
    std::fs::remove_file(&path)?;
    Ok(spent)
}

/// Waits until there is a checkpoint of the epoch that was to be the last.
fn wait_for_checkpoint(arguments: &Arguments) -> Result<(), Failed> {
    let size = || folder_megabytes(&arguments.folder.join("checkpoints"));
    let mut before = -1.0;
    while (size() - before).abs() > f64::EPSILON {
        before = size();
        std::thread::sleep(Duration::from_secs(3));
    }
    Ok(())
}

fn restart(arguments: &Arguments) -> Result<(), Failed> {
    let clock = Instant::now();
    let engine = begin(arguments)?;
    note("restart", clock.elapsed().as_secs_f64(), "s");
    note("restarted_resident", Memory::now().resident, "MB");
    let events = Events::new(arguments.events);
    compare(&engine, &events)?;
    note("hourly_groups", engine.newest().rows_about(View::Usage) as f64, "groups");
    engine.stop();
    Ok(())
}

/// Whether the views add up to what they should.
fn compare(engine: &Engine, events: &Events) -> Result<(), Failed> {
    let moment = engine.newest();
    if events.count() <= TOTALS_MAX {
        let reading: Arc<dyn Reading> = moment;
        let (found, expected) = (totals::of(&reading), reference::expected(events, 0));
        return if found == expected { Ok(()) } else { Err(format!("{found} instead of {expected}").into()) };
    }
    let accepted = moment.rows(View::Ledger).into_iter().find_map(|row| match &row[..] {
        [Cell::Text(state), Cell::Integer(count)] if **state == *"received" => Some(*count as u64),
        _ => None,
    });
    let count = events.count();
    if accepted == Some(count) { Ok(()) } else { Err(format!("{accepted:?} events instead of {count}").into()) }
}

fn folder_megabytes(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes: u64 =
        files.filter_map(|file| file.metadata().ok()).filter(|file| file.is_file()).map(|file| file.len()).sum();
    bytes as f64 / 1e6
}
