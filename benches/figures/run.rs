//! One run: load a month, compare the totals, then make small changes and time each.

#![expect(clippy::float_arithmetic, reason = "measurements are no money")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trueup::engine::Engine;
use trueup::engine::door::Submission;
use trueup::engine::moment::Moment;
use trueup_connectors::{EventReader, ReadError, read_ndjson};
use trueup_model::usage::EventBatch;
use trueup_sinks::reading::Reading;
use trueup_workload::batches::Batches;
use trueup_workload::events::{Event, Events};
use trueup_workload::feeding::{self, FeedError};
use trueup_workload::machine::{Memory, processor_time};
use trueup_workload::reference::{self, Totals};
use trueup_workload::{cloud_events, totals};

use crate::measured::{Measured, percentile};
use crate::plan::{From, Subject};

/// Events that are made at a time while the clock stands still.
const WINDOW_EVENTS: u64 = 1_000_000;
/// Small epochs that are timed, and their events.
const LIVE_EPOCHS: u64 = 300;
const LIVE_EVENTS: u64 = 1_000;
/// The small epochs after which the totals are compared.
const COMPARED_EPOCHS: u64 = 5;
/// Old events that are corrected, twice each.
const CORRECTIONS: u64 = 200;

/// Why a run has no figure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine did not take the events.
    #[error("the engine did not take what it was fed: {0}")]
    Feed(#[from] FeedError),
    /// The totals are wrong.
    #[error("{subject}: after {events} events the views add up to {found}, but it should be {expected}")]
    Totals {
        /// Which run.
        subject: String,
        /// After how many events.
        events: u64,
        /// What the views say.
        found: String,
        /// What they should say.
        expected: String,
    },
    /// A file could not be written.
    #[error("the file of events could not be written: {0}")]
    Write(#[from] io::Error),
    /// A file could not be read.
    #[error("the file of events could not be read: {0}")]
    Read(#[from] ReadError),
}

/// What was used while something was done.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    processor: Duration,
}

impl Spent {
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, processor) = (Instant::now(), processor_time());
        let outcome = work();
        self.wall += start.elapsed();
        self.processor += processor_time() - processor;
        outcome
    }
}

/// A run that is on its way.
struct Run<'a> {
    subject: &'a Subject,
    events: Events,
    engine: Engine,
    measured: Vec<Measured>,
}

/// Runs a subject in this process.
pub fn run(subject: &Subject) -> Result<Vec<Measured>, RunError> {
    let mut setup = feeding::setup(subject.workers);
    setup.retention.events = subject.retention_events.unwrap_or(setup.retention.events);
    let engine = feeding::start(subject.outputs, setup)?;
    let mut run = Run { subject, events: Events::new(subject.events), engine, measured: Vec::new() };
    run.load()?;
    run.compare(0)?;
    if subject.is_live {
        run.small_epochs()?;
        run.small_corrections()?;
        run.note_memory("live");
    }
    run.note("peak_memory", Memory::now().peak, "MB");
    Ok(run.measured)
}

