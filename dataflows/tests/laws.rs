//! Laws that hold among the views of one epoch and from one epoch to the next.
//!
//! They need no oracle: every subject must keep them by itself.

use std::collections::{BTreeMap, BTreeSet};

use trueup::oracle::Cell;

use crate::subject::{Rows, Subject};
use crate::views;

/// A row with its columns by name.
struct Row<'r> {
    columns: &'static [&'static str],
    cells: &'r [Cell],
}

impl Row<'_> {
    fn cell(&self, column: &str) -> &Cell {
        let place = self.columns.iter().position(|name| *name == column);
        &self.cells[place.unwrap_or_else(|| panic!("there is a column {column}"))]
    }

    fn key(&self, columns: &[&str]) -> Vec<Cell> {
        columns.iter().map(|column| self.cell(column).clone()).collect()
    }

    fn number(&self, column: &str) -> i128 {
        match self.cell(column) {
            Cell::Decimal(units) => *units,
            Cell::Integer(count) => i128::from(*count),
            other => panic!("{column} is a number, not {other}"),
        }
    }

    fn text(&self, column: &str) -> &str {
        match self.cell(column) {
            Cell::Text(text) => text,
            other => panic!("{column} is a text, not {other}"),
        }
    }
}

/// All views of one epoch.
struct Books {
    rows: BTreeMap<&'static str, Rows>,
}

impl Books {
    fn of(subject: &mut dyn Subject) -> Books {
        Books { rows: trueup::oracle::VIEWS.into_iter().map(|view| (view, subject.rows(view))).collect() }
    }

    fn rows(&self, view: &str) -> impl Iterator<Item = Row<'_>> {
        let columns = views::columns(view).expect("the view has columns");
        self.rows[view].iter().map(move |cells| Row { columns, cells })
    }

    /// Sums up a column of a view by some of its columns.
    fn sums(&self, view: &str, key: &[&str], column: &str) -> BTreeMap<Vec<Cell>, i128> {
        let mut sums = BTreeMap::new();
        for row in self.rows(view) {
            *sums.entry(row.key(key)).or_default() += row.number(column);
        }
        sums
    }
}

const ARRIVAL: [&str; 3] = ["source", "partition", "hour"];
const INVOICE: [&str; 3] = ["customer", "subscription", "period_start"];
const QUOTA: [&str; 4] = ["customer", "subscription", "feature", "period_start"];

/// Watches the views of a subject epoch by epoch.
#[derive(Default)]
pub struct Laws {
    received: BTreeMap<Vec<Cell>, i128>,
    issued: Rows,
    crossings: Rows,
}

impl Laws {
    /// Checks the laws after an epoch.
    pub fn check(&mut self, subject: &mut dyn Subject) {
        let books = Books::of(subject);
        every_event_is_in_one_state(&books);
        the_ledgers_close(&books);
        windows_hold_the_same_events(&books);
        charges_are_for_the_usage_of_their_period(&books);
        invoices_add_up(&books);
        levels_follow_from_use(&books);
        crossings_lead_to_the_levels_that_stand(&books);
        let received = books.sums("ingest_ledger", &ARRIVAL, "received");
        let is_kept = |(arrival, inputs): (&Vec<Cell>, &i128)| received.get(arrival).is_some_and(|now| now >= inputs);
        assert!(self.received.iter().all(is_kept), "what was received was received then: {:?}", self.received);
        self.received = received;
        assert!(self.issued.is_subset(&books.rows["issued_lines"]), "an issued document never changes");
        assert!(self.crossings.is_subset(&books.rows["quota_crossings"]), "a crossing that happened has happened");
        self.issued = books.rows["issued_lines"].clone();
        self.crossings = books.rows["quota_crossings"].clone();
    }
}

/// Received is the sum of all states, and what is quarantined has a reason.
fn every_event_is_in_one_state(books: &Books) {
    let states = books.sums("ledger", &["state"], "events");
    let of = |state: &str| states.get(&vec![Cell::Text(state.to_owned())]).copied().unwrap_or_default();
    assert_eq!(of("received") * 2, states.values().sum::<i128>(), "the states add up to received: {states:?}");
    let of_groups = vec![Cell::Text("amount_too_large".to_owned())];
    let reasons = books.sums("quarantine", &["reason"], "inputs");
    let inputs = reasons.iter().filter(|(reason, _)| **reason != of_groups).map(|(_, inputs)| inputs).sum::<i128>();
    assert_eq!(of("quarantined"), inputs, "each quarantined input has a reason");
}

/// By each way and hour, what came in is in one state; all of them together are the ledger.
fn the_ledgers_close(books: &Books) {
    let sum = |row: &Row<'_>, columns: &[&str]| columns.iter().map(|column| row.number(column)).sum::<i128>();
    for row in books.rows("ingest_ledger") {
        assert_eq!(row.number("received"), sum(&row, &["accepted", "quarantined"]), "{:?}", row.cells);
        let states = sum(&row, &["standing", "superseded", "retracted", "duplicate"]);
        assert_eq!(row.number("accepted"), states, "{:?}", row.cells);
        if *row.cell("declared") != Cell::Null {
            assert_eq!(row.number("received"), sum(&row, &["declared", "difference"]), "{:?}", row.cells);
        }
    }
    let states = books.sums("ledger", &["state"], "events");
    let of = |state: &str| states.get(&vec![Cell::Text(state.to_owned())]).copied().unwrap_or_default();
    let total = |column: &str| books.sums("ingest_ledger", &[], column).into_values().sum::<i128>();
    for column in ["received", "superseded", "retracted", "duplicate", "quarantined"] {
        assert_eq!(total(column), of(column), "{column}");
    }
    assert_eq!(total("standing"), of("counted") + of("waiting"), "what stands counts or waits");
}

