//! The engine: the only part that starts threads and knows every other.
//!
//! ```text
//!   submissions ── door ── journal ── workers ── moments ── readers
//!                  checks             compute    published as of one epoch
//! ```
//! The door accepts an epoch at a time; each worker computes its share of it; when all have,
//! the moment is published. A reader that holds a moment holds nothing up.

mod catalog_rows;
mod changes;
pub mod checkpoints;
pub mod clock;
pub mod door;
mod graph;
pub mod intake;
pub mod issue;
mod kept;
mod ledger_rows;
pub mod moment;
pub mod nearest;
pub mod oracle_rows;
pub mod publication;
pub mod puts;
pub mod quarantine;
mod quarantine_rows;
pub mod recovery;
pub mod retention;
mod set_aside;
mod usage_rows;
pub mod view_rows;
pub mod worker;

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use trueup_connectors::journal::{Journal, JournalError, MemoryJournal, SealedSegment};
use trueup_model::books::Books;
use trueup_model::fact::{Document, Epoch};
use trueup_model::grain::Micros;
use trueup_model::layout::Layouts;

use checkpoints::{Keeper, Kept, Line, Loaded};
use clock::{Clock, Timekeeper};
use door::{Acceptance, Accepted, Ahead, Door, DoorError, Plan, Receipt, Submission};
use graph::{EpochInput, Start};
use moment::Moment;
use publication::{Published, Stopped};
use retention::Retention;
use worker::{Desk, Pace};

/// The most workers that make sense: more than a machine has threads.
pub const WORKERS_MAX: usize = 256;

/// How an engine is set up.
pub struct Setup {
    /// How many workers compute; one thread each.
    pub workers: usize,
    /// Where time comes from.
    pub clock: Clock,
    /// Until when the machine's clock is right, however far that is from where the journal ends: the
    /// operator says so. 0: nobody does.
    pub clock_trusted_until: Micros,
    /// For how long back changes can be told and views be read.
    pub retention: Retention,
    /// Which times events may have.
    pub acceptance: Acceptance,
    /// Where accepted facts are kept.
    pub journal: Box<dyn Journal>,
    /// Where checkpoints are kept; none: everything stays in memory, and is computed again after a
    /// restart. They are of use only with a journal whose entries are sealed.
    pub checkpoints: Option<checkpoints::Settings>,
    /// Orders the workers' steps, in tests.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            workers: 1,
            clock: Clock::Wall,
            clock_trusted_until: 0,
            retention: Retention::default(),
            acceptance: Acceptance::default(),
            journal: Box::new(MemoryJournal::default()),
            checkpoints: None,
            pace: None,
        }
    }
}

/// A running engine.
pub struct Engine {
    door: Mutex<Door>,
    /// The books of the last accepted epoch: whoever asks for them need not wait at the door.
    accepted: Accepted,
    published: Arc<Published>,
    /// The workers, and who makes their checkpoints.
    running: Mutex<Option<(JoinHandle<()>, Option<Keeper>)>>,
}

impl Engine {
    /// Starts an engine on the state that its journal tells: takes the newest checkpoint that can be
    /// used, computes what came after it again, tells of each epoch, and returns when the last can
    /// be read.
    pub fn resume(setup: Setup, told: impl FnMut(Epoch)) -> Result<Engine, DoorError> {
        let workers = setup.workers.max(1);
        let load = |settings| checkpoints::load(settings, &*setup.journal, workers);
        let loaded = setup.checkpoints.as_ref().map(load).transpose()?.flatten();
        let engine = Engine::begin(setup, loaded)?;
        engine.door().compute_again(told)?;
        engine.wait(engine.last())?;
        Ok(engine)
    }

