//! Backfills enter as one epoch or not at all, and are taken back as one.

use std::sync::Arc;

use trueup::engine::checkpoints;
use trueup::engine::clock::Clock;
use trueup::engine::door::{Acceptance, Apply, DoorError, Receipt, Submission};
use trueup::engine::view_rows::Row;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Settings};
use trueup_connectors::quarantine::Selection;
use trueup_model::backfill::{SOURCE, Scope, Undone, Whose};
use trueup_model::catalog::CatalogChange;
use trueup_model::fact::InputId;
use trueup_model::meter::Meter;
use trueup_model::usage::EventBatch;
use trueup_sinks::view::View;
use trueup_workload::catalog::{MONTH_END, MONTH_START, Outputs, changes, customer_name};

mod taken_back;

const DAY: i64 = 86_400_000_000;

/// An event: its id, its revision, whether it is a retraction, and its quantity; with a thousand times what else there
/// is to say, which no meter reads at first.
type Said = (u32, u32, bool, u32);

fn begin(engine: &Engine) {
    // A few customers are enough.
    let is_wanted = |id: &str| (0..3).any(|customer| id == customer_name(customer));
    let wanted = changes(Outputs::All).into_iter().filter(|change| match change {
        CatalogChange::Customer(customer) => is_wanted(&customer.id),
        CatalogChange::Subscription(subscription) => is_wanted(&subscription.customer),
        _ => true,
    });
    engine.accept(vec![Submission::Clock(MONTH_END), Submission::Catalog(wanted.collect())]).expect("it makes sense");
}

/// Events of one type, each of the customer that its id says.
fn events(engine: &Engine, said: &[Said]) -> EventBatch {
    let mut reader = EventReader::new(engine.layouts(), "default", "test");
    let mut batch = reader.batch();
    for (id, revision, retract, quantity) in said {
        let event = serde_json::json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/test", "type": trueup_workload::events::TYPES[0],
            "subject": customer_name(id % 3), "time": format!("2026-06-{:02}T00:00:00Z", 1 + id % 28),
            "revision": revision, "retract": retract,
            "data": {
                "quantity": (quantity % 1_000).to_string(), "region": "r", "plan": "p", "model": "m",
                "user": format!("u{}", quantity % 1_000), "extra": format!("e{}", quantity / 1_000),
            },
        });
        reader.read_line(event.to_string().as_bytes(), "here", &mut batch);
    }
    batch.finish()
}

fn send(engine: &Engine, said: &[Said]) {
    engine.accept(vec![Submission::Events(events(engine, said))]).expect("they are taken");
}

fn apply(engine: &Engine, name: &str, said: &[Said], scope: Option<Scope>) -> Result<Receipt, DoorError> {
    let apply = Apply { name: name.to_owned(), digest: "d".to_owned(), scope, sets_aside: false };
    engine.accept(vec![Submission::Events(events(engine, said)), Submission::Backfill(apply)])
}

fn revert(engine: &Engine, name: &str) -> Result<Undone, DoorError> {
    engine.accept(vec![Submission::Revert(name.to_owned())])?;
    let reverted = engine.books().backfills[name].reverted;
    Ok(reverted.expect("it was taken back").1)
}

fn told(workers: usize) -> Engine {
    let engine = Engine::start(Setup { workers, clock: Clock::Told, ..Setup::default() });
    begin(&engine);
    engine
}

/// Every view but those that tell of the way.
fn settled(engine: &Engine) -> Vec<(&'static str, Vec<Row>)> {
    let last = engine.accept(Vec::new()).expect("it runs").epoch;
    let moment = engine.wait(last).expect("it runs");
    let of_the_way = [View::Ledger, View::IngestLedger, View::Quarantine, View::QuotaCrossings];
    let views = View::ALL.into_iter().filter(|view| !of_the_way.contains(view));
    views.map(|view| (view.name(), moment.rows(view))).collect()
}

const STANDING: [Said; 6] =
    [(1, 0, false, 10), (2, 0, false, 20), (3, 2, false, 30), (4, 0, true, 0), (5, 1, false, 7), (6, 0, false, 1)];

