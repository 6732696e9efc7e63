//! How events become a quantity.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How the values of a meter's events make one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// How many events.
    Count,
    /// The sum of their values.
    Sum,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The sum divided by the number of events, rounded half to even at the meter's scale.
    Average,
    /// The value of the event that occurred last; among equals in time, the greatest value.
    Latest,
    /// How many different texts.
    UniqueCount,
}

impl Aggregation {
    /// Whether the quantity of a whole follows from sums over its parts.
    pub fn is_additive(self) -> bool {
        matches!(self, Aggregation::Count | Aggregation::Sum | Aggregation::Average)
    }

    /// Whether it reads a property as a number.
    pub fn reads_number(self) -> bool {
        !matches!(self, Aggregation::Count | Aggregation::UniqueCount)
    }
}

/// A condition on dimensions: every named property has one of the listed values.
pub type Filter = BTreeMap<String, BTreeSet<String>>;

/// Whether `dimensions` meets `filter`; a property that is absent meets nothing.
pub fn matches<'a>(filter: &Filter, dimension: impl Fn(&str) -> Option<&'a str>) -> bool {
    filter.iter().all(|(name, allowed)| dimension(name).is_some_and(|value| allowed.contains(value)))
}

/// A meter: which events, which value, how aggregated, split by which dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Its name.
    pub name: String,
    /// The CloudEvents `type` of the events it counts.
    pub event_type: String,
    /// How values become a quantity.
    pub aggregation: Aggregation,
    /// The property of `data` that holds the value; none for a count.
    pub property: Option<String>,
    /// Decimal places of its quantities, 0 to 12; a value with more is refused.
    pub scale: u32,
    /// Properties by which usage is kept apart.
    pub dimensions: Vec<String>,
    /// Which events count, by their dimensions; it may name only `dimensions`.
    pub filter: Filter,
    /// Properties that are read no more of events of its type, unless a meter asks for them: those that a meter
    /// asked for once are read on otherwise.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forget: BTreeSet<String>,
}

impl Meter {
    /// The meter that counts all events of a type, undivided.
    pub fn counting(name: &str, event_type: &str) -> Meter {
        Meter {
            name: name.to_owned(),
            event_type: event_type.to_owned(),
            aggregation: Aggregation::Count,
            property: None,
            scale: 0,
            dimensions: Vec::new(),
            filter: Filter::new(),
            forget: BTreeSet::new(),
        }
    }

    /// Whether it makes the same of the same events as another.
    pub fn measures_as(&self, other: &Meter) -> bool {
        let Meter { name: _, event_type, aggregation, property, scale, dimensions, filter, forget: _ } = self;
        (event_type, aggregation, property) == (&other.event_type, &other.aggregation, &other.property)
            && (scale, dimensions, filter) == (&other.scale, &other.dimensions, &other.filter)
    }
}
