//! Instants from the dates of catalog files. A date means its first instant in a time zone; a
//! time of day without an offset is what clocks show in that zone.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use toml::value::Datetime;
use trueup_model::calendar;
use trueup_model::grain::Micros;

/// The instant that is meant by `written` in `zone`, or what is wrong with it.
pub(super) fn moment(written: Datetime, zone: &str) -> Result<Micros, String> {
    let date = written.date.ok_or("it has no date; write one such as 2026-07-01")?;
    let date = Date::new(date.year as i16, date.month as i8, date.day as i8).map_err(|error| error.to_string())?;
    let Some(time) = written.time else {
        return calendar::first_grain(zone, date).map(|grain| grain.micros()).map_err(|error| error.to_string());
    };
    let (second, nanosecond) = (time.second.unwrap_or(0).min(59), time.nanosecond.unwrap_or(0));
    let time = Time::new(time.hour as i8, time.minute as i8, second as i8, nanosecond as i32);
    let shown = date.to_datetime(time.map_err(|error| error.to_string())?);
    match written.offset {
        Some(toml::value::Offset::Z) => in_zone(shown, &TimeZone::UTC),
        Some(toml::value::Offset::Custom { minutes }) => {
            let offset = Offset::from_seconds(i32::from(minutes) * 60).map_err(|error| error.to_string())?;
            in_zone(shown, &TimeZone::fixed(offset))
        }
        None => in_zone(shown, &calendar::zone_rules(zone).map_err(|error| error.to_string())?),
    }
}

fn in_zone(shown: DateTime, zone: &TimeZone) -> Result<Micros, String> {
    let instant = zone.to_ambiguous_timestamp(shown).unambiguous();
    let unclear =
        |_| format!("clocks show {shown} twice or never on that day; add the offset from UTC, such as {shown}+02:00");
    instant.map(|instant| instant.as_microsecond()).map_err(unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(written: &str, zone: &str) -> Result<Micros, String> {
        moment(written.parse().expect("the test writes TOML times"), zone)
    }

    #[test]
    fn a_date_is_its_first_instant_in_the_zone() {
        assert_eq!(instant("2026-07-01", "UTC"), Ok(1_782_864_000_000_000));
        assert_eq!(instant("2026-07-01", "Europe/Berlin"), Ok(1_782_864_000_000_000 - 2 * 3_600_000_000));
        assert_eq!(instant("2026-07-01T00:00:00", "Europe/Berlin"), instant("2026-07-01", "Europe/Berlin"));
        assert_eq!(instant("2026-07-01T02:00:00+02:00", "Asia/Tokyo"), instant("2026-07-01", "UTC"));
        assert_eq!(instant("2026-07-01T00:00:00Z", "Asia/Tokyo"), instant("2026-07-01", "UTC"));
    }

    #[test]
    fn times_that_clocks_do_not_show_once_are_refused() {
        let twice = instant("2026-10-25T02:30:00", "Europe/Berlin").expect_err("clocks go back then");
        assert_eq!(
            twice,
            "clocks show 2026-10-25T02:30:00 twice or never on that day; add the offset from UTC, such as 2026-10-25T02:30:00+02:00"
        );
        assert!(instant("2026-03-29T02:30:00", "Europe/Berlin").is_err());
        assert!(instant("1999-07-01", "UTC").is_err());
    }
}
