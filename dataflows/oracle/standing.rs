//! Which statement of each event stands, and what became of the others.
//!
//! Law: every statement is in exactly one state; among those of one identity that no backfill said
//! which was taken back the greatest (revision, retract) stands, the first in the journal where two are
//! equal, unless more is known of the other.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup_model::arrival::Arrival;
use trueup_model::backfill::{Scope, Whose};
use trueup_model::decimal;
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Document, InputId, Replay};
use trueup_model::usage::Reason;

use super::backfills::Backfills;
use super::definitions::{Definitions, Wanted};
use super::reading::is_read;
use super::schema;
use super::{Backfill, Statement};

/// Everything that stands after some facts.
#[derive(Debug, Default)]
pub(super) struct Standing<'a> {
    pub definitions: Definitions,
    /// What stands of each event, by its source and id.
    pub events: BTreeMap<(&'a str, &'a str), Heard<'a>>,
    pub documents: Vec<&'a Document>,
    /// What was set aside before it was judged, and is.
    pub aside: BTreeMap<InputId, Aside<'a>>,
    /// What contradicts the statement that stands, by its source and id.
    pub conflicts: BTreeMap<(&'a str, &'a str), Vec<Heard<'a>>>,
    /// How many statements that stand no more, or never did, are in which state, by how they came.
    pub past: BTreeMap<(&'a Arrival, &'static str), i64>,
    /// How many inputs are said to have been sent.
    pub declared: BTreeMap<&'a Arrival, u64>,
    /// How many statements so far were set aside, or say what contradicts and was.
    pub uncounted: u64,
    pub(super) backfills: Backfills<'a>,
}

/// A statement that could not be read.
#[derive(Debug)]
pub(super) struct Aside<'a> {
    pub reason: Reason,
    pub arrival: &'a Arrival,
    /// What it says, where that is known.
    pub event: Option<&'a UsageEvent>,
}

/// A statement as it was read when it came.
#[derive(Clone, Debug)]
pub(super) struct Heard<'a> {
    pub event: &'a UsageEvent,
    pub arrival: &'a Arrival,
    pub revision: u32,
    pub retract: bool,
    /// Whether it stands for nothing, as all that was said was taken back: then it yields to whatever is said.
    pub silent: bool,
    /// What was looked for in it.
    pub wanted: Arc<BTreeSet<Wanted>>,
    /// The properties that some meter reads or read as numbers with so many places, in units of 10^-12.
    pub numbers: BTreeMap<(String, u32), i128>,
    /// The properties that some meter reads or read as texts.
    pub texts: BTreeMap<String, &'a str>,
    /// The properties that some meter is or was divided by, and which of them were there.
    pub dimensions: BTreeMap<String, Option<&'a str>>,
}

