//! Backfills at the door: what follows from one is worked out here, and enters in the same epoch.
//!
//! Law: after a batch was taken back, each event that it named stands as if the batch had never been said,
//! whatever others said before it, meanwhile and since, and what is said later is held against that. So every view
//! but those that tell of the way (ledgers, quarantine, crossings) is what it would be without the batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use imbl::OrdMap;
use trueup_model::arrival::Origin;
use trueup_model::backfill::{self, Applied, Backfill, Batch, Scope, Undone, Whose, enter, origin};
use trueup_model::catalog::{Catalog, MeterId};
use trueup_model::dictionary::{Dictionary, SubjectId};
use trueup_model::fact::{Epoch, Fact};
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::{Says, UsageBatch, UsageRow};
use trueup_operators::event_index::RowRef;

use super::history::{History, Rows, about, row_of, usage};
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
    proposal.restores |= matches!(backfill, Backfill::Reverted { .. });
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
        let mut displaced: Vec<RowRef> = match region {
            Some(region) => history.all_standing().filter(|row| self.is_within(region, row_of(row))).cloned().collect(),
            None => Vec::new(),
        };
        displaced.retain(|row| !named.contains(&row_of(row).identity));
        displaced.sort_unstable_by_key(number);
        let contradicting = proposal.batches.iter().map(|batch| history.take(batch) as u64).sum();
        Ok(Followed { contradicting, displaced })
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
        row.asserts()
            && (region.from..region.to).contains(&row.occurred_at)
            && region.subjects.contains(&row.subject)
            && self.metering.routes(row.properties).iter().any(|route| names.series(route.series).meter == region.meter)
    }

    /// What stands for some identities.
    fn stood<'a>(&self, wanted: &HashSet<Identity>, metering: &'a Metering) -> Result<History<'a>, DoorError> {
        let mut history = History::new(metering);
        if wanted.is_empty() {
            return Ok(history);
        }
        let batches = Batches::of(&self.books.backfills);
        for entry in self.journal.entries(1) {
            let entry = entry?;
            let is_said = |batch: &&Arc<UsageBatch>| !batches.is_taken_back(entry.epoch, &batch.origin);
            for batch in usage(&entry).filter(is_said) {
                history.take(&about(wanted, batch, &batch.origin));
            }
        }
        Ok(history)
    }

    /// The events of which a backfill that was applied at an epoch said something: then, and when inputs of it that
    /// had been set aside were read again. None if the journal does not have it there.
    fn named_by(&self, name: &str, applied: Epoch) -> Result<Option<HashSet<Identity>>, DoorError> {
        let batches = Batches::of(&self.books.backfills);
        let were_read_again =
            self.books.replayed.values().any(|replayed| replayed.at > applied && replayed.still.is_none());
        let (mut named, mut is_there) = (HashSet::new(), false);
        for entry in self.journal.entries(applied).take(if were_read_again { usize::MAX } else { 1 }) {
            let entry = entry?;
            is_there |= entry.epoch == applied;
            let its = usage(&entry).filter(|batch| batches.who_said(entry.epoch, &batch.origin) == Some(name));
            named.extend(its.flat_map(|batch| &batch.rows).map(|row| row.identity));
        }
        Ok(is_there.then_some(named))
    }

    /// What stands of some events with what a backfill said of them, and what would without.
    fn with_and_without(&self, name: &str, named: &HashSet<Identity>) -> Result<Undoing<'_>, DoorError> {
        let batches = Batches::of(&self.books.backfills);
        let mut undoing = Undoing::new(origin(name), &self.metering);
        for entry in self.journal.entries(1) {
            let entry = entry?;
            for batch in usage(&entry) {
                match batches.who_said(entry.epoch, &batch.origin) {
                    Some(its) if its == name => undoing.take_its(&about(named, batch, &undoing.way)),
                    _ if batches.is_taken_back(entry.epoch, &batch.origin) => {}
                    _ => undoing.take_others(&about(named, batch, &batch.origin)),
                }
            }
        }
        Ok(undoing)
    }

    /// Takes back what a backfill said.
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
        let Some(named) = self.named_by(name, applied.epoch)? else {
            return Err(refuse("is not in the journal where its books say: restore the journal"));
        };
        let undoing = self.with_and_without(name, &named)?;
        let (mut made, mut undone) = (Made::by(proposal, name), Undone::default());
        let mut named: Vec<Identity> = named.into_iter().collect();
        named.sort_unstable_by_key(|identity| identity.order());
        named.iter().for_each(|identity| undoing.undo(identity, &mut made, &mut undone));
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

