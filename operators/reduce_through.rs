//! Works out, for each key, a function of the books and of all that is under the key.
//!
//! Law: at every epoch the output is the sum over all keys of `f(books, key, values)`, where
//! `values` are the key's values with their accumulated differences as of that epoch. A key is
//! worked out again when its values change, or when the books change and it is touched: minus
//! what it gave before, plus what it gives now. What it gave before is not kept but computed
//! again from the arrangement and the books of before. Time is totally ordered, and begins at 1:
//! before it there is nothing.
//!
//! A reduction may also tell of the change itself, such as a level that was crossed: such a
//! record is put out once and never taken back.

use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::{Abelian, Semigroup};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Books, Turn};
use trueup_model::fact::Epoch;
use trueup_model::lookup::Lookup;

use crate::arrange::{Arrangement, Records, at_epoch};
use crate::in_order::InOrder;
use crate::read::Reader;
use crate::run::Run;
use crate::tally::Tally;
use crate::touched::{Lead, Leads, walk};

/// Which of a key's values matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// The first that is there.
    First,
}

/// A key and what is under it, before an epoch and since.
pub struct Change<'a, K, V, R> {
    /// The epoch.
    pub epoch: Epoch,
    /// The key.
    pub key: &'a K,
    /// Its values before.
    pub before: &'a [(V, R)],
    /// Its values now.
    pub after: &'a [(V, R)],
}

/// How a reduction reads and computes.
pub struct Reduction<K, V, R, D, R2> {
    /// The operator's name.
    pub name: &'static str,
    /// Whose keys a turn of the books touches.
    pub leads: fn(&Turn) -> Leads,
    /// Which values matter; others are not read.
    pub which: Which,
    /// What a change of a key gives; results are put into the vector, in any order.
    #[allow(clippy::type_complexity)]
    pub change: fn(&mut BooksOfBoth, &Change<'_, K, V, R>, &mut Vec<(D, R2)>),
}

/// What a key with these values gives under these books.
pub type Compute<K, V, R, D, R2> = fn(&mut Lookup, &K, &[(V, R)], &mut Vec<(D, R2)>);

/// The books before an epoch and those since; mostly they are the same.
pub struct BooksOfBoth {
    /// Those since.
    now: Lookup,
    /// Those before, where they say something else.
    before: Option<Lookup>,
}

impl BooksOfBoth {
    /// The books before the epoch. Where neither the catalog changed nor anything was issued, these
    /// are the books of now: what is computed may rest on nothing else in them.
    pub fn before(&mut self) -> &mut Lookup {
        self.before.as_mut().unwrap_or(&mut self.now)
    }

    /// The books since.
    pub fn now(&mut self) -> &mut Lookup {
        &mut self.now
    }

    /// Puts what `compute` gives now, less what it gave before.
    pub fn difference<K, V, R, D, R2: Abelian>(
        &mut self,
        change: &Change<'_, K, V, R>,
        results: &mut Vec<(D, R2)>,
        compute: Compute<K, V, R, D, R2>,
    ) {
        let start = results.len();
        compute(self.before(), change.key, change.before, results);
        results[start..].iter_mut().for_each(|(_, diff)| diff.negate());
        compute(&mut self.now, change.key, change.after, results);
    }

    /// Goes on to the books of a turn.
    fn turn(&mut self, turn: &Turn) {
        let before = self.now.books().clone();
        let says_the_same = Arc::ptr_eq(&before.catalog, &turn.books.catalog) && turn.invoices.is_empty();
        self.before = (!says_the_same).then(|| Lookup::under(before));
        self.now.turn(turn.books.clone());
    }

