//! What a total amounts to, by what its meter measures.
//!
//! Law: the quantity of a stretch of time is a function of its total, and the total of a stretch
//! one of the totals of its parts, but for what is counted uniquely. No state.

use trueup_model::meter::Aggregation;
use trueup_model::money::ONE;
use trueup_model::money::quantity_units;

use crate::total::Total;

/// The quantity of a total, in units of 10^-12; one, where it is had rather than metered.
pub fn quantity(meter: Option<(Aggregation, u32)>, total: &Total) -> i128 {
    meter.map_or(ONE, |(aggregation, scale)| {
        quantity_units(aggregated(aggregation, total), quantity_scale(aggregation, scale))
    })
}

/// The scale of a meter's quantities: counts have no places.
pub fn quantity_scale(aggregation: Aggregation, scale: u32) -> u32 {
    match aggregation {
        Aggregation::Count | Aggregation::UniqueCount => 0,
        Aggregation::Sum | Aggregation::Average | Aggregation::Min | Aggregation::Max | Aggregation::Latest => scale,
    }
}

/// The quantity of a total at the meter's scale.
pub fn aggregated(aggregation: Aggregation, total: &Total) -> i128 {
    match aggregation {
        Aggregation::Average => divide_half_even(total.sum(), i128::from(total.records)),
        Aggregation::Count
        | Aggregation::Sum
        | Aggregation::Min
        | Aggregation::Max
        | Aggregation::Latest
        | Aggregation::UniqueCount => total.sum(),
    }
}

/// The total of a stretch of time from those of its parts, in order of time; none if it has no
/// parts. What is counted uniquely cannot be put together so.
pub fn together<'a>(aggregation: Aggregation, parts: impl Iterator<Item = &'a Total>) -> Option<Total> {
    parts.copied().reduce(|before, part| {
        let sum = match aggregation {
            Aggregation::Min => before.sum().min(part.sum()),
            Aggregation::Max => before.sum().max(part.sum()),
            Aggregation::Latest => part.sum(),
            Aggregation::Count | Aggregation::Sum | Aggregation::Average | Aggregation::UniqueCount => {
                before.sum() + part.sum()
            }
        };
        Total::new(before.records + part.records, sum)
    })
}

/// The quotient to the nearest integer, a tie to the even one. `divisor` is more than zero.
fn divide_half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    let is_up = match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    quotient + i128::from(is_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_round_half_to_even() {
        let cases = [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (10, 3, 3), (11, 3, 4), (-10, 3, -3), (0, 7, 0)];
        for (sum, count, average) in cases {
            assert_eq!(divide_half_even(sum, count), average, "{sum} / {count}");
        }
    }

    #[test]
    fn parts_are_put_together_by_what_is_measured() {
        let parts = [Total::new(2, 5), Total::new(1, 9), Total::new(4, 7)];
        for (aggregation, sum) in
            [(Aggregation::Sum, 21), (Aggregation::Min, 5), (Aggregation::Max, 9), (Aggregation::Latest, 7)]
        {
            assert_eq!(together(aggregation, parts.iter()), Some(Total::new(7, sum)), "{aggregation:?}");
        }
        assert_eq!(together(Aggregation::Sum, [].iter()), None);
    }

    #[test]
    fn quantities_are_in_units_and_counts_have_no_places() {
        let cases = [
            (Some((Aggregation::Sum, 2)), Total::new(2, 250), ONE * 5 / 2),
            (Some((Aggregation::Average, 1)), Total::new(2, 50), ONE * 5 / 2),
            (Some((Aggregation::Count, 2)), Total::new(3, 3), ONE * 3),
            (Some((Aggregation::UniqueCount, 2)), Total::new(4, 4), ONE * 4),
            (None, Total::new(1, 1), ONE),
        ];
        for (meter, total, units) in cases {
            assert_eq!(quantity(meter, &total), units, "{meter:?}");
        }
    }
}
