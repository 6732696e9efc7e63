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
    books: &Books,
    worker: usize,
    workers: usize,
) -> StreamVec<'scope, Epoch, (Target, Epoch, Total)> {
    let is_mine = move |customer: CustomerId| home(customer, workers) == worker;
    let mut agenda = Agenda::under(books, is_mine);
    turns.unary(Pipeline, "Agenda: begin periods", move |_, _| {
        move |input, output| {
            input.for_each(|cap, turns| {
                let mut session = output.session(&cap);
                for (epoch, turn) in turns.drain(..) {
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
    /// What was put out under these books: it follows from them alone.
    fn under(books: &Books, is_mine: impl Fn(CustomerId) -> bool) -> Agenda {
        let mut agenda = Agenda::default();
        let customers = books.catalog.customers.iter().map(|(_, id, _)| id);
        for customer in customers.filter(|&customer| is_mine(customer)) {
            let (entries, next) = entries(books, customer, now(books.clock));
            agenda.set_due(customer, next);
            agenda.entries.insert(customer, entries);
        }
        agenda
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::calendar::Cadence;
    use trueup_model::catalog::{
        AnchorRule, Catalog, CatalogChange, Customer, Feature, Plan, PriceVersion, Quota, Subscription, Touched,
    };
    use trueup_model::dictionary::Dictionary;
    use trueup_model::grain::QUARTER_MICROS;
    use trueup_model::meter::Meter;
    use trueup_model::money::Rounding;
    use trueup_model::price::Price;

    const HOUR: Micros = 4 * QUARTER_MICROS;
    /// The hour at which 2026 begins.
    const NEW_YEAR: Micros = 20_454 * 24;

    fn feature(name: &str, meter: Option<&str>) -> CatalogChange {
        CatalogChange::Feature(Feature {
            name: name.to_owned(),
            meter: meter.map(str::to_owned),
            filter: BTreeMap::new(),
        })
    }

    /// Acme is on a plan with days as its periods, from an hour to an hour. The plan has a fee, a
    /// limit, something that is had for nothing and without a limit, and calls that have a price.
    fn catalog(from: Micros, to: Micros) -> Catalog {
        let card = |feature: &str, price: Option<Price>, is_limited: bool| RateCard {
            feature: feature.to_owned(),
            prices: price.map(|price| PriceVersion { effective_from: None, price }).into_iter().collect(),
            quota: is_limited.then_some(Quota { limit: 2, warning_at: 1 }),
        };
        let changes = [
            CatalogChange::Meter(Meter::counting("calls", "call")),
            feature("fee", None),
            feature("nothing", None),
            feature("limit", Some("calls")),
            feature("calls", Some("calls")),
            CatalogChange::Plan(Plan {
                name: "daily".to_owned(),
                currency: "EUR".parse().expect("it is a currency"),
                cadence: Cadence::Day,
                anchor: AnchorRule::Calendar,
                rounding: Rounding::default(),
                rate_cards: vec![
                    card("fee", Some(Price::Flat { amount: 5 }), false),
                    card("nothing", None, false),
                    card("limit", None, true),
                    card("calls", Some(Price::PerUnit { unit: 5 }), false),
                ],
            }),
            CatalogChange::Customer(Customer {
                id: "acme".to_owned(),
                name: "Acme".to_owned(),
                zone: "UTC".to_owned(),
                subjects: Vec::new(),
            }),
            CatalogChange::Subscription(Subscription {
                id: "first".to_owned(),
                customer: "acme".to_owned(),
                plan: "daily".to_owned(),
                starts_at: from * HOUR,
                ends_at: Some(to * HOUR),
            }),
        ];
        let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
        for change in changes {
            catalog.apply(change, &mut dictionary).expect("the catalog makes sense");
        }
        catalog
    }

    /// What is there at an hour: by feature, hour where its billing period begins, and place.
    fn expected(from: Micros, to: Micros, now: Micros) -> BTreeSet<(&'static str, Micros, Option<Micros>)> {
        let mut expected = BTreeSet::new();
        let mut start = from;
        while start < to && start <= now {
            let day = start / 24 * 24;
            let end = (day + 24).min(to);
            expected.insert(("fee", day, Some(start)));
            if now < end {
                expected.insert(("limit", day, None));
            }
            start = end;
        }
        expected
    }

    #[test]
    fn what_time_brings_is_there_from_its_moment_on() {
        let [from, to, sooner] = [36, 81, 60].map(|hour| NEW_YEAR + hour);
        // The term ends sooner by the second catalog.
        let catalogs =
            [(catalog(from, to), to), (catalog(from, sooner), sooner)].map(|(catalog, to)| (Arc::new(catalog), to));
        for step in [1, 5, 12, 40] {
            for changes_at in [30, 50, 70, 90].map(|hour| NEW_YEAR + hour) {
                let mut agenda = Agenda::default();
                let mut there: BTreeMap<Target, i64> = BTreeMap::new();
                let mut last = &Arc::default();
                for hour in (NEW_YEAR..NEW_YEAR + 120).step_by(step) {
                    let (catalog, to) = &catalogs[usize::from(hour >= changes_at)];
                    let mut touched = Touched::default();
                    if !Arc::ptr_eq(catalog, last) {
                        touched.all = hour == NEW_YEAR;
                        touched.customers.extend(catalog.customers.id("acme"));
                    }
                    last = catalog;
                    let books = Books { catalog: catalog.clone(), clock: hour * HOUR, ..Books::default() };
                    let turn = Turn { books: Arc::new(books), touched, ..Turn::default() };
                    agenda.turn(&turn, |_| false, |_, _| panic!("others are served by others"));
                    agenda.turn(&turn, |_| true, |target, diff| *there.entry(target).or_default() += diff);
                    there.retain(|_, count| *count != 0);
                    let hour_of = |grain: Grain| Micros::from(grain.0 / 4);
                    let shown = there.iter().map(|((group, place), count)| {
                        assert_eq!(*count, 1);
                        let feature = &catalog.features.get(group.feature).name;
                        (feature.as_str(), hour_of(group.period), (*place != RUNNING).then(|| hour_of(*place)))
                    });
                    assert_eq!(shown.collect::<BTreeSet<_>>(), expected(from, *to, hour), "at {hour}, by {step}");
                }
            }
        }
    }
}
