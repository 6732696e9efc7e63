//! The catalogs of random histories: small, so that prices, periods and quotas meet what is used.

use serde_json::json;
use trueup_model::calendar::Cadence;
use trueup_model::catalog::{
    AnchorRule, CatalogChange, Customer, EventSchema, Feature, Plan, PriceVersion, Quota, RateCard, Subscription,
};
use trueup_model::layout::EventLayout;
use trueup_model::meter::{Aggregation, Filter, Meter};
use trueup_model::money::{ONE, Rounding, RoundingMode, RoundingScope};
use trueup_model::price::{Price, Tier};

use super::{Act, CHANGING, CUSTOMERS, DAY, FEATURES, HOUR, Kind, LATE_HEARD_OF, PLANS, START, SUBJECTS, World};

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "Asia/Tokyo",
];
const AGGREGATIONS: [Aggregation; 7] = [
    Aggregation::Count,
    Aggregation::Sum,
    Aggregation::Min,
    Aggregation::Max,
    Aggregation::Average,
    Aggregation::Latest,
    Aggregation::UniqueCount,
];

impl World {
    pub(super) fn catalog_change(&mut self) -> Act {
        let customer = self.dice.pick(&CUSTOMERS);
        let plan = self.dice.pick(&PLANS);
        Act::Catalog(match self.dice.below(10) {
            0..4 => {
                let feature = self.dice.pick(&FEATURES);
                let version = PriceVersion { effective_from: Some(self.price_moment()), price: self.price(feature) };
                CatalogChange::Price { plan: plan.to_owned(), feature: feature.to_owned(), version }
            }
            4 if self.kind == Kind::Any && self.dice.one_in(3) => CatalogChange::Schema(self.schema()),
            4 => CatalogChange::Plan(self.plan(plan)),
            5 if self.dice.one_in(3) => CatalogChange::Meter(self.meter(LATE_HEARD_OF)),
            5 => {
                let name = self.dice.pick(&CHANGING);
                CatalogChange::Meter(self.meter(name))
            }
            6 => {
                let name = self.dice.pick(&FEATURES[3..7]);
                CatalogChange::Feature(self.feature(name))
            }
            7 => {
                let subjects = self.dice.some(&SUBJECTS);
                CatalogChange::Customer(self.customer(customer, &subjects))
            }
            _ => CatalogChange::Subscription(self.subscription(customer)),
        })
    }

    /// Another version of what calls must keep to, sometimes nothing.
    fn schema(&mut self) -> EventSchema {
        self.schema_version += 1;
        let required = self.dice.some(&["desk"]);
        let regions = self.dice.some(&["eu", "us", "ünïx"]);
        let text = match self.dice.below(3) {
            0 => json!({}),
            1 => json!({ "required": required }),
            _ => json!({ "required": required, "properties": { "region": { "enum": regions } } }),
        };
        EventSchema { event_type: "call".to_owned(), version: self.schema_version, text: text.to_string() }
    }

    pub(super) fn meter(&mut self, name: &str) -> Meter {
        let dimensions = ["model".to_owned(), "region".to_owned()];
        let mut meter = Meter {
            name: name.to_owned(),
            event_type: "call".to_owned(),
            aggregation: Aggregation::Sum,
            property: Some("value".to_owned()),
            scale: 3,
            dimensions: dimensions.to_vec(),
            filter: Filter::new(),
            forget: Default::default(),
        };
        match name {
            "every_call" => return meter,
            "every_user" => {
                return Meter { aggregation: Aggregation::UniqueCount, property: Some("user".to_owned()), ..meter };
            }
            LATE_HEARD_OF => return Meter { event_type: LATE_HEARD_OF.to_owned(), ..meter },
            "pings" => {
                let event_type = "ping".to_owned();
                return Meter { event_type, aggregation: Aggregation::Count, property: None, ..meter };
            }
            _ => {}
        }
        meter.aggregation = self.dice.pick(&AGGREGATIONS);
        meter.property = match meter.aggregation {
            Aggregation::Count => None,
            Aggregation::UniqueCount => Some("user".to_owned()),
            _ => Some(if self.reads_more() { "extra" } else { "value" }.to_owned()),
        };
        meter.dimensions = self.dice.some(&dimensions);
        if self.reads_more() {
            meter.dimensions.push("desk".to_owned());
        }
        if self.dice.one_in(2) {
            meter.dimensions.reverse();
        }
        if self.reads_more() {
            let asked = EventLayout::asked_by("call", [&meter]);
            meter.forget = ["desk", "extra"].map(str::to_owned).into();
            meter.forget.retain(|property| !asked.reads(property));
        }
        if self.dice.one_in(3) {
            meter.filter = self.filter(&meter.dimensions);
        }
        meter
    }

    /// Whether a meter reads what others may not have read: then it matters whether an event came
    /// before the meter or after it.
    fn reads_more(&mut self) -> bool {
        self.kind == Kind::Any && self.dice.one_in(4)
    }

    fn filter(&mut self, dimensions: &[String]) -> Filter {
        let Some(dimension) = dimensions.first() else { return Filter::new() };
        let values: &[&str] = if dimension == "model" { &["large", "small"] } else { &["eu", "ünïx"] };
        let values = self.dice.some(values).into_iter().map(str::to_owned).collect();
        Filter::from([(dimension.clone(), values)])
    }

