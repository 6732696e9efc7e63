//! Quantities in, charges out.
//!
//! Prices may depend on the whole quantity, so a group is rated from its totals, never from
//! single events. A change of price rates again the groups it touches and reads no events.

use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;

use trueup_model::books::RUNNING;
use trueup_model::charge::{Charge, Group};
use trueup_model::grain::Grain;
use trueup_model::identity::stable_hash;
use trueup_model::meter::Aggregation;
use trueup_model::metering::quantity_units;
use trueup_model::money::ONE;
use trueup_operators::arrange::{ArrangedByKey, Records, arrange_by_key};
use trueup_operators::reduce_through::{Next, Reduction, reduce_through};
use trueup_operators::total::Total;
use trueup_operators::touched::Leads;

use crate::metering::Turns;

/// Totals by group and service period: what rating and entitlements both read.
pub type Totals<'scope> = ArrangedByKey<'scope, Group, Grain, Total>;

/// What rating gives.
pub struct Rated<'scope> {
    /// Charges, each a line of a draft.
    pub charges: Records<'scope, Charge, i64>,
    /// Groups whose amount is beyond what can be kept.
    pub alarms: Records<'scope, Group, i64>,
}

/// Arranges what is charged: usage by target, and what time alone brings.
pub fn totals<'scope>(
    targets: Records<'scope, (Group, Grain), Total>,
    agenda: Records<'scope, (Group, Grain), Total>,
) -> Totals<'scope> {
    let targets = targets.scope().concatenate([targets, agenda]);
    let targets = targets.map(|((group, service), epoch, diff)| ((group, service), epoch, diff));
    arrange_by_key(targets, "Totals: by group", |group: &Group| stable_hash(group.customer, 0))
}

/// Rates the groups.
pub fn rating<'scope>(totals: Totals<'scope>, turns: Turns<'scope>) -> Rated<'scope> {
    let rated = reduce_through(totals, turns, RATE);
    let charges = rated.clone().flat_map(|(rated, epoch, diff)| rated.ok().map(|charge| (charge, epoch, diff)));
    let alarms = rated.flat_map(|(rated, epoch, diff)| rated.err().map(|group| (group, epoch, diff)));
    Rated { charges, alarms }
}

/// The charges of a group, or the group itself where they cannot be told.
const RATE: Reduction<Group, Grain, Total, Result<Charge, Group>, i64> = Reduction {
    name: "Rate: price the totals",
    leads: |turn| Leads::customers(&turn.touched),
    keys: |_| Vec::new(),
    next: |_| Next::Step,
    compute: |targets, group, totals, results| {
        let used: Vec<&(Grain, Total)> =
            totals.iter().filter(|(service, total)| *service < RUNNING && total.records > 0).collect();
        // Books of before the group had totals may not know its feature.
        if used.is_empty() {
            return;
        }
        let Some((_, card)) = targets.card(group) else { return };
        let services: Vec<(Grain, i128)> =
            used.into_iter().map(|(service, total)| (*service, quantity(card.meter(), total))).collect();
        match targets.charges(group, &services) {
            Ok(charges) => results.extend(charges.into_iter().map(|charge| (Ok(charge), 1))),
            Err(_) => results.push((Err(*group), 1)),
        }
    },
};

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
        _ => scale,
    }
}

/// The quantity of a total at the meter's scale.
pub fn aggregated(aggregation: Aggregation, total: &Total) -> i128 {
    match aggregation {
        Aggregation::Average => divide_half_even(total.sum(), i128::from(total.records)),
        _ => total.sum(),
    }
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
}
