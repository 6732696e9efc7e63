//! Many senders at once: each event is in one epoch, and each sender is told which.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Poll;

use futures::future::join_all;
use tokio::join;
use tokio::task::unconstrained;
use trueup::engine::clock::Clock;
use trueup::engine::door::{Acceptance, Submission};
use trueup::engine::intake::Gatherer;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::journal::{Journal, JournalError, MemoryJournal, ReadBack};
use trueup_model::catalog::Catalog;
use trueup_model::fact::{Entry, Fact};

use crate::ledger::{ledger, received};

fn catalog(text: &str) -> Submission {
    let changes = read_catalog_texts(&[("catalog.toml", text)], &Catalog::default()).expect("the catalog is good");
    Submission::Catalog(changes.into_iter().map(|(change, _)| change).collect())
}

const CALLS: &str = "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'count'\n";
const TOKENS: &str =
    "[[meter]]\nname = 'tokens'\nevent_type = 'call'\naggregation = 'sum'\nproperty = 'tokens'\nscale = 0\n";

/// A journal whose syncs wait while its gate is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    journal: MemoryJournal,
    is_shut: bool,
    is_waited_for: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("nobody panics with it")
    }

    fn shut(&self) {
        self.state().is_shut = true;
    }

    fn open(&self) {
        self.state().is_shut = false;
        self.0.1.notify_all();
    }

    fn is_waited_for(&self) -> bool {
        self.state().is_waited_for
    }

    /// The ids of the events of an epoch.
    fn ids(&self, epoch: u64) -> BTreeSet<String> {
        let state = self.state();
        let entry = state.journal.entries(epoch).next().expect("the epoch is there").expect("memory can be read");
        let batches =
            entry.facts.iter().filter_map(|fact| if let Fact::Usage(batch) = fact { Some(batch) } else { None });
        let ids =
            batches.flat_map(|batch| (0..batch.rows.len()).filter_map(|row| Some(batch.ids.get(row)?.1.to_owned())));
        ids.collect()
    }
}

impl Journal for Gate {
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError> {
        self.state().journal.append(entry)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let mut state = self.state();
        state.is_waited_for = state.is_shut;
        let mut state = self.0.1.wait_while(state, |state| state.is_shut).expect("nobody panics with it");
        state.journal.sync()
    }

    fn entries(&self, from: u64) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        let entries: Vec<_> = self.state().journal.entries(from).collect();
        Box::new(entries.into_iter())
    }

    fn read_back(&self) -> ReadBack {
        self.state().journal.read_back()
    }

    fn last(&self) -> u64 {
        self.state().journal.last()
    }
}

const NOW: i64 = 1_782_864_000_000_000; // 2026-07-01T00:00:00Z

fn engine(journal: Gate) -> Arc<Engine> {
    engine_that_takes(journal, Acceptance::default())
}

fn engine_that_takes(journal: Gate, acceptance: Acceptance) -> Arc<Engine> {
    let journal = Box::new(journal);
    let engine = Engine::start(Setup { workers: 2, clock: Clock::Told, journal, acceptance, ..Setup::default() });
    engine.accept(vec![Submission::Clock(NOW), catalog(CALLS)]).expect("the catalog is good");
    Arc::new(engine)
}

