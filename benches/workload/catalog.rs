//! The catalog that meters and prices the events: one plan for all, June 2026, UTC, dollars.

use trueup_model::calendar::Cadence;
use trueup_model::catalog::{
    AnchorRule, CatalogChange, Customer, Feature, Plan, PriceVersion, Quota, RateCard, Subscription,
};
use trueup_model::currency::Currency;
use trueup_model::grain::Micros;
use trueup_model::meter::{Aggregation, Meter};
use trueup_model::money::{ONE, Rounding, RoundingMode, RoundingScope};
use trueup_model::price::{Price, Tier};

use crate::events::{CUSTOMERS, TYPES};

/// When the month begins: 2026-06-01T00:00:00Z.
pub const MONTH_START: Micros = 1_780_272_000_000_000;
/// When it is over: 2026-07-01T00:00:00Z.
pub const MONTH_END: Micros = MONTH_START + 30 * 86_400 * 1_000_000;
/// Decimal places of the quantities.
pub const QUANTITY_SCALE: u32 = 6;

/// Which outputs are kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Usage by hour, charges and invoices: a sum for each event type.
    Core,
    /// Also the greatest and the least value of one type, the different users of another, by
    /// hour and month, and a quota on every feature.
    All,
}

/// The catalog, change by change.
pub fn changes(outputs: Outputs) -> Vec<CatalogChange> {
    let meters = meters(outputs);
    let features = meters.iter().map(|meter| {
        CatalogChange::Feature(Feature {
            name: meter.name.clone(),
            meter: Some(meter.name.clone()),
            filter: Default::default(),
        })
    });
    let rate_cards = meters.iter().map(|meter| rate_card(meter, outputs)).collect();
    let plan = Plan {
        name: "standard".to_owned(),
        currency: "USD".parse::<Currency>().expect("the dollar is a currency"),
        cadence: Cadence::Month,
        anchor: AnchorRule::Calendar,
        rounding: Rounding { places: Some(2), mode: RoundingMode::HalfUp, scope: RoundingScope::Cumulative },
        rate_cards,
    };
    let mut changes: Vec<CatalogChange> = meters.iter().cloned().map(CatalogChange::Meter).collect();
    changes.extend(features);
    changes.push(CatalogChange::Plan(plan));
    changes.extend((0..CUSTOMERS).map(customer));
    changes.extend((0..CUSTOMERS).map(subscription));
    changes
}

/// The name of a customer, which is also its subject's.
pub fn customer_name(customer: u32) -> String {
    format!("cust-{customer:05}")
}

fn meters(outputs: Outputs) -> Vec<Meter> {
    let sums = TYPES.map(|name| meter(name, name, Aggregation::Sum));
    let [.., seats, users] = TYPES;
    let others = [
        meter("peak.seats.max", seats, Aggregation::Max),
        meter("peak.seats.min", seats, Aggregation::Min),
        meter("active.users.unique", users, Aggregation::UniqueCount),
    ];
    match outputs {
        Outputs::Core => sums.into(),
        Outputs::All => sums.into_iter().chain(others).collect(),
    }
}

fn meter(name: &str, event_type: &str, aggregation: Aggregation) -> Meter {
    let reads_users = aggregation == Aggregation::UniqueCount;
    Meter {
        name: name.to_owned(),
        event_type: event_type.to_owned(),
        aggregation,
        property: Some(if reads_users { "user" } else { "quantity" }.to_owned()),
        scale: if reads_users { 0 } else { QUANTITY_SCALE },
        dimensions: ["region", "plan", "model"].map(str::to_owned).into(),
        filter: Default::default(),
        forget: Default::default(),
    }
}

/// Sums cost something; whatever else is metered has a quota and no price.
fn rate_card(meter: &Meter, outputs: Outputs) -> RateCard {
    let priced = TYPES.iter().position(|name| *name == meter.name);
    let limit = match meter.aggregation {
        Aggregation::Sum => 10_000,
        Aggregation::UniqueCount => 1_000,
        _ => 900,
    };
    let quota = Quota { limit: limit * ONE, warning_at: limit * ONE * 8 / 10 };
    RateCard {
        feature: meter.name.clone(),
        prices: priced.map(|meter| PriceVersion { effective_from: None, price: price(meter) }).into_iter().collect(),
        quota: (outputs == Outputs::All).then_some(quota),
    }
}

/// What `reference::charge` asks, as a price.
fn price(meter: usize) -> Price {
    let mill = (meter as i128 + 1) * ONE / 1000;
    let tier =
        |up_to: Option<i128>, mills: i128| Tier { up_to: up_to.map(|units| units * ONE), unit: mills * mill, flat: 0 };
    Price::Graduated { tiers: vec![tier(Some(1_000), 5), tier(Some(100_000), 3), tier(None, 1)] }
}

fn customer(number: u32) -> CatalogChange {
    let name = customer_name(number);
    CatalogChange::Customer(Customer {
        id: name.clone(),
        name: name.clone(),
        zone: "UTC".to_owned(),
        subjects: vec![name],
    })
}

fn subscription(number: u32) -> CatalogChange {
    CatalogChange::Subscription(Subscription {
        id: format!("sub-{number:05}"),
        customer: customer_name(number),
        plan: "standard".to_owned(),
        starts_at: MONTH_START,
        ends_at: None,
    })
}
