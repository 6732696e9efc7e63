//! The one way in: everything that is accepted passes here, in one order.
//!
//! Law: an epoch's facts are checked against the books as they stand, given ids, written to the
//! journal, and handed to the workers, in this order, under one lock. Nothing is lost: what
//! cannot be counted is set aside with its reason and is a fact like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use trueup_connectors::journal::{Journal, JournalError, MemoryJournal};
use trueup_model::books::{Books, Issued, Turn};
use trueup_model::calendar::CENTURY;
use trueup_model::catalog::{Catalog, CatalogChange, CatalogError, Touched};
use trueup_model::charge::{Group, InvoiceKey};
use trueup_model::dictionary::{Dictionary, Properties};
use trueup_model::fact::{Document, Entry, Epoch, Fact};
use trueup_model::grain::{Grain, Micros, show_micros};
use trueup_model::metering::Metering;
use trueup_model::usage::{EventBatch, Reason, Refused, UsageBatch, UsageRow};
use trueup_operators::deduplicate::Intake;
use trueup_operators::total::Billed;

use super::changes::make_all;
use super::clock::Clock;
use super::graph::EpochInput;
use super::retention::{Past, Retention};

/// What somebody wants accepted.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Events, as a connector read them.
    Events(EventBatch),
    /// Changes of the catalog that belong together; they are made in whatever order they can be.
    Catalog(Vec<CatalogChange>),
    /// A document to be issued.
    Document(Document),
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

/// Why an epoch was not accepted; then nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The catalog does not allow a change.
    #[error("{error}")]
    Catalog {
        /// Which of the changes that came together.
        index: usize,
        /// Why.
        error: CatalogError,
    },
    /// Events were read by layouts that are no longer those of the catalog.
    #[error("the catalog changed while these events were read: read them again")]
    StaleLayouts,
    /// A document names something that is not there.
    #[error("document {number} cannot be issued: {why}")]
    Document {
        /// Its number.
        number: String,
        /// Why.
        why: String,
    },
    /// Time is told to an engine that reads it from the machine.
    #[error(
        "this engine takes its time from the machine's clock: start one whose time is told, or leave the clock out"
    )]
    WallClock,
    /// Time is told that no calendar covers.
    #[error("the clock cannot be set to {at}: calendars end with the year 2099")]
    ClockTooFar {
        /// The time that was told.
        at: String,
    },
    /// The journal did not take it.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    /// The workers are gone.
    #[error("the engine has stopped")]
    Stopped,
}

/// What became of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub epoch: Epoch,
    /// What became of each submission, in their order.
    pub parts: Vec<Part>,
}

/// What became of a submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How many events were accepted.
    pub accepted: u64,
    /// What was set aside, as it was read or at the door.
    pub refused: Vec<Arc<Refused>>,
}

impl Receipt {
    /// How many events were accepted.
    pub fn accepted(&self) -> u64 {
        self.parts.iter().map(|part| part.accepted).sum()
    }

    /// How many inputs were set aside.
    pub fn refused(&self) -> u64 {
        self.parts.iter().map(|part| part.refused.len() as u64).sum()
    }
}

/// For how long back and ahead of the clock an event may have happened.
#[derive(Clone, Copy, Debug)]
pub struct Acceptance {
    /// Back, in microseconds.
    pub past: Micros,
    /// Ahead, in microseconds.
    pub future: Micros,
}

impl Default for Acceptance {
    fn default() -> Self {
        const HOUR: Micros = 3_600_000_000;
        Acceptance { past: 10 * 366 * 24 * HOUR, future: HOUR }
    }
}

/// The door.
pub struct Door {
    dictionary: Dictionary,
    books: Arc<Books>,
    metering: Metering,
    journal: Box<dyn Journal>,
    workers: Vec<SyncSender<Arc<EpochInput>>>,
    clock: Clock,
    acceptance: Acceptance,
    past: Past,
    offsets: BTreeMap<String, String>,
    dispatched: Epoch,
    rows: u64,
}