/// Reads an event by the layouts of now, and hands it in.
async fn send(intake: &Gatherer, id: usize) -> Result<Taken, HandInError> {
    let mut reader = EventReader::new(intake.layouts(), "default", "test");
    let mut batch = reader.batch();
    let event =
        format!(r#"{{"id":"{id}","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}}"#);
    reader.read_line(event.as_bytes(), "here", &mut batch);
    intake.hand_in(batch.finish(), Vec::new()).await
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads can be started")
        .block_on(work)
}

#[test]
fn what_waits_together_enters_together_and_once() {
    const SENDERS: usize = 500;
    let gate = Gate::default();
    let engine = engine(gate.clone());
    let intake = Gatherer::start(engine.clone());
    gate.shut();
    // Each event is sent twice.
    let mut senders: Vec<_> = (0..SENDERS).map(|number| Box::pin(send(&intake, number / 2))).collect();
    let taken = block_on(unconstrained(async {
        // All have handed in when the first sync may end.
        poll_fn(|context| {
            let all_wait = senders.iter_mut().all(|sender| sender.as_mut().poll(context).is_pending());
            assert!(all_wait, "nobody is answered before the sync");
            Poll::Ready(())
        })
        .await;
        gate.open();
        join_all(senders).await
    }));
    let taken: Vec<Taken> = taken.into_iter().collect::<Result<_, _>>().expect("all are taken");
    assert!(taken.iter().all(|taken| taken.events == 1 && taken.refused.is_empty()));
    let epochs: BTreeSet<u64> = taken.iter().map(|taken| taken.epoch).collect();
    assert!(epochs.len() <= 3, "{} syncs for {SENDERS} senders", epochs.len());
    for (number, taken) in taken.iter().enumerate() {
        assert!(gate.ids(taken.epoch).contains(&(number / 2).to_string()), "event {} is elsewhere", number / 2);
    }
    engine.wait(*epochs.last().expect("there are epochs")).expect("the engine runs");
    assert_eq!(ledger(&engine), ["duplicate 250", "received 500", "waiting 250"]);
}

#[test]
fn what_has_no_room_in_quarantine_keeps_nobody_else_out() {
    const SENDERS: usize = 40;
    let gate = Gate::default();
    let engine = engine_that_takes(gate.clone(), Acceptance { quarantined_max: 2, ..Acceptance::default() });
    let intake = Gatherer::start(engine.clone());
    let send_any = async |number: usize| match number % 10 {
        // One in ten sends what cannot be read, which four do.
        3 => {
            let mut reader = EventReader::new(intake.layouts(), "default", "test");
            let mut batch = reader.batch();
            reader.read_line(b"no event", "here", &mut batch);
            let at = vec![Position { source: format!("bad/{number}"), at: "1".to_owned() }];
            intake.hand_in(batch.finish(), at).await
        }
        _ => send(&intake, number).await,
    };
    gate.shut();
    let mut senders: Vec<_> = (0..SENDERS).map(|number| Box::pin(send_any(number))).collect();
    let taken = block_on(unconstrained(async {
        poll_fn(|context| {
            senders.iter_mut().for_each(|sender| assert!(sender.as_mut().poll(context).is_pending()));
            Poll::Ready(())
        })
        .await;
        gate.open();
        join_all(senders).await
    }));
    for (number, taken) in taken.iter().enumerate() {
        let is_read = intake.read_to(&format!("bad/{number}")).is_some();
        match (number % 10, taken) {
            (3, Ok(taken)) => assert!(taken.refused.len() == 1 && is_read),
            (3, Err(HandInError::Full(why))) => assert!(why.contains("`quarantine_inputs`") && !is_read, "{why}"),
            (_, taken) => assert!(taken.as_ref().is_ok_and(|taken| taken.events == 1), "{number}: {taken:?}"),
        }
    }
    let last = engine.accept(Vec::new()).expect("it runs").epoch;
    engine.wait(last).expect("it runs");
    assert_eq!(ledger(&engine), ["quarantined 2", "received 38", "waiting 36"]);
}

#[test]
fn nobody_waits_at_the_door_to_ask_for_layouts() {
    let gate = Gate::default();
    let engine = engine(gate.clone());
    let intake = Gatherer::start(engine.clone());
    gate.shut();
    block_on(async {
        let sent = send(&intake, 1);
        let asked = async {
            // The sync of the event waits, and what is asked meanwhile is answered.
            while !gate.is_waited_for() {
                tokio::task::yield_now().await;
            }
            let layouts = intake.layouts();
            gate.open();
            layouts
        };
        let (sent, layouts) = join!(sent, asked);
        assert_eq!((sent.expect("it is taken").events, layouts.generation), (1, 1));
    });
}

#[test]
fn what_was_read_by_an_older_catalog_is_not_taken() {
    let engine = engine(Gate::default());
    let intake = Gatherer::start(engine.clone());
    let mut reader = EventReader::new(intake.layouts(), "default", "test");
    let mut batch = reader.batch();
    let event = r#"{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}"#;
    reader.read_line(event.as_bytes(), "here", &mut batch);
    engine.accept(vec![catalog(TOKENS)]).expect("the catalog is good");
    assert_eq!(block_on(intake.hand_in(batch.finish(), Vec::new())), Err(HandInError::Stale));
    let taken = block_on(send(&intake, 1)).expect("it is set aside");
    assert_eq!((taken.events, taken.refused.len()), (0, 1));
}

#[test]
fn a_position_enters_with_its_events_or_not_at_all() {
    let engine = engine(Gate::default());
    let intake = Gatherer::start(engine.clone());
    let at = |at: &str| vec![Position { source: "calls/0".to_owned(), at: at.to_owned() }];
    let empty = || EventReader::new(intake.layouts(), "default", "test").batch().finish();
    assert_eq!(intake.read_to("calls/0"), None);
    block_on(intake.hand_in(empty(), at("17"))).expect("a position alone is taken");
    assert_eq!(intake.read_to("calls/0").as_deref(), Some("17"));
    let mut reader = EventReader::new(intake.layouts(), "default", "test");
    let mut stale = reader.batch();
    let event = br#"{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}"#;
    reader.read_line(event, "here", &mut stale);
    engine.accept(vec![catalog(TOKENS)]).expect("the catalog is good");
    assert_eq!(block_on(intake.hand_in(stale.finish(), at("18"))), Err(HandInError::Stale));
    assert_eq!(intake.read_to("calls/0").as_deref(), Some("17"));
}

#[test]
fn parts_enter_together_or_not_at_all_and_are_told_apart() {
    let gate = Gate::default();
    let engine = engine(gate.clone());
    let intake = Gatherer::start(engine.clone());
    let event = |id: &str| {
        format!(r#"{{"id":"{id}","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}}"#)
    };
    let part = |partition: &str, ids: &[&str]| {
        let mut reader = EventReader::new(intake.layouts(), "default", "kafka/a").of_partition(partition);
        let mut batch = reader.batch();
        ids.iter().for_each(|id| reader.read_line(event(id).as_bytes(), "here", &mut batch));
        reader.read_line(b"none", "here", &mut batch);
        batch.finish()
    };
    let at = |at: &str| vec![Position { source: "kafka/a/calls/0".to_owned(), at: at.to_owned() }];
    let parts = vec![part("calls/0", &["1", "2"]), part("calls/1", &["3"])];
    // Another sender's batch shares the epoch, more often than not, and each is told of its own.
    let (taken, other) = block_on(async { join!(intake.hand_in_parts(parts, at("17")), send(&intake, 4)) });
    let (taken, other) = (taken.expect("it is taken"), other.expect("it is taken"));
    assert_eq!((taken.events, taken.refused.len(), other.events, other.refused.len()), (3, 2, 1, 0));
    let ids = ["1", "2", "3"].map(str::to_owned);
    assert!(gate.ids(taken.epoch).is_superset(&ids.into()));
    let stale = vec![part("calls/0", &["5"]), part("calls/1", &[])];
    engine.accept(vec![catalog(TOKENS)]).expect("the catalog is good");
    assert_eq!(block_on(intake.hand_in_parts(stale, at("18"))), Err(HandInError::Stale));
    assert_eq!(intake.read_to("kafka/a/calls/0").as_deref(), Some("17"));
    // How far something was read may come without any part.
    let taken = block_on(intake.hand_in_parts(Vec::new(), at("19"))).expect("it is taken");
    assert_eq!((taken.events, intake.read_to("kafka/a/calls/0").as_deref()), (0, Some("19")));
    engine.wait(taken.epoch).expect("the engine runs");
    let way = |source: &str, partition: &str| (source.to_owned(), partition.to_owned());
    let ways = [(way("kafka/a", "calls/0"), 3), (way("kafka/a", "calls/1"), 2), (way("test", ""), 1)];
    assert_eq!(received(&engine), ways.into());
}

#[test]
fn nobody_waits_for_an_engine_that_stopped() {
    let engine = engine(Gate::default());
    let intake = Gatherer::start(engine.clone());
    engine.stop();
    assert_eq!(block_on(send(&intake, 1)), Err(HandInError::Stopped("the engine stopped: it was told to".to_owned())));
}