    pub(super) fn feature(&mut self, name: &str) -> Feature {
        let meter = (name != "fee").then(|| name.to_owned());
        let filter =
            if name != "fee" && self.dice.one_in(3) { self.filter(&["model".to_owned()]) } else { Filter::new() };
        Feature { name: name.to_owned(), meter, filter }
    }

    pub(super) fn plan(&mut self, name: &str) -> Plan {
        let features = self.dice.some(&FEATURES);
        let rate_cards = features.into_iter().map(|feature| self.rate_card(feature)).collect();
        Plan {
            name: name.to_owned(),
            currency: "USD".parse().expect("dollars are a currency"),
            cadence: self.dice.pick(&[
                Cadence::Month,
                Cadence::Month,
                Cadence::Week,
                Cadence::Day,
                Cadence::Quarter,
                Cadence::Year,
            ]),
            anchor: self.dice.pick(&[AnchorRule::Calendar, AnchorRule::Anniversary]),
            rounding: Rounding {
                places: self.dice.pick(&[None, None, Some(0), Some(1), Some(4)]),
                mode: self.dice.pick(&[
                    RoundingMode::HalfUp,
                    RoundingMode::HalfEven,
                    RoundingMode::Up,
                    RoundingMode::Down,
                ]),
                scope: self.dice.pick(&[RoundingScope::Cumulative, RoundingScope::Cumulative, RoundingScope::Line]),
            },
            rate_cards,
        }
    }

    fn rate_card(&mut self, feature: &str) -> RateCard {
        let mut prices = Vec::new();
        if !self.dice.one_in(6) {
            prices.push(PriceVersion { effective_from: None, price: self.price(feature) });
        }
        for _ in 0..self.dice.below(3) {
            prices.push(PriceVersion { effective_from: Some(self.price_moment()), price: self.price(feature) });
        }
        prices.sort_by_key(|version| version.effective_from);
        prices.dedup_by_key(|version| version.effective_from);
        let quota = (feature != "fee" && self.dice.one_in(2)).then(|| {
            let limit = self.dice.below(6) as i128 * 10 * ONE;
            Quota { limit, warning_at: limit - self.dice.below(2) as i128 * 5 * ONE }
        });
        RateCard { feature: feature.to_owned(), prices, quota }
    }

    fn price_moment(&mut self) -> i64 {
        let moment = self.moment();
        moment - moment.rem_euclid(HOUR)
    }

    fn price(&mut self, feature: &str) -> Price {
        let unit = self.amount();
        if feature == "fee" {
            return Price::Flat { amount: unit };
        }
        match self.dice.below(4) {
            0 => Price::PerUnit { unit },
            1 => Price::Graduated { tiers: self.tiers() },
            2 => Price::Volume { tiers: self.tiers() },
            _ => Price::Package { size: self.dice.pick(&[1, 5, 10]) * ONE, price: unit },
        }
    }

    fn tiers(&mut self) -> Vec<Tier> {
        let bounds = [Some(5), Some(10), Some(20)];
        let bounds = self.dice.some(&bounds).into_iter().chain([None]);
        let flats: Vec<i128> = (0..4).map(|_| if self.dice.one_in(3) { self.amount() } else { 0 }).collect();
        let units: Vec<i128> = (0..4).map(|_| self.amount()).collect();
        let tiers = bounds.zip(units).zip(flats);
        tiers.map(|((bound, unit), flat)| Tier { up_to: bound.map(|bound| bound * ONE), unit, flat }).collect()
    }

    /// Fine enough that rounding matters; rarely the largest that a price may have, which makes the
    /// amount of an absurd quantity larger than can be kept.
    fn amount(&mut self) -> i128 {
        if self.dice.one_in(12) {
            return self.dice.pick(&[ONE * ONE, -ONE * ONE]);
        }
        let thousandth = ONE / 1000;
        match self.dice.below(4) {
            0 => self.dice.below(50) as i128 * 5 * thousandth,
            1 => self.dice.below(1_000_000_000_000) as i128,
            2 if self.dice.one_in(2) => -(self.dice.below(100) as i128) * thousandth,
            _ => self.dice.below(10) as i128 * ONE,
        }
    }

    pub(super) fn customer(&mut self, id: &str, subjects: &[&str]) -> Customer {
        // Most customers stay where they are.
        let home = CUSTOMERS.iter().position(|customer| *customer == id).unwrap_or_default() * 2;
        let zone = if self.dice.one_in(3) { self.dice.pick(&ZONES) } else { ZONES[home] };
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        Customer { id: id.to_owned(), name: id.to_uppercase(), zone: zone.to_owned(), subjects }
    }

    /// One of two subscriptions of a customer, which follow one another more often than not.
    pub(super) fn subscription(&mut self, customer: &str) -> Subscription {
        let day = |day: u64| START + day as i64 * DAY;
        let turn = 20 + self.dice.below(5) * 10;
        let hours = self.dice.below(24) as i64 * HOUR;
        let (id, starts_at, ends_at) = match self.dice.below(4) {
            0 => (format!("{customer}-1"), day(0), Some(day(turn) + hours)),
            1 => (format!("{customer}-2"), day(turn) + hours, None),
            2 => (format!("{customer}-2"), day(turn), Some(day(turn + self.dice.below(40)))),
            _ => (format!("{customer}-1"), day(self.dice.below(40)) - hours, None),
        };
        Subscription { id, customer: customer.to_owned(), plan: self.dice.pick(&PLANS).to_owned(), starts_at, ends_at }
    }
}
