//! What a batch moves: the views before it and after, row by row, and the money in a few sums.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup_model::decimal;
use trueup_model::fact::Epoch;
use trueup_model::grain::show_micros;
use trueup_model::money::PLACES;
use trueup_sinks::view::View;

use crate::cli::table::Table;
use crate::cli::{page, words};

/// The views that are compared; hours and days of usage follow from these.
const COMPARED: [View; 8] = [
    View::UsageByPeriod,
    View::Charges,
    View::Invoices,
    View::Corrections,
    View::Quotas,
    View::QuotaCrossings,
    View::Ledger,
    View::Quarantine,
];

/// Those that people are shown, with the columns that say most.
const SHOWN: [(View, &[&str]); 5] = [
    (
        View::Invoices,
        &["customer", "subscription", "period_start", "state", "invoice", "currency", "total", "correction"],
    ),
    (View::Quotas, &["customer", "feature", "period_start", "used", "quota_limit", "state"]),
    (View::QuotaCrossings, &["customer", "feature", "period_start", "from_state", "to_state", "used"]),
    (View::Quarantine, &["source", "position", "reason", "detail"]),
    (View::Ledger, &["state", "events"]),
];

/// A row before and after; at least one is there.
type Pair = (Option<Row>, Option<Row>);

/// What is different in each view.
pub struct Moved(Vec<(View, Vec<Pair>)>);

/// What moves of a feature for a customer.
#[derive(Default)]
struct Usage {
    events: i64,
    quantity: i128,
    /// By currency.
    billed: BTreeMap<String, i128>,
}

/// What moves in a currency.
#[derive(Default)]
struct Money {
    drafts: i128,
    /// How many drafts are left out, since an amount of them cannot be kept before or after.
    held: i64,
    corrections: i128,
}

impl Moved {
    /// What is different in a moment from an earlier epoch.
    pub fn between(after: &Moment, before: Epoch) -> Moved {
        let pairs = |view: View| {
            let mut pairs: BTreeMap<Vec<Cell>, Pair> = BTreeMap::new();
            for (row, difference) in after.difference(view, before) {
                let pair = pairs.entry(row[..view.key().len()].to_vec()).or_default();
                *(if difference < 0 { &mut pair.0 } else { &mut pair.1 }) = Some(row);
            }
            pairs.into_values().collect()
        };
        Moved(COMPARED.map(|view| (view, pairs(view))).into())
    }

    fn of(&self, view: View) -> &[Pair] {
        self.0.iter().find(|(other, _)| *other == view).map_or(&[], |(_, pairs)| pairs)
    }

    /// By customer and feature.
    fn usage(&self) -> BTreeMap<(String, String), Usage> {
        let mut usage: BTreeMap<(String, String), Usage> = BTreeMap::new();
        for pair in self.of(View::UsageByPeriod) {
            let [customer, feature] = ["customer", "feature"].map(|name| text(View::UsageByPeriod, pair, name));
            let entry = usage.entry((customer, feature)).or_default();
            entry.quantity += difference(View::UsageByPeriod, pair, "quantity");
            entry.events += difference(View::UsageByPeriod, pair, "events") as i64;
        }
        for pair in self.of(View::Charges) {
            let [customer, feature, currency] =
                ["customer", "feature", "currency"].map(|name| text(View::Charges, pair, name));
            let entry = usage.entry((customer, feature)).or_default();
            *entry.billed.entry(currency).or_default() += difference(View::Charges, pair, "billed");
        }
        usage
    }

    /// By currency: what drafts move, and what is to be corrected of issued invoices.
    fn money(&self) -> BTreeMap<String, Money> {
        let mut money: BTreeMap<String, Money> = BTreeMap::new();
        for pair in self.of(View::Invoices) {
            let entry = money.entry(text(View::Invoices, pair, "currency")).or_default();
            // The total of a draft that is held is not what is due.
            if is_held(&pair.0) || is_held(&pair.1) {
                entry.held += 1;
                continue;
            }
            let is_issued = !text(View::Invoices, pair, "invoice").is_empty();
            match is_issued {
                true => entry.corrections += difference(View::Invoices, pair, "correction"),
                false => entry.drafts += difference(View::Invoices, pair, "total"),
            }
        }
        money
    }

    /// How many more events wait for a customer.
    fn waiting(&self) -> i128 {
        let is_waiting = |pair: &&Pair| text(View::Ledger, pair, "state") == "waiting";
        self.of(View::Ledger).iter().filter(is_waiting).map(|pair| difference(View::Ledger, pair, "events")).sum()
    }

    /// Tells it to people: at most so many rows of each view.
    pub fn print(&self, rows_max: usize) {
        let usage = self.usage();
        let mut table = Table::new(&["customer", "feature", ">events", ">quantity", ">billed"]);
        for ((customer, feature), moved) in usage.iter().take(rows_max) {
            let billed = moved.billed.iter().filter(|(_, amount)| **amount != 0);
            let billed: Vec<String> = billed
                .map(|(currency, amount)| format!("{} {currency}", words::difference(*amount, currency)))
                .collect();
            let sign = if moved.quantity > 0 { "+" } else { "" };
            table.row([
                customer.clone(),
                feature.clone(),
                words::count(moved.events),
                format!("{sign}{}", words::quantity(moved.quantity)),
                billed.join(", "),
            ]);
        }
        print(table, "usage", usage.len(), rows_max);
        for (view, columns) in SHOWN {
            let pairs = self.of(view);
            let mut table = Table::new(&[&[""], columns].concat());
            for pair in pairs.iter().take(rows_max) {
                let cells = columns.iter().map(|column| both(view, pair, column));
                table.row([sign(pair).to_owned()].into_iter().chain(cells));
            }
            print(table, view.name(), pairs.len(), rows_max);
        }
        let waiting = self.waiting();
        if waiting > 0 {
            let events = words::counted(usize::try_from(waiting).unwrap_or(usize::MAX), "event");
            page::line(format!("Billed to nobody: {events} of subjects that are no customer's. Look at their names."));
        }
        let amounts = self.of(View::Quarantine).iter().filter(|pair| is_of_an_amount(pair)).count();
        if amounts > 0 {
            let amounts = words::counted(amounts, "amount");
            page::line(format!(
                "Left out before or after, of what is billed and of what invoices move by: {amounts} larger than can be \
                 kept, as the quarantine says."
            ));
        }
        let money = self.money();
        if money.is_empty() {
            page::line("No invoice moves.");
        }
        for (currency, Money { drafts, corrections, held }) in money {
            if held > 0 {
                let drafts = words::counted(held as usize, "draft");
                page::line(format!("Held before or after, and left out of this: {drafts} in {currency}."));
            }
            page::line(format!(
                "Invoices in {currency} move by {}: drafts by {}, corrections of issued ones by {}.",
                words::difference(drafts + corrections, &currency),
                words::difference(drafts, &currency),
                words::difference(corrections, &currency),
            ));
        }
    }