impl<'a> Standing<'a> {
    /// What stands after what was said at each epoch.
    pub fn after(said: impl Iterator<Item = (u64, &'a [Statement])> + Clone) -> Standing<'a> {
        let mut standing = Standing::default();
        for (place, (epoch, statements)) in said.clone().enumerate() {
            standing.hear(epoch, statements);
            for statement in statements {
                if let Statement::Backfill(Backfill::Revert { name }, arrival) = statement {
                    standing.take_back(name, arrival, said.clone().take(place + 1));
                }
            }
        }
        standing
    }

    /// Hears what was said at an epoch, but for what is taken back.
    pub(super) fn hear(&mut self, epoch: u64, statements: &'a [Statement]) {
        self.backfills.next_epoch(statements);
        // Each that is set aside is named by its place among those of its epoch.
        let mut inputs = (0..).map(|place| InputId { epoch, place });
        let mut next = || inputs.next().expect("there is always another");
        for (place, statement) in statements.iter().enumerate() {
            match statement {
                Statement::Backfill(Backfill::Apply { scope: Some(scope), .. }, arrival) => {
                    if !self.backfills.is_unsaid(arrival) {
                        self.displace(scope, statements, arrival);
                    }
                }
                // To take back is for whoever knows all that was said.
                Statement::Backfill(Backfill::Apply { .. } | Backfill::Revert { .. }, _) => {}
                Statement::Catalog(change) => {
                    self.definitions.change(change);
                    // Changes that follow one another belong together.
                    if !matches!(statements.get(place + 1), Some(Statement::Catalog(_))) {
                        self.definitions.forget();
                    }
                }
                Statement::Issued(document) => self.documents.push(document),
                Statement::Declared(declaration) => {
                    self.declared.insert(&declaration.arrival, declaration.events);
                }
                Statement::Refused(reason, arrival, _) => {
                    self.uncounted += 1;
                    self.aside.insert(next(), Aside { reason: *reason, arrival, event: None });
                }
                Statement::Replayed(replays) => replays.iter().for_each(|replay| self.replayed(replay)),
                Statement::Event(event, arrival) => match Heard::by(&self.definitions, event, arrival) {
                    Ok(_) if self.backfills.is_unsaid(arrival) => {}
                    Ok(heard) => self.judge(heard),
                    Err(reason) => {
                        self.uncounted += 1;
                        self.aside.insert(next(), Aside { reason, arrival, event: Some(event) });
                    }
                },
            }
        }
    }

    fn replayed(&mut self, replay: &Replay) {
        match &replay.still {
            None => drop(self.aside.remove(&replay.input)),
            Some((reason, _)) => {
                if let Some(aside) = self.aside.get_mut(&replay.input) {
                    aside.reason = *reason;
                }
            }
        }
    }

    /// How what is set aside came in.
    pub fn set_aside(&self) -> impl Iterator<Item = &'a Arrival> {
        let conflicts = self.conflicts.values().flatten().map(|heard| heard.arrival);
        self.aside.values().map(|aside| aside.arrival).chain(conflicts)
    }

    /// What is set aside: why, how it came, and its place among what was, or the event it contradicts.
    pub fn quarantined(&self) -> impl Iterator<Item = (Reason, &'a Arrival, String)> {
        let aside = self.aside.iter().map(|(input, aside)| (aside.reason, aside.arrival, input.to_string()));
        let event = |event: &UsageEvent| match event.source.as_str() {
            // Its names were not kept.
            "" => String::new(),
            source => format!("{source} {}", event.id),
        };
        let conflicts = self.conflicts.values().flatten();
        aside.chain(conflicts.map(move |heard| (Reason::Conflict, heard.arrival, event(heard.event))))
    }

    /// What is said when all that is set aside is read again, way by way of each epoch: of what stays
    /// for the same reason, nothing.
    pub fn replays(&self) -> Vec<Statement> {
        let mut aside: Vec<(&InputId, &Aside<'_>)> = self.aside.iter().collect();
        aside.sort_by_key(|(input, aside)| (input.epoch, &aside.arrival.origin, input.place));
        let mut said = Vec::new();
        for (input, Aside { arrival, event, reason }) in aside {
            let Some(event) = event.filter(|_| !self.backfills.has_taken_back(arrival)) else { continue };
            let read = Heard::by(&self.definitions, event, arrival);
            if read.as_ref().is_err_and(|still| still == reason) {
                continue;
            }
            let still = read.as_ref().err().map(|reason| (*reason, String::new()));
            said.push(Statement::Replayed(vec![Replay { input: *input, arrival: (*arrival).clone(), still }]));
            said.extend(read.ok().map(|_| Statement::Event((*event).clone(), (*arrival).clone())));
        }
        said
    }

    /// Retracts what stands in a scope, unless the epoch names it.
    fn displace(&mut self, scope: &Scope, statements: &[Statement], arrival: &'a Arrival) {
        let named = self.named_by(statements).into_iter().flatten().collect();
        let retracted = self.displaced(scope, &named);
        retracted.into_iter().for_each(|heard| self.judge(Heard { arrival, ..heard }));
    }

    /// What stands in a scope and is not named, taken back.
    pub(super) fn displaced(&self, scope: &Scope, named: &BTreeSet<(&str, &str)>) -> Vec<Heard<'a>> {
        let owners = self.definitions.owners();
        let is_whose = |subject: &str| match &scope.whose {
            Whose::Subject(one) => one == subject,
            Whose::Customer(customer) => owners.get(subject).is_some_and(|owner| owner.id == *customer),
        };
        let meter = &self.definitions.meters[&scope.meter];
        let is_displaced = |key: &(&str, &str), heard: &Heard<'_>| {
            !heard.retract
                && is_whose(&heard.event.subject)
                && (scope.from..scope.to).contains(&heard.event.occurred_at)
                && is_read(meter, heard)
                && !named.contains(key)
        };
        let displaced = self.events.iter().filter(|(key, heard)| is_displaced(key, heard));
        displaced.map(|(_, heard)| heard.retracted()).collect()
    }

