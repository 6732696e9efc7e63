//! The ledgers of an engine, as tests look at them.

use std::collections::BTreeMap;

use trueup::engine::Engine;
use trueup::engine::view_rows::Cell;
use trueup_sinks::view::View;

/// Its rows as of the newest moment, each as `state number`, in order.
pub fn ledger(engine: &Engine) -> Vec<String> {
    let said = |row: Vec<Cell>| match &row[..] {
        [Cell::Text(state), Cell::Integer(events)] => format!("{state} {events}"),
        row => panic!("{row:?}"),
    };
    let mut rows: Vec<String> = engine.newest().rows(View::Ledger).into_iter().map(said).collect();
    rows.sort();
    rows
}

/// How many inputs came in by each way and partition, in all hours together.
pub fn received(engine: &Engine) -> BTreeMap<(String, String), i64> {
    let mut received = BTreeMap::new();
    for row in engine.newest().rows(View::IngestLedger) {
        let [Cell::Text(source), Cell::Text(partition), _, Cell::Integer(inputs), ..] = &row[..] else {
            panic!("{row:?}")
        };
        *received.entry((source.to_string(), partition.to_string())).or_default() += inputs;
    }
    received
}