/// What an epoch is made of while it is being checked.
struct Draft {
    catalog: Catalog,
    touched: Touched,
    books: Books,
    invoices: BTreeSet<InvoiceKey>,
    offsets: BTreeMap<String, String>,
    facts: Vec<Fact>,
    batches: Vec<Arc<UsageBatch>>,
    refused: Vec<Arc<Refused>>,
    issued: Vec<((Group, Grain), Billed)>,
    rows: u64,
    catalog_changed: bool,
    parts: Vec<Part>,
}

impl Draft {
    fn take_usage(&mut self, usage: Arc<UsageBatch>) {
        if !usage.rows.is_empty() {
            self.rows += usage.rows.len() as u64;
            self.facts.push(Fact::Usage(usage.clone()));
            self.batches.push(usage);
        }
    }

    fn take_refused(&mut self, refused: Vec<Refused>) {
        if !refused.is_empty() {
            self.facts.push(Fact::Refused(refused.clone()));
            self.refused.extend(refused.into_iter().map(Arc::new));
        }
    }
}

impl Door {
    /// A door to these workers.
    pub fn new(
        journal: Box<dyn Journal>,
        workers: Vec<SyncSender<Arc<EpochInput>>>,
        clock: Clock,
        acceptance: Acceptance,
        retention: Retention,
    ) -> Door {
        Door {
            dictionary: Dictionary::default(),
            books: Arc::default(),
            metering: Metering::default(),
            journal,
            workers,
            clock,
            acceptance,
            past: Past::new(retention),
            offsets: BTreeMap::new(),
            dispatched: 0,
            rows: 0,
        }
    }

    /// The books as they stand.
    pub fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// The last epoch that the workers have.
    pub fn last(&self) -> Epoch {
        self.dispatched
    }

    /// How far each source has been read.
    pub fn offsets(&self) -> &BTreeMap<String, String> {
        &self.offsets
    }

    /// Lets the workers finish: no epoch will follow.
    pub fn close(&mut self) {
        self.workers.clear();
    }

    /// Accepts submissions as one epoch, all or none.
    pub fn accept(&mut self, submissions: Vec<Submission>) -> Result<Receipt, DoorError> {
        if self.workers.is_empty() {
            return Err(DoorError::Stopped);
        }
        let mark = self.dictionary.mark();
        let accepted = self.draft(submissions).and_then(|mut draft| {
            let epoch = self.journal.last() + 1;
            let facts = std::mem::take(&mut draft.facts);
            let (clock, offsets) = (draft.books.clock, draft.offsets.clone());
            let names = self.dictionary.since(mark);
            self.journal.append(Arc::new(Entry { epoch, clock, offsets, names, facts }))?;
            Ok((epoch, draft))
        });
        match accepted {
            Ok((epoch, mut draft)) => {
                self.journal.sync()?;
                let parts = std::mem::take(&mut draft.parts);
                self.dispatch(epoch, draft)?;
                Ok(Receipt { epoch, parts })
            }
            Err(error) => {
                // Nothing of it was accepted, so its names have no ids.
                self.dictionary.rewind(mark);
                Err(error)
            }
        }
    }

    /// Computes again what the journal holds, epoch by epoch as it was accepted; tells of each.
    /// To be called once, before anything is accepted.
    pub fn replay(&mut self, mut told: impl FnMut(Epoch)) -> Result<(), DoorError> {
        let journal = std::mem::replace(&mut self.journal, Box::new(MemoryJournal::default()));
        let replayed = journal.entries(0).try_for_each(|entry| {
            let entry = entry?;
            self.replay_entry(&entry)?;
            told(entry.epoch);
            Ok(())
        });
        self.journal = journal;
        replayed.inspect_err(|_| self.close())
    }

    fn replay_entry(&mut self, entry: &Entry) -> Result<(), DoorError> {
        self.dictionary.learn(&entry.names);
        let mut draft = self.begin();
        draft.books.clock = entry.clock;
        draft.offsets.clone_from(&entry.offsets);
        for fact in &entry.facts {
            match fact {
                Fact::Usage(usage) => draft.take_usage(usage.clone()),
                Fact::Refused(refused) => draft.take_refused(refused.clone()),
                Fact::Catalog(change) => self.take_changes(&mut draft, vec![change.clone()])?,
                Fact::Issued(document) => take_document(&mut draft, document.clone())?,
            }
        }
        self.dispatch(entry.epoch, draft)
    }