    /// Tells it to programs: the sums, and then every row that differs.
    pub fn print_json(&self, figures: &Value) {
        let money = self.money().into_iter().map(|(currency, Money { drafts, corrections, held })| {
            let [total, drafts, corrections] = [drafts + corrections, drafts, corrections].map(exact);
            json!({"currency": currency, "total": total, "drafts": drafts, "corrections": corrections, "held": held})
        });
        let usage = self.usage().into_iter().map(|((customer, feature), moved)| {
            let billed = moved.billed.into_iter().map(|(currency, amount)| (currency, exact(amount).into()));
            json!({
                "customer": customer,
                "feature": feature,
                "events": moved.events,
                "quantity": exact(moved.quantity),
                "billed": billed.collect::<Map<String, Value>>(),
            })
        });
        let mut figures = figures.clone();
        figures["money"] = money.collect();
        figures["usage"] = usage.collect();
        page::line(figures.to_string());
        for (view, pairs) in &self.0 {
            for (before, after) in pairs {
                let [before, after] = [before, after].map(|row| row.as_ref().map(|row| object(*view, row)));
                page::line(json!({"view": view.name(), "before": before, "after": after}).to_string());
            }
        }
    }
}

fn print(table: Table, name: &str, rows: usize, rows_max: usize) {
    if rows == 0 {
        return;
    }
    page::gap();
    page::line(page::ink(page::Ink::Bold, name));
    table.print();
    if rows > rows_max {
        page::line(format!("and {} more; raise --show, or use --json", words::count((rows - rows_max) as i128)));
    }
}

/// Where a column of this name is.
fn place(view: View, column: &str) -> usize {
    view.place(column).expect("views have the columns that are named here")
}

/// The cell of a column after, or if there is no row any more, before.
fn text(view: View, pair: &Pair, column: &str) -> String {
    let row = pair.1.as_ref().or(pair.0.as_ref());
    row.map(|row| shown(&row[place(view, column)], None)).unwrap_or_default()
}

/// Whether a row comes, goes, or is another.
fn sign(pair: &Pair) -> &'static str {
    match pair {
        (None, _) => "+",
        (_, None) => "-",
        _ => "",
    }
}

/// Whether a row of the quarantine is that of an amount that is larger than can be kept.
fn is_of_an_amount(pair: &Pair) -> bool {
    text(View::Quarantine, pair, "reason") == "amount_too_large"
}

/// Whether a row is that of a draft of which an amount cannot be kept.
fn is_held(invoice: &Option<Row>) -> bool {
    let state = |row: &Row| shown(&row[place(View::Invoices, "state")], None);
    invoice.as_ref().is_some_and(|row| state(row) == "held")
}

/// By how much a number is greater after than before; no row counts as nothing.
fn difference(view: View, pair: &Pair, column: &str) -> i128 {
    let number = |row: &Option<Row>| match row.as_ref().map(|row| &row[place(view, column)]) {
        Some(Cell::Decimal(units)) => *units,
        Some(Cell::Integer(number)) => i128::from(*number),
        _ => 0,
    };
    number(&pair.1) - number(&pair.0)
}

/// A cell before and after, or once if it is the same.
fn both(view: View, pair: &Pair, column: &str) -> String {
    let currency = view.columns().iter().any(|other| other.name == "currency").then(|| text(view, pair, "currency"));
    let cell = |row: &Option<Row>| row.as_ref().map(|row| shown(&row[place(view, column)], currency.as_deref()));
    match (cell(&pair.0), cell(&pair.1)) {
        (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
        (before, after) => after.or(before).unwrap_or_default(),
    }
}

fn shown(cell: &Cell, currency: Option<&str>) -> String {
    match (cell, currency) {
        (Cell::Null, _) => String::new(),
        (Cell::Text(text), _) => text.to_string(),
        (Cell::Integer(number), _) => words::count(*number),
        (Cell::Decimal(units), Some(currency)) => words::amount(*units, currency),
        (Cell::Decimal(units), None) => words::quantity(*units),
        (Cell::Time(at), _) => words::instant(*at),
    }
}

fn exact(units: i128) -> String {
    decimal::show(units, PLACES)
}

fn object(view: View, row: &Row) -> Value {
    let cell = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::from(&**text),
        Cell::Integer(number) => Value::from(*number),
        Cell::Decimal(units) => Value::from(exact(*units)),
        Cell::Time(at) => Value::from(show_micros(*at)),
    };
    let pairs = view.columns().iter().zip(row).map(|(column, value)| (column.name.to_owned(), cell(value)));
    Value::Object(pairs.collect())
}
