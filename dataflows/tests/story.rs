//! Billing stories as text: what happens, and the tables a customer would then see.
//!
//! A story is a list of sentences, one to a line. A line followed by `----` asks for a table; what
//! follows, up to an empty line, is the answer. Facts since the last question, `issue`, `clock` or
//! `commit` form one epoch. Times are local to the customer or subject named in the sentence, and
//! UTC in prices, in clocks, in tables, and wherever they end in Z.
//!
//! ```text
//! meter NAME: count | AGGREGATION of PROPERTY [, of TYPE events] [, by D and D] [, where D is V or V] [, N places]
//! feature NAME: METER [, where D is V or V] | feature NAME: no meter
//! plan NAME: CURRENCY, monthly [, anniversary] [, half even|half up|up|down] [, N places] [, each line]
//!   FEATURE: PRICE [from TIME] [; PRICE from TIME] [; quota N [, warning at N]]
//! price PLAN FEATURE: PRICE [from TIME]
//! PRICE = N each | graduated N at N [plus N], then N | volume (likewise) | package of N at N | flat N | free
//! schema TYPE VERSION: needs P, P [; P is V or V]
//! customer ID [in ZONE] [owns SUBJECT, SUBJECT | owns nothing]
//! subscribe CUSTOMER to PLAN from TIME [until TIME] [as ID]
//! use|late SUBJECT TYPE [VALUE] [PROPERTY=VALUE] on TIME [as ID] [revision N]
//! again ID | correct ID to [VALUE] [PROPERTY=VALUE] [on TIME] [revision N]
//! retract ID [of SUBJECT TYPE] [revision N]
//! by SOURCE [PARTITION] | declare N by SOURCE [PARTITION] at TIME
//! refused REASON | replay | clock TIME | commit | issue CUSTOMER TIME
//! backfill NAME [in place of METER of CUSTOMER from TIME until TIME]
//!   what its events say, in sentences as above
//! take back NAME
//! VIEW [of CUSTOMER] [where COLUMN is VALUE] [showing COLUMN, COLUMN]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use jiff::tz::TimeZoneDatabase;
use serde_json::json;
use trueup::oracle::Cell;
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::calendar::Cadence;
use trueup_model::catalog::{
    AnchorRule, CatalogChange, Customer, EventSchema, Feature, Plan, PriceVersion, Quota, RateCard, Subscription,
};
use trueup_model::decimal;
use trueup_model::event::UsageEvent;
use trueup_model::fact::Declaration;
use trueup_model::meter::{Aggregation, Filter, Meter};
use trueup_model::money::{Rounding, RoundingMode, RoundingScope};
use trueup_model::price::{Price, Tier};
use trueup_model::usage::Reason;

use crate::subject::Subject;
use crate::views;

mod backfills;
mod tables;

use tables::{show, shown, table};

/// Tells a story and writes it down again with the answers that were given.
pub fn tell(story: &str, subject: &mut dyn Subject) -> String {
    let mut teller = Teller::to(subject);
    let mut told = String::new();
    let mut lines = story.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        teller.line = number + 1;
        told.push_str(line);
        told.push('\n');
        if lines.peek().is_some_and(|(_, next)| *next == "----") {
            told.push_str("----\n");
            told.push_str(&teller.answer(line));
            while lines.next_if(|(_, answer)| !answer.is_empty()).is_some() {}
        } else if !line.is_empty() && !line.starts_with('#') {
            let mut indented = Vec::new();
            while let Some((_, card)) = lines.next_if(|(_, next)| next.starts_with("  ")) {
                told.push_str(card);
                told.push('\n');
                indented.push(card.trim());
            }
            teller.say(line, &indented);
        }
    }
    told
}

struct Teller<'s> {
    subject: &'s mut dyn Subject,
    line: usize,
    pending: bool,
    customers: BTreeMap<String, Customer>,
    meters: BTreeSet<String>,
    features: BTreeSet<String>,
    /// The last statement of each event, by its id.
    statements: BTreeMap<String, UsageEvent>,
}

