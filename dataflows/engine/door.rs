//! The one way in: everything that is accepted passes here, in one order.
//!
//! Law: an epoch's facts are checked against the books as they stand, given ids, written to the
//! journal, and handed to the workers, in this order, under one lock. Nothing is lost: what
//! cannot be counted is set aside with its reason and is a fact like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};

use trueup_connectors::checkpoint::{Manifest, outline};
use trueup_connectors::journal::{Hash, Journal, MemoryJournal, SealedSegment, hexadecimal};
use trueup_connectors::schemas::check_schema;
use trueup_model::books::{Books, Replayed, Turn};
use trueup_model::calendar::CENTURY;
use trueup_model::catalog::{Catalog, CatalogChange, CatalogError, Touched};
use trueup_model::dictionary::Dictionary;
use trueup_model::fact::{Declaration, Document, Entry, Epoch, Fact, Replay};
use trueup_model::grain::{Micros, show_micros};
use trueup_model::metering::Metering;
use trueup_model::usage::EventBatch;
use trueup_operators::deduplicate::Intake;

use super::changes::make_all;
use super::checkpoints::{Job, Line, Order};
use super::clock::Timekeeper;
use super::graph::EpochInput;
use super::publication::Stopped;
use super::quarantine::Again;
use super::retention::{Past, Retention};
use super::set_aside::{Contradictions, Origins};

mod again;
mod ahead;
mod backfills;
mod documents;
mod error;
mod events;
mod history;
mod proposal;
mod receipt;
mod room;
mod rows;
mod said;
mod scope;
mod undoing;

pub use ahead::{Ahead, Plan};
use backfills::take_backfill;
pub use backfills::{Apply, EVENTS_MAX as BACKFILL_EVENTS_MAX};
use documents::{keeps_currencies, take_document};
pub use error::DoorError;
use proposal::Proposal;
pub use receipt::{Part, Receipt};

/// What somebody wants accepted.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Events, as a connector read them.
    Events(EventBatch),
    /// Changes of the catalog that belong together; they are made in whatever order they can be.
    Catalog(Vec<CatalogChange>),
    /// A document to be issued.
    Document(Document),
    /// How many inputs a producer says to have sent.
    Declaration(Declaration),
    /// Inputs that had been set aside, read again.
    Again(Again),
    /// The events submitted before it are a backfill.
    Backfill(Apply),
    /// What the backfill of this name brought is taken back.
    Revert(String),
    /// It is this late by now, where time passes only when told to.
    Clock(Micros),
    /// A source has been read up to here, in its own words, once this epoch is accepted.
    ReadTo {
        /// The source, by its name.
        source: String,
        /// How far.
        position: String,
    },
}

/// Which events are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// How far behind the clock they may have happened, in microseconds.
    pub past: Micros,
    /// How far ahead of it.
    pub future: Micros,
    /// How many combinations of a type and its dimensions are kept apart: each takes memory for good.
    pub property_sets_max: usize,
    /// How many inputs may stand in quarantine until they are read again and accepted; and how many
    /// contradictions of one source. Each takes memory.
    pub quarantined_max: u64,
    /// For how many hours of ways in it may be declared what was sent. Each takes memory for good.
    pub declared_max: usize,
}

impl Default for Acceptance {
    fn default() -> Self {
        const HOUR: Micros = 3_600_000_000;
        Acceptance {
            past: 10 * 366 * 24 * HOUR,
            future: HOUR,
            property_sets_max: 1_000_000,
            quarantined_max: 5_000_000,
            declared_max: 10_000_000,
        }
    }
}

/// The books of the last accepted epoch, for whoever asks.
pub type Accepted = Arc<RwLock<Arc<Books>>>;

/// The door.
pub struct Door {
    dictionary: Dictionary,
    books: Arc<Books>,
    accepted: Accepted,
    metering: Metering,
    journal: Box<dyn Journal>,
    workers: Vec<SyncSender<Arc<EpochInput>>>,
    clock: Timekeeper,
    acceptance: Acceptance,
    past: Past,
    offsets: BTreeMap<String, String>,
    dispatched: Epoch,
    rows: u64,
    /// How many inputs stand in quarantine, contradictions aside.
    quarantined: u64,
    contradictions: Contradictions,
    /// The ways by which inputs came in since the start: those of one way share it.
    origins: Origins,
    keeping: Option<Keeping>,
}

