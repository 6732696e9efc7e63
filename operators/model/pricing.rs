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
    #[error(
        "tier {tier} is the last but ends at {}; leave its upper bound away",
        show(*up_to, PLACES)
    )]
    LastTierEnds {
        /// The tier.
        tier: usize,
        /// Its bound, in units of 10^-12.
        up_to: i128,
    },
    /// A tier that is not the last has no end.
    #[error("tier {tier} has no upper bound but others follow it; give it one or move it to the end")]
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
    let amount = quantity.checked_abs().and_then(|used| rate_used(price, used));
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
            Some((_, tier)) => sum_of_products([(tier.unit, used), (tier.flat, ONE)].into_iter()),
            None => Some(0),
        },
        Price::Package { size, price } => price.checked_mul(packages(*size, used)),
        Price::Flat { amount } => Some(*amount),
    }
}

fn rate_graduated(tiers: &[Tier], used: i128) -> Option<Amount> {
    // The fixed parts are in the sum that is cut: a tie goes to the even amount, not to the even
    // part of it.
    sum_of_products(entered(tiers, used).flat_map(|slice| [(slice.tier.unit, slice.quantity), (slice.tier.flat, ONE)]))
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
        (quantity > 0).then_some(Slice { number, tier, quantity })
    })
}

/// The tier, with its number, that a whole quantity belongs to; none for nothing.
fn tier_of(tiers: &[Tier], used: i128) -> Option<(usize, &Tier)> {
    let holds = |tier: &Tier| tier.up_to.is_none_or(|up_to| used <= up_to);
    (1..).zip(tiers).find(|(_, tier)| used > 0 && holds(tier))
}

/// How many packages a quantity begins.
fn packages(size: i128, used: i128) -> i128 {
    assert!(size > 0, "package sizes are checked before a price is taken in");
    used / size + i128::from(used % size > 0)
}

/// The sum of price x quantity, cut once from 24 to 12 places, half to even; none if it does not
/// fit. Nearly always 128 bits are enough; 256 bits always are for quantities that add up to no
/// more than an `i128`.
fn sum_of_products(factors: impl Iterator<Item = (Amount, i128)> + Clone) -> Option<Amount> {
    let narrow = factors.clone().try_fold(0i128, |sum, (unit, quantity)| sum.checked_add(unit.checked_mul(quantity)?));
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
        Ok(vec![Step { tier, quantity, unit, flat, amount: rate(price, quantity)? }])
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

fn graduated_steps(price: &Price, tiers: &[Tier], quantity: i128) -> Result<Vec<Step>, PricingError> {
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
    let Some(cut) = PLACES.checked_sub(places) else { return amount };
    let unit = 10i128.pow(cut);
    round_quotient(amount, unit, mode) * unit
}

/// Gives the billed amounts of a feature's successive lines within a billing period in turn.
/// `places` are those of the currency's minor unit; the policy's own places come first.
///
/// Cumulative: the lines up to any service period add up to the rounded sum of their amounts,
/// so cutting a service period in two changes no total. Line: each is rounded by itself.
pub fn biller(rounding: Rounding, places: u32) -> impl FnMut(Amount) -> Amount {
    let places = rounding.places.unwrap_or(places);
    let rounded = move |amount| round(amount, places, rounding.mode);
    let (mut total, mut billed) = (0, 0);
    move |amount| match rounding.scope {
        RoundingScope::Line => rounded(amount),
        RoundingScope::Cumulative => {
            total += amount;
            let before = std::mem::replace(&mut billed, rounded(total));
            billed - before
        }
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
                return Err(PriceError::LastTierEnds { tier: number, up_to });
            }
            Some(up_to) if up_to <= from => {
                return Err(PriceError::TiersNotAscending { tier: number, up_to, from });
            }
            None if !last => return Err(PriceError::OpenTier { tier: number }),
            Some(up_to) => from = up_to,
            None => {}
        }
        within_reason(&format!("unit price of tier {number}"), tier.unit)?;
        within_reason(&format!("fixed part of tier {number}"), tier.flat)?;
    }
    if tiers.is_empty() { Err(PriceError::NoTiers) } else { Ok(()) }
}

