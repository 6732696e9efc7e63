//! The tables of the demo, each of one moment.

use std::collections::BTreeMap;

use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup_model::fact::Document;
use trueup_model::money::Amount;
use trueup_sinks::view::View;

use super::invoices::Invoice;
use crate::cli::table::Table;
use crate::cli::words;

/// What each customer used, over all meters.
pub fn usage(moment: &Moment) -> Table {
    const METERS: [&str; 4] = ["calls", "input_tokens", "cached_tokens", "output_tokens"];
    let mut used = BTreeMap::<String, [i128; METERS.len()]>::new();
    for row in moment.rows(View::Usage) {
        let (Some(meter), Some(customer)) = (text(&row, 1), text(&row, 5)) else { continue };
        let place = METERS.iter().position(|name| *name == meter);
        if let (Some(place), Cell::Decimal(quantity)) = (place, &row[6]) {
            used.entry(customer).or_default()[place] += quantity;
        }
    }
    let mut table = Table::new(&["customer", "zone", ">calls", ">input", ">cached", ">output"]);
    let mut rows: Vec<_> = used.into_iter().collect();
    rows.sort_by_key(|(_, used)| std::cmp::Reverse(used[0]));
    for (customer, used) in rows {
        let zone = moment.books().catalog.customers.named(&customer).map(|customer| customer.zone.clone());
        let cells = used.map(words::quantity);
        table.row([customer, zone.unwrap_or_default()].into_iter().chain(cells));
    }
    table
}

/// The quotas of which something is used.
pub fn quotas(moment: &Moment) -> Table {
    let mut table = Table::new(&["customer", "feature", "period", ">used", ">limit", ">%", "state"]);
    for row in moment.rows(View::Quotas) {
        let (Some(customer), Some(feature), Some(state)) = (text(&row, 0), text(&row, 2), text(&row, 8)) else {
            continue;
        };
        let [Cell::Time(from), Cell::Time(to), Cell::Decimal(used), Cell::Decimal(limit)] = &row[3..7] else {
            continue;
        };
        if *used > 0 {
            let percent = if *limit > 0 { (used * 100 / limit).to_string() } else { String::new() };
            let period = period(moment, &customer, *from, *to);
            table.row([customer, feature, period, words::quantity(*used), words::quantity(*limit), percent, state]);
        }
    }
    table
}

/// A crossing in words, with its state: `harbor, chat_output: 1,000,412 of 1,000,000, over the limit`.
pub fn crossing(row: &Row) -> Option<(String, String)> {
    let (customer, feature, to) = (text(row, 0)?, text(row, 2)?, text(row, 7)?);
    let [Cell::Decimal(used), Cell::Decimal(limit)] = &row[8..10] else { return None };
    let (used, limit) = (words::quantity(*used), words::quantity(*limit));
    let says = match to.as_str() {
        "over" => "over the limit",
        "warning" => "close to the limit",
        _ => "within the limit again",
    };
    Some((to, format!("{customer}, {feature}: {used} of {limit}, {says}")))
}

/// Invoices that were issued, as the books say them now.
pub fn invoices(invoices: &[Invoice]) -> Table {
    let mut table =
        Table::new(&["invoice", "customer", "period", ">lines", "", ">issued", ">books say", ">outstanding"]);
    for invoice in invoices.iter().filter(|invoice| invoice.number.is_some()) {
        let amount = |units: Amount| words::amount(units, &invoice.currency);
        let outstanding = if invoice.correction == 0 {
            String::new()
        } else {
            words::difference(invoice.correction, &invoice.currency)
        };
        table.row([
            invoice.number.clone().unwrap_or_default(),
            invoice.customer.clone(),
            invoice.period.clone(),
            invoice.lines.to_string(),
            invoice.currency.clone(),
            amount(invoice.issued),
            amount(invoice.total),
            outstanding,
        ]);
    }
    table
}

/// A document, line by line, with its sum.
pub fn lines(document: &Document) -> Table {
    let mut table = Table::new(&["feature", ">quantity", "", ">amount"]);
    let amount = |units: Amount| words::amount(units, &document.currency);
    for line in &document.lines {
        let quantity = words::quantity(line.quantity);
        table.row([line.feature.clone(), quantity, document.currency.clone(), amount(line.billed)]);
    }
    table.row([document.number.clone(), String::new(), document.currency.clone(), amount(document.total())]);
    table
}

/// Invoices that moved, with what the books said before.
pub fn moved(moved: &[(Amount, Invoice)]) -> Table {
    let mut table = Table::new(&["invoice", "customer", "period", "", ">issued", ">before", ">after", ">difference"]);
    for (before, invoice) in moved {
        let amount = |units: Amount| words::amount(units, &invoice.currency);
        table.row([
            invoice.number.clone().unwrap_or_else(|| "draft".to_owned()),
            invoice.customer.clone(),
            invoice.period.clone(),
            invoice.currency.clone(),
            amount(invoice.issued),
            amount(*before),
            amount(invoice.total),
            words::difference(invoice.total - before, &invoice.currency),
        ]);
    }
    table
}

/// What the books say beyond what was issued, line by line.
pub fn corrections(moment: &Moment) -> Table {
    let mut table = Table::new(&["corrects", "customer", "feature", "used from (UTC)", ">quantity", "", ">amount"]);
    for row in moment.rows(View::Corrections) {
        let (Some(customer), Some(feature)) = (text(&row, 0), text(&row, 2)) else { continue };
        let (Some(corrects), Some(currency)) = (text(&row, 5), text(&row, 6)) else { continue };
        let (Cell::Time(from), [Cell::Decimal(quantity), Cell::Decimal(billed)]) = (&row[4], &row[7..9]) else {
            continue;
        };
        let amount = words::difference(*billed, &currency);
        let quantity = format!("{}{}", if *quantity > 0 { "+" } else { "" }, words::quantity(*quantity));
        table.row([corrects, customer, feature, words::instant(*from), quantity, currency, amount]);
    }
    table
}

/// In which state events are.
pub fn ledger(moment: &Moment) -> String {
    let count = |row: Row| match &row[..] {
        [Cell::Text(state), Cell::Integer(events)] if **state != *"received" => {
            Some(format!("{} {state}", words::count(*events)))
        }
        _ => None,
    };
    let received = moment.rows(View::Ledger).into_iter().find_map(|row| match &row[..] {
        [Cell::Text(state), Cell::Integer(events)] if **state == *"received" => Some(*events),
        _ => None,
    });
    let states: Vec<String> = moment.rows(View::Ledger).into_iter().filter_map(count).collect();
    format!("{} received = {}", words::count(received.unwrap_or_default()), states.join(" + "))
}

fn text(row: &Row, column: usize) -> Option<String> {
    match &row[column] {
        Cell::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

fn period(moment: &Moment, customer: &str, from: i64, to: i64) -> String {
    let zone = moment.books().catalog.customers.named(customer).map(|customer| customer.zone.clone());
    words::period(zone.as_deref().unwrap_or("UTC"), from, to)
}
