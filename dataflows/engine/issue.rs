//! Draws up documents from what the books say.
//!
//! Law: an invoice has the charges of its draft, all of them or none is issued; a correction has
//! what the books say less what was issued, line by line, so that after it nothing is outstanding.

use std::collections::HashMap;

use trueup_model::books::{Books, Issued};
use trueup_model::catalog::{FeatureId, SubscriptionId};
use trueup_model::charge::{Charge, Group, InvoiceKey, Posting};
use trueup_model::fact::{Document, DocumentLine};
use trueup_model::grain::{Grain, Micros, QUARTER_MICROS, show_micros};
use trueup_model::identity::home;
use trueup_model::lookup::Lookup;
use trueup_operators::total::Billed;

use super::door::DoorError;
use super::moment::Moment;
use super::publication::Stopped;
use super::view_rows::{AsOf, totals_of};
use crate::rating::charges;

/// What is to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// To whom.
    pub customer: String,
    /// For which subscription; none: the one that has the period.
    pub subscription: Option<String>,
    /// An instant in the billing period.
    pub period: Micros,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is no such customer or subscription, or it has no period at that time.
    #[error("customer '{customer}' has no billing period at {at}: look at the subscriptions view for what there is")]
    NoPeriod {
        /// Who.
        customer: String,
        /// When.
        at: String,
    },
    /// There is nothing to bill.
    #[error("there is nothing to issue for '{customer}': {why}")]
    Nothing {
        /// Who.
        customer: String,
        /// Why.
        why: &'static str,
    },
    /// An amount cannot be kept, so the document would leave it out.
    #[error(
        "nothing is issued for '{customer}' while the amount of '{feature}' is larger than can be kept: \
         correct the quantity or the price first"
    )]
    TooLarge {
        /// Who.
        customer: String,
        /// For what.
        feature: String,
    },
    /// The document was not accepted.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The engine stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The document for a request, as of a moment.
pub fn draw_up(moment: &Moment, request: &Request) -> Result<Document, IssueError> {
    let books = moment.books();
    let key = find_invoice(books, request)
        .ok_or_else(|| IssueError::NoPeriod { customer: request.customer.clone(), at: show_micros(request.period) })?;
    if let Some(feature) = alarm(moment, &key) {
        return Err(IssueError::TooLarge { customer: request.customer.clone(), feature });
    }
    let before = books.issued.get(&key);
    let mut lines = match before {
        Some(_) => correction_lines(moment, &key),
        None => draft_lines(moment, &key),
    };
    if lines.is_empty() {
        let why = match before {
            Some(_) => "it was issued, and nothing has changed since",
            None => "its draft has no lines",
        };
        return Err(IssueError::Nothing { customer: request.customer.clone(), why });
    }
    lines.sort_by(|a, b| (&a.feature, a.service_start).cmp(&(&b.feature, b.service_start)));
    let (period_end, currency) = period_end_and_currency(books, &key, before);
    Ok(Document {
        number: free_number(books),
        corrects: before.map(|issued| issued.number.to_string()),
        customer: request.customer.clone(),
        subscription: books.catalog.subscriptions.get(key.subscription).id.clone(),
        period_start: key.period.micros(),
        period_end: period_end.micros(),
        issued_at: books.clock,
        currency,
        lines,
    })
}

/// The next number that no document has; somebody else may have given some.
fn free_number(books: &Books) -> String {
    let mut numbers = (books.documents.len() + 1..).map(|number| format!("INV-{number:06}"));
    numbers.find(|number| !books.numbers.contains(number.as_str())).expect("numbers do not end")
}

/// The end of the period and the currency: a correction keeps those of the invoice.
fn period_end_and_currency(books: &Books, key: &InvoiceKey, before: Option<&Issued>) -> (Grain, String) {
    if let Some(issued) = before {
        return (issued.period_end, issued.currency.to_string());
    }
    let plan = &books.catalog.subscriptions.get(key.subscription).plan;
    let plan = books.catalog.plans.named(plan).expect("a subscription's plan is in the catalog");
    let period = books.period(key).expect("an invoice that has lines has a period");
    (period.to, plan.currency.code().to_owned())
}

