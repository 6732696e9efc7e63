//! Random histories: facts of every kind, in any order, cut into epochs anywhere.
//!
//! A history is made from a seed alone, so a failure is told by its number. Its world is small on
//! purpose: few customers, subjects, ids, values and moments, so that statements meet one another,
//! quantities lie on tier bounds, and events on the edges of periods.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use trueup::oracle::Cell;
use trueup_model::calendar::Cadence;
use trueup_model::catalog::{
    AnchorRule, CatalogChange, Customer, Feature, Plan, PriceVersion, Quota, RateCard, Subscription,
};
use trueup_model::event::UsageEvent;
use trueup_model::meter::{Aggregation, Filter, Meter};
use trueup_model::money::{ONE, Rounding, RoundingMode, RoundingScope};
use trueup_model::price::{Price, Tier};
use trueup_model::usage::Reason;

use crate::subject::Subject;

/// One thing that happens.
#[derive(Clone)]
pub enum Act {
    Catalog(CatalogChange),
    Event(UsageEvent),
    Refused(Reason),
    Clock(i64),
    /// Issues one of the invoices that there are then.
    Issue(usize),
    Commit,
}

/// What happens, in order.
pub type History = Vec<Act>;

/// Does what the history says. What the catalog refuses is left out, and so are epochs in which
/// nothing happens.
pub fn run(history: &[Act], subject: &mut dyn Subject, mut after_epoch: impl FnMut(&mut dyn Subject)) {
    let mut is_pending = false;
    for act in history {
        match act {
            Act::Catalog(change) => is_pending |= subject.catalog(change.clone()).is_ok(),
            Act::Event(event) => subject.event(event.clone()),
            Act::Refused(reason) => subject.refused(*reason),
            Act::Clock(micros) => subject.clock(*micros),
            Act::Issue(_) | Act::Commit => {
                if std::mem::take(&mut is_pending) {
                    subject.commit();
                    after_epoch(subject);
                }
            }
        }
        is_pending |= matches!(act, Act::Event(_) | Act::Refused(_) | Act::Clock(_));
        if let Act::Issue(pick) = act
            && issue(subject, *pick)
        {
            after_epoch(subject);
        }
    }
}

/// Whether there was anything to issue.
fn issue(subject: &mut dyn Subject, pick: usize) -> bool {
    let invoices = subject.rows("invoices");
    let invoice = invoices.iter().nth(pick % invoices.len().max(1)).map(Vec::as_slice);
    let Some([Cell::Text(customer), Cell::Text(subscription), Cell::Time(period_start), ..]) = invoice else {
        return false;
    };
    subject.issue(customer, subscription, *period_start).is_some()
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Catalog(change) => write!(f, "{change:?}"),
            Act::Event(event) => write!(
                f,
                "{} {} r{} {} by {} at {} {:?}",
                if event.retract { "retract" } else { "event" },
                event.id,
                event.revision,
                event.event_type,
                event.subject,
                Cell::Time(event.occurred_at),
                event.data,
            ),
            Act::Refused(reason) => write!(f, "refused: {}", reason.name()),
            Act::Clock(micros) => write!(f, "clock {}", Cell::Time(*micros)),
            Act::Issue(pick) => write!(f, "issue the invoice number {pick}"),
            Act::Commit => write!(f, "commit"),
        }
    }
}

/// Which kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With everything.
    Any,
    /// Without contradictions and without issuing: whose end does not depend on the order of its
    /// events.
    Confluent,
}

/// The history of a seed.
pub fn history(seed: u64, kind: Kind, acts: usize) -> History {
    let mut world = World { dice: Dice(seed), kind, clock: START, next_id: 0, said: BTreeMap::new() };
    let mut history = world.beginning();
    while history.len() < acts {
        let act = world.act();
        history.push(act);
    }
    history.push(Act::Commit);
    history
}

