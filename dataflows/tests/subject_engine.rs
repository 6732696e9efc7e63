//! The engine as a subject of the stories and histories.
//!
//! Events go in by the way that reads them from text. The workers' steps follow a schedule drawn
//! from a seed, so that a run that went wrong can be repeated step by step. Whatever is read is also
//! followed by its changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;
use trueup::engine::checkpoints;
use trueup::engine::clock::Clock;
use trueup::engine::door::{Acceptance, Apply, DoorError, Submission};
use trueup::engine::issue::Request;
use trueup::engine::oracle_rows::rows;
use trueup::engine::retention::Retention;
use trueup::engine::view_rows::{Cell as Shown, Row};
use trueup::engine::worker::Pace;
use trueup::engine::{Engine, Setup};
use trueup::oracle::{Oracle, VIEWS};
use trueup::retelling::{Retelling, Told};
use trueup_connectors::EventReader;
use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{FileJournal, Journal, Settings};
use trueup_connectors::quarantine::Selection;
use trueup_model::arrival::Origin;
use trueup_model::backfill::Scope;
use trueup_model::catalog::{Catalog, CatalogChange};
use trueup_model::dictionary::Dictionary;
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Declaration, Document};
use trueup_model::grain::show_micros;
use trueup_model::usage::{EventBatch, Reason, Refused};
use trueup_sinks::view::View;

use crate::follower::Follower;
use crate::subject::{Rows, Subject};

/// A fresh engine with an empty journal: so many workers, their steps in the order of a seed.
pub fn engine(workers: usize, seed: u64) -> EngineSubject {
    let (setup, schedule) = setup(workers, seed);
    EngineSubject {
        engine: Engine::start(setup),
        schedule,
        mortality: None,
        catalog: Catalog::default(),
        dictionary: Dictionary::default(),
        way: Origin::default(),
        submissions: Vec::new(),
        epoch: 0,
        follower: Follower::default(),
    }
}

/// The same with a journal and checkpoints on disks, killed after every so many epochs; another
/// number of workers then goes on from what they tell.
pub fn mortal_engine(workers: usize, seed: u64) -> EngineSubject {
    let mut subject = engine(workers, seed);
    let [disk, checkpoints] = [seed, seed + 1].map(SimulatedDisk::new);
    let mortality = Mortality { disk, checkpoints, seed, lives_epochs: 3 + seed % 9, deaths: 0 };
    subject.mortality = Some(mortality);
    subject.revive();
    subject
}

fn setup(workers: usize, seed: u64) -> (Setup, Arc<Schedule>) {
    let schedule = Arc::new(Schedule::new(workers, seed));
    let setup = Setup {
        workers,
        clock: Clock::Told,
        // What lies out of time is for the door's own tests.
        acceptance: Acceptance { past: i64::MAX, future: i64::MAX, ..Acceptance::default() },
        pace: Some(schedule.clone()),
        // From none at all on, so that times are merged as soon as they may be.
        retention: Retention { epochs: seed % 5, events: if seed.is_multiple_of(2) { 6 } else { u64::MAX } },
        ..Setup::default()
    };
    (setup, schedule)
}

/// What outlives an engine that is killed now and then.
struct Mortality {
    disk: SimulatedDisk,
    checkpoints: SimulatedDisk,
    seed: u64,
    lives_epochs: u64,
    deaths: u64,
}

impl Mortality {
    /// The process is killed, or the power goes, by turns.
    fn die(&mut self, engine: &Engine) {
        let after = |disk: &SimulatedDisk| match self.deaths % 2 {
            0 => disk.after_kill(),
            _ => disk.after_power_cut(),
        };
        // In the middle of whatever is being written to it.
        self.checkpoints = after(&self.checkpoints);
        self.disk = after(&self.disk);
        self.deaths += 1;
        engine.stop();
    }

    /// With so few rows in memory that most are put away.
    fn checkpoints(&self) -> checkpoints::Settings {
        let hot_rows_max = 1 + (self.seed + self.deaths) as usize % 9;
        checkpoints::Settings {
            hot_rows_max,
            scratch_bytes: [1, 128, 1 << 15][self.seed as usize % 3],
            ..checkpoints::Settings::on(Arc::new(self.checkpoints.clone()))
        }
    }

    /// In some lives there is no room for a checkpoint once.
    fn fail_later(&self) {
        let luck = self.seed * 31 + self.deaths * 7;
        if luck % 3 == 1 {
            self.checkpoints.fail_after(luck % 90, Failure::Full);
        }
    }
}

