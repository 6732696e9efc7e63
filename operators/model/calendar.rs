//! When billing periods begin and end.
//!
//! A period begins at the first instant of a civil date in the customer's time zone, and ends
//! where the next begins: periods tile time, whatever clocks do. All boundaries of a century are
//! worked out once; finding a period is then a binary search. Zone rules come from the bundled
//! time zone data only, so that the same build gives the same periods on every machine.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::civil::{Date, date};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::grain::{Grain, GrainStep, Interval, Micros, QUARTER_MICROS};

/// Every instant from the start of this day on lies in a period.
const FIRST_DAY: Date = date(2000, 1, 1);
/// Every instant before the start of this day lies in a period.
const END_DAY: Date = date(2100, 1, 1);

/// The instants that calendars cover: from the start of 2000 to the start of 2100, in UTC.
pub const CENTURY: std::ops::Range<Micros> = 946_684_800_000_000..4_102_444_800_000_000;

/// How often a period ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cadence {
    /// At every midnight.
    Day,
    /// Every seven days.
    Week,
    /// Every month.
    Month,
    /// Every three months.
    Quarter,
    /// Every twelve months.
    Year,
}

/// On which date of its cadence a period begins. A day that a month does not have means the
/// month's last day, in that month only: the 31st stays the 31st.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// Every day. For [`Cadence::Day`].
    EveryDay,
    /// A day of the week, from 1 for Monday to 7 for Sunday. For [`Cadence::Week`].
    Weekday(i8),
    /// A day of the month, 1 to 31. For [`Cadence::Month`].
    MonthDay(i8),
    /// A month, 1 to 12, and its day, 1 to 31. For [`Cadence::Year`], and for
    /// [`Cadence::Quarter`], where every third month from there counts as well.
    YearDay {
        /// The month.
        month: i8,
        /// Its day.
        day: i8,
    },
}

/// Why there is no such calendar.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CalendarError {
    /// The zone is not known.
    #[error("`{0}` is not an IANA time zone; write one such as Europe/Berlin, or UTC")]
    UnknownZone(String),
    /// The zone is at times some odd minutes away from UTC.
    #[error(
        "the time zone {zone} is {offset} from UTC at times, which is no whole number of quarter \
         hours; choose a zone that keeps to them"
    )]
    OddOffset {
        /// The zone.
        zone: String,
        /// The offset.
        offset: String,
    },
    /// A civil date of the zone begins inside a grain.
    #[error("in the time zone {zone}, {date} does not begin on a grain edge; choose another zone")]
    OddMidnight {
        /// The zone.
        zone: String,
        /// The civil date.
        date: Date,
    },
    /// The anchor does not say where a period of this cadence begins.
    #[error(
        "the anchor {anchor:?} does not say where a period of the cadence {cadence:?} begins; \
         choose one of its own"
    )]
    WrongAnchor {
        /// The cadence.
        cadence: Cadence,
        /// The anchor.
        anchor: Anchor,
    },
    /// A date or an instant outside the years we keep calendars for.
    #[error("{0} is outside the years that have calendars, {FIRST_DAY} to {END_DAY}")]
    OutOfRange(String),
}

impl Anchor {
    /// The anniversaries of a start date, which is a civil date in the customer's zone.
    pub fn of(cadence: Cadence, start: Date) -> Anchor {
        let (month, day) = (start.month(), start.day());
        match cadence {
            Cadence::Day => Anchor::EveryDay,
            Cadence::Week => Anchor::Weekday(start.weekday().to_monday_one_offset()),
            Cadence::Month => Anchor::MonthDay(day),
            // One of four starts stands for all, so that equal calendars have equal anchors.
            Cadence::Quarter => Anchor::YearDay { month: (month - 1) % 3 + 1, day },
            Cadence::Year => Anchor::YearDay { month, day },
        }
    }

    /// Where the calendar itself turns: midnight, Monday, the 1st, January the 1st.
    pub fn calendar(cadence: Cadence) -> Anchor {
        // A Monday, and the first of a year.
        Anchor::of(cadence, date(2001, 1, 1))
    }

