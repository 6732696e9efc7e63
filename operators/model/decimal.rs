//! Decimal text, and the integers that stand for it.
//!
//! A number with `places` decimal places is kept as the integer count of 10^-`places`. Law: what
//! is read is exactly what was written, or it is refused; nothing is ever rounded, and showing
//! a number and reading it again gives the same number.

use thiserror::Error;

/// The most digits a number may have before its point. With twelve places behind it, a number
/// stays below 10^36 in units of 10^-12, far inside an `i128`.
pub const WHOLE_DIGITS_MAX: usize = 24;

/// The greatest exponent, up or down, that is read; more is a mistake or an attack.
pub const EXPONENT_MAX: i32 = 99;

/// How many digits always fit into a `u64`.
const PLAIN_DIGITS_MAX: usize = 19;

/// Why a text is not a number we keep.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// There is no text.
    #[error("the number is empty; write digits, such as 12.5")]
    Empty,
    /// NaN or an infinity.
    #[error("the number is not finite; write digits, such as 12.5")]
    NotFinite,
    /// A character that has no place there.
    #[error("unexpected `{found}` at byte {at} of the number; write it like -12.5 or 1.25e3")]
    Unexpected {
        /// The character.
        found: char,
        /// Where it begins, in bytes from the start of the text.
        at: usize,
    },
    /// A sign, point or exponent without the digits that belong to it.
    #[error("digits are missing at byte {at} of the number; write it like -12.5 or 1.25e3")]
    MissingDigits {
        /// Where they should be, in bytes from the start of the text.
        at: usize,
    },
    /// Too many digits before the point.
    #[error("the number has more than {WHOLE_DIGITS_MAX} digits before its point")]
    TooLarge,
    /// More decimal places than are kept.
    #[error("the number has more than {places} decimal places; round it first, we never do")]
    TooFine {
        /// How many are kept.
        places: u32,
    },
    /// An exponent beyond reason.
    #[error("the exponent of the number is beyond {EXPONENT_MAX}; write the digits out")]
    ExponentTooLarge,
}

/// Reads decimal text as a count of 10^-`places`: an optional sign, digits, optionally a point
/// and digits, optionally an exponent, and nothing else, no space either.
///
/// Never allocates and never rounds: digits beyond `places` are refused unless they are zeros,
/// as are more than 24 digits before the point. With up to 14 `places` every other number fits;
/// with more, those that do not are [`DecimalError::TooLarge`].
///
/// ```
/// # use trueup_model::decimal::parse;
/// assert_eq!(parse("12.50", 3), Ok(12_500));
/// assert!(parse("0.0001", 3).is_err());
/// ```
pub fn parse(text: &str, places: u32) -> Result<i128, DecimalError> {
    match parse_plain(text.as_bytes(), places) {
        Some(units) => Ok(units),
        None => Written::read(text)?.units(places),
    }
}

/// The common case in one pass over machine words: few digits, no exponent, nothing odd. None
/// says nothing about the text, only that it takes the long way.
#[inline]
fn parse_plain(bytes: &[u8], places: u32) -> Option<i128> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > PLAIN_DIGITS_MAX {
        return None;
    }
    let (mut units, mut point) = (0u64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => units = units * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    let fraction = match point {
        Some(at) => digits.len() - at - 1,
        None if digits.is_empty() => return None,
        None => 0,
    };
    if point.is_some() && fraction == 0 {
        return None;
    }
    let missing = places.checked_sub(fraction as u32)?;
    let units = i128::from(units).checked_mul(power(missing)?)?;
    Some(if negative { -units } else { units })
}

/// 10^`exponent`, if it fits.
fn power(exponent: u32) -> Option<i128> {
    /// The powers that occur on the hot path, looked up rather than multiplied.
    const POWERS: [i128; 20] = {
        let mut powers = [1; 20];
        let mut at = 1;
        while at < powers.len() {
            powers[at] = powers[at - 1] * 10;
            at += 1;
        }
        powers
    };
    match POWERS.get(exponent as usize) {
        Some(power) => Some(*power),
        None => 10i128.checked_pow(exponent),
    }
}

