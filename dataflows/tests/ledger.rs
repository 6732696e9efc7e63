//! The ledger of an engine, as tests look at it.

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