#[test]
fn what_was_taken_back_leaves_no_trace() {
    for workers in [1, 3] {
        let engine = told(workers);
        send(&engine, &STANDING);
        let before = settled(&engine);
        // A new one, a repeated one, a correction, a withdrawal, one that comes back, one that is too
        // late, one that is corrected twice, and the withdrawal of one that nobody knows.
        let batch = [
            (9, 0, false, 90),
            (1, 0, false, 10),
            (2, 1, false, 25),
            (3, 2, true, 0),
            (4, 1, false, 44),
            (5, 0, false, 70),
            (6, 1, false, 2),
            (6, 2, false, 3),
            (12, 0, true, 0),
        ];
        apply(&engine, "june", &batch, None).expect("it is applied");
        let applied = engine.books().backfills["june"].clone();
        assert_eq!((applied.batch.events, applied.batch.displaced), (9, 0));
        assert_ne!(settled(&engine), before);
        let undone = revert(&engine, "june").expect("it is taken back");
        assert_eq!(undone, Undone { retracted: 2, restored: 3, left: 0, dropped: 0 });
        assert_eq!(settled(&engine), before, "{workers} workers");
    }
}

/// Events of a type that no meter reads yet, by the way of a backfill.
fn unheard_of(engine: &Engine, name: &str, ids: &[u32], revision: u32) -> EventBatch {
    let mut reader = EventReader::new(engine.layouts(), "default", SOURCE).of_partition(name);
    let mut batch = reader.batch();
    for id in ids {
        let event = serde_json::json!({
            "id": id.to_string(), "source": "/late", "type": "late", "subject": customer_name(0),
            "time": "2026-06-03T00:00:00Z", "revision": revision,
        });
        reader.read_line(event.to_string().as_bytes(), "here", &mut batch);
    }
    batch.finish()
}

/// One of them taken back, under a greater revision.
fn retraction(engine: &Engine, id: u32) -> EventBatch {
    let mut reader = EventReader::new(engine.layouts(), "default", "http");
    let mut batch = reader.batch();
    let event = serde_json::json!({
        "id": id.to_string(), "source": "/late", "type": "late", "subject": customer_name(0),
        "time": "2026-06-03T00:00:00Z", "revision": 2, "retract": true,
    });
    reader.read_line(event.to_string().as_bytes(), "here", &mut batch);
    batch.finish()
}

/// From now on a meter reads them.
fn hear_of(engine: &Engine) {
    let meter = Meter::counting("late", "late");
    engine.accept(vec![Submission::Catalog(vec![CatalogChange::Meter(meter)])]).expect("it makes sense");
}

fn apply_unheard_of(engine: &Engine, name: &str, ids: &[u32]) {
    let apply = Apply { name: name.to_owned(), digest: "d".to_owned(), scope: None, sets_aside: true };
    let batch = unheard_of(engine, name, ids, 0);
    let receipt = engine.accept(vec![Submission::Events(batch), Submission::Backfill(apply)]).expect("it is applied");
    assert_eq!(receipt.uncounted(), ids.len() as u64);
}

#[test]
fn what_was_read_again_is_taken_back_too() {
    let engine = told(2);
    send(&engine, &STANDING);
    apply_unheard_of(&engine, "june", &[1, 2, 3]);
    hear_of(&engine);
    let before = settled(&engine);
    let replay = || engine.replay_quarantine("default", &Selection::default()).expect("it can be read again");
    assert_eq!(replay().accepted, 3);
    assert_ne!(settled(&engine), before);
    // Somebody else corrects one of them.
    let correction = unheard_of(&engine, "july", &[2], 1);
    engine.accept(vec![Submission::Events(EventBatch { source: "http".into(), ..correction })]).expect("it is taken");
    let undone = revert(&engine, "june").expect("it is taken back");
    assert_eq!(undone, Undone { retracted: 2, restored: 0, left: 1, dropped: 0 });
    engine.accept(vec![Submission::Events(retraction(&engine, 2))]).expect("it is taken");
    assert_eq!(settled(&engine), before);
}

