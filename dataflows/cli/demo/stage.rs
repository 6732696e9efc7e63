//! The engine under the demo, and a record of all that it was told, for the oracle.
//!
//! Events reach the engine only as bytes, by the reader that every file and topic goes through.

use std::sync::Arc;

use trueup::engine::clock::Clock;
use trueup::engine::door::{Receipt, Submission};
use trueup::engine::issue::Request;
use trueup::engine::moment::Moment;
use trueup::engine::{Engine, Setup};
use trueup::oracle::Statement;
use trueup::retelling::Told;
use trueup_connectors::{EventReader, usage_event};
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::catalog::CatalogChange;
use trueup_model::fact::Document;
use trueup_model::grain::Micros;

use super::stream::Delivery;
use crate::cli::failure::Failure;
use crate::cli::loading::TENANT;

/// An engine, and what it was told.
pub struct Stage {
    engine: Engine,
    told: Vec<Told>,
}

impl Stage {
    /// An engine with empty books, whose time passes when it is told to.
    pub fn open(workers: usize) -> Stage {
        let setup = Setup { workers, clock: Clock::Told, ..Setup::default() };
        Stage { engine: Engine::start(setup), told: Vec::new() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Everything it was told, in order.
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// Changes the catalog; it is `clock` by now.
    pub fn change(&mut self, clock: Micros, changes: Vec<CatalogChange>) -> Result<Arc<Moment>, Failure> {
        let statements = changes.iter().cloned().map(Statement::Catalog).collect();
        let receipt = self.engine.accept(vec![Submission::Clock(clock), Submission::Catalog(changes)])?;
        self.remember(receipt, statements)
    }

    /// Delivers lines, as one epoch; it is `clock` by now.
    pub fn deliver(&mut self, clock: Micros, deliveries: &[Delivery]) -> Result<Arc<Moment>, Failure> {
        let bytes: Vec<u8> =
            deliveries.iter().flat_map(|delivery| [delivery.line.as_bytes(), b"\n"].concat()).collect();
        let origin = Origin { source: "gateway".to_owned(), ..Origin::default() };
        let arrival = Arrival::at(origin.into(), clock);
        let mut reader = EventReader::new(self.engine.layouts(), TENANT, &arrival.origin.source);
        let mut batch = reader.batch();
        let mut statements = Vec::with_capacity(deliveries.len());
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())) {
            reader.read_line(line, format_args!("line {number}"), &mut batch);
            statements.push(match usage_event(line) {
                Ok(event) => Statement::Event(event, arrival.clone()),
                Err(fault) => Statement::Refused(fault.reason, arrival.clone(), None),
            });
        }
        let receipt = self.engine.accept(vec![Submission::Clock(clock), Submission::Events(batch.finish())])?;
        self.remember(receipt, statements)
    }

    /// Issues the invoice, or what corrects it.
    pub fn issue(&mut self, request: &Request) -> Result<Document, Failure> {
        let (document, receipt) = self.engine.issue(request)?;
        self.remember(receipt, vec![Statement::Issued(document.clone())])?;
        Ok(document)
    }

    fn remember(&mut self, receipt: Receipt, statements: Vec<Statement>) -> Result<Arc<Moment>, Failure> {
        let moment = self.engine.wait(receipt.epoch)?;
        self.told.push(Told { epoch: receipt.epoch, clock: moment.books().clock, statements });
        Ok(moment)
    }
}