impl<'s> Teller<'s> {
    fn to(subject: &'s mut dyn Subject) -> Teller<'s> {
        Teller {
            subject,
            line: 0,
            pending: false,
            customers: BTreeMap::new(),
            meters: BTreeSet::new(),
            features: BTreeSet::new(),
            statements: BTreeMap::new(),
        }
    }

    fn say(&mut self, sentence: &str, indented: &[&str]) {
        let (verb, rest) = sentence.split_once(' ').unwrap_or((sentence, ""));
        match verb {
            "meter" => self.meter(rest),
            "feature" => self.feature(rest),
            "plan" => self.plan(rest, indented),
            "price" => self.price(rest),
            "schema" => self.schema(rest),
            "customer" => self.customer(rest),
            "subscribe" => self.subscribe(rest),
            "use" | "late" => self.use_something(rest),
            "again" => self.send(self.statements[rest].clone()),
            "correct" => self.correct(rest),
            "retract" => self.retract(rest),
            "refused" => self.refused(rest),
            "by" => self.subject.way(way(rest)),
            "declare" => self.declare(rest),
            "clock" => {
                self.commit();
                self.subject.clock(self.time(rest, "UTC"));
                self.pending = true;
            }
            "commit" => self.commit(),
            "issue" => self.issue(rest),
            "replay" => self.replay(),
            "backfill" => self.backfill(rest, indented),
            "take" => self.take_back(rest),
            _ => self.fail(&format!("nothing is called '{verb}'")),
        }
    }

    fn fail(&self, why: &str) -> ! {
        panic!("line {}: {why}", self.line)
    }

    fn commit(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.subject.commit();
        }
    }

    fn change(&mut self, change: CatalogChange) {
        self.pending = true;
        if let Err(why) = self.subject.catalog(change) {
            self.fail(&why);
        }
    }

    // The catalog.

    fn meter(&mut self, text: &str) {
        let (name, clauses) = self.named(text);
        let mut meter = Meter { scale: 3, ..Meter::counting(name, name) };
        for clause in clauses {
            if let Some(event_type) = clause.strip_prefix("of ").and_then(|rest| rest.strip_suffix(" events")) {
                meter.event_type = event_type.to_owned();
            } else if let Some(names) = clause.strip_prefix("by ") {
                meter.dimensions = names.split(" and ").map(str::to_owned).collect();
            } else if let Some(names) = clause.strip_prefix("forgetting ") {
                meter.forget = names.split(" and ").map(str::to_owned).collect();
            } else if let Some(condition) = clause.strip_prefix("where ") {
                self.restrict(&mut meter.filter, condition);
            } else if let Some(places) = clause.strip_suffix(" places") {
                meter.scale = self.count(places);
            } else {
                (meter.aggregation, meter.property) = self.aggregation(clause);
            }
        }
        self.meters.insert(meter.name.clone());
        self.change(CatalogChange::Meter(meter));
    }

    fn aggregation(&self, clause: &str) -> (Aggregation, Option<String>) {
        let (name, property) = match clause.split_once(" of ") {
            Some((name, property)) => (name, Some(property.to_owned())),
            None => (clause, None),
        };
        let aggregation = match name {
            "count" => Aggregation::Count,
            "sum" => Aggregation::Sum,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "average" => Aggregation::Average,
            "latest" => Aggregation::Latest,
            "unique count" => Aggregation::UniqueCount,
            _ => self.fail(&format!("'{name}' is no aggregation")),
        };
        (aggregation, property)
    }

    fn restrict(&self, filter: &mut Filter, condition: &str) {
        let Some((property, values)) = condition.split_once(" is ") else { self.fail("a condition has an 'is'") };
        filter.insert(property.to_owned(), values.split(" or ").map(str::to_owned).collect());
    }

