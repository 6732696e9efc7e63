//! Tells what the journal holds to the oracle, in the words in which it was said.
//!
//! The journal keeps events as rows: what meters read of them, with ids for names. Here they are
//! events again, each property written as a text, so that the oracle reads them by itself. What no
//! meter read when they came is not in the journal, and no view depends on it.

use std::collections::BTreeMap;

use trueup_model::arrival::Arrival;
use trueup_model::backfill::Backfill;
use trueup_model::catalog::CatalogChange;
use trueup_model::decimal;
use trueup_model::dictionary::{Dictionary, Properties};
use trueup_model::event::UsageEvent;
use trueup_model::fact::{Entry, Epoch, Fact};
use trueup_model::grain::Micros;
use trueup_model::usage::{MISSING, Refused, UsageBatch, UsageRow};

use crate::oracle::{self, Statement};

/// What was accepted at one epoch.
#[derive(Clone, Debug)]
pub struct Told {
    /// The epoch.
    pub epoch: Epoch,
    /// The billing clock then.
    pub clock: Micros,
    /// The facts.
    pub statements: Vec<Statement>,
}

/// What was asked of a backfill; what it did is for the oracle to find out.
fn asked(backfill: &Backfill) -> oracle::Backfill {
    match backfill {
        Backfill::Applied(batch) => oracle::Backfill::Apply { name: batch.name.clone(), scope: batch.scope.clone() },
        Backfill::Reverted { name, .. } => oracle::Backfill::Revert { name: name.clone() },
    }
}

/// Retells entries, from the first on.
#[derive(Debug, Default)]
pub struct Retelling {
    dictionary: Dictionary,
}

impl Retelling {
    /// The next entry.
    pub fn retell(&mut self, entry: &Entry) -> Told {
        self.dictionary.learn(&entry.names);
        // What follows from a backfill the oracle works out by itself.
        let mut follows = false;
        let told = entry.facts.iter().filter(|fact| {
            let is_told = !(follows && matches!(fact, Fact::Usage(_)));
            follows |= matches!(fact, Fact::Backfill(_));
            is_told
        });
        let statements = told.flat_map(|fact| self.statements(fact, entry.clock)).collect();
        Told { epoch: entry.epoch, clock: entry.clock, statements }
    }

    /// What a fact of an entry with this clock says.
    fn statements(&self, fact: &Fact, clock: Micros) -> Vec<Statement> {
        match fact {
            Fact::Usage(batch) => batch
                .rows
                .iter()
                .enumerate()
                .map(|(place, row)| Statement::Event(self.event(batch, place, row), batch.arrival()))
                .collect(),
            Fact::Refused(refused) => {
                let arrival = |refused: &Refused| Arrival::at(refused.origin(), clock);
                let name = |refused: &Refused| refused.event_source.clone().zip(refused.event_id.clone());
                let told = |refused: &Refused| Statement::Refused(refused.reason, arrival(refused), name(refused));
                refused.iter().map(told).collect()
            }
            Fact::Replayed(replays) => vec![Statement::Replayed(replays.clone())],
            Fact::Declared(declaration) => vec![Statement::Declared(declaration.clone())],
            // What schemas refused was refused when it was read, and only what meters read is kept of the rest.
            Fact::Catalog(CatalogChange::Schema(_)) => Vec::new(),
            Fact::Catalog(change) => vec![Statement::Catalog(change.clone())],
            Fact::Issued(document) => vec![Statement::Issued(document.clone())],
            Fact::Backfill(backfill) => {
                vec![Statement::Backfill(asked(backfill), Arrival::at(backfill.origin(), clock))]
            }
        }
    }

    fn event(&self, batch: &UsageBatch, place: usize, row: &UsageRow) -> UsageEvent {
        let names = self.dictionary.names();
        let properties = names.properties(row.properties);
        // Without its names an event is known by its identity alone.
        let (source, id) = match batch.ids.get(place) {
            Some((source, id)) => (source.to_owned(), id.to_owned()),
            None => (String::new(), format!("{:?}", row.identity)),
        };
        UsageEvent {
            source,
            id,
            event_type: properties.layout.event_type.clone(),
            subject: names.subject(row.subject).to_owned(),
            occurred_at: row.occurred_at,
            revision: row.revision,
            retract: !row.asserts(),
            data: if row.asserts() { self.data(batch, row, properties) } else { BTreeMap::new() },
        }
    }

    /// The properties that were read, as texts.
    fn data(&self, batch: &UsageBatch, row: &UsageRow, properties: &Properties) -> BTreeMap<String, String> {
        let Properties { layout, dimensions } = properties;
        let value = |place| Some(batch.value(row, place)).filter(|value| *value != MISSING);
        let numbers =
            layout.numbers.iter().zip(0..).filter_map(|(column, place)| {
                Some((column.property.clone(), decimal::show(value(place)?, column.scale)))
            });
        let texts = layout.texts.iter().zip(layout.numbers.len()..).filter_map(|(property, place)| {
            let text = u32::try_from(value(place)?).expect("a text is kept as its id");
            Some((property.clone(), self.dictionary.names().text(text).to_owned()))
        });
        let dimensions = layout
            .dimensions
            .iter()
            .zip(dimensions)
            .filter_map(|(property, value)| Some((property.clone(), value.as_deref()?.to_owned())));
        numbers.chain(texts).chain(dimensions).collect()
    }
}