    /// The events that statements are about: those that can be read, and those that cannot, as far as it is known.
    pub(super) fn named_by<'s>(&self, statements: &'s [Statement]) -> [BTreeSet<(&'s str, &'s str)>; 2] {
        let (mut read, mut unread) = (BTreeSet::new(), BTreeSet::new());
        for statement in statements {
            match statement {
                Statement::Event(event, arrival) => {
                    let can_be_read = Heard::by(&self.definitions, event, arrival).is_ok();
                    let named = if can_be_read { &mut read } else { &mut unread };
                    named.insert((&*event.source, &*event.id));
                }
                Statement::Refused(_, _, Some((source, id))) => drop(unread.insert((source, id))),
                _ => {}
            }
        }
        [read, unread]
    }

    /// Lets a statement stand in place of another. Whatever contradicted that is settled.
    pub(super) fn replace(&mut self, heard: Heard<'a>) {
        let key = heard.key();
        self.put(self.events[&key].arrival, "superseded");
        for settled in self.conflicts.remove(&key).unwrap_or_default() {
            self.put(settled.arrival, "superseded");
        }
        self.events.insert(key, heard);
    }

    fn put(&mut self, arrival: &'a Arrival, state: &'static str) {
        *self.past.entry((arrival, state)).or_default() += 1;
    }

    fn judge(&mut self, heard: Heard<'a>) {
        let Some(other) = self.events.get(&heard.key()) else {
            self.events.insert(heard.key(), heard);
            return;
        };
        let (here, before) = (heard.arrival, other.arrival);
        match heard.against(other) {
            Verdict::Stands => self.replace(heard),
            Verdict::KnowsMore => {
                self.put(before, "duplicate");
                self.events.insert(heard.key(), heard);
            }
            Verdict::Superseded => self.put(here, "superseded"),
            Verdict::Duplicate => self.put(here, "duplicate"),
            Verdict::Contradicts => {
                self.uncounted += 1;
                let known = self.conflicts.entry(heard.key()).or_default();
                if known.iter().any(|known| heard.repeats(known)) {
                    self.put(here, "duplicate");
                } else {
                    known.push(heard);
                }
            }
        }
    }
}

/// What a statement does to the one that stands.
enum Verdict {
    /// It stands in its place.
    Stands,
    /// It says the same, and something of which that does not tell, and stands in its place.
    KnowsMore,
    Superseded,
    Duplicate,
    Contradicts,
}

