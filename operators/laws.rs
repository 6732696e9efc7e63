//! The laws of the operators that read an arrangement and the books, tried on random updates.
//!
//! Whatever comes at which epoch, and however many epochs are in flight, the output adds up at
//! every epoch to the function of what the input adds up to; here it is worked out from all of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::trace::TraceReader;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Input;
use timely::dataflow::operators::{Inspect, Probe};
use timely::progress::Antichain;
use timely::worker::Worker;

use trueup_model::books::{Books, Turn};
use trueup_model::catalog::{Catalog, Touched};
use trueup_model::fact::Epoch;
use trueup_model::lookup::Lookup;

use crate::arrange::{Arrangement, Before, Records, arrange_by_key};
use crate::map_through::map_through;
use crate::reduce_through::{Reduction, Which, reduce_through};
use crate::tally::Tally;
use crate::touched::{Lead, Leads};

type Key = (u32, u32);
type Turns<'scope> = StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>;
/// A key, something of its values, and what its lead was worth then.
type Given = (Key, i64, i64);
type Operator =
    for<'scope> fn(Arrangement<'scope, Key, i64, i64>, Turns<'scope>, &Arc<Books>) -> Records<'scope, Given, i64>;
/// What an operator gives for a key with these values, if its lead is worth so much.
type Law = fn(Key, i64, &[(i64, i64)]) -> Vec<(Given, i64)>;

impl Lead for Key {
    fn lead(&self) -> u32 {
        self.0
    }

    fn first(lead: u32) -> Self {
        (lead, 0)
    }
}

/// The epochs of a history are 1 and those after it; before the first there is one without anything.
const EPOCHS: Epoch = 40;
const LEADS: u32 = 4;

/// What a lead is worth: four bits of the clock, since nothing else in the books is so plain.
fn worth(books: &Books, lead: u32) -> i64 {
    (books.clock >> (4 * lead)) & 15
}

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// What comes at an epoch.
#[derive(Clone, Default)]
struct News {
    records: Vec<((Key, i64), i64)>,
    turn: Option<Arc<Turn>>,
}

fn history(seed: u64) -> Vec<News> {
    let mut dice = Dice(seed);
    let mut there: BTreeMap<(Key, i64), i64> = BTreeMap::new();
    let mut books = Arc::new(Books::default());
    let news = |epoch| {
        let mut news = News::default();
        for _ in 0..dice.below(8) {
            let record = ((dice.below(LEADS), dice.below(3)), i64::from(dice.below(4)));
            let sum = there.entry(record).or_default();
            // What is there is taken back about as often as something is added.
            let diff = if *sum > 0 && dice.below(2) == 0 { -*sum } else { i64::from(1 + dice.below(2)) };
            *sum += diff;
            news.records.push((record, diff));
        }
        if epoch == 1 || dice.below(3) == 0 {
            let mut touched = Touched { all: dice.below(6) == 0, ..Touched::default() };
            let mut clock = books.clock;
            for lead in 0..LEADS {
                if touched.all || dice.below(3) == 0 {
                    clock = (clock & !(15 << (4 * lead))) | (i64::from(dice.below(16)) << (4 * lead));
                    touched.subjects.insert(lead);
                }
            }
            // Only with another catalog may books say something else of what is there.
            books = Arc::new(Books { catalog: Arc::new(Catalog::default()), clock, ..Books::default() });
            news.turn = Some(Arc::new(Turn { books: books.clone(), touched, ..Turn::default() }));
        }
        news
    };
    (1..=EPOCHS).map(news).collect()
}

/// Steps on, but not for ever.
fn step_until(worker: &mut Worker, is_done: impl Fn() -> bool) {
    let is_over = (0..10_000).any(|_| {
        worker.step();
        is_done()
    });
    assert!(is_over, "an operator holds back what is complete");
}

