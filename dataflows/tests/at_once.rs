//! The same batch sent fifty times at once over HTTP, and fifty times over Flight: a hundred are answered, and
//! it counts once.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::future::join_all;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::{block_in_place, spawn, spawn_blocking};
use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup::engine::{Engine, Setup};
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Settings};
use trueup_model::catalog::Catalog;

use crate::kills::{CATALOG, event, shown, units, used};
use crate::ledger::ledger;
use crate::proof::prove;
use crate::ways::{Ways, post, put};

/// Of each way.
const SENDERS: u64 = 50;
const EVENTS: u64 = 20;
const JUNE: i64 = 1_780_272_000_000_000; // 2026-06-01T00:00:00Z
const HOUR: i64 = 3_600_000_000;

fn setup(disk: &SimulatedDisk) -> Setup {
    let (journal, _) = FileJournal::open_on(Arc::new(disk.clone()), Settings::default()).expect("it is whole");
    Setup { workers: 2, clock: Clock::Told, journal: Box::new(journal), ..Setup::default() }
}

/// An engine with a journal on this disk, and the catalog of the kills.
pub fn engine(disk: &SimulatedDisk) -> Arc<Engine> {
    let engine = Engine::start(setup(disk));
    let changes = read_catalog_texts(&[("catalog.toml", CATALOG)], &Catalog::default()).expect("the catalog is good");
    let changes = changes.into_iter().map(|(change, _)| change).collect();
    let july = Submission::Clock(JUNE + 30 * 24 * HOUR);
    engine.accept(vec![july, Submission::Catalog(changes)]).expect("the catalog is good");
    Arc::new(engine)
}

/// One that goes on from the journal of a disk.
pub fn resumed(disk: &SimulatedDisk) -> Engine {
    Engine::resume(setup(disk), |_| {}).expect("it resumes")
}

/// The first events as columns.
pub fn columns() -> RecordBatch {
    let same = |text: &str| Arc::new(StringArray::from(vec![text; EVENTS as usize])) as ArrayRef;
    let texts = |text: fn(u64) -> u64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..EVENTS).map(|id| text(id).to_string())))
    };
    let times = (0..EVENTS as i64).map(|id| JUNE + (24 * (id % 20) + 8) * HOUR);
    RecordBatch::try_from_iter([
        ("id", texts(|id| id)),
        ("source", same("/kills")),
        ("type", same("call")),
        ("subject", same("acme")),
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("units", texts(units)),
    ])
    .expect("the columns are of one length")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_hundred_send_at_once_is_answered_to_each_and_counts_once() {
    let disk = SimulatedDisk::new(1);
    let engine = engine(&disk);
    let ways = Ways::into(&engine).await;
    let (over_http, over_flight) = (ways.http.address(), ways.flight.address());
    let lines: String = (0..EVENTS).map(|id| event(&id)).collect();
    let start = Arc::new(Barrier::new(2 * SENDERS as usize));
    let posts = (0..SENDERS).map(|_| {
        let (start, lines) = (start.clone(), lines.clone());
        spawn(async move {
            start.wait().await;
            let (status, answer) = spawn_blocking(move || post(over_http, &lines)).await.expect("it is answered");
            assert_eq!(status, 200, "{answer}");
            answer
        })
    });
    let puts = (0..SENDERS).map(|_| {
        let start = start.clone();
        spawn(async move {
            start.wait().await;
            let answers = put(over_flight, vec![columns()]).await;
            let [Ok(answer)] = &answers[..] else { panic!("one batch, one answer: {answers:?}") };
            answer.clone()
        })
    });
    let answers: Vec<Value> =
        join_all(posts.chain(puts)).await.into_iter().map(|sent| sent.expect("it is answered")).collect();
    let taken = answers.iter().filter(|answer| answer["taken"].as_u64() == Some(EVENTS)).count();
    let epochs: Vec<u64> = answers.iter().filter_map(|answer| answer["epoch"].as_u64()).collect();
    assert_eq!((taken as u64, epochs.len() as u64), (2 * SENDERS, 2 * SENDERS), "{answers:?}");
    let last = epochs.into_iter().max().expect("there are answers");
    block_in_place(|| engine.wait(last)).expect("the engine runs");
    let (received, again) = (2 * SENDERS * EVENTS, (2 * SENDERS - 1) * EVENTS);
    assert_eq!(
        ledger(&engine),
        [format!("counted {EVENTS}"), format!("duplicate {again}"), format!("received {received}")]
    );
    let quantity: u64 = (0..EVENTS).map(units).sum();
    assert_eq!(used(&shown(&engine)), (i128::from(EVENTS), i128::from(quantity)));
    ways.stop().await;
    engine.stop();
    let journal = FileJournal::open_on(Arc::new(disk.after_kill()), Settings::default()).expect("it is whole").0;
    prove(&engine, &journal);
    println!("{} sent {EVENTS} events at once, {taken} were answered: each event counts once", 2 * SENDERS);
}
