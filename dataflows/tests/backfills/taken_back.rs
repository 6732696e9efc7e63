//! A backfill that was taken back is as if it had never been said.

use std::collections::BTreeSet;
use trueup::engine::view_rows::Cell;

use trueup_model::catalog::Customer;

use super::*;
use crate::history::Dice;

#[test]
fn the_greatest_revision_can_be_taken_back_too() {
    const LAST: u32 = u32::MAX;
    let engine = told(1);
    send(&engine, &STANDING);
    send(&engine, &[(12, LAST, false, 4)]);
    let before = settled(&engine);
    let batch =
        [(2, LAST, false, 21), (3, LAST, true, 0), (30, LAST, false, 3), (12, LAST, false, 4), (31, LAST, true, 0)];
    apply(&engine, "june", &batch, None).expect("it is applied");
    assert_ne!(settled(&engine), before);
    assert_eq!(
        revert(&engine, "june").expect("it is taken back"),
        Undone { retracted: 1, restored: 2, left: 0, dropped: 0 }
    );
    assert_eq!(settled(&engine), before);
    // What is said of them later is held against what stands, not against what was taken back.
    let later = [(2, 1, false, 22), (3, 3, false, 33), (30, 0, false, 3), (31, 0, false, 7), (31, 0, true, 0)];
    let expected = told(1);
    send(&expected, &STANDING);
    send(&expected, &[(12, LAST, false, 4)]);
    [&engine, &expected].into_iter().for_each(|engine| send(engine, &later));
    assert_eq!(settled(&engine), settled(&expected));
}

/// What some say of a few events, that looks random: half of it is said of one at the same revision.
fn any_said(dice: &mut Dice) -> Vec<Said> {
    let one = |dice: &mut Dice| {
        let (id, revision) = (dice.below(6) as u32, dice.below(6) as u32 / 2);
        (id, revision, dice.one_in(4), dice.below(2) as u32 + dice.below(2) as u32 * 1_000)
    };
    (0..dice.below(8)).map(|_| one(dice)).collect()
}

/// How many contradictions are set aside.
fn contradictions(engine: &Engine) -> usize {
    let reason = View::Quarantine.columns().iter().position(|column| column.name == "reason").expect("there is one");
    let rows = engine.newest().rows(View::Quarantine);
    rows.iter().filter(|row| row[reason] == Cell::Text("conflict".into())).count()
}

/// What is to be applied in place of all that a customer used in some days, or on top.
fn any_scope(engine: &Engine, dice: &mut Dice) -> Option<Scope> {
    let from = MONTH_START + dice.below(4) as i64 * DAY;
    let whose = Whose::Customer(customer_name(dice.below(3) as u32));
    let scope = Scope { whose, meter: meter(engine), from, to: from + 3 * DAY };
    dice.one_in(2).then_some(scope)
}

/// A batch that is applied to one engine or to two, some of which may be set aside.
fn any_batch(engine: &Engine, name: &str, dice: &mut Dice) -> impl Fn(&Engine) {
    let (said, scope) = (any_said(dice), any_scope(engine, dice));
    let late: Vec<u32> = (0..3).filter(|_| dice.one_in(4)).collect();
    let apply = Apply { name: name.to_owned(), digest: "d".to_owned(), scope, sets_aside: true };
    move |engine| {
        let batches = [events(engine, &said), unheard_of(engine, &apply.name, &late, 0)];
        let submissions = batches.map(Submission::Events).into_iter().chain([Submission::Backfill(apply.clone())]);
        engine.accept(submissions.collect()).expect("it is applied");
    }
}

/// From now on a meter reads these properties, beside what others read of the same events; and nobody those that it
/// read before.
fn read_otherwise(engine: &Engine, dimensions: &[&str]) {
    let others = OTHERWISE.iter().filter(|property| !dimensions.contains(property));
    read_as_well(engine, dimensions, others.map(ToString::to_string).collect());
}

