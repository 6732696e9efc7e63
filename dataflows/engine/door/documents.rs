//! Documents at the door: what is issued enters the books, and the catalog must keep to it.

use std::sync::Arc;

use imbl::Vector;
use trueup_model::books::{Books, Issued};
use trueup_model::catalog::{Catalog, CatalogError, Touched};
use trueup_model::charge::{Group, InvoiceKey};
use trueup_model::fact::{Document, Fact};
use trueup_model::grain::{Grain, Micros};
use trueup_operators::total::Billed;

use super::{DoorError, Proposal};

/// Whether what was issued to whom a change touches would still be billed in its currency. Its
/// corrections are in that currency, and one is not subtracted from another.
pub(super) fn keeps_currencies(catalog: &Catalog, books: &Books, touched: &Touched) -> Result<(), CatalogError> {
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
pub(super) fn take_document(proposal: &mut Proposal, document: Document) -> Result<(), DoorError> {
    let refuse = |why: &str| DoorError::Document { number: document.number.clone(), why: why.to_owned() };
    let catalog = &proposal.catalog;
    let customer =
        catalog.customers.id(&document.customer).ok_or_else(|| refuse("its customer is not in the catalog"))?;
    let subscription = catalog.subscriptions.id(&document.subscription);
    let subscription = subscription.ok_or_else(|| refuse("its subscription is not in the catalog"))?;
    let edge = |at: Micros| Grain::at_edge(at).ok_or_else(|| refuse("one of its times is no grain edge"));
    let key = InvoiceKey { customer, subscription, period: edge(document.period_start)? };
    let before = proposal.books.issued.get(&key).cloned();
    if catalog.subscriptions.get(subscription).customer != document.customer {
        return Err(refuse("its subscription is another customer's"));
    }
    if proposal.books.numbers.contains(document.number.as_str()) {
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
        proposal.issued.push(((group, edge(line.service_start)?), billed));
    }
    let total = before.as_ref().map_or(0, |issued| issued.total) + document.total();
    let place = proposal.books.documents.len();
    let issued = match before {
        Some(mut issued) => {
            issued.documents.push_back(place);
            Issued { total, ..issued }
        }
        None => Issued {
            number: document.number.as_str().into(),
            total,
            period_end: edge(document.period_end)?,
            currency: document.currency.as_str().into(),
            documents: Vector::unit(place),
        },
    };
    proposal.books.numbers.insert(document.number.as_str().into());
    proposal.books.issued.insert(key, issued);
    proposal.books.documents.push_back(Arc::new(document.clone()));
    proposal.invoices.insert(key);
    proposal.facts.push(Fact::Issued(document));
    Ok(())
}