    fn fits(self, cadence: Cadence) -> bool {
        match (cadence, self) {
            (Cadence::Day, Anchor::EveryDay) => true,
            (Cadence::Week, Anchor::Weekday(weekday)) => (1..=7).contains(&weekday),
            (Cadence::Month, Anchor::MonthDay(day)) => (1..=31).contains(&day),
            (Cadence::Quarter | Cadence::Year, Anchor::YearDay { month, day }) => {
                (1..=12).contains(&month) && (1..=31).contains(&day)
            }
            _ => false,
        }
    }
}

/// The periods of one zone, cadence and anchor from 2000 to 2100. Cloning shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    boundaries: Arc<[Grain]>,
    step: GrainStep,
}

impl Calendar {
    /// Works out all periods. Takes up to some milliseconds and 150 kB (a century of days), so
    /// make it once and keep it.
    pub fn new(zone: &str, cadence: Cadence, anchor: Anchor) -> Result<Calendar, CalendarError> {
        let zone = Zone::named(zone)?;
        let boundaries = boundaries(&zone, cadence, anchor, FIRST_DAY, END_DAY)?;
        Ok(Calendar { boundaries: boundaries.into(), step: zone.step })
    }

    /// The days of a zone. Worked out once: views are read by day again and again.
    pub fn days(zone: &str) -> Result<Calendar, CalendarError> {
        static KNOWN: LazyLock<Mutex<BTreeMap<String, Calendar>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(days) = known.get(zone) {
            return Ok(days.clone());
        }
        let days = Calendar::new(zone, Cadence::Day, Anchor::EveryDay)?;
        known.insert(zone.to_owned(), days.clone());
        Ok(days)
    }

    /// The one period that contains the grain; none outside 2000 to 2100.
    pub fn period_containing(&self, grain: Grain) -> Option<Interval> {
        let next = self.boundaries.partition_point(|boundary| *boundary <= grain);
        let from = *self.boundaries.get(next.checked_sub(1)?)?;
        let to = *self.boundaries.get(next)?;
        Some(Interval { from, to })
    }

    /// How long the grains of the zone are.
    pub fn step(&self) -> GrainStep {
        self.step
    }
}

/// The longest grains on whose edges every local midnight of the zone falls: hours if it is
/// always whole hours from UTC, else quarter hours; a zone with other offsets is an error.
pub fn grain_step(zone: &str) -> Result<GrainStep, CalendarError> {
    Zone::named(zone).map(|zone| zone.step)
}

/// The first grain of a civil date in a zone: midnight, or what comes instead where clocks skip
/// it. A date that the zone skipped altogether begins where the next one does.
pub fn first_grain(zone: &str, day: Date) -> Result<Grain, CalendarError> {
    if !(FIRST_DAY..=END_DAY).contains(&day) {
        return Err(CalendarError::OutOfRange(day.to_string()));
    }
    Zone::named(zone)?.first_grain(day)
}

/// The civil date that a clock in the zone shows at an instant.
pub fn local_date(zone: &str, at: Micros) -> Result<Date, CalendarError> {
    let rules = Zone::named(zone)?.rules;
    let day = Timestamp::from_microsecond(at).ok().map(|at| rules.to_datetime(at).date());
    day.filter(|day| (FIRST_DAY..=END_DAY).contains(day))
        .ok_or_else(|| CalendarError::OutOfRange(format!("the instant {at} us after 1970")))
}

/// A time zone whose days begin on grain edges.
struct Zone {
    name: String,
    rules: TimeZone,
    step: GrainStep,
}

/// The rules of a zone, from the data that is bundled with the build, whatever the machine has.
pub fn zone_rules(name: &str) -> Result<TimeZone, CalendarError> {
    static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    let rules = BUNDLED.get(name).ok().filter(|rules| !rules.is_unknown());
    rules.ok_or_else(|| CalendarError::UnknownZone(name.chars().take(64).collect()))
}

impl Zone {
    fn named(name: &str) -> Result<Zone, CalendarError> {
        let rules = zone_rules(name)?;
        let step = step(name, &rules)?;
        Ok(Zone { name: name.to_owned(), rules, step })
    }

    fn first_grain(&self, day: Date) -> Result<Grain, CalendarError> {
        let grain = Grain::at_edge(first_instant(&self.rules, day).as_microsecond());
        grain
            .filter(|grain| grain.0 % self.step.quarters() == 0)
            .ok_or_else(|| CalendarError::OddMidnight { zone: self.name.clone(), date: day })
    }
}

