//! What would stand without a backfill: all that was said of its events is remembered, and judged again without it.
//! And which backfills are refused.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::arrival::Arrival;
use trueup_model::backfill::{SOURCE, Scope, Whose};

use super::standing::{Heard, Standing, Verdict};
use super::{Backfill, Statement};

type Key<'a> = (&'a str, &'a str);

/// What was said, and by which backfill, if some are taken back at some time.
#[derive(Debug, Default)]
pub(super) struct Backfills<'a> {
    is_asked: bool,
    /// Those that are taken back by now.
    taken_back: BTreeSet<&'a str>,
    /// The one whose epoch this is.
    applied: Option<&'a str>,
    /// What was said of each event and is not taken back, in order.
    said: BTreeMap<Key<'a>, Vec<Heard<'a>>>,
}

impl<'a> Backfills<'a> {
    /// Nothing yet, of a journal with these statements.
    pub fn of(mut statements: impl Iterator<Item = &'a Statement>) -> Backfills<'a> {
        let is_asked = statements.any(|statement| matches!(statement, Statement::Backfill(Backfill::Revert { .. }, _)));
        Backfills { is_asked, ..Backfills::default() }
    }

    /// The statements of the next epoch follow.
    pub fn next_epoch(&mut self, statements: &'a [Statement]) {
        self.applied = applied(statements);
    }

    /// The backfill that said what came in so: all of its epoch, and by its way what had been set aside and was read
    /// again.
    pub fn who_said(&self, arrival: &'a Arrival) -> Option<&'a str> {
        let way = &arrival.origin;
        self.applied.or((way.source == SOURCE).then_some(way.partition.as_str()))
    }

    /// Remembers what is said.
    pub fn remember(&mut self, heard: &Heard<'a>) {
        if self.is_asked {
            self.said.entry(heard.key()).or_default().push(heard.clone());
        }
    }

    /// Forgets what a backfill said; tells of which events it had said something.
    pub fn take_back(&mut self, name: &'a str) -> Vec<Key<'a>> {
        self.taken_back.insert(name);
        let mut its = Vec::new();
        for (key, said) in &mut self.said {
            let before = said.len();
            said.retain(|heard| heard.by != Some(name));
            its.extend((said.len() < before).then_some(*key));
        }
        its
    }

    /// What stands of an event, and what contradicts that, by all that was said and is not taken back.
    pub fn judged(&self, key: &Key<'a>) -> (Option<Heard<'a>>, Vec<Heard<'a>>) {
        let (mut stands, mut contradict): (Option<Heard<'_>>, Vec<Heard<'_>>) = (None, Vec::new());
        for heard in &self.said[key] {
            match stands.as_ref().map_or(Verdict::Stands, |other| heard.against(other)) {
                Verdict::Stands => (stands, contradict) = (Some(heard.clone()), Vec::new()),
                Verdict::Rereads => stands = Some(heard.clone()),
                Verdict::Contradicts if !contradict.iter().any(|known| heard.repeats(known)) => {
                    contradict.push(heard.clone());
                }
                Verdict::Superseded | Verdict::Duplicate | Verdict::Contradicts => {}
            }
        }
        (stands, contradict)
    }

    /// Whether what came in so does not count any more.
    pub fn has_taken_back(&self, arrival: &Arrival) -> bool {
        arrival.origin.source == SOURCE && self.taken_back.contains(arrival.origin.partition.as_str())
    }
}

impl<'a> Standing<'a> {
    /// Whether a backfill that these make must be refused.
    pub(super) fn refuses(mut self, statements: &'a [Statement], sets_aside: bool) -> bool {
        if !statements.iter().all(|statement| self.names_what_is_there(statement)) {
            return true;
        }
        let uncounted = self.uncounted;
        self.hear(u64::MAX, statements);
        !sets_aside && self.uncounted > uncounted
    }

    /// Whether there are the meter and the customer of a scope. A subject may be new.
    fn names_what_is_there(&self, statement: &Statement) -> bool {
        let Statement::Backfill(Backfill::Apply { scope: Some(Scope { whose, meter, .. }), .. }, _) = statement else {
            return true;
        };
        let is_somebody = match whose {
            Whose::Subject(_) => true,
            Whose::Customer(customer) => self.definitions.customers.contains_key(customer),
        };
        is_somebody && self.definitions.meters.contains_key(meter)
    }
}

/// The backfill that these apply.
fn applied(statements: &[Statement]) -> Option<&str> {
    statements.iter().find_map(|statement| match statement {
        Statement::Backfill(Backfill::Apply { name, .. }, _) => Some(name.as_str()),
        _ => None,
    })
}
