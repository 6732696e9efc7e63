//! What is known of an event, as it was read once.
//!
//! What meters ask for changes, and with it what is read of an event that is sent again. Two readings of one
//! statement agree in all that both know, and the one that knows more is worth more.

use crate::dictionary::Properties;
use crate::layout::NumberColumn;
use crate::money::quantity_units;
use crate::usage::{MISSING, UsageBatch, UsageRow};

/// What an assertion says beside another of the same event and revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The same, or less of it.
    Same,
    /// The same, and something of which the other does not tell.
    More,
    /// Something else.
    Other,
}

/// A row with all it takes to understand its values.
pub(crate) struct Reading<'a> {
    /// The batch of the row.
    pub batch: &'a UsageBatch,
    /// The row.
    pub row: &'a UsageRow,
    /// The layout by which it was read, and its dimensions.
    pub properties: &'a Properties,
}

impl<'a> Reading<'a> {
    /// Whether another is of the same type, and the same where both know something.
    pub fn agrees(&self, other: &Reading<'_>) -> bool {
        let is_same_number = |(column, units): (&NumberColumn, i128)| {
            let of_property = |(known, _): &(&NumberColumn, i128)| known.property == column.property;
            other.numbers().filter(of_property).all(|(_, known)| known == units)
        };
        let is_same_text =
            |(property, text): (&str, i128)| other.texts().all(|(known, there)| known != property || there == text);
        let is_same_dimension = |(property, value): (&str, Option<&str>)| {
            other.dimensions().all(|(known, there)| known != property || there == value)
        };
        self.properties.layout.event_type == other.properties.layout.event_type
            && self.numbers().all(is_same_number)
            && self.texts().all(is_same_text)
            && self.dimensions().all(is_same_dimension)
    }

    /// Whether it knows something that another does not.
    pub fn knows_more(&self, other: &Reading<'_>) -> bool {
        self.numbers().any(|(column, _)| other.numbers().all(|(known, _)| known != column))
            || self.texts().any(|(property, _)| other.texts().all(|(known, _)| known != property))
            || self.dimensions().any(|(property, _)| other.dimensions().all(|(known, _)| known != property))
    }

    /// The numbers that it has, in units of 10^-12.
    fn numbers(&self) -> impl Iterator<Item = (&'a NumberColumn, i128)> {
        let columns = self.properties.layout.numbers.iter();
        columns.zip(self.values()).filter(|(_, value)| *value != MISSING).map(with_units)
    }

    /// The texts that it has, by their ids.
    fn texts(&self) -> impl Iterator<Item = (&'a str, i128)> {
        let layout = &self.properties.layout;
        let texts = layout.texts.iter().map(String::as_str);
        texts.zip(self.values().skip(layout.numbers.len())).filter(|(_, text)| *text != MISSING)
    }

    /// The dimensions by which it was read, and those of them that it has.
    fn dimensions(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let Properties { layout, dimensions } = self.properties;
        layout.dimensions.iter().map(String::as_str).zip(dimensions.iter().map(Option::as_deref))
    }

    fn values(&self) -> impl Iterator<Item = i128> + use<'a> {
        let (batch, row) = (self.batch, self.row);
        (0..self.properties.layout.columns()).map(|column| batch.value(row, column))
    }
}

fn with_units((column, value): (&NumberColumn, i128)) -> (&NumberColumn, i128) {
    (column, quantity_units(value, column.scale))
}