/// The grain step of a zone, from every offset it has in our years.
fn step(name: &str, rules: &TimeZone) -> Result<GrainStep, CalendarError> {
    // A period may begin up to a year before the first day and end up to a year after the last.
    let (first, end) = (date(1999, 1, 1), date(2101, 1, 2));
    let [first, end] = [first, end].map(|day| first_instant(rules, day));
    let changes = rules.following(first).take_while(|change| change.timestamp() < end);
    let mut step = GrainStep::Hour;
    for offset in std::iter::once(rules.to_offset(first)).chain(changes.map(|change| change.offset())) {
        let micros = i64::from(offset.seconds()) * 1_000_000;
        if micros % QUARTER_MICROS != 0 {
            return Err(CalendarError::OddOffset { zone: name.to_owned(), offset: offset.to_string() });
        }
        if micros % (4 * QUARTER_MICROS) != 0 {
            step = GrainStep::Quarter;
        }
    }
    Ok(step)
}

/// The first instant at which clocks of the zone show this date or, if they skip it, a later one.
fn first_instant(rules: &TimeZone, day: Date) -> Timestamp {
    const IN_RANGE: &str = "dates of two centuries are far inside the range of instants";
    let midnight = day.at(0, 0, 0, 0);
    match rules.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(midnight).expect(IN_RANGE),
        // Midnight comes twice: the day begins at the first, even if clocks go back out of it.
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(midnight).expect(IN_RANGE),
        // Midnight is skipped: the day begins at the jump, which comes after the instant that
        // the new offset would call midnight.
        AmbiguousOffset::Gap { after, .. } => {
            let too_early = after.to_timestamp(midnight).expect(IN_RANGE);
            let jump = rules.following(too_early).next();
            jump.expect("a gap is made by a change of offset").timestamp()
        }
    }
}

/// The starts of all periods, from the last at or before `first` to the first at or after `end`.
fn boundaries(
    zone: &Zone,
    cadence: Cadence,
    anchor: Anchor,
    first: Date,
    end: Date,
) -> Result<Vec<Grain>, CalendarError> {
    if !anchor.fits(cadence) {
        return Err(CalendarError::WrongAnchor { cadence, anchor });
    }
    let mut starts = Vec::new();
    for number in period_number(cadence, anchor, first).. {
        let day = period_start(cadence, anchor, number);
        starts.push(zone.first_grain(day)?);
        if end <= day {
            break;
        }
    }
    // A zone that crossed the date line has skipped a date: its period would be empty.
    starts.dedup();
    Ok(starts)
}

/// The number of the period that contains the civil date. Numbers count from around 2000.
fn period_number(cadence: Cadence, anchor: Anchor, day: Date) -> i32 {
    let months = (i32::from(day.year()) - 2000) * 12 + i32::from(day.month()) - 1;
    let days = (day - FIRST_DAY).get_days();
    let about = match cadence {
        Cadence::Day => days,
        Cadence::Week => days.div_euclid(7),
        Cadence::Month => months,
        Cadence::Quarter => months.div_euclid(3),
        Cadence::Year => months.div_euclid(12),
    };
    // At most one off, since a period's start lies within its own month, quarter or year.
    (about - 1..=about + 1)
        .rev()
        .find(|number| period_start(cadence, anchor, *number) <= day)
        .expect("the period before starts before")
}

/// The civil date on which the period with this number starts. Each is worked out from the
/// anchor and never from the one before, so that short months leave no trace.
fn period_start(cadence: Cadence, anchor: Anchor, number: i32) -> Date {
    /// The Monday of the week of `FIRST_DAY`.
    const FIRST_MONDAY: Date = date(1999, 12, 27);
    match (cadence, anchor) {
        (_, Anchor::EveryDay) => FIRST_DAY + number.days(),
        (_, Anchor::Weekday(weekday)) => FIRST_MONDAY + (number * 7 + i32::from(weekday) - 1).days(),
        (_, Anchor::MonthDay(day)) => clamped(number, day),
        (Cadence::Quarter, Anchor::YearDay { month, day }) => clamped(number * 3 + (i32::from(month) - 1) % 3, day),
        (_, Anchor::YearDay { month, day }) => clamped(number * 12 + i32::from(month) - 1, day),
    }
}