/// What an operator gives after an epoch, in its order, if it has what came through that one and is
/// handed so many of the others at once.
fn run(operator: Operator, history: Vec<News>, after: Epoch, at_once: u64) -> Vec<(Given, Epoch, i64)> {
    timely::execute_directly(move |worker| {
        let (old, new) = history.split_at(after as usize);
        let before = Before::at(after, old.iter().flat_map(|news| news.records.clone()).collect());
        let books =
            old.iter().rev().find_map(|news| news.turn.as_ref()).map_or_else(Arc::default, |turn| turn.books.clone());
        let given = Rc::new(RefCell::new(Vec::new()));
        let (mut records, mut turns, probe) = worker.dataflow(|scope| {
            let (records_input, records) = scope.new_input();
            let (turns_input, turns) = scope.new_input();
            let given = given.clone();
            let arranged = arrange_by_key(records, "Records", before, |key: &Key| u64::from(key.0));
            let results = operator(arranged, turns, &books).inspect(move |update| given.borrow_mut().push(*update));
            (records_input, turns_input, results.probe().0)
        });
        for (epoch, news) in (after + 1..).zip(new.to_vec()) {
            records.advance_to(epoch);
            turns.advance_to(epoch);
            news.records.into_iter().for_each(|(record, diff)| records.send((record, epoch, diff)));
            news.turn.into_iter().for_each(|turn| turns.send((epoch, turn)));
            if epoch % at_once == 0 {
                records.advance_to(epoch + 1);
                turns.advance_to(epoch + 1);
                step_until(worker, || !probe.less_than(&(epoch + 1)));
                let last = given.borrow().last().map(|&(_, epoch, _)| epoch);
                assert!(last <= Some(epoch), "nothing is given before its time");
            }
        }
        drop((records, turns));
        step_until(worker, || probe.done());
        given.take()
    })
}

/// What the law says is there at each epoch.
fn expected(law: Law, history: &[News]) -> Vec<BTreeMap<Given, i64>> {
    let mut there: BTreeMap<Key, BTreeMap<i64, i64>> = BTreeMap::new();
    let mut books = Arc::new(Books::default());
    let at_epoch = |news: &News| {
        for &((key, value), diff) in &news.records {
            *there.entry(key).or_default().entry(value).or_default() += diff;
        }
        if let Some(turn) = &news.turn {
            books = turn.books.clone();
        }
        let mut results = BTreeMap::new();
        for (&key, values) in &there {
            let values: Vec<(i64, i64)> = values.iter().map(|(&value, &sum)| (value, sum)).collect();
            let values: Vec<(i64, i64)> = values.into_iter().filter(|(_, sum)| *sum != 0).collect();
            add(&mut results, law(key, worth(&books, key.0), &values));
        }
        results
    };
    history.iter().map(at_epoch).collect()
}

fn add(sums: &mut BTreeMap<Given, i64>, updates: impl IntoIterator<Item = (Given, i64)>) {
    for (record, diff) in updates {
        *sums.entry(record).or_default() += diff;
    }
    sums.retain(|_, sum| *sum != 0);
}

fn check(operator: Operator, law: Law) {
    for (seed, after, at_once) in
        [(1, 0, 1), (2, 0, 1), (3, 0, 2), (4, 0, 7), (5, 0, EPOCHS), (1, 1, 1), (2, 20, 1), (3, 20, 3), (4, 33, EPOCHS)]
    {
        let history = history(seed);
        let expected = expected(law, &history);
        let given = run(operator, history, after, at_once);
        assert!(given.is_sorted_by_key(|&(_, epoch, _)| epoch), "epochs are given out in order");
        let mut sums = after.checked_sub(1).map_or_else(BTreeMap::new, |before| expected[before as usize].clone());
        for (epoch, expected) in (1..).zip(expected).skip(after as usize) {
            let new = given.iter().filter(|(_, other, _)| *other == epoch);
            add(&mut sums, new.map(|&(record, _, diff)| (record, diff)));
            assert_eq!(sums, expected, "seed {seed}, after {after}, {at_once} at once, epoch {epoch}");
        }
    }
}

