//! Random histories: facts of every kind, in any order, cut into epochs anywhere.
//!
//! A history is made from a seed alone, so a failure is told by its number. Its world is small on
//! purpose: few customers, subjects, ids, values and moments, so that statements meet one another,
//! quantities lie on tier bounds, and events on the edges of periods.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::{Scope, Whose};
use trueup_model::catalog::CatalogChange;
use trueup_model::event::UsageEvent;
use trueup_model::fact::Declaration;
use trueup_model::usage::Reason;

mod definitions;

pub use crate::acts::{Act, History, run};

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
    let (said, declared) = (BTreeMap::new(), Vec::new());
    let mut world = World { dice: Dice(seed), kind, clock: START, next_id: 0, said, declared, schema_version: 0 };
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
    let events = history.iter().flat_map(|act| match act {
        Act::Event(event) => std::slice::from_ref(event),
        Act::Backfill(events, ..) => events,
        _ => &[],
    });
    let last: BTreeMap<_, _> = events.map(|event| ((&event.source, &event.id), event)).collect();
    // Of a type that is known, whatever that of the event was.
    let event_type = || "call".to_owned();
    let retraction = |event: &UsageEvent| UsageEvent {
        revision: u32::MAX,
        retract: true,
        event_type: event_type(),
        ..event.clone()
    };
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

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    pub fn some<T: Clone>(&mut self, choices: &[T]) -> Vec<T> {
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
/// One that none reads at first.
const LATE_HEARD_OF: &str = "late_heard_of";

const CUSTOMERS: [&str; 4] = ["acme", "bolt", "kite", "noor"];
const SUBJECTS: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];
const PLANS: [&str; 3] = ["basic", "pro", "max"];
/// Meters that are never redefined, so that most properties of every event are read.
const LASTING: [&str; 3] = ["every_call", "every_user", "pings"];
const CHANGING: [&str; 4] = ["m1", "m2", "m3", "m4"];
const FEATURES: [&str; 8] = ["every_call", "every_user", "pings", "m1", "m2", "m3", "m4", "fee"];

struct World {
    dice: Dice,
    kind: Kind,
    clock: i64,
    next_id: u32,
    /// Every statement so far, by its id.
    said: BTreeMap<String, Vec<UsageEvent>>,
    /// Of which hours it was said what came in.
    declared: Vec<Arrival>,
    schema_version: u32,
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
            84..87 => Act::Way(self.way()),
            87..89 => Act::Declare(self.declaration()),
            89 if self.kind == Kind::Any => Act::Replay,
            90..93 if self.kind == Kind::Any => self.backfill(),
            93..95 if self.kind == Kind::Any => Act::Revert(self.dice.below(10) as usize),
            _ => Act::Commit,
        }
    }

    /// A few statements, half the time in place of what somebody used in some weeks; now and then of
    /// somebody, or by a meter, that is not there, or not yet.
    fn backfill(&mut self) -> Act {
        let events = (0..self.dice.below(8)).map(|_| self.statement()).collect();
        let scope = self.dice.one_in(2).then(|| {
            let whose = match self.dice.one_in(2) {
                true => Whose::Subject(self.one_of(&SUBJECTS, "s7")),
                false => Whose::Customer(self.one_of(&CUSTOMERS, "nobody")),
            };
            // Mostly where most usage is, so that some of it lies on the edges.
            let (first, days) =
                if self.dice.one_in(3) { (self.dice.below(DAYS), 60) } else { (80 + self.dice.below(12), 10) };
            let from = START + first as i64 * DAY;
            let to = from + self.dice.below(days) as i64 * DAY;
            let meters = [&LASTING[..], &CHANGING[..]].concat();
            Scope { whose, meter: self.one_of(&meters, "nothing"), from, to }
        });
        Act::Backfill(events, scope, !self.dice.one_in(4))
    }

    /// One of these, or rarely another.
    fn one_of(&mut self, names: &[&str], other: &str) -> String {
        let name = if self.dice.one_in(20) { other } else { self.dice.pick(names) };
        name.to_owned()
    }

    fn way(&mut self) -> Origin {
        let (source, partition) =
            self.dice.pick(&[("kafka/a", "calls/0"), ("kafka/a", "calls/1"), ("http", ""), ("a.csv", "")]);
        Origin { source: source.to_owned(), partition: partition.to_owned() }
    }

    /// Of this hour, whether or not anything came in, or of one of which it was said before.
    fn declaration(&mut self) -> Declaration {
        if self.declared.is_empty() || self.dice.one_in(2) {
            let arrival = Arrival::at(self.way().into(), self.clock);
            self.declared.push(arrival);
        }
        let declared = self.declared.clone();
        Declaration { arrival: self.dice.pick(&declared), events: self.dice.below(3) }
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
            8 => {
                let revision = old.revision.saturating_add(self.dice.below(3) as u32);
                UsageEvent { retract: true, revision, ..old }
            }
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
            2 => UsageEvent { event_type: self.dice.pick(&[UNHEARD_OF, LATE_HEARD_OF]).to_owned(), ..event },
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

    /// A revision under which nothing was asserted yet, above or below the last; rarely the greatest.
    fn other_revision(&mut self, id: &str) -> u32 {
        let used: BTreeSet<u32> = self.said[id].iter().map(|event| event.revision).collect();
        if !used.contains(&u32::MAX) && self.dice.one_in(30) {
            return u32::MAX;
        }
        let free: Vec<u32> = (0..).filter(|revision| !used.contains(revision)).take(2).collect();
        self.dice.pick(&free)
    }

    /// An event at revision 0, with everything but a name.
    fn event(&mut self) -> UsageEvent {
        let mut data = data(&[]);
        data.insert("value".to_owned(), self.number());
        data.insert("user".to_owned(), self.dice.pick(&["ann", "bob", "cy"]).to_owned());
        if !self.dice.one_in(6) {
            let number = self.number();
            data.insert("extra".to_owned(), if self.dice.one_in(20) { "much".to_owned() } else { number });
        }
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

    /// Often whole, so that sums meet tier bounds and limits; rarely absurd.
    fn number(&mut self) -> String {
        if self.dice.one_in(20) {
            return "1000000000".to_owned();
        }
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
}

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