/// The day of the month that comes `months` after January 2000, or that month's last day.
fn clamped(months: i32, day: i8) -> Date {
    let first = date(2000, 1, 1) + months.months();
    let last = first.last_of_month();
    if day < last.day() { first + (i32::from(day) - 1).days() } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone_names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    /// What a clock shows, by the other direction than the one boundaries are made by.
    fn shown(zone: &Zone, at: Micros) -> Date {
        let at = Timestamp::from_microsecond(at).expect("an instant of these years");
        zone.rules.to_datetime(at).date()
    }

    fn days(zone: &Zone, first: Date, end: Date) -> Vec<(Grain, Date)> {
        let starts = boundaries(zone, Cadence::Day, Anchor::EveryDay, first, end);
        let starts = starts.expect("the days of a known zone");
        starts.into_iter().map(|start| (start, shown(zone, start.micros()))).collect()
    }

    /// Whether a civil date starts a period, told from the date alone.
    fn starts_period(cadence: Cadence, start: Date, day: Date) -> bool {
        let month_end = day.tomorrow().expect("no last day").day() == 1;
        let right_day = day.day() == start.day() || (month_end && day.day() < start.day());
        let months = i32::from(day.month()) - i32::from(start.month());
        match cadence {
            Cadence::Day => true,
            Cadence::Week => day.weekday() == start.weekday(),
            Cadence::Month => right_day,
            Cadence::Quarter => right_day && months % 3 == 0,
            Cadence::Year => right_day && months == 0,
        }
    }

    const CADENCES: [Cadence; 5] = [Cadence::Day, Cadence::Week, Cadence::Month, Cadence::Quarter, Cadence::Year];

    #[test]
    fn in_every_zone_days_follow_one_another_across_every_change_of_clocks() {
        let (first, end) = (date(2023, 1, 1), date(2028, 1, 1));
        for name in zone_names() {
            let zone = Zone::named(&name).expect("every zone of the bundle has quarter hours");
            let days = days(&zone, first, end);
            assert_eq!((days[0].1, days[days.len() - 1].1), (first, end), "{name}");
            for pair in days.windows(2) {
                let ((start, day), (next_start, next_day)) = (pair[0], pair[1]);
                assert_eq!(next_day, day.tomorrow().unwrap(), "{name}: no day twice or left out");
                assert_eq!(shown(&zone, next_start.micros() - 1), day, "{name}: no day begins late");
                assert_eq!(start.0 % zone.step.quarters(), 0, "{name}: {day} begins inside a grain");
            }
        }
    }

    #[test]
    fn in_every_zone_all_grains_around_a_change_of_clocks_lie_in_the_period_of_their_date() {
        let (first, end) = (date(2022, 12, 20), date(2028, 1, 10));
        let mut changes = 0;
        for name in zone_names() {
            let zone = Zone::named(&name).expect("a bundled zone");
            let starts = boundaries(&zone, Cadence::Day, Anchor::EveryDay, first, end).unwrap();
            let calendar = Calendar { boundaries: starts.into(), step: zone.step };
            let [from, to] = [date(2023, 1, 1), date(2028, 1, 1)].map(|day| first_instant(&zone.rules, day));
            for change in zone.rules.following(from).take_while(|change| change.timestamp() < to) {
                changes += 1;
                let at = zone.step.grain(change.timestamp().as_microsecond());
                let around = (at.0 - 30 * 4..at.0 + 30 * 4).step_by(zone.step.quarters() as usize);
                let mut before: Option<Interval> = None;
                for grain in around.map(Grain) {
                    let period = calendar.period_containing(grain).expect("a day of these years");
                    assert!(period.contains(grain), "{name}");
                    assert_eq!(
                        shown(&zone, period.from.micros()),
                        shown(&zone, grain.micros()),
                        "{name}: {grain:?} lies in the day its clock shows"
                    );
                    assert!(before.is_none_or(|before| before == period || before.to == period.from));
                    before = Some(period);
                }
            }
        }
        assert!(changes > 1_000, "only {changes} changes of clocks were looked at");
    }

    #[test]
    fn in_every_zone_longer_periods_start_on_the_days_that_their_anchor_names() {
        let (first, end) = (date(2023, 1, 1), date(2025, 3, 1));
        let anchors = [date(2001, 1, 1), date(2024, 2, 29), date(2023, 1, 31), date(2023, 11, 30)];
        for name in zone_names() {
            let zone = Zone::named(&name).expect("a bundled zone");
            let days = days(&zone, first, end);
            for (cadence, start) in CADENCES.into_iter().flat_map(|cadence| anchors.map(|start| (cadence, start))) {
                let anchor = Anchor::of(cadence, start);
                let starts = boundaries(&zone, cadence, anchor, first, end).unwrap();
                let inside = starts.iter().filter(|start| days[0].0 <= **start && **start < days[days.len() - 1].0);
                let expected = days[..days.len() - 1].iter().filter(|(_, day)| starts_period(cadence, start, *day));
                assert!(inside.eq(expected.map(|(start, _)| start)), "{name} {cadence:?} from {start}");
            }
        }
    }

    #[test]
    fn month_ends_never_drift() {
        let days_in = |year, month| match month {
            2 if year % 4 == 0 => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        for day in 28..=31 {
            let mut starts = (0..).map(|number| period_start(Cadence::Month, Anchor::MonthDay(day), number));
            for (year, month) in (2000..2100).flat_map(|year| (1..=12).map(move |month| (year, month))) {
                assert_eq!(starts.next(), Some(date(year, month, day.min(days_in(year, month)))));
            }
        }
    }

    #[test]
    fn a_period_from_january_31_ends_on_february_28_and_the_next_on_march_31() {
        let anchor = Anchor::of(Cadence::Month, date(2025, 1, 31));
        let calendar = Calendar::new("UTC", Cadence::Month, anchor).unwrap();
        let [january, february, march] =
            [date(2025, 1, 31), date(2025, 2, 28), date(2025, 3, 31)].map(|day| first_grain("UTC", day).unwrap());
        assert_eq!(calendar.period_containing(january), Some(Interval { from: january, to: february }));
        assert_eq!(calendar.period_containing(february), Some(Interval { from: february, to: march }));
    }

    #[test]
    fn steps_are_hours_unless_a_zone_ever_needs_quarters() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Africa/Monrovia"] {
            assert_eq!(grain_step(zone), Ok(GrainStep::Hour), "{zone}");
        }
        // Half and three-quarter hours; half an hour of summer time; half an hour until 2016.
        let quarters = ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Caracas"];
        for zone in quarters {
            assert_eq!(grain_step(zone), Ok(GrainStep::Quarter), "{zone}");
        }
    }

    #[test]
    fn a_century_of_periods_tiles_time() {
        for zone in ["UTC", "Pacific/Apia", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo"] {
            for (cadence, anchor) in CADENCES.map(|cadence| (cadence, Anchor::of(cadence, date(2000, 8, 31)))) {
                let calendar = Calendar::new(zone, cadence, anchor).expect("a known zone");
                let first = first_grain(zone, FIRST_DAY).unwrap();
                let end = first_grain(zone, END_DAY).unwrap();
                let mut grain = first;
                while grain < end {
                    let period = calendar.period_containing(grain).expect("no gap in the century");
                    assert!(period.contains(grain), "{zone} {cadence:?}");
                    let last = Grain(period.to.0 - 1);
                    assert_eq!(calendar.period_containing(last), Some(period), "{zone} {cadence:?}");
                    grain = period.to;
                }
                assert_eq!(calendar.period_containing(Grain(0)), None);
                assert_eq!(calendar.period_containing(Grain::MAX), None);
            }
        }
    }

    /// An instant as text, to be read at a glance.
    fn instant(grain: Grain) -> String {
        Timestamp::from_microsecond(grain.micros()).unwrap().to_string()
    }

    #[test]
    fn days_begin_at_their_first_instant() {
        let cases = [
            ("UTC", date(2024, 3, 31), "2024-03-31T00:00:00Z"),
            ("Europe/Berlin", date(2024, 4, 1), "2024-03-31T22:00:00Z"),
            // Clocks jump from midnight to one.
            ("Africa/Cairo", date(2024, 4, 26), "2024-04-25T22:00:00Z"),
            // Midnight comes twice: at the end of one o'clock they go back to it.
            ("America/Havana", date(2024, 11, 3), "2024-11-03T04:00:00Z"),
            // A minute after midnight they go back into the day before; the day has begun.
            ("America/St_Johns", date(2010, 11, 7), "2010-11-07T02:30:00Z"),
            // The date was skipped on the way across the date line, and begins where the next does.
            ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00:00Z"),
        ];
        for (zone, day, expected) in cases {
            assert_eq!(instant(first_grain(zone, day).unwrap()), expected, "{zone} {day}");
        }
    }

    #[test]
    fn a_skipped_date_is_no_period() {
        let calendar = Calendar::new("Pacific/Apia", Cadence::Day, Anchor::EveryDay).unwrap();
        let last = first_grain("Pacific/Apia", date(2011, 12, 29)).unwrap();
        let period = calendar.period_containing(last).unwrap();
        assert_eq!(period.to, first_grain("Pacific/Apia", date(2011, 12, 31)).unwrap());
        assert_eq!(period.to.0 - period.from.0, 24 * 4);
        assert!(calendar.boundaries.is_sorted_by(|earlier, later| earlier < later));
    }

    #[test]
    fn a_day_whose_midnight_lies_inside_a_jump_begins_at_the_jump() {
        let begins = |jump: &str, step| {
            let rules = TimeZone::posix(&format!("WIN0SUM,M3.2.0/{jump},M11.1.0")).unwrap();
            let zone = Zone { name: "Odd/Jump".to_owned(), rules, step };
            zone.first_grain(date(2024, 3, 11)).map(instant).map_err(|error| error.to_string())
        };
        assert_eq!(begins("23:30", GrainStep::Quarter).unwrap(), "2024-03-10T23:30:00Z");
        for (jump, step) in [("23:50", GrainStep::Quarter), ("23:30", GrainStep::Hour)] {
            let error = begins(jump, step).unwrap_err();
            assert!(error.starts_with("in the time zone Odd/Jump, 2024-03-11 does not begin on"));
        }
    }

    #[test]
    fn equal_calendars_have_equal_anchors() {
        let of = |cadence, month, day| Anchor::of(cadence, date(2024, month, day));
        assert_eq!(of(Cadence::Quarter, 11, 30), of(Cadence::Quarter, 5, 30));
        assert_eq!(of(Cadence::Week, 1, 1), Anchor::calendar(Cadence::Week));
        assert_eq!(of(Cadence::Month, 7, 1), Anchor::calendar(Cadence::Month));
        assert_eq!(of(Cadence::Quarter, 10, 1), Anchor::calendar(Cadence::Quarter));
        assert_eq!(of(Cadence::Year, 1, 1), Anchor::calendar(Cadence::Year));
    }

    #[test]
    fn what_makes_no_calendar_is_named() {
        let says = |error: CalendarError| error.to_string();
        for zone in ["Europe/Atlantis", "", "Etc/Unknown", "CET-1"] {
            let error = grain_step(zone).unwrap_err();
            assert_eq!(error, CalendarError::UnknownZone(zone.to_owned()));
        }
        let wrong = Calendar::new("UTC", Cadence::Month, Anchor::Weekday(3)).unwrap_err();
        assert!(says(wrong).contains("Weekday(3)"));
        let wrong = Calendar::new("UTC", Cadence::Month, Anchor::MonthDay(32)).unwrap_err();
        assert!(says(wrong).contains("MonthDay(32)"));
        let early = first_grain("UTC", date(1999, 12, 31)).unwrap_err();
        assert!(says(early).starts_with("1999-12-31 is outside"));
        for at in [0, -1, i64::MIN, i64::MAX] {
            assert!(matches!(local_date("UTC", at), Err(CalendarError::OutOfRange(_))));
        }
    }

    #[test]
    fn an_offset_of_odd_minutes_is_refused() {
        let rules = TimeZone::posix("<+0007>-0:07").unwrap();
        let error = step("Odd/Zone", &rules).unwrap_err();
        assert!(error.to_string().starts_with("the time zone Odd/Zone is +00:07 from UTC"));
    }

    #[test]
    fn local_dates_are_those_of_the_zone() {
        let midnight = date(2024, 6, 1).to_zoned(TimeZone::UTC).unwrap().timestamp().as_microsecond();
        let dates = ["UTC", "America/New_York", "Asia/Kolkata"].map(|zone| local_date(zone, midnight).unwrap());
        assert_eq!(dates, [date(2024, 6, 1), date(2024, 5, 31), date(2024, 6, 1)]);
    }
}
