//! Scopes at the door, by the ids of their names.

use std::sync::Arc;

use trueup_model::backfill::{Scope, Whose};
use trueup_model::catalog::{Catalog, CustomerId, MeterId};
use trueup_model::dictionary::{Dictionary, Names, SubjectId};
use trueup_model::grain::Micros;
use trueup_model::metering::is_read;
use trueup_model::usage::{UsageBatch, UsageRow};

use crate::engine::nearest::hint;

/// A scope as it is under a catalog. It is small, whatever it has in it.
pub(super) struct Region {
    whose: WhoseId,
    meter: MeterId,
    from: Micros,
    to: Micros,
    catalog: Arc<Catalog>,
    names: Names,
}

enum WhoseId {
    /// None: nothing was ever said of it.
    Subject(Option<SubjectId>),
    Customer(CustomerId),
}

impl Region {
    /// The region of a scope; an error says which of its names nobody knows. A subject may be new: then
    /// nothing of it stands.
    pub fn of(scope: &Scope, catalog: &Arc<Catalog>, dictionary: &Dictionary) -> Result<Region, String> {
        let meter = catalog.meters.id(&scope.meter).ok_or_else(|| {
            let known = catalog.meters.iter().map(|(_, _, meter)| meter.name.as_str());
            let hint = hint(&scope.meter, known, "the view `meters` has all there are");
            format!("replaces usage of '{}', which is no meter: {hint}", scope.meter)
        })?;
        let whose = match &scope.whose {
            Whose::Subject(subject) => WhoseId::Subject(dictionary.known_subject(subject)),
            Whose::Customer(customer) => WhoseId::Customer(catalog.customers.id(customer).ok_or_else(|| {
                let known = catalog.customers.iter().map(|(_, _, customer)| customer.id.as_str());
                let hint = hint(customer, known, "the view `customers` has all there are");
                format!("replaces usage of '{customer}', who is no customer: {hint}")
            })?),
        };
        let (catalog, names) = (catalog.clone(), dictionary.names().clone());
        Ok(Region { whose, meter, from: scope.from, to: scope.to, catalog, names })
    }

    /// Whether a row asserts something in it.
    pub fn has(&self, batch: &UsageBatch, row: &UsageRow) -> bool {
        row.asserts()
            && (self.from..self.to).contains(&row.occurred_at)
            && self.is_whose(row.subject)
            && is_read(self.catalog.meters.get(self.meter), self.names.properties(row.properties), batch, row)
    }

    fn is_whose(&self, subject: SubjectId) -> bool {
        match self.whose {
            WhoseId::Subject(one) => one == Some(subject),
            WhoseId::Customer(customer) => self.catalog.owner(subject) == Some(customer),
        }
    }
}