/// An engine that is told facts one by one.
pub struct EngineSubject {
    engine: Engine,
    schedule: Arc<Schedule>,
    mortality: Option<Mortality>,
    /// The catalog with the changes given so far, also those of the epoch to come: by its layouts
    /// the events of that epoch are read.
    catalog: Catalog,
    dictionary: Dictionary,
    way: Origin,
    submissions: Vec<Submission>,
    epoch: u64,
    follower: Follower,
}

impl EngineSubject {
    /// Goes on from what the journal on the disk tells.
    fn revive(&mut self) {
        let Some(mortality) = &mut self.mortality else { return };
        mortality.die(&self.engine);
        let settings = Settings { segment_bytes: 4_096, ..Settings::default() };
        let disk = Arc::new(mortality.disk.clone());
        let (journal, opened) = FileJournal::open_on(disk, settings).expect("what was written can be read");
        assert_eq!((opened.last, opened.cut), (self.epoch, None), "what was acknowledged is there, and nothing else");
        let mut retelling = Retelling::default();
        let mut oracle = Oracle::new();
        for entry in journal.entries(0) {
            let Told { epoch, clock, statements } = retelling.retell(&entry.expect("what was written can be read"));
            oracle.accept(epoch, clock, statements);
        }
        let workers = 1 + ((mortality.seed + mortality.deaths) % 4) as usize;
        let (setup, schedule) = setup(workers, mortality.seed + mortality.deaths);
        let setup = Setup { journal: Box::new(journal), checkpoints: Some(mortality.checkpoints()), ..setup };
        self.engine = Engine::resume(setup, |_| {}).expect("an engine resumes");
        mortality.fail_later();
        self.schedule = schedule;
        if self.epoch > 0 {
            for view in VIEWS {
                assert_eq!(self.rows(view), oracle.rows(view), "{view}, as the journal tells it");
            }
        }
    }

    fn kill_in_time(&mut self) {
        let is_time = |mortality: &Mortality| self.epoch.is_multiple_of(mortality.lives_epochs);
        if self.mortality.as_ref().is_some_and(is_time) {
            self.revive();
        }
    }

    /// Ends changes of the catalog that follow one another, as the door does.
    fn end_changes(&mut self) {
        let mut said = self.submissions.iter().rev().filter(|one| !matches!(one, Submission::Clock(_)));
        if matches!(said.next(), Some(Submission::Catalog(_))) {
            self.catalog.forget();
        }
    }

    /// Which worker made each step of all that was committed.
    pub fn trace(&self) -> Vec<usize> {
        self.engine.wait(self.epoch).expect("the engine runs");
        self.schedule.trace()
    }
}

impl Subject for EngineSubject {
    fn catalog(&mut self, change: CatalogChange) -> Result<(), String> {
        self.catalog.apply(change.clone(), &mut self.dictionary).map_err(|error| error.to_string())?;
        self.submissions.push(Submission::Catalog(vec![change]));
        Ok(())
    }

    fn event(&mut self, event: UsageEvent) {
        self.end_changes();
        let mut reader = EventReader::new(self.catalog.layouts().clone(), "default", &self.way.source)
            .of_partition(&self.way.partition);
        let mut batch = reader.batch();
        reader.read_line(cloud_event(&event).as_bytes(), "here", &mut batch);
        self.submissions.push(Submission::Events(batch.finish()));
    }

    fn refused(&mut self, reason: Reason) {
        self.end_changes();
        let refused = Refused {
            source: self.way.source.clone(),
            partition: self.way.partition.clone(),
            position: "here".to_owned(),
            reason,
            detail: "it was to be refused".to_owned(),
            ..Refused::default()
        };
        self.submissions.push(Submission::Events(EventBatch { refused: vec![refused], ..EventBatch::default() }));
    }

    fn way(&mut self, origin: Origin) {
        self.way = origin;
    }

    fn declare(&mut self, declaration: Declaration) {
        self.end_changes();
        self.submissions.push(Submission::Declaration(declaration));
    }

    fn clock(&mut self, micros: i64) {
        self.submissions.push(Submission::Clock(micros));
    }

    fn commit(&mut self) -> u64 {
        if self.mortality.is_some() && self.epoch % 5 == 3 {
            self.engine.checkpoint().expect("the journal is good");
        }
        self.end_changes();
        let submissions = std::mem::take(&mut self.submissions);
        self.epoch = self.engine.accept(submissions).expect("what was checked is accepted").epoch;
        self.kill_in_time();
        self.epoch
    }

