//! What is charged, counted against a quota, billed and corrected: the rows of the views, with
//! ids for names and grains for times.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::catalog::{CustomerId, FeatureId, SubscriptionId};
use crate::grain::{Grain, Interval, Micros};
use crate::money::Amount;

/// A feature within one billing period of a subscription: what is priced and limited together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Who is billed.
    pub customer: CustomerId,
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// The first grain of the billing period.
    pub period: Grain,
    /// For what.
    pub feature: FeatureId,
}

impl Group {
    /// Its parts in one number, the first the most significant: numbers compare in one step.
    #[inline]
    fn packed(&self) -> u128 {
        let invoice = (u128::from(self.customer) << 64) | (u128::from(self.subscription) << 32);
        ((invoice | u128::from(self.period.0)) << 32) | u128::from(self.feature)
    }

    /// The invoice on which its charges stand.
    pub fn invoice(&self) -> InvoiceKey {
        InvoiceKey { customer: self.customer, subscription: self.subscription, period: self.period }
    }
}

impl Ord for Group {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.packed().cmp(&other.packed())
    }
}

impl PartialOrd for Group {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.packed() < other.packed()
    }
}

/// One billing period of a subscription: what one invoice covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvoiceKey {
    /// Who is billed.
    pub customer: CustomerId,
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// The first grain of the billing period.
    pub period: Grain,
}

/// A rated amount for a group's service period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Charge {
    /// What is charged.
    pub group: Group,
    /// The part of the billing period in which one price held.
    pub service: Interval,
    /// How much was used, in units of 10^-12.
    pub quantity: i128,
    /// The exact amount.
    pub amount: Amount,
    /// The rounded amount: what stands on the invoice.
    pub billed: Amount,
}

/// How near a quota's use is to its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Below the warning.
    #[default]
    Ok,
    /// At the warning or above, and not above the limit.
    Warning,
    /// Above the limit.
    Over,
}

impl Level {
    /// Its name in the views.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Over => "over",
        }
    }
}

/// What a quota stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuotaState {
    /// Whose, of what, in which period.
    pub group: Group,
    /// How much was used, in units of 10^-12.
    pub used: i128,
    /// The limit.
    pub limit: i128,
    /// From where on to warn.
    pub warning_at: i128,
    /// Where that puts it.
    pub level: Level,
}

/// A change of a quota's level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Crossing {
    /// Whose quota, of what, in which period.
    pub group: Group,
    /// The epoch that brought it.
    pub epoch: u64,
    /// The billing clock of that epoch.
    pub at: Micros,
    /// The level before.
    pub from: Level,
    /// The level since.
    pub to: Level,
    /// How much was used then; nothing, where the quota is there no more.
    pub used: i128,
    /// The limit then.
    pub limit: i128,
}

/// What rating and entitlements put down, each with lines, a quantity and money as its difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Posting {
    /// What an invoice's charges add up to; its quantity is the number of groups that are not charged,
    /// since their amount is larger than can be kept.
    Invoice(InvoiceKey),
    /// A line of an issued invoice, by the first grain of its service period: what the books say
    /// of it, less what was issued.
    Correction(Group, Grain),
    /// A quota changed its level.
    Crossing(Crossing),
    /// A group's amount is larger than can be kept, so it is not charged.
    Alarm(Group),
}
