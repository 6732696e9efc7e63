//! What is right, by a plain batch computation over every fact.
//!
//! The oracle keeps the journal and nothing else. To answer, it reads the journal from its first
//! entry to its last and works the view out anew, the obvious way. It shares no code with the
//! engine but the parser of numbers and the plain definitions, so that one mistake cannot hide in
//! both. The law of the engine is that each of its views equals the oracle's at every epoch.
//!
//! # What it holds to be right
//!
//! **Events.** Source and id are an event's identity. Of all statements under one identity the
//! greatest (revision, retract) stands. A statement is judged when it arrives, against the one that
//! stands then: below it, it is superseded; equal to it, a retraction is a duplicate, an assertion
//! is a duplicate if it says the same and else quarantined, or a duplicate of what was quarantined
//! before and says that, read for the same; above it, it stands from now on, and the other is
//! superseded, with all that was quarantined since it contradicts that. What says the same agrees in
//! subject, type, time, and every property that was read of both; if meters ask for other properties
//! by now, the later reading stands and the one before it is the duplicate. An event that no meter
//! reads, that breaks the schema of its type, or that lacks a value a meter needs, is refused; a
//! retraction needs no values and keeps to no schema.
//!
//! **Ledger.** Each statement is in exactly one state, in the row of the way and the hour in which it
//! came itself: a later one may move it to another state, and never to another row. What was set aside
//! may be read again, by the meters of then; if it is accepted, it is judged like any other, in the row
//! where it was. Of what producers declare the last holds.
//!
//! **Usage.** A meter counts the standing assertions of its type that meet its filter, by subject
//! and by its dimensions. A grain is an hour of UTC, or a quarter of one for customers whose zone is
//! at times not whole hours from UTC. A day begins at the first instant at which clocks in the zone
//! show its date or a later one.
//!
//! **Periods.** Billing periods follow from cadence, anchor and the customer's zone, never from the
//! term of a subscription. A grain of a customer is billed where it begins: in the billing period
//! around it, if the subscription's term holds it, and there in the service period that price
//! changes and the term cut out. A service period's quantity is the aggregate of all its events.
//!
//! **Money.** The price at the beginning of a service period rates its whole quantity, exactly, cut
//! once to twelve places, half to even. Rounded to be billed is, by the plan, each line or the
//! running total of the feature in its billing period. What has no meter is charged once for each
//! period that has begun by the clock, at the price of its beginning.
//!
//! **Backfills.** In a scope stands what somebody's events say, as far as a meter reads them, within a
//! time; a batch that is applied in its place retracts, each at its revision, those that it does not
//! name. A batch that brings what cannot be counted is refused, unless that may be set aside. Once it is
//! taken back, of each event stands what all statements but its own say.
//!
//! **Quotas.** A quota is measured over the whole billing period. It stands somewhere where there is
//! usage, and where the clock is inside the period and the term. Each change of its state between
//! two epochs is a crossing; what does not stand anywhere is ok.
//!
//! **Invoices.** What was issued stays, with its period and currency. Corrections are the charges as
//! they are now less the lines of all documents of the period, by feature and beginning of the service
//! period. While the amount of a feature is larger than can be kept, what was issued of it stands, and
//! a draft it belongs to is held.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::Scope;
use trueup_model::catalog::CatalogChange;
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Declaration, Document, DocumentLine, Replay};
use trueup_model::usage::Reason;

mod amount;
mod backfills;
mod billing;
mod cell;
mod days;
mod definitions;
mod invoicing;
mod ledger;
mod measure;
mod quotas;
mod reading;
mod schema;
mod standing;
mod usage;

pub use cell::Cell;

use billing::Bills;
use cell::{Row, integer, text};
use quotas::Watch;
use reading::Readings;
use standing::Standing;

/// One thing that was accepted.
#[derive(Clone, Debug)]
pub enum Statement {
    /// A usage event, and how it came in.
    Event(UsageEvent, Arrival),
    /// An input that was set aside before it was an event, how it came in, and the source and id of its event, where
    /// they could be read.
    Refused(Reason, Arrival, Option<(String, String)>),
    /// How many inputs a producer says to have sent.
    Declared(Declaration),
    /// What became of inputs that were read again; the events among them follow.
    Replayed(Vec<Replay>),
    /// A change of the catalog, which must be one that the catalog takes.
    Catalog(CatalogChange),
    /// A document that was issued.
    Issued(Document),
    /// The events of this epoch are a backfill, or what one brought is taken back; and how what follows
    /// from it came in.
    Backfill(Backfill, Arrival),
}

/// What is asked of a backfill.
#[derive(Clone, Debug)]
pub enum Backfill {
    /// The events before it in the epoch are the batch; with a scope they stand in place of all that
    /// stood in it.
    Apply {
        /// Its name.
        name: String,
        /// In place of what it stands.
        scope: Option<Scope>,
    },
    /// What the batch said is taken back.
    Revert {
        /// Its name.
        name: String,
    },
}

/// What was accepted at one epoch.
#[derive(Clone, Debug)]
struct Entry {
    epoch: u64,
    clock: i64,
    statements: Vec<Statement>,
}

/// The views the oracle answers for.
pub const VIEWS: [&str; 13] = [
    "usage",
    "usage_hourly",
    "usage_daily",
    "usage_by_period",
    "quotas",
    "quota_crossings",
    "charges",
    "invoices",
    "issued_lines",
    "corrections",
    "ledger",
    "ingest_ledger",
    "quarantine",
];

