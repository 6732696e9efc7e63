//! What an engine does when it cannot go on, or must not: it says why, and nobody waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trueup::engine::clock::Clock;
use trueup::engine::door::{DoorError, Submission};
use trueup::engine::issue::{IssueError, Request};
use trueup::engine::worker::Pace;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{FileJournal, Settings};
use trueup_model::catalog::CatalogChange;
use trueup_model::price::Price;
use trueup_model::usage::EventBatch;
use trueup_sinks::view::View;
use trueup_workload::catalog::{Outputs, changes};
use trueup_workload::events::TYPES;

const JULY: i64 = 1_782_864_000_000_000;

/// The workload's catalog with one customer, changed by `change`.
fn catalog(change: impl Fn(&mut CatalogChange)) -> Vec<Submission> {
    let is_wanted = |change: &CatalogChange| match change {
        CatalogChange::Customer(customer) => customer.id == "cust-00000",
        CatalogChange::Subscription(subscription) => subscription.customer == "cust-00000",
        CatalogChange::Meter(_)
        | CatalogChange::Feature(_)
        | CatalogChange::Plan(_)
        | CatalogChange::Price { .. }
        | CatalogChange::Schema(_) => true,
    };
    let mut wanted: Vec<CatalogChange> = changes(Outputs::Core).into_iter().filter(is_wanted).collect();
    wanted.iter_mut().for_each(change);
    vec![Submission::Catalog(wanted.into_iter().collect())]
}

fn engine(setup: Setup) -> Engine {
    let engine = Engine::start(Setup { clock: Clock::Told, ..setup });
    let mut submissions = vec![Submission::Clock(JULY)];
    submissions.extend(catalog(|_| {}));
    engine.accept(submissions).expect("the catalog makes sense");
    engine
}

fn read(engine: &Engine, subject: &str, id: &str, units: &str) -> EventBatch {
    let event = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": TYPES[0], "subject": subject,
        "time": "2026-06-10T00:00:00Z", "data": {"quantity": units, "region": "r", "plan": "p", "model": "m"},
    });
    let mut reader = EventReader::new(engine.layouts(), "default", "test");
    let mut batch = reader.batch();
    reader.read_line(event.to_string().as_bytes(), "here", &mut batch);
    batch.finish()
}

fn use_units(engine: &Engine, id: &str, units: &str) -> Result<u64, DoorError> {
    let batch = read(engine, "cust-00000", id, units);
    Ok(engine.accept(vec![Submission::Events(batch)])?.epoch)
}

fn issue_june(engine: &Engine) -> Result<String, IssueError> {
    let request = Request { customer: "cust-00000".to_owned(), subscription: None, period: JULY - 1 };
    engine.issue(&request).map(|(document, _)| document.number)
}

#[test]
fn without_its_journal_an_engine_stops() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = FileJournal::open_on(Arc::new(disk.clone()), Settings::default()).expect("an empty disk");
    let engine = engine(Setup { journal: Box::new(journal), ..Setup::default() });
    let last = use_units(&engine, "1", "5").expect("the disk is well");
    disk.fail_after(1, Failure::Broken);
    let error = use_units(&engine, "2", "5").expect_err("the disk fails");
    assert!(matches!(error, DoorError::Journal(_)), "{error}");
    assert!(matches!(use_units(&engine, "3", "5"), Err(DoorError::Stopped(_))));
    assert!(matches!(issue_june(&engine), Err(IssueError::Stopped(_) | IssueError::Door(DoorError::Stopped(_)))));
    let stopped = engine.wait(last + 1).err().expect("the epoch that was not journaled is never shown");
    assert!(stopped.to_string().contains("the process must end"), "{stopped}");
    engine.stop();
    let (journal, opened) =
        FileJournal::open_on(Arc::new(disk.after_kill()), Settings::default()).expect("it can be read again");
    assert!(opened.last >= last, "what was acknowledged is there");
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), ..Setup::default() };
    let resumed = Engine::resume(setup, |_| {}).expect("an engine goes on from it");
    assert_eq!(use_units(&resumed, "3", "5").expect("the disk is well again"), opened.last + 1);
}

