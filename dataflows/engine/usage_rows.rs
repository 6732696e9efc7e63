//! Usage by grain, hour and day, read from the one arrangement that keeps it by grain.
//!
//! Hours and days are not kept: they are unions of grains, and are put together when they are
//! read. Sums add up; of values that do not, the arrangement keeps what stands in each grain,
//! and the different texts are counted from their own arrangement.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use differential_dataflow::trace::Cursor;
use trueup_model::books::Books;
use trueup_model::calendar::{Anchor, Cadence, Calendar};
use trueup_model::fact::Epoch;
use trueup_model::grain::{Grain, GrainStep, Interval};
use trueup_model::meter::{Aggregation, Meter};
use trueup_model::metering::{UsageKey, quantity_units};
use trueup_operators::shared::accumulate;
use trueup_operators::total::Total;

use super::graph::Snapshots;
use super::view_rows::{AsOf, Cell, Row, recent_series, same_catalog};
use crate::rating::{aggregated, quantity_scale};

/// By what usage is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The grain of the subject.
    Grain,
    /// An hour of UTC.
    Hour,
    /// A day of the customer's zone.
    Day,
}

/// What is looked up again and again while rows are made.
pub struct Names<'a> {
    books: &'a Arc<Books>,
    dimensions: HashMap<u32, Arc<str>>,
    meters: HashMap<u32, Arc<str>>,
    days: HashMap<String, Option<Arc<Calendar>>>,
}

impl<'a> Names<'a> {
    /// Nothing looked up yet.
    pub fn of(books: &'a Arc<Books>) -> Names<'a> {
        Names { books, dimensions: HashMap::new(), meters: HashMap::new(), days: HashMap::new() }
    }

    fn meter(&self, series: u32) -> &'a Meter {
        self.books.catalog.meters.get(self.books.names.series(series).meter)
    }

    fn meter_name(&mut self, series: u32) -> Arc<str> {
        let meter = self.meter(series);
        self.meters.entry(series).or_insert_with(|| meter.name.as_str().into()).clone()
    }

    /// A series' dimensions as a JSON object, in the order of its meter.
    fn dimensions(&mut self, series: u32) -> Arc<str> {
        let meter = self.meter(series);
        let values = &self.books.names.series(series).dimensions;
        let write = || {
            let pairs = meter.dimensions.iter().zip(values.iter());
            let pair = |(name, value): (&String, &Option<Box<str>>)| {
                let value = value.as_deref()?;
                Some(format!("{}:{}", serde_json::Value::from(name.as_str()), serde_json::Value::from(value)))
            };
            format!("{{{}}}", pairs.filter_map(pair).collect::<Vec<_>>().join(",")).into()
        };
        self.dimensions.entry(series).or_insert_with(write).clone()
    }

    /// The window that contains a grain.
    fn window(&mut self, window: Window, subject: u32, grain: Grain) -> Interval {
        let catalog = &self.books.catalog;
        let hour = Grain(grain.0 - grain.0 % GrainStep::Hour.quarters());
        match window {
            Window::Grain => Interval { from: grain, to: Grain(grain.0 + catalog.step(subject).quarters()) },
            Window::Hour => Interval { from: hour, to: Grain(hour.0 + GrainStep::Hour.quarters()) },
            Window::Day => {
                let zone = catalog.owner(subject).map_or("UTC", |owner| catalog.customers.get(owner).zone.as_str());
                let days = self
                    .days
                    .entry(zone.to_owned())
                    .or_insert_with_key(|zone| Calendar::new(zone, Cadence::Day, Anchor::EveryDay).ok().map(Arc::new));
                let day = days.as_ref().and_then(|days| days.period_containing(grain));
                // The door takes no event outside the century that calendars cover.
                day.unwrap_or(Interval { from: hour, to: hour })
            }
        }
    }
}

/// A grain of a series with its total.
type Slice = (Grain, Total);

