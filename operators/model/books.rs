//! The books: everything small that decides what usage means, as of one epoch.
//!
//! The catalog, the names, what was issued, and the billing clock. Every worker holds the same
//! books at the same epoch; operators turn usage into charges by functions of the books, and
//! when the books change, `Touched` says whose figures to work out again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::catalog::{Catalog, FeatureId, PlanId, RateCard, Tenure, Touched};
use crate::charge::{Charge, Group, InvoiceKey, Level, QuotaState};
use crate::dictionary::{Names, SeriesId};
use crate::fact::Document;
use crate::grain::{Grain, Interval, Micros};
use crate::metering::UsageKey;
use crate::meter;
use crate::money::Amount;
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

/// Where a slice of usage counts: its group, and the first grain of its service period, or
/// `WHOLE`.
pub type Target = (Group, Grain);

/// In place of a service period: the whole billing period, by which quotas are measured.
pub const WHOLE: Grain = Grain::MAX;

/// In place of a service period: nothing was used yet, but the billing period runs, so that its
/// quota stands somewhere.
pub const RUNNING: Grain = Grain(Grain::MAX.0 - 1);

/// What a plan offers of a series: a feature, and where its price changes.
#[derive(Clone, Debug)]
pub struct Offer {
    feature: FeatureId,
    edges: Arc<[Grain]>,
    has_quota: bool,
}

impl Books {
    /// What a plan offers of a series.
    fn offers(&self, plan: PlanId, series: SeriesId) -> Arc<[Offer]> {
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
        let offer = |card: &RateCard| Offer {
            feature: self.catalog.features.id(&card.feature).expect("a rate card's feature is defined"),
            edges: price_edges(card),
            has_quota: card.quota.is_some(),
        };
        self.catalog.plans.get(plan).rate_cards.iter().filter(sells).map(offer).collect()
    }

    /// The rate card of a group.
    fn rate_card(&self, group: &Group) -> Option<(&Tenure, &RateCard)> {
        let tenure = self.catalog.tenure(group.customer, group.subscription)?;
        let feature = self.catalog.features.get(group.feature);
        let cards = &self.catalog.plans.get(tenure.plan).rate_cards;
        Some((tenure, cards.iter().find(|card| card.feature == feature.name)?))
    }

    /// The billing period of an invoice, cut to the subscription's term.
    pub fn period(&self, key: &InvoiceKey) -> Option<Interval> {
        let tenure = self.catalog.tenure(key.customer, key.subscription)?;
        tenure.calendar.period_containing(key.period)
    }

    /// The service period that begins at `start` within a group's billing period.
    pub fn service(&self, group: &Group, start: Grain) -> Option<Interval> {
        let (tenure, card) = self.rate_card(group)?;
        let period = tenure.calendar.period_containing(group.period)?;
        // What has no meter is had for the whole period at the price of its beginning.
        let is_metered = self.catalog.features.get(group.feature).meter.is_some();
        let next_edge = price_edges(card).iter().copied().find(|&edge| is_metered && edge > start).unwrap_or(Grain::MAX);
        Some(Interval { from: start, to: period.to.min(tenure.term.to).min(next_edge) })
    }

    /// The charges of a group, given the quantities of its service periods in order of time.
    ///
    /// Each service period is rated by itself, by the price that holds at its start; rounding
    /// follows the plan. A service period without a price makes no charge.
    pub fn charges(&self, group: &Group, services: &[(Grain, i128)]) -> Result<Vec<Charge>, PricingError> {
        let Some((tenure, card)) = self.rate_card(group) else { return Ok(Vec::new()) };
        let plan = self.catalog.plans.get(tenure.plan);
        let mut charges = Vec::with_capacity(services.len());
        for &(start, quantity) in services {
            let Some(version) = card.prices.iter().rev().find(|version| effective_grain(version.effective_from) <= start)
            else {
                continue;
            };
            let amount = pricing::rate(&version.price, quantity)?;
            let service = self.service(group, start).expect("the rate card was found just now");
            charges.push(Charge { group: *group, service, quantity, amount, billed: 0 });
        }
        let amounts: Vec<Amount> = charges.iter().map(|charge| charge.amount).collect();
        let places = plan.rounding.places.unwrap_or_else(|| plan.currency.minor_places());
        for (charge, billed) in charges.iter_mut().zip(pricing::bill(&amounts, plan.rounding, places)) {
            charge.billed = billed;
        }
        Ok(charges)
    }

    /// What a group's quota stands at, if its rate card has one.
    pub fn quota(&self, group: &Group, used: i128) -> Option<QuotaState> {
        let (_, card) = self.rate_card(group)?;
        let quota = card.quota.as_ref()?;
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

/// The moments after the first at which a rate card's price changes.
fn price_edges(card: &RateCard) -> Arc<[Grain]> {
    card.prices.iter().filter_map(|version| version.effective_from).map(|at| effective_grain(Some(at))).collect()
}

fn effective_grain(effective_from: Option<Micros>) -> Grain {
    effective_from.map_or(Grain(0), |at| Grain::at_edge(at).unwrap_or(Grain(0)))
}

/// Finds the targets of usage keys under one version of the books, remembering what it found.
///
/// Keys come sorted by subject and series, so that what is remembered is nearly always what is
/// asked for next.
#[derive(Debug, Default)]
pub struct Targets {
    books: Arc<Books>,
    offers: HashMap<(PlanId, SeriesId), Arc<[Offer]>>,
}

impl Targets {
    /// Targets under these books.
    pub fn under(books: Arc<Books>) -> Targets {
        Targets { books, offers: HashMap::new() }
    }

    /// The books.
    pub fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// Goes on to newer books; forgets only if the catalog changed.
    pub fn turn(&mut self, books: Arc<Books>) {
        if !Arc::ptr_eq(&self.books.catalog, &books.catalog) {
            self.offers.clear();
        }
        self.books = books;
    }

    /// Calls `each` with every target of the usage kept under `key`.
    pub fn of(&mut self, key: UsageKey, mut each: impl FnMut(Target)) {
        let Some(customer) = self.books.catalog.owner(key.subject) else { return };
        let tenures = self.books.catalog.tenures(customer);
        let Some(tenure) = tenures.iter().find(|tenure| tenure.term.contains(key.grain)) else { return };
        let Some(period) = tenure.period(key.grain) else { return };
        let offers = self
            .offers
            .entry((tenure.plan, key.series))
            .or_insert_with(|| self.books.offers(tenure.plan, key.series));
        for offer in offers.iter() {
            let edge = offer.edges.iter().copied().rfind(|&edge| edge <= key.grain).unwrap_or(Grain(0));
            let service = edge.max(period.from).max(tenure.term.from);
            let group = Group {
                customer,
                subscription: tenure.subscription,
                period: period.from,
                feature: offer.feature,
            };
            each((group, service));
            if offer.has_quota {
                each((group, WHOLE));
            }
        }
    }
}