    fn feature(&mut self, text: &str) {
        let (name, mut clauses) = self.named(text);
        let meter = clauses.remove(0);
        let mut filter = Filter::new();
        for clause in clauses {
            self.restrict(&mut filter, clause.strip_prefix("where ").unwrap_or(clause));
        }
        let meter = (meter != "no meter").then(|| meter.to_owned());
        self.define_feature(Feature { name: name.to_owned(), meter, filter });
    }

    fn define_feature(&mut self, feature: Feature) {
        self.features.insert(feature.name.clone());
        self.change(CatalogChange::Feature(feature));
    }

    fn plan(&mut self, text: &str, cards: &[&str]) {
        let (name, clauses) = self.named(text);
        let mut plan = Plan {
            name: name.to_owned(),
            currency: clauses[0].parse().unwrap_or_else(|error| self.fail(&format!("{error}"))),
            cadence: Cadence::Month,
            anchor: AnchorRule::Calendar,
            rounding: Rounding::default(),
            rate_cards: Vec::new(),
        };
        for clause in &clauses[1..] {
            match *clause {
                "daily" => plan.cadence = Cadence::Day,
                "weekly" => plan.cadence = Cadence::Week,
                "monthly" => plan.cadence = Cadence::Month,
                "quarterly" => plan.cadence = Cadence::Quarter,
                "yearly" => plan.cadence = Cadence::Year,
                "anniversary" => plan.anchor = AnchorRule::Anniversary,
                "half up" => plan.rounding.mode = RoundingMode::HalfUp,
                "half even" => plan.rounding.mode = RoundingMode::HalfEven,
                "up" => plan.rounding.mode = RoundingMode::Up,
                "down" => plan.rounding.mode = RoundingMode::Down,
                "each line" => plan.rounding.scope = RoundingScope::Line,
                other => match other.strip_suffix(" places") {
                    Some(places) => plan.rounding.places = Some(self.count(places)),
                    None => self.fail(&format!("a plan cannot be '{other}'")),
                },
            }
        }
        for card in cards {
            let card = self.rate_card(card);
            plan.rate_cards.push(card);
        }
        self.change(CatalogChange::Plan(plan));
    }

    fn rate_card(&mut self, text: &str) -> RateCard {
        let Some((feature, terms)) = text.split_once(": ") else { self.fail("a rate card is FEATURE: PRICE") };
        if !self.features.contains(feature) {
            let meter = self.meters.contains(feature).then(|| feature.to_owned());
            self.define_feature(Feature { name: feature.to_owned(), meter, filter: Filter::new() });
        }
        let mut card = RateCard { feature: feature.to_owned(), prices: Vec::new(), quota: None };
        for term in terms.split("; ") {
            if let Some(quota) = term.strip_prefix("quota ") {
                let (limit, warning_at) = quota.split_once(", warning at ").unwrap_or((quota, quota));
                card.quota = Some(Quota { limit: self.number(limit), warning_at: self.number(warning_at) });
            } else if term != "free" {
                card.prices.push(self.version(term));
            }
        }
        card
    }

    fn version(&self, text: &str) -> PriceVersion {
        match text.split_once(" from ") {
            Some((price, from)) => {
                PriceVersion { effective_from: Some(self.time(from, "UTC")), price: self.price_model(price) }
            }
            None => PriceVersion { effective_from: None, price: self.price_model(text) },
        }
    }

    fn price_model(&self, text: &str) -> Price {
        if let Some(unit) = text.strip_suffix(" each") {
            return Price::PerUnit { unit: self.number(unit) };
        }
        match text.split_once(' ') {
            Some(("flat", amount)) => Price::Flat { amount: self.number(amount) },
            Some(("graduated", tiers)) => Price::Graduated { tiers: self.tiers(tiers) },
            Some(("volume", tiers)) => Price::Volume { tiers: self.tiers(tiers) },
            Some(("package", terms)) => {
                let terms = terms.strip_prefix("of ").and_then(|terms| terms.split_once(" at "));
                let Some((size, price)) = terms else { self.fail("a package is 'package of N at N'") };
                Price::Package { size: self.number(size), price: self.number(price) }
            }
            _ => self.fail(&format!("'{text}' is no price")),
        }
    }