/// Calls `each` with the rows of a worker's part, for as long as it wants more; of all series,
/// or of those in `series`. Tells whether it still wants more.
pub fn read(
    part: &Snapshots,
    as_of: Epoch,
    window: Window,
    series: Option<&BTreeSet<(u32, u32)>>,
    names: &mut Names<'_>,
    each: &mut dyn FnMut(Row) -> bool,
) -> bool {
    let mut give = |subject: u32, series: u32, slices: &[Slice], names: &mut Names<'_>| {
        rows(part, as_of, window, (subject, series), slices, names).into_iter().all(&mut *each)
    };
    let (mut cursor, storage) = part.usage.cursor();
    let mut slices: Vec<Slice> = Vec::new();
    if let Some(wanted) = series {
        for &(subject, series) in wanted {
            slices.clear();
            cursor.seek_key(&storage, &UsageKey { subject, series, grain: Grain(0) });
            while let Some(key) = cursor.get_key(&storage).filter(|key| (key.subject, key.series) == (subject, series))
            {
                slices.extend(accumulate(&mut cursor, &storage, as_of).map(|total| (key.grain, total)));
                cursor.step_key(&storage);
            }
            if !give(subject, series, &slices, names) {
                return false;
            }
        }
        return true;
    }
    let mut last = None;
    while let Some(key) = cursor.get_key(&storage) {
        let pair = (key.subject, key.series);
        if let Some((subject, series)) = last.filter(|last| *last != pair) {
            if !give(subject, series, &slices, names) {
                return false;
            }
            slices.clear();
        }
        last = Some(pair);
        slices.extend(accumulate(&mut cursor, &storage, as_of).map(|total| (key.grain, total)));
        cursor.step_key(&storage);
    }
    last.is_none_or(|(subject, series)| give(subject, series, &slices, names))
}

/// Calls `each` with the rows that differ between two epochs.
pub fn read_changed(old: &AsOf<'_>, new: &AsOf<'_>, window: Window, each: &mut dyn FnMut(Row, i64)) {
    for part in new.parts {
        let recent = same_catalog(old, new).then(|| recent_series(part, [old.epoch, new.epoch]));
        for (at, diff) in [(old, -1), (new, 1)] {
            let mut names = Names::of(at.books);
            read(part, at.epoch, window, recent.as_ref(), &mut names, &mut |row| {
                each(row, diff);
                true
            });
        }
    }
}

/// The rows of one series of a subject.
fn rows(
    part: &Snapshots,
    as_of: Epoch,
    window: Window,
    (subject, series): (u32, u32),
    slices: &[Slice],
    names: &mut Names<'_>,
) -> Vec<Row> {
    let meter = names.meter(series);
    let mut windows: BTreeMap<Interval, Vec<Slice>> = BTreeMap::new();
    for &(grain, total) in slices.iter().filter(|(_, total)| total.records > 0) {
        windows.entry(names.window(window, subject, grain)).or_default().push((grain, total));
    }
    let catalog = &names.books.catalog;
    let customer =
        catalog.owner(subject).map_or(Cell::Null, |owner| Cell::Text(catalog.customers.get(owner).id.as_str().into()));
    let subject_name: Arc<str> = names.books.names.subject(subject).into();
    let (meter_name, dimensions) = (names.meter_name(series), names.dimensions(series));
    let row = |(interval, slices): (Interval, Vec<Slice>)| {
        let quantity = match (meter.aggregation, slices.len()) {
            (Aggregation::UniqueCount, 2..) => different_texts(part, as_of, subject, series, interval),
            _ => put_together(meter.aggregation, &slices),
        };
        let scale = quantity_scale(meter.aggregation, meter.scale);
        vec![
            Cell::Text(subject_name.clone()),
            Cell::Text(meter_name.clone()),
            Cell::Text(dimensions.clone()),
            Cell::Time(interval.from.micros()),
            Cell::Time(interval.to.micros()),
            customer.clone(),
            Cell::Decimal(quantity_units(quantity, scale)),
            Cell::Integer(slices.iter().map(|(_, total)| total.records).sum()),
        ]
    };
    windows.into_iter().map(row).collect()
}

/// The quantity of a window from those of its grains, in order of time, at the meter's scale.
fn put_together(aggregation: Aggregation, slices: &[Slice]) -> i128 {
    let values = slices.iter().map(|(_, total)| total.sum());
    match aggregation {
        Aggregation::Min => values.min().unwrap_or_default(),
        Aggregation::Max => values.max().unwrap_or_default(),
        Aggregation::Latest => slices.last().map_or(0, |(_, total)| total.sum()),
        Aggregation::Count | Aggregation::Sum | Aggregation::Average | Aggregation::UniqueCount => {
            let records = slices.iter().map(|(_, total)| total.records).sum();
            aggregated(aggregation, &Total::new(records, values.sum()))
        }
    }
}

/// How many different texts a series has in an interval.
fn different_texts(part: &Snapshots, as_of: Epoch, subject: u32, series: u32, interval: Interval) -> i128 {
    let (mut cursor, storage) = part.texts.cursor();
    let mut texts = BTreeSet::new();
    cursor.seek_key(&storage, &(UsageKey { subject, series, grain: interval.from }, 0));
    while let Some((key, text)) = cursor.get_key(&storage) {
        if (key.subject, key.series) != (subject, series) || !interval.contains(key.grain) {
            break;
        }
        if accumulate(&mut cursor, &storage, as_of).is_some() {
            texts.insert(*text);
        }
        cursor.step_key(&storage);
    }
    texts.len() as i128
}
