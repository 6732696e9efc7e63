//! What became of all that came in: in all, and by way in and hour.

use std::collections::BTreeMap;

use trueup_model::arrival::Arrival;

use super::cell::{Cell, Row, integer, text};
use super::standing::Standing;

/// How many statements are in which state; each is in one.
pub(super) fn rows(standing: &Standing<'_>) -> Vec<Row> {
    let owners = standing.definitions.owners();
    let mut states: BTreeMap<&str, i64> = BTreeMap::new();
    for ((_, state), statements) in &standing.past {
        *states.entry(state).or_default() += statements;
    }
    *states.entry("quarantined").or_default() += standing.set_aside().count() as i64;
    for heard in standing.events.values() {
        let state = match heard.retract {
            true => "retracted",
            false if owners.contains_key(heard.event.subject.as_str()) => "counted",
            false => "waiting",
        };
        *states.entry(state).or_default() += 1;
    }
    states.retain(|_, statements| *statements > 0);
    states.insert("received", states.values().sum());
    states.into_iter().map(|(state, statements)| vec![text(state), integer(statements)]).collect()
}

/// The same by way in and hour, beside what was declared.
pub(super) fn ingest_rows(standing: &Standing<'_>) -> Vec<Row> {
    let mut arrivals: BTreeMap<&Arrival, BTreeMap<&str, i64>> = BTreeMap::new();
    for ((arrival, state), statements) in &standing.past {
        *arrivals.entry(arrival).or_default().entry(state).or_default() += statements;
    }
    for heard in standing.events.values() {
        let state = if heard.retract { "retracted" } else { "standing" };
        *arrivals.entry(heard.arrival).or_default().entry(state).or_default() += 1;
    }
    for arrival in standing.set_aside() {
        *arrivals.entry(arrival).or_default().entry("quarantined").or_default() += 1;
    }
    for arrival in standing.declared.keys() {
        arrivals.entry(arrival).or_default();
    }
    arrivals.into_iter().map(|(arrival, states)| ingest_row(standing, arrival, &states)).collect()
}

fn ingest_row(standing: &Standing<'_>, arrival: &Arrival, states: &BTreeMap<&str, i64>) -> Row {
    let of = |state: &str| states.get(state).copied().unwrap_or_default();
    let received: i64 = states.values().sum();
    let declared = standing.declared.get(arrival).map(|events| *events as i64);
    vec![
        text(&arrival.origin.source),
        text(&arrival.origin.partition),
        Cell::Time(arrival.hour),
        integer(received),
        integer(received - of("quarantined")),
        integer(of("standing")),
        integer(of("superseded")),
        integer(of("retracted")),
        integer(of("duplicate")),
        integer(of("quarantined")),
        declared.map_or(Cell::Null, integer),
        declared.map_or(Cell::Null, |declared| integer(received - declared)),
    ]
}
