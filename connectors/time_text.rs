//! Instants from text. Law: the common form is read by a short path that agrees with the general
//! reader wherever it gives an answer; where it gives none, the general reader decides.
//!
//! Digits finer than a microsecond are cut off, towards the past.

use jiff::Timestamp;
use trueup_model::grain::Micros;

use crate::fault::Fault;
use crate::limits::shown;

/// Reads an instant with its offset from UTC, as RFC 3339 writes it.
pub(crate) fn instant(attribute: &str, text: &str) -> Result<Micros, Fault> {
    let plain = text.as_bytes().strip_suffix(b"Z").and_then(|civil| utc(civil, b'T'));
    plain.or_else(|| general(text)).ok_or_else(|| {
        let shown = shown(text);
        Fault::out_of_range(format!(
            "`{attribute}` is {shown}, which is no instant; write it like 2026-06-01T08:30:00Z or \
             2026-06-01T10:30:00.25+02:00"
        ))
    })
}

/// Reads an instant that is written without an offset and means UTC: `2026-06-01 08:30:00.25`.
pub(crate) fn utc_instant(attribute: &str, text: &str) -> Result<Micros, Fault> {
    utc(text.as_bytes(), b' ').ok_or_else(|| {
        let shown = shown(text);
        Fault::out_of_range(format!(
            "`{attribute}` is {shown}, which is no instant in UTC; write it like 2026-06-01 08:30:00.25"
        ))
    })
}

fn general(text: &str) -> Option<Micros> {
    // jiff reads offsets of up to 25 hours; RFC 3339 (section 5.6) has no more than 23.
    let offset = text.get(10..).and_then(|time| time.rsplit_once(['+', '-'])).map(|(_, offset)| offset.as_bytes());
    if offset.and_then(|offset| number(offset.get(..2)?)).is_some_and(|hours| hours > 23) {
        return None;
    }
    let instant: Timestamp = text.parse().ok()?;
    let micros = instant.as_microsecond();
    // jiff cuts towards zero; before 1970 that is towards the future.
    let is_cut = instant.subsec_nanosecond() % 1000 < 0;
    Some(micros - i64::from(is_cut))
}

/// `YYYY-MM-DD?HH:MM:SS`, with a fraction of up to nine digits or none.
fn utc(text: &[u8], separator: u8) -> Option<Micros> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, between, h1, h2, b':', n1, n2, b':', s1, s2, ref fraction @ ..] =
        text
    else {
        return None;
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if between != separator || !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * 1_000_000 + i64::from(fraction_micros(fraction)?))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
}

fn fraction_micros(fraction: &[u8]) -> Option<u32> {
    let digits = match fraction {
        [] => return Some(0),
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let nanos = number(digits)? * 10u32.pow(9 - digits.len() as u32);
    Some(nanos / 1000)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from 1970-01-01 on. Years are counted from March, so that a leap day ends its year.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(year * 365 + leap_days + day_of_year) - 865_565
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn common_forms_are_read() {
        let micros = |text| instant("time", text).ok();
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("2026-06-01T00:00:00Z"), Some(1_780_272_000_000_000));
        assert_eq!(micros("2026-06-01T02:00:00+02:00"), Some(1_780_272_000_000_000));
        assert_eq!(micros("2024-02-29T23:59:59.1234567Z"), Some(1_709_251_199_123_456));
        assert_eq!(micros("1969-12-31T23:59:59.9999999Z"), Some(-1));
        assert_eq!(micros("1969-12-31T23:59:59.9999999+00:00"), Some(-1));
        assert_eq!(utc_instant("time", "2023-11-16 18:17:03.9799600").ok(), Some(1_700_158_623_979_960));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "yesterday", "2026-06-01", "2026-06-01T00:00:00", "2026-02-29T00:00:00Z", "1780272000"] {
            assert!(instant("time", text).is_err(), "{text}");
        }
        for offset in ["-25:00", "+24:00", "+2400"] {
            assert!(instant("time", &format!("2026-06-01T00:00:00{offset}")).is_err(), "{offset}");
        }
        assert!(instant("time", "2026-06-24T00:00:00Z").is_ok(), "the day is no offset");
        assert!(instant("time", "2026-06-24T00:00:00+23:00").is_ok());
        assert!(utc_instant("time", "2026-06-01T00:00:00").is_err());
    }

    proptest! {
        #[test]
        fn the_short_path_agrees_with_the_general_one(
            year in 0u32..=9999, month in 0u32..=13, day in 0u32..=32,
            hour in 0u32..=24, minute in 0u32..=60, second in 0u32..=61, fraction in "(\\.[0-9]{1,10})?",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}");
            if let Some(micros) = utc(text.as_bytes(), b'T') {
                prop_assert_eq!(Some(micros), general(&format!("{text}Z")));
            }
        }
    }
}