/// Lets a worker fail at its so manieth step.
struct Failing {
    steps: AtomicU64,
}

impl Pace for Failing {
    fn turn(&self, worker: usize) {
        if worker == 1 {
            assert!(self.steps.fetch_sub(1, Ordering::Relaxed) > 0, "a worker fails, as it was told to");
        }
    }

    fn leave(&self, _worker: usize) {}
}

#[test]
fn nobody_waits_for_a_worker_that_failed() {
    for steps in [40, 60, 80] {
        let pace = Arc::new(Failing { steps: AtomicU64::new(steps) });
        let engine = engine(Setup { workers: 3, pace: Some(pace), ..Setup::default() });
        let mut last = 1;
        // It fails before there are so many epochs.
        for id in 0..200 {
            match use_units(&engine, &id.to_string(), "1") {
                Ok(epoch) => last = epoch,
                Err(_) => break,
            }
        }
        let stopped = engine.wait(last + 1).err().expect("a worker failed");
        assert!(stopped.to_string().contains("a worker failed"), "{stopped}");
        engine.stop();
    }
}

#[test]
fn what_was_issued_keeps_its_currency() {
    let engine = engine(Setup::default());
    use_units(&engine, "1", "1500").expect("it is counted");
    assert_eq!(issue_june(&engine).expect("there is something to bill"), "INV-000001");
    let in_euros = catalog(|change| {
        if let CatalogChange::Plan(plan) = change {
            plan.currency = "EUR".parse().expect("the euro is a currency");
        }
    });
    let error = engine.accept(in_euros).expect_err("dollars were invoiced");
    let DoorError::Catalog { error, .. } = error else { panic!("{error}") };
    assert_eq!(
        error.to_string(),
        "subscription 'sub-00000': invoice INV-000001 was issued in USD, and plan 'standard' is in EUR: end the \
         subscription, and begin another one on a plan of another name"
    );
}

#[test]
fn what_was_refused_leaves_no_names_behind() {
    let disk = SimulatedDisk::new(1);
    let open = |disk: SimulatedDisk| {
        let (journal, _) = FileJournal::open_on(Arc::new(disk), Settings::default()).expect("the disk is well");
        Setup { clock: Clock::Told, journal: Box::new(journal), ..Setup::default() }
    };
    let engine = engine(open(disk.clone()));
    let events = |subject: &str| Submission::Events(read(&engine, subject, subject, "5"));
    let beyond = Submission::Clock(i64::MAX);
    engine.accept(vec![events("nobody"), beyond]).expect_err("no calendar goes so far");
    let last = engine.accept(vec![events("somebody")]).expect("it is counted").epoch;
    let usage = |engine: &Engine| engine.wait(last).expect("the engine runs").rows(View::Usage);
    let told = usage(&engine);
    engine.stop();
    let resumed = Engine::resume(open(disk.after_kill()), |_| {}).expect("an engine goes on from its journal");
    assert_eq!(usage(&resumed), told);
}

#[test]
fn an_amount_that_cannot_be_kept_is_neither_billed_nor_refunded() {
    let engine = engine(Setup::default());
    use_units(&engine, "1", "1500").expect("it is counted");
    issue_june(&engine).expect("there is something to bill");
    let immense = catalog(|change| {
        if let CatalogChange::Plan(plan) = change {
            let price = Price::PerUnit { unit: 10_i128.pow(24) };
            plan.rate_cards
                .iter_mut()
                .flat_map(|card| &mut card.prices)
                .for_each(|version| version.price = price.clone());
        }
    });
    engine.accept(immense).expect("the price itself can be kept");
    use_units(&engine, "2", "1000000000000000").expect("the quantity can be kept");
    let error = issue_june(&engine).expect_err("the amount cannot be kept");
    assert_eq!(
        error.to_string(),
        format!(
            "nothing is issued for 'cust-00000' while the amount of '{}' is larger than can be kept: correct the \
             quantity or the price first",
            TYPES[0]
        )
    );
}
