//! Who is billed for what: the groups of usage by subscription, period and feature, and charges.

use std::collections::BTreeMap;

use trueup_model::catalog::{AnchorRule, Customer, Plan, RateCard, Subscription};

use super::amount::{AMOUNT_MAX, ONE};
use super::cell::{Cell, Row, integer, text};
use super::days::Tiling;
use super::definitions::{Definitions, price_at, price_changes};
use super::reading::{Reading, Readings, meets};
use super::{amount, measure};

/// A subscription with all that it refers to.
pub(super) struct Contract<'a> {
    pub customer: &'a Customer,
    pub subscription: &'a Subscription,
    pub plan: &'a Plan,
    pub periods: Tiling,
}

impl Contract<'_> {
    pub fn ends_at(&self) -> i64 {
        self.subscription.ends_at.unwrap_or(i64::MAX)
    }

    pub fn is_running(&self, at: i64) -> bool {
        self.subscription.starts_at <= at && at < self.ends_at()
    }
}

/// What is priced and limited together: a feature in one billing period of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group<'a> {
    pub customer: &'a str,
    pub subscription: &'a str,
    pub feature: &'a str,
    pub period_start: i64,
}

/// The usage of a group: the readings of each service period, by its first instant.
type Services<'a> = BTreeMap<i64, Vec<&'a Reading<'a>>>;

/// One line: what is charged for a service period.
#[derive(Clone, Debug)]
pub(super) struct Charge<'a> {
    pub group: Group<'a>,
    pub service_start: i64,
    pub service_end: i64,
    pub quantity: i128,
    pub amount: i128,
    pub billed: i128,
}

/// Everything that is billed, as of a moment of the billing clock.
pub(super) struct Bills<'a> {
    pub definitions: &'a Definitions,
    pub contracts: BTreeMap<&'a str, Contract<'a>>,
    pub groups: BTreeMap<Group<'a>, Services<'a>>,
    pub clock: i64,
}

impl<'a> Bills<'a> {
    pub fn of(definitions: &'a Definitions, readings: &'a Readings<'a>, clock: i64) -> Bills<'a> {
        let mut bills = Bills { definitions, contracts: contracts(definitions), groups: BTreeMap::new(), clock };
        let mut by_customer: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, contract) in &bills.contracts {
            by_customer.entry(&contract.customer.id).or_default().push(id);
        }
        for reading in &readings.all {
            let Some(customer) = reading.customer else { continue };
            for id in by_customer.get(customer.id.as_str()).into_iter().flatten() {
                if bills.contracts[id].is_running(reading.grain) {
                    bills.bill(id, reading);
                }
            }
        }
        bills
    }

    fn bill(&mut self, id: &str, reading: &'a Reading<'a>) {
        let contract = &self.contracts[id];
        let (period_start, _) = contract.periods.around(reading.grain);
        let subscription = contract.subscription;
        for card in &contract.plan.rate_cards {
            let feature = &self.definitions.features[&card.feature];
            if feature.meter.as_ref() != Some(&reading.meter.name) || !meets(&feature.filter, &reading.dimensions) {
                continue;
            }
            let changes = price_changes(card);
            let last_change = changes.into_iter().filter(|change| *change <= reading.grain).max();
            let start = period_start.max(subscription.starts_at).max(last_change.unwrap_or(i64::MIN));
            let group = Group {
                customer: &subscription.customer,
                subscription: &subscription.id,
                feature: &feature.name,
                period_start,
            };
            self.groups.entry(group).or_default().entry(start).or_default().push(reading);
        }
    }

    /// The contract, the rate card and the end of the billing period of a group.
    pub fn terms(&self, group: Group<'a>) -> (&Contract<'a>, &'a RateCard, i64) {
        let contract = &self.contracts[group.subscription];
        let card = contract.plan.rate_cards.iter().find(|card| card.feature == group.feature);
        let (_, period_end) = contract.periods.around(group.period_start);
        (contract, card.expect("a group is made from a rate card"), period_end)
    }

    fn service_end(&self, group: Group<'a>, start: i64) -> i64 {
        let (contract, card, period_end) = self.terms(group);
        let next_change = price_changes(card).into_iter().find(|change| *change > start);
        period_end.min(contract.ends_at()).min(next_change.unwrap_or(i64::MAX))
    }

