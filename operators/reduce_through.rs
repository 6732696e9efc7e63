//! Works out, for each key, a function of the books and of all that is under the key.
//!
//! Law: at every epoch the output is the sum over all keys of `f(books, key, values)`, where
//! `values` are the key's values with their accumulated differences as of that epoch. A key is
//! worked out again when its values change, or when the books change and it is touched: minus
//! what it gave before, plus what it gives now. What it gave before is not kept but computed
//! again from the arrangement and the books of before. Time is totally ordered.

use std::collections::BTreeSet;
use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::{CursorList, cursor_list};
use differential_dataflow::trace::{Cursor, Navigable, TraceReader};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Targets, Turn};
use trueup_model::fact::Epoch;
use trueup_model::identity::stable_hash;

use crate::in_order::InOrder;
use crate::shared::{SharedCursor, ValBatch, ValTrace};
use crate::touched::{Lead, Leads};

/// Where to go after a value that is there.
pub enum Next<V> {
    /// To the next value.
    Step,
    /// To the first value that is not less.
    Seek(V),
    /// No further: what follows does not matter.
    Stop,
}

/// How a reduction reads and computes.
pub struct Reduction<K, V, R, D, R2> {
    /// The operator's name.
    pub name: &'static str,
    /// Whose keys a turn of the books touches.
    pub leads: fn(&Turn) -> Leads,
    /// Which further keys it touches, even if nothing is under them; each is taken by the worker
    /// where the records of its lead lie.
    pub keys: fn(&Turn) -> Vec<K>,
    /// Which values matter.
    pub next: fn(&V) -> Next<V>,
    /// The function; results are put into the vector, in any order.
    #[allow(clippy::type_complexity)]
    pub compute: fn(&mut Targets, &K, &[(V, R)], &mut Vec<(D, R2)>),
}

/// Reduces `records` by key.
pub fn reduce_through<'scope, K, V, R, D, R2>(
    records: Arranged<'scope, TraceAgent<ValTrace<K, V, R>>>,
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
    reduction: Reduction<K, V, R, D, R2>,
) -> StreamVec<'scope, Epoch, (D, Epoch, R2)>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
    D: Clone + Ord + 'static,
    R2: Abelian + Clone + 'static,
{
    let mut trace = records.trace;
    let name = reduction.name;
    let scope = records.stream.scope();
    let (worker, workers) = (scope.index() as u64, scope.peers() as u64);
    let is_here = move |key: &K| stable_hash(key.lead(), 0) % workers == worker;
    records.stream.binary_frontier(turns, Pipeline, Pipeline, name, move |_, _| {
        let mut in_order = InOrder::<ValBatch<K, V, R>>::default();
        let (mut old_targets, mut new_targets) = (Targets::default(), Targets::default());
        let mut results = Vec::new();
        move |(records, records_frontier), (turns, turns_frontier), output| {
            records.for_each(|cap, spans| {
                in_order.hold(&cap.retain_stamp(0));
                spans.drain(..).for_each(|span| in_order.batch(span, epochs));
            });
            turns.for_each(|cap, data| {
                in_order.hold(&cap.retain_stamp(0));
                data.drain(..).for_each(|(epoch, turn)| in_order.turn(epoch, turn));
            });
            while let Some(step) = in_order.next([records_frontier, turns_frontier]) {
                let mut keys = changed_keys(&step.batches, step.epoch);
                let mut leads = Leads::none();
                if let Some(turn) = &step.turn {
                    new_targets.turn(turn.books.clone());
                    leads = (reduction.leads)(turn);
                    keys.extend((reduction.keys)(turn).into_iter().filter(is_here));
                }
                if !keys.is_empty() || !leads.is_empty() {
                    trace.advance_upper(in_order.upper());
                    let batches = trace.batches_through(in_order.upper().borrow());
                    let batches = batches.expect("batches meet at each upper that was announced");
                    let mut reader = Reader::new(batches, reduction.next);
                    reader.touched_keys(&leads, &mut keys);
                    keys.sort_unstable();
                    keys.dedup();
                    let mut session = output.session(&step.capability);
                    for key in &keys {
                        reader.read(key, step.epoch);
                        (reduction.compute)(&mut old_targets, key, &reader.before.values, &mut results);
                        results.iter_mut().for_each(|(_, diff)| diff.negate());
                        (reduction.compute)(&mut new_targets, key, &reader.after.values, &mut results);
                        consolidate(&mut results);
                        session.give_iterator(results.drain(..).map(|(result, diff)| (result, step.epoch, diff)));
                    }
                }
                old_targets.turn(new_targets.books().clone());
            }
            in_order.release();
            trace.advance_upper(in_order.upper());
            trace.set_logical_compaction(in_order.since(turns_frontier).borrow());
            trace.set_physical_compaction(in_order.upper().borrow());
        }
    })
}

type Cursors<K, V, R> = CursorList<SharedCursor<<InnerBatch<K, V, R> as Navigable>::Cursor>>;
type InnerBatch<K, V, R> = differential_dataflow::trace::implementations::ord_neu::OrdValBatch<
    differential_dataflow::trace::implementations::Vector<((K, V), Epoch, R)>,
>;

/// Reads the values of keys as of just before an epoch and as of it.
struct Reader<K: ExchangeData, V: ExchangeData, R: ExchangeData + Semigroup> {
    cursor: Cursors<K, V, R>,
    storage: Vec<ValBatch<K, V, R>>,
    next: fn(&V) -> Next<V>,
    before: Side<V, R>,
    after: Side<V, R>,
}