fn within_reason(what: &str, amount: Amount) -> Result<(), PriceError> {
    if (-PRICE_MAX..=PRICE_MAX).contains(&amount) {
        return Ok(());
    }
    Err(PriceError::TooLarge { what: what.to_owned(), amount })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::parse;
    use proptest::prelude::*;

    /// A number as written in a price list, in units of 10^-12.
    fn n(text: &str) -> i128 {
        parse(text, PLACES).expect("a number of the test")
    }

    /// Tiers as written: upper bound or nothing, unit price, fixed part.
    fn tiers(rows: &[(&str, &str, &str)]) -> Vec<Tier> {
        let bound = |text: &str| (!text.is_empty()).then(|| n(text));
        let tier =
            |&(up_to, unit, flat): &(&str, &str, &str)| Tier { up_to: bound(up_to), unit: n(unit), flat: n(flat) };
        rows.iter().map(tier).collect()
    }

    fn graduated(rows: &[(&str, &str, &str)]) -> Price {
        Price::Graduated { tiers: tiers(rows) }
    }

    fn volume(rows: &[(&str, &str, &str)]) -> Price {
        Price::Volume { tiers: tiers(rows) }
    }

    fn expect(price: &Price, cases: &[(&str, &str)]) {
        for (quantity, amount) in cases {
            let rated = rate(price, n(quantity)).expect("an amount of usual size");
            assert_eq!(show(rated, PLACES), *amount, "{quantity} at {price:?}");
        }
    }

    fn bill(amounts: &[Amount], rounding: Rounding) -> Vec<Amount> {
        amounts.iter().copied().map(biller(rounding, 2)).collect()
    }

    #[test]
    fn each_unit_costs_the_same() {
        let price = Price::PerUnit { unit: n("0.002") };
        expect(&price, &[("0", "0"), ("1500", "3"), ("99.5", "0.199"), ("-1500", "-3")]);
    }

    #[test]
    fn graduated_tiers_take_what_falls_into_them() {
        let price = graduated(&[("100", "1", "0"), ("200", "0.5", "5"), ("", "0.1", "7")]);
        let cases = [
            ("0", "0"),
            ("0.000000000001", "0.000000000001"),
            ("99.5", "99.5"),
            ("100", "100"),
            // The second tier is entered: its 5 is due, its half a unit of the last place is not.
            ("100.000000000001", "105"),
            ("100.000000000003", "105.000000000002"),
            ("200", "155"),
            ("200.00000000001", "162.000000000001"),
            ("250", "167"),
            ("-100.000000000001", "-105"),
            ("-250", "-167"),
        ];
        expect(&price, &cases);
    }

    #[test]
    fn volume_tiers_take_the_whole_quantity() {
        let price = volume(&[("100", "1", "2"), ("", "0.5", "3")]);
        let cases = [
            ("0", "0"),
            ("0.000000000001", "2.000000000001"),
            ("99.5", "101.5"),
            ("100", "102"),
            ("100.000000000001", "53"),
            ("101", "53.5"),
            ("-100", "-102"),
            ("-101", "-53.5"),
        ];
        expect(&price, &cases);
    }

    #[test]
    fn a_fraction_between_whole_bounds_belongs_to_the_tier_above() {
        let rows = [("99", "1", "0"), ("100", "2", "0"), ("", "3", "0")];
        expect(&graduated(&rows), &[("99", "99"), ("99.5", "100"), ("100", "101"), ("100.5", "102.5")]);
        expect(&volume(&rows), &[("99", "99"), ("99.5", "199"), ("100", "200"), ("100.5", "301.5")]);
    }

    #[test]
    fn the_first_fixed_part_is_due_only_for_some_quantity() {
        for price in [graduated(&[("", "0", "9")]), volume(&[("", "0", "9")])] {
            expect(&price, &[("0", "0"), ("0.000000000001", "9"), ("5", "9"), ("-5", "-9")]);
        }
    }

    #[test]
    fn a_begun_package_counts_whole_and_none_is_begun_by_nothing() {
        let price = Price::Package { size: n("1000"), price: n("5") };
        let cases = [
            ("0", "0"),
            ("0.000000000001", "5"),
            ("999.5", "5"),
            ("1000", "5"),
            ("1000.000000000001", "10"),
            ("2500.5", "15"),
            ("-1", "-5"),
            ("-1001", "-10"),
        ];
        expect(&price, &cases);
    }

    #[test]
    fn a_flat_price_is_due_whatever_the_quantity() {
        expect(&Price::Flat { amount: n("20") }, &[("0", "20"), ("1", "20"), ("-1", "20")]);
    }

    #[test]
    fn what_is_below_twelve_places_is_cut_once_to_even() {
        let half = Price::PerUnit { unit: n("0.5") };
        let cases = [
            ("0.000000000001", "0"),
            ("0.000000000002", "0.000000000001"),
            ("0.000000000003", "0.000000000002"),
            ("-0.000000000003", "-0.000000000002"),
        ];
        expect(&half, &cases);
        // Half a unit from each tier: cut by itself each would vanish.
        let halves = graduated(&[("0.000000000001", "0.5", "0"), ("", "0.5", "0")]);
        expect(&halves, &[("0.000000000001", "0"), ("0.000000000002", "0.000000000001")]);
    }

    #[test]
    fn a_tie_goes_to_the_even_amount_also_above_an_odd_fixed_part() {
        let fixed = [("", "0.5", "0.000000000001")];
        for price in [graduated(&fixed), volume(&fixed)] {
            expect(&price, &[("0.000000000001", "0.000000000002"), ("0.000000000003", "0.000000000002")]);
        }
    }

    #[test]
    fn ties_go_to_even_where_128_bits_do_not_hold_the_product() {
        let price = Price::PerUnit { unit: n("1000000.5") };
        let cases = [
            ("10000000000.000000000001", "10000005000000000.000001"),
            ("10000000000.000000000002", "10000005000000000.000002000001"),
            ("10000000000.000000000003", "10000005000000000.000003000002"),
            ("-10000000000.000000000003", "-10000005000000000.000003000002"),
        ];
        expect(&price, &cases);
    }

    #[test]
    fn amounts_beyond_reason_are_refused_and_those_just_inside_are_exact() {
        let price = Price::PerUnit { unit: PRICE_MAX };
        assert_eq!(rate(&price, n("1000000")), Ok(AMOUNT_MAX));
        assert_eq!(rate(&price, n("-1000000")), Ok(-AMOUNT_MAX));
        for quantity in [n("1000000.000000000001"), n("1e23"), i128::MAX, i128::MIN] {
            assert_eq!(rate(&price, quantity), Err(PricingError::TooLarge { quantity }));
            assert_eq!(steps(&price, quantity), Err(PricingError::TooLarge { quantity }));
        }
        let package = Price::Package { size: 1, price: PRICE_MAX };
        assert!(rate(&package, i128::MAX).is_err());
        let error = rate(&price, n("1000000.5")).unwrap_err().to_string();
        assert!(error.starts_with("the amount for the quantity 1000000.5 is beyond"));
    }

    #[test]
    fn a_quote_shows_tier_by_tier_what_it_adds() {
        let quoted = |price: &Price, quantity| {
            let steps = steps(price, n(quantity)).unwrap();
            let row = |step: &Step| {
                let [quantity, amount] = [step.quantity, step.amount].map(|units| show(units, PLACES));
                format!("{} {quantity} {amount}", step.tier)
            };
            steps.iter().map(row).collect::<Vec<_>>().join(", ")
        };
        let rows = [("100", "1", "0"), ("200", "0.5", "5"), ("", "0.1", "7")];
        assert_eq!(quoted(&graduated(&rows), "250"), "1 100 100, 2 100 55, 3 50 12");
        assert_eq!(quoted(&graduated(&rows), "-150"), "1 -100 -100, 2 -50 -30");
        assert_eq!(quoted(&graduated(&rows), "100"), "1 100 100");
        assert_eq!(quoted(&graduated(&rows), "0"), "");
        assert_eq!(quoted(&volume(&rows), "150"), "2 150 80");
        assert_eq!(quoted(&Price::Package { size: n("10"), price: n("3") }, "11"), "1 11 6");
        assert_eq!(quoted(&Price::Flat { amount: n("3") }, "0"), "1 0 3");
        // Two halves of the last place: the second tier, where the sum tips, gets the whole.
        let halves = graduated(&[("0.000000000001", "0.5", "0"), ("", "0.5", "0")]);
        let expected = "1 0.000000000001 0, 2 0.000000000001 0.000000000001";
        assert_eq!(quoted(&halves, "0.000000000002"), expected);
    }

    #[test]
    fn rounding_modes_differ_in_ties_and_rests() {
        use RoundingMode::*;
        let cases = [
            ("0.005", ["0.01", "0", "0.01", "0"]),
            ("0.015", ["0.02", "0.02", "0.02", "0.01"]),
            ("-0.005", ["-0.01", "0", "-0.01", "0"]),
            ("-0.025", ["-0.03", "-0.02", "-0.03", "-0.02"]),
            ("0.004999999999", ["0", "0", "0.01", "0"]),
            ("0.005000000001", ["0.01", "0.01", "0.01", "0"]),
            ("1.23", ["1.23", "1.23", "1.23", "1.23"]),
        ];
        for (amount, expected) in cases {
            let rounded = [HalfUp, HalfEven, Up, Down].map(|mode| show(round(n(amount), 2, mode), PLACES));
            assert_eq!(rounded, expected, "{amount}");
        }
        assert_eq!(round(n("0.000000000001"), 12, Up), 1);
        assert_eq!(round(n("0.000000000001"), 99, Down), 1);
        assert_eq!(round(n("0.5"), 0, HalfUp), ONE);
    }

    #[test]
    fn lines_are_billed_by_the_scope_of_the_policy() {
        let billed = |scope, places| {
            let rounding = Rounding { scope, places, ..Rounding::default() };
            let lines = bill(&["0.014", "0.014", "0.014", "-0.02"].map(n), rounding);
            lines.iter().map(|line| show(*line, PLACES)).collect::<Vec<_>>().join(" ")
        };
        // Running totals 0.014, 0.028, 0.042, 0.022.
        assert_eq!(billed(RoundingScope::Cumulative, None), "0.01 0.02 0.01 -0.02");
        assert_eq!(billed(RoundingScope::Line, None), "0.01 0.01 0.01 -0.02");
        assert_eq!(billed(RoundingScope::Line, Some(3)), "0.014 0.014 0.014 -0.02");
        assert_eq!(billed(RoundingScope::Cumulative, Some(0)), "0 0 0 0");
    }

    #[test]
    fn refused_prices_say_which_tier_and_what_to_do() {
        let cases = [
            (graduated(&[]), "the price has no tiers; give at least one, without an upper bound"),
            (graduated(&[("100", "1", "0")]), "tier 1 is the last but ends at 100; leave its upper bound away"),
            (
                volume(&[("", "1", "0"), ("", "2", "0")]),
                "tier 1 has no upper bound but others follow it; give it one or move it to the end",
            ),
            (
                graduated(&[("100", "1", "0"), ("99.5", "2", "0"), ("", "3", "0")]),
                "tier 2 ends at 99.5, which is not above 100 where it begins; put the tiers in \
                 ascending order",
            ),
            (
                graduated(&[("0", "1", "0"), ("", "3", "0")]),
                "tier 1 ends at 0, which is not above 0 where it begins; put the tiers in \
                 ascending order",
            ),
            (
                graduated(&[("1", "1", "0"), ("", "0", "-1000000000000.5")]),
                "the fixed part of tier 2 of -1000000000000.5 is beyond 10^12; check its currency \
                 and unit",
            ),
            (
                Price::PerUnit { unit: PRICE_MAX + 1 },
                "the unit price of 1000000000000.000000000001 is beyond 10^12; check its currency \
                 and unit",
            ),
            (Price::Package { size: 0, price: 1 }, "the package size is 0; it must be more than zero"),
        ];
        for (price, says) in cases {
            assert_eq!(validate(&price).expect_err("a senseless price").to_string(), says);
        }
        for amount in [PRICE_MAX, -PRICE_MAX, 0] {
            assert_eq!(validate(&Price::Flat { amount }), Ok(()));
        }
    }

    /// A number of any size up to a bound, small ones as often as large ones.
    fn sized(max: i128) -> impl Strategy<Value = i128> {
        let digits = max.ilog10();
        (0..=digits, 0..=max).prop_map(move |(cut, number)| number / 10i128.pow(cut))
    }

    fn signed(max: i128) -> impl Strategy<Value = i128> {
        (sized(max), any::<bool>()).prop_map(|(number, minus)| if minus { -number } else { number })
    }

    fn any_tiers(
        unit: impl Strategy<Value = Amount>,
        flat: impl Strategy<Value = Amount>,
    ) -> impl Strategy<Value = Vec<Tier>> {
        let tier = (sized(10i128.pow(30)), unit, flat);
        prop::collection::vec(tier, 1..6).prop_map(|rows| {
            let (last, mut from) = (rows.len() - 1, 0);
            let tier = |(at, (width, unit, flat))| {
                from += width + 1;
                Tier { up_to: (at < last).then_some(from), unit, flat }
            };
            rows.into_iter().enumerate().map(tier).collect()
        })
    }

    fn any_price() -> impl Strategy<Value = Price> {
        let amount = || signed(PRICE_MAX);
        prop_oneof![
            amount().prop_map(|unit| Price::PerUnit { unit }),
            any_tiers(amount(), amount()).prop_map(|tiers| Price::Graduated { tiers }),
            any_tiers(amount(), amount()).prop_map(|tiers| Price::Volume { tiers }),
            (sized(10i128.pow(30)), amount()).prop_map(|(size, price)| Price::Package { size: size + 1, price }),
            amount().prop_map(|amount| Price::Flat { amount }),
        ]
    }

    fn any_rounding() -> impl Strategy<Value = Rounding> {
        use RoundingMode::*;
        let modes = prop::sample::select(vec![HalfUp, HalfEven, Up, Down]);
        let scopes = prop::sample::select(vec![RoundingScope::Cumulative, RoundingScope::Line]);
        (prop::option::of(0u32..14), modes, scopes).prop_map(|(places, mode, scope)| Rounding { places, mode, scope })
    }

    /// The exact amount in 10^-24, told in other ways than `rate` does.
    fn exact(price: &Price, quantity: i128) -> I256 {
        let wide = |number: i128| I256::from(number);
        let used = wide(quantity).abs();
        let fixed = |amount: Amount| wide(amount) * wide(ONE);
        let begins = |tiers: &[Tier]| {
            let bounds = tiers.iter().filter_map(|tier| tier.up_to).map(wide);
            iter::once(I256::ZERO).chain(bounds).collect::<Vec<_>>()
        };
        let amount = match price {
            Price::Flat { amount } => return fixed(*amount),
            Price::PerUnit { unit } => wide(*unit) * used,
            Price::Package { size, price } => (used + wide(*size) - I256::ONE).div_euclid(wide(*size)) * fixed(*price),
            // From each bound on, a unit costs the difference to the tier before.
            Price::Graduated { tiers } => {
                let before = iter::once(0).chain(tiers.iter().map(|tier| tier.unit));
                let entered = begins(tiers).into_iter().zip(before).zip(tiers);
                entered
                    .filter(|((from, _), _)| *from < used)
                    .map(|((from, before), tier)| (used - from) * wide(tier.unit - before) + fixed(tier.flat))
                    .sum()
            }
            Price::Volume { tiers } => {
                let below = begins(tiers).into_iter().filter(|from| *from < used).count();
                let tier = below.checked_sub(1).map(|at| &tiers[at]);
                tier.map_or(I256::ZERO, |tier| wide(tier.unit) * used + fixed(tier.flat))
            }
        };
        amount * wide(quantity).signum()
    }

    /// The nearest whole multiple, from below: half a unit up, then one back from an odd tie.
    fn nearest_even(exact: I256) -> I256 {
        let (two, unit) = (I256::from(2), I256::from(ONE));
        let raised = exact * two + unit;
        let whole = raised.div_euclid(unit * two);
        let tie = raised.rem_euclid(unit * two) == I256::ZERO;
        if tie && whole.rem_euclid(two) == I256::ONE { whole - I256::ONE } else { whole }
    }

    proptest! {
        #[test]
        fn generated_prices_are_accepted(price in any_price()) {
            prop_assert_eq!(validate(&price), Ok(()));
        }

        #[test]
        fn rating_agrees_with_exact_fractions(
            price in any_price(),
            quantity in signed(10i128.pow(37)),
        ) {
            let expected = nearest_even(exact(&price, quantity));
            let expected = (expected.abs() <= I256::from(AMOUNT_MAX)).then_some(expected);
            prop_assert_eq!(rate(&price, quantity).ok().map(I256::from), expected);
        }

        #[test]
        fn rating_is_odd(price in any_price(), quantity in sized(10i128.pow(37))) {
            let flat = matches!(price, Price::Flat { .. });
            if let (false, Ok(amount)) = (flat, rate(&price, quantity)) {
                prop_assert_eq!(rate(&price, -quantity), Ok(-amount));
            }
        }

        #[test]
        fn graduated_prices_without_fixed_parts_rise_and_never_jump(
            tiers in any_tiers(sized(10i128.pow(14)), Just(0)),
            less in sized(10i128.pow(24)),
            added in sized(10i128.pow(24)),
        ) {
            let dearest = tiers.iter().map(|tier| tier.unit).max().unwrap_or(0);
            let ceiling = rate(&Price::PerUnit { unit: dearest }, added).unwrap() + 1;
            let price = Price::Graduated { tiers };
            let gained = rate(&price, less + added).unwrap() - rate(&price, less).unwrap();
            prop_assert!(gained >= 0);
            // What the dearest tier charges, and one more for what the cut to twelve places adds.
            prop_assert!(gained <= ceiling);
        }

        #[test]
        fn steps_add_up_and_each_is_right_to_the_last_place(
            price in any_price(),
            quantity in signed(10i128.pow(37)),
        ) {
            if let (Ok(amount), Ok(steps)) = (rate(&price, quantity), steps(&price, quantity)) {
                prop_assert_eq!(steps.iter().map(|step| step.amount).sum::<Amount>(), amount);
                if matches!(price, Price::Package { .. }) {
                    return Ok(());
                }
                for step in &steps {
                    let [unit, quantity, flat, amount] =
                        [step.unit, step.quantity, step.flat, step.amount].map(I256::from);
                    let off = unit * quantity - (amount - flat) * I256::from(ONE);
                    prop_assert!(off.abs() <= I256::from(ONE));
                }
                prop_assert_eq!(steps.iter().map(|step| step.quantity).sum::<i128>(), quantity);
            }
        }

        #[test]
        fn rounding_is_near_stable_and_odd(
            amount in signed(10i128.pow(30)),
            places in 0u32..14,
            rounding in any_rounding(),
        ) {
            let rounded = round(amount, places, rounding.mode);
            let unit = 10i128.pow(PLACES.saturating_sub(places));
            let off = (rounded - amount).abs();
            prop_assert_eq!(rounded % unit, 0);
            prop_assert_eq!(round(rounded, places, rounding.mode), rounded);
            prop_assert_eq!(round(-amount, places, rounding.mode), -rounded);
            match rounding.mode {
                RoundingMode::HalfUp | RoundingMode::HalfEven => prop_assert!(off * 2 <= unit),
                RoundingMode::Up => prop_assert!(off < unit && rounded.abs() >= amount.abs()),
                RoundingMode::Down => prop_assert!(off < unit && rounded.abs() <= amount.abs()),
            }
        }

        #[test]
        fn parts_of_a_period_add_up_to_its_rounded_whole(
            amounts in prop::collection::vec(signed(10i128.pow(16)), 0..8),
            rounding in any_rounding(),
        ) {
            let billed = bill(&amounts, rounding);
            prop_assert_eq!(billed.len(), amounts.len());
            let places = rounding.places.unwrap_or(2);
            let rounded = |amount: Amount| round(amount, places, rounding.mode);
            for end in 0..=amounts.len() {
                let part = amounts[..end].iter().copied();
                let expected: Amount = match rounding.scope {
                    RoundingScope::Cumulative => rounded(part.sum()),
                    RoundingScope::Line => part.map(rounded).sum(),
                };
                prop_assert_eq!(billed[..end].iter().sum::<Amount>(), expected);
            }
        }

        #[test]
        fn cutting_a_service_period_in_two_changes_no_other_line(
            amounts in prop::collection::vec(signed(10i128.pow(16)), 1..8),
            cut in any::<prop::sample::Index>(),
            first in signed(10i128.pow(16)),
            rounding in any_rounding(),
        ) {
            let rounding = Rounding { scope: RoundingScope::Cumulative, ..rounding };
            let at = cut.index(amounts.len());
            let mut split = amounts.clone();
            split.splice(at..=at, [first, amounts[at] - first]);
            let (whole, mut rejoined) = (bill(&amounts, rounding), bill(&split, rounding));
            let second = rejoined.remove(at + 1);
            rejoined[at] += second;
            prop_assert_eq!(rejoined, whole);
        }
    }
}