/// The same history with its events in another order, behind its changes of the catalog.
pub fn shuffled(history: &[Act], seed: u64) -> History {
    let mut dice = Dice(seed);
    let is_event = |act: &&Act| matches!(act, Act::Event(_) | Act::Refused(_));
    let mut events: Vec<Act> = history.iter().filter(is_event).cloned().collect();
    for place in (1..events.len()).rev() {
        events.swap(place, dice.below(place as u64 + 1) as usize);
    }
    let mut shuffled: History = history.iter().filter(|act| !is_event(act)).cloned().collect();
    for event in events {
        shuffled.push(event);
        if dice.one_in(5) {
            shuffled.push(Act::Commit);
        }
    }
    shuffled.push(Act::Commit);
    shuffled
}

/// Retracts, above all revisions, every event of a history.
pub fn take_back_everything(history: &[Act]) -> History {
    let events = history.iter().filter_map(|act| if let Act::Event(event) = act { Some(event) } else { None });
    let known = events.filter(|event| event.event_type != UNHEARD_OF);
    let last: BTreeMap<_, _> = known.map(|event| ((&event.source, &event.id), event)).collect();
    let retraction = |event: &UsageEvent| UsageEvent { revision: u32::MAX, retract: true, ..event.clone() };
    let mut acts: History = last.into_values().map(|event| Act::Event(retraction(event))).collect();
    acts.push(Act::Commit);
    acts
}

/// SplitMix64: the same numbers for the same seed, on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn some<T: Clone>(&mut self, choices: &[T]) -> Vec<T> {
        choices.iter().filter(|_| self.one_in(2)).cloned().collect()
    }
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2025-01-01 in UTC.
const START: i64 = 1_735_689_600_000_000;
/// How many days of usage there are: past the days on which clocks jump in March.
const DAYS: u64 = 100;

/// A type of event that no meter reads.
const UNHEARD_OF: &str = "unheard_of";

const CUSTOMERS: [&str; 4] = ["acme", "bolt", "kite", "noor"];
const SUBJECTS: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];
const PLANS: [&str; 3] = ["basic", "pro", "max"];
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
/// Meters that are never redefined, so that most properties of every event are read.
const LASTING: [&str; 3] = ["every_call", "every_user", "pings"];
const CHANGING: [&str; 4] = ["m1", "m2", "m3", "m4"];
const FEATURES: [&str; 8] = ["every_call", "every_user", "pings", "m1", "m2", "m3", "m4", "fee"];
const AGGREGATIONS: [Aggregation; 7] = [
    Aggregation::Count,
    Aggregation::Sum,
    Aggregation::Min,
    Aggregation::Max,
    Aggregation::Average,
    Aggregation::Latest,
    Aggregation::UniqueCount,
];

struct World {
    dice: Dice,
    kind: Kind,
    clock: i64,
    next_id: u32,
    /// Every statement so far, by its id.
    said: BTreeMap<String, Vec<UsageEvent>>,
}

impl World {
    /// Meters and features, and most of the rest of the catalog.
    fn beginning(&mut self) -> History {
        let mut changes = Vec::new();
        changes.extend(LASTING.iter().chain(&CHANGING).map(|name| CatalogChange::Meter(self.meter(name))));
        changes.extend(FEATURES.map(|name| CatalogChange::Feature(self.feature(name))));
        changes.extend(PLANS.map(|name| CatalogChange::Plan(self.plan(name))));
        for (place, id) in CUSTOMERS.into_iter().enumerate().take(3) {
            changes.push(CatalogChange::Customer(self.customer(id, &SUBJECTS[place..=place])));
            changes.push(CatalogChange::Subscription(self.subscription(id)));
        }
        let mut acts = vec![Act::Clock(self.clock)];
        acts.extend(changes.into_iter().map(Act::Catalog));
        acts.push(Act::Commit);
        acts
    }

    fn act(&mut self) -> Act {
        match self.dice.below(100) {
            0..62 => Act::Event(self.statement()),
            62..64 => Act::Refused(self.dice.pick(&[Reason::Unreadable, Reason::TimeOutOfRange])),
            64..72 => self.catalog_change(),
            72..77 if self.kind == Kind::Any => Act::Issue(self.dice.below(40) as usize),
            77..84 => {
                self.clock += (1 + self.dice.below(12 * 24)) as i64 * HOUR;
                Act::Clock(self.clock)
            }
            _ => Act::Commit,
        }
    }

