//! What is sold to whom: meters, features, plans with their prices and quotas, customers and
//! subscriptions, all as they stand after some fact.
//!
//! The catalog changes only by `apply`, one change at a time, each checked against what is
//! there, so that a catalog that exists is one that makes sense. Cloning it is cheap: the tables
//! share what did not change. Ids are given in the order of the facts and never reused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::calendar::{self, Anchor, Cadence, Calendar};
use crate::dictionary::{Dictionary, SubjectId};
use crate::grain::{Grain, GrainStep, Interval};
use crate::layout::{EventLayout, Layouts};
use crate::meter::Meter;
use crate::table::{Table, entry};

mod check;
mod definition;
mod layouts;

pub use check::CatalogError;
pub use definition::{
    AnchorRule, CatalogChange, Customer, EventSchema, Feature, Plan, PriceVersion, Quota, RateCard, Subscription,
};

use check::{check_meter, check_version, contradiction, edge, unknown};

/// A meter of the catalog.
pub type MeterId = u32;
/// A feature of the catalog.
pub type FeatureId = u32;
/// A plan of the catalog.
pub type PlanId = u32;
/// A customer of the catalog.
pub type CustomerId = u32;
/// A subscription of the catalog.
pub type SubscriptionId = u32;

/// A customer's time on a subscription, with the billing periods that cut it.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Its plan.
    pub plan: PlanId,
    /// From its start to its end.
    pub term: Interval,
    /// Its billing periods.
    pub calendar: Arc<Calendar>,
}

impl Tenure {
    /// The billing period that contains a grain of the term.
    pub fn period(&self, grain: Grain) -> Option<Interval> {
        if self.term.contains(grain) { self.calendar.period_containing(grain) } else { None }
    }
}

/// What belongs to a customer.
#[derive(Clone, Debug, Default)]
struct Holding {
    step: GrainStep,
    subjects: BTreeSet<SubjectId>,
    subscriptions: BTreeSet<SubscriptionId>,
    /// By their start; no two overlap.
    tenures: Arc<[Tenure]>,
}

/// Whose figures a change may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Everybody's.
    pub all: bool,
    /// These customers'.
    pub customers: BTreeSet<CustomerId>,
    /// The usage of these subjects.
    pub subjects: BTreeSet<SubjectId>,
}

impl Touched {
    /// Adds whom another change touches.
    pub fn add(&mut self, other: Touched) {
        self.all |= other.all;
        self.customers.extend(other.customers);
        self.subjects.extend(other.subjects);
    }
}

/// The catalog as it stands.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Meters. A meter defined anew gets a new id, so that what was counted by the old
    /// definition and by the new one can never be mixed.
    pub meters: Table<Meter>,
    /// Features.
    pub features: Table<Feature>,
    /// Plans.
    pub plans: Table<Plan>,
    /// Customers.
    pub customers: Table<Customer>,
    /// Subscriptions.
    pub subscriptions: Table<Subscription>,
    /// The schemas of types of events.
    pub schemas: Table<EventSchema>,
    layouts: Arc<Layouts>,
    /// What meters ever asked for and none forgets, by the type of events; of a type that no meter reads any more too.
    remembered: BTreeMap<String, Arc<EventLayout>>,
    /// By subject; dense, because every event's owner is looked up.
    owners: Vector<Option<CustomerId>>,
    /// By customer.
    holdings: Vector<Holding>,
    calendars: OrdMap<(String, Cadence, Anchor), Arc<Calendar>>,
}