    /// Starts an engine with empty books on an empty journal.
    ///
    /// # Panics
    ///
    /// If checkpoints are to be kept and their disk does not let that begin; `resume` says so instead.
    pub fn start(setup: Setup) -> Engine {
        Engine::begin(setup, None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn begin(setup: Setup, loaded: Option<Loaded>) -> Result<Engine, DoorError> {
        let workers = setup.workers.max(1);
        let begin = loaded.as_ref().map_or(0, |loaded| loaded.manifest.epoch);
        let published = Arc::new(Published::new(workers, begin, setup.journal.read_back()));
        // One epoch waits while one is computed: enough to keep workers busy, and a full queue
        // holds back whoever submits.
        let (senders, receivers) = (0..workers).map(|_| sync_channel(1)).unzip();
        let accepted = Accepted::default();
        let clock = Timekeeper::new(setup.clock, setup.clock_trusted_until);
        let mut door = Door::new(setup.journal, senders, clock, setup.acceptance, setup.retention, accepted.clone());
        let (mut starts, mut kept) = (Vec::new(), Kept::default());
        if let Some(loaded) = loaded {
            door.restore(&loaded.manifest, &loaded.outline)?;
            (starts, kept) = (loaded.starts, loaded.kept);
        }
        let keeper = setup.checkpoints.map(|settings| Keeper::start(&settings, workers, kept)).transpose();
        let keeper = keeper.map_err(|source| JournalError::Disk { doing: "begin the checkpoints of", source })?;
        keeper.iter().for_each(|keeper| door.keep(keeper.line()));
        starts.resize_with(workers, Start::default);
        let (books, metering) = door.state();
        for (worker, start) in starts.iter_mut().enumerate() {
            start.books = books.clone();
            start.contradictions = door.contradictions().clone();
            let before = start.quarantine.run.iter().flat_map(|run| run.updates());
            for ((record, ()), _, times) in before {
                start.contradictions.count(record, *times);
                if let Some(known) = record.contradiction() {
                    start.metering.known.unsettled.put(known);
                }
            }
            start.metering.known.metering = metering.clone();
            let archive = keeper.as_ref().map(|keeper| keeper.archive(worker, published.clone()));
            start.metering.known.archive = archive.map(|archive| Box::new(archive) as _);
        }
        let line = keeper.as_ref().map(Keeper::line);
        let desks = Desks { receivers, starts, published: published.clone(), pace: setup.pace, keeper: line };
        let stopped = published.clone();
        let runtime = std::thread::Builder::new().name("workers".to_owned()).spawn(move || {
            let outcome = desks.run();
            stopped.stop(outcome.as_ref().err().map_or("it was told to", String::as_str));
        });
        let runtime = runtime.expect("a thread can be started");
        Ok(Engine { door: Mutex::new(door), accepted, published, running: Mutex::new(Some((runtime, keeper))) })
    }

    /// Accepts submissions as one epoch, all or none. Returns when they are in the journal and
    /// handed to the workers; `wait` for the epoch to see them in the views. What a backfill needs of the journal is
    /// read before, while others are accepted.
    pub fn accept(&self, submissions: Vec<Submission>) -> Result<Receipt, DoorError> {
        let ahead = self.read_ahead(&submissions)?;
        self.accept_at(&mut self.door(), submissions, ahead)
    }

    /// Reads what a backfill needs of the journal, if there is one among these.
    fn read_ahead(&self, submissions: &[Submission]) -> Result<Option<Ahead>, DoorError> {
        let is_backfill = |one: &Submission| matches!(one, Submission::Backfill(_) | Submission::Revert(_));
        if !submissions.iter().any(is_backfill) {
            return Ok(None);
        }
        let plan = self.door().plan(submissions);
        let read = plan.map(Plan::read).transpose();
        self.tell_end(&mut self.door(), read)
    }

    /// Accepts an epoch at the door.
    fn accept_at(
        &self,
        door: &mut Door,
        submissions: Vec<Submission>,
        ahead: Option<Ahead>,
    ) -> Result<Receipt, DoorError> {
        let accepted = door.accept(submissions, ahead);
        self.tell_end(door, accepted)
    }

    /// Without its journal the engine stops, and says why to whoever waits.
    fn tell_end<T>(&self, door: &mut Door, outcome: Result<T, DoorError>) -> Result<T, DoorError> {
        outcome.map_err(|error| match error {
            DoorError::Journal(error) if error.is_final() => {
                self.published.stop(&error.to_string());
                door.close();
                error.into()
            }
            DoorError::Stopped(stopped) => self.published.stopped().unwrap_or(stopped).into(),
            error => error,
        })
    }

    /// Orders a checkpoint of an epoch of its own, if anything came since the last, checkpoints are kept, and
    /// whoever makes them can follow. It is made while the engine goes on; `stop` waits for it.
    pub fn checkpoint(&self) -> Result<Option<Epoch>, DoorError> {
        let mut door = self.door();
        if !door.has_news_to_keep() {
            return Ok(None);
        }
        let ordered = door.checkpoint();
        self.tell_end(&mut door, ordered).map(Some)
    }

    /// The segments of the journal that will never change again, and may be copied away.
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.door().sealed()
    }

    /// How many inputs more may be set aside.
    pub fn quarantine_room(&self) -> u64 {
        self.door().quarantine_room()
    }

    /// Whether so many inputs of these sources are taken whatever they say.
    fn has_room_for<'s>(&self, inputs: u64, sources: impl Iterator<Item = &'s str>) -> bool {
        self.door().has_room_for(inputs, sources)
    }

