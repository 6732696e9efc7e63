//! Prices and rounding in exact fractions.
//!
//! Law: an amount is worked out as a fraction and cut once.

use num_bigint::BigInt;
use num_rational::BigRational;
use trueup_model::money::{Rounding, RoundingMode, RoundingScope};
use trueup_model::price::{Price, Tier};

/// One unit of money or of a quantity, in those of 10^-12.
pub(super) const ONE: i128 = 1_000_000_000_000;
/// The largest amount that is kept: 10^18, in units of 10^-12.
pub(super) const AMOUNT_MAX: i128 = ONE * ONE * 1_000_000;

/// What a quantity costs, both in units of 10^-12, cut half to even. An amount beyond twice the largest
/// that is kept is told as that much: any is too large.
pub(super) fn of(price: &Price, quantity: i128) -> i128 {
    let exact = match price {
        Price::Flat { amount } => units(*amount),
        // What is taken back costs minus what it cost.
        _ if quantity < 0 => -used(price, units(-quantity)),
        _ => used(price, units(quantity)),
    };
    let most = BigRational::from_integer(BigInt::from(2 * AMOUNT_MAX));
    let told = (exact * units_per_one()).clamp(-most.clone(), most);
    rounded(&told, 0, RoundingMode::HalfEven)
}

/// What a quantity that is not negative costs.
fn used(price: &Price, quantity: BigRational) -> BigRational {
    let zero = units(0);
    if quantity == zero {
        return zero;
    }
    match price {
        Price::PerUnit { unit } => units(*unit) * quantity,
        Price::Graduated { tiers } => tiers.iter().zip(bounds(tiers)).fold(zero, |sum, (tier, (below, up_to))| {
            if quantity <= below {
                return sum;
            }
            let reached = up_to.filter(|up_to| *up_to < quantity).unwrap_or_else(|| quantity.clone());
            sum + units(tier.unit) * (reached - below) + units(tier.flat)
        }),
        Price::Volume { tiers } => {
            let holds = |up_to: Option<BigRational>| up_to.is_none_or(|up_to| quantity <= up_to);
            let (tier, _) = tiers
                .iter()
                .zip(bounds(tiers))
                .find(|(_, (_, up_to))| holds(up_to.clone()))
                .expect("the last tier has no upper bound");
            units(tier.unit) * quantity + units(tier.flat)
        }
        Price::Package { size, price } => (quantity / units(*size)).ceil() * units(*price),
        Price::Flat { amount } => units(*amount),
    }
}

/// The bound below each tier, and its own.
fn bounds(tiers: &[Tier]) -> Vec<(BigRational, Option<BigRational>)> {
    let below = std::iter::once(0).chain(tiers.iter().filter_map(|tier| tier.up_to));
    below.zip(tiers).map(|(below, tier)| (units(below), tier.up_to.map(units))).collect()
}

/// What is billed for the amounts of successive service periods.
pub(super) fn billed(amounts: &[i128], rounding: Rounding, minor_places: u32) -> Vec<i128> {
    let places = rounding.places.unwrap_or(minor_places).min(12);
    let cut = |amount: i128| rounded(&BigRational::from_integer(BigInt::from(amount)), 12 - places, rounding.mode);
    let running = |lines: usize| cut(amounts[..lines].iter().sum());
    (0..amounts.len())
        .map(|line| match rounding.scope {
            RoundingScope::Line => cut(amounts[line]),
            RoundingScope::Cumulative => running(line + 1) - running(line),
        })
        .collect()
}

/// The whole number nearest to a fraction, by the mode, whose last `zeros` digits are zeros.
pub(super) fn rounded(exact: &BigRational, zeros: u32, mode: RoundingMode) -> i128 {
    let grid = BigInt::from(10_i128.pow(zeros));
    let steps = exact / &grid;
    let (below, above) = (steps.floor().to_integer(), steps.ceil().to_integer());
    let half = BigRational::new(&below + &above, BigInt::from(2));
    let is_negative = steps < units(0);
    let (towards_zero, from_zero) = if is_negative { (&above, &below) } else { (&below, &above) };
    let even = if below.bit(0) { &above } else { &below };
    let nearest = if steps < half { &below } else { &above };
    let chosen = match mode {
        RoundingMode::Down => towards_zero,
        RoundingMode::Up => from_zero,
        RoundingMode::HalfUp if steps == half => from_zero,
        RoundingMode::HalfEven if steps == half => even,
        RoundingMode::HalfUp | RoundingMode::HalfEven => nearest,
    };
    i128::try_from(chosen * grid).expect("what is charged is far below 10^26")
}

/// A count of 10^-12 as the number it stands for.
fn units(count: i128) -> BigRational {
    BigRational::new(BigInt::from(count), BigInt::from(ONE))
}

fn units_per_one() -> BigInt {
    BigInt::from(ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_price_of_the_largest_quantity_is_too_large_and_no_more() {
        let (most, all) = (ONE * ONE, 1_000_000_000_000_000 * ONE);
        for (unit, quantity) in [(most, all), (-most, all), (most, i128::MAX), (most, -all)] {
            let tiers = vec![Tier { up_to: None, unit, flat: unit }];
            let (size, price) = (1, unit);
            for price in [Price::PerUnit { unit }, Price::Volume { tiers }, Price::Package { size, price }] {
                assert!(of(&price, quantity).abs() > AMOUNT_MAX, "{price:?}");
            }
        }
        assert_eq!(of(&Price::PerUnit { unit: most }, 1_000_000 * ONE), AMOUNT_MAX);
    }
}