/// All facts, and what follows from them.
///
/// ```
/// use trueup::oracle::{Oracle, Statement};
/// use trueup_model::arrival::Arrival;
/// use trueup_model::usage::Reason;
///
/// let mut oracle = Oracle::new();
/// oracle.accept(1, 0, vec![Statement::Refused(Reason::Unreadable, Arrival::default(), None)]);
/// let ledger: Vec<String> = oracle.rows("ledger").iter().map(|row| format!("{} {}", row[0], row[1])).collect();
/// assert_eq!(ledger, ["quarantined 1", "received 1"]);
/// ```
#[derive(Clone, Debug)]
pub struct Oracle {
    journal: Vec<Entry>,
    /// Quota states at each epoch so far, which no later fact changes; none if nobody asks.
    watch: Option<Watch>,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle { journal: Vec::new(), watch: Some(Watch::default()) }
    }
}

impl Oracle {
    /// An oracle that has heard nothing.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// An oracle that does not follow quota states, and so need not work them out at each epoch:
    /// for more than some thousand events.
    pub fn without_crossings() -> Oracle {
        Oracle { watch: None, ..Oracle::default() }
    }

    /// Takes in an epoch, in the order in which its statements were accepted. Epochs ascend and
    /// the clock never goes back.
    pub fn accept(&mut self, epoch: u64, clock_micros: i64, statements: Vec<Statement>) {
        if let Some(last) = self.journal.last() {
            assert!(last.epoch < epoch, "epochs ascend: {epoch} came after {}", last.epoch);
            assert!(last.clock <= clock_micros, "the billing clock never goes back");
        }
        self.journal.push(Entry { epoch, clock: clock_micros, statements });
        if let Some(mut watch) = self.watch.take() {
            watch.observe(epoch, clock_micros, self.quota_states());
            self.watch = Some(watch);
        }
    }

    /// The rows of a view as of the last epoch, each with the columns of the view in their order.
    /// Of the quarantine, what is set aside: why, by which way it came, its epoch and place, or the event
    /// that it contradicts, or the subscription that is not charged; and how many of these there are.
    ///
    /// Works everything out anew: time and memory grow with the journal. Panics if it does not
    /// answer for such a view.
    pub fn rows(&self, view: &str) -> BTreeSet<Vec<Cell>> {
        let standing = self.standing();
        let rows: Vec<Row> = match view {
            "ledger" => ledger::rows(&standing),
            "ingest_ledger" => ledger::ingest_rows(&standing),
            "quota_crossings" => self.watch.as_ref().expect("crossings are followed, unless told otherwise").rows(),
            "issued_lines" => invoicing::issued_lines(&standing.documents),
            "usage" | "usage_hourly" | "usage_daily" => usage::rows(view, &Readings::of(&standing)),
            _ => {
                let readings = Readings::of(&standing);
                let bills = Bills::of(&standing.definitions, &readings, self.clock());
                match view {
                    "quarantine" => quarantine(&standing, &bills.groups_too_large()),
                    "usage_by_period" => bills.usage_by_period(),
                    "charges" => bills.charge_rows(),
                    "quotas" => quotas::rows(&bills),
                    "invoices" => invoicing::invoices(&bills, &standing.documents),
                    "corrections" => invoicing::corrections(&bills, &standing.documents),
                    _ => panic!("the oracle does not answer for the view '{view}'"),
                }
            }
        };
        let count = rows.len();
        let rows: BTreeSet<Row> = rows.into_iter().collect();
        assert_eq!(rows.len(), count, "the rows of {view} are a set");
        rows
    }

    /// Whether a backfill that these make must be refused now: because its scope names what is not there,
    /// because some of its events cannot be counted and may not be set aside, or because it would displace what it
    /// names and cannot be read.
    pub fn refuses(&self, statements: &[Statement], sets_aside: bool) -> bool {
        self.standing().refuses(statements, sets_aside)
    }

    /// The lines that a document must have if it is issued now: those of the draft, or the
    /// corrections that are outstanding. None if there is nothing to issue, or an amount cannot be kept.
    pub fn draft(&self, customer: &str, subscription: &str, period_start: i64) -> Option<Vec<DocumentLine>> {
        let standing = self.standing();
        let readings = Readings::of(&standing);
        let bills = Bills::of(&standing.definitions, &readings, self.clock());
        let lines = invoicing::draft(&bills, &standing.documents, (customer, subscription, period_start));
        (!lines.is_empty()).then_some(lines)
    }

    /// What must be said if all that is set aside is read again now: what becomes of each whose state
    /// or reason is another, and the events that are accepted.
    pub fn replays(&self) -> Vec<Statement> {
        self.standing().replays()
    }

    fn standing(&self) -> Standing<'_> {
        Standing::after(self.journal.iter().map(|entry| (entry.epoch, &entry.statements[..])))
    }

    fn quota_states(&self) -> BTreeMap<quotas::Key, quotas::State> {
        let standing = self.standing();
        let readings = Readings::of(&standing);
        quotas::states(&Bills::of(&standing.definitions, &readings, self.clock()))
    }

    fn clock(&self) -> i64 {
        self.journal.last().map_or(i64::MIN, |entry| entry.clock)
    }
}

/// What was set aside, and which groups cannot be charged.
fn quarantine(standing: &Standing<'_>, groups_too_large: &[billing::Group<'_>]) -> Vec<Row> {
    let inputs = standing.quarantined().map(|(reason, arrival, input)| {
        let Origin { source, partition } = &*arrival.origin;
        [text(reason.name()), text(source), text(partition), Cell::Text(input)]
    });
    let groups = groups_too_large.iter().map(|group| {
        [text("amount_too_large"), text("rating"), text(""), Cell::Text(format!("subscription {}", group.subscription))]
    });
    let mut counts: BTreeMap<[Cell; 4], i64> = BTreeMap::new();
    inputs.chain(groups).for_each(|one| *counts.entry(one).or_default() += 1);
    counts.into_iter().map(|(one, count)| one.into_iter().chain([integer(count)]).collect()).collect()
}
