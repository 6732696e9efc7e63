//! Which meters an event feeds, worked out once per property set rather than per event.
//!
//! `Metering` is a value: the contributions of a row are a function of the row and of it. When
//! meters or customers' zones change, there is a new one, and `Metering::changes` says whose
//! contributions differ, so that just those events are metered again.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdSet, Vector};

use crate::catalog::Catalog;
use crate::dictionary::{Dictionary, Names, Properties, PropertySetId, Series, SeriesId, SubjectId};
use crate::grain::{GrainStep, Micros};
use crate::layout::{EventLayout, NumberColumn};
use crate::meter::{Aggregation, Meter, matches};
use crate::money::ONE;
use crate::usage::{UsageBatch, UsageRow};

/// Usage of one subject in one series during one grain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct UsageKey {
    /// Who used it.
    pub subject: SubjectId,
    /// What, of which kind.
    pub series: SeriesId,
    /// When: a grain of the subject.
    pub grain: crate::grain::Grain,
}

impl UsageKey {
    /// Its parts in one number, the first the most significant: numbers compare in one step,
    /// and usage keys are what is sorted most.
    #[inline]
    fn packed(&self) -> u128 {
        (u128::from(self.subject) << 64) | (u128::from(self.series) << 32) | u128::from(self.grain.0)
    }
}

impl Ord for UsageKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.packed().cmp(&other.packed())
    }
}

impl PartialOrd for UsageKey {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.packed() < other.packed()
    }
}

/// One meter fed by the events of a property set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The series their usage belongs to.
    pub series: SeriesId,
    /// How their values are aggregated.
    pub aggregation: Aggregation,
    /// The column of the value; 0 for a count.
    pub column: usize,
}

/// Where the events of each property set go.
#[derive(Clone, Debug, Default)]
pub struct Metering {
    properties: Vector<Arc<Properties>>,
    routes: Vector<Arc<[Route]>>,
    quarterly: OrdSet<SubjectId>,
}

/// Whose contributions differ between two meterings.
#[derive(Clone, Debug, Default)]
pub struct MeteringChanges {
    /// Events with these properties.
    pub properties: BTreeSet<PropertySetId>,
    /// Events of these subjects.
    pub subjects: BTreeSet<SubjectId>,
}

impl MeteringChanges {
    /// Whether no event is metered otherwise than before.
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.subjects.is_empty()
    }
}

impl Metering {
    /// The meters fed by events with these properties.
    pub fn routes(&self, properties: PropertySetId) -> &Arc<[Route]> {
        &self.routes[properties as usize]
    }

    /// How many property sets have routes.
    pub fn property_sets(&self) -> usize {
        self.routes.len()
    }

    /// The length of a subject's grains.
    pub fn step(&self, subject: SubjectId) -> GrainStep {
        if !self.quarterly.is_empty() && self.quarterly.contains(&subject) {
            GrainStep::Quarter
        } else {
            GrainStep::Hour
        }
    }

    /// The key under which a value of this subject and series at this instant is kept.
    pub fn key(&self, subject: SubjectId, series: SeriesId, occurred_at: Micros) -> UsageKey {
        UsageKey { subject, series, grain: self.step(subject).grain(occurred_at) }
    }

    /// Whether two rows, each with its batch, were read by different layouts and agree in all that
    /// both were read for: the same statement, read before meters asked for other properties and
    /// since.
    pub fn is_reread(&self, one: (&UsageBatch, &UsageRow), other: (&UsageBatch, &UsageRow)) -> bool {
        let ((batch, row), (other_batch, other_row)) = (one, other);
        if row.properties == other_row.properties
            || (row.subject, row.occurred_at) != (other_row.subject, other_row.occurred_at)
        {
            return false;
        }
        let [this, that] = [row, other_row].map(|row| &self.properties[row.properties as usize]);
        let is_same_number = |column: &NumberColumn, place: usize| {
            let Some(there) = that.layout.number(&column.property) else { return true };
            let scale = that.layout.numbers[there].scale;
            quantity_units(batch.value(row, place), column.scale)
                == quantity_units(other_batch.value(other_row, there), scale)
        };
        let is_same_text = |text: &str| {
            let [here, there] = [this, that].map(|properties| properties.layout.text(text));
            let values =
                here.zip(there).map(|(here, there)| (batch.value(row, here), other_batch.value(other_row, there)));
            values.is_none_or(|(here, there)| here == there)
        };
        let is_same_dimension = |name: &String, value: &Option<Box<str>>| {
            let there = that.layout.dimensions.iter().position(|dimension| dimension == name);
            there.is_none_or(|there| that.dimensions[there] == *value)
        };
        this.layout != that.layout
            && this.layout.event_type == that.layout.event_type
            && this.layout.numbers.iter().zip(0..).all(|(column, place)| is_same_number(column, place))
            && this.layout.texts.iter().all(|text| is_same_text(text))
            && this.layout.dimensions.iter().zip(&this.dimensions).all(|(name, value)| is_same_dimension(name, value))
    }