    /// Checks submissions and makes an epoch of them.
    fn draft(&mut self, submissions: Vec<Submission>) -> Result<Draft, DoorError> {
        let mut draft = self.begin();
        draft.books.clock = self.clock.now(draft.books.clock);
        for submission in submissions {
            let (rows, refused) = (draft.rows, draft.refused.len());
            self.take(&mut draft, submission)?;
            let refused = draft.refused[refused..].to_vec();
            draft.parts.push(Part { accepted: draft.rows - rows, refused });
        }
        Ok(draft)
    }

    /// An epoch in which nothing has happened.
    fn begin(&self) -> Draft {
        Draft {
            catalog: (*self.books.catalog).clone(),
            touched: Touched::default(),
            books: (*self.books).clone(),
            invoices: BTreeSet::new(),
            offsets: BTreeMap::new(),
            facts: Vec::new(),
            batches: Vec::new(),
            refused: Vec::new(),
            issued: Vec::new(),
            rows: self.rows,
            catalog_changed: false,
            parts: Vec::new(),
        }
    }

    fn take(&mut self, draft: &mut Draft, submission: Submission) -> Result<(), DoorError> {
        match submission {
            Submission::Clock(_) if self.clock == Clock::Wall => return Err(DoorError::WallClock),
            Submission::Clock(at) if at >= CENTURY.end => return Err(DoorError::ClockTooFar { at: show_micros(at) }),
            Submission::Clock(at) => draft.books.clock = draft.books.clock.max(at),
            Submission::Catalog(changes) => self.take_changes(draft, changes)?,
            Submission::ReadTo { source, position } => {
                draft.offsets.insert(source, position);
            }
            Submission::Events(batch) => self.take_events(draft, batch)?,
            Submission::Document(document) => take_document(draft, document)?,
        }
        Ok(())
    }

    /// Makes changes that belong together.
    fn take_changes(&mut self, draft: &mut Draft, changes: Vec<CatalogChange>) -> Result<(), DoorError> {
        make_all(changes, |change| self.take_change(draft, change))
            .map_err(|(index, error)| DoorError::Catalog { index, error })
    }

    /// Makes a change, or refuses it and leaves the draft as it was.
    fn take_change(&mut self, draft: &mut Draft, change: &CatalogChange) -> Result<(), CatalogError> {
        let mut catalog = draft.catalog.clone();
        let touched = catalog.apply(change.clone(), &mut self.dictionary)?;
        keeps_currencies(&catalog, &draft.books, &touched)?;
        draft.catalog = catalog;
        draft.touched.add(touched);
        draft.catalog_changed = true;
        draft.facts.push(Fact::Catalog(change.clone()));
        Ok(())
    }

    /// Gives a batch the ids of the dictionary, and sets aside what lies out of time.
    fn take_events(&mut self, draft: &mut Draft, batch: EventBatch) -> Result<(), DoorError> {
        let layouts = draft.catalog.layouts().clone();
        if !batch.rows.is_empty() && batch.generation != layouts.generation {
            return Err(DoorError::StaleLayouts);
        }
        let subjects: Vec<u32> = batch.subjects.iter().map(|subject| self.dictionary.subject(subject)).collect();
        let texts: Vec<u32> = batch.texts.iter().map(|text| self.dictionary.text(text)).collect();
        let mut properties = Vec::with_capacity(batch.properties.len());
        let mut text_columns = Vec::with_capacity(batch.properties.len());
        for set in batch.properties {
            let layout = layouts.of(&set.event_type).ok_or(DoorError::StaleLayouts)?.clone();
            text_columns.push((layout.numbers.len(), layout.columns()));
            properties.push(self.dictionary.property_set(Properties { layout, dimensions: set.dimensions }));
        }
        let mut usage = UsageBatch {
            first_row: draft.rows,
            received_at: draft.books.clock,
            rows: batch.rows,
            wide: batch.wide,
            ids: batch.ids,
        };
        for row in &mut usage.rows {
            let (first, end) = text_columns[row.properties as usize];
            rename_texts(row, &mut usage.wide, first..end, &texts);
            row.subject = subjects[row.subject as usize];
            row.properties = properties[row.properties as usize];
        }
        let mut refused = batch.refused;
        self.set_aside(&mut usage, &batch.source, draft.books.clock, &mut refused);
        draft.take_refused(refused);
        draft.take_usage(Arc::new(usage));
        Ok(())
    }

