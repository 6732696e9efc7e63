//! What a catalog defines, and the changes of it, as they are written and kept.

use serde::{Deserialize, Serialize};

use crate::calendar::Cadence;
use crate::currency::Currency;
use crate::grain::Micros;
use crate::meter::{Filter, Meter};
use crate::money::Rounding;
use crate::price::Price;

/// Something that is sold: a meter's usage, or that part of it that meets a filter; or, with no
/// meter, something that is simply had, such as a seat or a base fee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// The meter whose quantity is sold.
    pub meter: Option<String>,
    /// Which of the meter's usage, by its dimensions.
    pub filter: Filter,
}

/// How much of a feature may be used in a billing period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The greatest quantity that is still inside, in units of 10^-12.
    pub limit: i128,
    /// From which quantity on to warn, in units of 10^-12; no more than the limit.
    pub warning_at: i128,
}

/// A price from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceVersion {
    /// The first moment at which it holds, a grain edge; none: always.
    pub effective_from: Option<Micros>,
    /// What it costs.
    pub price: Price,
}

/// What a plan says of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCard {
    /// The feature.
    pub feature: String,
    /// Its prices, each from a moment on; empty: it costs nothing and makes no line.
    pub prices: Vec<PriceVersion>,
    /// How much may be used.
    pub quota: Option<Quota>,
}

/// A plan: what a subscriber gets and pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The currency of its prices.
    pub currency: Currency,
    /// How often a billing period ends.
    pub cadence: Cadence,
    /// Where periods begin: with the calendar, or with the subscription.
    pub anchor: AnchorRule,
    /// How line amounts are rounded.
    pub rounding: Rounding,
    /// Its features, with prices and quotas.
    pub rate_cards: Vec<RateCard>,
}

impl Plan {
    /// Puts a price on a rate card, in place of one of the same moment; false if no card sells the
    /// feature.
    pub fn set_price(&mut self, feature: &str, version: PriceVersion) -> bool {
        let Some(card) = self.rate_cards.iter_mut().find(|card| card.feature == feature) else { return false };
        card.prices.retain(|other| other.effective_from != version.effective_from);
        card.prices.push(version);
        self.sort_prices();
        true
    }

    /// Brings the prices of each card into the order of their moments.
    pub fn sort_prices(&mut self) {
        self.rate_cards.iter_mut().for_each(|card| card.prices.sort_by_key(|version| version.effective_from));
    }
}

/// Where billing periods begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorRule {
    /// With the calendar: on the 1st, on Monday.
    #[default]
    Calendar,
    /// On the anniversaries of the subscription's start.
    Anniversary,
}

/// Somebody who is billed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Its id, as the outside knows it.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its IANA time zone, in which its days and periods begin.
    pub zone: String,
    /// Whose usage is its own: CloudEvents subjects.
    pub subjects: Vec<String>,
}

/// What the events of a type must keep to: a JSON Schema of their `data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSchema {
    /// CloudEvents `type`.
    pub event_type: String,
    /// Which version it is; it grows with every change.
    pub version: u32,
    /// The schema, as JSON.
    pub text: String,
}

/// A customer on a plan over a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id, as the outside knows it.
    pub id: String,
    /// Who.
    pub customer: String,
    /// On what.
    pub plan: String,
    /// From when on, a grain edge.
    pub starts_at: Micros,
    /// Until when, a grain edge; none: open.
    pub ends_at: Option<Micros>,
}

/// A change of the catalog. A definition of a name that is there already replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    /// Defines a meter.
    Meter(Meter),
    /// Defines a feature.
    Feature(Feature),
    /// Defines a plan.
    Plan(Plan),
    /// Sets a price of a plan from a moment on, in the past or the future.
    Price {
        /// The plan.
        plan: String,
        /// The feature.
        feature: String,
        /// The price and its first moment; replaces a version of the same moment.
        version: PriceVersion,
    },
    /// Defines a customer.
    Customer(Customer),
    /// Defines a subscription.
    Subscription(Subscription),
    /// Gives a type of event a schema, or another version of it.
    Schema(EventSchema),
}

impl CatalogChange {
    /// The kind and the name of what it says something of. The order of changes matters only
    /// among those of the same.
    pub fn concerns(&self) -> (&'static str, &str) {
        match self {
            CatalogChange::Meter(meter) => ("meter", &meter.name),
            CatalogChange::Feature(feature) => ("feature", &feature.name),
            CatalogChange::Plan(Plan { name: plan, .. }) | CatalogChange::Price { plan, .. } => ("plan", plan),
            CatalogChange::Customer(customer) => ("customer", &customer.id),
            CatalogChange::Subscription(subscription) => ("subscription", &subscription.id),
            CatalogChange::Schema(schema) => ("schema", &schema.event_type),
        }
    }
}
