//! Scopes at the door, by the ids of their names.

use std::collections::HashSet;

use trueup_model::backfill::{Scope, Whose};
use trueup_model::catalog::Catalog;
use trueup_model::dictionary::{Dictionary, PropertySetId, SubjectId};
use trueup_model::grain::Micros;
use trueup_model::metering::column_read;
use trueup_model::usage::UsageRow;

use crate::engine::nearest::hint;

/// A scope as it is under a catalog.
pub(super) struct Region {
    subjects: HashSet<SubjectId>,
    /// Whether its meter reads the events of each property set.
    reads: Vec<bool>,
    from: Micros,
    to: Micros,
}

impl Region {
    /// The region of a scope; an error says which of its names nobody knows. A subject may be new: then
    /// nothing of it stands.
    pub fn of(scope: &Scope, catalog: &Catalog, dictionary: &Dictionary) -> Result<Region, String> {
        let id = catalog.meters.id(&scope.meter).ok_or_else(|| {
            let known = catalog.meters.iter().map(|(_, _, meter)| meter.name.as_str());
            let hint = hint(&scope.meter, known, "the view `meters` has all there are");
            format!("replaces usage of '{}', which is no meter: {hint}", scope.meter)
        })?;
        let (meter, names) = (catalog.meters.get(id), dictionary.names());
        let property_sets = 0..names.property_sets() as PropertySetId;
        let reads = property_sets.map(|properties| column_read(meter, names.properties(properties)).is_some());
        let subjects = match &scope.whose {
            Whose::Subject(subject) => dictionary.known_subject(subject).into_iter().collect(),
            Whose::Customer(customer) => {
                let id = catalog.customers.id(customer).ok_or_else(|| {
                    let known = catalog.customers.iter().map(|(_, _, customer)| customer.id.as_str());
                    let hint = hint(customer, known, "the view `customers` has all there are");
                    format!("replaces usage of '{customer}', who is no customer: {hint}")
                })?;
                catalog.subjects_of(id).collect()
            }
        };
        Ok(Region { subjects, reads: reads.collect(), from: scope.from, to: scope.to })
    }

    /// Whether a row asserts something in it.
    pub fn has(&self, row: &UsageRow) -> bool {
        row.asserts()
            && (self.from..self.to).contains(&row.occurred_at)
            && self.subjects.contains(&row.subject)
            && self.reads.get(row.properties as usize).is_some_and(|reads| *reads)
    }
}
