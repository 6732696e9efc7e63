//! What each backfill brought that is taken back later: remembered from the epoch at which it came.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::Heard;
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

/// The backfill that these apply.
fn applied(statements: &[Statement]) -> Option<&str> {
    statements.iter().find_map(|statement| match statement {
        Statement::Backfill(Backfill::Apply { name, .. }, _) => Some(name.as_str()),
        _ => None,
    })
}
