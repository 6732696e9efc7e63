//! Sums that live in the difference of an update.
//!
//! Law: totals form a commutative group under addition, exactly; a total is zero if and only if
//! nothing is left of what was added. Beside each sum rides the number of its records, so that
//! a sum without records can be told from a sum of zero.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use serde::{Deserialize, Serialize};

/// A sum of quantities or amounts with the number of records behind it.
///
/// The sum is kept as two words, because an `i128` would align each update to 16 bytes and make
/// the largest arrangement a third larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Total {
    /// How many records; negative only inside a difference.
    pub records: i64,
    high: i64,
    low: u64,
}

impl Total {
    /// A total of so many records with this sum.
    #[inline]
    pub fn new(records: i64, sum: i128) -> Total {
        Total { records, high: (sum >> 64) as i64, low: sum as u64 }
    }

    /// The sum.
    #[inline]
    pub fn sum(&self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }
}

impl IsZero for Total {
    #[inline]
    fn is_zero(&self) -> bool {
        self.records == 0 && self.high == 0 && self.low == 0
    }
}

impl Semigroup for Total {
    #[inline]
    fn plus_equals(&mut self, other: &Total) {
        // The door bounds every value so that no reachable sum overflows; if one does, a stopped
        // engine is better than a wrong sum.
        let sum = self.sum().checked_add(other.sum()).expect("values are bounded so that sums fit 128 bits");
        *self = Total::new(self.records + other.records, sum);
    }
}

impl Monoid for Total {
    fn zero() -> Total {
        Total::default()
    }
}

impl Abelian for Total {
    #[inline]
    fn negate(&mut self) {
        *self = Total::new(-self.records, -self.sum());
    }
}

/// What stands on invoices, as a difference: lines, a quantity and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Billed {
    /// How many lines; negative only inside a difference.
    pub lines: i64,
    /// The quantity, in units of 10^-12.
    pub quantity: i128,
    /// The money, in units of 10^-12.
    pub money: i128,
}

impl IsZero for Billed {
    #[inline]
    fn is_zero(&self) -> bool {
        self.lines == 0 && self.quantity == 0 && self.money == 0
    }
}

impl Semigroup for Billed {
    #[inline]
    fn plus_equals(&mut self, other: &Billed) {
        self.lines += other.lines;
        self.quantity += other.quantity;
        self.money += other.money;
    }
}

impl Monoid for Billed {
    fn zero() -> Billed {
        Billed::default()
    }
}

impl Abelian for Billed {
    #[inline]
    fn negate(&mut self) {
        self.lines = -self.lines;
        self.quantity = -self.quantity;
        self.money = -self.money;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_the_split_into_words() {
        for sum in [0, 1, -1, i128::from(u64::MAX), -i128::from(u64::MAX) - 1, 10_i128.pow(36), -(10_i128.pow(36))] {
            assert_eq!(Total::new(1, sum).sum(), sum);
            let mut total = Total::new(2, sum);
            let mut other = total;
            other.negate();
            total.plus_equals(&other);
            assert!(total.is_zero(), "{sum}");
        }
    }

    /// Checks the laws of a commutative group with these of its elements.
    fn check_group<T: Abelian + Monoid + Copy + PartialEq + std::fmt::Debug>(elements: &[T]) {
        let plus = |one: T, other: T| {
            let mut sum = one;
            sum.plus_equals(&other);
            sum
        };
        for &one in elements {
            assert_eq!(one.is_zero(), one == T::zero(), "{one:?}");
            assert_eq!(plus(one, T::zero()), one);
            let mut negative = one;
            negative.negate();
            assert_eq!(plus(one, negative), T::zero(), "{one:?}");
            for &other in elements {
                assert_eq!(plus(one, other), plus(other, one), "{one:?} and {other:?}");
                assert_eq!(plus(plus(one, other), negative), other, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn totals_form_a_group_and_only_nothing_is_zero() {
        // Each part alone is not nothing, nor is either word of a sum.
        check_group(
            &[(0, 0), (1, 0), (-2, 0), (0, 5), (0, -5), (0, 1 << 64), (3, 1 << 70)]
                .map(|(records, sum)| Total::new(records, sum)),
        );
        let billed = |lines, quantity, money| Billed { lines, quantity, money };
        check_group(&[billed(0, 0, 0), billed(1, 0, 0), billed(0, 2, 0), billed(0, 0, 3), billed(-4, 5, -6)]);
    }
}
