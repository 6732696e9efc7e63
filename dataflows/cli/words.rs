//! Numbers, amounts and times as people write them. Nothing is rounded on the way.

use jiff::Timestamp;
use jiff::civil::Date;
use trueup_model::calendar;
use trueup_model::currency::Currency;
use trueup_model::decimal;
use trueup_model::grain::Micros;
use trueup_model::money::PLACES;

use super::failure::Failure;

/// A quantity, in units of 10^-12: `1,234,567.5`.
pub fn quantity(units: i128) -> String {
    grouped(&decimal::show(units, PLACES))
}

/// An amount, in units of 10^-12, with at least the places of its currency: `1,234.50`.
pub fn amount(units: i128, currency: &str) -> String {
    grouped(&decimal::show_fixed(units, PLACES, minor_places(currency)))
}

/// An amount with its sign, also if it is more: `+3.20`.
pub fn difference(units: i128, currency: &str) -> String {
    let sign = if units > 0 { "+" } else { "" };
    format!("{sign}{}", amount(units, currency))
}

/// A count: `28,185`.
pub fn count(number: impl TryInto<i128>) -> String {
    number.try_into().map_or_else(|_| "?".to_owned(), |number| grouped(&number.to_string()))
}

/// A count of things: `1 call`, `2 calls`.
pub fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(number as i128), if number == 1 { "" } else { "s" })
}

/// That inputs were set aside: `1 input was set aside`.
pub fn set_aside(inputs: i64) -> String {
    let verb = if inputs == 1 { "was" } else { "were" };
    format!("{} {verb} set aside", counted(usize::try_from(inputs).unwrap_or_default(), "input"))
}

/// The decimal places of a currency's minor unit.
pub fn minor_places(currency: &str) -> u32 {
    currency.parse::<Currency>().map_or(2, Currency::minor_places)
}

fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.map_or(text.clone(), |fraction| format!("{text}.{fraction}"))
}

/// An instant in UTC, no finer than it is: `2023-11-16 18:15`.
pub fn instant(at: Micros) -> String {
    let Ok(at) = Timestamp::from_microsecond(at) else { return format!("{at} us") };
    let text = at.to_string().replace('T', " ");
    let text = text.trim_end_matches('Z');
    text.strip_suffix(":00").unwrap_or(text).to_owned()
}

/// The time of day in UTC: `18:15`.
pub fn time_of_day(at: Micros) -> String {
    instant(at).get(11..16).unwrap_or_default().to_owned()
}

/// An interval by the calendar of a zone: `2023-11` for a month, `2023-11-16` for a day, else
/// its first and its last day.
pub fn period(zone: &str, from: Micros, to: Micros) -> String {
    let day = |at| calendar::local_date(zone, at);
    let (Ok(first), Ok(last)) = (day(from), day(to - 1)) else {
        return format!("{} to {}", instant(from), instant(to));
    };
    let is_month = first.day() == 1 && last == first.last_of_month();
    match is_month {
        true => month(first),
        false if first == last => first.to_string(),
        false => format!("{first} to {last}"),
    }
}

fn month(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

/// Reads an instant: RFC 3339 with its offset, or a date, which means its first instant in UTC.
pub fn parse_instant(text: &str) -> Result<Micros, Failure> {
    parse_instant_in(text, "UTC")
}

/// Reads an instant: RFC 3339 with its offset, or a date, which means its first instant in a zone.
pub fn parse_instant_in(text: &str, zone: &str) -> Result<Micros, Failure> {
    if let Ok(day) = text.parse::<Date>()
        && text.len() == DATE.len()
    {
        let first = calendar::first_grain(zone, day).map(|grain| grain.micros());
        return first.map_err(|error| Failure::Input(format!("`{text}` is no date to count from: {error}")));
    }
    let wrong = |_| Failure::Input(format!("`{text}` is no time: write it like {DATE} or 2026-07-01T12:00:00Z"));
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(wrong)
}

/// How a date is written.
const DATE: &str = "2026-07-01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(count(0), "0");
        assert_eq!(count(-1_234_567), "-1,234,567");
        assert_eq!(amount(-999_500_000_000_000, "USD"), "-999.50");
        assert_eq!(quantity(1_000_000_000_000_001), "1,000.000000000001");
        assert_eq!(difference(5_000_000_000_000, "JPY"), "+5");
    }

    #[test]
    fn a_date_begins_where_it_is_lived_and_a_time_is_one_everywhere() {
        let at = |text, zone| parse_instant_in(text, zone).ok();
        assert_eq!(at("2026-07-01", "Europe/Berlin"), at("2026-06-30T22:00:00Z", "Europe/Berlin"));
        assert_eq!(at("2026-07-01", "UTC"), at("2026-07-01T02:00:00+02:00", "Asia/Tokyo"));
        assert_eq!([at("1999-07-01", "UTC"), at("yesterday", "UTC"), at("2026-07-01T12:00:00", "UTC")], [None; 3]);
    }

    #[test]
    fn a_period_is_called_by_the_calendar_of_its_zone() {
        let midnight =
            |day: &str| trueup_model::calendar::first_grain("Asia/Kathmandu", day.parse().unwrap()).unwrap().micros();
        assert_eq!(period("Asia/Kathmandu", midnight("2023-11-17"), midnight("2023-11-18")), "2023-11-17");
        assert_eq!(period("Asia/Kathmandu", midnight("2023-11-01"), midnight("2023-12-01")), "2023-11");
        assert_eq!(
            period("Asia/Kathmandu", midnight("2023-11-10"), midnight("2023-12-01")),
            "2023-11-10 to 2023-11-30"
        );
    }
}