    // Events.

    fn statement(&mut self) -> UsageEvent {
        let event = self.some_statement();
        self.said.entry(event.id.clone()).or_default().push(event.clone());
        event
    }

    fn some_statement(&mut self) -> UsageEvent {
        let ids: Vec<String> = self.said.keys().cloned().collect();
        if ids.is_empty() || self.dice.below(100) < 45 {
            return self.first_statement();
        }
        let id = self.dice.pick(&ids);
        let said = self.said[&id].clone();
        let old = self.dice.pick(&said);
        match self.dice.below(10) {
            0..2 => old,
            2..6 => UsageEvent { retract: false, revision: self.other_revision(&id), id, ..self.event() },
            6..8 => UsageEvent { retract: true, ..old },
            8 => UsageEvent { retract: true, revision: old.revision + self.dice.below(3) as u32, ..old },
            _ if self.kind == Kind::Any => self.contradiction(old),
            _ => UsageEvent { retract: true, ..old },
        }
    }

    /// The same revision says something else, and maybe also comes from another type; half the time
    /// it differs in one thing at most.
    fn contradiction(&mut self, old: UsageEvent) -> UsageEvent {
        let other = UsageEvent { id: old.id.clone(), revision: old.revision, ..self.event() };
        match self.dice.below(8) {
            0 => UsageEvent { subject: other.subject, ..old },
            1 => UsageEvent { occurred_at: other.occurred_at, ..old },
            2 => UsageEvent { event_type: other.event_type, ..old },
            3 => {
                let (property, value) = self.dice.pick(&Vec::from_iter(other.data));
                UsageEvent { data: old.data.into_iter().chain([(property, value)]).collect(), ..old }
            }
            _ => other,
        }
    }

    /// A statement under an id that was not heard of; maybe a retraction of what is still to come.
    fn first_statement(&mut self) -> UsageEvent {
        self.next_id += 1;
        let event = UsageEvent { id: format!("e{}", self.next_id), ..self.event() };
        match self.dice.below(30) {
            0..2 => UsageEvent { retract: true, data: BTreeMap::new(), ..event },
            2 => UsageEvent { event_type: UNHEARD_OF.to_owned(), ..event },
            3 => UsageEvent {
                event_type: "call".to_owned(),
                data: data(&[("value", "1.2345"), ("user", "ann")]),
                ..event
            },
            4 => UsageEvent { event_type: "call".to_owned(), data: data(&[("user", "ann")]), ..event },
            // Another source may use the same id for something else.
            5 if self.next_id.is_multiple_of(2) => {
                UsageEvent { source: "/other".to_owned(), id: format!("e{}", self.next_id / 2), ..event }
            }
            _ => event,
        }
    }

    /// A revision under which nothing was asserted yet, above or below the last.
    fn other_revision(&mut self, id: &str) -> u32 {
        let used: BTreeSet<u32> = self.said[id].iter().map(|event| event.revision).collect();
        let free: Vec<u32> = (0..).filter(|revision| !used.contains(revision)).take(2).collect();
        self.dice.pick(&free)
    }

    /// An event at revision 0, with everything but a name.
    fn event(&mut self) -> UsageEvent {
        let mut data = data(&[]);
        data.insert("value".to_owned(), self.number());
        data.insert("user".to_owned(), self.dice.pick(&["ann", "bob", "cy"]).to_owned());
        data.insert("extra".to_owned(), self.number());
        let dimensions =
            [("model", ["large", "small", "q\"uoted"]), ("region", ["eu", "us", "ünïx"]), ("desk", ["1", "2", "3"])];
        for (dimension, values) in dimensions {
            if !self.dice.one_in(5) {
                data.insert(dimension.to_owned(), self.dice.pick(&values).to_owned());
            }
        }
        UsageEvent {
            source: "/test".to_owned(),
            id: String::new(),
            event_type: if self.dice.one_in(6) { "ping" } else { "call" }.to_owned(),
            subject: self.dice.pick(&SUBJECTS).to_owned(),
            occurred_at: self.moment(),
            revision: 0,
            retract: false,
            data,
        }
    }