    fn backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> Option<u64> {
        let apply = Apply { name: name.to_owned(), digest: String::new(), scope, sets_aside };
        self.end_changes();
        self.submissions.push(Submission::Backfill(apply));
        match self.engine.accept(std::mem::take(&mut self.submissions)) {
            Ok(receipt) => self.epoch = receipt.epoch,
            Err(DoorError::Backfill { .. }) => return None,
            Err(error) => panic!("{error}"),
        }
        self.kill_in_time();
        Some(self.epoch)
    }

    fn revert(&mut self, name: &str) -> u64 {
        self.end_changes();
        self.submissions.push(Submission::Revert(name.to_owned()));
        self.commit()
    }

    fn issue(&mut self, customer: &str, subscription: &str, period_start: i64) -> Option<Document> {
        let (customer, subscription) = (customer.to_owned(), Some(subscription.to_owned()));
        let (document, receipt) = self.engine.issue(&Request { customer, subscription, period: period_start }).ok()?;
        self.epoch = receipt.epoch;
        self.kill_in_time();
        Some(document)
    }

    fn replay(&mut self) -> bool {
        let replayed = self.engine.replay_quarantine("default", &Selection::default()).expect("it can be read again");
        let Some(epoch) = replayed.epoch else { return false };
        self.epoch = epoch;
        self.kill_in_time();
        true
    }

    fn rows(&mut self, view: &str) -> Rows {
        let moment = self.engine.wait(self.epoch).expect("the engine runs");
        let shown = View::named(view).expect("the view has a name");
        if shown == View::Quarantine {
            kept_by_the_journal(&moment.rows(shown));
        }
        self.follower.read(shown, &moment);
        rows(&moment, shown)
    }
}

/// Whether what was kept of inputs in the journal is told: where each was, and which event.
fn kept_by_the_journal(rows: &[Row]) {
    let column = |name: &str| View::Quarantine.columns().iter().position(|column| column.name == name);
    let [source, position, detail] = ["source", "position", "detail"].map(|name| column(name).expect("it is there"));
    for row in rows {
        let text = |column: usize| if let Shown::Text(text) = &row[column] { &**text } else { "" };
        let is_kept = text(source) == "rating" || text(position) == "here" || text(position).starts_with("event ");
        assert!(is_kept && !text(detail).is_empty(), "{row:?} is not what was set aside");
    }
}

/// An event as it is sent.
fn cloud_event(event: &UsageEvent) -> String {
    let mut sent = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.event_type,
        "subject": event.subject,
        "time": show_micros(event.occurred_at),
        "revision": event.revision,
        "data": event.data,
    });
    if event.retract {
        sent["retract"] = json!(true);
    }
    sent.to_string()
}

/// Lets one worker step at a time, whichever a seeded draw names.
///
/// A draw is made only when every worker waits for its turn or is done with the epoch, so which
/// threads run faster has no influence on the order.
pub struct Schedule {
    workers: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    random: u64,
    waiting: BTreeSet<usize>,
    done: BTreeSet<usize>,
    turn: Option<usize>,
    trace: Vec<usize>,
}

impl Schedule {
    fn new(workers: usize, seed: u64) -> Schedule {
        let (waiting, done) = (BTreeSet::new(), BTreeSet::new());
        let state = State { random: seed, waiting, done, turn: None, trace: Vec::new() };
        Schedule { workers, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn trace(&self) -> Vec<usize> {
        self.state.lock().expect("no worker panicked").trace.clone()
    }
}

impl State {
    /// Names who steps next, once nobody is on the way.
    fn draw(&mut self, workers: usize) {
        if self.turn.is_some() || self.waiting.is_empty() || self.waiting.len() + self.done.len() < workers {
            return;
        }
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (self.random >> 33) as usize % self.waiting.len();
        let worker = *self.waiting.iter().nth(place).expect("the place is among those who wait");
        self.trace.push(worker);
        self.turn = Some(worker);
    }
}

impl Pace for Schedule {
    fn turn(&self, worker: usize) {
        let mut state = self.state.lock().expect("no worker panicked");
        // Whoever asks again has made its step.
        if state.turn == Some(worker) {
            state.turn = None;
        }
        while state.done.contains(&worker) {
            state = self.changed.wait(state).expect("no worker panicked");
        }
        state.waiting.insert(worker);
        state.draw(self.workers);
        self.changed.notify_all();
        while state.turn != Some(worker) {
            state = self.changed.wait(state).expect("no worker panicked");
        }
        state.waiting.remove(&worker);
    }

    fn leave(&self, worker: usize) {
        let mut state = self.state.lock().expect("no worker panicked");
        if state.turn == Some(worker) {
            state.turn = None;
        }
        state.done.insert(worker);
        if state.done.len() == self.workers {
            state.done.clear();
        }
        state.draw(self.workers);
        self.changed.notify_all();
    }
}
