//! Which properties of an event are kept, and in which column.
//!
//! The catalog's meters decide it. Everyone who reads events reads them by the layouts of one
//! generation, and the door refuses a batch read by an older one, so that a new meter never
//! misses a property.
//!
//! What a meter once asked for is read on when no meter asks for it any more: so a change of a meter
//! that is taken back has cost nothing, whatever came meanwhile. An event need not have it then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::EventSchema;
use crate::meter::Meter;
use serde::{Deserialize, Serialize};

/// A property kept as an exact number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NumberColumn {
    /// The property of `data`.
    pub property: String,
    /// Decimal places kept.
    pub scale: u32,
}

impl NumberColumn {
    /// The number that a meter reads, if it reads one.
    pub fn read_by(meter: &Meter) -> Option<NumberColumn> {
        let property = meter.property.clone().filter(|_| meter.aggregation.reads_number())?;
        Some(NumberColumn { property, scale: meter.scale })
    }
}

/// What is kept of the events of one type. Columns are the numbers, then the texts; each kind in the order
/// of its names, so that layouts of the same properties are the same. (Those of journals that were written
/// before version 4 may have another order.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// What meters of this type ask for.
    pub fn asked_by<'m>(event_type: &str, meters: impl IntoIterator<Item = &'m Meter>) -> EventLayout {
        let (mut numbers, mut texts, mut dimensions) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for meter in meters {
            dimensions.extend(&meter.dimensions);
            match (&meter.property, NumberColumn::read_by(meter)) {
                (_, Some(column)) => drop(numbers.insert(column)),
                (Some(text), None) => drop(texts.insert(text)),
                (None, None) => {}
            }
        }
        EventLayout {
            event_type: event_type.to_owned(),
            numbers: numbers.into_iter().collect(),
            texts: texts.into_iter().cloned().collect(),
            dimensions: dimensions.into_iter().cloned().collect(),
        }
    }

    /// What either keeps.
    pub fn with(&self, other: &EventLayout) -> EventLayout {
        EventLayout {
            event_type: self.event_type.clone(),
            numbers: both(&self.numbers, &other.numbers),
            texts: both(&self.texts, &other.texts),
            dimensions: both(&self.dimensions, &other.dimensions),
        }
    }

    /// What it keeps of other properties than these.
    pub fn without(mut self, properties: &BTreeSet<&str>) -> EventLayout {
        self.numbers.retain(|column| !properties.contains(&*column.property));
        self.texts.retain(|property| !properties.contains(&**property));
        self.dimensions.retain(|property| !properties.contains(&**property));
        self
    }

    /// Whether it keeps something of a property.
    pub fn reads(&self, property: &str) -> bool {
        let texts = self.texts.iter().chain(&self.dimensions);
        self.numbers.iter().map(|column| &column.property).chain(texts).any(|kept| kept == property)
    }

    /// The column of a property as a number of this scale: at another it means something else.
    pub fn number(&self, property: &str, scale: u32) -> Option<usize> {
        self.numbers.iter().position(|column| column.property == property && column.scale == scale)
    }

    /// The column of a text property.
    pub fn text(&self, property: &str) -> Option<usize> {
        let column = self.texts.iter().position(|text| text == property)?;
        Some(self.numbers.len() + column)
    }
}

/// How events of each type are to be read, as of one moment of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layouts {
    /// Grows by one whenever anything of it changes.
    pub generation: u64,
    /// What is kept of the types that some meter reads.
    pub by_type: BTreeMap<String, Arc<EventLayout>>,
    /// What of that meters ask for today; the rest is read on, where it is there. Of a type that is not in here
    /// all is asked for.
    pub asked: BTreeMap<String, Arc<EventLayout>>,
    /// What events must keep to, by event type.
    pub schemas: BTreeMap<String, Arc<EventSchema>>,
}

impl Layouts {
    /// What of a layout meters ask for today.
    pub fn asked_of<'a>(&'a self, layout: &'a Arc<EventLayout>) -> &'a Arc<EventLayout> {
        self.asked.get(&layout.event_type).unwrap_or(layout)
    }

    /// The layout of an event type, if any meter reads it.
    pub fn of(&self, event_type: &str) -> Option<&Arc<EventLayout>> {
        self.by_type.get(event_type)
    }
}

/// What is in either, once, in order.
fn both<C: Clone + Ord>(one: &[C], other: &[C]) -> Vec<C> {
    one.iter().chain(other).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}
