//! Which properties of an event are kept, and in which column.
//!
//! The catalog's meters decide it. Everyone who reads events reads them by the layouts of one
//! generation, and the door refuses a batch read by an older one, so that a new meter never
//! misses a property.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::EventSchema;
use serde::{Deserialize, Serialize};

/// A property kept as an exact number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumberColumn {
    /// The property of `data`.
    pub property: String,
    /// Decimal places kept.
    pub scale: u32,
}

/// What is kept of the events of one type. Columns are the numbers, then the texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventLayout {
    /// CloudEvents `type`.
    pub event_type: String,
    /// Properties kept as numbers.
    pub numbers: Vec<NumberColumn>,
    /// Properties kept as texts of which there may be many, such as user names.
    pub texts: Vec<String>,
    /// Properties kept as dimensions, of which there are few combinations.
    pub dimensions: Vec<String>,
}

impl EventLayout {
    /// How many values a row of this type has.
    pub fn columns(&self) -> usize {
        self.numbers.len() + self.texts.len()
    }

    /// The column of a numeric property.
    pub fn number(&self, property: &str) -> Option<usize> {
        self.numbers.iter().position(|column| column.property == property)
    }

    /// The column of a text property.
    pub fn text(&self, property: &str) -> Option<usize> {
        let column = self.texts.iter().position(|text| text == property)?;
        Some(self.numbers.len() + column)
    }
}

/// The layouts of all event types as of one moment of the catalog.
#[derive(Clone, Debug, Default)]
pub struct Layouts {
    /// Grows by one whenever any layout changes.
    pub generation: u64,
    /// By event type.
    pub by_type: BTreeMap<String, Arc<EventLayout>>,
    /// What events must keep to, by event type.
    pub schemas: BTreeMap<String, Arc<EventSchema>>,
}

impl Layouts {
    /// The layout of an event type, if any meter reads it.
    pub fn of(&self, event_type: &str) -> Option<&Arc<EventLayout>> {
        self.by_type.get(event_type)
    }
}
