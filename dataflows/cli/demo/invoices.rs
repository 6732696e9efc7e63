//! Rows of the invoices view as the demo speaks of them, and what moved between two moments.

use std::collections::BTreeMap;

use trueup::engine::issue::Request;
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup_model::grain::Micros;
use trueup_model::money::Amount;
use trueup_sinks::view::View;

use crate::cli::words;

/// An invoice as the books say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Who is billed.
    pub customer: String,
    /// For which subscription.
    pub subscription: String,
    /// From when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// By the customer's calendar.
    pub period: String,
    /// Its number, once it was issued.
    pub number: Option<String>,
    /// Its currency.
    pub currency: String,
    /// How many lines.
    pub lines: i64,
    /// What the books say is due.
    pub total: Amount,
    /// What was issued.
    pub issued: Amount,
    /// What is still to be corrected.
    pub correction: Amount,
}

impl Invoice {
    fn of(moment: &Moment, row: &Row) -> Option<Invoice> {
        let text = |column: usize| match &row[column] {
            Cell::Text(text) => Some(text.to_string()),
            _ => None,
        };
        let [
            _,
            _,
            Cell::Time(from),
            Cell::Time(to),
            _,
            _,
            _,
            _,
            Cell::Integer(lines),
            Cell::Decimal(total),
            Cell::Decimal(issued),
            Cell::Decimal(correction),
        ] = &row[..]
        else {
            return None;
        };
        let customer = text(0)?;
        let zone = &moment.books().catalog.customers.named(&customer)?.zone;
        Some(Invoice {
            period: words::period(zone, *from, *to),
            customer,
            subscription: text(1)?,
            from: *from,
            to: *to,
            number: text(6),
            currency: text(7)?,
            lines: *lines,
            total: *total,
            issued: *issued,
            correction: *correction,
        })
    }

    /// What asks for it to be issued.
    pub fn request(&self) -> Request {
        Request { customer: self.customer.clone(), subscription: Some(self.subscription.clone()), period: self.from }
    }

    /// What tells it from others.
    fn key(&self) -> (String, Micros) {
        (self.subscription.clone(), self.from)
    }
}

/// Every invoice of a moment.
pub fn all(moment: &Moment) -> Vec<Invoice> {
    moment.rows(View::Invoices).iter().filter_map(|row| Invoice::of(moment, row)).collect()
}

/// The invoices whose total or number of lines differs, with the total before.
pub fn moved(before: &Moment, after: &Moment) -> Vec<(Amount, Invoice)> {
    let totals: BTreeMap<_, _> =
        all(before).into_iter().map(|invoice| (invoice.key(), (invoice.total, invoice.lines))).collect();
    let old = |invoice: &Invoice| totals.get(&invoice.key()).copied().unwrap_or_default();
    let changed = all(after).into_iter().filter(|invoice| old(invoice) != (invoice.total, invoice.lines));
    changed.map(|invoice| (old(&invoice).0, invoice)).collect()
}

/// What is due in each currency: `USD 1,204.11  EUR 206.00`.
pub fn totals(invoices: &[Invoice]) -> Vec<(String, Amount)> {
    let mut totals = BTreeMap::<String, Amount>::new();
    for invoice in invoices {
        *totals.entry(invoice.currency.clone()).or_default() += invoice.total;
    }
    // The greater share first.
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|(_, total)| std::cmp::Reverse(*total));
    totals
}