#[test]
fn what_others_said_between_stands_again() {
    let engine = told(1);
    let apply = Apply { name: "june".to_owned(), digest: "d".to_owned(), scope: None, sets_aside: true };
    let batches = [0, 2].map(|revision| Submission::Events(unheard_of(&engine, "june", &[1], revision)));
    let submissions = batches.into_iter().chain([Submission::Backfill(apply)]).collect();
    let epoch = engine.accept(submissions).expect("it is applied").epoch;
    hear_of(&engine);
    let replay = |place| {
        let selection = Selection { inputs: [InputId { epoch, place }].into(), ..Selection::default() };
        engine.replay_quarantine("default", &selection).expect("it can be read again").accepted
    };
    assert_eq!(replay(0), 1);
    let between = EventBatch { source: "http".into(), ..unheard_of(&engine, "", &[1], 1) };
    engine.accept(vec![Submission::Events(between)]).expect("it is taken");
    let before = settled(&engine);
    assert_eq!(replay(1), 1);
    let undone = revert(&engine, "june").expect("it is taken back");
    assert_eq!(undone, Undone { retracted: 0, restored: 1, left: 0, dropped: 0 });
    assert_eq!(settled(&engine), before);
}

#[test]
fn what_is_set_aside_of_a_batch_that_was_taken_back_is_not_read_again() {
    let engine = told(2);
    apply_unheard_of(&engine, "june", &[1, 2]);
    revert(&engine, "june").expect("it is taken back");
    hear_of(&engine);
    let room = Acceptance::default().quarantined_max;
    assert_eq!(engine.quarantine_room(), room, "it takes no room that nobody could make");
    let before = settled(&engine);
    let replayed = engine.replay_quarantine("default", &Selection::default()).expect("it can be asked for");
    assert_eq!((replayed.accepted, replayed.still, replayed.unreadable, replayed.epoch), (0, 0, 0, None));
    assert_eq!(settled(&engine), before);
}

#[test]
fn what_others_changed_since_is_left() {
    let engine = told(1);
    send(&engine, &STANDING);
    apply(&engine, "june", &[(1, 1, false, 11), (2, 1, false, 21), (9, 0, false, 9)], None).expect("it is applied");
    send(&engine, &[(1, 5, false, 15), (9, 0, true, 0)]);
    assert_eq!(
        revert(&engine, "june").expect("it is taken back"),
        Undone { retracted: 0, restored: 1, left: 2, dropped: 0 }
    );
    let expected = told(1);
    send(&expected, &STANDING);
    send(&expected, &[(1, 5, false, 15)]);
    let usage = |engine: &Engine| settled(engine).swap_remove(0);
    assert_eq!(usage(&engine), usage(&expected));
}

#[test]
fn nothing_comes_behind_a_backfill_in_its_epoch() {
    let engine = told(1);
    begin(&engine);
    let more = Submission::Events(events(&engine, &[(1, 0, false, 5)]));
    let apply = Submission::Backfill(Apply { name: "june".to_owned(), ..Apply::default() });
    let refused = engine.accept(vec![more.clone(), apply, more.clone()]).expect_err("it would not be the batch's");
    assert!(refused.to_string().contains("'june' is the last of its epoch"), "{refused}");
    assert!(engine.accept(vec![more]).is_ok(), "nothing of it was accepted");
}

#[test]
fn a_name_is_applied_once_and_taken_back_once() {
    let engine = told(1);
    let why = |refused: Result<String, DoorError>| refused.expect_err("it is refused").to_string();
    let again = |engine: &Engine| apply(engine, "june", &[(2, 0, false, 2)], None).map(|_| String::new());
    assert_eq!(
        why(revert(&engine, "june").map(|_| String::new())),
        "backfill 'june' was never applied, so there is nothing to take back"
    );
    apply(&engine, "june", &[(1, 0, false, 1)], None).expect("it is applied");
    let before = settled(&engine);
    assert!(why(again(&engine)).starts_with("backfill 'june' was applied at epoch 2: its events count"));
    assert_eq!(settled(&engine), before, "what is refused does nothing");
    revert(&engine, "june").expect("it is taken back");
    assert!(why(revert(&engine, "june").map(|_| String::new())).contains("was taken back before, at epoch"));
    assert!(why(again(&engine)).contains("to apply its events after all, stage them under another name"));
    apply(&engine, "june, after all", &[(1, 0, false, 1)], None).expect("it is as if nothing had been said");
    assert_eq!(settled(&engine), before);
}

