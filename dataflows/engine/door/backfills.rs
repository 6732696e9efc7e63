//! Backfills at the door: what follows from one is worked out here, and enters in the same epoch.
//!
//! Law: after a batch was applied and taken back, with nothing between but that inputs of it were read again,
//! every view but those that tell of the way (ledgers, quarantine, crossings) is what it was. What somebody else
//! has said since of an event that the batch named is not touched. So a batch that could not be taken back is
//! refused.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use trueup_model::backfill::{self, Applied, Backfill, Batch, Scope, Undone, Whose, enter, origin};
use trueup_model::catalog::{Catalog, MeterId};
use trueup_model::dictionary::{Dictionary, SubjectId};
use trueup_model::fact::{Entry, Epoch, Fact};
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::{UsageBatch, UsageRow};
use trueup_operators::event_index::RowRef;

use super::history::{History, Rows, usage};
use super::{Door, DoorError, Proposal, Submission};
use crate::engine::nearest::hint;

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
    enter(&mut proposal.books.backfills, proposal.epoch, &backfill);
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
        let region = scope.as_ref().map(|scope| Region::of(scope, &proposal.catalog, &self.dictionary));
        let region = region.transpose().map_err(&refuse)?;
        let followed = self.follow(proposal, region.as_ref())?;
        let uncounted = proposal.set_aside() + followed.contradicting;
        if uncounted > 0 && !sets_aside {
            return Err(refuse(cannot_be_counted(uncounted)));
        }
        let (standing, max) = (self.contradictions.by(backfill::SOURCE), self.acceptance.quarantined_max);
        if followed.contradicting > max.saturating_sub(standing) {
            return Err(refuse(contradict_too_often(followed.contradicting, standing, max)));
        }
        if followed.lasting > 0 {
            return Err(refuse(cannot_be_taken_back(followed.lasting)));
        }
        let mut retractions = Made::by(proposal, &name);
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
    fn follow(&self, proposal: &Proposal, region: Option<&Region>) -> Result<Followed, DoorError> {
        let rows = proposal.batches.iter().flat_map(|batch| &batch.rows);
        let named: HashSet<Identity> = rows.map(|row| row.identity).collect();
        let mut wanted = region.map_or_else(|| Ok(HashSet::new()), |region| self.said_in(region))?;
        wanted.extend(&named);
        // Rows of the batch may have property sets that nobody had before.
        let metering = self.metering.knowing(self.dictionary.names());
        let mut history = self.stood(&wanted, &metering)?;
        let (before, brought_from) = (history.standing(), history.rows());
        let contradicting = proposal.batches.iter().map(|batch| history.take(batch, |_, _| {}) as u64).sum();
        let brought = history.standing().into_values().filter(|row| number(row) >= brought_from);
        let counted = |row: &RowRef| before.get(&row_of(row).identity).is_some_and(|before| !row_of(before).retract);
        let in_place = brought.filter(counted);
        let mut displaced: Vec<RowRef> = match region {
            Some(region) => before.values().filter(|row| self.is_within(region, row_of(row))).cloned().collect(),
            None => Vec::new(),
        };
        displaced.retain(|row| !named.contains(&row_of(row).identity));
        displaced.sort_unstable_by_key(number);
        let lasting = in_place.chain(displaced.iter().cloned()).filter(|row| row_of(row).revision == u32::MAX);
        Ok(Followed { contradicting, lasting: lasting.count(), displaced })
    }

    /// All identities of which something was said in a region: what stands there is among them.
    fn said_in(&self, region: &Region) -> Result<HashSet<Identity>, DoorError> {
        let mut found = HashSet::new();
        for entry in self.journal.entries(1) {
            let entry = entry?;
            let rows = usage(&entry).flat_map(|batch| &batch.rows);
            found.extend(rows.filter(|row| self.is_within(region, row)).map(|row| row.identity));
        }
        Ok(found)
    }

    /// Whether a row is an assertion in a region.
    fn is_within(&self, region: &Region, row: &UsageRow) -> bool {
        let names = self.dictionary.names();
        !row.retract
            && (region.from..region.to).contains(&row.occurred_at)
            && region.subjects.contains(&row.subject)
            && self.metering.routes(row.properties).iter().any(|route| names.series(route.series).meter == region.meter)
    }

    /// What stands for some identities.
    fn stood<'a>(&self, wanted: &'a HashSet<Identity>, metering: &'a Metering) -> Result<History<'a>, DoorError> {
        let mut history = History::of(wanted, metering);
        if !wanted.is_empty() {
            for entry in self.journal.entries(1) {
                history.follow(&*entry?);
            }
        }
        Ok(history)
    }

    /// What a backfill that was applied at an epoch brought of each event: then, and when inputs of it that had been
    /// set aside were read again. None if the journal does not have it there.
    fn brought_by(&self, name: &str, applied: Epoch) -> Result<Option<Vec<Brought>>, DoorError> {
        let its_way = origin(name);
        let is_its = |entry: &Entry, batch: &UsageBatch| {
            entry.epoch == applied || (entry.epoch > applied && *batch.origin == *its_way)
        };
        let were_read_again =
            self.books.replayed.values().any(|replayed| replayed.at > applied && replayed.still.is_none());
        let (mut named, mut is_there) = (HashSet::new(), false);
        for entry in self.journal.entries(applied).take(if were_read_again { usize::MAX } else { 1 }) {
            let entry = entry?;
            is_there |= entry.epoch == applied;
            let batches = usage(&entry).filter(|batch| is_its(&entry, batch));
            named.extend(batches.flat_map(|batch| &batch.rows).map(|row| row.identity));
        }
        if !is_there {
            return Ok(None);
        }
        let mut brought: BTreeMap<Identity, Brought> = BTreeMap::new();
        let mut history = History::of(&named, &self.metering);
        for entry in self.journal.entries(1) {
            let entry = entry?;
            for batch in usage(&entry) {
                let is_its = is_its(&entry, batch);
                history.take(batch, |row, before| {
                    if is_its {
                        Brought::enter(&mut brought, row, before);
                    } else if let Some(brought) = brought.get_mut(&row_of(row).identity) {
                        brought.stands = false;
                    }
                });
            }
        }
        Ok(Some(brought.into_values().collect()))
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
        let Some(brought) = self.brought_by(name, applied.epoch)? else {
            return Err(refuse("is not in the journal where its books say: restore the journal"));
        };

        let (mut made, mut undone) = (Made::by(proposal, name), Undone::default());
        for Brought { row: brought, before, stands } in brought {
            let row = row_of(&brought);
            let counted = before.filter(|row| !row_of(row).retract);
            match counted {
                // Neither counts, so there is nothing to take back.
                None if row.retract => {}
                _ if !stands => undone.left += 1,
                None => {
                    made.retract(&brought);
                    undone.retracted += 1;
                }
                Some(before) => match row.revision.checked_add(1) {
                    Some(revision) => {
                        made.restate(&before, revision);
                        undone.restored += 1;
                    }
                    // Only where it was applied before such events were refused.
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

/// What a batch brought of an event.
struct Brought {
    /// The last of its rows that came to stand.
    row: RowRef,
    /// What others had said that stood before.
    before: Option<RowRef>,
    /// Whether it stands still.
    stands: bool,
}

impl Brought {
    /// Enters a row of the batch that comes to stand, and what stood until then.
    fn enter(brought: &mut BTreeMap<Identity, Brought>, row: &RowRef, before: Option<&RowRef>) {
        let known = brought.remove(&row_of(row).identity).filter(|known| known.stands);
        let before = known.map_or_else(|| before.cloned(), |known| known.before);
        brought.insert(row_of(row).identity, Brought { row: row.clone(), before, stands: true });
    }
}

/// What a batch would do.
struct Followed {
    /// How many of its events say something else than what stands at their revision.
    contradicting: u64,
    /// How many statements of the greatest revision it brings in place of what counts: no revision is left
    /// under which that could come back.
    lasting: usize,
    /// What stands in its scope and is not named by it.
    displaced: Vec<RowRef>,
}

/// A scope, by the ids of its names.
struct Region {
    subjects: HashSet<SubjectId>,
    meter: MeterId,
    from: Micros,
    to: Micros,
}

impl Region {
    /// The region of a scope; an error says which of its names nobody knows. A subject may be new: then
    /// nothing of it stands.
    fn of(scope: &Scope, catalog: &Catalog, dictionary: &Dictionary) -> Result<Region, String> {
        let meter = catalog.meters.id(&scope.meter).ok_or_else(|| {
            let known = catalog.meters.iter().map(|(_, _, meter)| meter.name.as_str());
            let hint = hint(&scope.meter, known, "the view `meters` has all there are");
            format!("replaces usage of '{}', which is no meter: {hint}", scope.meter)
        })?;
        let subjects = match &scope.whose {
            Whose::Subject(subject) => dictionary.known_subject(subject).into_iter().collect(),
            Whose::Customer(customer) => {
                let id = catalog.customers.id(customer).ok_or_else(|| {
                    let known = catalog.customers.iter().map(|(_, _, customer)| customer.id.as_str());
                    let hint = hint(customer, known, "the view `customers` has all there are");
                    format!("replaces usage of '{customer}', who is no customer: {hint}")
                })?;
                catalog.subjects_of(id).collect()
            }
        };
        Ok(Region { subjects, meter, from: scope.from, to: scope.to })
    }
}

fn cannot_be_counted(events: u64) -> String {
    let s = if events == 1 { "" } else { "s" };
    format!(
        "brings {events} event{s} that cannot be counted, and nothing of it was applied: its preview says which and \
         why; mend and stage them again, or apply it with `set_aside`, which puts them into the quarantine"
    )
}

fn contradict_too_often(contradicting: u64, standing: u64, max: u64) -> String {
    format!(
        "brings {contradicting} events that say something else than what stands, {standing} of backfills before it are \
         kept, and {max} is the most that is: stage it with greater revisions, or raise `quarantine_inputs` in \
         trueup.toml"
    )
}

fn cannot_be_taken_back(statements: usize) -> String {
    let s = if statements == 1 { "" } else { "s" };
    format!(
        "would put {statements} statement{s} of the greatest revision, {}, in place of events that count, which could not \
         be taken back, and nothing of it was applied: give them lower revisions, or retract by themselves those that are \
         displaced",
        u32::MAX
    )
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
