//! What became of the inputs, as commands report it.

use std::collections::BTreeMap;

use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup_sinks::view::View;

use super::words;

/// How many inputs are in each state, by its name in the ledger view.
pub fn states(moment: &Moment) -> BTreeMap<String, i64> {
    let state = |row: Row| match &row[..] {
        [Cell::Text(state), Cell::Integer(events)] => Some((state.to_string(), *events)),
        _ => None,
    };
    moment.rows(View::Ledger).into_iter().filter_map(state).collect()
}

/// Says on stderr how many inputs were set aside, if any were.
pub fn tell_set_aside(moment: &Moment) {
    let inputs = quarantined(moment);
    if inputs > 0 {
        eprintln!("trueup: {}: the quarantine view says which and why", words::set_aside(inputs));
    }
}

/// How many inputs were set aside.
pub fn quarantined(moment: &Moment) -> i64 {
    states(moment).get("quarantined").copied().unwrap_or_default()
}