    /// By which layouts events are to be read now.
    pub fn layouts(&self) -> Arc<Layouts> {
        self.books().catalog.layouts().clone()
    }

    /// How far a source has been read, in its own words.
    pub fn read_to(&self, source: &str) -> Option<String> {
        self.door().offsets().get(source).cloned()
    }

    /// The books as of the last accepted epoch. Does not wait for one that is being accepted.
    pub fn books(&self) -> Arc<Books> {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Issues what stands on an invoice now: the invoice itself, or, if it was issued before, a
    /// correction of it. Everything accepted before is in it, nothing accepted after.
    pub fn issue(&self, request: &issue::Request) -> Result<(Document, Receipt), issue::IssueError> {
        let mut door = self.door();
        let moment = self.published.wait(door.last())?;
        let document = issue::draw_up(&moment, request)?;
        let receipt = self.accept_at(&mut door, vec![Submission::Document(document.clone())], None)?;
        Ok((document, receipt))
    }

    /// The last epoch that was accepted and may not be computed yet. Nobody is kept from the door while that is
    /// waited for.
    fn last(&self) -> Epoch {
        self.door().last()
    }

    /// Waits until an epoch can be read.
    pub fn wait(&self, epoch: Epoch) -> Result<Arc<Moment>, Stopped> {
        self.published.wait(epoch)
    }

    /// The newest moment that can be read.
    pub fn newest(&self) -> Arc<Moment> {
        self.published.newest()
    }

    /// Where readers find moments.
    pub fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    /// Stops accepting, computes what was accepted, and ends the workers.
    pub fn stop(&self) {
        self.door().close();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((runtime, keeper)) = running {
            // A worker that panicked has said so, and the published end says why.
            let _ = runtime.join();
            if let Some(keeper) = keeper {
                keeper.finish();
            }
        }
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(|poisoned| {
            self.published.stop("a fault of ours at the door: start it again, and what was acknowledged is there");
            let mut door = poisoned.into_inner();
            door.abandon();
            door
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the workers are started with.
struct Desks {
    receivers: Vec<Receiver<Arc<EpochInput>>>,
    starts: Vec<Start>,
    published: Arc<Published>,
    pace: Option<Arc<dyn Pace>>,
    keeper: Option<Line>,
}

impl Desks {
    /// Runs the workers until their epochs end; an error says what went wrong.
    fn run(self) -> Result<(), String> {
        let workers = self.receivers.len();
        let own: Vec<Mutex<Option<_>>> =
            self.receivers.into_iter().zip(self.starts).map(|own| Mutex::new(Some(own))).collect();
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let own = own[worker.index()].lock().unwrap_or_else(PoisonError::into_inner).take();
            let (epochs, start) = own.expect("each worker takes its own once");
            let (published, pace, keeper) = (self.published.clone(), self.pace.clone(), self.keeper.clone());
            worker::run(worker, &Desk { epochs, published, pace, keeper }, start);
        })?;
        guards.join().into_iter().collect::<Result<Vec<()>, String>>().map(|_| ())
    }
}