    /// Often whole, so that sums meet tier bounds and limits.
    fn number(&mut self) -> String {
        match self.dice.below(8) {
            0 => format!("-{}", self.dice.below(10)),
            1 => format!("{}.{:03}", self.dice.below(20), self.dice.below(1000)),
            2 => format!("{}.50", self.dice.below(20)),
            3 => "0".to_owned(),
            _ => format!("{}", self.dice.below(4) * 5),
        }
    }

    /// Any moment, often on or just before the edge of a quarter hour or a day, and mostly within
    /// the few days around the end of March, when months and quarters end and clocks jump.
    fn moment(&mut self) -> i64 {
        let day = if self.dice.one_in(3) { self.dice.below(DAYS) } else { 84 + self.dice.below(10) };
        let day = START + day as i64 * DAY;
        let quarter = HOUR / 4;
        match self.dice.below(4) {
            0 => day,
            1 => day + self.dice.below(96) as i64 * quarter,
            2 => day + self.dice.below(96) as i64 * quarter - 1,
            _ => day + self.dice.below(DAY as u64) as i64,
        }
    }

    // The catalog.

    fn catalog_change(&mut self) -> Act {
        let customer = self.dice.pick(&CUSTOMERS);
        let plan = self.dice.pick(&PLANS);
        Act::Catalog(match self.dice.below(10) {
            0..4 => {
                let feature = self.dice.pick(&FEATURES);
                let version = PriceVersion { effective_from: Some(self.price_moment()), price: self.price(feature) };
                CatalogChange::Price { plan: plan.to_owned(), feature: feature.to_owned(), version }
            }
            4 => CatalogChange::Plan(self.plan(plan)),
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

    fn meter(&mut self, name: &str) -> Meter {
        let dimensions = ["model".to_owned(), "region".to_owned()];
        let mut meter = Meter {
            name: name.to_owned(),
            event_type: "call".to_owned(),
            aggregation: Aggregation::Sum,
            property: Some("value".to_owned()),
            scale: 3,
            dimensions: dimensions.to_vec(),
            filter: Filter::new(),
        };
        match name {
            "every_call" => return meter,
            "every_user" => {
                return Meter { aggregation: Aggregation::UniqueCount, property: Some("user".to_owned()), ..meter };
            }
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

    fn feature(&mut self, name: &str) -> Feature {
        let meter = (name != "fee").then(|| name.to_owned());
        let filter =
            if name != "fee" && self.dice.one_in(3) { self.filter(&["model".to_owned()]) } else { Filter::new() };
        Feature { name: name.to_owned(), meter, filter }
    }

    fn plan(&mut self, name: &str) -> Plan {
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

    /// Fine enough that rounding matters.
    fn amount(&mut self) -> i128 {
        let thousandth = ONE / 1000;
        match self.dice.below(4) {
            0 => self.dice.below(50) as i128 * 5 * thousandth,
            1 => self.dice.below(1_000_000_000_000) as i128,
            2 if self.dice.one_in(2) => -(self.dice.below(100) as i128) * thousandth,
            _ => self.dice.below(10) as i128 * ONE,
        }
    }

    fn customer(&mut self, id: &str, subjects: &[&str]) -> Customer {
        // Most customers stay where they are.
        let home = CUSTOMERS.iter().position(|customer| *customer == id).unwrap_or_default() * 2;
        let zone = if self.dice.one_in(3) { self.dice.pick(&ZONES) } else { ZONES[home] };
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        Customer { id: id.to_owned(), name: id.to_uppercase(), zone: zone.to_owned(), subjects }
    }

    /// One of two subscriptions of a customer, which follow one another more often than not.
    fn subscription(&mut self, customer: &str) -> Subscription {
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

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