#[test]
fn what_cannot_be_counted_holds_a_batch_up() {
    let engine = told(1);
    let mut batch = events(&engine, &[(1, 0, false, 1), (2, 0, false, 2)]);
    batch.rows[1].occurred_at = MONTH_END + 30 * DAY;
    let apply = Apply { name: "june".to_owned(), ..Apply::default() };
    let submit =
        |apply: &Apply| engine.accept(vec![Submission::Events(batch.clone()), Submission::Backfill(apply.clone())]);
    let refused = submit(&apply).expect_err("one is of the future").to_string();
    assert!(refused.contains("brings 1 event that cannot be counted, and nothing of it was applied"), "{refused}");
    let receipt = submit(&Apply { sets_aside: true, ..apply }).expect("it may be set aside");
    assert_eq!((receipt.taken(), receipt.refused()), (1, 1));
}

#[test]
fn a_contradiction_holds_a_batch_up_as_well() {
    let engine = told(2);
    send(&engine, &STANDING);
    let before = settled(&engine);
    // 1 says another quantity at its revision, 9 contradicts itself; 2 is too late, and 5 a duplicate.
    let batch = [(1, 0, false, 11), (9, 0, false, 5), (9, 0, false, 6), (3, 1, false, 8), (5, 1, false, 7)];
    let refused = apply(&engine, "june", &batch, None).expect_err("two contradict what stands").to_string();
    assert!(refused.contains("brings 2 events that cannot be counted, and nothing of it was applied"), "{refused}");
    assert_eq!(settled(&engine), before, "nothing of it was applied");
    let apply = Apply { name: "june".to_owned(), sets_aside: true, ..Apply::default() };
    let submissions = vec![Submission::Events(events(&engine, &batch)), Submission::Backfill(apply)];
    let receipt = engine.accept(submissions).expect("they may be set aside");
    assert_eq!((receipt.refused(), receipt.uncounted()), (0, 2));
    let quarantine = engine.wait(receipt.epoch).expect("it runs").rows(View::Quarantine);
    assert_eq!(quarantine.len(), 2, "each of them is named: {quarantine:?}");
    revert(&engine, "june").expect("it is taken back");
    assert_eq!(settled(&engine), before);
}

#[test]
fn backfills_contradict_no_more_often_than_is_kept() {
    let acceptance = Acceptance { quarantined_max: 2, ..Acceptance::default() };
    let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
    begin(&engine);
    send(&engine, &STANDING);
    let submit = |name: &str, batch: &[Said]| {
        let apply = Apply { name: name.to_owned(), sets_aside: true, ..Apply::default() };
        let batch = EventBatch { source: SOURCE.to_owned(), ..events(&engine, batch) };
        let receipt = engine.accept(vec![Submission::Events(batch), Submission::Backfill(apply)])?;
        engine.wait(receipt.epoch).expect("it runs");
        Ok(receipt.uncounted())
    };
    // 1 says another quantity at its revision, and 9 contradicts itself.
    let contradicting = [(1, 0, false, 11), (9, 0, false, 5), (9, 0, false, 6)];
    assert_eq!(submit("may", &contradicting).map_err(|error: DoorError| error.to_string()), Ok(2));
    let refused = submit("june", &contradicting[..1]).expect_err("there is no more room").to_string();
    assert!(refused.contains("2 that came with backfills before it"), "{refused}");
    assert_eq!(
        submit("july", &[(10, 0, false, 5)]).map_err(|error| error.to_string()),
        Ok(0),
        "it contradicts nothing"
    );
}

/// A meter of the events of which all but the late ones are.
fn meter(engine: &Engine) -> String {
    let catalog = engine.books().catalog.clone();
    let mut meters =
        catalog.meters.iter().filter(|(_, _, meter)| meter.event_type == trueup_workload::events::TYPES[0]);
    meters.next().expect("a meter reads them").2.name.clone()
}