    /// Moves events that say to have happened at an impossible time from the batch to `refused`.
    fn set_aside(&self, usage: &mut UsageBatch, source: &str, clock: Micros, refused: &mut Vec<Refused>) {
        let from = clock.saturating_sub(self.acceptance.past).max(CENTURY.start);
        let to = clock.saturating_add(self.acceptance.future).min(CENTURY.end - 1);
        let is_in_time = |row: &UsageRow| row.retract || (from <= row.occurred_at && row.occurred_at <= to);
        if usage.rows.iter().all(is_in_time) {
            return;
        }
        let mut kept = trueup_model::usage::SentIds::default();
        let mut place = 0;
        let ids = std::mem::take(&mut usage.ids);
        usage.rows.retain(|row| {
            let sent = ids.get(place);
            place += 1;
            if is_in_time(row) {
                if let Some((source, id)) = sent {
                    kept.push(source, id);
                }
                return true;
            }
            let detail = out_of_time(row.occurred_at, from, to);
            refused.push(Refused {
                source: source.to_owned(),
                position: sent.map_or_else(|| "an event".to_owned(), |(_, id)| format!("event {id}")),
                event_source: sent.map(|(source, _)| source.to_owned()),
                event_id: sent.map(|(_, id)| id.to_owned()),
                reason: Reason::TimeOutOfRange,
                detail,
                payload: None,
            });
            false
        });
        usage.ids = kept;
    }

