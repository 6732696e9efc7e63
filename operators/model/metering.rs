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
use crate::layout::EventLayout;
use crate::meter::{Aggregation, Meter, matches};
use crate::reading::{Beside, Reading};
use crate::usage::{MISSING, UsageBatch, UsageRow};

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
    /// What of them it is.
    pub taken: Taken,
}

/// What a meter takes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// That it happened.
    Once,
    /// The value of this column.
    Column(usize),
}

impl Taken {
    /// As a value; none where the event does not have it.
    #[inline]
    pub fn of(self, batch: &UsageBatch, row: &UsageRow) -> Option<i128> {
        match self {
            Taken::Once => Some(1),
            Taken::Column(column) => Some(batch.value(row, column)).filter(|value| *value != MISSING),
        }
    }
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

    /// What an assertion says beside another of the same event and revision, each with its batch.
    pub fn compare(&self, one: (&UsageBatch, &UsageRow), other: (&UsageBatch, &UsageRow)) -> Beside {
        let ((batch, row), (other_batch, other_row)) = (one, other);
        if batch.same_content(row, other_batch, other_row) {
            return Beside::Same;
        }
        // Of a row with one value nothing is missing.
        let were_read_alike = row.properties == other_row.properties && row.wide == 0 && other_row.wide == 0;
        if were_read_alike || (row.subject, row.occurred_at) != (other_row.subject, other_row.occurred_at) {
            return Beside::Other;
        }
        let [this, that] = [one, other].map(|(batch, row)| self.reading(batch, row));
        match this.agrees(&that) {
            false => Beside::Other,
            true if this.knows_more(&that) => Beside::More,
            true => Beside::Same,
        }
    }

    /// What is known of the event of a row.
    fn reading<'a>(&'a self, batch: &'a UsageBatch, row: &'a UsageRow) -> Reading<'a> {
        Reading { batch, row, properties: &self.properties[row.properties as usize] }
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
        let Some(taken) = taken_by(meter, properties) else { continue };
        let dimensions = meter.dimensions.iter().map(|name| dimension(properties, name).map(Box::from)).collect();
        let series = dictionary.series(Series { meter: id, dimensions });
        routes.push(Route { series, aggregation: meter.aggregation, taken });
    }
    routes.into()
}

/// Whether a meter counts the event of a row, which was read by these properties.
pub fn is_read(meter: &Meter, properties: &Properties, batch: &UsageBatch, row: &UsageRow) -> bool {
    taken_by(meter, properties).is_some_and(|taken| taken.of(batch, row).is_some())
}

/// What a meter takes of events with these properties; none if it does not read them.
fn taken_by(meter: &Meter, properties: &Properties) -> Option<Taken> {
    let layout = &properties.layout;
    let is_its = meter.event_type == layout.event_type && matches(&meter.filter, |name| dimension(properties, name));
    if is_its { taken(meter, layout) } else { None }
}

/// The value of a dimension; none if the events were read without it, or had none.
fn dimension<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
    let place = properties.layout.dimensions.iter().position(|dimension| dimension == name)?;
    properties.dimensions[place].as_deref()
}

/// What a meter takes of events of its type; none if they were read before anybody asked for it.
fn taken(meter: &Meter, layout: &EventLayout) -> Option<Taken> {
    let Some(property) = &meter.property else { return Some(Taken::Once) };
    let column =
        if meter.aggregation.reads_number() { layout.number(property, meter.scale) } else { layout.text(property) };
    column.map(Taken::Column)
}
