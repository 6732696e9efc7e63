//! Under random histories every view equals the oracle's at every epoch, and keeps the laws.
//!
//! `TRUEUP_HISTORIES` sets how many, `TRUEUP_SEED` from which seed on. A failure is made as short as
//! it can be and shown with its seed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::history::{Act, History, Kind, history, run, shuffled, take_back_everything};
use crate::laws::Laws;
use crate::planted::{Mistake, Mistaken};
use crate::subject::{Beside, OracleSubject, Rows, Subject, difference};
use crate::subject_engine::{engine, mortal_engine};
use trueup::oracle::{Cell, VIEWS};
use trueup_model::event::UsageEvent;

const ACTS: usize = 160;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = setting("TRUEUP_SEED", 1);
    first..first + setting("TRUEUP_HISTORIES", 24)
}

/// Makes a fresh subject for a seed.
type Fresh = dyn Fn(u64) -> Box<dyn Subject>;

/// The engine beside the oracle: with one to four workers, whose steps follow the seed.
fn the_engine(seed: u64) -> Box<dyn Subject> {
    let workers = 1 + (seed % 4) as usize;
    Box::new(Beside::oracle(Box::new(engine(workers, seed))))
}

/// The engine beside the oracle, killed now and then.
fn the_mortal_engine(seed: u64) -> Box<dyn Subject> {
    let workers = 1 + (seed % 4) as usize;
    Box::new(Beside::oracle(Box::new(mortal_engine(workers, seed))))
}

fn the_oracle(_: u64) -> Box<dyn Subject> {
    Box::new(OracleSubject::new())
}

/// Why a history goes wrong; none if it goes right.
fn wrong(history: &[Act], fresh: &Fresh, seed: u64) -> Option<String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let (mut subject, mut laws) = (fresh(seed), Laws::default());
        run(history, &mut *subject, |subject| laws.check(subject));
    }));
    let panic = tried.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

/// Leaves out whatever is not needed for it to go wrong.
fn shortest(mut history: History, fresh: &Fresh, seed: u64) -> History {
    let mut length = history.len() / 2;
    while length > 0 {
        let mut start = 0;
        while start < history.len() {
            let mut shorter = history.clone();
            shorter.drain(start..(start + length).min(history.len()));
            if wrong(&shorter, fresh, seed).is_some() {
                history = shorter;
            } else {
                start += length;
            }
        }
        length /= 2;
    }
    history
}

fn check_histories(fresh: &Fresh) {
    check_some_histories(fresh, seeds());
}

fn check_some_histories(fresh: &Fresh, seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let acts = history(seed, Kind::Any, ACTS);
        if wrong(&acts, fresh, seed).is_some() {
            let shortest = shortest(acts, fresh, seed);
            let why = wrong(&shortest, fresh, seed).unwrap_or_default();
            let acts: Vec<String> = shortest.iter().map(|act| format!("{act:?}")).collect();
            panic!("seed {seed} goes wrong\n{why}\n{}", acts.join("\n"));
        }
    }
}

fn check_that_everything_can_be_taken_back(fresh: &Fresh) {
    for seed in seeds() {
        let mut subject = fresh(seed);
        let history = history(seed, Kind::Any, ACTS);
        run(&history, &mut *subject, |_| {});
        run(&take_back_everything(&history), &mut *subject, |_| {});
        crate::laws::check_that_nothing_is_left(&mut *subject);
    }
}

/// The end of a history: every view whose rows do not tell of the way there.
fn end(history: &[Act], subject: &mut dyn Subject) -> Vec<(&'static str, Rows)> {
    run(history, subject, |_| {});
    let mut end: Vec<(&str, Rows)> = VIEWS.into_iter().map(|view| (view, subject.rows(view))).collect();
    end.retain(|(view, _)| !["quota_crossings", "ingest_ledger"].contains(view));
    for (view, rows) in &mut end {
        match *view {
            "ledger" => *rows = one_state_for_what_was_heard_before(rows),
            "quarantine" => *rows = without_names(rows),
            _ => {}
        }
    }
    end
}

