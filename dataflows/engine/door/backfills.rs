//! Backfills at the door: what follows from one is worked out here, and enters in the same epoch.
//!
//! Law: after a batch was applied and taken back, with nothing between, every view but those that
//! tell of the way (ledgers, quarantine, crossings) is what it was. What somebody else has said since
//! of an event that the batch named is not touched.

use std::collections::HashSet;
use std::sync::Arc;

use trueup_model::backfill::{Applied, Backfill, Batch, Scope, Undone, Whose, origin};
use trueup_model::fact::{Epoch, Fact};
use trueup_model::identity::Identity;
use trueup_model::usage::{UsageBatch, UsageRow};
use trueup_operators::event_index::RowRef;

use super::history::{History, Rows, usage};
use super::{Door, DoorError, Proposal, Submission};

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
    let backfills = &mut proposal.books.backfills;
    match &backfill {
        Backfill::Applied(batch) => {
            let applied = Applied { batch: batch.clone(), epoch: proposal.epoch, reverted: None };
            backfills.insert(batch.name.as_str().into(), applied);
        }
        Backfill::Reverted { name, undone } => {
            if let Some(applied) = backfills.get_mut(name.as_str()) {
                applied.reverted = Some((proposal.epoch, *undone));
            }
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
        let refused = proposal.refused.len();
        if refused > 0 && !sets_aside {
            return Err(refuse(format!(
                "brings {refused} event{} that cannot be counted, and nothing of it was applied: its preview says which and \
                 why; mend and stage them again, or let them be set aside",
                if refused == 1 { "" } else { "s" }
            )));
        }
        let events = proposal.batches.iter().map(|batch| batch.rows.len() as u64).sum();
        let displaced = match &scope {
            Some(scope) => self.displaced(proposal, &name, scope, &refuse)?,
            None => Made::by(proposal, &name).finish(),
        };
        let batch = Batch { name, digest, scope, events, displaced: displaced.rows.len() as u64 };
        take_backfill(proposal, Backfill::Applied(batch));
        proposal.take_usage(displaced);
        Ok(())
    }

    /// Retractions of all that stands in a scope and is not named by the events of this epoch.
    fn displaced(
        &mut self,
        proposal: &Proposal,
        name: &str,
        scope: &Scope,
        refuse: &dyn Fn(String) -> DoorError,
    ) -> Result<Arc<UsageBatch>, DoorError> {
        let catalog = &proposal.catalog;
        let meter = catalog.meters.id(&scope.meter);
        let meter = meter.ok_or_else(|| refuse(format!("replaces usage of '{}', which is no meter", scope.meter)))?;
        let subjects: HashSet<u32> = match &scope.whose {
            Whose::Subject(subject) => [self.dictionary.subject(subject)].into(),
            Whose::Customer(customer) => {
                let id = catalog.customers.id(customer);
                let id = id.ok_or_else(|| refuse(format!("replaces usage of '{customer}', who is no customer")))?;
                catalog.subjects_of(id).collect()
            }
        };
        let names = self.dictionary.names();
        let is_within = |row: &UsageRow| {
            !row.retract
                && (scope.from..scope.to).contains(&row.occurred_at)
                && subjects.contains(&row.subject)
                && self.metering.routes(row.properties).iter().any(|route| names.series(route.series).meter == meter)
        };
        // Whatever stands in the scope was said in it, though not all that was said stands.
        let mut found: HashSet<Identity> = HashSet::new();
        for entry in self.journal.entries(1) {
            let entry = entry?;
            let rows = usage(&entry).flat_map(|batch| &batch.rows);
            found.extend(rows.filter(|row| is_within(row)).map(|row| row.identity));
        }
        for row in proposal.batches.iter().flat_map(|batch| &batch.rows) {
            found.remove(&row.identity);
        }
        let standing = self.stood(&found, Epoch::MAX)?.standing();
        let mut rows: Vec<RowRef> = standing.into_values().filter(|row| is_within(row_of(row))).collect();
        rows.sort_unstable_by_key(number);
        let mut retractions = Made::by(proposal, name);
        rows.iter().for_each(|row| retractions.retract(row));
        Ok(retractions.finish())
    }

    /// What stood for some identities, through an epoch.
    fn stood<'a>(&'a self, wanted: &'a HashSet<Identity>, through: Epoch) -> Result<History<'a>, DoorError> {
        let mut history = History::of(wanted, &self.metering);
        if !wanted.is_empty() {
            let entries =
                self.journal.entries(1).take_while(|entry| entry.as_ref().map_or(true, |entry| entry.epoch <= through));
            for entry in entries {
                history.follow(&*entry?);
            }
        }
        Ok(history)
    }

    /// Takes back what a backfill brought and what still stands.
    pub(super) fn revert(&mut self, proposal: &mut Proposal, name: &str) -> Result<(), DoorError> {
        let refuse = |why: &str| DoorError::Backfill { name: name.to_owned(), why: why.to_owned() };
        let applied = proposal.books.backfills.get(name);
        let applied = applied.ok_or_else(|| refuse("was never applied, so there is nothing to take back"))?;
        if let Some((epoch, _)) = applied.reverted {
            return Err(refuse(&format!("was taken back before, at epoch {epoch}: there is nothing left to do")));
        }
        if !proposal.batches.is_empty() {
            return Err(refuse("is taken back in an epoch of its own: send events before or after"));
        }
        let applied = applied.epoch;
        let entry = self.journal.entries(applied).next().transpose()?;
        let entry = entry.ok_or_else(|| refuse("is not in the journal where its books say: restore the journal"))?;
        let rows = usage(&entry).flat_map(|batch| &batch.rows);
        let mut seen = HashSet::new();
        let order: Vec<Identity> = rows.map(|row| row.identity).filter(|identity| seen.insert(*identity)).collect();

        let mut history = self.stood(&seen, applied - 1)?;
        let (before, brought_from) = (history.standing(), history.rows());
        history.follow(&entry);
        let after = history.standing();
        for entry in self.journal.entries(applied + 1) {
            history.follow(&*entry?);
        }
        let now = history.standing();

        let (mut made, mut undone) = (Made::by(proposal, name), Undone::default());
        for identity in order {
            let Some(brought) = after.get(&identity).filter(|row| number(row) >= brought_from) else { continue };
            let row = row_of(brought);
            let is_untouched = now.get(&identity).is_some_and(|row| number(row) == number(brought));
            let before = before.get(&identity);
            let counted = before.filter(|row| !row_of(row).retract);
            match counted {
                // Neither counts, so there is nothing to take back.
                None if row.retract => {}
                _ if !is_untouched => undone.left += 1,
                None => {
                    made.retract(brought);
                    undone.retracted += 1;
                }
                Some(before) => match row.revision.checked_add(1) {
                    Some(revision) => {
                        made.restate(before, revision);
                        undone.restored += 1;
                    }
                    None => undone.left += 1,
                },
            }
        }
        let made = made.finish();
        take_backfill(proposal, Backfill::Reverted { name: name.to_owned(), undone });
        proposal.take_usage(made);
        Ok(())
    }
}

