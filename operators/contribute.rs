//! Standing events in, contributions to usage out.
//!
//! Law: the contributions of an event are a function of its row and of the metering; those of
//! a message are added up by key before they leave. Events of additive meters are counted and
//! added up under their usage key; of the others each value goes along, to be compared
//! (extremes) or told apart (texts). Stateless: no arrangement.

use std::sync::Arc;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::Semigroup;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use trueup_model::fact::Epoch;
use trueup_model::meter::Aggregation;
use trueup_model::metering::{Metering, UsageKey};
use trueup_model::usage::{UsageBatch, UsageRow};

use crate::arrange::Keyed;
use crate::deduplicate::Change;
use crate::total::Total;

/// A value of a meter that keeps values, so ordered that the one that stands comes first:
/// the greatest for `max`, the least for `min`, the last in time for `latest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// Minus the time for `latest`, else zero.
    order: i64,
    /// The value or its negative, in two words to keep it at 24 bytes.
    high: i64,
    low: u64,
}

impl Kept {
    /// A value as kept for this aggregation.
    pub fn new(aggregation: Aggregation, occurred_at: i64, value: i128) -> Kept {
        let order = if aggregation == Aggregation::Latest { -occurred_at } else { 0 };
        let rank = if aggregation == Aggregation::Min { value } else { -value };
        Kept { order, high: (rank >> 64) as i64, low: rank as u64 }
    }

    /// The value.
    pub fn value(&self, aggregation: Aggregation) -> i128 {
        let rank = (i128::from(self.high) << 64) | i128::from(self.low);
        if aggregation == Aggregation::Min { rank } else { -rank }
    }
}

/// The contributions of standing events, by what becomes of them.
pub struct Contributions<'scope> {
    /// Numbers of events and sums, of the additive meters.
    pub totals: Keyed<'scope, UsageKey, (), Total>,
    /// Values of which one stands.
    pub values: Keyed<'scope, UsageKey, Kept, i64>,
    /// Texts of which the different ones are counted.
    pub texts: Keyed<'scope, UsageKey, u32, i64>,
}

/// Meters what stands.
pub fn contribute<'scope>(changes: StreamVec<'scope, Epoch, (Epoch, Change)>) -> Contributions<'scope> {
    let mut builder = OperatorBuilder::new("Contribute: meter events".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (totals_output, totals) = builder.new_output();
    let (values_output, values) = builder.new_output();
    let (texts_output, texts) = builder.new_output();
    let mut totals_output = OutputBuilder::from(totals_output);
    let mut values_output = OutputBuilder::from(values_output);
    let mut texts_output = OutputBuilder::from(texts_output);
    let mut ledger = Ledger::default();
    builder.build(move |_| {
        move |_frontiers| {
            let mut totals = totals_output.activate();
            let mut values = values_output.activate();
            let mut texts = texts_output.activate();
            input.for_each(|cap, messages| {
                for (epoch, change) in messages.drain(..) {
                    ledger.add_change(&change);
                    totals.session(&cap).give_iterator(added_up(&mut ledger.totals, epoch));
                    values.session(&cap).give_iterator(added_up(&mut ledger.values, epoch));
                    texts.session(&cap).give_iterator(added_up(&mut ledger.texts, epoch));
                }
            });
        }
    });
    Contributions { totals, values, texts }
}

/// The contributions of one change.
#[derive(Default)]
struct Ledger {
    totals: Vec<((UsageKey, ()), Total)>,
    values: Vec<((UsageKey, Kept), i64)>,
    texts: Vec<((UsageKey, u32), i64)>,
}

impl Ledger {
    fn add_change(&mut self, change: &Change) {
        match change {
            Change::Standing { metering, batch, came, went } => {
                for &place in came {
                    self.add(metering, batch, &batch.rows[place as usize], 1);
                }
                for (batch, place) in went {
                    self.add(metering, batch, &batch.rows[*place as usize], -1);
                }
            }
            Change::Remetered { old, new, rows } => {
                for (batch, place) in rows {
                    let row = &batch.rows[*place as usize];
                    self.add(old, batch, row, -1);
                    self.add(new, batch, row, 1);
                }
            }
        }
    }

    fn add(&mut self, metering: &Arc<Metering>, batch: &UsageBatch, row: &UsageRow, diff: i64) {
        for route in metering.routes(row.properties).iter() {
            let Some(value) = route.taken.of(batch, row) else { continue };
            let key = metering.key(row.subject, route.series, row.occurred_at);
            match route.aggregation {
                Aggregation::Count | Aggregation::Sum | Aggregation::Average => {
                    self.totals.push(((key, ()), Total::new(diff, value * i128::from(diff))));
                }
                Aggregation::Min | Aggregation::Max | Aggregation::Latest => {
                    self.values.push(((key, Kept::new(route.aggregation, row.occurred_at, value)), diff));
                }
                Aggregation::UniqueCount => self.texts.push(((key, value as u32), diff)),
            }
        }
    }
}

/// Empties `updates`, equal keys added up and zeros left out, in the order of the keys.
///
/// Most epochs hold several events of a key, and every update that leaves here is exchanged,
/// sorted and merged for good.
fn added_up<K: Ord, R: Semigroup>(updates: &mut Vec<(K, R)>, epoch: Epoch) -> impl Iterator<Item = (K, Epoch, R)> {
    consolidate(updates);
    updates.drain(..).map(move |(key, diff)| (key, epoch, diff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_stands_comes_first() {
        let kept = |aggregation, at, value| Kept::new(aggregation, at, value);
        assert!(kept(Aggregation::Max, 1, 5) < kept(Aggregation::Max, 2, 4));
        assert!(kept(Aggregation::Min, 1, 4) < kept(Aggregation::Min, 2, 5));
        assert!(kept(Aggregation::Latest, 2, 1) < kept(Aggregation::Latest, 1, 9));
        assert!(kept(Aggregation::Latest, 2, 9) < kept(Aggregation::Latest, 2, 1));
        for aggregation in [Aggregation::Max, Aggregation::Min, Aggregation::Latest] {
            for value in [0, 1, -1, 1 << 70, -(1 << 70)] {
                assert_eq!(kept(aggregation, 7, value).value(aggregation), value);
            }
        }
    }
}