/// How many inputs there are for each reason by each way: they are named by when they came.
fn without_names(quarantine: &Rows) -> Rows {
    let mut counts: BTreeMap<&[Cell], i64> = BTreeMap::new();
    for row in quarantine {
        let [way @ .., _, Cell::Integer(inputs)] = &row[..] else { panic!("{row:?} has no number of inputs") };
        *counts.entry(way).or_default() += inputs;
    }
    counts.into_iter().map(|(way, inputs)| [way, &[Cell::Integer(inputs)]].concat()).collect()
}

/// Whether a statement below the one that stands had been heard before is not remembered: it is a
/// duplicate if it came before the other, and superseded if it came after.
fn one_state_for_what_was_heard_before(ledger: &Rows) -> Rows {
    let is_either =
        |row: &&Vec<Cell>| ["superseded", "duplicate"].iter().any(|state| row[0] == Cell::Text((*state).into()));
    let events = |row: &Vec<Cell>| if let Cell::Integer(events) = row[1] { events } else { 0 };
    let both = ledger.iter().filter(is_either).map(events).sum();
    let others = ledger.iter().filter(|row| !is_either(row)).cloned();
    others.chain([vec![Cell::Text("superseded or duplicate".into()), Cell::Integer(both)]]).collect()
}

fn check_that_order_does_not_matter(fresh: &Fresh) {
    for seed in seeds() {
        let history = history(seed, Kind::Confluent, ACTS);
        let [one, other] = [1, 2].map(|order| end(&shuffled(&history, seed * 2 + order), &mut *fresh(seed)));
        for ((view, one), (_, other)) in one.iter().zip(&other) {
            assert!(one == other, "seed {seed}: {view} depends on the order\n{}", difference(one, other));
        }
    }
}

/// Statements of one event, as revision, whether it takes the event back, and its value: whatever
/// the order in which they come, the same one stands.
const STATEMENTS: [[(u32, bool, &str); 5]; 6] = [
    [(0, false, "5"), (0, false, "5"), (0, true, "5"), (1, false, "7"), (1, true, "7")],
    [(0, false, "5"), (0, true, "5"), (1, false, "7"), (2, false, "9"), (1, true, "7")],
    [(0, true, "5"), (0, true, "5"), (1, true, "5"), (1, false, "5"), (0, false, "5")],
    [(0, false, "5"), (1, false, "5"), (2, false, "5"), (2, true, "5"), (3, false, "5")],
    [(3, false, "1"), (2, false, "2"), (1, false, "3"), (0, false, "4"), (3, true, "1")],
    [(0, false, "5"), (0, false, "5"), (0, false, "5"), (7, true, "5"), (8, false, "6")],
];

/// All orders of some things.
fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    if things.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for place in 0..things.len() {
        let mut others = things.to_vec();
        let first = others.remove(place);
        all.extend(orders(&others).into_iter().map(|order| [vec![first.clone()], order].concat()));
    }
    all
}