/// The invoice that was issued for a period beginning at the requested instant, or else that of
/// the billing period that contains it.
fn find_invoice(books: &Books, request: &Request) -> Option<InvoiceKey> {
    let catalog = &books.catalog;
    let customer = catalog.customers.id(&request.customer)?;
    let is_wanted = |subscription: SubscriptionId| {
        request.subscription.as_ref().is_none_or(|wanted| catalog.subscriptions.get(subscription).id == *wanted)
    };
    let grain = Grain(u32::try_from(request.period.div_euclid(QUARTER_MICROS)).ok()?);
    let held = catalog.tenures(customer);
    let mut tenures = held.iter().filter(|tenure| is_wanted(tenure.subscription));
    let keys = tenures.clone().map(|tenure| InvoiceKey { customer, subscription: tenure.subscription, period: grain });
    if let Some(issued) = keys.into_iter().find(|key| books.issued.contains_key(key)) {
        return Some(issued);
    }
    tenures.find_map(|tenure| {
        let period = tenure.calendar.period_containing(grain)?;
        let overlaps = period.from < tenure.term.to && tenure.term.from < period.to;
        overlaps.then_some(InvoiceKey { customer, subscription: tenure.subscription, period: period.from })
    })
}

/// The postings of one kind that stand for an invoice; `kind` makes the least one of a group.
fn postings(at: &AsOf<'_>, key: &InvoiceKey, kind: impl Fn(Group) -> Posting) -> Vec<(Posting, Billed)> {
    let mut reader = at.parts[home(key.customer, at.parts.len())].postings.reader();
    let [first, last] = [0, FeatureId::MAX].map(|feature| {
        kind(Group { customer: key.customer, subscription: key.subscription, period: key.period, feature })
    });
    reader.seek(&first);
    let mut standing = Vec::new();
    while let Some((posting, ())) = reader.next().filter(|(posting, ())| **posting < last) {
        let [billed] = reader.sums(posting, &(), [at.epoch]);
        standing.extend(billed.map(|billed| (*posting, billed)));
    }
    standing
}

/// A feature of an invoice whose amount is larger than can be kept.
fn alarm(moment: &Moment, key: &InvoiceKey) -> Option<String> {
    let at = moment.as_of(moment.epoch());
    let alarms = postings(&at, key, Posting::Alarm);
    let Some((Posting::Alarm(group), _)) = alarms.first() else { return None };
    Some(at.books.catalog.features.get(group.feature).name.clone())
}

/// The charges of an invoice as lines.
fn draft_lines(moment: &Moment, key: &InvoiceKey) -> Vec<DocumentLine> {
    let at = moment.as_of(moment.epoch());
    let mut lookup = Lookup::under(at.books.clone());
    let part = &at.parts[home(key.customer, at.parts.len())];
    let groups = totals_of(part, at.epoch, key.customer);
    let groups = groups.iter().filter(|(group, _)| group.invoice() == *key);
    let charges = groups.flat_map(|(group, totals)| charges(&mut lookup, group, totals).unwrap_or_default());
    let line = |charge: Charge| DocumentLine {
        feature: at.books.catalog.features.get(charge.group.feature).name.clone(),
        service_start: charge.service.from.micros(),
        service_end: charge.service.to.micros(),
        quantity: charge.quantity,
        billed: charge.billed,
    };
    charges.map(line).collect()
}

/// What the books say less what was issued, as lines.
fn correction_lines(moment: &Moment, key: &InvoiceKey) -> Vec<DocumentLine> {
    let at = moment.as_of(moment.epoch());
    // A line ends where its charge does now, or where it did when it was issued last.
    let known = at.books.documents_of(key).flat_map(|document| document.lines.clone()).chain(draft_lines(moment, key));
    let ends: HashMap<(String, Micros), Micros> =
        known.map(|line| ((line.feature, line.service_start), line.service_end)).collect();
    let line = |(posting, billed): (Posting, Billed)| {
        let Posting::Correction(group, service) = posting else { return None };
        let place = (at.books.catalog.features.get(group.feature).name.clone(), service.micros());
        let service_end = ends.get(&place).copied().unwrap_or(place.1);
        let ((feature, service_start), Billed { quantity, money: billed, .. }) = (place, billed);
        Some(DocumentLine { feature, service_start, service_end, quantity, billed })
    };
    let corrections = postings(&at, key, |group| Posting::Correction(group, Grain(0)));
    corrections.into_iter().filter_map(line).collect()
}
