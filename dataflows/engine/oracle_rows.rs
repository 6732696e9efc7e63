//! The rows of the engine as the oracle writes them.

use std::collections::{BTreeMap, BTreeSet};

use trueup_sinks::view::View;

use super::moment::Moment;
use super::view_rows::{Cell as Shown, Row};
use crate::oracle::Cell;

/// The rows of a view: of the quarantine, what the oracle knows of it.
pub fn rows(moment: &Moment, view: View) -> BTreeSet<Vec<Cell>> {
    let rows = moment.rows(view);
    match view {
        View::Quarantine => quarantine(&rows),
        _ => rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
    }
}

fn cell(cell: &Shown) -> Cell {
    match cell {
        Shown::Null => Cell::Null,
        Shown::Text(text) => Cell::Text(text.to_string()),
        Shown::Integer(number) => Cell::Integer(*number),
        Shown::Decimal(units) => Cell::Decimal(*units),
        Shown::Time(micros) => Cell::Time(*micros),
    }
}

/// What stands set aside: the reason, the source and partition, and which: the input, the event that
/// contradicts, or the subscription. And how many there are of it.
fn quarantine(rows: &[Row]) -> BTreeSet<Vec<Cell>> {
    let place = |name: &str| View::Quarantine.place(name);
    let place = |name: &str| place(name).expect("the quarantine has this column");
    let [reason, source, partition] = ["reason", "source", "partition"].map(place);
    let [epoch, input, position, state] = ["epoch", "place", "position", "state"].map(place);
    let [event_source, event_id] = ["event_source", "event_id"].map(place);
    let mut counts: BTreeMap<[String; 4], i64> = BTreeMap::new();
    for row in rows {
        let text = |column: usize| if let Shown::Text(text) = &row[column] { &**text } else { "" };
        let number = |column: usize| if let Shown::Integer(number) = row[column] { number } else { 0 };
        if text(state) != "set_aside" {
            continue;
        }
        let which = match text(reason) {
            // Its names were not kept.
            "conflict" if text(event_source).is_empty() => String::new(),
            "conflict" => format!("{} {}", text(event_source), text(event_id)),
            "amount_too_large" => text(position).to_owned(),
            _ => format!("{}/{}", number(epoch), number(input)),
        };
        let [reason, source, partition] = [reason, source, partition].map(|column| text(column).to_owned());
        *counts.entry([reason, source, partition, which]).or_default() += 1;
    }
    let row = |(name, inputs): ([String; 4], i64)| name.map(Cell::Text).into_iter().chain([Cell::Integer(inputs)]);
    counts.into_iter().map(|named| row(named).collect()).collect()
}
