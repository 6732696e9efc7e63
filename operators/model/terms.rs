//! On what terms usage is billed: what a rate card says, within a subscription and its billing
//! period.
//!
//! Law: charges and quota states are functions of the terms and the quantities, and of nothing
//! else; each service period is rated by itself.

use std::sync::Arc;

use crate::catalog::{Catalog, FeatureId, Plan, Quota, RateCard};
use crate::charge::{Charge, Group, Level, QuotaState};
use crate::grain::{Grain, Interval, Micros};
use crate::meter::Aggregation;
use crate::money::Rounding;
use crate::price::Price;
use crate::pricing::{self, PricingError};

/// A rate card with all that rating needs beside it.
#[derive(Clone, Debug)]
pub struct Card {
    pub(crate) feature: FeatureId,
    /// How quantities are aggregated, and their scale; none: it is had, not used.
    meter: Option<(Aggregation, u32)>,
    /// Prices with the first grain at which they hold, in order of time.
    prices: Vec<(Grain, Price)>,
    pub(crate) quota: Option<Quota>,
    rounding: Rounding,
    /// Decimal places of the currency's minor unit.
    minor_places: u32,
}

impl Card {
    pub(crate) fn new(catalog: &Catalog, plan: &Plan, card: &RateCard) -> Card {
        let feature = catalog.features.id(&card.feature).expect("a rate card's feature is defined");
        let meter = catalog.features.get(feature).meter.as_ref().and_then(|meter| catalog.meters.named(meter));
        let from = |at: Option<Micros>| at.and_then(Grain::at_edge).unwrap_or(Grain(0));
        Card {
            feature,
            meter: meter.map(|meter| (meter.aggregation, meter.scale)),
            prices: card.prices.iter().map(|version| (from(version.effective_from), version.price.clone())).collect(),
            quota: card.quota.clone(),
            rounding: plan.rounding,
            minor_places: plan.currency.minor_places(),
        }
    }

    pub(crate) fn is_unique_count(&self) -> bool {
        matches!(self.meter, Some((Aggregation::UniqueCount, _)))
    }

    /// The stretch around `grain` in which one price holds.
    pub(crate) fn price_interval(&self, grain: Grain) -> Interval {
        let edges = || self.prices.iter().map(|(from, _)| *from);
        let from = edges().rfind(|&edge| edge <= grain).unwrap_or(Grain(0));
        let to = edges().find(|&edge| edge > grain).unwrap_or(Grain::MAX);
        Interval { from, to }
    }

    /// The service period that begins at `start`.
    fn service(&self, term: Interval, period: Interval, start: Grain) -> Interval {
        // What has no meter is had for the whole period at the price of its beginning.
        let price_end = if self.meter.is_some() { self.price_interval(start).to } else { Grain::MAX };
        Interval { from: start, to: period.to.min(term.to).min(price_end) }
    }
}

/// On what terms a group is billed.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(crate) card: Arc<Card>,
    /// The subscription's term.
    pub(crate) term: Interval,
    /// The group's billing period.
    pub(crate) period: Interval,
}

impl Terms {
    /// How quantities are aggregated, and their scale; none: it is had, not used.
    pub fn meter(&self) -> Option<(Aggregation, u32)> {
        self.card.meter
    }

    /// The billing period.
    pub fn period(&self) -> Interval {
        self.period
    }

    /// The service period that begins at `start`.
    pub fn service(&self, start: Grain) -> Interval {
        self.card.service(self.term, self.period, start)
    }

    /// The charges of a group, given the quantities of its service periods in order of time.
    ///
    /// Each service period is rated by itself, by the price that holds at its start; rounding
    /// follows the plan. A service period without a price makes no charge.
    pub fn charges(
        &self,
        group: &Group,
        services: impl Iterator<Item = (Grain, i128)>,
    ) -> Result<Vec<Charge>, PricingError> {
        let card = &self.card;
        let mut charges = Vec::new();
        let mut bill = pricing::biller(card.rounding, card.minor_places);
        for (start, quantity) in services {
            let Some((_, price)) = card.prices.iter().rfind(|(from, _)| *from <= start) else { continue };
            let amount = pricing::rate(price, quantity)?;
            charges.push(Charge {
                group: *group,
                service: self.service(start),
                quantity,
                amount,
                billed: bill(amount),
            });
        }
        Ok(charges)
    }

    /// What a group's quota stands at, if the rate card has one.
    pub fn quota(&self, group: &Group, used: i128) -> Option<QuotaState> {
        let quota = self.card.quota.as_ref()?;
        let level = if used > quota.limit {
            Level::Over
        } else if used >= quota.warning_at {
            Level::Warning
        } else {
            Level::Ok
        };
        Some(QuotaState { group: *group, used, limit: quota.limit, warning_at: quota.warning_at, level })
    }
}
