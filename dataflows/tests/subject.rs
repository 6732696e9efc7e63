//! What a billing story or a history is told to: something that takes facts and shows views.
//!
//! There are three: the oracle, the engine, and the two side by side, which is how the engine is
//! tested. Tests talk to `Subject` alone, so that the engine's own interface stays free to change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup::oracle::{Backfill, Cell, Oracle, Statement, VIEWS};
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::{Scope, origin};
use trueup_model::catalog::{Catalog, CatalogChange};
use trueup_model::dictionary::Dictionary;
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Declaration, Document};
use trueup_model::usage::Reason;

/// The rows of a view: each has the view's columns, in their order.
pub type Rows = BTreeSet<Vec<Cell>>;

/// Something that takes facts and shows views.
///
/// Facts given since the last commit form the next epoch, in the order in which they were given.
pub trait Subject {
    /// Changes the catalog, or says why it cannot be changed so.
    fn catalog(&mut self, change: CatalogChange) -> Result<(), String>;

    /// Sends an event by a way that reads it from text.
    fn event(&mut self, event: UsageEvent);

    /// By which way comes in what is sent from now on.
    fn way(&mut self, origin: Origin);

    /// Says how many inputs were sent by a way for an hour.
    fn declare(&mut self, declaration: Declaration);

    /// Sends something that is set aside for this reason.
    fn refused(&mut self, reason: Reason);

    /// Sets the billing clock, for this epoch and those after it.
    fn clock(&mut self, micros: i64);

    /// Ends the epoch and tells its number. Called only if a fact was given, or the clock set.
    fn commit(&mut self) -> u64;

    /// Ends the epoch as a backfill of this name, in which what cannot be counted may be set aside; none,
    /// and no epoch, if it is refused. Called only if nothing but events was given.
    fn backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> Option<u64>;

    /// Takes a backfill back that was applied, in an epoch of its own. Called only when no facts wait
    /// for a commit, and once for each.
    fn revert(&mut self, name: &str) -> u64;

    /// Issues what is outstanding for a billing period, in an epoch of its own that is committed
    /// when this returns; none, and no epoch, if nothing is outstanding. Called only when no facts
    /// wait for a commit. Documents are numbered `INV-000001`, `INV-000002` and so on, corrections
    /// like invoices.
    fn issue(&mut self, customer: &str, subscription: &str, period_start: i64) -> Option<Document>;

    /// Reads all that is set aside again, in an epoch of its own that is committed when this returns;
    /// false, and no epoch, if nothing comes of that. Called only when no facts wait for a commit.
    fn replay(&mut self) -> bool;

    /// The rows of a view as of the last commit; of the quarantine, what the oracle knows.
    fn rows(&mut self, view: &str) -> Rows;
}

/// What was said for the epoch to come, whose time is not known before it ends.
enum Sent {
    Event(UsageEvent, Arc<Origin>),
    Refused(Reason, Arc<Origin>),
    Backfill(Backfill),
    Other(Statement),
}

impl Sent {
    fn at(self, clock: i64) -> Statement {
        match self {
            Sent::Event(event, way) => Statement::Event(event, Arrival::at(way, clock)),
            Sent::Refused(reason, way) => Statement::Refused(reason, Arrival::at(way, clock), None),
            Sent::Backfill(asked) => {
                let (Backfill::Apply { name, .. } | Backfill::Revert { name }) = &asked;
                let arrival = Arrival::at(origin(name), clock);
                Statement::Backfill(asked, arrival)
            }
            Sent::Other(statement) => statement,
        }
    }
}

/// The oracle as a subject. It holds a catalog too, only to refuse what a catalog refuses.
pub struct OracleSubject {
    oracle: Oracle,
    catalog: Catalog,
    dictionary: Dictionary,
    epoch: u64,
    clock: i64,
    way: Arc<Origin>,
    sent: Vec<Sent>,
    documents: usize,
}

impl OracleSubject {
    pub fn new() -> OracleSubject {
        OracleSubject {
            oracle: Oracle::new(),
            catalog: Catalog::default(),
            dictionary: Dictionary::default(),
            epoch: 0,
            clock: 0,
            way: Arc::default(),
            sent: Vec::new(),
            documents: 0,
        }
    }

