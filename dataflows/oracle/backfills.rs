//! What each backfill brought that is taken back later: remembered from the epoch at which it came. And
//! which are refused.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::arrival::Arrival;
use trueup_model::backfill::{SOURCE, Scope, Whose};

use super::standing::{Heard, Standing};
use super::{Backfill, Statement};

type Key<'a> = (&'a str, &'a str);

/// What the backfills brought that are taken back at some time.
#[derive(Debug, Default)]
pub(super) struct Backfills<'a> {
    /// Those that are, at some time.
    reverted: BTreeSet<&'a str>,
    /// Those that are by now.
    taken_back: BTreeSet<&'a str>,
    /// The one whose epoch this is.
    applied: Option<&'a str>,
    brought: BTreeMap<&'a str, BTreeMap<Key<'a>, Brought<'a>>>,
}

/// What a backfill brought for an event.
#[derive(Clone, Debug)]
pub(super) struct Brought<'a> {
    /// Which of all statements that came to stand it was.
    pub came: usize,
    /// What others had said that stood before.
    pub before: Option<Heard<'a>>,
}

impl<'a> Backfills<'a> {
    /// None yet, of a journal with these statements.
    pub fn of(statements: impl Iterator<Item = &'a Statement>) -> Backfills<'a> {
        let reverted = statements.filter_map(|statement| match statement {
            Statement::Backfill(Backfill::Revert { name }, _) => Some(name.as_str()),
            _ => None,
        });
        Backfills { reverted: reverted.collect(), ..Backfills::default() }
    }

    /// The statements of the next epoch follow.
    pub fn next_epoch(&mut self, statements: &'a [Statement]) {
        self.applied = applied(statements);
    }

    /// Remembers what comes to stand, and what stood, if a backfill brought it: in its epoch, or by its way, if it
    /// had been set aside and was read again.
    pub fn remember(&mut self, key: Key<'a>, heard: &Heard<'a>, before: Option<&Heard<'a>>) {
        let way = &heard.arrival.origin;
        let by_way = (way.source == SOURCE).then_some(way.partition.as_str());
        let Some(name) = self.applied.or(by_way).filter(|name| self.reverted.contains(name)) else { return };
        let brought = self.brought.entry(name).or_default();
        let is_its = |known: &Brought<'_>| before.is_some_and(|before| before.came == known.came);
        let before = match brought.remove(&key).filter(is_its) {
            Some(known) => known.before,
            None => before.cloned(),
        };
        brought.insert(key, Brought { came: heard.came, before });
    }

    /// What a backfill brought, which is taken back.
    pub fn take_back(&mut self, name: &'a str) -> BTreeMap<Key<'a>, Brought<'a>> {
        self.taken_back.insert(name);
        self.brought.remove(name).unwrap_or_default()
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
        let (before, uncounted) = (self.events.clone(), self.uncounted);
        self.hear(u64::MAX, statements);
        let is_for_ever = |(key, heard): (&Key<'_>, &Heard<'_>)| {
            let counted = before.get(key).filter(|before| !before.retract);
            heard.revision == u32::MAX && counted.is_some_and(|before| before.came != heard.came)
        };
        self.events.iter().any(is_for_ever) || (!sets_aside && self.uncounted > uncounted)
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