    /// All charges, by group and in order of time.
    pub fn charges(&self) -> Vec<Charge<'a>> {
        let mut charges: Vec<Charge<'a>> = Vec::new();
        for (group, services) in &self.groups {
            let lines = services
                .iter()
                .map(|(start, readings)| (*start, self.service_end(*group, *start), measure::quantity(readings)));
            charges.extend(self.rate(*group, lines.collect()));
        }
        for contract in self.contracts.values() {
            let cards = contract.plan.rate_cards.iter();
            for card in cards.filter(|card| self.definitions.meter_of(card).is_none()) {
                charges.extend(self.fixed_charges(contract, card));
            }
        }
        charges.sort_by_key(|charge| (charge.group, charge.service_start));
        charges
    }

    /// The groups that are not charged, because an amount is larger than is kept.
    pub fn groups_too_large(&self) -> Vec<Group<'a>> {
        let is_too_large = |group: Group<'a>, start: i64, readings: &[&Reading<'a>]| {
            let amount = self.amount(group, start, measure::quantity(readings));
            amount.is_some_and(|amount| amount.abs() > AMOUNT_MAX)
        };
        let groups = self.groups.iter();
        groups
            .filter(|(group, services)| {
                services.iter().any(|(start, readings)| is_too_large(**group, *start, readings))
            })
            .map(|(group, _)| *group)
            .collect()
    }

    /// What a quantity costs in a service period; none if it has no price.
    fn amount(&self, group: Group<'a>, service_start: i64, quantity: i128) -> Option<i128> {
        let (_, card, _) = self.terms(group);
        Some(amount::of(&price_at(card, service_start)?.price, quantity))
    }

    /// The charges for service periods of a group, given as start, end and quantity; none if an
    /// amount is larger than is kept.
    fn rate(&self, group: Group<'a>, services: Vec<(i64, i64, i128)>) -> Vec<Charge<'a>> {
        let charge = |(service_start, service_end, quantity): (i64, i64, i128)| {
            let amount = self.amount(group, service_start, quantity)?;
            Some(Charge { group, service_start, service_end, quantity, amount, billed: 0 })
        };
        let mut charges: Vec<Charge<'_>> = services.into_iter().filter_map(charge).collect();
        let amounts: Vec<i128> = charges.iter().map(|charge| charge.amount).collect();
        if amounts.iter().any(|amount| amount.abs() > AMOUNT_MAX) {
            return Vec::new();
        }
        let plan = self.terms(group).0.plan;
        for (charge, billed) in
            charges.iter_mut().zip(amount::billed(&amounts, plan.rounding, plan.currency.minor_places()))
        {
            charge.billed = billed;
        }
        charges
    }

    /// What is simply had is charged once for each period that has begun.
    fn fixed_charges(&self, contract: &Contract<'a>, card: &'a RateCard) -> Vec<Charge<'a>> {
        let subscription = contract.subscription;
        let mut charges = Vec::new();
        let mut start = subscription.starts_at;
        while start <= self.clock && contract.is_running(start) {
            let (period_start, period_end) = contract.periods.around(start);
            let group = Group {
                customer: &subscription.customer,
                subscription: &subscription.id,
                feature: &card.feature,
                period_start,
            };
            charges.extend(self.rate(group, vec![(start, period_end.min(contract.ends_at()), ONE)]));
            start = period_end;
        }
        charges
    }

    pub fn usage_by_period(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (group, services) in &self.groups {
            let (_, _, period_end) = self.terms(*group);
            for (start, readings) in services {
                rows.push(vec![
                    text(group.customer),
                    text(group.subscription),
                    text(group.feature),
                    Cell::Time(group.period_start),
                    Cell::Time(period_end),
                    Cell::Time(*start),
                    Cell::Time(self.service_end(*group, *start)),
                    Cell::Decimal(measure::quantity(readings)),
                    integer(readings.len() as i64),
                ]);
            }
        }
        rows
    }

    pub fn charge_rows(&self) -> Vec<Row> {
        let row = |charge: &Charge<'a>| {
            let (contract, _, period_end) = self.terms(charge.group);
            vec![
                text(charge.group.customer),
                text(charge.group.subscription),
                text(charge.group.feature),
                Cell::Time(charge.group.period_start),
                Cell::Time(charge.service_start),
                Cell::Time(period_end),
                Cell::Time(charge.service_end),
                text(&contract.plan.name),
                text(contract.plan.currency.code()),
                Cell::Decimal(charge.quantity),
                Cell::Decimal(charge.amount),
                Cell::Decimal(charge.billed),
            ]
        };
        self.charges().iter().map(row).collect()
    }
}

fn contracts(definitions: &Definitions) -> BTreeMap<&str, Contract<'_>> {
    let mut contracts = BTreeMap::new();
    for (id, subscription) in &definitions.subscriptions {
        let customer = &definitions.customers[&subscription.customer];
        let plan = &definitions.plans[&subscription.plan];
        let periods = match plan.anchor {
            AnchorRule::Calendar => Tiling::calendar(&customer.zone, plan.cadence),
            AnchorRule::Anniversary => Tiling::anniversaries(&customer.zone, plan.cadence, subscription.starts_at),
        };
        contracts.insert(id.as_str(), Contract { customer, subscription, plan, periods });
    }
    contracts
}