/// The values that matter as of one epoch.
struct Side<V, R> {
    values: Vec<(V, R)>,
    /// From where on values matter still.
    from: From<V>,
}

enum From<V> {
    Here,
    Value(V),
    Nowhere,
}

impl<V: Ord + Clone, R: Semigroup> Side<V, R> {
    fn new() -> Self {
        Side { values: Vec::new(), from: From::Here }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.from = From::Here;
    }

    fn matters(&self, value: &V) -> bool {
        match &self.from {
            From::Here => true,
            From::Value(from) => from <= value,
            From::Nowhere => false,
        }
    }

    fn take(&mut self, value: &V, sum: Option<R>, next: fn(&V) -> Next<V>) {
        // The place was reached; from here on each value is looked at again.
        self.from = From::Here;
        let Some(sum) = sum.filter(|sum| !sum.is_zero()) else { return };
        self.values.push((value.clone(), sum));
        self.from = match next(value) {
            Next::Step => From::Here,
            Next::Seek(target) => From::Value(target),
            Next::Stop => From::Nowhere,
        };
    }
}

impl<K, V, R> Reader<K, V, R>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    fn new(batches: Vec<ValBatch<K, V, R>>, next: fn(&V) -> Next<V>) -> Self {
        let (cursor, storage) = cursor_list(batches);
        Reader { cursor, storage, next, before: Side::new(), after: Side::new() }
    }

    /// Adds the keys of the leads.
    fn touched_keys(&mut self, leads: &Leads, keys: &mut Vec<K>) {
        if leads.is_empty() {
            return;
        }
        match leads {
            Leads::All => {
                while let Some(key) = self.cursor.get_key(&self.storage) {
                    keys.push(key.clone());
                    self.cursor.step_key(&self.storage);
                }
            }
            Leads::Some(leads) => {
                for &lead in leads {
                    self.cursor.seek_key(&self.storage, &K::first(lead));
                    while let Some(key) = self.cursor.get_key(&self.storage).filter(|key| key.lead() == lead) {
                        keys.push(key.clone());
                        self.cursor.step_key(&self.storage);
                    }
                }
            }
        }
        self.cursor.rewind_keys(&self.storage);
    }

    /// Reads a key, not less than the one before.
    fn read(&mut self, key: &K, epoch: Epoch) {
        self.before.clear();
        self.after.clear();
        let (cursor, storage) = (&mut self.cursor, &self.storage);
        cursor.seek_key(storage, key);
        if cursor.get_key(storage) != Some(key) {
            return;
        }
        while let Some(value) = cursor.get_val(storage) {
            let matters = [self.before.matters(value), self.after.matters(value)];
            if matters != [false, false] {
                let (before, after) = accumulate_around(cursor, storage, epoch);
                if matters[0] {
                    self.before.take(value, before, self.next);
                }
                if matters[1] {
                    self.after.take(value, after, self.next);
                }
            }
            match (&self.before.from, &self.after.from) {
                (From::Nowhere, From::Nowhere) => return,
                (From::Value(one), From::Value(other)) => cursor.seek_val(storage, one.min(other)),
                (From::Value(from), From::Nowhere) | (From::Nowhere, From::Value(from)) => {
                    cursor.seek_val(storage, from);
                }
                _ => cursor.step_val(storage),
            }
        }
    }
}

/// What the cursor's present value adds up to just before an epoch, and as of it.
fn accumulate_around<C>(cursor: &mut C, storage: &C::Storage, epoch: Epoch) -> (Option<C::Diff>, Option<C::Diff>)
where
    C: Cursor<Time = Epoch>,
    C::Diff: for<'a> Semigroup<C::DiffGat<'a>>,
{
    let (mut before, mut after): (Option<C::Diff>, Option<C::Diff>) = (None, None);
    cursor.map_times(storage, |time, diff| {
        let add = |sum: &mut Option<C::Diff>| match sum {
            Some(sum) => sum.plus_equals(&diff),
            None => *sum = Some(C::owned_diff(diff)),
        };
        let time = C::owned_time(time);
        if time < epoch {
            add(&mut before);
        }
        if time <= epoch {
            add(&mut after);
        }
    });
    (before, after)
}

/// The keys with updates at one epoch; several batches may have the same ones.
fn changed_keys<K, V, R>(batches: &[ValBatch<K, V, R>], epoch: Epoch) -> Vec<K>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let mut keys = Vec::new();
    for batch in batches {
        let mut cursor = batch.cursor();
        while let Some(key) = cursor.get_key(batch) {
            let mut is_changed = false;
            while cursor.val_valid(batch) && !is_changed {
                cursor.map_times(batch, |time, _| is_changed |= *time == epoch);
                cursor.step_val(batch);
            }
            if is_changed {
                keys.push(key.clone());
            }
            cursor.step_key(batch);
        }
    }
    keys
}

/// The different times of a batch.
fn epochs<K, V, R>(batch: &ValBatch<K, V, R>) -> Vec<Epoch>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let mut epochs = BTreeSet::new();
    let mut cursor = batch.cursor();
    while cursor.key_valid(batch) {
        while cursor.val_valid(batch) {
            cursor.map_times(batch, |time, _| {
                epochs.insert(*time);
            });
            cursor.step_val(batch);
        }
        cursor.step_key(batch);
    }
    epochs.into_iter().collect()
}