    /// The document that must be issued now, with the next number.
    fn draft(&self, customer: &str, subscription: &str, period_start: i64) -> Option<Document> {
        let lines = self.oracle.draft(customer, subscription, period_start)?;
        let of_period = |row: &Vec<Cell>| {
            row[..3] == [Cell::Text(customer.into()), Cell::Text(subscription.into()), Cell::Time(period_start)]
        };
        let invoices = self.oracle.rows("invoices");
        let invoice = invoices.iter().find(|row| of_period(row)).expect("what has a draft is among the invoices");
        let [_, _, _, Cell::Time(period_end), _, _, number, Cell::Text(currency), ..] = &invoice[..] else {
            panic!("an invoice has a period and a currency: {invoice:?}");
        };
        Some(Document {
            number: format!("INV-{:06}", self.documents + 1),
            corrects: if let Cell::Text(number) = number { Some(number.clone()) } else { None },
            customer: customer.to_owned(),
            subscription: subscription.to_owned(),
            period_start,
            period_end: *period_end,
            issued_at: self.clock,
            currency: currency.clone(),
            lines,
        })
    }

    fn commit_as(&mut self, epoch: u64) {
        self.epoch = epoch;
        let statements = std::mem::take(&mut self.sent).into_iter().map(|sent| sent.at(self.clock));
        self.oracle.accept(epoch, self.clock, statements.collect());
    }

    /// Whether what was sent is a backfill that is not refused; else it is forgotten.
    fn takes_backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> bool {
        self.sent.push(Sent::Backfill(Backfill::Apply { name: name.to_owned(), scope }));
        let sent = std::mem::take(&mut self.sent).into_iter();
        let statements: Vec<Statement> = sent.map(|sent| sent.at(self.clock)).collect();
        let is_taken = !self.oracle.refuses(&statements, sets_aside);
        self.sent.extend(statements.into_iter().filter(|_| is_taken).map(Sent::Other));
        is_taken
    }

    fn issued(&mut self, document: Document) {
        self.documents += 1;
        self.sent.push(Sent::Other(Statement::Issued(document)));
    }
}

impl Subject for OracleSubject {
    fn catalog(&mut self, change: CatalogChange) -> Result<(), String> {
        self.catalog.apply(change.clone(), &mut self.dictionary).map_err(|error| error.to_string())?;
        self.sent.push(Sent::Other(Statement::Catalog(change)));
        Ok(())
    }

    fn event(&mut self, event: UsageEvent) {
        self.sent.push(Sent::Event(event, self.way.clone()));
    }

    fn refused(&mut self, reason: Reason) {
        self.sent.push(Sent::Refused(reason, self.way.clone()));
    }

    fn way(&mut self, origin: Origin) {
        self.way = Arc::new(origin);
    }

    fn declare(&mut self, declaration: Declaration) {
        self.sent.push(Sent::Other(Statement::Declared(declaration)));
    }

    fn clock(&mut self, micros: i64) {
        self.clock = micros;
    }

    fn commit(&mut self) -> u64 {
        self.commit_as(self.epoch + 1);
        self.epoch
    }

    fn backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> Option<u64> {
        self.takes_backfill(name, scope, sets_aside).then(|| self.commit())
    }

    fn revert(&mut self, name: &str) -> u64 {
        self.sent.push(Sent::Backfill(Backfill::Revert { name: name.to_owned() }));
        self.commit()
    }

    fn issue(&mut self, customer: &str, subscription: &str, period_start: i64) -> Option<Document> {
        let document = self.draft(customer, subscription, period_start)?;
        self.issued(document.clone());
        self.commit();
        Some(document)
    }

    fn replay(&mut self) -> bool {
        let replays = self.oracle.replays();
        if replays.is_empty() {
            return false;
        }
        self.sent.extend(replays.into_iter().map(Sent::Other));
        self.commit();
        true
    }

    fn rows(&mut self, view: &str) -> Rows {
        self.oracle.rows(view)
    }
}

/// A subject beside the oracle: after each epoch every view of both must be the same.
pub struct Beside {
    subject: Box<dyn Subject>,
    oracle: OracleSubject,
    numbers: BTreeMap<String, Document>,
}

