//! A server whose disk is full, or fails: whoever reads goes on, whoever sends is told what to do, and nothing
//! that was acknowledged is lost.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use tokio::task::block_in_place;
use tonic::Code;
use trueup::engine::door::DoorError;
use trueup::engine::intake::Gatherer;
use trueup::engine::{Engine, Setup};
use trueup_connectors::intake::Intake;
use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{Journal, JournalError, MemoryJournal, ReadBack};
use trueup_model::fact::{Entry, Epoch};
use trueup_model::usage::EventBatch;

use crate::at_once::{columns, engine, resumed};
use crate::kills::{event, shown, used};
use crate::ways::{Ways, post, put, rows};

/// Lines of events with these ids.
fn lines(ids: std::ops::Range<u64>) -> String {
    ids.map(|id| event(&id)).collect()
}

fn counted(engine: &Engine, epoch: &serde_json::Value) -> i128 {
    let epoch = epoch.as_u64().expect("an answer has an epoch");
    block_in_place(|| engine.wait(epoch)).expect("the engine runs");
    used(&shown(engine)).0
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_is_full_input_is_refused_with_what_to_do_and_reading_goes_on() {
    let disk = SimulatedDisk::new(1);
    let engine = engine(&disk);
    let ways = Ways::into(&engine).await;
    let (over_http, over_flight) = (ways.http.address(), ways.flight.address());
    let (status, answer) = block_in_place(|| post(over_http, &lines(0..20)));
    assert_eq!((status, counted(&engine, &answer["epoch"])), (200, 20));
    let there = rows(over_flight, "usage").await;
    assert!(there > 0);
    for _ in 0..5 {
        disk.fail_after(0, Failure::Full);
        let (status, answer) = block_in_place(|| post(over_http, &lines(20..30)));
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 503 && said.contains("the disk is full") && said.contains("make room and try again"),
            "{said}"
        );
        disk.fail_after(0, Failure::Full);
        let refused =
            put(over_flight, vec![columns()]).await.pop().expect("it is answered").expect_err("there is no room");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(refused.message().contains("make room and try again"), "{refused}");
        assert_eq!(rows(over_flight, "usage").await, there, "what is there can be read");
    }
    // There is room again.
    let (status, answer) = block_in_place(|| post(over_http, &lines(20..30)));
    assert_eq!((status, counted(&engine, &answer["epoch"])), (200, 30));
    assert!(put(over_flight, vec![columns()]).await.pop().expect("it is answered").is_ok());
    ways.stop().await;
    engine.stop();
    assert_eq!(used(&shown(&resumed(&disk.after_power_cut()))).0, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_fails_reading_goes_on_and_a_restart_has_all_that_was_acknowledged() {
    // Each call of an epoch in turn: the write, the sync, and what is asked behind it.
    for call in 0..3 {
        let disk = SimulatedDisk::new(call);
        let engine = engine(&disk);
        let ways = Ways::into(&engine).await;
        let (over_http, over_flight) = (ways.http.address(), ways.flight.address());
        let (status, answer) = block_in_place(|| post(over_http, &lines(0..20)));
        assert_eq!((status, counted(&engine, &answer["epoch"])), (200, 20));
        let there = rows(over_flight, "usage").await;
        disk.fail_after(call, Failure::Broken);
        for _ in 0..3 {
            let (status, answer) = block_in_place(|| post(over_http, &lines(20..30)));
            let said = answer["error"].as_str().unwrap_or_default();
            assert!(status == 503 && said.contains("send it again when the server is back"), "call {call}: {said}");
        }
        assert_eq!(rows(over_flight, "usage").await, there, "call {call}");
        ways.stop().await;
        engine.stop();
        let engine = Arc::new(resumed(&disk.after_power_cut()));
        assert!(used(&shown(&engine)).0 >= 20, "call {call}");
        let ways = Ways::into(&engine).await;
        let (status, answer) = block_in_place(|| post(ways.http.address(), &lines(20..30)));
        assert_eq!((status, counted(&engine, &answer["epoch"])), (200, 30), "call {call}");
        ways.stop().await;
    }
}

/// A journal with a fault of ours in it, met at the third entry.
struct Faulty(MemoryJournal);

impl Journal for Faulty {
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError> {
        assert!(entry.epoch < 3, "a fault of ours");
        self.0.append(entry)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.0.sync()
    }

    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        self.0.entries(from)
    }

    fn read_back(&self) -> ReadBack {
        self.0.read_back()
    }

    fn last(&self) -> Epoch {
        self.0.last()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fault_of_ours_nothing_enters_any_more_and_everybody_hears_why() {
    let journal = Box::new(Faulty(MemoryJournal::new()));
    let engine = Arc::new(Engine::start(Setup { journal, ..Setup::default() }));
    let intake = Gatherer::start(engine.clone());
    let hand_in = || intake.hand_in(EventBatch::default(), Vec::new());
    for _ in 0..2 {
        let epoch = engine.accept(Vec::new()).expect("nothing is wrong yet").epoch;
        block_in_place(|| engine.wait(epoch)).expect("nothing is wrong yet");
    }
    assert!(hand_in().await.is_err(), "the fault is met");
    while engine.published().stopped().is_none() {
        block_in_place(|| sleep(Duration::from_millis(1)));
    }
    let why = engine.published().stopped().expect("it has stopped").to_string();
    assert!(why.contains("a fault of ours"), "{why}");
    assert!(matches!(block_in_place(|| engine.accept(Vec::new())), Err(DoorError::Stopped(_))));
    assert!(hand_in().await.is_err());
    assert_eq!(engine.newest().epoch(), 2, "what is there can be read");
}
