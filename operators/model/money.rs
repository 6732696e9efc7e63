//! Amounts of money, and how they are rounded.
//!
//! An amount is an integer count of 10^-12 currency units, so sums are exact and cancel
//! exactly, in any order. Rounding happens once, where a line amount is made, by a named rule.

use serde::{Deserialize, Serialize};

/// Decimal places of every amount and every priced quantity inside the engine.
pub const PLACES: u32 = 12;

/// One currency unit (or one unit of quantity), in units of 10^-12.
pub const ONE: i128 = 1_000_000_000_000;

/// A quantity that counts units of 10^-`scale`, in units of 10^-12.
pub fn quantity_units(quantity: i128, scale: u32) -> i128 {
    quantity * (ONE / 10_i128.pow(scale))
}

/// An amount of money in units of 10^-12 of its currency.
pub type Amount = i128;

/// What to do with a tie or a remainder when an amount is cut to fewer places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingMode {
    /// To the nearest; a tie goes away from zero. What most invoices do.
    #[default]
    HalfUp,
    /// To the nearest; a tie goes to the even neighbour.
    HalfEven,
    /// Away from zero whenever anything is left.
    Up,
    /// Towards zero.
    Down,
}

/// What is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingScope {
    /// The running total of a feature within its billing period; a line is the difference of
    /// two rounded totals, so that the parts of a period always add up to the rounded whole.
    #[default]
    Cumulative,
    /// Each line by itself.
    Line,
}

/// How line amounts are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rounding {
    /// Decimal places kept; none given: the minor unit of the currency (ISO 4217).
    pub places: Option<u32>,
    /// Which way.
    pub mode: RoundingMode,
    /// Of what.
    pub scope: RoundingScope,
}
