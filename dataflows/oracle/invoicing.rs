//! Invoices, what was issued, and what is outstanding between the two.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::fact::{Document, DocumentLine};

use super::billing::{Bills, Charge, Group};
use super::cell::{Cell, Row, integer, optional, text};

/// Customer, subscription, and the first instant of the billing period.
type Invoice<'a> = (&'a str, &'a str, i64);

/// What stands against what was issued, for one line.
#[derive(Default)]
struct Line {
    service_end: i64,
    quantity: i128,
    billed: i128,
}

impl Line {
    fn is_nothing(&self) -> bool {
        (self.quantity, self.billed) == (0, 0)
    }
}

fn invoice_of<'a>(charge: &Charge<'a>) -> Invoice<'a> {
    (charge.group.customer, charge.group.subscription, charge.group.period_start)
}

fn documents_of<'a>(invoice: Invoice<'_>, documents: &[&'a Document]) -> Vec<&'a Document> {
    let is_its = |document: &&&Document| {
        (document.customer.as_str(), document.subscription.as_str(), document.period_start) == invoice
    };
    documents.iter().filter(is_its).copied().collect()
}

/// What an invoice says.
#[derive(Default)]
struct Bill<'a> {
    charges: Vec<Charge<'a>>,
    /// The groups that cannot be charged.
    held: Vec<Group<'a>>,
}

/// What each invoice says, drafted or issued.
fn by_invoice<'a>(bills: &Bills<'a>, documents: &[&'a Document]) -> BTreeMap<Invoice<'a>, Bill<'a>> {
    let mut invoices: BTreeMap<Invoice<'_>, Bill<'_>> = BTreeMap::new();
    for charge in bills.charges() {
        invoices.entry(invoice_of(&charge)).or_default().charges.push(charge);
    }
    for document in documents {
        invoices.entry((&document.customer, &document.subscription, document.period_start)).or_default();
    }
    for group in bills.groups_too_large() {
        let invoice = (group.customer, group.subscription, group.period_start);
        let lines = outstanding(&[], &documents_of(invoice, documents)).into_iter();
        let stands = lines.filter(|((feature, _), line)| *feature == group.feature && !line.is_nothing());
        let charges = stands.map(|((_, service_start), line)| {
            let (quantity, billed) = (-line.quantity, -line.billed);
            Charge { group, service_start, service_end: line.service_end, quantity, amount: billed, billed }
        });
        let bill = invoices.entry(invoice).or_default();
        bill.charges.extend(charges);
        bill.held.push(group);
    }
    invoices
}

pub(super) fn invoices<'a>(bills: &Bills<'a>, documents: &[&'a Document]) -> Vec<Row> {
    let row = |(invoice, Bill { charges, held }): (Invoice<'a>, Bill<'a>)| {
        let documents = documents_of(invoice, documents);
        let contract = &bills.contracts[invoice.1];
        let first = documents.first();
        // What was issued keeps the period and the currency of its document.
        let group = || charges.first().map_or_else(|| held[0], |charge| charge.group);
        let period_end = first.map_or_else(|| bills.terms(group()).2, |document| document.period_end);
        let total: i128 = charges.iter().map(|charge| charge.billed).sum();
        let issued: i128 = documents.iter().flat_map(|document| &document.lines).map(|line| line.billed).sum();
        vec![
            text(invoice.0),
            text(invoice.1),
            Cell::Time(invoice.2),
            Cell::Time(period_end),
            text(&contract.plan.name),
            text(match first {
                Some(_) => "issued",
                None if held.is_empty() => "draft",
                None => "held",
            }),
            optional(first.map(|document| document.number.as_str())),
            text(first.map_or(contract.plan.currency.code(), |document| &document.currency)),
            integer(charges.len() as i64),
            Cell::Decimal(total),
            Cell::Decimal(issued),
            Cell::Decimal(if first.is_some() { total - issued } else { 0 }),
        ]
    };
    by_invoice(bills, documents).into_iter().map(row).collect()
}

/// What the charges say less what the documents said, by feature and beginning of service.
fn outstanding<'a>(charges: &[Charge<'a>], documents: &[&'a Document]) -> BTreeMap<(&'a str, i64), Line> {
    let mut lines: BTreeMap<(&str, i64), Line> = BTreeMap::new();
    for issued in documents.iter().flat_map(|document| &document.lines) {
        let line = lines.entry((&issued.feature, issued.service_start)).or_default();
        line.service_end = issued.service_end;
        line.quantity -= issued.quantity;
        line.billed -= issued.billed;
    }
    for charge in charges {
        let line = lines.entry((charge.group.feature, charge.service_start)).or_default();
        line.service_end = charge.service_end;
        line.quantity += charge.quantity;
        line.billed += charge.billed;
    }
    lines
}

pub(super) fn corrections<'a>(bills: &Bills<'a>, documents: &[&'a Document]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (invoice, Bill { charges, .. }) in by_invoice(bills, documents) {
        let documents = documents_of(invoice, documents);
        let Some(first) = documents.first() else { continue };
        for ((feature, service_start), line) in outstanding(&charges, &documents) {
            if line.is_nothing() {
                continue;
            }
            rows.push(vec![
                text(invoice.0),
                text(invoice.1),
                text(feature),
                Cell::Time(invoice.2),
                Cell::Time(service_start),
                text(&first.number),
                text(&first.currency),
                Cell::Decimal(line.quantity),
                Cell::Decimal(line.billed),
            ]);
        }
    }
    rows
}

/// The lines of a document that is issued now: none while an amount of the invoice cannot be kept.
pub(super) fn draft<'a>(bills: &Bills<'a>, documents: &[&'a Document], invoice: Invoice<'_>) -> Vec<DocumentLine> {
    let of_group = |group: &Group<'a>| (group.customer, group.subscription, group.period_start);
    if bills.groups_too_large().iter().any(|group| of_group(group) == invoice) {
        return Vec::new();
    }
    let documents = documents_of(invoice, documents);
    let charges: Vec<Charge<'a>> = bills.charges().into_iter().filter(|charge| invoice_of(charge) == invoice).collect();
    let is_correction = !documents.is_empty();
    let lines = outstanding(&charges, &documents).into_iter();
    lines
        .filter(|(_, line)| !is_correction || !line.is_nothing())
        .map(|((feature, service_start), line)| DocumentLine {
            feature: feature.to_owned(),
            service_start,
            service_end: line.service_end,
            quantity: line.quantity,
            billed: line.billed,
        })
        .collect()
}

/// The lines of documents, counted from 1.
pub(super) fn issued_lines(documents: &[&Document]) -> Vec<Row> {
    let mut numbers = BTreeSet::new();
    let mut rows = Vec::new();
    for document in documents {
        assert!(numbers.insert(&document.number), "two documents have the number {}", document.number);
        for (place, line) in (1..).zip(&document.lines) {
            rows.push(vec![
                text(&document.number),
                integer(place),
                optional(document.corrects.as_deref()),
                text(&document.customer),
                text(&document.subscription),
                text(&line.feature),
                Cell::Time(document.period_start),
                Cell::Time(line.service_start),
                Cell::Time(line.service_end),
                text(&document.currency),
                Cell::Decimal(line.quantity),
                Cell::Decimal(line.billed),
                Cell::Time(document.issued_at),
            ]);
        }
    }
    rows
}