/// What the door does for checkpoints.
struct Keeping {
    keeper: Line,
    /// The outline of what was accepted since the last order.
    outline: Vec<Entry>,
    /// The epoch of the last order, or of the checkpoint that was begun with.
    last: Epoch,
}

/// Marks how far a journal reaches. What it says stays right without: an end that is lost is then lost
/// in silence.
fn remember_end(journal: &mut dyn Journal) {
    if let Err(error) = journal.mark() {
        tracing::warn!(%error, "how far the journal reaches is not marked");
    }
}

/// Refuses schemas that cannot be used: here only, since what is in the journal was accepted.
fn check_schemas(changes: &[CatalogChange]) -> Result<(), DoorError> {
    for (index, change) in changes.iter().enumerate() {
        let CatalogChange::Schema(schema) = change else { continue };
        check_schema(schema).map_err(|why| {
            let what = format!("schema of '{}', version {}", schema.event_type, schema.version);
            DoorError::Catalog { index, error: CatalogError::Contradiction { what, why } }
        })?;
    }
    Ok(())
}

impl Door {
    /// A door to these workers.
    pub fn new(
        journal: Box<dyn Journal>,
        workers: Vec<SyncSender<Arc<EpochInput>>>,
        clock: Timekeeper,
        acceptance: Acceptance,
        retention: Retention,
        accepted: Accepted,
    ) -> Door {
        Door {
            dictionary: Dictionary::default(),
            books: Arc::default(),
            accepted,
            metering: Metering::default(),
            journal,
            workers,
            clock,
            acceptance,
            past: Past::new(retention),
            offsets: BTreeMap::new(),
            dispatched: 0,
            rows: 0,
            quarantined: 0,
            contradictions: Contradictions::default(),
            origins: Origins::default(),
            keeping: None,
        }
    }

    /// From now on there may be checkpoints.
    pub fn keep(&mut self, keeper: Line) {
        self.keeping = Some(Keeping { keeper, outline: Vec::new(), last: self.dispatched });
    }

    /// Goes on from a checkpoint, by the outline of the journal up to it. To be called once, before
    /// anything is accepted or replayed.
    pub fn restore(&mut self, checkpoint: &Manifest, outline: &[Arc<Entry>]) -> Result<(), DoorError> {
        for entry in outline {
            let proposal = self.proposal_of(entry)?;
            self.settle(entry.epoch, proposal);
        }
        (self.dispatched, self.rows) = (checkpoint.epoch, checkpoint.rows);
        self.quarantined = checkpoint.quarantined;
        Ok(())
    }

    /// The books of the last epoch, and how events are metered under them.
    pub fn state(&self) -> (Arc<Books>, Arc<Metering>) {
        (self.books.clone(), Arc::new(self.metering.clone()))
    }

    /// The last epoch that the workers have.
    pub fn last(&self) -> Epoch {
        self.dispatched
    }

    /// How far each source has been read.
    pub fn offsets(&self) -> &BTreeMap<String, String> {
        &self.offsets
    }