/// A number as it is written, every part checked for form.
struct Written<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Written<'a> {
    fn read(text: &'a str) -> Result<Written<'a>, DecimalError> {
        let mut rest = Cursor { text, at: 0 };
        if text.is_empty() {
            return Err(DecimalError::Empty);
        }
        let negative = rest.sign();
        if rest.is_not_finite() {
            return Err(DecimalError::NotFinite);
        }
        let whole = rest.digits()?;
        let fraction = if rest.skip(b".") { rest.digits()? } else { &[] };
        let exponent = if rest.skip(b"eE") { rest.exponent()? } else { 0 };
        rest.end()?;
        Ok(Written { negative, whole, fraction, exponent })
    }

    /// Slides the point by the exponent and checks that nothing is lost on either side.
    fn units(&self, places: u32) -> Result<i128, DecimalError> {
        let written = || self.whole.iter().chain(self.fraction);
        let leading = written().take_while(|digit| **digit == b'0').count();
        let trailing = written().rev().take_while(|digit| **digit == b'0').count();
        let length = self.whole.len() + self.fraction.len();
        if leading == length {
            return Ok(0);
        }
        // The number is `significant` digits times 10^scale.
        let significant = length - leading - trailing;
        let scale = i64::from(self.exponent) + trailing as i64 - self.fraction.len() as i64;
        if significant as i64 + scale > WHOLE_DIGITS_MAX as i64 {
            return Err(DecimalError::TooLarge);
        }
        let shift = u32::try_from(i64::from(places) + scale).map_err(|_| DecimalError::TooFine { places })?;
        let magnitude = written()
            .skip(leading)
            .take(significant)
            .try_fold(0i128, |sum, digit| sum.checked_mul(10)?.checked_add(i128::from(digit - b'0')))
            .and_then(|digits| digits.checked_mul(power(shift)?))
            .ok_or(DecimalError::TooLarge)?;
        Ok(if self.negative { -magnitude } else { magnitude })
    }
}

