//! The books: everything small that decides what usage means, as of one epoch.
//!
//! The catalog, the names, what was issued, and the billing clock. Every worker holds the same
//! books at the same epoch; operators turn usage into charges by functions of the books, and
//! when the books change, `Touched` says whose figures to work out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use crate::arrival::Arrival;
use crate::backfill::Applied;
use crate::catalog::{Catalog, FeatureId, PlanId, RateCard, Touched};
use crate::charge::InvoiceKey;
use crate::dictionary::{Names, SeriesId};
use crate::fact::{Document, Epoch, InputId};
use crate::grain::{Grain, Interval, Micros};
use crate::meter;
use crate::money::Amount;
use crate::terms::Card;
use crate::usage::Reason;

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
    /// The places of the invoice and its corrections among all documents.
    pub documents: Vector<usize>,
}

/// What became of an input that was set aside, when it was last read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The epoch at which it was.
    pub at: Epoch,
    /// Why it stays set aside, by kind; the journal has the sentence. None: it was accepted.
    pub still: Option<Reason>,
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
    /// The numbers of the documents.
    pub numbers: OrdSet<Arc<str>>,
    /// How many inputs producers say to have sent, by way in and hour.
    pub declared: OrdMap<Arrival, u64>,
    /// What became of inputs that were set aside and read again.
    pub replayed: OrdMap<InputId, Replayed>,
    /// Backfills, by name.
    pub backfills: OrdMap<Arc<str>, Applied>,
    /// The catalogs under which backfills were applied in place of a scope, by their epochs.
    pub replaced_under: OrdMap<Epoch, Arc<Catalog>>,
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

impl Books {
    /// The billing period of an invoice.
    pub fn period(&self, key: &InvoiceKey) -> Option<Interval> {
        let tenure = self.catalog.tenure(key.customer, key.subscription)?;
        tenure.calendar.period_containing(key.period)
    }

    /// The documents of an invoice: itself, and its corrections.
    pub fn documents_of(&self, key: &InvoiceKey) -> impl Iterator<Item = &Arc<Document>> {
        let places = self.issued.get(key).into_iter().flat_map(|issued| issued.documents.iter());
        places.map(|&place| &self.documents[place])
    }

    /// What a plan says of a feature.
    pub(crate) fn card(&self, plan: PlanId, feature: FeatureId) -> Option<Card> {
        let plan = self.catalog.plans.get(plan);
        let feature = &self.catalog.features.get(feature).name;
        let card = plan.rate_cards.iter().find(|card| card.feature == *feature)?;
        Some(Card::new(&self.catalog, plan, card))
    }

    /// What a plan says of the features that sell a series.
    pub(crate) fn cards_of_series(&self, plan: PlanId, series: SeriesId) -> Arc<[Card]> {
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
