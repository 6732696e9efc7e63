//! What quotas stand at, and each change of that.

use std::collections::BTreeMap;

use super::billing::{Bills, Group};
use super::cell::{Cell, Row, integer, text};
use super::measure;

/// Customer, subscription, feature, and the first instant of the billing period.
pub(super) type Key = (String, String, String, i64);

/// What a quota stands at.
#[derive(Clone, Debug)]
pub(super) struct State {
    period_end: i64,
    used: i128,
    limit: i128,
    warning_at: i128,
    level: &'static str,
}

/// Every quota that stands somewhere: those with usage, and those of the periods that run.
pub(super) fn states(bills: &Bills<'_>) -> BTreeMap<Key, State> {
    let mut states = BTreeMap::new();
    for contract in bills.contracts.values().filter(|contract| contract.is_running(bills.clock)) {
        let (period_start, _) = contract.periods.around(bills.clock);
        for card in &contract.plan.rate_cards {
            let group = Group {
                customer: &contract.customer.id,
                subscription: &contract.subscription.id,
                feature: &card.feature,
                period_start,
            };
            states.extend(state(bills, group, 0));
        }
    }
    for (group, services) in &bills.groups {
        let whole: Vec<_> = services.values().flatten().copied().collect();
        states.extend(state(bills, *group, measure::quantity(&whole)));
    }
    states
}

fn state(bills: &Bills<'_>, group: Group<'_>, used: i128) -> Option<(Key, State)> {
    let contract = &bills.contracts[group.subscription];
    let card = contract.plan.rate_cards.iter().find(|card| card.feature == group.feature)?;
    let quota = card.quota.as_ref()?;
    let level = match used {
        used if used > quota.limit => "over",
        used if used >= quota.warning_at => "warning",
        _ => "ok",
    };
    let key = (group.customer.to_owned(), group.subscription.to_owned(), group.feature.to_owned(), group.period_start);
    let (_, period_end) = contract.periods.around(group.period_start);
    Some((key, State { period_end, used, limit: quota.limit, warning_at: quota.warning_at, level }))
}

pub(super) fn rows(bills: &Bills<'_>) -> Vec<Row> {
    let row = |(key, state): (Key, State)| {
        let (customer, subscription, feature, period_start) = key;
        vec![
            text(customer),
            text(subscription),
            text(feature),
            Cell::Time(period_start),
            Cell::Time(state.period_end),
            Cell::Decimal(state.used),
            Cell::Decimal(state.limit),
            Cell::Decimal(state.warning_at),
            text(state.level),
        ]
    };
    states(bills).into_iter().map(row).collect()
}

/// Remembers what quotas stood at, and notes what changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    before: BTreeMap<Key, State>,
    crossings: Vec<Row>,
}

impl Watch {
    pub fn observe(&mut self, epoch: u64, clock: i64, now: BTreeMap<Key, State>) {
        let gone = |key: &Key| !now.contains_key(key);
        let vanished = self.before.iter().filter(|(key, _)| gone(key));
        // What vanished counts as unused, below the limit it had last.
        let vanished = vanished.map(|(key, old)| (key, State { used: 0, level: "ok", ..old.clone() }));
        let stands = now.iter().map(|(key, state)| (key, state.clone())).chain(vanished);
        for (key, state) in stands {
            let old = self.before.get(key).map_or("ok", |old| old.level);
            if old != state.level {
                self.crossings.push(crossing(key, epoch, clock, old, &state));
            }
        }
        self.before = now;
    }

    pub fn rows(&self) -> Vec<Row> {
        self.crossings.clone()
    }
}

fn crossing(key: &Key, epoch: u64, clock: i64, from: &str, to: &State) -> Row {
    let (customer, subscription, feature, period_start) = key;
    vec![
        text(customer),
        text(subscription),
        text(feature),
        Cell::Time(*period_start),
        integer(epoch as i64),
        Cell::Time(clock),
        text(from),
        text(to.level),
        Cell::Decimal(to.used),
        Cell::Decimal(to.limit),
    ]
}
