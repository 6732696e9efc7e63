//! Totals in, quota states and their crossings out.
//!
//! A quota is measured over the whole billing period, whatever the prices in it did. Its state
//! is a function of the totals and the books, worked out where it is needed and kept nowhere;
//! so usage that is withdrawn crosses back by itself.

use trueup_model::charge::{Crossing, Group, QuotaState};
use trueup_model::fact::Epoch;
use trueup_model::grain::{Grain, Micros};
use trueup_model::lookup::{Lookup, RUNNING, WHOLE};
use trueup_model::meter::Aggregation;
use trueup_operators::aggregate::{quantity, together};
use trueup_operators::total::Total;

use crate::rating::services;

/// What the quota of a group with these totals stands at, if it has one and has used something
/// or its billing period runs.
pub fn state(lookup: &mut Lookup, group: &Group, totals: &[(Grain, Total)]) -> Option<QuotaState> {
    let is_running = totals.iter().any(|(service, _)| *service == RUNNING);
    // Books of before the group had totals may not know its feature.
    if !is_running && services(totals).next().is_none() {
        return None;
    }
    let terms = lookup.terms(group)?;
    let whole = match terms.meter() {
        Some((Aggregation::UniqueCount, _)) => {
            totals.iter().find(|(service, total)| *service == WHOLE && total.records > 0).map(|(_, total)| *total)
        }
        Some((aggregation, _)) => together(aggregation, services(totals).map(|(_, total)| total)),
        None => None,
    };
    terms.quota(group, whole.map_or(0, |total| quantity(terms.meter(), &total)))
}

/// The change of level between two states, if there is one; a group without a state is ok.
pub fn crossing([before, after]: [Option<QuotaState>; 2], epoch: Epoch, at: Micros) -> Option<Crossing> {
    let [from, to] = [&before, &after].map(|state| state.map(|state| state.level).unwrap_or_default());
    let state = after.or(before)?;
    let used = after.map_or(0, |state| state.used);
    (from != to).then_some(Crossing { group: state.group, epoch, at, from, to, used, limit: state.limit })
}
