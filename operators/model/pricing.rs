//! Turns a quantity into an amount of money, by a price.
//!
//! Law: an amount is the exact sum of unit price x quantity over all tiers, cut once to twelve
//! places, half to even, plus the fixed parts. Rating is odd: minus a quantity costs minus the
//! amount, so that what is taken back cancels what was charged. Nothing overflows silently.

use std::iter;

use ethnum::I256;
use thiserror::Error;

use crate::decimal::show;
use crate::money::{Amount, ONE, PLACES, Rounding, RoundingMode, RoundingScope};
use crate::price::{Price, Tier};

/// The greatest unit price, fixed part or package price, in units of 10^-12: a trillion (10^12)
/// currency units.
pub const PRICE_MAX: Amount = ONE * ONE;

/// The greatest amount of one rating, in units of 10^-12: a quintillion (10^18) currency units.
/// A hundred million such amounts still add up within an `i128`.
pub const AMOUNT_MAX: Amount = ONE * ONE * 1_000_000;

/// Why a quantity has no amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PricingError {
    /// The amount is beyond what is kept.
    #[error(
        "the amount for the quantity {} is beyond 10^18 currency units; check the quantity and \
         its price",
        show(*quantity, PLACES)
    )]
    TooLarge {
        /// The quantity, in units of 10^-12.
        quantity: i128,
    },
}

/// Why a price is refused. Tiers are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PriceError {
    /// A tiered price without tiers.
    #[error("the price has no tiers; give at least one, without an upper bound")]
    NoTiers,
    /// The last tier ends.
    #[error("tier {tier} is the last but ends at {}; leave its upper bound away", show(*up_to, PLACES))]
    LastTierEnds {
        /// The tier.
        tier: usize,
        /// Its bound, in units of 10^-12.
        up_to: i128,
    },
    /// A tier that is not the last has no end.
    #[error(
        "tier {tier} has no upper bound but others follow it; give it one or move it to the end"
    )]
    OpenTier {
        /// The tier.
        tier: usize,
    },
    /// A bound that is not above the one before.
    #[error(
        "tier {tier} ends at {}, which is not above {} where it begins; put the tiers in \
         ascending order",
        show(*up_to, PLACES),
        show(*from, PLACES)
    )]
    TiersNotAscending {
        /// The tier.
        tier: usize,
        /// Its bound, in units of 10^-12.
        up_to: i128,
        /// Where it begins, in units of 10^-12.
        from: i128,
    },
    /// A package with nothing in it.
    #[error("the package size is {}; it must be more than zero", show(*size, PLACES))]
    PackageSize {
        /// The size, in units of 10^-12.
        size: i128,
    },
    /// A price beyond reason.
    #[error("the {what} of {} is beyond 10^12; check its currency and unit", show(*amount, PLACES))]
    TooLarge {
        /// Which number.
        what: String,
        /// Its amount, in units of 10^-12.
        amount: Amount,
    },
}

/// A part of a quote: what one tier adds to the amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The tier, counted from 1; 1 where there are none.
    pub tier: usize,
    /// How much is priced here, in units of 10^-12; the whole quantity for a flat price.
    pub quantity: i128,
    /// The price of one unit, or of one package; zero for a flat price.
    pub unit: Amount,
    /// The fixed part that falls due here.
    pub flat: Amount,
    /// What this step adds to the amount, in units of 10^-12.
    pub amount: Amount,
}

/// The amount due for a quantity, both in units of 10^-12.
///
/// A flat price is due whatever the quantity. Every other price is zero at zero, and odd: a
/// negative quantity costs minus what its absolute value costs. A bound belongs to the tier
/// below it, a tier's fixed part is due above the bound before, and a begun package counts
/// whole. Fails if the amount is beyond [`AMOUNT_MAX`]; the price must have been accepted by
/// [`validate`].
pub fn rate(price: &Price, quantity: i128) -> Result<Amount, PricingError> {
    if let Price::Flat { amount } = price {
        return Ok(*amount);
    }
    let amount = quantity
        .checked_abs()
        .and_then(|used| rate_used(price, used));
    let amount = amount.filter(|amount| (-AMOUNT_MAX..=AMOUNT_MAX).contains(amount));
    let amount = amount.ok_or(PricingError::TooLarge { quantity })?;
    Ok(if quantity < 0 { -amount } else { amount })
}

