//! What a sender does, step by step, each again until it is acknowledged: for tests in which an engine ends
//! at any moment.
//!
//! Law: whatever was done again on the way, the views that do not tell how often something was sent are
//! the same at the end.

use std::ops::Range;

use trueup::engine::Engine;
use trueup::engine::door::{DoorError, Submission};
use trueup::engine::issue::{IssueError, Request};
use trueup::engine::view_rows::Row;
use trueup_connectors::EventReader;
use trueup_model::catalog::CatalogChange;
use trueup_model::fact::Epoch;
use trueup_sinks::view::View;
use trueup_workload::catalog::{MONTH_END, MONTH_START, Outputs, changes, customer_name};
use trueup_workload::events::TYPES;

/// Customers that there are.
const CUSTOMERS: u32 = 7;

/// A step; gives the epoch that it was acknowledged with, if it made one.
type Step = fn(&Engine) -> Result<Option<Epoch>, String>;

pub const STEPS: [Step; 10] = [
    |engine| match engine.books().catalog.plans.named("standard") {
        // It had come in before the engine ended.
        Some(_) => Ok(None),
        None => told(begin(engine)),
    },
    |engine| told(send(engine, 0..40, 0)),
    checkpoint,
    |engine| told(send(engine, 20..60, 1)),
    |engine| told(send(engine, 50..90, 0)),
    checkpoint,
    |engine| match engine.issue(&Request { customer: customer_name(3), subscription: None, period: MONTH_START }) {
        Ok((_, receipt)) => Ok(Some(receipt.epoch)),
        Err(IssueError::Nothing { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    },
    |engine| told(send(engine, 0..70, 3)),
    checkpoint,
    |engine| told(send(engine, 60..120, 2)),
];

fn told(accepted: Result<Epoch, DoorError>) -> Result<Option<Epoch>, String> {
    accepted.map(Some).map_err(|error| error.to_string())
}

fn checkpoint(engine: &Engine) -> Result<Option<Epoch>, String> {
    engine.checkpoint().map_err(|error| error.to_string())
}

/// Goes on with the steps; says how many are acknowledged when one is not.
pub fn go_on(engine: &Engine, from: usize) -> usize {
    let failed = (from..STEPS.len()).find(|&step| STEPS[step](engine).is_err());
    failed.unwrap_or(STEPS.len())
}

/// Tells the catalog.
pub fn begin(engine: &Engine) -> Result<Epoch, DoorError> {
    let is_wanted = |id: &str| (0..CUSTOMERS).any(|customer| id == customer_name(customer));
    let wanted = changes(Outputs::All).into_iter().filter(|change| match change {
        CatalogChange::Customer(customer) => is_wanted(&customer.id),
        CatalogChange::Subscription(subscription) => is_wanted(&subscription.customer),
        CatalogChange::Meter(_)
        | CatalogChange::Feature(_)
        | CatalogChange::Plan(_)
        | CatalogChange::Price { .. }
        | CatalogChange::Schema(_) => true,
    });
    let accepted = engine.accept(vec![Submission::Clock(MONTH_END), Submission::Catalog(wanted.collect())])?;
    Ok(accepted.epoch)
}

/// Sends events with these ids; all else about one follows from its id, but for its revision.
pub fn send(engine: &Engine, ids: Range<u32>, revision: u32) -> Result<Epoch, DoorError> {
    let events = events(engine, "test", ids.map(|id| (id, revision, id + revision)));
    let position = Submission::ReadTo { source: "test".to_owned(), position: revision.to_string() };
    Ok(engine.accept(vec![events, position])?.epoch)
}

/// Events by their id, revision and quantity, which come by this way.
pub fn events(engine: &Engine, way: &str, events: impl Iterator<Item = (u32, u32, u32)>) -> Submission {
    let mut reader = EventReader::new(engine.layouts(), "default", way);
    let mut batch = reader.batch();
    for (id, revision, quantity) in events {
        let event = serde_json::json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/test", "type": TYPES[id as usize % TYPES.len()],
            "subject": customer_name(id % CUSTOMERS), "time": "2026-06-05T00:00:00Z", "revision": revision,
            "retract": revision == 3 && id.is_multiple_of(2),
            "data": { "quantity": quantity.to_string(), "region": "r", "plan": "p", "model": format!("m{}", id % 3), "user": format!("u{}", id % 5) },
        });
        reader.read_line(event.to_string().as_bytes(), "here", &mut batch);
    }
    Submission::Events(batch.finish())
}

/// All views, row by row.
pub fn shown(engine: &Engine) -> Vec<(&'static str, Vec<Row>)> {
    let moment = engine.newest();
    View::ALL.iter().map(|&view| (view.name(), moment.rows(view))).collect()
}

/// The views in which nobody sees how often something was sent.
pub fn settled(engine: &Engine) -> Vec<(&'static str, Vec<Row>)> {
    let depends = ["ledger", "ingest_ledger", "quarantine", "quota_crossings"];
    shown(engine).into_iter().filter(|(view, _)| !depends.contains(view)).collect()
}
