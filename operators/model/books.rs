//! The books: everything small that decides what usage means, as of one epoch.
//!
//! The catalog, the names, what was issued, and the billing clock. Every worker holds the same
//! books at the same epoch; operators turn usage into charges by functions of the books, and
//! when the books change, `Touched` says whose figures to work out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use imbl::{OrdMap, Vector};

use crate::catalog::{Catalog, CustomerId, FeatureId, Plan, PlanId, Quota, RateCard, Touched};
use crate::charge::{Charge, Group, InvoiceKey, Level, QuotaState};
use crate::dictionary::{Names, SeriesId, SubjectId};
use crate::fact::Document;
use crate::grain::{Grain, Interval, Micros};
use crate::meter::{self, Aggregation};
use crate::metering::UsageKey;
use crate::money::{Amount, Rounding};
use crate::price::Price;
use crate::pricing::{self, PricingError};

/// What was issued for one billing period of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The number of the invoice.
    pub number: Arc<str>,
    /// The sum of the invoice and its corrections.
    pub total: Amount,
    /// The end of the billing period, as it was issued.
    pub period_end: Grain,
    /// The currency, as it was issued.
    pub currency: Arc<str>,
}

/// The books as of one epoch.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What is sold to whom.
    pub catalog: Arc<Catalog>,
    /// What the ids stand for.
    pub names: Names,
    /// What was issued, by billing period.
    pub issued: OrdMap<InvoiceKey, Issued>,
    /// What was issued, document by document.
    pub documents: Vector<Arc<Document>>,
    /// The billing clock.
    pub clock: Micros,
}

/// The books of an epoch, and whose figures differ from those of the epoch before.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// The books from this epoch on.
    pub books: Arc<Books>,
    /// Whose figures a change of the catalog may move.
    pub touched: Touched,
    /// For which invoices something was issued.
    pub invoices: BTreeSet<InvoiceKey>,
}

/// Where a slice of usage is charged: its group, and the first grain of its service period, or
/// `WHOLE`.
pub type Target = (Group, Grain);

/// In place of a service period: the whole billing period. Quotas are measured by it; only what
/// is counted uniquely cannot be put together from its service periods, and has this target.
pub const WHOLE: Grain = Grain::MAX;

/// In place of a service period: nothing was used yet, but the billing period runs, so that its
/// quota stands somewhere.
pub const RUNNING: Grain = Grain(Grain::MAX.0 - 1);

/// A rate card with all that rating needs beside it.
#[derive(Clone, Debug)]
pub struct Card {
    feature: FeatureId,
    /// How quantities are aggregated, and their scale; none: it is had, not used.
    meter: Option<(Aggregation, u32)>,
    /// Prices with the first grain at which they hold, in order of time.
    prices: Vec<(Grain, Price)>,
    quota: Option<Quota>,
    rounding: Rounding,
    /// Decimal places of the currency's minor unit.
    minor_places: u32,
}

impl Card {
    fn new(catalog: &Catalog, plan: &Plan, card: &RateCard) -> Card {
        let feature = catalog.features.id(&card.feature).expect("a rate card's feature is defined");
        let meter = catalog.features.get(feature).meter.as_ref().and_then(|meter| catalog.meters.named(meter));
        let from = |at: Option<Micros>| at.and_then(Grain::at_edge).unwrap_or(Grain(0));
        Card {
            feature,
            meter: meter.map(|meter| (meter.aggregation, meter.scale)),
            prices: card.prices.iter().map(|version| (from(version.effective_from), version.price.clone())).collect(),
            quota: card.quota.clone(),
            rounding: plan.rounding,
            minor_places: plan.currency.minor_places(),
        }
    }

    fn is_unique_count(&self) -> bool {
        matches!(self.meter, Some((Aggregation::UniqueCount, _)))
    }

    /// The stretch around `grain` in which one price holds.
    fn price_interval(&self, grain: Grain) -> Interval {
        let edges = || self.prices.iter().map(|(from, _)| *from);
        let from = edges().rfind(|&edge| edge <= grain).unwrap_or(Grain(0));
        let to = edges().find(|&edge| edge > grain).unwrap_or(Grain::MAX);
        Interval { from, to }
    }