impl Proposal {
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

/// Why a name cannot be applied any more.
fn applied_before(before: &Applied) -> String {
    let epoch = before.epoch;
    match before.reverted {
        None => format!("was applied at epoch {epoch}: its events count, and there is nothing left to do"),
        Some((reverted, _)) => format!(
            "was applied at epoch {epoch} and taken back at epoch {reverted}: to apply its events after all, raise their \
             revisions and stage them under another name"
        ),
    }
}

fn row_of((batch, place): &RowRef) -> &UsageRow {
    &batch.rows[*place as usize]
}

fn number((batch, place): &RowRef) -> u64 {
    batch.first_row + u64::from(*place)
}

/// Statements that the door makes of rows of the journal.
struct Made(Rows);

impl Made {
    /// Those of an epoch for the backfill of this name.
    fn by(proposal: &Proposal, name: &str) -> Made {
        Made(Rows::new(proposal.rows, proposal.books.clock, origin(name)))
    }

    /// Takes a row back: at its own revision a retraction beats it.
    fn retract(&mut self, row: &RowRef) {
        let taken = UsageRow { retract: true, value: 0, wide: 0, ..*row_of(row) };
        self.0.push(&row.0, row.1 as usize, taken);
    }

    /// Says again what a row says, as it was read then.
    fn restate(&mut self, row: &RowRef, revision: u32) {
        self.0.push(&row.0, row.1 as usize, UsageRow { revision, ..*row_of(row) });
    }

    fn finish(self) -> Arc<UsageBatch> {
        self.0.finish()
    }
}