impl Run<'_> {
    fn note(&mut self, what: &str, value: f64, unit: &str) {
        let name = format!("{}.{what}", self.subject.name());
        self.measured.push(Measured::new(name, value, unit));
    }

    fn load(&mut self) -> Result<(), RunError> {
        let mut spent = Spent::default();
        match self.subject.from {
            From::Batches => self.load_batches(&mut spent)?,
            From::Ndjson => self.load_ndjson(&mut spent)?,
        }
        let (wall, processor) = (spent.wall.as_secs_f64(), spent.processor.as_secs_f64());
        let events = self.subject.events as f64;
        eprintln!(
            "{}: {events} events in {wall:.2} s, {processor:.2} s of processors: {:.2} M/s",
            self.subject.name(),
            events / wall / 1e6
        );
        self.note("load", events / wall, "events/s");
        self.note("load_wall", wall, "s");
        self.note("load_processors", processor, "s");
        self.note_memory("loaded");
        Ok(())
    }

    /// Makes a window of batches while the clock stands still, then feeds it while it runs. The
    /// engine keeps the rows it was given, so nothing of a window is left when it is fed.
    fn load_batches(&self, spent: &mut Spent) -> Result<(), RunError> {
        let (events, epoch_events) = (&self.events, self.subject.epoch_events);
        let window = WINDOW_EVENTS.max(epoch_events);
        for start in (0..events.count()).step_by(window as usize) {
            let numbers = start..(start + window).min(events.count());
            let epochs = feeding::batches(&self.engine, events, numbers, epoch_events, 2);
            spent.on(|| feeding::feed(&self.engine, epochs))?;
        }
        Ok(())
    }

    /// Reads a file on as many threads as there are workers, from its first byte to the last view.
    fn load_ndjson(&self, spent: &mut Spent) -> Result<(), RunError> {
        let path = self.ndjson_file()?;
        spent.on(|| {
            let reader = EventReader::new(self.engine.layouts(), "default", "events.ndjson");
            let mut epoch = Vec::new();
            let mut rows = 0;
            for batch in read_ndjson(File::open(path)?, &reader, self.subject.workers) {
                let batch = batch?;
                rows += batch.rows.len() as u64;
                epoch.push(Submission::Events(batch));
                if rows >= self.subject.epoch_events {
                    self.engine.accept(std::mem::take(&mut epoch)).map_err(FeedError::from)?;
                    rows = 0;
                }
            }
            let last = self.engine.accept(epoch).map_err(FeedError::from)?;
            self.engine.wait(last.epoch).map_err(FeedError::from)?;
            Ok(())
        })
    }

    /// The file of the events; written, once, where the program was built.
    fn ndjson_file(&self) -> io::Result<PathBuf> {
        let built = std::env::current_exe()?;
        let directory = built.ancestors().nth(3).unwrap_or(&built).join("workload");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{}.ndjson", self.events.count()));
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
            (0..self.events.count()).try_for_each(|number| cloud_events::write(&self.events.at(number), &mut file))?;
            file.flush()?;
            std::fs::rename(&unfinished, &path)?;
        }
        Ok(path)
    }

    fn note_memory(&mut self, when: &str) {
        let memory = Memory::now();
        self.note(&format!("{when}_resident"), memory.resident, "MB");
        self.note(&format!("{when}_anonymous"), memory.anonymous, "MB");
    }

    fn compare(&self, after: u64) -> Result<(), RunError> {
        self.equal(after, totals::of(&self.reading()), reference::expected(&self.events, after))
    }

    fn reading(&self) -> Arc<dyn Reading> {
        self.engine.newest()
    }

    fn equal(&self, after: u64, found: Totals, expected: Totals) -> Result<(), RunError> {
        if found == expected {
            return Ok(());
        }
        let (subject, events) = (self.subject.name(), self.subject.events + after);
        Err(RunError::Totals { subject, events, found: found.to_string(), expected: expected.to_string() })
    }

    /// The events that come after the month, a thousand at a time, each epoch waited for.
    fn small_epochs(&mut self) -> Result<(), RunError> {
        let numbers = self.events.count()..self.events.count() + LIVE_EPOCHS * LIVE_EVENTS;
        let mut epochs = feeding::batches(&self.engine, &self.events, numbers, LIVE_EVENTS, 1);
        let others = epochs.split_off(COMPARED_EPOCHS as usize);
        let mut spent = Spent::default();
        let mut waits = spent.on(|| self.each_waited_for(epochs))?;
        self.compare(COMPARED_EPOCHS * LIVE_EVENTS)?;
        waits.extend(spent.on(|| self.each_waited_for(others))?);
        self.note_waits("thousand_events", waits, &spent);
        Ok(())
    }

    /// Old events said anew, one at a time, each waited for. Whatever stood, the second time
    /// each quantity is greater by a thousandth, and so must the whole be.
    fn small_corrections(&mut self) -> Result<(), RunError> {
        let step = self.subject.events / CORRECTIONS;
        let said_anew = |round: u16| {
            let corrected = |number| {
                let quantity = 1000 * (number as i64 % 1_000_000 + i64::from(round));
                self.events.corrected(number, 100 + round, quantity)
            };
            self.single((0..CORRECTIONS).map(|k| corrected(k * step)))
        };
        let (first, second) = (said_anew(1), said_anew(2));
        let mut spent = Spent::default();
        let mut waits = spent.on(|| self.each_waited_for(first))?;
        let before = totals::charged_quantity(&self.reading());
        waits.extend(spent.on(|| self.each_waited_for(second))?);
        let (grown, expected) = (totals::charged_quantity(&self.reading()) - before, 1000 * i128::from(CORRECTIONS));
        let of = |quantity| Totals { quantity, ..Totals::default() };
        self.equal(LIVE_EPOCHS * LIVE_EVENTS, of(grown), of(expected))?;
        self.note_waits("correction", waits, &spent);
        Ok(())
    }

    fn single(&self, events: impl Iterator<Item = Event>) -> Vec<EventBatch> {
        let mut batches = Batches::new(&self.engine.layouts());
        events.map(|event| batches.batch(std::iter::once(event))).collect()
    }

    /// Milliseconds from handing each epoch over until all views can be read as of it.
    fn each_waited_for(&self, epochs: Vec<EventBatch>) -> Result<Vec<f64>, FeedError> {
        let wait = |batch: EventBatch| {
            let start = Instant::now();
            let moment: Arc<Moment> = feeding::feed(&self.engine, vec![batch])?;
            let waited = start.elapsed().as_secs_f64() * 1e3;
            drop(moment);
            Ok(waited)
        };
        epochs.into_iter().map(wait).collect()
    }

    fn note_waits(&mut self, what: &str, mut waits: Vec<f64>, spent: &Spent) {
        let processor = spent.processor.as_secs_f64() * 1e3 / waits.len() as f64;
        let (median, high) = (percentile(&mut waits, 50), percentile(&mut waits, 99));
        eprintln!(
            "{}: {what} p50 {median:.3} ms, p99 {high:.3} ms, {processor:.3} ms of processors",
            self.subject.name()
        );
        self.note(&format!("{what}_p50"), median, "ms");
        self.note(&format!("{what}_p99"), high, "ms");
        self.note(&format!("{what}_processors"), processor, "ms");
    }
}