    /// Hands an accepted epoch to the workers.
    fn dispatch(&mut self, epoch: Epoch, mut draft: Draft) -> Result<(), DoorError> {
        let mut intake = Vec::new();
        if draft.catalog_changed {
            draft.books.catalog = Arc::new(draft.catalog);
        }
        intake.extend(self.meter(&draft.books.catalog, draft.catalog_changed));
        let accepted: u64 = draft.batches.iter().map(|batch| batch.rows.len() as u64).sum();
        intake.extend(draft.batches.into_iter().map(Intake::Usage));
        draft.books.names = self.dictionary.names().clone();
        self.books = Arc::new(draft.books);
        self.rows = draft.rows;
        self.offsets.extend(draft.offsets);
        let turn = Arc::new(Turn { books: self.books.clone(), touched: draft.touched, invoices: draft.invoices });
        let oldest = self.past.pass(epoch, accepted);
        let input = Arc::new(EpochInput { epoch, oldest, intake, turn, refused: draft.refused, issued: draft.issued });
        for worker in &self.workers {
            worker.send(input.clone()).map_err(|_| DoorError::Stopped)?;
        }
        self.dispatched = epoch;
        Ok(())
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

/// Turns places in the batch's table of texts into ids.
fn rename_texts(row: &mut UsageRow, wide: &mut [i128], columns: std::ops::Range<usize>, texts: &[u32]) {
    if columns.is_empty() {
        return;
    }
    if row.wide == 0 {
        row.value = i64::from(texts[row.value as usize]);
        return;
    }
    for value in &mut wide[row.value as usize..][columns] {
        *value = i128::from(texts[*value as usize]);
    }
}

fn out_of_time(at: Micros, from: Micros, to: Micros) -> String {
    format!(
        "it says to have happened at {}, but events are taken from {} to {}: correct the time and send it again",
        show_micros(at),
        show_micros(from),
        show_micros(to),
    )
}

/// Whether what was issued to whom a change touches would still be billed in its currency. Its
/// corrections are in that currency, and one is not subtracted from another.
fn keeps_currencies(catalog: &Catalog, books: &Books, touched: &Touched) -> Result<(), CatalogError> {
    for &customer in &touched.customers {
        let first = InvoiceKey { customer, ..InvoiceKey::default() };
        let issued = books.issued.range(first..).take_while(|(key, _)| key.customer == customer);
        for (key, issued) in issued {
            let subscription = catalog.subscriptions.get(key.subscription);
            let Some(plan) = catalog.plans.named(&subscription.plan) else { continue };
            if plan.currency.code() != &*issued.currency {
                let why = format!(
                    "invoice {} was issued in {}, and plan '{}' is in {}: end the subscription, and begin another one \
                     on a plan of another name",
                    issued.number,
                    issued.currency,
                    plan.name,
                    plan.currency.code()
                );
                return Err(CatalogError::Contradiction { what: format!("subscription '{}'", subscription.id), why });
            }
        }
    }
    Ok(())
}

/// Enters an issued document into the books.
fn take_document(draft: &mut Draft, document: Document) -> Result<(), DoorError> {
    let refuse = |why: &str| DoorError::Document { number: document.number.clone(), why: why.to_owned() };
    let catalog = &draft.catalog;
    let customer =
        catalog.customers.id(&document.customer).ok_or_else(|| refuse("its customer is not in the catalog"))?;
    let subscription = catalog.subscriptions.id(&document.subscription);
    let subscription = subscription.ok_or_else(|| refuse("its subscription is not in the catalog"))?;
    let edge = |at: Micros| Grain::at_edge(at).ok_or_else(|| refuse("one of its times is no grain edge"));
    let key = InvoiceKey { customer, subscription, period: edge(document.period_start)? };
    let before = draft.books.issued.get(&key).cloned();
    if catalog.subscriptions.get(subscription).customer != document.customer {
        return Err(refuse("its subscription is another customer's"));
    }
    if draft.books.documents.iter().any(|other| other.number == document.number) {
        return Err(refuse("another document has its number"));
    }
    match (&before, &document.corrects) {
        (None, None) => {}
        (Some(issued), Some(corrects)) if *corrects == *issued.number => {
            let is_like_it = *document.currency == *issued.currency
                && Grain::at_edge(document.period_end) == Some(issued.period_end);
            if !is_like_it {
                return Err(refuse("its currency or period is not that of the invoice it corrects"));
            }
        }
        _ => return Err(refuse("an invoice comes first and once, and corrections that name it follow")),
    }
    for line in &document.lines {
        let feature = catalog.features.id(&line.feature).ok_or_else(|| refuse("a feature is not in the catalog"))?;
        let group = Group { customer, subscription, period: key.period, feature };
        let billed = Billed { lines: 0, quantity: line.quantity, money: line.billed };
        draft.issued.push(((group, edge(line.service_start)?), billed));
    }
    let total = before.as_ref().map_or(0, |issued| issued.total) + document.total();
    let issued = match before {
        Some(issued) => Issued { total, ..issued },
        None => Issued {
            number: document.number.as_str().into(),
            total,
            period_end: edge(document.period_end)?,
            currency: document.currency.as_str().into(),
        },
    };
    draft.books.issued.insert(key, issued);
    draft.books.documents.push_back(Arc::new(document.clone()));
    draft.invoices.insert(key);
    draft.facts.push(Fact::Issued(document));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Setup};
    use trueup_connectors::EventReader;
    use trueup_model::grain::show_micros;
    use trueup_model::meter::{Aggregation, Filter, Meter};

    #[test]
    fn events_from_out_of_time_are_set_aside() {
        const NOW: Micros = 1_750_000_000_000_000;
        let acceptance = Acceptance { past: 100, future: 10 };
        let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
        let meter = Meter {
            name: "calls".to_owned(),
            event_type: "call".to_owned(),
            aggregation: Aggregation::Count,
            property: None,
            scale: 0,
            dimensions: Vec::new(),
            filter: Filter::new(),
        };
        let beginning = vec![Submission::Clock(NOW), Submission::Catalog(vec![CatalogChange::Meter(meter)])];
        engine.accept(beginning).expect("there is a meter");
        let refused_at = |after: Micros| {
            let mut reader = EventReader::new(engine.layouts(), "default", "test");
            let mut batch = reader.batch();
            let time = show_micros(NOW + after);
            let event = format!(
                r#"{{"specversion":"1.0","id":"{after}","source":"/test","type":"call","subject":"s","time":"{time}","data":{{}}}}"#
            );
            reader.read_line(event.as_bytes(), "here", &mut batch);
            engine.accept(vec![Submission::Events(batch.finish())]).expect("events are read").refused()
        };
        assert_eq!([-101, -100, 10, 11].map(refused_at), [1, 0, 0, 1]);
    }
}