    /// The service period that begins at `start`.
    fn service(&self, term: Interval, period: Interval, start: Grain) -> Interval {
        // What has no meter is had for the whole period at the price of its beginning.
        let price_end = if self.meter.is_some() { self.price_interval(start).to } else { Grain::MAX };
        Interval { from: start, to: period.to.min(term.to).min(price_end) }
    }
}

/// On what terms a group is billed.
#[derive(Clone, Debug)]
pub struct Terms {
    card: Arc<Card>,
    /// The subscription's term.
    term: Interval,
    /// The group's billing period.
    period: Interval,
}

impl Terms {
    /// How quantities are aggregated, and their scale; none: it is had, not used.
    pub fn meter(&self) -> Option<(Aggregation, u32)> {
        self.card.meter
    }

    /// The billing period.
    pub fn period(&self) -> Interval {
        self.period
    }

    /// The service period that begins at `start`.
    pub fn service(&self, start: Grain) -> Interval {
        self.card.service(self.term, self.period, start)
    }

    /// The charges of a group, given the quantities of its service periods in order of time.
    ///
    /// Each service period is rated by itself, by the price that holds at its start; rounding
    /// follows the plan. A service period without a price makes no charge.
    pub fn charges(
        &self,
        group: &Group,
        services: impl Iterator<Item = (Grain, i128)>,
    ) -> Result<Vec<Charge>, PricingError> {
        let card = &self.card;
        let mut charges = Vec::new();
        let mut bill = pricing::biller(card.rounding, card.minor_places);
        for (start, quantity) in services {
            let Some((_, price)) = card.prices.iter().rfind(|(from, _)| *from <= start) else { continue };
            let amount = pricing::rate(price, quantity)?;
            charges.push(Charge {
                group: *group,
                service: self.service(start),
                quantity,
                amount,
                billed: bill(amount),
            });
        }
        Ok(charges)
    }

    /// What a group's quota stands at, if the rate card has one.
    pub fn quota(&self, group: &Group, used: i128) -> Option<QuotaState> {
        let quota = self.card.quota.as_ref()?;
        let level = if used > quota.limit {
            Level::Over
        } else if used >= quota.warning_at {
            Level::Warning
        } else {
            Level::Ok
        };
        Some(QuotaState { group: *group, used, limit: quota.limit, warning_at: quota.warning_at, level })
    }
}

impl Books {
    /// The billing period of an invoice.
    pub fn period(&self, key: &InvoiceKey) -> Option<Interval> {
        let tenure = self.catalog.tenure(key.customer, key.subscription)?;
        tenure.calendar.period_containing(key.period)
    }

    /// What a plan says of a feature.
    fn card(&self, plan: PlanId, feature: FeatureId) -> Option<Card> {
        let plan = self.catalog.plans.get(plan);
        let feature = &self.catalog.features.get(feature).name;
        let card = plan.rate_cards.iter().find(|card| card.feature == *feature)?;
        Some(Card::new(&self.catalog, plan, card))
    }

    /// What a plan says of the features that sell a series.
    fn cards_of_series(&self, plan: PlanId, series: SeriesId) -> Arc<[Card]> {
        let series = self.names.series(series);
        let meter = self.catalog.meters.get(series.meter);
        if self.catalog.meters.id(&meter.name) != Some(series.meter) {
            // The meter was defined anew; nothing is sold by its old definition.
            return Arc::new([]);
        }
        let dimension = |name: &str| {
            let place = meter.dimensions.iter().position(|dimension| dimension == name)?;
            series.dimensions[place].as_deref()
        };
        let sells = |card: &&RateCard| {
            let feature = self.catalog.features.named(&card.feature);
            feature.is_some_and(|feature| {
                feature.meter.as_deref() == Some(&meter.name) && meter::matches(&feature.filter, dimension)
            })
        };
        let plan = self.catalog.plans.get(plan);
        plan.rate_cards.iter().filter(sells).map(|card| Card::new(&self.catalog, plan, card)).collect()
    }
}

/// The books, with a memory for what operators ask of them again and again.
///
/// Usage keys and groups come sorted, so what was worked out for one mostly serves the next. The
/// memory is forgotten when the catalog changes.
#[derive(Debug, Default)]
pub struct Targets {
    books: Arc<Books>,
    cards: HashMap<(PlanId, FeatureId), Option<Arc<Card>>>,
    series: HashMap<(PlanId, SeriesId), Arc<[Card]>>,
    owner: Option<(SubjectId, Option<CustomerId>)>,
    stretch: Option<Stretch>,
    terms: Option<(Group, Option<Terms>)>,
}