/// One that stands for all that the first customer used in the month.
fn first_customers(engine: &Engine) -> Scope {
    let whose = Whose::Customer(customer_name(0));
    Scope { whose, meter: meter(engine), from: MONTH_START, to: MONTH_END }
}

#[test]
fn a_batch_stands_in_place_of_a_scope() {
    let engine = told(2);
    send(&engine, &STANDING);
    send(&engine, &[(3, 3, true, 0), (9, 0, false, 5), (12, 0, false, 6)]);
    let before = settled(&engine);
    // All that is the first customer's: 3 was withdrawn, 6, 9 and 12 stand; 12 is named, 15 is new.
    let scope = first_customers(&engine);
    let receipt = apply(&engine, "anew", &[(12, 1, false, 8), (15, 0, false, 4)], Some(scope.clone()));
    receipt.expect("it is applied");
    assert_eq!(engine.books().backfills["anew"].batch.displaced, 2);
    let expected = told(1);
    send(&expected, &STANDING);
    send(&expected, &[(3, 3, true, 0), (6, 0, true, 0), (12, 1, false, 8), (15, 0, false, 4)]);
    assert_eq!(settled(&engine), settled(&expected));
    assert_eq!(
        revert(&engine, "anew").expect("it is taken back"),
        Undone { retracted: 1, restored: 3, left: 0, dropped: 0 }
    );
    assert_eq!(settled(&engine), before);

    let nobody = Scope { whose: Whose::Customer("nobody".to_owned()), ..scope.clone() };
    let refused = apply(&engine, "nobody", &[], Some(nobody)).expect_err("there is no such customer");
    let why =
        "backfill 'nobody' replaces usage of 'nobody', who is no customer: the view `customers` has all there are";
    assert_eq!(refused.to_string(), why);
    let near = Scope { whose: Whose::Customer("cust-0000".to_owned()), ..scope.clone() };
    let refused = apply(&engine, "near", &[], Some(near)).expect_err("there is no such customer").to_string();
    assert!(refused.contains("'cust-0000', who is no customer: did you mean 'cust-00000'"), "{refused}");
    let nothing = Scope { meter: "nothing".to_owned(), ..scope };
    let refused = apply(&engine, "nothing", &[], Some(nothing)).expect_err("there is no such meter");
    let why = "backfill 'nothing' replaces usage of 'nothing', which is no meter: the view `meters` has all there are";
    assert_eq!(refused.to_string(), why);
}

#[test]
fn what_it_names_and_cannot_be_read_is_not_displaced() {
    let engine = told(1);
    send(&engine, &[(3, 0, false, 30), (6, 0, false, 6)]);
    let before = settled(&engine);
    let mut batch = events(&engine, &[(3, 0, false, 31), (9, 0, false, 9)]);
    batch.rows[0].occurred_at = MONTH_END + 30 * DAY;
    let scope = Some(first_customers(&engine));
    let apply = Apply { name: "june".to_owned(), scope, sets_aside: true, ..Apply::default() };
    let submissions = vec![Submission::Events(batch), Submission::Backfill(apply.clone())];
    let refused = engine.accept(submissions).expect_err("one would be displaced by nothing").to_string();
    assert!(refused.contains("sets 1 input aside that name what stands in its scope"), "{refused}");
    // Nor what nobody can read: it might name anything.
    let mut reader = EventReader::new(engine.layouts(), "default", "test");
    let mut batch = reader.batch();
    reader.read_line(br#"{"id": 3, "source": "/test"}"#, "here", &mut batch);
    let submissions = vec![Submission::Events(batch.finish()), Submission::Backfill(apply)];
    let refused = engine.accept(submissions).expect_err("nobody can read its id").to_string();
    assert!(refused.contains("of which nobody can read what they name"), "{refused}");
    assert_eq!(settled(&engine), before, "nothing of it was applied");
}

#[test]
fn a_scope_is_left_by_what_its_meter_does_not_read() {
    let engine = told(1);
    hear_of(&engine);
    let late = EventBatch { source: "http".into(), ..unheard_of(&engine, "", &[1], 0) };
    engine.accept(vec![Submission::Events(late)]).expect("it is taken");
    send(&engine, &[(3, 0, false, 30)]);
    apply(&engine, "anew", &[], Some(first_customers(&engine))).expect("it is applied");
    assert_eq!(engine.books().backfills["anew"].batch.displaced, 1);
}

#[test]
fn a_scope_is_left_by_what_happened_at_its_end() {
    let engine = told(1);
    // Each on the day after its number, all of the first customer.
    send(&engine, &[(3, 0, false, 1), (6, 0, false, 1), (9, 0, false, 1)]);
    let (from, to) = (MONTH_START + 3 * DAY, MONTH_START + 9 * DAY);
    let scope = Scope { from, to, ..first_customers(&engine) };
    apply(&engine, "two", &[], Some(scope)).expect("it is applied");
    assert_eq!(engine.books().backfills["two"].batch.displaced, 2);
}

/// Journal and checkpoints on one disk, so that its calls can be counted.
fn on(disk: &SimulatedDisk) -> Result<Engine, String> {
    let settings = Settings { segment_bytes: 20_000, ..Settings::default() };
    let (journal, _) = FileJournal::open_on(Arc::new(disk.clone()), settings).map_err(|error| error.to_string())?;
    let kept = checkpoints::Settings { hot_rows_max: 5, ..checkpoints::Settings::on(Arc::new(disk.clone())) };
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), checkpoints: Some(kept), ..Setup::default() };
    Engine::resume(setup, |_| {}).map_err(|error| error.to_string())
}

