//! Backfills at the door: what follows from one is worked out here, and enters in the same epoch.
//!
//! Law: after a batch was taken back, each event stands as if the batch had never been said, whatever others said
//! before it, meanwhile and since, and whatever batches displaced since; and what is said later is held against
//! that. So every view but those that tell of the way (ledgers, quarantine, crossings) is what it would be without
//! the batch.

use std::collections::HashSet;

use trueup_model::backfill::{self, Applied, Backfill, Batch, Scope, Undone, enter, origin};
use trueup_model::books::Books;
use trueup_model::fact::Epoch;
use trueup_model::identity::Identity;
use trueup_operators::event_index::RowRef;

use super::ahead::Ahead;
use super::history::History;
use super::rows::{Rows, names_set_aside, sent_as};
use super::said::Said;
use super::scope::Region;
use super::undoing::Undoing;
use super::{Door, DoorError, Fact, Proposal, Submission};
use crate::engine::nearest::hint;

/// How many events a batch may concern: those that it names, and of which something was said in its scope. They are
/// in memory together.
pub const EVENTS_MAX: usize = 10_000_000;

/// What is to be said of a batch when it is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apply {
    /// Its name; each is applied once.
    pub name: String,
    /// Of what was staged.
    pub digest: String,
    /// In place of what it stands; none: it comes on top.
    pub scope: Option<Scope>,
    /// Whether it is applied though some of its events cannot be counted; they are set aside. Else
    /// nothing of it is.
    pub sets_aside: bool,
}

/// Enters a backfill into the books.
pub(super) fn take_backfill(proposal: &mut Proposal, backfill: Backfill) {
    let epoch = proposal.epoch;
    enter(&mut proposal.books.backfills, epoch, &backfill);
    match &backfill {
        Backfill::Applied(batch) if batch.scope.is_some() => {
            proposal.books.replaced_under.insert(epoch, proposal.catalog.clone().into());
        }
        Backfill::Applied(_) => {}
        Backfill::Reverted { undone, .. } => {
            proposal.restores = true;
            proposal.dropped = undone.dropped;
        }
    }
    proposal.facts.push(Fact::Backfill(backfill));
}

impl Door {
    /// Makes a backfill of the events of this epoch so far.
    pub(super) fn apply(&mut self, proposal: &mut Proposal, apply: Apply) -> Result<(), DoorError> {
        let Apply { name, digest, scope, sets_aside } = apply;
        let refuse = |why: String| DoorError::Backfill { name: name.clone(), why };
        if let Some(before) = proposal.books.backfills.get(name.as_str()) {
            return Err(refuse(applied_before(before)));
        }
        if proposal.catalog_changed {
            return Err(refuse("comes with a change of the catalog: change that first, in an epoch of its own".into()));
        }
        let region = scope.as_ref().map(|scope| Region::of(scope, &proposal.catalog.clone().into(), &self.dictionary));
        let region = region.transpose().map_err(&refuse)?;
        let ahead = self.still_ahead(proposal);
        let followed = self.follow(proposal, region.as_ref(), ahead.as_ref(), refuse)?;
        let uncounted = proposal.set_aside_count() + followed.contradicting;
        if uncounted > 0 && !sets_aside {
            return Err(refuse(cannot_be_counted(uncounted)));
        }
        let (standing, max) = (self.contradictions.by(backfill::SOURCE), self.acceptance.quarantined_max);
        if followed.contradicting > max.saturating_sub(standing) {
            return Err(refuse(contradict_too_often(followed.contradicting, standing, max)));
        }
        let unread = if scope.is_some() { proposal.set_aside_of(&followed.displaced) } else { 0 };
        if unread > 0 {
            return Err(refuse(would_displace_what_it_names(unread)));
        }
        let mut retractions = Rows::new(proposal.rows, proposal.books.clock, origin(&name));
        followed.displaced.iter().for_each(|row| retractions.retract(row));
        let displaced = retractions.finish();
        let events = proposal.batches.iter().map(|batch| batch.rows.len() as u64).sum();
        let batch = Batch { name, digest, scope, events, displaced: displaced.rows.len() as u64 };
        proposal.contradicting += followed.contradicting;
        take_backfill(proposal, Backfill::Applied(batch));
        proposal.take_usage(displaced);
        Ok(())
    }