/// Grains, hours and days hold the same events; what adds up adds up the same.
fn windows_hold_the_same_events(books: &Books) {
    let key = ["subject", "meter", "dimensions", "customer"];
    let events = books.sums("usage", &key, "events");
    for view in ["usage_hourly", "usage_daily"] {
        assert_eq!(events, books.sums(view, &key, "events"), "{view} has the events of usage");
    }
    let added = |view| {
        let mut sums = books.sums(view, &key, "quantity");
        // The meters of the histories that are never redefined and whose quantities add up.
        sums.retain(|key, _| ["every_call", "pings"].iter().any(|meter| key[1] == Cell::Text((*meter).to_owned())));
        sums
    };
    assert_eq!(added("usage"), added("usage_hourly"), "hours add up to the same as grains");
    assert_eq!(added("usage"), added("usage_daily"), "days add up to the same as grains");
}

fn charges_are_for_the_usage_of_their_period(books: &Books) {
    let key = ["customer", "subscription", "feature", "period_start", "service_start", "period_end", "service_end"];
    let usage = books.sums("usage_by_period", &key, "quantity");
    for charge in books.rows("charges").filter(|charge| charge.text("feature") != "fee") {
        let used = usage.get(&charge.key(&key)).copied();
        assert_eq!(used, Some(charge.number("quantity")), "a charge is for what was used: {:?}", charge.cells);
    }
}

/// What stands of features that are not charged: what was issued of them and what is outstanding, which is
/// nothing, unless their amount cannot be kept.
fn uncharged(books: &Books) -> BTreeMap<Vec<Cell>, i128> {
    let feature = [&INVOICE[..], &["feature"]].concat();
    let charged: BTreeSet<Vec<Cell>> = books.rows("charges").map(|charge| charge.key(&feature)).collect();
    let mut standing: BTreeMap<Vec<Cell>, i128> = BTreeMap::new();
    for line in books.rows("issued_lines").chain(books.rows("corrections")) {
        if !charged.contains(&line.key(&feature)) {
            *standing.entry(line.key(&INVOICE)).or_default() += line.number("billed");
        }
    }
    standing
}

/// Totals are the sums of lines; what was issued and what is outstanding make up the total.
fn invoices_add_up(books: &Books) {
    let mut totals = books.sums("charges", &INVOICE, "billed");
    for (invoice, standing) in uncharged(books) {
        *totals.entry(invoice).or_default() += standing;
    }
    let mut issued = books.sums("issued_lines", &INVOICE, "billed");
    let mut corrections = books.sums("corrections", &INVOICE, "billed");
    for invoice in books.rows("invoices") {
        let key = invoice.key(&INVOICE);
        let take = |sums: &mut BTreeMap<Vec<Cell>, i128>| sums.remove(&key).unwrap_or_default();
        assert_eq!(invoice.number("total"), take(&mut totals), "total of {:?}", invoice.cells);
        assert_eq!(invoice.number("issued"), take(&mut issued), "issued of {:?}", invoice.cells);
        assert_eq!(invoice.number("correction"), take(&mut corrections), "correction of {:?}", invoice.cells);
        if invoice.text("state") == "issued" {
            let made_up = invoice.number("issued") + invoice.number("correction");
            assert_eq!(invoice.number("total"), made_up, "issued and corrections make up {:?}", invoice.cells);
        }
    }
    assert!(totals.is_empty() && issued.is_empty() && corrections.is_empty(), "each line is of an invoice");
}

fn levels_follow_from_use(books: &Books) {
    for quota in books.rows("quotas") {
        let used = quota.number("used");
        let is_over = used > quota.number("quota_limit");
        let is_warning = !is_over && used >= quota.number("warning_at");
        let level = if is_over { "over" } else { ["ok", "warning"][usize::from(is_warning)] };
        assert_eq!(quota.text("state"), level, "{:?}", quota.cells);
    }
}

/// For each quota, every crossing begins where the one before ended, and the last ends at what
/// stands now.
fn crossings_lead_to_the_levels_that_stand(books: &Books) {
    let mut levels: BTreeMap<Vec<Cell>, String> = BTreeMap::new();
    for crossing in books.rows("quota_crossings") {
        let level = levels.entry(crossing.key(&QUOTA)).or_insert_with(|| "ok".to_owned());
        assert_eq!(level, crossing.text("from_state"), "{:?}", crossing.cells);
        assert_ne!(level, crossing.text("to_state"), "{:?}", crossing.cells);
        *level = crossing.text("to_state").to_owned();
    }
    levels.retain(|_, level| level != "ok");
    let standing = books.rows("quotas").filter(|quota| quota.text("state") != "ok");
    let standing: BTreeMap<Vec<Cell>, String> =
        standing.map(|quota| (quota.key(&QUOTA), quota.text("state").to_owned())).collect();
    assert_eq!(levels, standing, "crossings lead to the levels that stand");
}

/// After every event was taken back, nothing is left but what does not come from usage.
pub fn check_that_nothing_is_left(subject: &mut dyn Subject) {
    let books = Books::of(subject);
    for view in ["usage", "usage_hourly", "usage_daily", "usage_by_period"] {
        assert_eq!(books.rows(view).count(), 0, "{view} is empty");
    }
    assert!(books.rows("charges").all(|charge| charge.text("feature") == "fee"), "only fees are charged");
    assert!(books.rows("quotas").all(|quota| quota.number("used") == 0), "nothing is used of any quota");
    let states: BTreeSet<&str> = ["counted", "waiting"].into();
    assert!(!books.rows("ledger").any(|row| states.contains(row.text("state"))), "no event counts or waits");
}
