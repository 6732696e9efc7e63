//! Quantities in, charges out.
//!
//! Prices may depend on the whole quantity, so a group is rated from its totals, never from
//! single events. A charge is a function of the books and the totals: it is worked out where it
//! is needed and kept nowhere.

use trueup_model::charge::{Charge, Group};
use trueup_model::grain::Grain;
use trueup_model::lookup::{Lookup, RUNNING};
use trueup_model::pricing::PricingError;
use trueup_operators::aggregate::quantity;
use trueup_operators::total::Total;

/// The charges of a group with these totals, in order of time; an error if an amount is larger
/// than can be kept.
pub fn charges(lookup: &mut Lookup, group: &Group, totals: &[(Grain, Total)]) -> Result<Vec<Charge>, PricingError> {
    let mut used = services(totals).peekable();
    // Books of before the group had totals may not know its feature.
    if used.peek().is_none() {
        return Ok(Vec::new());
    }
    let Some(terms) = lookup.terms(group) else { return Ok(Vec::new()) };
    terms.charges(group, used.map(|(service, total)| (*service, quantity(terms.meter(), total))))
}

/// The service periods in which something was used, in order of time.
pub fn services(totals: &[(Grain, Total)]) -> impl Iterator<Item = &(Grain, Total)> {
    totals.iter().filter(|(service, total)| *service < RUNNING && total.records > 0)
}
