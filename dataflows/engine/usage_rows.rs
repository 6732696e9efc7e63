//! Usage by grain, hour and day, read from the three arrangements that keep it by grain.
//!
//! Hours and days are not kept: they are unions of grains, and are put together when they are
//! read. Sums add up; of values, the first under a usage key is the one that stands; different
//! texts are counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use differential_dataflow::difference::Semigroup;
use trueup_model::books::Books;
use trueup_model::calendar::Calendar;
use trueup_model::fact::Epoch;
use trueup_model::grain::{Grain, GrainStep, Interval};
use trueup_model::meter::{Aggregation, Meter};
use trueup_model::metering::UsageKey;
use trueup_model::money::quantity_units;
use trueup_operators::aggregate::{aggregated, quantity_scale, together};
use trueup_operators::contribute::Kept;
use trueup_operators::read::{Reader, Snapshot};
use trueup_operators::total::Total;

use super::graph::Snapshots;
use super::view_rows::{AsOf, Cell, Row, same_catalog};

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
    days: HashMap<String, Option<Calendar>>,
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
                let days = self.days.entry(zone.to_owned()).or_insert_with_key(|zone| Calendar::days(zone).ok());
                let day = days.as_ref().and_then(|days| days.period_containing(grain));
                // The door takes no event outside the century that calendars cover.
                day.unwrap_or(Interval { from: hour, to: hour })
            }
        }
    }
}

/// A grain of a series with its total.
type Slice = (Grain, Total);

/// A subject and a series.
pub type Pair = (u32, u32);

/// Calls `each` with the rows of a worker's part, for as long as it wants more; of all series,
/// or of those in `pairs`. Tells whether it still wants more.
pub fn read(
    part: &Snapshots,
    as_of: Epoch,
    window: Window,
    pairs: Option<&BTreeSet<Pair>>,
    names: &mut Names<'_>,
    each: &mut dyn FnMut(Row) -> bool,
) -> bool {
    let books = names.books.clone();
    let kept = |pair: Pair, kept: &Kept, events: i64, is_first: bool| {
        let meter = books.catalog.meters.get(books.names.series(pair.1).meter);
        // The first value is the one that stands.
        Total::new(events, if is_first { kept.value(meter.aggregation) } else { 0 })
    };
    let mut give =
        |pair: Pair, slices: &[Slice]| rows(part, as_of, window, pair, slices, names).into_iter().all(&mut *each);
    read_slices(&part.usage, as_of, pairs, |_, (), total, _| total, &mut give)
        && read_slices(&part.values, as_of, pairs, kept, &mut give)
        && read_slices(&part.texts, as_of, pairs, |_, _, events, _| Total::new(events, 1), &mut give)
}

/// Calls `give` with the slices of each series, for as long as it wants more. What is kept under
/// a usage key makes a slice: `part_of` says what each value adds, and is told of the first.
fn read_slices<V: Ord, R: Semigroup>(
    snapshot: &Snapshot<UsageKey, V, R>,
    as_of: Epoch,
    pairs: Option<&BTreeSet<Pair>>,
    part_of: impl Fn(Pair, &V, R, bool) -> Total,
    give: &mut impl FnMut(Pair, &[Slice]) -> bool,
) -> bool {
    let mut reader = snapshot.reader();
    let mut read_pair = |reader: &mut Reader<'_, UsageKey, V, R>, pair: Pair| {
        let mut slices: Vec<Slice> = Vec::new();
        while let Some((key, value)) = reader.next().filter(|(key, _)| (key.subject, key.series) == pair) {
            let [sum] = reader.sums(key, value, [as_of]);
            let Some(sum) = sum else { continue };
            match slices.last_mut().filter(|(grain, _)| *grain == key.grain) {
                Some((_, total)) => total.plus_equals(&part_of(pair, value, sum, false)),
                None => slices.push((key.grain, part_of(pair, value, sum, true))),
            }
        }
        slices.is_empty() || give(pair, &slices)
    };
    let Some(pairs) = pairs else {
        while let Some((key, _)) = reader.next() {
            if !read_pair(&mut reader, (key.subject, key.series)) {
                return false;
            }
        }
        return true;
    };
    pairs.iter().all(|&(subject, series)| {
        reader.seek(&UsageKey { subject, series, grain: Grain(0) });
        read_pair(&mut reader, (subject, series))
    })
}

/// Calls `each` with the rows that differ between two epochs.
pub fn read_changed(old: &AsOf<'_>, new: &AsOf<'_>, window: Window, each: &mut dyn FnMut(Row, i64)) {
    for part in new.parts {
        let recent = same_catalog(old, new).then(|| recent_pairs(part, [old.epoch, new.epoch]));
        for (at, diff) in [(old, -1), (new, 1)] {
            let mut names = Names::of(at.books);
            read(part, at.epoch, window, recent.as_ref(), &mut names, &mut |row| {
                each(row, diff);
                true
            });
        }
    }
}

/// The series with updates after the first epoch up to the second.
fn recent_pairs(part: &Snapshots, epochs: [Epoch; 2]) -> BTreeSet<Pair> {
    let usage = part.usage.recent(epochs).map(|((key, _), _, _)| key);
    let values = part.values.recent(epochs).map(|((key, _), _, _)| key);
    let texts = part.texts.recent(epochs).map(|((key, _), _, _)| key);
    usage.chain(values).chain(texts).map(|key| (key.subject, key.series)).collect()
}

/// The rows of one series of a subject.
fn rows(
    part: &Snapshots,
    as_of: Epoch,
    window: Window,
    (subject, series): Pair,
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
            (Aggregation::UniqueCount, 2..) => different_texts(part, as_of, (subject, series), interval),
            (aggregation, _) => {
                let whole = together(aggregation, slices.iter().map(|(_, total)| total));
                whole.map_or(0, |whole| aggregated(aggregation, &whole))
            }
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

/// How many different texts a series has in an interval.
fn different_texts(part: &Snapshots, as_of: Epoch, (subject, series): Pair, interval: Interval) -> i128 {
    let mut reader = part.texts.reader();
    reader.seek(&UsageKey { subject, series, grain: interval.from });
    let mut texts = BTreeSet::new();
    let is_inside = |key: &UsageKey| (key.subject, key.series) == (subject, series) && interval.contains(key.grain);
    while let Some((key, text)) = reader.next().filter(|(key, _)| is_inside(key)) {
        if let [Some(_)] = reader.sums(key, text, [as_of]) {
            texts.insert(*text);
        }
    }
    texts.len() as i128
}