/// What a batch of enough events to be in more than one call to the disk says.
fn batch() -> Vec<Said> {
    (1..40).map(|id| (id, 3, id % 7 == 0, id)).collect()
}

#[test]
fn the_power_may_go_while_a_batch_is_applied_or_taken_back() {
    let disk = SimulatedDisk::new(1);
    let engine = on(&disk).expect("the disk is good");
    begin(&engine);
    send(&engine, &STANDING);
    engine.checkpoint().expect("the disk is good");
    let mut states = vec![settled(&engine)];
    let begun = disk.calls();
    apply(&engine, "june", &batch(), None).expect("it is applied");
    states.push(settled(&engine));
    engine.checkpoint().expect("the disk is good");
    revert(&engine, "june").expect("it is taken back");
    assert_eq!(settled(&engine), states[0]);
    engine.stop();
    let calls = disk.calls() - begun;
    assert!(calls > 5, "{calls}");
    let mut seen = [0, 0];
    for call in 0..calls {
        let mut disk = SimulatedDisk::new(call);
        let engine = on(&disk).expect("the disk is good");
        begin(&engine);
        send(&engine, &STANDING);
        engine.checkpoint().expect("the disk is good");
        settled(&engine);
        disk.power_off_after(call);
        let is_applied = apply(&engine, "june", &batch(), None).is_ok();
        let is_reverted = is_applied && {
            drop(engine.checkpoint());
            revert(&engine, "june").is_ok()
        };
        engine.stop();
        disk = if call.is_multiple_of(3) { disk.after_kill() } else { disk.after_power_cut() };
        let engine = on(&disk).unwrap_or_else(|error| panic!("call {call}: {error}"));
        let found = engine.books().backfills.get("june").cloned();
        let counts = found.as_ref().is_some_and(|applied| applied.reverted.is_none());
        assert_eq!(settled(&engine), states[usize::from(counts)], "call {call}: all of it or nothing");
        assert!(!is_applied || found.is_some(), "call {call}: what was acknowledged is there");
        assert!(!is_reverted || !counts, "call {call}: what was acknowledged is there");
        seen[usize::from(counts)] += 1;
        // It can go on from there.
        if found.is_none() {
            apply(&engine, "june", &batch(), None).expect("it is applied now");
        }
        if found.is_none_or(|applied| applied.reverted.is_none()) {
            revert(&engine, "june").expect("it is taken back now");
        }
        assert_eq!(settled(&engine), states[0], "call {call}");
    }
    println!("the power went at each of {calls} calls of a backfill");
    assert!(seen.iter().all(|seen| *seen > 0), "the power went before and after: {seen:?}");
}
