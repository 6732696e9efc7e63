//! What stands without a backfill that was taken back: all that was said is heard again, without it. And which
//! backfills are refused.

use std::collections::BTreeSet;

use trueup_model::arrival::Arrival;
use trueup_model::backfill::{SOURCE, Scope, Whose};

use super::standing::{Heard, Standing};
use super::{Backfill, Statement};

/// Which backfill says what, and which do not count any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Backfills<'a> {
    /// Those that were taken back.
    unsaid: BTreeSet<&'a str>,
    /// The one whose epoch this is.
    applied: Option<&'a str>,
}

impl<'a> Backfills<'a> {
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

    /// Whether what came in so was taken back.
    pub fn is_unsaid(&self, arrival: &'a Arrival) -> bool {
        self.who_said(arrival).is_some_and(|name| self.unsaid.contains(name))
    }

    /// Whether what was set aside and came in so does not count any more.
    pub fn has_taken_back(&self, arrival: &Arrival) -> bool {
        arrival.origin.source == SOURCE && self.unsaid.contains(arrival.origin.partition.as_str())
    }
}

impl<'a> Standing<'a> {
    /// Takes back what a backfill said, after all that was said so far: what stands and contradicts is what would
    /// without it, and comes in so.
    pub(super) fn take_back(
        &mut self,
        name: &'a str,
        arrival: &'a Arrival,
        said: impl Iterator<Item = (u64, &'a [Statement])>,
    ) {
        self.backfills.unsaid.insert(name);
        let mut without = Standing { backfills: self.backfills.clone(), ..Standing::default() };
        said.for_each(|(epoch, statements)| without.hear(epoch, statements));
        let differing: Vec<_> = self.events.keys().filter(|key| !self.agrees(&without, key)).copied().collect();
        for key in differing {
            let silent = Heard { silent: true, ..self.events[&key].retracted() };
            let stands = without.events.get(&key).cloned().unwrap_or(silent);
            let contradict = without.conflicts.get(&key).into_iter().flatten().cloned();
            let contradict = contradict.map(|heard| Heard { arrival, ..heard }).collect();
            self.replace(Heard { arrival, ..stands });
            self.conflicts.insert(key, contradict);
        }
    }

    /// Whether here and there the same stands for an event, and the same contradicts it.
    fn agrees(&self, other: &Standing<'_>, key: &(&str, &str)) -> bool {
        let is_same = match (&self.events[key], other.events.get(key)) {
            (stands, None) => stands.silent,
            (stands, Some(other)) => {
                let is_ranked_alike = stands.rank() == other.rank();
                is_ranked_alike && (stands.retract || stands.repeats(other))
            }
        };
        let here = self.conflicts.get(key).map_or(&[][..], Vec::as_slice);
        let there = other.conflicts.get(key).map_or(&[][..], Vec::as_slice);
        let is_there = |heard: &Heard<'_>| there.iter().any(|other| heard.repeats(other));
        is_same && here.len() == there.len() && here.iter().all(is_there)
    }

    /// Whether a backfill that these make must be refused.
    pub(super) fn refuses(mut self, statements: &'a [Statement], sets_aside: bool) -> bool {
        let makes_sense = statements.iter().all(|statement| self.names_what_is_there(statement));
        if !makes_sense || self.would_displace_what_cannot_be_read(statements) {
            return true;
        }
        let uncounted = self.uncounted;
        self.hear(u64::MAX, statements);
        !sets_aside && self.uncounted > uncounted
    }

    /// Whether they fill a scope in which something stands of an event of which they say what cannot be read, or say
    /// something of which nobody can read what it is about.
    fn would_displace_what_cannot_be_read(&self, statements: &[Statement]) -> bool {
        let Some(scope) = statements.iter().find_map(|statement| match statement {
            Statement::Backfill(Backfill::Apply { scope, .. }, _) => scope.as_ref(),
            _ => None,
        }) else {
            return false;
        };
        let [read, unread] = self.named_by(statements);
        statements.iter().any(|statement| matches!(statement, Statement::Refused(_, _, None)))
            || self.displaced(scope, &read).iter().any(|heard| unread.contains(&heard.key()))
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
