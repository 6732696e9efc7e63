//! Draws up documents from what the books say.

use trueup_model::books::Books;
use trueup_model::catalog::Plan;
use trueup_model::charge::{Charge, Group, InvoiceKey};
use trueup_model::fact::{Document, DocumentLine};
use trueup_model::grain::{Grain, Micros, show_micros};
use trueup_operators::total::Gap;

use super::door::DoorError;
use super::moment::Moment;
use super::publication::Stopped;
use super::view_rows::each_record;

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
    let key = find_invoice(books, request).ok_or_else(|| IssueError::NoPeriod {
        customer: request.customer.clone(),
        at: show_micros(request.period),
    })?;
    let corrects = books.issued.get(&key).map(|issued| issued.number.to_string());
    let mut lines = if corrects.is_some() { correction_lines(moment, &key) } else { draft_lines(moment, &key) };
    if lines.is_empty() {
        let why = if corrects.is_some() { "it was issued, and nothing has changed since" } else { "its draft has no lines" };
        return Err(IssueError::Nothing { customer: request.customer.clone(), why });
    }
    lines.sort_by(|a, b| (&a.feature, a.service_start).cmp(&(&b.feature, b.service_start)));
    let period = books.period(&key).expect("the invoice was found in its period");
    Ok(Document {
        number: format!("INV-{:06}", books.documents.len() + 1),
        corrects,
        customer: request.customer.clone(),
        subscription: books.catalog.subscriptions.get(key.subscription).id.clone(),
        period_start: period.from.micros(),
        period_end: period.to.micros(),
        issued_at: books.clock,
        currency: plan(books, &key).map_or_else(String::new, |plan| plan.currency.code().to_owned()),
        lines,
    })
}

fn plan<'a>(books: &'a Books, key: &InvoiceKey) -> Option<&'a Plan> {
    books.catalog.plans.named(&books.catalog.subscriptions.get(key.subscription).plan).map(|plan| &**plan)
}

/// The invoice of the billing period that contains the requested instant.
fn find_invoice(books: &Books, request: &Request) -> Option<InvoiceKey> {
    let catalog = &books.catalog;
    let customer = catalog.customers.id(&request.customer)?;
    let grain = Grain(u32::try_from(request.period.div_euclid(trueup_model::grain::QUARTER_MICROS)).ok()?);
    for tenure in catalog.tenures(customer) {
        let is_wanted = request.subscription.as_ref().is_none_or(|wanted| {
            catalog.subscriptions.get(tenure.subscription).id == *wanted
        });
        let Some(period) = tenure.calendar.period_containing(grain).filter(|_| is_wanted) else { continue };
        if period.from < tenure.term.to && tenure.term.from < period.to {
            return Some(InvoiceKey { customer, subscription: tenure.subscription, period: period.from });
        }
    }
    None
}

fn draft_lines(moment: &Moment, key: &InvoiceKey) -> Vec<DocumentLine> {
    let at = moment.as_of(moment.epoch());
    let mut lines = Vec::new();
    for part in at.parts {
        each_record(&part.charges, at.epoch, |charge: &Charge, _: i64| {
            if charge.group.invoice() == *key {
                lines.push(DocumentLine {
                    feature: at.books.catalog.features.get(charge.group.feature).name.clone(),
                    service_start: charge.service.from.micros(),
                    service_end: charge.service.to.micros(),
                    quantity: charge.quantity,
                    billed: charge.billed,
                });
            }
            true
        });
    }
    lines
}

fn correction_lines(moment: &Moment, key: &InvoiceKey) -> Vec<DocumentLine> {
    let at = moment.as_of(moment.epoch());
    let mut lines = Vec::new();
    for part in at.parts {
        each_record(&part.corrections, at.epoch, |(group, service): &(Group, Grain), gap: Gap| {
            if group.invoice() == *key {
                let end = at.books.service(group, *service).map_or(*service, |service| service.to);
                lines.push(DocumentLine {
                    feature: at.books.catalog.features.get(group.feature).name.clone(),
                    service_start: service.micros(),
                    service_end: end.micros(),
                    quantity: gap.quantity,
                    billed: gap.billed,
                });
            }
            true
        });
    }
    lines
}