    fn tiers(&self, text: &str) -> Vec<Tier> {
        let tier = |clause: &str| {
            let (bound, price) = match (clause.strip_prefix("then "), clause.split_once(" at ")) {
                (Some(price), _) => (None, price),
                (None, Some((bound, price))) => (Some(self.number(bound)), price),
                _ => self.fail("a tier is 'N at N' or 'then N'"),
            };
            let (unit, flat) = price.split_once(" plus ").unwrap_or((price, "0"));
            Tier { up_to: bound, unit: self.number(unit), flat: self.number(flat) }
        };
        text.split(", ").map(tier).collect()
    }

    fn price(&mut self, text: &str) {
        let (names, version) = text.split_once(": ").unwrap_or((text, ""));
        let Some((plan, feature)) = names.split_once(' ') else { self.fail("a price is of a plan and a feature") };
        let version = self.version(version);
        self.change(CatalogChange::Price { plan: plan.to_owned(), feature: feature.to_owned(), version });
    }

    fn schema(&mut self, text: &str) {
        let (name, clauses) = text.split_once(": ").unwrap_or_else(|| self.fail("a schema is TYPE VERSION: WHAT"));
        let (event_type, version) = name.split_once(' ').unwrap_or_else(|| self.fail("which version is it?"));
        let mut schema = json!({ "properties": {} });
        for clause in clauses.split("; ") {
            if let Some(needed) = clause.strip_prefix("needs ") {
                schema["required"] = needed.split(", ").collect();
            } else if let Some((property, values)) = clause.split_once(" is ") {
                schema["properties"][property] = json!({ "enum": values.split(" or ").collect::<Vec<_>>() });
            }
        }
        let (event_type, version) = (event_type.to_owned(), self.count(version));
        self.change(CatalogChange::Schema(EventSchema { event_type, version, text: schema.to_string() }));
    }

    fn customer(&mut self, text: &str) {
        let (head, subjects) = match text.split_once(" owns ") {
            Some((head, "nothing")) => (head, Vec::new()),
            Some((head, subjects)) => (head, subjects.split(", ").map(str::to_owned).collect()),
            None => (text, vec![text.split(' ').next().unwrap_or_default().to_owned()]),
        };
        let (id, zone) = head.split_once(" in ").unwrap_or((head, "UTC"));
        let customer = Customer { id: id.to_owned(), name: id.to_owned(), zone: zone.to_owned(), subjects };
        self.customers.insert(id.to_owned(), customer.clone());
        self.change(CatalogChange::Customer(customer));
    }

    fn subscribe(&mut self, text: &str) {
        let mut words = Words::of(text);
        let customer = words.first();
        let zone = self.customers.get(customer).map_or("UTC", |customer| &customer.zone).to_owned();
        let subscription = Subscription {
            id: words.after("as").unwrap_or(customer).to_owned(),
            customer: customer.to_owned(),
            plan: words.after("to").unwrap_or_else(|| self.fail("to which plan?")).to_owned(),
            starts_at: words.after("from").map_or_else(|| self.fail("from when on?"), |at| self.time(at, &zone)),
            ends_at: words.after("until").map(|at| self.time(at, &zone)),
        };
        self.done(&words);
        self.change(CatalogChange::Subscription(subscription));
    }

    // Events.

    fn send(&mut self, event: UsageEvent) {
        self.pending = true;
        self.statements.insert(event.id.clone(), event.clone());
        self.subject.event(event);
    }

