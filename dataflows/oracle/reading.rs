//! What the meters read from the events that stand.
//!
//! A reading is one event as one meter sees it: the meter's dimensions, and its value.

use std::collections::BTreeMap;

use trueup_model::catalog::Customer;
use trueup_model::meter::{Filter, Meter};

use super::days::{self, Tiling};
use super::standing::{Heard, Standing};

/// One event as one meter sees it.
#[derive(Clone, Debug)]
pub(super) struct Reading<'a> {
    pub meter: &'a Meter,
    pub subject: &'a str,
    pub customer: Option<&'a Customer>,
    pub occurred_at: i64,
    /// Where its grain begins.
    pub grain: i64,
    /// How long its grain is, in microseconds.
    pub grain_length: i64,
    /// The meter's dimensions that the event has.
    pub dimensions: BTreeMap<&'a str, &'a str>,
    pub value: Value<'a>,
}

/// What a meter takes from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value<'a> {
    /// That it happened.
    Once,
    /// A number, in units of 10^-12.
    Number(i128),
    /// A text.
    Text(&'a str),
}

/// Every reading of every standing event.
pub(super) struct Readings<'a> {
    pub all: Vec<Reading<'a>>,
    /// The days of each customer's zone, by its id.
    pub days: BTreeMap<&'a str, Tiling>,
}

impl<'a> Readings<'a> {
    pub fn of(standing: &'a Standing<'a>) -> Readings<'a> {
        let definitions = &standing.definitions;
        let owners = definitions.owners();
        let customers = definitions.customers.values();
        let grains: BTreeMap<&str, i64> =
            customers.clone().map(|customer| (customer.id.as_str(), days::grain_length(&customer.zone))).collect();
        let mut by_type: BTreeMap<&str, Vec<&Meter>> = BTreeMap::new();
        for meter in definitions.meters.values() {
            by_type.entry(&meter.event_type).or_default().push(meter);
        }
        let mut all = Vec::new();
        for heard in standing.events.values().filter(|heard| !heard.retract) {
            let customer = owners.get(heard.event.subject.as_str()).copied();
            let grain_length = customer.map_or(days::HOUR, |customer| grains[customer.id.as_str()]);
            for meter in by_type.get(heard.event.event_type.as_str()).into_iter().flatten() {
                all.extend(read(meter, heard, customer, grain_length));
            }
        }
        Readings { all, days: customers.map(|customer| (customer.id.as_str(), Tiling::days(&customer.zone))).collect() }
    }
}

fn read<'a>(
    meter: &'a Meter,
    heard: &'a Heard<'a>,
    customer: Option<&'a Customer>,
    grain_length: i64,
) -> Option<Reading<'a>> {
    let known = |name: &'a String| Some((name.as_str(), (*heard.dimensions.get(name)?)?));
    let dimensions: BTreeMap<&str, &str> = meter.dimensions.iter().filter_map(known).collect();
    if !meets(&meter.filter, &dimensions) {
        return None;
    }
    let value = match &meter.property {
        None => Value::Once,
        // With other places it means something else.
        Some(property) if meter.aggregation.reads_number() => {
            Value::Number(*heard.numbers.get(&(property.clone(), meter.scale))?)
        }
        Some(property) => Value::Text(heard.texts.get(property)?),
    };
    let occurred_at = heard.event.occurred_at;
    Some(Reading {
        meter,
        subject: &heard.event.subject,
        customer,
        occurred_at,
        grain: occurred_at - occurred_at.rem_euclid(grain_length),
        grain_length,
        dimensions,
        value,
    })
}

/// Whether a meter reads an event.
pub(super) fn is_read(meter: &Meter, heard: &Heard<'_>) -> bool {
    heard.event.event_type == meter.event_type && read(meter, heard, None, days::HOUR).is_some()
}

/// Whether each property that the filter names is there and has one of its values.
pub(super) fn meets(filter: &Filter, dimensions: &BTreeMap<&str, &str>) -> bool {
    filter.iter().all(|(name, allowed)| match dimensions.get(name.as_str()) {
        Some(value) => allowed.iter().any(|one| one == value),
        None => false,
    })
}
