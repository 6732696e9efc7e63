//! Whole numbers and decimals of any width, as exact quantities.

use arrow_buffer::i256;
use trueup_model::decimal::DecimalError;

use crate::fault::Fault;
use crate::limits::{check_quantity, shown};

/// Whole numbers of a column.
pub(super) enum Integers<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

impl Integers<'_> {
    /// The number at a place.
    #[inline]
    pub fn get(&self, place: usize) -> i128 {
        match self {
            Integers::I8(values) => values[place].into(),
            Integers::I16(values) => values[place].into(),
            Integers::I32(values) => values[place].into(),
            Integers::I64(values) => values[place].into(),
            Integers::U8(values) => values[place].into(),
            Integers::U16(values) => values[place].into(),
            Integers::U32(values) => values[place].into(),
            Integers::U64(values) => values[place].into(),
        }
    }

    /// The number at a place as a count of 10^-`scale`.
    #[inline]
    pub fn quantity(&self, place: usize, property: &str, scale: u32) -> Result<i128, Fault> {
        checked(rescaled(self.get(place), 0, scale), property, scale, || self.get(place).to_string())
    }
}

/// Decimals of a column, and how many places they have; fewer than none means that zeros at the
/// end were left out.
pub(super) enum Decimals<'a> {
    D32(&'a [i32], i8),
    D64(&'a [i64], i8),
    D128(&'a [i128], i8),
    D256(&'a [i256], i8),
}

impl Decimals<'_> {
    /// The number at a place as a count of 10^-`scale`.
    pub fn quantity(&self, place: usize, property: &str, scale: u32) -> Result<i128, Fault> {
        let quantity = match self {
            Decimals::D32(values, places) => rescaled(values[place].into(), *places, scale),
            Decimals::D64(values, places) => rescaled(values[place].into(), *places, scale),
            Decimals::D128(values, places) => rescaled(values[place], *places, scale),
            Decimals::D256(values, places) => rescaled_wide(values[place], *places, scale),
        };
        checked(quantity, property, scale, || self.written(place))
    }

    /// The number at a place with all its digits.
    pub fn written(&self, place: usize) -> String {
        let (digits, places) = match self {
            Decimals::D32(values, places) => (values[place].to_string(), *places),
            Decimals::D64(values, places) => (values[place].to_string(), *places),
            Decimals::D128(values, places) => (values[place].to_string(), *places),
            Decimals::D256(values, places) => (values[place].to_string(), *places),
        };
        pointed(&digits, places)
    }
}

/// Digits with their point: `pointed("-5", 2)` is `-0.05`.
fn pointed(digits: &str, places: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    match usize::try_from(places) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(places) => {
            let digits = format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) if digits == "0" => digits.to_owned(),
        Err(_) => format!("{sign}{digits}{}", "0".repeat(usize::from(places.unsigned_abs()))),
    }
}

/// A count of 10^-`places` as a count of 10^-`scale`. Law: the same number, or an error.
#[inline]
fn rescaled(units: i128, places: i8, scale: u32) -> Result<i128, DecimalError> {
    let shift = i64::from(scale) - i64::from(places);
    let power = 10i128.checked_pow(shift.unsigned_abs() as u32);
    match power {
        _ if units == 0 => Ok(0),
        Some(power) if shift >= 0 => units.checked_mul(power).ok_or(DecimalError::TooLarge),
        None if shift >= 0 => Err(DecimalError::TooLarge),
        Some(power) if units % power == 0 => Ok(units / power),
        _ => Err(DecimalError::TooFine { places: scale }),
    }
}

fn rescaled_wide(units: i256, places: i8, scale: u32) -> Result<i128, DecimalError> {
    if let Some(narrow) = units.to_i128() {
        return rescaled(narrow, places, scale);
    }
    // Beyond an `i128` only a number that sheds places fits: at most 76 digits have a power here.
    let shed = (i64::from(places) - i64::from(scale)).max(0) as u32;
    let power = i256::from_i128(10).checked_pow(shed).ok_or(DecimalError::TooFine { places: scale })?;
    if units.checked_rem(power) != Some(i256::ZERO) {
        return Err(DecimalError::TooFine { places: scale });
    }
    let narrow = units.checked_div(power).and_then(i256::to_i128).ok_or(DecimalError::TooLarge)?;
    rescaled(narrow, places.min(scale as i8), scale)
}

#[inline]
fn checked(
    quantity: Result<i128, DecimalError>,
    property: &str,
    scale: u32,
    written: impl Fn() -> String,
) -> Result<i128, Fault> {
    let quantity = quantity.map_err(|error| {
        let shown = shown(&written());
        Fault::out_of_range(format!("`data.{property}` is {shown}: {error}"))
    })?;
    check_quantity(property, quantity, scale)?;
    Ok(quantity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trueup_model::decimal;

    use super::*;

    #[test]
    fn digits_have_their_point() {
        assert_eq!(pointed("1250", 2), "12.50");
        assert_eq!(pointed("-5", 2), "-0.05");
        assert_eq!(pointed("7", 0), "7");
        assert_eq!(pointed("-7", -3), "-7000");
        assert_eq!(pointed("0", -3), "0");
    }

    #[test]
    fn wide_numbers_shed_places() {
        let one = i256::from_i128(10).checked_pow(60).unwrap();
        let wide = i256::from_i128(1_234_567).checked_mul(one).unwrap();
        assert_eq!(rescaled_wide(wide, 60, 0), Ok(1_234_567));
        assert_eq!(rescaled_wide(wide, 60, 3), Ok(1_234_567_000));
        assert_eq!(rescaled_wide(wide, 63, 2), Err(DecimalError::TooFine { places: 2 }));
        assert_eq!(rescaled_wide(wide, 10, 2), Err(DecimalError::TooLarge));
        assert_eq!(rescaled_wide(wide, -10, 2), Err(DecimalError::TooLarge));
    }

    proptest! {
        /// What is in a column and the same as text are the same quantity, or neither is one.
        #[test]
        fn a_decimal_is_what_its_digits_say(units: i64, places in -6i8..20, scale in 0u32..13) {
            let text = pointed(&units.to_string(), places);
            let is_kept = |read: &i128| check_quantity("n", *read, scale).is_ok();
            let kept = |read: Result<i128, DecimalError>| read.ok().filter(is_kept);
            let read = kept(decimal::parse(&text, scale));
            prop_assert_eq!(kept(rescaled(units.into(), places, scale)), read, "{}", text);
            prop_assert_eq!(kept(rescaled_wide(units.into(), places, scale)), read);
        }
    }
}