    /// Adds routes for property sets that came since, under an unchanged catalog.
    pub fn extend(&mut self, catalog: &Catalog, dictionary: &mut Dictionary) {
        for id in self.routes.len()..dictionary.names().property_sets() {
            let properties = dictionary.names().properties(id as PropertySetId).clone();
            self.routes.push_back(routes(&properties, catalog, dictionary));
            self.properties.push_back(properties);
        }
    }

    /// The same, which also knows what the events of property sets were read for that came since: so that
    /// they can be compared. They have no routes yet.
    pub fn knowing(&self, names: &Names) -> Metering {
        let mut knowing = self.clone();
        let since = knowing.properties.len()..names.property_sets();
        knowing.properties.extend(since.map(|id| names.properties(id as PropertySetId).clone()));
        knowing
    }

    /// The metering under a changed catalog.
    pub fn under(catalog: &Catalog, dictionary: &mut Dictionary) -> Metering {
        let mut metering = Metering { quarterly: quarterly(catalog), ..Metering::default() };
        metering.extend(catalog, dictionary);
        metering
    }

    /// What is metered otherwise by `next` than by this one. Property sets that only `next`
    /// knows have no events yet and do not count.
    pub fn changes(&self, next: &Metering) -> MeteringChanges {
        let pairs = self.routes.iter().zip(next.routes.iter()).enumerate();
        let properties = pairs.filter(|(_, (old, new))| old != new).map(|(id, _)| id as PropertySetId).collect();
        let subjects = self.quarterly.clone().symmetric_difference(next.quarterly.clone()).into_iter().collect();
        MeteringChanges { properties, subjects }
    }
}

/// The subjects whose customers live in zones that are not whole hours from UTC.
fn quarterly(catalog: &Catalog) -> OrdSet<SubjectId> {
    catalog.subjects().filter(|&subject| catalog.step(subject) == GrainStep::Quarter).collect()
}

fn routes(properties: &Properties, catalog: &Catalog, dictionary: &mut Dictionary) -> Arc<[Route]> {
    let mut routes = Vec::new();
    for (_, id, meter) in catalog.meters.iter() {
        let Some(column) = column_read(meter, properties) else { continue };
        let dimensions = meter.dimensions.iter().map(|name| dimension(properties, name).map(Box::from)).collect();
        let series = dictionary.series(Series { meter: id, dimensions });
        routes.push(Route { series, aggregation: meter.aggregation, column });
    }
    routes.into()
}

/// The column that a meter reads of events with these properties, 0 for a count; none if it does not read them.
pub fn column_read(meter: &Meter, properties: &Properties) -> Option<usize> {
    let layout = &properties.layout;
    let is_its = meter.event_type == layout.event_type && matches(&meter.filter, |name| dimension(properties, name));
    if is_its { column(meter, layout) } else { None }
}

/// The value of a dimension; none if the events were read without it, or had none.
fn dimension<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
    let place = properties.layout.dimensions.iter().position(|dimension| dimension == name)?;
    properties.dimensions[place].as_deref()
}

/// The column a meter reads; none if the events were read before it was kept.
fn column(meter: &Meter, layout: &EventLayout) -> Option<usize> {
    match &meter.property {
        None => Some(0),
        // A number read at another scale means something else.
        Some(property) if meter.aggregation.reads_number() => {
            layout.number(property).filter(|&column| layout.numbers[column].scale == meter.scale)
        }
        Some(property) => layout.text(property),
    }
}

/// A quantity at a meter's scale, in units of 10^-12.
pub fn quantity_units(quantity: i128, scale: u32) -> i128 {
    quantity * (ONE / 10_i128.pow(scale))
}