/// Which of the batches that were applied said what lies in the journal.
struct Batches<'a> {
    backfills: &'a OrdMap<Arc<str>, Applied>,
    by_epoch: HashMap<Epoch, &'a str>,
}

impl<'a> Batches<'a> {
    fn of(backfills: &'a OrdMap<Arc<str>, Applied>) -> Batches<'a> {
        let by_epoch = backfills.iter().map(|(name, applied)| (applied.epoch, &**name)).collect();
        Batches { backfills, by_epoch }
    }

    /// The batch that said what came at an epoch by a way: all of the epoch in which it was applied, and what came
    /// by its way since.
    fn who_said(&self, epoch: Epoch, way: &Origin) -> Option<&'a str> {
        let by_way = || {
            let (name, applied) = self.backfills.get_key_value(way.partition.as_str())?;
            (way.source == backfill::SOURCE && epoch > applied.epoch).then_some(&**name)
        };
        self.by_epoch.get(&epoch).copied().or_else(by_way)
    }

    /// Whether that was taken back.
    fn is_taken_back(&self, epoch: Epoch, way: &Origin) -> bool {
        self.who_said(epoch, way).is_some_and(|name| self.backfills[name].reverted.is_some())
    }
}

/// What stands of events with what a batch said of them, and without.
struct Undoing<'a> {
    /// The way of the batch, by which its rows are known.
    way: Arc<Origin>,
    with: History<'a>,
    without: History<'a>,
    /// The events for which a row of the batch stood at some time.
    stood: HashSet<Identity>,
}

impl<'a> Undoing<'a> {
    fn new(way: Arc<Origin>, metering: &'a Metering) -> Undoing<'a> {
        Undoing { way, with: History::new(metering), without: History::new(metering), stood: HashSet::new() }
    }

    fn take_its(&mut self, rows: &Arc<UsageBatch>) {
        self.with.take(rows);
        let stand = rows.rows.iter().map(|row| row.identity).filter(|identity| self.stands(identity));
        let stand: Vec<Identity> = stand.collect();
        self.stood.extend(stand);
    }

    fn take_others(&mut self, rows: &Arc<UsageBatch>) {
        self.with.take(rows);
        self.without.take(rows);
    }

    fn is_its(&self, row: &RowRef) -> bool {
        Arc::ptr_eq(&row.0.origin, &self.way)
    }

    /// Whether a row of the batch stands for an event.
    fn stands(&self, identity: &Identity) -> bool {
        self.with.standing(identity).is_some_and(|row| self.is_its(row))
    }

    /// Lets an event stand as it would without the batch: makes the row that is to stand for it, and behind it
    /// those of others that contradict that.
    fn undo(&self, identity: &Identity, made: &mut Made, undone: &mut Undone) {
        let Some(stands) = self.with.standing(identity) else { return };
        let next = self.without.standing(identity);
        let is_its = self.is_its(stands);
        match next {
            _ if !is_its => undone.left += u64::from(self.stood.contains(identity)),
            Some(next) if row_of(next).asserts() => undone.restored += 1,
            _ => undone.retracted += u64::from(row_of(stands).asserts()),
        }
        if is_its || self.with.contradicting(identity).any(|row| self.is_its(row)) {
            match next {
                Some(next) => made.restate(next),
                None => made.silence(stands),
            }
            self.without.contradicting(identity).for_each(|row| made.restate(row));
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
        let taken = UsageRow { says: Says::Retraction, value: 0, wide: 0, ..*row_of(row) };
        self.0.push(&row.0, row.1 as usize, taken);
    }

    /// Says again what a row says, as it was read then.
    fn restate(&mut self, row: &RowRef) {
        self.0.push(&row.0, row.1 as usize, *row_of(row));
    }

    /// Says nothing of the event of a row.
    fn silence(&mut self, row: &RowRef) {
        let nothing = UsageRow { says: Says::Nothing, revision: 0, value: 0, wide: 0, ..*row_of(row) };
        self.0.push(&row.0, row.1 as usize, nothing);
    }

    fn finish(self) -> Arc<UsageBatch> {
        self.0.finish()
    }
}
