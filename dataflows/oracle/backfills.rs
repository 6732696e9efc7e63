//! What each backfill brought that is taken back later: remembered from the epoch at which it came. And
//! which are refused.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::backfill::{Scope, Whose};

use super::standing::{Heard, Standing};
use super::{Backfill, Statement};

type Key<'a> = (&'a str, &'a str);

/// What the backfills brought that are taken back at some time.
#[derive(Debug, Default)]
pub(super) struct Backfills<'a> {
    reverted: BTreeSet<&'a str>,
    brought: BTreeMap<&'a str, BTreeMap<Key<'a>, Brought<'a>>>,
}

/// What a backfill brought for an event.
#[derive(Clone, Debug)]
pub(super) struct Brought<'a> {
    /// Which of all statements that came to stand it was.
    pub came: usize,
    /// What had stood before.
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

    /// Whether these apply a backfill that is taken back later.
    pub fn is_remembered(&self, statements: &'a [Statement]) -> bool {
        applied(statements).is_some_and(|name| self.reverted.contains(name))
    }

    /// Remembers what an epoch brought that applied a backfill.
    pub fn remember(
        &mut self,
        statements: &'a [Statement],
        before: &BTreeMap<Key<'a>, Heard<'a>>,
        after: &BTreeMap<Key<'a>, Heard<'a>>,
    ) {
        let Some(name) = applied(statements) else { return };
        let brought = after.iter().filter_map(|(key, heard)| {
            let before = before.get(key).cloned();
            let is_news = before.as_ref().is_none_or(|before| before.came != heard.came);
            is_news.then_some((*key, Brought { came: heard.came, before }))
        });
        self.brought.insert(name, brought.collect());
    }

    /// What a backfill brought.
    pub fn brought_by(&self, name: &str) -> BTreeMap<Key<'a>, Brought<'a>> {
        self.brought.get(name).cloned().unwrap_or_default()
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