fn mapped<'scope>(
    records: Arrangement<'scope, Key, i64, i64>,
    turns: Turns<'scope>,
    books: &Arc<Books>,
) -> Records<'scope, Given, i64> {
    fn map(lookup: &mut Lookup, key: &Key, value: &i64, diff: &i64, tally: &mut Tally<Given, i64>) {
        tally.put((*key, value / 2, worth(lookup.books(), key.0)), *diff);
    }
    map_through(records, turns, books, "Map", Leads::subjects, map)
}

#[test]
fn mapping_is_a_function_of_records_and_books() {
    let law: Law = |key, worth, values| values.iter().map(|(value, sum)| ((key, value / 2, worth), *sum)).collect();
    check(mapped, law);
}

#[test]
fn reducing_is_a_function_of_keys_values_and_books() {
    fn sum(lookup: &mut Lookup, key: &Key, values: &[(i64, i64)], results: &mut Vec<(Given, i64)>) {
        let sum = values.iter().map(|(value, count)| (value + 1) * count).sum();
        results.push(((*key, sum, worth(lookup.books(), key.0)), values.len() as i64));
    }
    const SUM: Reduction<Key, i64, i64, Given, i64> = Reduction {
        name: "Sum",
        leads: Leads::subjects,
        which: Which::All,
        change: |books, change, results| books.difference(change, results, sum),
    };
    let law: Law = |key, worth, values| {
        let sum = values.iter().map(|(value, count)| (value + 1) * count).sum();
        vec![((key, sum, worth), values.len() as i64)]
    };
    check(|records, turns, books| reduce_through(records, turns, books, SUM), law);
}

#[test]
fn the_first_value_is_all_that_a_reduction_of_first_values_sees() {
    fn first(lookup: &mut Lookup, key: &Key, values: &[(i64, i64)], results: &mut Vec<(Given, i64)>) {
        assert!(values.len() <= 1, "others are not read");
        let worth = worth(lookup.books(), key.0);
        results.extend(values.iter().map(|&(value, count)| ((*key, value, worth), count)));
    }
    const FIRST: Reduction<Key, i64, i64, Given, i64> = Reduction {
        name: "First",
        leads: Leads::subjects,
        which: Which::First,
        change: |books, change, results| books.difference(change, results, first),
    };
    let law: Law =
        |key, worth, values| values.iter().take(1).map(|&(value, count)| ((key, value, worth), count)).collect();
    check(|records, turns, books| reduce_through(records, turns, books, FIRST), law);
}

#[test]
fn what_need_not_be_told_apart_is_merged() {
    timely::execute_directly(|worker| {
        let (mut records, mut turns, trace, probe) = worker.dataflow(|scope| {
            let (records_input, records) = scope.new_input();
            let (turns_input, turns) = scope.new_input::<(Epoch, Arc<Turn>)>();
            let arranged = arrange_by_key(records, "Records", Before::default(), |key: &Key| u64::from(key.0));
            // To look at, without holding anything back.
            let mut trace = arranged.trace.clone();
            trace.set_logical_compaction(Antichain::new().borrow());
            trace.set_physical_compaction(Antichain::new().borrow());
            (records_input, turns_input, trace, mapped(arranged, turns, &Arc::default()).probe().0)
        });
        for epoch in 1..=300 {
            records.advance_to(epoch);
            records.send((((1, 1), 1), epoch, 1_i64));
            records.advance_to(epoch + 1);
            turns.advance_to(epoch + 1);
            step_until(worker, || !probe.less_than(&(epoch + 1)));
        }
        let mut updates = 0;
        trace.map_spans(|span| updates += span.inner.as_ref().map_or(0, |run| run.updates().len()));
        assert!(updates < 30, "{updates} updates of one record are kept");
    });
}
