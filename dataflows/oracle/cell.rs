//! One field of a row, as a test compares and shows it.

use std::fmt;

use jiff::Timestamp;

/// A field of a row of a view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A text.
    Text(String),
    /// A count, or an epoch.
    Integer(i64),
    /// A quantity or an amount, in units of 10^-12.
    Decimal(i128),
    /// An instant, in microseconds since 1970 UTC.
    Time(i64),
}

pub(super) type Row = Vec<Cell>;

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

pub(super) fn integer(count: i64) -> Cell {
    Cell::Integer(count)
}

pub(super) fn optional(found: Option<&str>) -> Cell {
    found.map_or(Cell::Null, text)
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.pad("-"),
            Cell::Text(text) => f.pad(text),
            Cell::Integer(count) => f.pad(&count.to_string()),
            Cell::Decimal(units) => f.pad(&decimal(*units)),
            Cell::Time(micros) => f.pad(&time(*micros)),
        }
    }
}

/// A number with the places it needs and no more.
fn decimal(units: i128) -> String {
    let digits = format!("{:013}", units.unsigned_abs());
    let (whole, places) = digits.split_at(digits.len() - 12);
    let places = places.trim_end_matches('0');
    let sign = if units < 0 { "-" } else { "" };
    let point = if places.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{places}")
}

fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} us"), |instant| instant.to_string())
}
