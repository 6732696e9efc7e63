//! What a journal tells of backfills and of names, read entry by entry beside whoever writes it: nothing is
//! computed for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use imbl::OrdMap;
use trueup::engine::nearest::hint;
use trueup_connectors::journal::{FileJournal, Journal, Settings};
use trueup_model::backfill::{Applied, Scope, Whose, enter};
use trueup_model::catalog::{CatalogChange, Customer};
use trueup_model::fact::{Entry, Fact};

use crate::cli::failure::Failure;
use crate::cli::loading::read_changes;
use crate::cli::resume::aside;

/// What is known.
#[derive(Default)]
pub struct Known {
    backfills: OrdMap<Arc<str>, Applied>,
    meters: BTreeSet<String>,
    /// By id, as they were defined last.
    customers: BTreeMap<String, Customer>,
    /// Whom events or customers name as the user.
    subjects: BTreeSet<String>,
}

impl Known {
    /// What a journal tells.
    pub fn of(journal: &Path) -> Result<Known, Failure> {
        let opened = FileJournal::open_on(aside(journal)?, Settings::default());
        let (journal, _) = opened.map_err(|error| Failure::input(&error))?;
        let mut known = Known::default();
        for entry in journal.entries(1) {
            known.learn(&*entry.map_err(|error| Failure::input(&error))?);
        }
        Ok(known)
    }

    /// The same, and what a folder of a catalog would add.
    pub fn with_catalog(mut self, folder: &Path) -> Result<Known, Failure> {
        for (change, _) in read_changes(folder)? {
            self.define(&change);
        }
        Ok(self)
    }

    /// The backfills that were applied.
    pub fn backfills(&self) -> &OrdMap<Arc<str>, Applied> {
        &self.backfills
    }

    fn learn(&mut self, entry: &Entry) {
        self.subjects.extend(entry.names.subjects.iter().map(ToString::to_string));
        for fact in &entry.facts {
            match fact {
                Fact::Backfill(backfill) => enter(&mut self.backfills, entry.epoch, backfill),
                Fact::Catalog(change) => self.define(change),
                Fact::Usage(_) | Fact::Refused(_) | Fact::Issued(_) | Fact::Declared(_) | Fact::Replayed(_) => {}
            }
        }
    }

    fn define(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::Meter(meter) => drop(self.meters.insert(meter.name.to_string())),
            CatalogChange::Customer(customer) => drop(self.customers.insert(customer.id.clone(), customer.clone())),
            CatalogChange::Feature(_)
            | CatalogChange::Plan(_)
            | CatalogChange::Price { .. }
            | CatalogChange::Subscription(_)
            | CatalogChange::Schema(_) => {}
        }
    }

    /// Refuses the name of a batch that was applied.
    pub fn check_name(&self, name: &str) -> Result<(), Failure> {
        let Some(applied) = self.backfills.get(name) else { return Ok(()) };
        let taken_back = if applied.reverted.is_some() { ", and taken back" } else { "" };
        Err(Failure::Input(format!(
            "backfill '{name}' was applied as epoch {}{taken_back}, and each name is applied once: stage under another name",
            applied.epoch
        )))
    }

    /// Refuses a scope whose meter or customer nobody knows.
    pub fn check(&self, scope: &Scope) -> Result<(), Failure> {
        let elsewhere = "`trueup check` tells what a catalog defines";
        if !self.meters.contains(&scope.meter) {
            let hint = hint(&scope.meter, self.meters.iter().map(String::as_str), elsewhere);
            return Err(Failure::Input(format!("there is no meter '{}': {hint}", scope.meter)));
        }
        match &scope.whose {
            Whose::Customer(customer) if !self.customers.contains_key(customer) => {
                let hint = hint(customer, self.customers.keys().map(String::as_str), elsewhere);
                Err(Failure::Input(format!("there is no customer '{customer}': {hint}")))
            }
            Whose::Customer(_) | Whose::Subject(_) => Ok(()),
        }
    }

    /// The zone in which somebody's days begin: UTC where that is of nobody who is known.
    pub fn zone(&self, whose: &Whose) -> &str {
        let customer = match whose {
            Whose::Customer(id) => self.customers.get(id),
            Whose::Subject(subject) => self.customers.values().find(|customer| customer.subjects.contains(subject)),
        };
        customer.map_or("UTC", |customer| &customer.zone)
    }

    /// Says that nothing is known of the subject of a scope, where that is so. It may be new, so it is not
    /// refused; mistyped, it would displace nothing.
    pub fn doubt(&self, scope: &Scope) -> Option<String> {
        let Whose::Subject(subject) = &scope.whose else { return None };
        let is_unheard_of = !self.subjects.contains(subject);
        let hint = || hint(subject, self.subjects.iter().map(String::as_str), "it may be new");
        is_unheard_of.then(|| {
            format!("nothing is known of subject '{subject}', so nothing of it would be displaced: {}", hint())
        })
    }
}