    fn zone_of(&self, subject: &str) -> String {
        let owner = self.customers.values().find(|customer| customer.subjects.iter().any(|own| own == subject));
        owner.map_or("UTC", |customer| &customer.zone).to_owned()
    }

    fn use_something(&mut self, text: &str) {
        let mut words = Words::of(text);
        let (subject, event_type) = (words.first(), words.first());
        let on = words.after("on").unwrap_or_else(|| self.fail("on which day?"));
        let id = words.after("as").map_or_else(|| format!("line-{}", self.line), str::to_owned);
        let revision = words.after("revision").map_or(0, |revision| self.count(revision));
        let event = UsageEvent {
            source: "/story".to_owned(),
            id,
            event_type: event_type.to_owned(),
            subject: subject.to_owned(),
            occurred_at: self.time(on, &self.zone_of(subject)),
            revision,
            retract: false,
            data: words.properties(),
        };
        self.done(&words);
        self.send(event);
    }

    fn correct(&mut self, text: &str) {
        let mut words = Words::of(text);
        let id = words.first();
        let mut event = self.statements[id].clone();
        event.retract = false;
        event.revision = words.after("revision").map_or(event.revision + 1, |revision| self.count(revision));
        if let Some(on) = words.after("on") {
            event.occurred_at = self.time(on, &self.zone_of(&event.subject));
        }
        words.take("to");
        event.data.extend(words.properties());
        self.done(&words);
        self.send(event);
    }

    fn retract(&mut self, text: &str) {
        let mut words = Words::of(text);
        let id = words.first();
        let mut event = match words.after("of") {
            Some(subject) => UsageEvent {
                source: "/story".to_owned(),
                id: id.to_owned(),
                event_type: words.first().to_owned(),
                subject: subject.to_owned(),
                occurred_at: 0,
                revision: 0,
                retract: true,
                data: BTreeMap::new(),
            },
            None => self.statements[id].clone(),
        };
        event.retract = true;
        event.revision = words.after("revision").map_or(event.revision, |revision| self.count(revision));
        self.done(&words);
        self.send(event);
    }