impl Beside {
    pub fn oracle(subject: Box<dyn Subject>) -> Beside {
        Beside { subject, oracle: OracleSubject::new(), numbers: BTreeMap::new() }
    }

    fn compare(&mut self, epoch: u64) {
        assert!(epoch > self.oracle.epoch, "epoch {epoch} does not follow epoch {}", self.oracle.epoch);
        self.oracle.commit_as(epoch);
        for view in VIEWS {
            let (shown, right) = (self.subject.rows(view), self.oracle.rows(view));
            assert!(shown == right, "{view} is wrong at epoch {epoch}\n{}", difference(&shown, &right));
        }
    }
}

impl Subject for Beside {
    fn catalog(&mut self, change: CatalogChange) -> Result<(), String> {
        let (taken, right) = (self.subject.catalog(change.clone()), self.oracle.catalog(change));
        assert_eq!(taken.is_ok(), right.is_ok(), "{taken:?} instead of {right:?}");
        taken
    }

    fn event(&mut self, event: UsageEvent) {
        self.subject.event(event.clone());
        self.oracle.event(event);
    }

    fn refused(&mut self, reason: Reason) {
        self.subject.refused(reason);
        self.oracle.refused(reason);
    }

    fn way(&mut self, origin: Origin) {
        self.subject.way(origin.clone());
        self.oracle.way(origin);
    }

    fn declare(&mut self, declaration: Declaration) {
        self.subject.declare(declaration.clone());
        self.oracle.declare(declaration);
    }

    fn clock(&mut self, micros: i64) {
        self.subject.clock(micros);
        self.oracle.clock(micros);
    }

    fn commit(&mut self) -> u64 {
        let epoch = self.subject.commit();
        self.compare(epoch);
        epoch
    }
    fn backfill(&mut self, name: &str, scope: Option<Scope>, sets_aside: bool) -> Option<u64> {
        let epoch = self.subject.backfill(name, scope.clone(), sets_aside);
        let is_right = self.oracle.takes_backfill(name, scope, sets_aside) == epoch.is_some();
        assert!(is_right, "a backfill was {}", if epoch.is_some() { "taken" } else { "refused" });
        self.compare(epoch?);
        epoch
    }

    fn revert(&mut self, name: &str) -> u64 {
        let epoch = self.subject.revert(name);
        self.oracle.sent.push(Sent::Backfill(Backfill::Revert { name: name.to_owned() }));
        self.compare(epoch);
        epoch
    }

    fn issue(&mut self, customer: &str, subscription: &str, period_start: i64) -> Option<Document> {
        let right = self.oracle.draft(customer, subscription, period_start);
        let issued = self.subject.issue(customer, subscription, period_start);
        assert_eq!(issued, right, "what was issued to {customer} for {}", Cell::Time(period_start));
        let document = issued?;
        let before = self.numbers.insert(document.number.clone(), document.clone());
        assert!(before.is_none(), "two documents have the number {}", document.number);
        self.oracle.issued(document.clone());
        self.compare(self.oracle.epoch + 1);
        Some(document)
    }

    fn replay(&mut self) -> bool {
        let right = self.oracle.oracle.replays();
        let replayed = self.subject.replay();
        // A sentence may be another for the same reason, and that is told in an epoch too.
        assert!(replayed || right.is_empty(), "what is set aside is read again: {right:?}");
        if replayed {
            self.oracle.sent.extend(right.into_iter().map(Sent::Other));
            self.compare(self.oracle.epoch + 1);
        }
        replayed
    }

    fn rows(&mut self, view: &str) -> Rows {
        self.subject.rows(view)
    }
}

/// The rows that are on one side only.
pub fn difference(shown: &Rows, right: &Rows) -> String {
    let line = |mark: &str, row: &Vec<Cell>| {
        let cells: Vec<String> = row.iter().map(Cell::to_string).collect();
        format!("{mark} {}\n", cells.join(" | "))
    };
    let wrong = shown.difference(right).map(|row| line("wrong  ", row));
    let missing = right.difference(shown).map(|row| line("missing", row));
    wrong.chain(missing).collect()
}