/// What is read of events or is not.
const OTHERWISE: [&str; 2] = ["extra", "plan"];

fn read_as_well(engine: &Engine, dimensions: &[&str], forget: BTreeSet<String>) {
    let dimensions = dimensions.iter().map(ToString::to_string).collect();
    let meter = Meter { dimensions, forget, ..Meter::counting("otherwise", trueup_workload::events::TYPES[0]) };
    engine.accept(vec![Submission::Catalog(vec![CatalogChange::Meter(meter)])]).expect("it makes sense");
}

#[test]
fn what_is_taken_back_is_as_if_it_had_never_been_said() {
    let mut moved = 0;
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let (engine, without) = (told(1 + seed as usize % 2), told(1));
        let both = |act: &dyn Fn(&Engine)| [&engine, &without].into_iter().for_each(act);
        let mut applied = Vec::new();
        for step in 0..8 {
            let said = any_said(&mut dice);
            both(&|engine| send(engine, &said));
            let name = format!("batch {step}");
            match dice.below(9) {
                0..4 => {
                    any_batch(&engine, &name, &mut dice)(&engine);
                    applied.push(name);
                }
                4..6 => both(&any_batch(&engine, &name, &mut dice)),
                6 if !applied.is_empty() => {
                    // Not always the last first.
                    let name = applied.swap_remove(0);
                    assert!(revert(&engine, &name).is_ok());
                }
                6 | 7 => {
                    let dimensions = dice.some(&OTHERWISE);
                    match dice.one_in(2) {
                        true => both(&|engine| read_otherwise(engine, &dimensions)),
                        false => both(&|engine| read_as_well(engine, &dimensions, BTreeSet::new())),
                    }
                }
                _ => {
                    both(&hear_of);
                    both(&|engine| {
                        engine.replay_quarantine("default", &Selection::default()).expect("it can be read again");
                    });
                }
            }
        }
        moved += usize::from(settled(&engine) != settled(&without));
        applied.iter().for_each(|name| assert!(revert(&engine, name).is_ok()));
        assert_eq!(settled(&engine), settled(&without), "seed {seed}");
        assert_eq!(contradictions(&engine), contradictions(&without), "seed {seed}");
        for _ in 0..2 {
            let said = any_said(&mut dice);
            both(&|engine| send(engine, &said));
            assert_eq!(settled(&engine), settled(&without), "seed {seed}: what was said since");
            assert_eq!(contradictions(&engine), contradictions(&without), "seed {seed}");
        }
    }
    assert!(moved > 20, "batches move something: {moved}");
}

#[test]
fn what_contradicts_again_is_not_judged_by_what_is_read_today() {
    let (engine, without) = (told(2), told(1));
    for engine in [&engine, &without] {
        read_otherwise(engine, &["extra"]);
        // The second says something else, of which nothing is read from then on.
        send(engine, &[(1, 0, false, 1), (1, 0, false, 1_001)]);
        read_otherwise(engine, &["plan"]);
        send(engine, &[(1, 0, false, 1)]);
    }
    assert_eq!((contradictions(&engine), contradictions(&without)), (1, 1));
    apply(&engine, "june", &[(1, 1, false, 5)], None).expect("it is applied");
    revert(&engine, "june").expect("it is taken back");
    assert_eq!(settled(&engine), settled(&without));
    assert_eq!(contradictions(&engine), 1);
}

