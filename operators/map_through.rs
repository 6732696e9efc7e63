//! Maps each record by a function of the books.
//!
//! Law: at every epoch the output is the input of that epoch, each record `(k, v)` with
//! difference `d` replaced by `f(books, k, v, d)`, where `f` is linear in `d`. When the books
//! change, exactly the records of those whom the change touches are mapped again: minus by the
//! old books, plus by the new. Cost: what changed, and what is touched; the arrangement it reads
//! is shared.

use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{Abelian, Semigroup};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Books, Turn};
use trueup_model::fact::Epoch;
use trueup_model::lookup::Lookup;

use crate::arrange::{Arrangement, Records, at_epoch};
use crate::in_order::InOrder;
use crate::run::Run;
use crate::tally::Tally;
use crate::touched::{Lead, Leads, walk};

/// A function of the books: is handed them, a key, a value, its difference, and where to put
/// the results.
pub type Map<K, V, R, D, R2> = fn(&mut Lookup, &K, &V, &R, &mut Tally<D, R2>);

/// Maps `records` by `map`. `leads` tells from a turn whose records to map again.
pub fn map_through<'scope, K, V, R, D, R2>(
    records: Arrangement<'scope, K, V, R>,
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
    books: &Arc<Books>,
    name: &str,
    leads: fn(&Turn) -> Leads,
    map: Map<K, V, R, D, R2>,
) -> Records<'scope, D, R2>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Abelian,
    D: Clone + Eq + 'static,
    R2: Semigroup + 'static,
{
    let trace = records.trace;
    let mut lookup = Lookup::under(books.clone());
    records.stream.binary_frontier(turns, Pipeline, Pipeline, name, move |_, _| {
        let mut in_order = InOrder::new(trace);
        let mut tally = Tally::default();
        move |(records, records_frontier), (turns, turns_frontier), output| {
            in_order.receive(records, turns);
            while let Some(step) = in_order.next([records_frontier, turns_frontier]) {
                let mut session = output.session(&step.capability);
                let mut send = |tally: &mut Tally<D, R2>| {
                    session.give_iterator(tally.drain().map(|(target, diff)| (target, step.epoch, diff)));
                };
                if let Some(turn) = step.turn {
                    let leads = leads(&turn);
                    let mut touched = Vec::new();
                    if !leads.is_empty() {
                        touched = read_leads(&in_order.runs(), &leads, step.epoch);
                    }
                    for (key, value, diff) in &mut touched {
                        diff.negate();
                        map(&mut lookup, key, value, diff, &mut tally);
                        diff.negate();
                    }
                    lookup.turn(turn.books.clone());
                    for (key, value, diff) in &touched {
                        map(&mut lookup, key, value, diff, &mut tally);
                    }
                    send(&mut tally);
                }
                for run in &step.runs {
                    let mut lead = None;
                    for ((key, value), _, diff) in at_epoch(run, step.epoch) {
                        if lead.replace(key.lead()) != Some(key.lead()) || tally.is_full() {
                            send(&mut tally);
                        }
                        map(&mut lookup, key, value, diff, &mut tally);
                    }
                    send(&mut tally);
                }
            }
            in_order.let_go(turns_frontier);
        }
    })
}

/// The records of the leads as of just before `epoch`.
fn read_leads<K, V, R>(runs: &[Run<K, V, R>], leads: &Leads, epoch: Epoch) -> Vec<(K, V, R)>
where
    K: ExchangeData + Lead,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let mut records = Vec::new();
    let Some(as_of) = epoch.checked_sub(1) else { return records };
    walk(runs, leads, |reader, key, value| {
        let [sum] = reader.sums(key, value, [as_of]);
        records.extend(sum.map(|sum| (key.clone(), value.clone(), sum)));
    });
    records
}
