//! What a feature costs.
//!
//! Prices, like amounts, are integers in units of 10^-12 of the currency; tier bounds are
//! quantities in units of 10^-12. A tier's upper bound belongs to the tier.

use serde::{Deserialize, Serialize};

use crate::money::Amount;

/// A price model with its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Price {
    /// Each unit costs the same.
    PerUnit {
        /// Price of one unit.
        unit: Amount,
    },
    /// Each unit costs what its own tier says.
    Graduated {
        /// Tiers from the lowest; the last has no upper bound.
        tiers: Vec<Tier>,
    },
    /// All units cost what the tier of the whole quantity says.
    Volume {
        /// Tiers from the lowest; the last has no upper bound.
        tiers: Vec<Tier>,
    },
    /// Sold in whole packages; a begun package counts whole, and nothing used costs nothing.
    Package {
        /// Units in a package, in units of 10^-12; more than zero.
        size: i128,
        /// Price of one package.
        price: Amount,
    },
    /// A fixed amount for each billing period, whatever is used.
    Flat {
        /// The amount.
        amount: Amount,
    },
}

/// A range of quantity with its own price: above the bound of the tier before, up to and with
/// its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tier {
    /// The greatest quantity of the tier, in units of 10^-12; none: all above.
    pub up_to: Option<i128>,
    /// Price of one unit.
    pub unit: Amount,
    /// Due once as soon as the tier is entered, that is, at any quantity above the bound before.
    pub flat: Amount,
}