    /// Finds out what the events of this epoch would do, in place of what stands in a region.
    fn follow(
        &self,
        proposal: &Proposal,
        region: Option<&Region>,
        ahead: Option<&Ahead>,
        refuse: impl Fn(String) -> DoorError,
    ) -> Result<Followed, DoorError> {
        let rows = proposal.batches.iter().flat_map(|batch| &batch.rows);
        let named: HashSet<Identity> = rows.map(|row| row.identity).collect();
        let said = Said::at(self, ahead).map_err(&refuse)?;
        let concerned = said.concerned_by(&named, region, proposal.epoch)?;
        let concerned = concerned.ok_or_else(|| refuse(concerns_too_many()))?;
        if ahead.is_some_and(|ahead| !ahead.is_for(&concerned)) {
            return self.follow(proposal, region, None, refuse);
        }
        // Rows of the batch may have property sets that nobody had before.
        let metering = self.metering.knowing(self.dictionary.names());
        let mut history = History::new(&metering);
        said.each(&concerned, |_, word| drop(word.tell(&mut history)))?;
        let displaced = region.map_or_else(Vec::new, |region| history.displaced(region, &named));
        let contradicting = proposal.batches.iter().map(|batch| history.take(batch) as u64).sum();
        Ok(Followed { contradicting, displaced })
    }

    /// Takes back what a backfill said.
    pub(super) fn revert(&mut self, proposal: &mut Proposal, name: &str) -> Result<(), DoorError> {
        let refuse = |why: String| DoorError::Backfill { name: name.to_owned(), why };
        let applied = proposal.books.backfills.get(name);
        let applied = applied.ok_or_else(|| refuse(never_applied(name, &proposal.books)))?;
        if let Some((epoch, _)) = applied.reverted {
            return Err(refuse(format!("was taken back before, at epoch {epoch}: there is nothing left to do")));
        }
        if !proposal.batches.is_empty() {
            return Err(refuse("is taken back in an epoch of its own: send events before or after".to_owned()));
        }
        let read_again = read_again(&self.books, applied.epoch);
        let ahead = self.still_ahead(proposal);
        let (said, concerned, set_aside) = self.said_with(name, read_again > 0, ahead.as_ref())?;
        let undoing = Undoing::of(name, &concerned, &said, &self.metering)?;
        let mut made = Rows::new(proposal.rows, proposal.books.clock, origin(name));
        let mut undone = Undone { dropped: set_aside.saturating_sub(read_again), ..Undone::default() };
        let mut concerned: Vec<Identity> = concerned.into_iter().collect();
        concerned.sort_unstable_by_key(|identity| identity.order());
        for identity in &concerned {
            undoing.count(identity, &mut undone);
            undoing.undo(identity, &mut made);
        }
        let made = made.finish();
        take_backfill(proposal, Backfill::Reverted { name: name.to_owned(), undone });
        proposal.take_usage(made);
        Ok(())
    }

    /// What was said, the events that a batch concerns if it is taken back, and how many of its inputs were set aside
    /// when it was applied.
    fn said_with<'a>(
        &'a self,
        name: &str,
        was_read_again: bool,
        ahead: Option<&'a Ahead>,
    ) -> Result<(Said<'a>, HashSet<Identity>, u64), DoorError> {
        let refuse = |why: String| DoorError::Backfill { name: name.to_owned(), why };
        let said = Said::at(self, ahead).map_err(refuse)?;
        let Some((concerned, set_aside)) = said.concerned_with(name, was_read_again)? else {
            return Err(refuse("is not in the journal where its books say: restore the journal".to_owned()));
        };
        match ahead.is_none_or(|ahead| ahead.is_for(&concerned)) {
            true => Ok((said, concerned, set_aside)),
            false => self.said_with(name, was_read_again, None),
        }
    }

    /// What was read ahead for an epoch, if that is of use under the catalog of now.
    fn still_ahead(&self, proposal: &mut Proposal) -> Option<Ahead> {
        proposal.ahead.take().filter(|ahead| ahead.is_under(&self.books.catalog))
    }
}