fn check_every_order_of_a_few_statements(fresh: &Fresh) {
    // A catalog, and an event to say all this of.
    let history = history(1, Kind::Confluent, ACTS);
    let is_sound = |event: &&UsageEvent| event.subject == "s1" && event.event_type == "call" && event.data.len() > 2;
    let events = history.iter().filter_map(|act| if let Act::Event(event) = act { Some(event) } else { None });
    let event = events.filter(|event| !event.retract).find(is_sound).expect("somebody called");
    let catalog = history.iter().take_while(|act| !matches!(act, Act::Commit));
    for statements in STATEMENTS {
        let mut ends = Vec::new();
        for order in orders(&statements) {
            let mut acts: History = catalog.clone().cloned().collect();
            for (revision, retract, value) in order {
                let mut event = UsageEvent { revision, retract, id: "only".to_owned(), ..event.clone() };
                event.data.insert("value".to_owned(), value.to_owned());
                acts.push(Act::Event(event));
            }
            acts.push(Act::Commit);
            let end = end(&acts, &mut *fresh(1));
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        assert_eq!(ends.len(), 1, "the end depends on the order of {statements:?}");
    }
}

/// Views that tell of the way, and not only of where it led.
const OF_THE_WAY: [&str; 4] = ["ledger", "ingest_ledger", "quarantine", "quota_crossings"];

fn check_that_a_backfill_can_be_taken_back(fresh: &Fresh) {
    let mut moved = 0;
    for seed in seeds() {
        let mut subject = fresh(seed);
        run(&history(seed, Kind::Any, ACTS), &mut *subject, |_| {});
        let lasting = VIEWS.into_iter().filter(|view| !OF_THE_WAY.contains(view));
        let shown =
            |subject: &mut dyn Subject| lasting.clone().map(|view| (view, subject.rows(view))).collect::<Vec<_>>();
        let before = shown(&mut *subject);
        // Those of another history have the same ids, and say something else.
        let other = history(seed + 1_000, Kind::Any, ACTS / 3);
        let events = other.iter().filter_map(|act| if let Act::Event(event) = act { Some(event) } else { None });
        events.for_each(|event| subject.event(event.clone()));
        subject.backfill("other", None, true).expect("nothing is refused that may be set aside");
        moved += u64::from(shown(&mut *subject) != before);
        subject.revert("other");
        for ((view, before), (_, after)) in before.iter().zip(shown(&mut *subject)) {
            assert!(*before == after, "seed {seed}: {view} is another\n{}", difference(&after, before));
        }
    }
    assert!(moved > 0, "some backfill moves something");
}

#[test]
fn the_oracle_can_take_backfills_back() {
    check_that_a_backfill_can_be_taken_back(&the_oracle);
}

#[test]
fn the_engine_can_take_backfills_back() {
    check_that_a_backfill_can_be_taken_back(&the_engine);
}

#[test]
fn the_oracle_keeps_the_laws() {
    check_histories(&the_oracle);
}

#[test]
fn the_oracle_forgets_what_is_taken_back() {
    check_that_everything_can_be_taken_back(&the_oracle);
}

#[test]
fn the_oracle_does_not_depend_on_order() {
    check_that_order_does_not_matter(&the_oracle);
}

#[test]
fn the_oracle_ends_the_same_whatever_comes_first() {
    check_every_order_of_a_few_statements(&the_oracle);
}

#[test]
fn the_engine_ends_the_same_whatever_comes_first() {
    check_every_order_of_a_few_statements(&the_engine);
}

#[test]
fn the_engine_is_right_at_every_epoch() {
    check_histories(&the_engine);
}

#[test]
fn the_engine_goes_on_from_its_journal_when_it_is_killed() {
    // Each death computes everything anew, so these take longer than others.
    check_some_histories(&the_mortal_engine, seeds().step_by(3));
}

#[test]
fn the_engine_forgets_what_is_taken_back() {
    check_that_everything_can_be_taken_back(&the_engine);
}

#[test]
fn the_engine_does_not_depend_on_order() {
    check_that_order_does_not_matter(&the_engine);
}

/// Without this the schedule could rot unseen, and a seed would say nothing.
#[test]
fn the_same_seed_gives_the_same_steps() {
    let steps = |seed: u64| {
        let mut engine = engine(3, seed);
        run(&history(seed, Kind::Any, ACTS), &mut engine, |_| {});
        engine.trace()
    };
    let mut traces = std::collections::BTreeSet::new();
    for seed in 1..=4 {
        let trace = steps(seed);
        assert!(trace.len() > 100, "the workers take turns: {} steps", trace.len());
        assert_eq!(trace, steps(seed), "seed {seed}");
        traces.insert(trace);
    }
    assert_eq!(traces.len(), 4, "another seed gives other steps");
}

/// Something that happens, the view that shows it, and how to tell by a row.
type Situation = (&'static str, &'static str, fn(&[Cell]) -> bool);

/// What must come about in some history, or the histories are not worth much.
const SITUATIONS: [Situation; 27] = [
    ("an event waits for its customer", "ledger", |row| row[0] == Cell::Text("waiting".into())),
    ("an event is heard twice", "ledger", |row| row[0] == Cell::Text("duplicate".into())),
    ("an event is superseded", "ledger", |row| row[0] == Cell::Text("superseded".into())),
    ("a retraction stands", "ledger", |row| row[0] == Cell::Text("retracted".into())),
    ("more than a duplicate comes by one way in one hour", "ingest_ledger", |row| row[8] > Cell::Integer(1)),
    ("what was declared came in", "ingest_ledger", |row| row[11] == Cell::Integer(0) && row[3] > Cell::Integer(0)),
    ("less was declared than came in", "ingest_ledger", |row| matches!(row[11], Cell::Integer(more) if more > 0)),
    ("what was unknown is read again", "usage", |row| row[1] == Cell::Text("late_heard_of".into())),
    ("statements contradict each other", "quarantine", |row| row[0] == Cell::Text("conflict".into())),
    ("a value is missing", "quarantine", |row| row[0] == Cell::Text("missing".into())),
    ("a value is too fine", "quarantine", |row| row[0] == Cell::Text("out_of_range".into())),
    ("a schema is broken", "quarantine", |row| row[0] == Cell::Text("breaks_schema".into())),
    ("a type is unknown", "quarantine", |row| row[0] == Cell::Text("unknown_type".into())),
    ("an amount cannot be kept", "quarantine", |row| row[0] == Cell::Text("amount_too_large".into())),
    ("a draft is held", "invoices", |row| row[5] == Cell::Text("held".into())),
    ("usage is kept by quarter hours", "usage", |row| between(&row[3], &row[4]) == 900_000_000),
    ("a day has 23 hours", "usage_daily", |row| between(&row[3], &row[4]) == 23 * 3_600_000_000),
    ("a quantity is negative", "usage_by_period", |row| row[7] < Cell::Decimal(0)),
    ("a quantity is nothing", "charges", |row| row[9] == Cell::Decimal(0)),
    ("a price changes within a period", "charges", |row| row[4] > row[3] && row[6] < row[5]),
    ("rounding is not nothing", "charges", |row| row[10] != row[11]),
    ("a quota is exceeded", "quota_crossings", |row| row[7] == Cell::Text("over".into())),
    ("a quota comes back", "quota_crossings", |row| row[6] == Cell::Text("over".into())),
    ("a correction is issued", "issued_lines", |row| row[2] != Cell::Null),
    ("a correction is outstanding", "corrections", |row| row[8] != Cell::Decimal(0)),
    ("a correction moves only quantity", "corrections", |row| row[8] == Cell::Decimal(0)),
    ("an issued period has no charges left", "invoices", |row| row[6] != Cell::Null && row[8] == Cell::Integer(0)),
];

fn between(start: &Cell, end: &Cell) -> i64 {
    let (Cell::Time(start), Cell::Time(end)) = (start, end) else { panic!("{start} and {end} are times") };
    end - start
}

#[test]
fn histories_come_upon_every_situation() {
    let mut missed = SITUATIONS.to_vec();
    for seed in (1..).take_while(|seed| *seed <= PATIENCE) {
        run(&history(seed, Kind::Any, ACTS), &mut *the_oracle(seed), |subject| {
            missed.retain(|(_, view, is_met)| !subject.rows(view).iter().any(|row| is_met(row)));
        });
        if missed.is_empty() {
            return;
        }
    }
    panic!("no history comes upon: {:?}", missed.iter().map(|(situation, ..)| situation).collect::<Vec<_>>());
}

/// How many histories may pass before a mistake is noticed.
const PATIENCE: u64 = 40;

#[test]
fn every_planted_mistake_is_noticed() {
    for mistake in Mistake::ALL {
        let fresh = move |_| -> Box<dyn Subject> { Box::new(Beside::oracle(Box::new(Mistaken::with(mistake)))) };
        let noticed = (1..=PATIENCE).find(|seed| wrong(&history(*seed, Kind::Any, ACTS), &fresh, *seed).is_some());
        println!("{mistake:?} is noticed at seed {noticed:?}");
        assert!(noticed.is_some(), "{mistake:?} is not noticed");
    }
}

#[test]
fn what_goes_wrong_is_shown_in_a_few_acts() {
    let fresh =
        |_| -> Box<dyn Subject> { Box::new(Beside::oracle(Box::new(Mistaken::with(Mistake::ForgetsRetractions)))) };
    let shortest = shortest(history(1, Kind::Any, ACTS), &fresh, 1);
    // At most a meter, the retraction, and an end of the epoch.
    assert!(shortest.len() <= 3, "{shortest:?}");
}