/// What of a text is still to be read.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Steps over one of these bytes, if it comes next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.rest().first().is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// Steps over a sign; whether it is a minus.
    fn sign(&mut self) -> bool {
        let negative = self.skip(b"-");
        if !negative {
            self.skip(b"+");
        }
        negative
    }

    fn is_not_finite(&self) -> bool {
        let rest = self.rest();
        ["nan", "inf", "infinity"].iter().any(|word| rest.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Steps over one or more digits.
    fn digits(&mut self) -> Result<&'a [u8], DecimalError> {
        let rest = self.rest();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            self.end()?;
            return Err(DecimalError::MissingDigits { at: self.at });
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn exponent(&mut self) -> Result<i32, DecimalError> {
        let negative = self.sign();
        let exponent = self
            .digits()?
            .iter()
            .fold(0i32, |sum, digit| sum.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
        if exponent > EXPONENT_MAX {
            return Err(DecimalError::ExponentTooLarge);
        }
        Ok(if negative { -exponent } else { exponent })
    }

    /// Makes sure that nothing is left.
    fn end(&self) -> Result<(), DecimalError> {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            None => Ok(()),
            Some(found) => Err(DecimalError::Unexpected { found, at: self.at }),
        }
    }
}

/// The number that `units` of 10^-`places` stand for, with no more digits than it needs.
pub fn show(units: i128, places: u32) -> String {
    show_fixed(units, places, 0)
}

/// The number that `units` of 10^-`places` stand for, with at least `shown_places` digits after
/// the point. Further digits appear only if they are needed, since hiding them would round.
pub fn show_fixed(units: i128, places: u32, shown_places: u32) -> String {
    let (places, shown_places) = (places as usize, shown_places as usize);
    // At least one digit stands before the point.
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let needed = fraction.trim_end_matches('0').len();
    let sign = if units < 0 { "-" } else { "" };
    match needed.max(shown_places) {
        0 => format!("{sign}{whole}"),
        shown => format!("{sign}{whole}.{:0<shown$}", &fraction[..needed]),
    }
}

/// The same number counted in 10^-`to_places` instead of 10^-`from_places`; none if it has more
/// digits than that, or is too large to be so counted.
pub fn rescale(units: i128, from_places: u32, to_places: u32) -> Option<i128> {
    if units == 0 {
        return Some(0);
    }
    match to_places.checked_sub(from_places) {
        Some(added) => units.checked_mul(power(added)?),
        None => {
            let cut = power(from_places - to_places)?;
            (units % cut == 0).then(|| units / cut)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    #[test]
    fn what_is_written_is_what_is_kept() {
        let cases: [(&str, u32, i128); 24] = [
            ("0", 12, 0),
            ("-0", 12, 0),
            ("+7", 0, 7),
            ("12.5", 12, 12_500_000_000_000),
            ("-12.50", 1, -125),
            ("007", 0, 7),
            ("0.000000000001", 12, 1),
            ("1.000", 0, 1),
            ("1.00000000000000000000000000000000000000000000000", 2, 100),
            ("0.00000000000000000000000000000000000000000000000e99", 2, 0),
            ("0000000000000000000000000000000000000000000000001", 0, 1),
            ("1e3", 0, 1_000),
            ("1E+3", 2, 100_000),
            ("-1.25e1", 1, -125),
            ("1500e-3", 1, 15),
            ("1e-12", 12, 1),
            ("0e99", 12, 0),
            ("0.000001e24", 0, 1_000_000_000_000_000_000),
            ("9999999999999999999", 0, 9_999_999_999_999_999_999),
            ("99999999999999999.9", 1, 999_999_999_999_999_999),
            ("999999999999999999999999", 0, 999_999_999_999_999_999_999_999),
            ("-999999999999999999999999.999999999999", 12, 1 - 10i128.pow(36)),
            ("999999999999999999999999.99999999999999", 14, 10i128.pow(38) - 1),
            ("1", 38, 10i128.pow(38)),
        ];
        for (text, places, units) in cases {
            assert_eq!(parse(text, places), Ok(units), "{text} at {places} places");
        }
    }

    #[test]
    fn what_is_not_a_number_is_told_why() {
        use DecimalError::*;
        let unexpected = |found, at| Unexpected { found, at };
        let cases = [
            ("", Empty),
            ("NaN", NotFinite),
            ("-inf", NotFinite),
            ("Infinity", NotFinite),
            ("-", MissingDigits { at: 1 }),
            ("--1", unexpected('-', 1)),
            ("+-1", unexpected('-', 1)),
            (".", unexpected('.', 0)),
            (".5", unexpected('.', 0)),
            ("5.", MissingDigits { at: 2 }),
            ("5.e1", unexpected('e', 2)),
            ("1.2.3", unexpected('.', 3)),
            ("1e", MissingDigits { at: 2 }),
            ("1e+", MissingDigits { at: 3 }),
            ("1e1.5", unexpected('.', 3)),
            ("e5", unexpected('e', 0)),
            (" 1", unexpected(' ', 0)),
            ("1 ", unexpected(' ', 1)),
            ("1,5", unexpected(',', 1)),
            ("1_000", unexpected('_', 1)),
            ("0x10", unexpected('x', 1)),
            ("1\u{0}", unexpected('\u{0}', 1)),
            ("\u{661}", unexpected('\u{661}', 0)),
            ("1e100", ExponentTooLarge),
            ("0e-100", ExponentTooLarge),
            ("1e99999999999999999999", ExponentTooLarge),
            ("1000000000000000000000000", TooLarge),
            ("1e24", TooLarge),
            ("1e99", TooLarge),
            ("0.0000000000001", TooFine { places: 12 }),
            ("1e-13", TooFine { places: 12 }),
            ("1.0000000000001", TooFine { places: 12 }),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text, 12), Err(error), "{text:?}");
        }
        assert_eq!(parse("100", 37), Err(TooLarge));
        assert_eq!(parse("1", 99), Err(TooLarge));
    }

    #[test]
    fn numbers_are_shown_with_the_digits_they_need() {
        assert_eq!(show(0, 12), "0");
        assert_eq!(show(-500_000_000_000, 12), "-0.5");
        assert_eq!(show(1_500, 3), "1.5");
        assert_eq!(show(-1_000, 3), "-1");
        assert_eq!(show(1_000, 0), "1000");
        assert_eq!(show(i128::MIN, 38), "-1.70141183460469231731687303715884105728");
        assert_eq!(show_fixed(0, 12, 2), "0.00");
        assert_eq!(show_fixed(-1_500, 3, 2), "-1.50");
        assert_eq!(show_fixed(1_505, 3, 2), "1.505");
        assert_eq!(show_fixed(7, 0, 2), "7.00");
    }

    #[test]
    fn rescaling_is_exact_or_refused() {
        assert_eq!(rescale(125, 2, 12), Some(1_250_000_000_000));
        assert_eq!(rescale(1_250, 3, 2), Some(125));
        assert_eq!(rescale(-1_255, 3, 2), None);
        assert_eq!(rescale(i128::MAX, 0, 1), None);
        assert_eq!(rescale(1, 0, 39), None);
        assert_eq!(rescale(1, 39, 0), None);
        assert_eq!(rescale(0, 99, 0), Some(0));
    }

    /// Decimal text of any length on either side of the point.
    fn written() -> impl Strategy<Value = String> {
        let digits = |range| prop::collection::vec(0u8..10, range);
        let joined = |digits: Vec<u8>| digits.iter().map(u8::to_string).collect::<String>();
        (prop::sample::select(vec!["", "-"]), digits(1..28), digits(0..14)).prop_map(move |(sign, whole, fraction)| {
            match fraction.is_empty() {
                true => format!("{sign}{}", joined(whole)),
                false => format!("{sign}{}.{}", joined(whole), joined(fraction)),
            }
        })
    }

    proptest! {
        #[test]
        fn an_independent_reader_agrees(text in written()) {
            if let (Ok(units), Ok(other)) = (parse(&text, 12), Decimal::from_str_exact(&text)) {
                let other = rescale(other.mantissa(), other.scale(), 12);
                prop_assert_eq!(Some(units), other);
            }
        }

        #[test]
        fn both_ways_of_reading_agree(text in written(), places in 0u32..20) {
            let long = Written::read(&text).and_then(|written| written.units(places));
            match parse_plain(text.as_bytes(), places) {
                Some(units) => prop_assert_eq!(long, Ok(units)),
                None => prop_assert_eq!(parse(&text, places), long),
            }
        }

        #[test]
        fn what_is_shown_reads_back(
            units in -10i128.pow(36) + 1..10i128.pow(36),
            shown_places in 0u32..20,
        ) {
            prop_assert_eq!(parse(&show(units, 12), 12), Ok(units));
            prop_assert_eq!(parse(&show_fixed(units, 12, shown_places), 12), Ok(units));
        }

        #[test]
        fn an_exponent_only_slides_the_point(
            units in -10i128.pow(18)..10i128.pow(18),
            by in 0u32..24,
        ) {
            let text = format!("{}e-{by}", show(units, 12));
            prop_assert_eq!(parse(&text, 12 + by), parse(&show(units, 12), 12));
        }

        #[test]
        fn no_text_panics(any in ".{0,12}", nearly in "[-+.eE019nN ]{0,12}") {
            for text in [any, nearly] {
                if let Ok(units) = parse(&text, 12) {
                    prop_assert_eq!(parse(&show(units, 12), 12), Ok(units));
                }
            }
        }
    }
}