/// How many inputs of an epoch were read again and count.
pub(super) fn read_again(books: &Books, epoch: Epoch) -> u64 {
    let replayed = books.replayed.iter();
    replayed.filter(|(input, replayed)| input.epoch == epoch && replayed.still.is_none()).count() as u64
}

impl Proposal {
    /// How many inputs it sets aside of which nobody can read which event it is, or that are about one of these rows.
    /// Those events would be displaced by what cannot be counted.
    fn set_aside_of(&self, rows: &[RowRef]) -> usize {
        let sent: HashSet<(&str, &str)> = rows.iter().map(sent_as).collect();
        names_set_aside(self.facts.iter()).filter(|name| name.is_none_or(|name| sent.contains(&name))).count()
    }

    /// Refuses what comes behind a backfill: usage there is what follows from it.
    pub(super) fn may_go_on(&self, submission: &Submission) -> Result<(), DoorError> {
        let is_beside = matches!(submission, Submission::Clock(_) | Submission::ReadTo { .. });
        let backfill = self.facts.iter().find_map(|fact| match fact {
            Fact::Backfill(backfill) => Some(backfill.name().to_owned()),
            _ => None,
        });
        match backfill {
            Some(name) if !is_beside => {
                let why = "is the last of its epoch: send what is behind it in an epoch of its own".to_owned();
                Err(DoorError::Backfill { name, why })
            }
            _ => Ok(()),
        }
    }
}

/// What a batch would do.
struct Followed {
    /// How many of its events say something else than what stands at their revision.
    contradicting: u64,
    /// What stands in its scope and is not named by it.
    displaced: Vec<RowRef>,
}

fn cannot_be_counted(events: u64) -> String {
    let s = if events == 1 { "" } else { "s" };
    format!(
        "brings {events} event{s} that cannot be counted, and nothing of it was applied: its preview says which and \
         why; mend and stage them again, take back an earlier batch that said something else of them, or apply it with \
         `--set-aside`, which puts them into the quarantine"
    )
}

fn contradict_too_often(contradicting: u64, standing: u64, max: u64) -> String {
    format!(
        "brings {contradicting} events that say something else than what stands, {standing} that came with backfills \
         before it, or were set aside again as one was taken back, are kept, and {max} is the most that is: stage it \
         with greater revisions, or raise `quarantine_inputs` in trueup.toml"
    )
}

pub(super) fn concerns_too_many() -> String {
    format!(
        "concerns more than {EVENTS_MAX} events, with all of which something was said in its scope: replace less at a \
         time, such as a week"
    )
}

fn would_displace_what_it_names(inputs: usize) -> String {
    let (s, their) = if inputs == 1 { ("", "its event") } else { ("s", "their events") };
    format!(
        "sets {inputs} input{s} aside that name what stands in its scope, or of which nobody can read what they name, so \
         that {their} would be displaced, and nothing of it was applied: mend and stage them again"
    )
}

/// Why a batch cannot be taken back that was not applied, and which one may be meant.
fn never_applied(name: &str, books: &Books) -> String {
    let near = hint(name, books.backfills.keys().map(|name| &**name), "");
    let near = if near.is_empty() { near } else { format!(": {near}") };
    format!("was never applied, so there is nothing to take back{near}")
}

/// Why a name cannot be applied any more.
fn applied_before(before: &Applied) -> String {
    let epoch = before.epoch;
    match before.reverted {
        None => format!("was applied at epoch {epoch}: its events count, and there is nothing left to do"),
        Some((reverted, _)) => format!(
            "was applied at epoch {epoch} and taken back at epoch {reverted}: to apply its events after all, stage them \
             under another name"
        ),
    }
}