    /// The segments of the journal that will never change again.
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.journal.sealed()
    }

    /// The books of the last accepted epoch.
    pub fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// Lets the workers finish: no epoch will follow.
    pub fn close(&mut self) {
        if !self.workers.is_empty() {
            remember_end(&mut *self.journal);
        }
        self.abandon();
    }

    /// Lets nothing enter any more, as what it knows may be half done.
    pub fn abandon(&mut self) {
        self.workers.clear();
        self.keeping = None;
    }

    /// Whether a checkpoint now would hold more than the last, and those before it are not too many to be made.
    pub fn has_news_to_keep(&self) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| keeping.last < self.dispatched && keeping.keeper.has_room())
    }

    /// Accepts submissions as one epoch, all or none; for a backfill among them something may have been read ahead.
    pub fn accept(&mut self, submissions: Vec<Submission>, ahead: Option<Ahead>) -> Result<Receipt, DoorError> {
        let proposal = self.check(submissions, ahead)?;
        self.enter(proposal, false)
    }

    /// Accepts submissions as one epoch, all or none; none if they say nothing.
    pub fn accept_news(&mut self, submissions: Vec<Submission>) -> Result<Option<Receipt>, DoorError> {
        let proposal = self.check(submissions, None)?;
        if proposal.facts.is_empty() {
            self.dictionary.rewind(proposal.mark);
            return Ok(None);
        }
        self.enter(proposal, false).map(Some)
    }

    /// Accepts an epoch without facts and orders a checkpoint of it.
    pub fn checkpoint(&mut self) -> Result<Epoch, DoorError> {
        let proposal = self.check(Vec::new(), None)?;
        Ok(self.enter(proposal, true)?.epoch)
    }

    /// Makes an epoch of submissions, or refuses them and leaves no names behind.
    fn check(&mut self, submissions: Vec<Submission>, ahead: Option<Ahead>) -> Result<Proposal, DoorError> {
        if self.workers.is_empty() {
            return Err(Stopped("it takes nothing any more".to_owned()).into());
        }
        let mark = self.dictionary.mark();
        self.propose(submissions, ahead).inspect_err(|_| self.dictionary.rewind(mark))
    }

    /// Writes an epoch to the journal, and hands it to the workers.
    fn enter(&mut self, mut proposal: Proposal, is_kept: bool) -> Result<Receipt, DoorError> {
        let facts = std::mem::take(&mut proposal.facts);
        let (epoch, clock, offsets) = (proposal.epoch, proposal.books.clock, proposal.offsets.clone());
        let names = self.dictionary.since(proposal.mark);
        let entry = Arc::new(Entry { epoch, clock, offsets, names, facts });
        if let Err(error) = self.journal.append(entry.clone()) {
            // Nothing of it was accepted, so its names have no ids.
            self.dictionary.rewind(proposal.mark);
            return Err(error.into());
        }
        self.journal.sync()?;
        let parts = std::mem::take(&mut proposal.parts);
        // It is durable and counts, also if the workers are gone: their readers are told.
        self.dispatch(&entry, proposal, is_kept)?;
        Ok(Receipt { epoch, parts })
    }

    /// Computes again what the journal holds after the last epoch, as it was accepted; tells of each.
    /// To be called once, before anything is accepted.
    pub fn compute_again(&mut self, mut told: impl FnMut(Epoch)) -> Result<(), DoorError> {
        let journal = std::mem::replace(&mut self.journal, Box::new(MemoryJournal::default()));
        let replayed = journal.entries(self.dispatched + 1).try_for_each(|entry| {
            let entry = entry?;
            let proposal = self.proposal_of(&entry)?;
            self.dispatch(&entry, proposal, false)?;
            told(entry.epoch);
            Ok(())
        });
        self.journal = journal;
        replayed.inspect_err(|_| self.close())
    }

    /// What an entry of the journal says, as it was proposed.
    fn proposal_of(&mut self, entry: &Entry) -> Result<Proposal, DoorError> {
        self.dictionary.learn(&entry.names);
        let mut proposal = self.begin(entry.epoch);
        proposal.books.clock = entry.clock;
        proposal.offsets.clone_from(&entry.offsets);
        for fact in &entry.facts {
            if !matches!(fact, Fact::Catalog(_)) {
                proposal.end_changes();
            }
            match fact {
                Fact::Usage(usage) => proposal.take_usage(usage.clone()),
                Fact::Refused(refused) => proposal.take_refused(refused.clone(), &mut self.origins),
                Fact::Catalog(change) => self.take_changes(&mut proposal, vec![change.clone()])?,
                Fact::Issued(document) => take_document(&mut proposal, document.clone())?,
                Fact::Declared(declaration) => proposal.take_declaration(declaration.clone(), &mut self.origins),
                Fact::Replayed(replays) => proposal.take_replays(replays.clone()),
                Fact::Backfill(backfill) => take_backfill(&mut proposal, backfill.clone()),
            }
        }
        proposal.end_changes();
        Ok(proposal)
    }

    /// Checks submissions and makes an epoch of them.
    fn propose(&mut self, submissions: Vec<Submission>, ahead: Option<Ahead>) -> Result<Proposal, DoorError> {
        let mut proposal = Proposal { ahead, ..self.begin(self.journal.last() + 1) };
        proposal.books.clock = self.clock.now(proposal.books.clock)?;
        // An epoch has one time: whatever comes in with it is received then.
        for submission in &submissions {
            self.take_clock(&mut proposal, submission)?;
        }
        for submission in submissions {
            let (rows, facts, contradicting) = (proposal.rows, proposal.facts.len(), proposal.contradicting);
            self.take(&mut proposal, submission)?;
            let refused = proposal.refused_after(facts);
            let contradicting = proposal.contradicting - contradicting;
            proposal.parts.push(Part { taken: proposal.rows - rows, refused, contradicting });
        }
        proposal.end_changes();
        Ok(proposal)
    }

    /// An epoch in which nothing has happened.
    fn begin(&self, epoch: Epoch) -> Proposal {
        Proposal {
            epoch,
            mark: self.dictionary.mark(),
            catalog: (*self.books.catalog).clone(),
            touched: Touched::default(),
            books: (*self.books).clone(),
            invoices: BTreeSet::new(),
            offsets: BTreeMap::new(),
            facts: Vec::new(),
            batches: Vec::new(),
            refused: Vec::new(),
            issued: Vec::new(),
            replays: Vec::new(),
            rows: self.rows,
            catalog_changed: false,
            ahead: None,
            contradicting: 0,
            restores: false,
            dropped: 0,
            parts: Vec::new(),
        }
    }

    fn take(&mut self, proposal: &mut Proposal, submission: Submission) -> Result<(), DoorError> {
        proposal.may_go_on(&submission)?;
        if !matches!(submission, Submission::Catalog(_) | Submission::Clock(_) | Submission::ReadTo { .. }) {
            proposal.end_changes();
        }
        match submission {
            Submission::Clock(_) => {}
            Submission::Declaration(declaration) => self.declare(proposal, declaration)?,
            Submission::Catalog(changes) => {
                check_schemas(&changes)?;
                self.take_changes(proposal, changes)?;
            }
            Submission::ReadTo { source, position } => {
                proposal.offsets.insert(source, position);
            }
            Submission::Events(batch) => self.take_events(proposal, batch)?,
            Submission::Document(document) => take_document(proposal, document)?,
            Submission::Again(again) => self.take_again(proposal, again)?,
            Submission::Backfill(apply) => self.apply(proposal, apply)?,
            Submission::Revert(name) => self.revert(proposal, &name)?,
        }
        Ok(())
    }

    /// Sets the clock, where it is told.
    fn take_clock(&self, proposal: &mut Proposal, submission: &Submission) -> Result<(), DoorError> {
        match *submission {
            Submission::Clock(_) if !self.clock.is_told() => return Err(DoorError::WallClock),
            Submission::Clock(at) if at >= CENTURY.end => return Err(DoorError::ClockTooFar { at: show_micros(at) }),
            Submission::Clock(at) => proposal.books.clock = proposal.books.clock.max(at),
            _ => {}
        }
        Ok(())
    }

    /// Makes changes that belong together.
    fn take_changes(&mut self, proposal: &mut Proposal, changes: Vec<CatalogChange>) -> Result<(), DoorError> {
        make_all(changes, |change| self.take_change(proposal, change))
            .map_err(|(index, error)| DoorError::Catalog { index, error })
    }

    /// Makes a change, or refuses it and leaves the proposal as it was.
    fn take_change(&mut self, proposal: &mut Proposal, change: &CatalogChange) -> Result<(), CatalogError> {
        let mut catalog = proposal.catalog.clone();
        let touched = catalog.apply(change.clone(), &mut self.dictionary)?;
        keeps_currencies(&catalog, &proposal.books, &touched)?;
        proposal.catalog = catalog;
        proposal.touched.add(touched);
        proposal.catalog_changed = true;
        proposal.facts.push(Fact::Catalog(change.clone()));
        Ok(())
    }

    /// Hands an accepted epoch to the workers; closes if they are gone.
    fn dispatch(&mut self, entry: &Entry, proposal: Proposal, is_kept: bool) -> Result<(), DoorError> {
        let epoch = entry.epoch;
        let accepted: u64 = proposal.batches.iter().map(|batch| batch.rows.len() as u64).sum();
        let inputs = accepted + proposal.set_aside_count();
        // Asked before anything is changed: what is accepted reaches the workers, whatever fails.
        let seal = if is_kept && self.keeping.is_some() { self.journal.seal_of(epoch)? } else { None };
        let input = self.settle(epoch, proposal);
        let oldest = self.past.pass(epoch, inputs);
        let mut input = EpochInput { epoch, oldest, ..input };
        if self.order(entry, seal) {
            input.intake.push(Intake::PutAway);
            input.is_kept = true;
        }
        let input = Arc::new(input);
        if self.workers.iter().any(|worker| worker.send(input.clone()).is_err()) {
            self.close();
        }
        self.dispatched = epoch;
        Ok(())
    }

    /// Outlines an entry; if there is to be a checkpoint of it, orders that under its seal. Says whether it did.
    fn order(&mut self, entry: &Entry, seal: Option<Hash>) -> bool {
        let Some(keeping) = &mut self.keeping else { return false };
        outline::gather(&mut keeping.outline, entry);
        let Some(seal) = seal else { return false };
        remember_end(&mut *self.journal);
        keeping.last = entry.epoch;
        let outline = std::mem::take(&mut keeping.outline);
        keeping.keeper.tell(Job::Order(Order {
            epoch: entry.epoch,
            seal: hexadecimal(&seal),
            rows: self.rows,
            quarantined: self.quarantined,
            outline,
        }));
        true
    }

    /// Makes a proposal the state of things, and says what workers have to know of it.
    fn settle(&mut self, epoch: Epoch, mut proposal: Proposal) -> EpochInput {
        let mut intake = Vec::new();
        self.quarantined = (self.quarantined + proposal.set_aside_count()).saturating_sub(proposal.dropped);
        if proposal.catalog_changed {
            proposal.books.catalog = Arc::new(proposal.catalog);
        }
        intake.extend(self.meter(&proposal.books.catalog, proposal.catalog_changed));
        let usage = if proposal.restores { Intake::Restored } else { Intake::Usage };
        intake.extend(proposal.batches.into_iter().map(usage));
        for Replay { input, still, .. } in &proposal.replays {
            let still = still.as_ref().map(|(reason, _)| *reason);
            let before = proposal.books.replayed.insert(*input, Replayed { at: epoch, still });
            let was_aside = before.is_none_or(|before| before.still.is_some());
            // An outline has replays without what they read; how much stands, its checkpoint says.
            self.quarantined = self.quarantined.saturating_sub(u64::from(was_aside && still.is_none()));
        }
        proposal.books.names = self.dictionary.names().clone();
        self.books = Arc::new(proposal.books);
        *self.accepted.write().unwrap_or_else(PoisonError::into_inner) = self.books.clone();
        self.rows = proposal.rows;
        self.offsets.extend(proposal.offsets);
        let turn = Arc::new(Turn { books: self.books.clone(), touched: proposal.touched, invoices: proposal.invoices });
        let Proposal { refused, issued, replays, .. } = proposal;
        EpochInput { intake, turn, refused, issued, replays, ..EpochInput::default() }
    }

    /// The metering from here on, if it is another.
    fn meter(&mut self, catalog: &Catalog, catalog_changed: bool) -> Option<Intake> {
        let next = if catalog_changed {
            Metering::under(catalog, &mut self.dictionary)
        } else if self.metering.property_sets() < self.dictionary.names().property_sets() {
            let mut next = self.metering.clone();
            next.extend(catalog, &mut self.dictionary);
            next
        } else {
            return None;
        };
        let changes = Arc::new(if catalog_changed { self.metering.changes(&next) } else { Default::default() });
        self.metering = next.clone();
        Some(Intake::Metering { metering: Arc::new(next), changes })
    }
}