impl<'a> Heard<'a> {
    /// Reads an event by the meters there are, or says why it cannot be counted.
    pub fn by(definitions: &Definitions, event: &'a UsageEvent, arrival: &'a Arrival) -> Result<Heard<'a>, Reason> {
        let asked_for = definitions.asked_for.get(&event.event_type).ok_or(Reason::UnknownType)?;
        let (numbers, texts, dimensions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let ever_read = &definitions.ever_read[&event.event_type];
        let (wanted, revision, retract) = (ever_read.clone(), event.revision, event.retract);
        let mut heard = Heard { event, arrival, revision, retract, silent: false, wanted, numbers, texts, dimensions };
        if event.retract {
            return Ok(heard);
        }
        if definitions.schemas.get(&event.event_type).is_some_and(|schema| schema::breaks(schema, event)) {
            return Err(Reason::BreaksSchema);
        }
        for wanted in &**ever_read {
            let read = heard.read(wanted);
            // What no meter asks for any more may as well be absent, or written anyhow.
            if asked_for.contains(wanted) {
                read?;
            }
        }
        Ok(heard)
    }

    /// What it is about, by source and id.
    pub fn key(&self) -> (&'a str, &'a str) {
        (&self.event.source, &self.event.id)
    }

    /// Of two statements of an event the one of the greater rank stands.
    pub fn rank(&self) -> (bool, u32, bool) {
        (!self.silent, self.revision, self.retract)
    }

    /// What it does to the statement that stands.
    fn against(&self, other: &Heard<'_>) -> Verdict {
        match self.rank().cmp(&other.rank()) {
            Ordering::Less => Verdict::Superseded,
            Ordering::Greater => Verdict::Stands,
            Ordering::Equal if self.retract => Verdict::Duplicate,
            Ordering::Equal if !self.says_the_same(other) => Verdict::Contradicts,
            Ordering::Equal if self.known().is_subset(&other.known()) => Verdict::Duplicate,
            Ordering::Equal => Verdict::KnowsMore,
        }
    }

    /// The statement that takes it back.
    pub fn retracted(&self) -> Heard<'a> {
        Heard { retract: true, ..self.clone() }
    }

    fn read(&mut self, wanted: &Wanted) -> Result<(), Reason> {
        let written = self.event.data.get(wanted.property()).map(String::as_str);
        match wanted {
            Wanted::Dimension(property) => drop(self.dimensions.insert(property.clone(), written)),
            Wanted::Text(property) => drop(self.texts.insert(property.clone(), written.ok_or(Reason::Missing)?)),
            Wanted::Number(property, scale) => {
                let units = decimal::parse(written.ok_or(Reason::Missing)?, *scale).map_err(|_| Reason::OutOfRange)?;
                self.numbers.insert((property.clone(), *scale), units * 10_i128.pow(12 - scale));
            }
        }
        Ok(())
    }

    /// What is known of it: the properties, as what, and with how many places.
    fn known(&self) -> BTreeSet<(&str, &str, u32)> {
        let numbers = self.numbers.keys().map(|(name, scale)| (name.as_str(), "number", *scale));
        let texts = self.texts.keys().map(|name| (name.as_str(), "text", 0));
        let dimensions = self.dimensions.keys().map(|name| (name.as_str(), "dimension", 0));
        numbers.chain(texts).chain(dimensions).collect()
    }

    /// Whether it says what another assertion says, the same was looked for in both, and the same found.
    pub fn repeats(&self, other: &Heard<'_>) -> bool {
        self.says_the_same(other) && self.wanted == other.wanted && self.known() == other.known()
    }

    /// Whether two assertions agree in all that was read of both.
    fn says_the_same(&self, other: &Heard<'_>) -> bool {
        let (one, two) = (self.event, other.event);
        one.subject == two.subject
            && one.event_type == two.event_type
            && one.occurred_at == two.occurred_at
            && self.numbers.iter().all(|((property, _), units)| {
                let mut there = other.numbers.iter().filter(|((known, _), _)| known == property);
                there.all(|(_, known)| known == units)
            })
            && agree(&self.texts, &other.texts)
            && agree(&self.dimensions, &other.dimensions)
    }
}

/// Whether what was read under the same name is the same.
fn agree<R: PartialEq>(one: &BTreeMap<String, R>, two: &BTreeMap<String, R>) -> bool {
    one.iter().all(|(property, read)| two.get(property).is_none_or(|other| other == read))
}
