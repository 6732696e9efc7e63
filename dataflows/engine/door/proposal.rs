//! An epoch while it is being made: what was taken so far, and what the workers have to know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup_model::books::Books;
use trueup_model::catalog::{Catalog, Touched};
use trueup_model::charge::{Group, InvoiceKey};
use trueup_model::dictionary::Mark;
use trueup_model::fact::{Declaration, Epoch, Fact, Replay};
use trueup_model::grain::Grain;
use trueup_model::usage::{Refused, UsageBatch};
use trueup_operators::total::Billed;

use super::ahead::Ahead;
use super::receipt::Part;
use crate::engine::set_aside::{Origins, Quarantined};

/// What an epoch is made of while it is being checked.
pub(super) struct Proposal {
    pub epoch: Epoch,
    /// Before its names.
    pub mark: Mark,
    pub catalog: Catalog,
    pub touched: Touched,
    pub books: Books,
    pub invoices: BTreeSet<InvoiceKey>,
    pub offsets: BTreeMap<String, String>,
    pub facts: Vec<Fact>,
    pub batches: Vec<Arc<UsageBatch>>,
    pub refused: Vec<Quarantined>,
    pub issued: Vec<((Group, Grain), Billed)>,
    pub replays: Vec<Replay>,
    pub rows: u64,
    pub catalog_changed: bool,
    /// What was read of the journal ahead.
    pub ahead: Option<Ahead>,
    /// How many events of a backfill contradict what stands.
    pub contradicting: u64,
    /// Whether its usage is what is to stand where a backfill was taken back.
    pub restores: bool,
    /// How many inputs take no room in the quarantine any more, as their backfill was taken back.
    pub dropped: u64,
    pub parts: Vec<Part>,
}

impl Proposal {
    /// Ends changes of the catalog that follow one another, and so belong together.
    pub fn end_changes(&mut self) {
        if matches!(self.facts.last(), Some(Fact::Catalog(_))) {
            self.catalog.forget();
        }
    }

    pub fn take_usage(&mut self, usage: Arc<UsageBatch>) {
        if !usage.rows.is_empty() {
            self.rows += usage.rows.len() as u64;
            self.facts.push(Fact::Usage(usage.clone()));
            self.batches.push(usage);
        }
    }

    pub fn take_declaration(&mut self, mut declaration: Declaration, origins: &mut Origins) {
        declaration.arrival.origin = origins.shared(&declaration.arrival.origin);
        self.books.declared.insert(declaration.arrival.clone(), declaration.events);
        self.facts.push(Fact::Declared(declaration));
    }

    pub fn take_refused(&mut self, refused: Vec<Refused>, origins: &mut Origins) {
        if !refused.is_empty() {
            origins.gather(&mut self.refused, &refused, self.epoch, self.books.clock);
            self.facts.push(Fact::Refused(refused));
        }
    }

    /// Remembers what became of inputs.
    pub fn take_replays(&mut self, replays: Vec<Replay>) {
        self.replays.extend(replays.iter().cloned());
        self.facts.push(Fact::Replayed(replays));
    }

    /// How many inputs it sets aside.
    pub fn set_aside_count(&self) -> u64 {
        self.refused.last().map_or(0, |last| last.last + 1)
    }

    /// What it set aside after the first `facts` of its facts, as a sender is told.
    pub fn refused_after(&self, facts: usize) -> Vec<Arc<Refused>> {
        let of_fact =
            |fact: &Fact| if let Fact::Refused(refused) = fact { without_payloads(refused) } else { Vec::new() };
        self.facts[facts..].iter().flat_map(of_fact).collect()
    }
}

/// What a sender is told of what was set aside.
fn without_payloads(refused: &[Refused]) -> Vec<Arc<Refused>> {
    refused.iter().map(|refused| Arc::new(refused.without_payload())).collect()
}
