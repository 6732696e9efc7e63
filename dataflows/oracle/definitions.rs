//! The catalog as a list of names: the last definition of a name stands.
//!
//! Nothing is checked here; changes come from a journal that holds only what was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup_model::catalog::{
    CatalogChange, Customer, EventSchema, Feature, Plan, PriceVersion, RateCard, Subscription,
};
use trueup_model::meter::Meter;

/// What is sold to whom, by name.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub meters: BTreeMap<String, Meter>,
    pub features: BTreeMap<String, Feature>,
    pub plans: BTreeMap<String, Plan>,
    pub customers: BTreeMap<String, Customer>,
    pub subscriptions: BTreeMap<String, Subscription>,
    pub schemas: BTreeMap<String, EventSchema>,
    /// What meters want of the events of each type; of a type that none reads it has nothing.
    pub asked_for: BTreeMap<String, BTreeSet<Wanted>>,
    /// What they ever wanted and none forgets. Each event shares what was looked for in it.
    pub ever_read: BTreeMap<String, Arc<BTreeSet<Wanted>>>,
}

/// A property that is to be read of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// As a number with so many places.
    Number(String, u32),
    Text(String),
    Dimension(String),
}

impl Wanted {
    /// What a meter wants.
    pub fn by(meter: &Meter) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = meter.dimensions.iter().cloned().map(Wanted::Dimension).collect();
        wanted.extend(meter.property.clone().map(|property| match meter.aggregation.reads_number() {
            true => Wanted::Number(property, meter.scale),
            false => Wanted::Text(property),
        }));
        wanted
    }

    pub fn property(&self) -> &String {
        match self {
            Wanted::Number(property, _) | Wanted::Text(property) | Wanted::Dimension(property) => property,
        }
    }
}

impl Definitions {
    pub fn change(&mut self, change: &CatalogChange) {
        match change.clone() {
            CatalogChange::Meter(meter) => self.define_meter(meter),
            CatalogChange::Feature(feature) => drop(self.features.insert(feature.name.clone(), feature)),
            CatalogChange::Plan(plan) => drop(self.plans.insert(plan.name.clone(), plan)),
            CatalogChange::Customer(customer) => drop(self.customers.insert(customer.id.clone(), customer)),
            CatalogChange::Subscription(term) => drop(self.subscriptions.insert(term.id.clone(), term)),
            CatalogChange::Schema(schema) => drop(self.schemas.insert(schema.event_type.clone(), schema)),
            CatalogChange::Price { plan, feature, version } => self.set_price(&plan, &feature, version),
        }
    }

    fn define_meter(&mut self, meter: Meter) {
        let ever_read = self.ever_read.entry(meter.event_type.clone()).or_default();
        Arc::make_mut(ever_read).extend(Wanted::by(&meter));
        self.meters.insert(meter.name.clone(), meter);
        self.asked_for.clear();
        for meter in self.meters.values() {
            self.asked_for.entry(meter.event_type.clone()).or_default().extend(Wanted::by(meter));
        }
    }

    /// Forgets what meters are to forget: when all that belongs together is said.
    pub fn forget(&mut self) {
        for (event_type, asked_for) in &self.asked_for {
            let meters = self.meters.values().filter(|meter| meter.event_type == *event_type);
            let forgotten: BTreeSet<&String> = meters.flat_map(|meter| &meter.forget).collect();
            let ever_read = self.ever_read.entry(event_type.clone()).or_default();
            Arc::make_mut(ever_read)
                .retain(|wanted| asked_for.contains(wanted) || !forgotten.contains(wanted.property()));
        }
    }

    fn set_price(&mut self, plan: &str, feature: &str, version: PriceVersion) {
        let plan = self.plans.get_mut(plan).expect("a price is set only in a plan that is there");
        let card = plan.rate_cards.iter_mut().find(|card| card.feature == feature);
        let prices = &mut card.expect("a price is set only for a feature of the plan").prices;
        prices.retain(|other| other.effective_from != version.effective_from);
        prices.push(version);
    }

    /// Whose usage each subject's is.
    pub fn owners(&self) -> BTreeMap<&str, &Customer> {
        self.customers
            .values()
            .flat_map(|customer| customer.subjects.iter().map(move |subject| (subject.as_str(), customer)))
            .collect()
    }

    /// The meter that a rate card sells by; none if it is simply had.
    pub fn meter_of(&self, card: &RateCard) -> Option<&str> {
        self.features[&card.feature].meter.as_deref()
    }
}

/// The moments at which a rate card's price changes, in order.
pub(super) fn price_changes(card: &RateCard) -> Vec<i64> {
    let mut changes: Vec<i64> = card.prices.iter().filter_map(|version| version.effective_from).collect();
    changes.sort();
    changes
}

/// The version of a rate card's price that holds at a moment.
pub(super) fn price_at(card: &RateCard, at: i64) -> Option<&PriceVersion> {
    let begun = |version: &&PriceVersion| version.effective_from.is_none_or(|from| from <= at);
    card.prices.iter().filter(begun).max_by_key(|version| version.effective_from)
}
