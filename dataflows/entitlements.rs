//! Totals in, quota states and their crossings out.
//!
//! A quota is measured over the whole billing period, whatever the prices in it did. Its state
//! is a function of the total and the books, so usage that is withdrawn crosses back by itself.

use trueup_model::books::{RUNNING, WHOLE};
use trueup_model::charge::{Crossing, Group, QuotaState};
use trueup_model::grain::Grain;
use trueup_operators::arrange::Records;
use trueup_operators::crossings::crossings;
use trueup_operators::reduce_through::{Next, Reduction, reduce_through};
use trueup_operators::total::Total;
use trueup_operators::touched::Leads;

use crate::metering::Turns;
use crate::rating::{Totals, quantity};

/// What entitlements give.
pub struct Entitled<'scope> {
    /// What each quota stands at.
    pub quotas: Records<'scope, QuotaState, i64>,
    /// When it changed its level.
    pub crossings: Records<'scope, Crossing, i64>,
}

/// Holds totals against quotas.
pub fn entitlements<'scope>(totals: Totals<'scope>, turns: Turns<'scope>) -> Entitled<'scope> {
    let quotas = reduce_through(totals, turns.clone(), LIMIT);
    Entitled { quotas: quotas.clone(), crossings: crossings(quotas, turns) }
}

/// The quota state of a group, where it has used something or its billing period runs.
const LIMIT: Reduction<Group, Grain, Total, QuotaState, i64> = Reduction {
    name: "Quotas: hold totals against limits",
    leads: |turn| Leads::customers(&turn.touched),
    keys: |_| Vec::new(),
    next: |service| if *service < RUNNING { Next::Seek(RUNNING) } else { Next::Step },
    compute: |targets, group, totals, results| {
        let whole = totals.iter().find(|(service, total)| *service == WHOLE && total.records > 0);
        let is_running = totals.iter().any(|(service, _)| *service == RUNNING);
        if whole.is_none() && !is_running {
            return;
        }
        let Some((_, card)) = targets.card(group) else { return };
        let used = whole.map_or(0, |(_, total)| quantity(card.meter(), total));
        results.extend(targets.quota(group, used).map(|state| (state, 1)));
    },
};
