//! What time alone brings: billing periods that begin, with their flat fees and their quotas.
//!
//! Law: at every epoch the output holds, for each subscription and each billing period that has
//! begun by the billing clock, one record per flat rate card, and for the period that runs now
//! one `RUNNING` record per quota while the subscription lasts. When the clock or the books move,
//! differences follow. Each worker serves its own customers. State: what was put out, per customer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::{Books, Turn};
use trueup_model::catalog::{CustomerId, RateCard, Tenure};
use trueup_model::charge::Group;
use trueup_model::fact::Epoch;
use trueup_model::grain::{Grain, GrainStep, Micros};
use trueup_model::identity::home;
use trueup_model::lookup::{RUNNING, Target};

use crate::total::Total;

/// Follows the turns of the books and the clock; of `workers`, this is `worker`.
pub fn agenda<'scope>(
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
    worker: usize,
    workers: usize,
) -> StreamVec<'scope, Epoch, (Target, Epoch, Total)> {
    let mut agenda = Agenda::default();
    turns.unary(Pipeline, "Agenda: begin periods", move |_, _| {
        move |input, output| {
            input.for_each(|cap, turns| {
                let mut session = output.session(&cap);
                for (epoch, turn) in turns.drain(..) {
                    let is_mine = |customer: CustomerId| home(customer, workers) == worker;
                    agenda.turn(&turn, is_mine, |target, diff| {
                        session.give((target, epoch, Total::new(diff, i128::from(diff))))
                    });
                }
            });
        }
    })
}

/// What one worker put out.
#[derive(Default)]
struct Agenda {
    entries: BTreeMap<CustomerId, BTreeSet<Target>>,
    /// When each customer's next period begins, and who is next.
    next: BTreeMap<CustomerId, Grain>,
    due: BTreeSet<(Grain, CustomerId)>,
}

impl Agenda {
    fn turn(&mut self, turn: &Turn, is_mine: impl Fn(CustomerId) -> bool, mut give: impl FnMut(Target, i64)) {
        let now = now(turn.books.clock);
        for customer in self.concerned(turn, now) {
            if !is_mine(customer) {
                continue;
            }
            let (entries, next) = entries(&turn.books, customer, now);
            self.set_due(customer, next);
            let old = self.entries.insert(customer, entries).unwrap_or_default();
            let new = &self.entries[&customer];
            old.difference(new).for_each(|&target| give(target, -1));
            new.difference(&old).for_each(|&target| give(target, 1));
        }
    }

    fn set_due(&mut self, customer: CustomerId, next: Option<Grain>) {
        let before = match next {
            Some(next) => self.next.insert(customer, next),
            None => self.next.remove(&customer),
        };
        before.map(|before| self.due.remove(&(before, customer)));
        self.due.extend(next.map(|next| (next, customer)));
    }

    /// The customers for whom something may have changed.
    fn concerned(&self, turn: &Turn, now: Grain) -> BTreeSet<CustomerId> {
        if turn.touched.all {
            return turn.books.catalog.customers.iter().map(|(_, id, _)| id).collect();
        }
        let due = self.due.range(..=(now, CustomerId::MAX)).map(|&(_, customer)| customer);
        turn.touched.customers.iter().copied().chain(due).collect()
    }
}

/// The last grain edge the clock has passed.
fn now(clock: Micros) -> Grain {
    GrainStep::Quarter.grain(clock.max(0))
}

/// What a customer's time has brought by `now`, and when it next brings something.
fn entries(books: &Books, customer: CustomerId, now: Grain) -> (BTreeSet<Target>, Option<Grain>) {
    let mut entries = BTreeSet::new();
    let mut next: Option<Grain> = None;
    let mut remind = |at: Grain| next = Some(next.map_or(at, |next| next.min(at)));
    for tenure in books.catalog.tenures(customer).iter() {
        if tenure.term.from > now {
            remind(tenure.term.from);
            continue;
        }
        let mut start = tenure.term.from;
        while start < tenure.term.to {
            let Some(period) = tenure.period(start) else { break };
            if start > now {
                remind(start);
                break;
            }
            let end = period.to.min(tenure.term.to);
            for card in &books.catalog.plans.get(tenure.plan).rate_cards {
                let group = group(books, customer, tenure, period.from, card);
                if books.catalog.features.get(group.feature).meter.is_none() && !card.prices.is_empty() {
                    entries.insert((group, start));
                }
                if card.quota.is_some() && now < end {
                    entries.insert((group, RUNNING));
                }
            }
            if now < end {
                remind(end);
            }
            start = end;
        }
    }
    (entries, next)
}

fn group(books: &Books, customer: CustomerId, tenure: &Tenure, period: Grain, card: &RateCard) -> Group {
    let feature = books.catalog.features.id(&card.feature).expect("a rate card's feature is defined");
    Group { customer, subscription: tenure.subscription, period, feature }
}
