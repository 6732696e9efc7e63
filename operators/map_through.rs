//! Maps each record by a function of the books.
//!
//! Law: at every epoch the output is the input of that epoch, each record `k` with difference
//! `d` replaced by `f(books, k, d)`, where `f` is linear in `d`. When the books change, exactly
//! the records of those whom the change touches are mapped again: minus by the old books, plus
//! by the new. Cost: what changed, and what is touched; the arrangement it reads is shared.

use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::{Cursor, Navigable, TraceReader, cursor};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Targets, Turn};
use trueup_model::fact::Epoch;

use crate::in_order::InOrder;
use crate::shared::{KeyBatch, KeyTrace, accumulate};
use crate::touched::{Lead, Leads};

/// Maps `records` by `map`, which is handed the books, a record, its difference, and where to
/// put the results. `leads` tells from a turn whose records to map again.
pub fn map_through<'scope, K, R, D, R2>(
    records: Arranged<'scope, TraceAgent<KeyTrace<K, R>>>,
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
    name: &str,
    leads: impl Fn(&Turn) -> Leads + 'static,
    mut map: impl FnMut(&mut Targets, &K, &R, &mut dyn FnMut(D, R2)) + 'static,
) -> StreamVec<'scope, Epoch, (D, Epoch, R2)>
where
    K: ExchangeData + Lead,
    R: ExchangeData + Abelian + Semigroup,
    D: Clone + Ord + 'static,
    R2: Abelian + Clone + 'static,
{
    let mut trace = records.trace;
    records.stream.binary_frontier(turns, Pipeline, Pipeline, name, move |_, _| {
        let mut in_order = InOrder::<KeyBatch<K, R>>::default();
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
                let mut session = output.session(&step.capability);
                let mut run = Run::new(|target, diff| session.give((target, step.epoch, diff)));
                if let Some(turn) = step.turn {
                    let leads = leads(&turn);
                    trace.advance_upper(in_order.upper());
                    let touched = if leads.is_empty() {
                        Vec::new()
                    } else {
                        let batches = trace.batches_through(in_order.upper().borrow());
                        let batches = batches.expect("batches meet at each upper that was announced");
                        read_leads(batches, &leads, step.epoch)
                    };
                    for (key, diff) in &touched {
                        let mut minus = diff.clone();
                        minus.negate();
                        map(&mut targets, key, &minus, &mut |target, diff| run.put(target, diff));
                    }
                    targets.turn(turn.books.clone());
                    for (key, diff) in &touched {
                        map(&mut targets, key, diff, &mut |target, diff| run.put(target, diff));
                    }
                }
                for batch in &step.batches {
                    read_epoch(batch, step.epoch, |key, diff| {
                        map(&mut targets, key, diff, &mut |target, diff| run.put(target, diff));
                    });
                }
                run.finish();
            }
            in_order.release();
            trace.advance_upper(in_order.upper());
            trace.set_logical_compaction(in_order.since(turns_frontier).borrow());
            trace.set_physical_compaction(in_order.upper().borrow());
        }
    })
}

/// Adds up the differences of neighbours with the same target before they are sent: records
/// that lie together mostly map together.
struct Run<D, R, F: FnMut(D, R)> {
    pending: Option<(D, R)>,
    give: F,
}

impl<D: Ord, R: Semigroup, F: FnMut(D, R)> Run<D, R, F> {
    fn new(give: F) -> Self {
        Run { pending: None, give }
    }

    fn put(&mut self, target: D, diff: R) {
        match &mut self.pending {
            Some((last, sum)) if *last == target => sum.plus_equals(&diff),
            _ => {
                if let Some((last, sum)) = self.pending.replace((target, diff)) {
                    (self.give)(last, sum);
                }
            }
        }
    }

    fn finish(mut self) {
        if let Some((last, sum)) = self.pending.take() {
            (self.give)(last, sum);
        }
    }
}

/// The records of the leads as of just before `epoch`.
fn read_leads<K, R>(batches: Vec<KeyBatch<K, R>>, leads: &Leads, epoch: Epoch) -> Vec<(K, R)>
where
    K: ExchangeData + Lead,
    R: ExchangeData + Semigroup,
{
    let mut records = Vec::new();
    let Some(as_of) = epoch.checked_sub(1) else { return records };
    let (mut cursor, storage) = cursor::cursor_list(batches);
    match leads {
        Leads::All => {
            while let Some(key) = cursor.get_key(&storage) {
                records.extend(accumulate(&mut cursor, &storage, as_of).map(|diff| (key.clone(), diff)));
                cursor.step_key(&storage);
            }
        }
        Leads::Some(leads) => {
            for &lead in leads {
                cursor.seek_key(&storage, &K::first(lead));
                while let Some(key) = cursor.get_key(&storage).filter(|key| key.lead() == lead) {
                    records.extend(accumulate(&mut cursor, &storage, as_of).map(|diff| (key.clone(), diff)));
                    cursor.step_key(&storage);
                }
            }
        }
    }
    records
}

/// Calls `each` with the updates of one epoch.
fn read_epoch<K, R>(batch: &KeyBatch<K, R>, epoch: Epoch, mut each: impl FnMut(&K, &R))
where
    K: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let mut cursor = batch.cursor();
    while let Some(key) = cursor.get_key(batch) {
        cursor.map_times(batch, |time, diff| {
            if *time == epoch {
                each(key, diff);
            }
        });
        cursor.step_key(batch);
    }
}

/// The different times of a batch.
fn epochs<K, R>(batch: &KeyBatch<K, R>) -> Vec<Epoch>
where
    K: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let mut epochs = std::collections::BTreeSet::new();
    let mut cursor = batch.cursor();
    while cursor.key_valid(batch) {
        cursor.map_times(batch, |time, _| {
            epochs.insert(*time);
        });
        cursor.step_key(batch);
    }
    epochs.into_iter().collect()
}