impl Catalog {
    /// The kind and the name of everything that is defined.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Catalog { meters, features, plans, customers, subscriptions, schemas, .. } = self;
        let meters = meters.iter().map(|(name, ..)| ("meter", &**name));
        let features = features.iter().map(|(name, ..)| ("feature", &**name));
        let plans = plans.iter().map(|(name, ..)| ("plan", &**name));
        let customers = customers.iter().map(|(name, ..)| ("customer", &**name));
        let subscriptions = subscriptions.iter().map(|(name, ..)| ("subscription", &**name));
        let schemas = schemas.iter().map(|(name, ..)| ("schema", &**name));
        meters.chain(features).chain(plans).chain(customers).chain(subscriptions).chain(schemas)
    }

    /// What is kept of each type of event.
    pub fn layouts(&self) -> &Arc<Layouts> {
        &self.layouts
    }

    /// Whose usage a subject's is.
    pub fn owner(&self, subject: SubjectId) -> Option<CustomerId> {
        self.owners.get(subject as usize).copied().flatten()
    }

    /// Every subject that is somebody's.
    pub fn subjects(&self) -> impl Iterator<Item = SubjectId> {
        let owned = self.owners.iter().zip(0..).filter(|(owner, _)| owner.is_some());
        owned.map(|(_, subject)| subject)
    }

    /// The subjects of a customer.
    pub fn subjects_of(&self, customer: CustomerId) -> impl Iterator<Item = SubjectId> {
        self.holdings.get(customer as usize).into_iter().flat_map(|holding| holding.subjects.iter().copied())
    }

    /// A customer's subscriptions, by their start; no two overlap.
    pub fn tenures(&self, customer: CustomerId) -> &[Tenure] {
        self.holdings.get(customer as usize).map_or(&[], |holding| &holding.tenures)
    }

    /// The tenure of a subscription.
    pub fn tenure(&self, customer: CustomerId, subscription: SubscriptionId) -> Option<&Tenure> {
        self.holdings.get(customer as usize)?.tenures.iter().find(|tenure| tenure.subscription == subscription)
    }

    /// The grains of a subject's usage; an hour while it is nobody's.
    pub fn step(&self, subject: SubjectId) -> GrainStep {
        let holding = self.owner(subject).and_then(|owner| self.holdings.get(owner as usize));
        holding.map_or(GrainStep::Hour, |holding| holding.step)
    }

    /// Makes one change, or refuses it and stays as it was. Tells whose figures may move.
    pub fn apply(&mut self, change: CatalogChange, dictionary: &mut Dictionary) -> Result<Touched, CatalogError> {
        match change {
            CatalogChange::Meter(meter) => self.define_meter(meter),
            CatalogChange::Feature(feature) => self.define_feature(feature),
            CatalogChange::Plan(plan) => self.define_plan(plan),
            CatalogChange::Price { plan, feature, version } => self.set_price(&plan, &feature, version),
            CatalogChange::Customer(customer) => self.define_customer(customer, dictionary),
            CatalogChange::Subscription(subscription) => self.define_subscription(subscription),
            CatalogChange::Schema(schema) => self.define_schema(schema),
        }
    }

    fn define_meter(&mut self, meter: Meter) -> Result<Touched, CatalogError> {
        check_meter(&meter)?;
        if self.meters.named(&meter.name).is_some_and(|old| **old == meter) {
            return Ok(Touched::default());
        }
        if let Some(old) = self.meters.named(&meter.name).filter(|old| old.scale != meter.scale) {
            let why = format!(
                "its events were read at scale {0}: give it back scale {0}, send the finer numbers in another property, \
                 and define a meter of another name for that",
                old.scale
            );
            return Err(contradiction(format!("meter '{}'", meter.name), why));
        }
        self.check_filters(&meter)?;
        self.check_scale(&meter)?;
        let old = self.meters.named(&meter.name);
        let (is_new, is_same) = (old.is_none(), old.is_some_and(|old| old.measures_as(&meter)));
        let name = meter.name.clone();
        match is_same {
            true => self.meters.put(&name, meter),
            false => self.meters.append(&name, meter),
        };
        self.lay_out();
        // No feature can sell a meter that was not there.
        Ok(Touched { all: !is_new && !is_same, ..Touched::default() })
    }

    /// Gives a type of event a schema. What was taken before stays as it was taken.
    fn define_schema(&mut self, schema: EventSchema) -> Result<Touched, CatalogError> {
        let is_other = |old: &&Arc<EventSchema>| schema.version <= old.version && ***old != schema;
        if let Some(old) = self.schemas.named(&schema.event_type).filter(is_other) {
            let what = format!("schema of '{}', version {}", schema.event_type, schema.version);
            let why = format!("version {} says something else: give it a greater version", old.version);
            return Err(contradiction(what, why));
        }
        self.schemas.put(&schema.event_type.clone(), schema);
        self.lay_out();
        Ok(Touched::default())
    }

    /// Whether a meter has the dimensions by which features filter its usage.
    fn check_filters(&self, meter: &Meter) -> Result<(), CatalogError> {
        for (_, _, feature) in self.features.iter().filter(|(.., feature)| feature.meter.as_ref() == Some(&meter.name))
        {
            if let Some(stranger) = feature.filter.keys().find(|key| !meter.dimensions.contains(key)) {
                let why = format!(
                    "feature '{}' filters by '{stranger}', which would be no dimension of it any more: change the \
                     feature first",
                    feature.name
                );
                return Err(contradiction(format!("meter '{}'", meter.name), why));
            }
        }
        Ok(())
    }

    fn define_feature(&mut self, feature: Feature) -> Result<Touched, CatalogError> {
        let what = || format!("feature '{}'", feature.name);
        if let Some(name) = &feature.meter {
            let meter = self.meters.named(name).ok_or_else(|| unknown(what(), "meter", name))?;
            if let Some(stranger) = feature.filter.keys().find(|key| !meter.dimensions.contains(key)) {
                return Err(contradiction(
                    what(),
                    format!(
                        "its filter names '{stranger}', which is not a dimension of meter '{name}': add it to the meter's dimensions"
                    ),
                ));
            }
        } else if !feature.filter.is_empty() {
            return Err(contradiction(
                what(),
                "it has a filter but no meter to filter: name a meter or leave the filter out",
            ));
        }
        let is_new = self.features.id(&feature.name).is_none();
        let name = feature.name.clone();
        let mut changed = self.clone();
        changed.features.put(&name, feature);
        changed.check_plans_that_sell(&name)?;
        *self = changed;
        Ok(Touched { all: !is_new, ..Touched::default() })
    }

    /// Whether the plans that sell a feature still fit it.
    fn check_plans_that_sell(&self, feature: &str) -> Result<(), CatalogError> {
        for (name, _, plan) in self.plans.iter() {
            for card in plan.rate_cards.iter().filter(|card| card.feature == feature) {
                self.check_rate_card(card, &|| format!("plan '{name}', rate card '{feature}'"))?;
            }
        }
        Ok(())
    }

    fn define_plan(&mut self, mut plan: Plan) -> Result<Touched, CatalogError> {
        let mut seen = BTreeSet::new();
        for card in &plan.rate_cards {
            let what = || format!("plan '{}', rate card '{}'", plan.name, card.feature);
            if !seen.insert(card.feature.clone()) {
                return Err(contradiction(what(), "the feature has two rate cards: merge them"));
            }
            self.check_rate_card(card, &what)?;
        }
        plan.sort_prices();
        let mut changed = self.clone();
        let name = plan.name.clone();
        let id = changed.plans.put(&name, plan);
        let customers = changed.subscribers(&name);
        for &customer in &customers {
            changed.cut_tenures(customer)?;
        }
        *self = changed;
        debug_assert!(self.plans.id(&name) == Some(id));
        Ok(Touched { customers, ..Touched::default() })
    }

    fn check_rate_card(&self, card: &RateCard, what: &dyn Fn() -> String) -> Result<(), CatalogError> {
        let feature = self.features.named(&card.feature).ok_or_else(|| unknown(what(), "feature", &card.feature))?;
        for version in &card.prices {
            check_version(feature, version, what)?;
        }
        for (index, version) in card.prices.iter().enumerate() {
            if card.prices[..index].iter().any(|other| other.effective_from == version.effective_from) {
                return Err(contradiction(what(), "two prices begin at the same moment: keep one"));
            }
        }
        if let Some(quota) = &card.quota {
            if feature.meter.is_none() {
                return Err(contradiction(what(), "it has a quota, but its feature has no meter to measure it by"));
            }
            if quota.limit < 0 || quota.warning_at > quota.limit {
                return Err(contradiction(what(), "the quota's warning lies above its limit, or the limit below zero"));
            }
        }
        Ok(())
    }

    fn set_price(&mut self, plan: &str, feature: &str, version: PriceVersion) -> Result<Touched, CatalogError> {
        let what = || format!("price of '{feature}' in plan '{plan}'");
        let mut changed = (**self.plans.named(plan).ok_or_else(|| unknown(what(), "plan", plan))?).clone();
        let sold = changed.rate_cards.iter().any(|card| card.feature == feature);
        let definition = self.features.named(feature).filter(|_| sold);
        check_version(definition.ok_or_else(|| unknown(what(), "rate card", feature))?, &version, &what)?;
        changed.set_price(feature, version);
        self.plans.put(plan, changed);
        Ok(Touched { customers: self.subscribers(plan), ..Touched::default() })
    }

    fn define_customer(&mut self, customer: Customer, dictionary: &mut Dictionary) -> Result<Touched, CatalogError> {
        let what = format!("customer '{}'", customer.id);
        let step = calendar::grain_step(&customer.zone).map_err(|error| contradiction(&what, error.to_string()))?;
        let subjects: BTreeSet<SubjectId> =
            customer.subjects.iter().map(|subject| dictionary.subject(subject)).collect();
        let mut changed = self.clone();
        let id = changed.customers.put(&customer.id.clone(), customer);
        for &subject in &subjects {
            if let Some(owner) = self.owner(subject).filter(|&owner| owner != id) {
                let other = &self.customers.get(owner).id;
                let name = dictionary.names().subject(subject).to_owned();
                return Err(contradiction(
                    what,
                    format!(
                        "subject '{name}' is already customer '{other}''s: take it from there first; if both give up what \
                         the other takes, or '{other}' is taken out, with `subjects = []` for '{other}' and one start between"
                    ),
                ));
            }
        }
        let before: BTreeSet<SubjectId> = self.owned_by(id);
        for subject in before.difference(&subjects) {
            changed.owners[*subject as usize] = None;
        }
        for &subject in &subjects {
            *entry(&mut changed.owners, subject) = Some(id);
        }
        let holding = entry(&mut changed.holdings, id);
        holding.step = step;
        holding.subjects = subjects.clone();
        changed.cut_tenures(id)?;
        *self = changed;
        Ok(Touched {
            all: false,
            customers: BTreeSet::from([id]),
            subjects: before.union(&subjects).copied().collect(),
        })
    }

    fn define_subscription(&mut self, subscription: Subscription) -> Result<Touched, CatalogError> {
        let what = format!("subscription '{}'", subscription.id);
        let customer = self
            .customers
            .id(&subscription.customer)
            .ok_or_else(|| unknown(what.clone(), "customer", &subscription.customer))?;
        if self.plans.id(&subscription.plan).is_none() {
            return Err(unknown(what, "plan", &subscription.plan));
        }
        if self.subscriptions.named(&subscription.id).is_some_and(|old| old.customer != subscription.customer) {
            return Err(contradiction(what, "it is another customer's: give the new one an id of its own"));
        }
        let mut changed = self.clone();
        let id = changed.subscriptions.put(&subscription.id.clone(), subscription);
        entry(&mut changed.holdings, customer).subscriptions.insert(id);
        changed.cut_tenures(customer)?;
        *self = changed;
        Ok(Touched { customers: BTreeSet::from([customer]), subjects: self.owned_by(customer), all: false })
    }

    /// Cuts a customer's time into tenures anew; refuses overlapping subscriptions.
    fn cut_tenures(&mut self, customer: CustomerId) -> Result<(), CatalogError> {
        let definition = self.customers.get(customer).clone();
        let mut tenures = Vec::new();
        let subscriptions = self.holdings.get(customer as usize).map(|holding| holding.subscriptions.clone());
        for id in subscriptions.unwrap_or_default() {
            let subscription = self.subscriptions.get(id).clone();
            tenures.push(self.tenure_of(id, &subscription, &definition)?);
        }
        tenures.sort_by_key(|tenure| tenure.term);
        for pair in tenures.windows(2) {
            if pair[1].term.from < pair[0].term.to {
                let (first, second) =
                    (self.subscriptions.get(pair[0].subscription), self.subscriptions.get(pair[1].subscription));
                return Err(contradiction(
                    format!("subscription '{}'", second.id),
                    format!("it overlaps subscription '{}' of the same customer: end that one first", first.id),
                ));
            }
        }
        entry(&mut self.holdings, customer).tenures = tenures.into();
        Ok(())
    }

    fn tenure_of(
        &mut self,
        id: SubscriptionId,
        subscription: &Subscription,
        customer: &Customer,
    ) -> Result<Tenure, CatalogError> {
        let what = || format!("subscription '{}'", subscription.id);
        let plan_id = self.plans.id(&subscription.plan).ok_or_else(|| unknown(what(), "plan", &subscription.plan))?;
        let plan = self.plans.get(plan_id).clone();
        let step = self
            .holdings
            .get(self.customers.id(&customer.id).unwrap_or_default() as usize)
            .map_or(GrainStep::Hour, |holding| holding.step);
        let from = edge(subscription.starts_at, step, &what)?;
        let to = subscription.ends_at.map_or(Ok(Grain::MAX), |at| edge(at, step, &what))?;
        if to < from {
            return Err(contradiction(what(), "it ends before it starts"));
        }
        let anchor = match plan.anchor {
            AnchorRule::Calendar => Anchor::calendar(plan.cadence),
            AnchorRule::Anniversary => {
                let start = calendar::local_date(&customer.zone, subscription.starts_at)
                    .map_err(|error| contradiction(what(), error.to_string()))?;
                Anchor::of(plan.cadence, start)
            }
        };
        let calendar = self.calendar(&customer.zone, plan.cadence, anchor, &what)?;
        Ok(Tenure { subscription: id, plan: plan_id, term: Interval { from, to }, calendar })
    }

    fn calendar(
        &mut self,
        zone: &str,
        cadence: Cadence,
        anchor: Anchor,
        what: &dyn Fn() -> String,
    ) -> Result<Arc<Calendar>, CatalogError> {
        let key = (zone.to_owned(), cadence, anchor);
        if let Some(calendar) = self.calendars.get(&key) {
            return Ok(calendar.clone());
        }
        let calendar =
            Calendar::new(zone, cadence, anchor).map_err(|error| contradiction(what(), error.to_string()))?;
        let calendar = Arc::new(calendar);
        self.calendars.insert(key, calendar.clone());
        Ok(calendar)
    }

    fn owned_by(&self, customer: CustomerId) -> BTreeSet<SubjectId> {
        self.holdings.get(customer as usize).map_or_else(BTreeSet::new, |holding| holding.subjects.clone())
    }

    fn subscribers(&self, plan: &str) -> BTreeSet<CustomerId> {
        self.subscriptions
            .iter()
            .filter(|(_, _, subscription)| subscription.plan == plan)
            .filter_map(|(_, _, subscription)| self.customers.id(&subscription.customer))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Rounding;
    use crate::price::Price;

    fn meter(dimensions: &[&str]) -> CatalogChange {
        let dimensions = dimensions.iter().map(|&dimension| dimension.to_owned()).collect();
        CatalogChange::Meter(Meter { dimensions, ..Meter::counting("calls", "call") })
    }

    fn feature(meter: Option<&str>, filter: &[&str]) -> CatalogChange {
        let filter =
            filter.iter().map(|&dimension| (dimension.to_owned(), BTreeSet::from(["large".to_owned()]))).collect();
        CatalogChange::Feature(Feature { name: "calls".to_owned(), meter: meter.map(str::to_owned), filter })
    }

    fn plan() -> CatalogChange {
        let prices = vec![PriceVersion { effective_from: None, price: Price::PerUnit { unit: 1 } }];
        CatalogChange::Plan(Plan {
            name: "pro".to_owned(),
            currency: "USD".parse().unwrap(),
            cadence: Cadence::Month,
            anchor: AnchorRule::Calendar,
            rounding: Rounding::default(),
            rate_cards: vec![RateCard { feature: "calls".to_owned(), prices, quota: None }],
        })
    }

    #[test]
    fn what_others_rest_on_is_not_taken_from_under_them() {
        let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
        let mut apply = |change| catalog.apply(change, &mut dictionary).map_err(|error| error.to_string());
        for change in [meter(&["model"]), feature(Some("calls"), &["model"]), plan()] {
            apply(change).unwrap();
        }
        assert_eq!(
            apply(meter(&[])).unwrap_err(),
            "meter 'calls': feature 'calls' filters by 'model', which would be no dimension of it any more: change the \
             feature first"
        );
        assert_eq!(
            apply(feature(None, &[])).unwrap_err(),
            "plan 'pro', rate card 'calls': feature 'calls' has no meter, so only a flat price fits"
        );
        apply(feature(Some("calls"), &[])).unwrap();
        apply(meter(&[])).unwrap();
    }
}