    fn refused(&mut self, name: &str) {
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == name);
        self.pending = true;
        self.subject.refused(reason.unwrap_or_else(|| self.fail(&format!("'{name}' is no reason"))));
    }

    fn declare(&mut self, text: &str) {
        let (declared, at) = text.split_once(" at ").unwrap_or_else(|| self.fail("declared at which time?"));
        let (events, by) = declared.split_once(" by ").unwrap_or_else(|| self.fail("declared by which way?"));
        let arrival = Arrival::at(way(by).into(), self.time(at, "UTC"));
        self.pending = true;
        self.subject.declare(Declaration { arrival, events: self.count(events).into() });
    }

    fn replay(&mut self) {
        self.commit();
        if !self.subject.replay() {
            self.fail("nothing that is set aside can be read again");
        }
    }

    fn issue(&mut self, text: &str) {
        let Some((customer, day)) = text.split_once(' ') else { self.fail("issue to whom, for which period?") };
        let Some(zone) = self.customers.get(customer).map(|customer| &customer.zone) else { self.fail("to whom?") };
        let period_start = self.time(day, zone);
        self.commit();
        let key = [(0, Cell::Text(customer.to_owned())), (2, Cell::Time(period_start))];
        let invoices = self.subject.rows("invoices");
        let invoice = invoices.iter().find(|row| key.iter().all(|(column, value)| row[*column] == *value));
        let Some(invoice) = invoice else { self.fail("there is no such invoice") };
        if self.subject.issue(customer, &invoice[1].to_string(), period_start).is_none() {
            self.fail("there was nothing to issue");
        }
    }

    // Questions.

    fn answer(&mut self, question: &str) -> String {
        self.commit();
        let (question, showing) = match question.split_once(" showing ") {
            Some((question, columns)) => (question, Some(columns.split(", ").collect::<Vec<_>>())),
            None => (question, None),
        };
        let mut words = Words::of(question);
        let view = words.first();
        let Some(columns) = views::columns(view) else { self.fail(&format!("there is no view '{view}'")) };
        let column = |name: &str| {
            let place = columns.iter().position(|column| *column == name);
            place.unwrap_or_else(|| self.fail(&format!("{view} has no column '{name}'")))
        };
        let mut conditions = Vec::new();
        if let Some(whose) = words.after("of") {
            conditions.push((column("customer"), whose));
        }
        while let Some(name) = words.after("where") {
            conditions.push((column(name), words.after("is").unwrap_or_else(|| self.fail("is what?"))));
        }
        let places: Vec<usize> = showing.unwrap_or(shown(view).to_vec()).into_iter().map(column).collect();
        self.done(&words);
        let rows = self.subject.rows(view);
        let asked = rows.iter().filter(|row| conditions.iter().all(|(place, value)| show(&row[*place]) == *value));
        let names = places.iter().map(|place| columns[*place].to_owned()).collect();
        table(names, asked.map(|row| places.iter().map(|place| &row[*place]).collect()).collect())
    }

    // Words.

    fn named<'t>(&self, text: &'t str) -> (&'t str, Vec<&'t str>) {
        let Some((name, clauses)) = text.split_once(": ") else { self.fail("a definition is NAME: WHAT") };
        (name, clauses.split(", ").collect())
    }

    fn done(&self, words: &Words<'_>) {
        if let Some(word) = words.left.first() {
            self.fail(&format!("what does '{word}' mean here?"));
        }
    }

    fn count(&self, text: &str) -> u32 {
        text.parse().unwrap_or_else(|_| self.fail(&format!("'{text}' is no count")))
    }

    fn number(&self, text: &str) -> i128 {
        decimal::parse(text, 12).unwrap_or_else(|error| self.fail(&error.to_string()))
    }

    fn time(&self, text: &str, zone: &str) -> i64 {
        let (text, zone) = text.strip_suffix('Z').map_or((text, zone), |text| (text, "UTC"));
        let civil = text.parse::<DateTime>().unwrap_or_else(|error| self.fail(&error.to_string()));
        let zone = TimeZoneDatabase::bundled().get(zone).unwrap_or_else(|error| self.fail(&error.to_string()));
        let instant = zone.to_timestamp(civil).unwrap_or_else(|error| self.fail(&error.to_string()));
        instant.as_microsecond()
    }
}

/// A way in, by its source and partition.
fn way(text: &str) -> Origin {
    let (source, partition) = text.split_once(' ').unwrap_or((text, ""));
    Origin { source: source.to_owned(), partition: partition.to_owned() }
}

/// The words of a sentence that are not understood yet.
struct Words<'t> {
    left: Vec<&'t str>,
}

impl<'t> Words<'t> {
    fn of(text: &'t str) -> Words<'t> {
        Words { left: text.split(' ').filter(|word| !word.is_empty()).collect() }
    }

    fn first(&mut self) -> &'t str {
        self.left.remove(0)
    }

    /// Takes a word out, if it is there.
    fn take(&mut self, word: &str) {
        self.left.retain(|left| *left != word);
    }

    /// Takes out a word and the one after it, which is told.
    fn after(&mut self, word: &str) -> Option<&'t str> {
        let place = self.left.iter().position(|left| *left == word).filter(|place| place + 1 < self.left.len())?;
        self.left.drain(place..place + 2).nth(1)
    }

    /// Takes out what is left of an event: `PROPERTY=VALUE`, or a mere value.
    fn properties(&mut self) -> BTreeMap<String, String> {
        let property = |word: &str| {
            let (name, value) = word.split_once('=').unwrap_or(("value", word));
            (name.to_owned(), value.to_owned())
        };
        self.left.drain(..).map(property).collect()
    }
}