    /// The epoch is over.
    fn settle(&mut self) {
        self.before = None;
    }
}

/// Reduces `records` by key.
pub fn reduce_through<'scope, K, V, R, D, R2>(
    records: Arrangement<'scope, K, V, R>,
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
    books: &Arc<Books>,
    reduction: Reduction<K, V, R, D, R2>,
) -> Records<'scope, D, R2>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
    D: Clone + Ord + 'static,
    R2: Abelian + Clone + 'static,
{
    let (trace, name) = (records.trace, reduction.name);
    let mut books = BooksOfBoth { now: Lookup::under(books.clone()), before: None };
    records.stream.binary_frontier(turns, Pipeline, Pipeline, name, move |_, _| {
        let mut in_order = InOrder::new(trace);
        let (mut results, mut tally) = (Vec::new(), Tally::default());
        let mut values = Values::default();
        move |(records, records_frontier), (turns, turns_frontier), output| {
            in_order.receive(records, turns);
            while let Some(step) = in_order.next([records_frontier, turns_frontier]) {
                let mut keys = changed_keys(&step.runs, step.epoch);
                let mut leads = Leads::none();
                if let Some(turn) = &step.turn {
                    books.turn(turn);
                    leads = (reduction.leads)(turn);
                }
                if !keys.is_empty() || !leads.is_empty() {
                    let runs = in_order.runs();
                    walk(&runs, &leads, |reader, key, _| {
                        keys.push(key.clone());
                        reader.pass_key(key);
                    });
                    keys.sort_unstable();
                    keys.dedup();
                    let mut reader = Reader::new(runs.iter());
                    let mut session = output.session(&step.capability);
                    let mut send = |tally: &mut Tally<D, R2>| {
                        session.give_iterator(tally.drain().map(|(result, diff)| (result, step.epoch, diff)));
                    };
                    let mut lead = None;
                    for key in &keys {
                        if lead.replace(key.lead()) != Some(key.lead()) || tally.is_full() {
                            send(&mut tally);
                        }
                        values.read(&mut reader, key, step.epoch, reduction.which);
                        let change = Change { epoch: step.epoch, key, before: &values.before, after: &values.after };
                        (reduction.change)(&mut books, &change, &mut results);
                        consolidate(&mut results);
                        results.drain(..).for_each(|(result, diff)| tally.put(result, diff));
                    }
                    send(&mut tally);
                }
                books.settle();
            }
            in_order.let_go(turns_frontier);
        }
    })
}

/// The values of a key that matter, as of just before an epoch and as of it.
struct Values<V, R> {
    before: Vec<(V, R)>,
    after: Vec<(V, R)>,
}

impl<V, R> Default for Values<V, R> {
    fn default() -> Self {
        Values { before: Vec::new(), after: Vec::new() }
    }
}

impl<V: Ord + Clone, R: Semigroup> Values<V, R> {
    /// Reads a key, not less than the one before.
    fn read<K: Ord>(&mut self, reader: &mut Reader<'_, K, V, R>, key: &K, epoch: Epoch, which: Which) {
        self.before.clear();
        self.after.clear();
        reader.seek(key);
        while !self.are_enough(which)
            && let Some(value) = reader.value(key)
        {
            let sums = reader.sums(key, value, [epoch.saturating_sub(1), epoch]);
            for (values, sum) in [&mut self.before, &mut self.after].into_iter().zip(sums) {
                if which == Which::All || values.is_empty() {
                    values.extend(sum.map(|sum| (value.clone(), sum)));
                }
            }
        }
    }

    fn are_enough(&self, which: Which) -> bool {
        which == Which::First && !self.before.is_empty() && !self.after.is_empty()
    }
}

/// The keys with updates at one epoch; several runs may have the same ones.
fn changed_keys<K: Clone + PartialEq, V, R>(runs: &[Run<K, V, R>], epoch: Epoch) -> Vec<K> {
    let mut keys: Vec<K> = Vec::new();
    for run in runs {
        for ((key, _), _, _) in at_epoch(run, epoch) {
            if keys.last() != Some(key) {
                keys.push(key.clone());
            }
        }
    }
    keys
}