#[test]
fn the_first_of_two_attempts_at_a_scope_is_taken_back() {
    let (engine, expected) = (told(2), told(1));
    [&engine, &expected].into_iter().for_each(|engine| send(engine, &[(3, 0, false, 30)]));
    let second = |engine: &Engine| apply(engine, "second", &[(9, 0, false, 9)], Some(first_customers(engine)));
    apply(&engine, "first", &[(6, 0, false, 6)], Some(first_customers(&engine))).expect("it is applied");
    second(&engine).expect("it is applied");
    second(&expected).expect("it is applied");
    assert_eq!(settled(&engine), settled(&expected), "the second stands in place of all");
    revert(&engine, "first").expect("it is taken back");
    assert_eq!(settled(&engine), settled(&expected), "it does so without the first as well");
    // Somebody says what the first had brought.
    [&engine, &expected].into_iter().for_each(|engine| send(engine, &[(6, 0, false, 7)]));
    assert_eq!(settled(&engine), settled(&expected), "nothing is left of it");
    [&engine, &expected].into_iter().for_each(|engine| drop(revert(engine, "second").map(|_| ())));
    assert_eq!(settled(&engine), settled(&expected));
    let usual = told(1);
    send(&usual, &[(3, 0, false, 30), (6, 0, false, 7)]);
    assert_eq!(settled(&engine), settled(&usual));
}

#[test]
fn a_scope_is_what_it_was_when_it_was_replaced() {
    let disk = SimulatedDisk::new(1);
    let engine = on(&disk).expect("the disk is good");
    let expected = told(1);
    begin(&engine);
    let scope = Scope { to: MONTH_START + 4 * DAY, ..first_customers(&engine) };
    let owns_nothing = changes(Outputs::All).into_iter().find_map(|change| match change {
        CatalogChange::Customer(customer) if customer.id == customer_name(0) => {
            Some(CatalogChange::Customer(Customer { subjects: Vec::new(), ..customer }))
        }
        _ => None,
    });
    let owns_nothing = Submission::Catalog(owns_nothing.into_iter().collect());
    [&engine, &expected].into_iter().for_each(|engine| send(engine, &[(3, 0, false, 30)]));
    // The first moves it out of the scope of the second, which displaces it without the first.
    let mut moved = events(&engine, &[(3, 1, false, 30)]);
    moved.rows[0].occurred_at += 10 * DAY;
    let first = Apply { name: "first".to_owned(), ..Apply::default() };
    engine.accept(vec![Submission::Events(moved), Submission::Backfill(first)]).expect("it is applied");
    for engine in [&engine, &expected] {
        apply(engine, "second", &[(9, 0, false, 9)], Some(scope.clone())).expect("it is applied");
        engine.accept(vec![owns_nothing.clone()]).expect("it makes sense");
    }
    engine.checkpoint().expect("the disk is good");
    settled(&engine);
    engine.stop();
    let engine = on(&disk.after_kill()).expect("the disk is good");
    revert(&engine, "first").expect("it is taken back");
    assert_eq!(settled(&engine), settled(&expected), "also when nothing is the customer's any more");
}

#[test]
fn what_a_later_batch_names_and_cannot_be_read_stands_without_the_first() {
    let (engine, expected) = (told(1), told(1));
    // An event of the first customer in the scope, which the first batch moves out of it and the second cannot read.
    let in_scope = [(3, 0, false, 30)];
    [&engine, &expected].into_iter().for_each(|engine| send(engine, &in_scope));
    let scope = Scope { from: MONTH_START, to: MONTH_START + 4 * DAY, ..first_customers(&engine) };
    let mut moved = events(&engine, &[(3, 1, false, 30)]);
    moved.rows[0].occurred_at += 10 * DAY;
    let first = Apply { name: "first".to_owned(), ..Apply::default() };
    engine.accept(vec![Submission::Events(moved), Submission::Backfill(first)]).expect("it is applied");
    let mut unread = events(&engine, &[(3, 0, false, 31)]);
    unread.rows[0].occurred_at = MONTH_END + 30 * DAY;
    let second = Apply { name: "second".to_owned(), scope: Some(scope), sets_aside: true, ..Apply::default() };
    engine.accept(vec![Submission::Events(unread), Submission::Backfill(second)]).expect("it is applied");
    revert(&engine, "first").expect("it is taken back");
    assert_eq!(settled(&engine), settled(&expected));
}