/// The amount for a quantity that is not negative, if it fits.
fn rate_used(price: &Price, used: i128) -> Option<Amount> {
    match price {
        Price::PerUnit { unit } => sum_of_products(iter::once((*unit, used))),
        Price::Graduated { tiers } => rate_graduated(tiers, used),
        Price::Volume { tiers } => match tier_of(tiers, used) {
            Some((_, tier)) => {
                sum_of_products(iter::once((tier.unit, used)))?.checked_add(tier.flat)
            }
            None => Some(0),
        },
        Price::Package { size, price } => price.checked_mul(packages(*size, used)),
        Price::Flat { amount } => Some(*amount),
    }
}

fn rate_graduated(tiers: &[Tier], used: i128) -> Option<Amount> {
    let slices = || entered(tiers, used);
    let flat = slices().try_fold(0, |sum: Amount, slice| sum.checked_add(slice.tier.flat))?;
    sum_of_products(slices().map(|slice| (slice.tier.unit, slice.quantity)))?.checked_add(flat)
}

/// What of a quantity falls into one tier.
struct Slice<'a> {
    number: usize,
    tier: &'a Tier,
    quantity: i128,
}

/// The tiers that a quantity reaches into, with what of it falls into each.
fn entered(tiers: &[Tier], used: i128) -> impl Iterator<Item = Slice<'_>> + Clone {
    let mut from = 0;
    tiers.iter().zip(1..).map_while(move |(tier, number)| {
        let to = tier.up_to.map_or(used, |up_to| up_to.min(used));
        let quantity = to - from;
        from = to;
        (quantity > 0).then_some(Slice {
            number,
            tier,
            quantity,
        })
    })
}

/// The tier, with its number, that a whole quantity belongs to; none for nothing.
fn tier_of(tiers: &[Tier], used: i128) -> Option<(usize, &Tier)> {
    let holds = |tier: &Tier| tier.up_to.is_none_or(|up_to| used <= up_to);
    (1..).zip(tiers).find(|(_, tier)| used > 0 && holds(tier))
}

/// How many packages a quantity begins.
fn packages(size: i128, used: i128) -> i128 {
    assert!(
        size > 0,
        "package sizes are checked before a price is taken in"
    );
    used / size + i128::from(used % size > 0)
}

/// The sum of price x quantity, cut once from 24 to 12 places, half to even; none if it does not
/// fit. Nearly always 128 bits are enough; 256 bits always are for quantities that add up to no
/// more than an `i128`.
fn sum_of_products(factors: impl Iterator<Item = (Amount, i128)> + Clone) -> Option<Amount> {
    let narrow = factors.clone().try_fold(0i128, |sum, (unit, quantity)| {
        sum.checked_add(unit.checked_mul(quantity)?)
    });
    match narrow {
        Some(sum) => Some(divide_half_even(sum, ONE)),
        None => wide_sum_of_products(factors),
    }
}

#[cold]
fn wide_sum_of_products(mut factors: impl Iterator<Item = (Amount, i128)>) -> Option<Amount> {
    let sum = factors.try_fold(I256::ZERO, |sum, (unit, quantity)| {
        sum.checked_add(I256::from(unit).checked_mul(I256::from(quantity))?)
    })?;
    let (one, two) = (I256::from(ONE), I256::from(2));
    let (whole, rest) = (sum / one, sum % one);
    let tie_or_more = (rest.abs() * two).cmp(&one);
    let away = tie_or_more.is_gt() || (tie_or_more.is_eq() && whole % two != I256::ZERO);
    let rounded = if away { whole + sum.signum() } else { whole };
    i128::try_from(rounded).ok()
}

fn divide_half_even(value: i128, unit: i128) -> i128 {
    round_quotient(value, unit, RoundingMode::HalfEven)
}

/// `value / unit` as a whole number, by the mode; `unit` is positive.
fn round_quotient(value: i128, unit: i128, mode: RoundingMode) -> i128 {
    let (whole, rest) = (value / unit, (value % unit).abs());
    let to_half = rest.cmp(&(unit - rest));
    let away = match mode {
        RoundingMode::HalfUp => to_half.is_ge(),
        RoundingMode::HalfEven => to_half.is_gt() || (to_half.is_eq() && whole % 2 != 0),
        RoundingMode::Up => rest > 0,
        RoundingMode::Down => false,
    };
    if away { whole + value.signum() } else { whole }
}

