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
use crate::shared::{SharedCursor, ValBatch, ValTrace, accumulate};
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
        let mut targets = Targets::default();
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
                trace.advance_upper(in_order.upper());
                let batches = trace.batches_through(in_order.upper().borrow());
                let mut reader = Reader::new(batches.expect("batches meet at each upper that was announced"), &reduction);
                let mut keys = changed_keys(&step.batches, step.epoch);
                if let Some(turn) = &step.turn {
                    reader.touched_keys(&(reduction.leads)(turn), &mut keys);
                    keys.extend((reduction.keys)(turn).into_iter().filter(is_here));
                }
                keys.sort_unstable();
                keys.dedup();
                let before = reader.outputs(&keys, step.epoch.checked_sub(1), &mut targets);
                if let Some(turn) = &step.turn {
                    targets.turn(turn.books.clone());
                }
                let after = reader.outputs(&keys, Some(step.epoch), &mut targets);
                let mut session = output.session(&step.capability);
                for (mut gone, mut come) in before.into_iter().zip(after) {
                    gone.iter_mut().for_each(|(_, diff)| diff.negate());
                    come.append(&mut gone);
                    consolidate(&mut come);
                    session.give_iterator(come.into_iter().map(|(result, diff)| (result, step.epoch, diff)));
                }
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

/// Reads keys of an arrangement and computes their results.
struct Reader<'a, K: ExchangeData, V: ExchangeData, R: ExchangeData + Semigroup, D, R2> {
    cursor: Cursors<K, V, R>,
    storage: Vec<ValBatch<K, V, R>>,
    reduction: &'a Reduction<K, V, R, D, R2>,
}

impl<'a, K, V, R, D, R2> Reader<'a, K, V, R, D, R2>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
    D: Ord,
{
    fn new(batches: Vec<ValBatch<K, V, R>>, reduction: &'a Reduction<K, V, R, D, R2>) -> Self {
        let (cursor, storage) = cursor_list(batches);
        Reader { cursor, storage, reduction }
    }

    /// Adds the keys of the leads.
    fn touched_keys(&mut self, leads: &Leads, keys: &mut Vec<K>) {
        self.cursor.rewind_keys(&self.storage);
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
    }

    /// The results of each key as of an epoch; none: before all.
    fn outputs(&mut self, keys: &[K], as_of: Option<Epoch>, targets: &mut Targets) -> Vec<Vec<(D, R2)>> {
        self.cursor.rewind_keys(&self.storage);
        let mut values = Vec::new();
        let mut outputs = Vec::with_capacity(keys.len());
        for key in keys {
            values.clear();
            if let Some(as_of) = as_of {
                self.read(key, as_of, &mut values);
            }
            let mut results = Vec::new();
            (self.reduction.compute)(targets, key, &values, &mut results);
            outputs.push(results);
        }
        outputs
    }

    /// The values of a key that matter, with their accumulations.
    fn read(&mut self, key: &K, as_of: Epoch, values: &mut Vec<(V, R)>) {
        let (cursor, storage) = (&mut self.cursor, &self.storage);
        cursor.seek_key(storage, key);
        if cursor.get_key(storage) != Some(key) {
            return;
        }
        cursor.rewind_vals(storage);
        while let Some(value) = cursor.get_val(storage) {
            let Some(sum) = accumulate(cursor, storage, as_of) else {
                cursor.step_val(storage);
                continue;
            };
            values.push((value.clone(), sum));
            match (self.reduction.next)(value) {
                Next::Step => cursor.step_val(storage),
                Next::Seek(target) => cursor.seek_val(storage, &target),
                Next::Stop => return,
            }
        }
    }
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
