//! Many senders at once: each event is in one epoch, and each sender is told which.

use std::collections::BTreeSet;
use std::sync::Arc;

use trueup::engine::door::Submission;
use trueup::engine::intake::Gatherer;
use trueup::engine::view_rows::Cell;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_connectors::intake::{HandInError, Intake, Taken};
use trueup_model::catalog::Catalog;
use trueup_sinks::view::View;

fn catalog(text: &str) -> Submission {
    let changes = read_catalog_texts(&[("catalog.toml", text)], &Catalog::default()).expect("the catalog is good");
    Submission::Catalog(changes.into_iter().map(|(change, _)| change).collect())
}

const CALLS: &str = "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'count'\n";
const TOKENS: &str =
    "[[meter]]\nname = 'tokens'\nevent_type = 'call'\naggregation = 'sum'\nproperty = 'tokens'\nscale = 0\n";

fn engine() -> Arc<Engine> {
    let engine = Engine::start(Setup { workers: 2, ..Setup::default() });
    engine.accept(vec![catalog(CALLS)]).expect("the catalog is good");
    Arc::new(engine)
}

/// Reads an event by the layouts of now, and hands it in.
async fn send(intake: &Gatherer, id: usize) -> Result<Taken, HandInError> {
    let mut reader = EventReader::new(intake.layouts(), "default", "test");
    let mut batch = reader.batch();
    let event =
        format!(r#"{{"id":"{id}","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}}"#);
    reader.read_line(event.as_bytes(), "here", &mut batch);
    intake.hand_in(batch.finish()).await
}

fn ledger(engine: &Engine) -> Vec<String> {
    let said = |row: Vec<Cell>| match &row[..] {
        [Cell::Text(state), Cell::Integer(events)] => format!("{state} {events}"),
        row => panic!("{row:?}"),
    };
    let mut rows: Vec<String> = engine.newest().rows(View::Ledger).into_iter().map(said).collect();
    rows.sort();
    rows
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
    let engine = engine();
    let intake = Arc::new(Gatherer::start(engine.clone()));
    let taken = block_on(async {
        let tasks: Vec<_> = (0..SENDERS)
            .map(|number| {
                let intake = intake.clone();
                // Each event is sent twice.
                tokio::spawn(async move { send(&intake, number / 2).await.expect("it is taken") })
            })
            .collect();
        let mut taken = Vec::new();
        for task in tasks {
            taken.push(task.await.expect("no sender panics"));
        }
        taken
    });
    assert!(taken.iter().all(|taken| taken.accepted == 1 && taken.refused.is_empty()));
    let epochs: BTreeSet<u64> = taken.iter().map(|taken| taken.epoch).collect();
    engine.wait(*epochs.last().expect("there are epochs")).expect("the engine runs");
    assert_eq!(ledger(&engine), ["accepted 500", "duplicate 250", "waiting 250"]);
}

#[test]
fn what_was_read_by_an_older_catalog_is_not_taken() {
    let engine = engine();
    let intake = Gatherer::start(engine.clone());
    let mut reader = EventReader::new(intake.layouts(), "default", "test");
    let mut batch = reader.batch();
    let event = r#"{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z"}"#;
    reader.read_line(event.as_bytes(), "here", &mut batch);
    engine.accept(vec![catalog(TOKENS)]).expect("the catalog is good");
    assert_eq!(block_on(intake.hand_in(batch.finish())), Err(HandInError::Stale));
    let taken = block_on(send(&intake, 1)).expect("it is set aside");
    assert_eq!((taken.accepted, taken.refused.len()), (0, 1));
}

#[test]
fn nobody_waits_for_an_engine_that_stopped() {
    let engine = engine();
    let intake = Gatherer::start(engine.clone());
    engine.stop();
    assert_eq!(block_on(send(&intake, 1)), Err(HandInError::Stopped("the engine has stopped".to_owned())));
}