/// Grains of a subject's series that all have the same targets.
#[derive(Debug)]
struct Stretch {
    subject: SubjectId,
    series: SeriesId,
    grains: Interval,
    targets: Vec<Target>,
}

impl Targets {
    /// These books, with nothing remembered.
    pub fn under(books: Arc<Books>) -> Targets {
        Targets { books, ..Targets::default() }
    }

    /// The books.
    pub fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// Goes on to newer books; forgets only if the catalog changed.
    pub fn turn(&mut self, books: Arc<Books>) {
        if Arc::ptr_eq(&self.books.catalog, &books.catalog) {
            self.books = books;
        } else {
            *self = Targets::under(books);
        }
    }

    /// Calls `each` with every target of the usage kept under `key`.
    pub fn of(&mut self, key: UsageKey, each: impl FnMut(Target)) {
        let is_same = |stretch: &Stretch| {
            stretch.subject == key.subject && stretch.series == key.series && stretch.grains.contains(key.grain)
        };
        if !self.stretch.as_ref().is_some_and(is_same) {
            self.stretch = Some(self.stretch_of(key));
        }
        self.stretch.iter().flat_map(|stretch| stretch.targets.iter().copied()).for_each(each);
    }

    /// On what terms a group is billed, if these books bill it at all.
    pub fn terms(&mut self, group: &Group) -> Option<&Terms> {
        if self.terms.as_ref().is_none_or(|(last, _)| last != group) {
            self.terms = Some((*group, self.terms_of(group)));
        }
        self.terms.as_ref().and_then(|(_, terms)| terms.as_ref())
    }

    fn terms_of(&mut self, group: &Group) -> Option<Terms> {
        // Borrowed, not counted: references to what all workers share would be counted by all.
        let books = &self.books;
        let tenure = books.catalog.tenure(group.customer, group.subscription)?;
        let period = tenure.calendar.period_containing(group.period)?;
        let look_up = || books.card(tenure.plan, group.feature).map(Arc::new);
        let card = self.cards.entry((tenure.plan, group.feature)).or_insert_with(look_up).clone()?;
        Some(Terms { card, term: tenure.term, period })
    }

    fn owner(&mut self, subject: SubjectId) -> Option<CustomerId> {
        if self.owner.is_none_or(|(last, _)| last != subject) {
            self.owner = Some((subject, self.books.catalog.owner(subject)));
        }
        self.owner.and_then(|(_, owner)| owner)
    }

    /// The targets of a key, and for which grains around it they are the same.
    fn stretch_of(&mut self, key: UsageKey) -> Stretch {
        let mut targets = self.stretch.take().map_or_else(Vec::new, |stretch| stretch.targets);
        targets.clear();
        let nowhere = Interval { from: key.grain, to: Grain(key.grain.0 + 1) };
        let grains = self.find_targets(key, &mut targets).unwrap_or(nowhere);
        Stretch { subject: key.subject, series: key.series, grains, targets }
    }

    /// Puts down the targets of a key; gives the grains around it that have the same.
    fn find_targets(&mut self, key: UsageKey, targets: &mut Vec<Target>) -> Option<Interval> {
        let customer = self.owner(key.subject)?;
        // Borrowed, not counted: references to what all workers share would be counted by all.
        let books = &self.books;
        let tenure = books.catalog.tenures(customer).iter().find(|tenure| tenure.term.contains(key.grain))?;
        let period = tenure.period(key.grain)?;
        let mut grains = intersection(period, tenure.term);
        let look_up = || books.cards_of_series(tenure.plan, key.series);
        let cards = self.series.entry((tenure.plan, key.series)).or_insert_with(look_up);
        for card in cards.iter() {
            let price = card.price_interval(key.grain);
            grains = intersection(grains, price);
            let service = price.from.max(period.from).max(tenure.term.from);
            let (subscription, feature) = (tenure.subscription, card.feature);
            let group = Group { customer, subscription, period: period.from, feature };
            targets.push((group, service));
            if card.quota.is_some() && card.is_unique_count() {
                targets.push((group, WHOLE));
            }
        }
        Some(grains)
    }
}

fn intersection(one: Interval, other: Interval) -> Interval {
    Interval { from: one.from.max(other.from), to: one.to.min(other.to) }
}