/// The amount of [`rate`] tier by tier, for a quote. The steps' amounts add up to it exactly:
/// each is what the running amount gains over its tier, so what rounding leaves goes to the tier
/// in which it tips. A quantity of zero has no steps, unless the price is flat.
pub fn steps(price: &Price, quantity: i128) -> Result<Vec<Step>, PricingError> {
    let whole = |tier: usize, unit: Amount, flat: Amount| {
        Ok(vec![Step {
            tier,
            quantity,
            unit,
            flat,
            amount: rate(price, quantity)?,
        }])
    };
    let too_large = PricingError::TooLarge { quantity };
    let used = quantity.checked_abs().ok_or(too_large)?;
    match price {
        Price::Flat { amount } => whole(1, 0, *amount),
        _ if used == 0 => Ok(Vec::new()),
        Price::PerUnit { unit } => whole(1, *unit, 0),
        Price::Package { price: unit, .. } => whole(1, *unit, 0),
        Price::Volume { tiers } => match tier_of(tiers, used) {
            Some((number, tier)) => whole(number, tier.unit, quantity.signum() * tier.flat),
            None => Ok(Vec::new()),
        },
        Price::Graduated { tiers } => graduated_steps(price, tiers, quantity),
    }
}

fn graduated_steps(
    price: &Price,
    tiers: &[Tier],
    quantity: i128,
) -> Result<Vec<Step>, PricingError> {
    let sign = quantity.signum();
    let (mut reached, mut charged) = (0, 0);
    entered(tiers, quantity.abs())
        .map(|slice| {
            reached += sign * slice.quantity;
            let amount = rate(price, reached)? - charged;
            charged += amount;
            Ok(Step {
                tier: slice.number,
                quantity: sign * slice.quantity,
                unit: slice.tier.unit,
                flat: sign * slice.tier.flat,
                amount,
            })
        })
        .collect()
}

/// The amount with no more than `places` decimal places, by the mode; all twelve are kept if
/// `places` is more. The amount must be well inside an `i128`, as sums of rated amounts are.
pub fn round(amount: Amount, places: u32, mode: RoundingMode) -> Amount {
    match PLACES.checked_sub(places) {
        Some(cut) => {
            let unit = 10i128.pow(cut);
            round_quotient(amount, unit, mode) * unit
        }
        None => amount,
    }
}

/// The billed line amounts of one feature's successive service periods within a billing period.
/// `places` are those of the currency's minor unit; the policy's own places come first.
///
/// Cumulative: the lines up to any service period add up to the rounded sum of their amounts,
/// so cutting a service period in two changes no total. Line: each is rounded by itself.
pub fn bill(amounts: &[Amount], rounding: Rounding, places: u32) -> Vec<Amount> {
    let places = rounding.places.unwrap_or(places);
    let rounded = |amount| round(amount, places, rounding.mode);
    match rounding.scope {
        RoundingScope::Line => amounts.iter().map(|amount| rounded(*amount)).collect(),
        RoundingScope::Cumulative => amounts
            .iter()
            .scan(0, |total: &mut Amount, amount| {
                let billed = rounded(*total);
                *total += amount;
                Some(rounded(*total) - billed)
            })
            .collect(),
    }
}

/// Makes sure that a price can rate any quantity: tiers ascend from zero and the last is open,
/// a package holds something, and no number is beyond [`PRICE_MAX`]. Prices may be negative.
pub fn validate(price: &Price) -> Result<(), PriceError> {
    match price {
        Price::PerUnit { unit } => within_reason("unit price", *unit),
        Price::Graduated { tiers } | Price::Volume { tiers } => validate_tiers(tiers),
        Price::Package { size, .. } if *size <= 0 => Err(PriceError::PackageSize { size: *size }),
        Price::Package { price, .. } => within_reason("package price", *price),
        Price::Flat { amount } => within_reason("flat amount", *amount),
    }
}

fn validate_tiers(tiers: &[Tier]) -> Result<(), PriceError> {
    let mut from = 0;
    for (tier, number) in tiers.iter().zip(1..) {
        let last = number == tiers.len();
        match tier.up_to {
            Some(up_to) if last => {
                return Err(PriceError::LastTierEnds {
                    tier: number,
                    up_to,
                });
            }
            Some(up_to) if up_to <= from => {
                return Err(PriceError::TiersNotAscending {
                    tier: number,
                    up_to,
                    from,
                });
            }
            None if !last => return Err(PriceError::OpenTier { tier: number }),
            Some(up_to) => from = up_to,
            None => {}
        }
        within_reason(&format!("unit price of tier {number}"), tier.unit)?;
        within_reason(&format!("fixed part of tier {number}"), tier.flat)?;
    }
    if tiers.is_empty() {
        Err(PriceError::NoTiers)
    } else {
        Ok(())
    }
}

fn within_reason(what: &str, amount: Amount) -> Result<(), PriceError> {
    if (-PRICE_MAX..=PRICE_MAX).contains(&amount) {
        return Ok(());
    }
    Err(PriceError::TooLarge {
        what: what.to_owned(),
        amount,
    })
}
