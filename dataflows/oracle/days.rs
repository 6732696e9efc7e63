//! Civil time, by walking.
//!
//! A date begins at the first instant at which clocks of the zone show it or a later one, which is
//! found by trying every quarter hour. Periods are found by going from one to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use jiff::civil::{Date, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp};
use trueup_model::calendar::Cadence;

/// Microseconds in an hour.
pub(super) const HOUR: i64 = 3_600_000_000;
const QUARTER: i64 = HOUR / 4;

/// A Monday, the first of a month, of a quarter and of a year.
const TURN: Date = date(2001, 1, 1);

/// A time zone with its name.
#[derive(Clone, Debug)]
struct Zone {
    name: String,
    rules: TimeZone,
}

/// Periods that follow one another without a gap.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    zone: Zone,
    cadence: Cadence,
    anchor: Date,
    /// The periods found so far, by their first instant.
    known: RefCell<BTreeMap<i64, i64>>,
}

impl Tiling {
    /// The days of a zone.
    pub fn days(zone: &str) -> Tiling {
        Tiling::calendar(zone, Cadence::Day)
    }

    /// Periods that begin where the calendar turns.
    pub fn calendar(zone: &str, cadence: Cadence) -> Tiling {
        Tiling { zone: Zone::named(zone), cadence, anchor: TURN, known: RefCell::default() }
    }

    /// Periods that begin on the anniversaries of an instant's local date.
    pub fn anniversaries(zone: &str, cadence: Cadence, start: i64) -> Tiling {
        let zone = Zone::named(zone);
        let anchor = zone.shown(start);
        Tiling { zone, cadence, anchor, known: RefCell::default() }
    }

    /// The first instant of the period around an instant, and the first after it.
    pub fn around(&self, at: i64) -> (i64, i64) {
        let before = self.known.borrow().range(..=at).next_back().map(|(start, end)| (*start, *end));
        if let Some((start, end)) = before.filter(|(_, end)| at < *end) {
            return (start, end);
        }
        let (start, end) = self.walk_to(at);
        self.known.borrow_mut().insert(start, end);
        (start, end)
    }

    fn walk_to(&self, at: i64) -> (i64, i64) {
        let days = (self.zone.shown(at) - self.anchor).get_days();
        // No cadence is longer than this many days, so the walk begins on the near side.
        let mut number = match self.cadence {
            Cadence::Day => days,
            Cadence::Week => days / 7,
            Cadence::Month => days / 31,
            Cadence::Quarter => days / 92,
            Cadence::Year => days / 366,
        };
        while at < self.start(number) {
            number -= 1;
        }
        while self.start(number + 1) <= at {
            number += 1;
        }
        (self.start(number), self.start(number + 1))
    }

    /// The first instant of a period; the one with number 0 begins at the anchor.
    fn start(&self, number: i32) -> i64 {
        let span = match self.cadence {
            Cadence::Day => Span::new().days(number),
            Cadence::Week => Span::new().weeks(number),
            Cadence::Month => Span::new().months(number),
            Cadence::Quarter => Span::new().months(3 * number),
            Cadence::Year => Span::new().years(number),
        };
        // Counted from the anchor each time, so that a short month shortens no later one.
        self.zone.first_instant(self.anchor + span)
    }
}

/// How long the grains of a zone are: an hour if it is always whole hours from UTC.
pub(super) fn grain_length(zone: &str) -> i64 {
    static KNOWN: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().expect("nobody panics while looking up a zone");
    *known.entry(zone.to_owned()).or_insert_with(|| Zone::named(zone).grain_length())
}

impl Zone {
    fn named(name: &str) -> Zone {
        static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
        let rules = ZONES.get(name).expect("a customer's zone is one that exists");
        Zone { name: name.to_owned(), rules }
    }

    fn grain_length(&self) -> i64 {
        const DAY: i64 = 24 * HOUR;
        let [first, last] = [date(2000, 1, 1), date(2100, 1, 1)].map(|day| utc_midnight(day) / DAY);
        let is_whole = |day: i64| i64::from(self.rules.to_offset(instant(day * DAY)).seconds()) * 1_000_000 % HOUR == 0;
        if (first..=last).all(is_whole) { HOUR } else { QUARTER }
    }

    /// The first instant at which clocks of the zone show a date, or a later one. What was found is
    /// remembered, since the same few dates are asked for again and again.
    fn first_instant(&self, day: Date) -> i64 {
        static KNOWN: Mutex<BTreeMap<(String, Date), i64>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().expect("nobody panics while looking up a date");
        *known.entry((self.name.clone(), day)).or_insert_with(|| {
            let early = utc_midnight(day) - 16 * HOUR;
            let mut quarters = (0..32 * 4).map(|quarter| early + quarter * QUARTER);
            quarters.find(|at| self.shown(*at) >= day).expect("no zone is sixteen hours from UTC")
        })
    }

    /// The date that clocks of the zone show.
    fn shown(&self, at: i64) -> Date {
        self.rules.to_datetime(instant(at)).date()
    }
}

fn utc_midnight(day: Date) -> i64 {
    let midnight = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0));
    midnight.expect("dates of these centuries are instants").as_microsecond()
}

fn instant(at: i64) -> Timestamp {
    Timestamp::from_microsecond(at).expect("what was accepted is an instant")
}
