//! Charges and issued documents in, invoices and corrections out.
//!
//! A draft is the running sum of its charges. Issuing freezes it into a document, which is a
//! fact; corrections are then simply what the books say less what was issued. There is no code
//! for late usage: it changes what the books say.

use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use differential_dataflow::difference::Abelian;
use trueup_model::charge::{Charge, Group, Invoice, InvoiceKey};
use trueup_model::grain::Grain;
use trueup_model::identity::stable_hash;
use trueup_operators::arrange::{ArrangedBySelf, Records, arrange_by_key, arrange_by_self, arrange_here};
use trueup_operators::map_through::map_through;
use trueup_operators::reduce_through::{Next, Reduction, reduce_through};
use trueup_operators::total::{Gap, Total};
use trueup_operators::touched::Leads;

use crate::metering::Turns;

/// What invoicing gives.
pub struct Invoiced<'scope> {
    /// The charges: lines of drafts, and of what the books say of issued invoices.
    pub charges: ArrangedBySelf<'scope, Charge, i64>,
    /// The invoices.
    pub invoices: Records<'scope, Invoice, i64>,
    /// By line: what the books say less what was issued, for issued invoices.
    pub corrections: ArrangedBySelf<'scope, (Group, Grain), Gap>,
}

/// Draws up invoices from charges; `issued` are the lines of issued documents.
pub fn invoicing<'scope>(
    charges: Records<'scope, Charge, i64>,
    issued: Records<'scope, (Group, Grain), Gap>,
    turns: Turns<'scope>,
) -> Invoiced<'scope> {
    let sums = charges.clone().map(|(charge, epoch, diff)| {
        ((charge.group.invoice(), ()), epoch, Total::new(diff, charge.billed * i128::from(diff)))
    });
    let sums = arrange_by_key(sums, "Invoices: sum the lines", |key: &InvoiceKey| stable_hash(key.customer, 0));
    let invoices = reduce_through(sums, turns.clone(), DRAW_UP);

    let charges = arrange_here(charges, "Charges: the lines");
    let desired = map_through(
        charges.clone(),
        turns,
        "Corrections: what the books say",
        issued_leads,
        |targets, charge, diff, put| {
            if targets.books().issued.contains_key(&charge.group.invoice()) {
                let times = i128::from(*diff);
                put(
                    (charge.group, charge.service.from),
                    Gap { quantity: charge.quantity * times, billed: charge.billed * times },
                );
            }
        },
    );
    let taken = issued.map(|(line, epoch, mut gap)| {
        gap.negate();
        (line, epoch, gap)
    });
    let corrections = arrange_by_self(desired.concat(taken), "Corrections: less what was issued", |(group, _)| {
        stable_hash(group.customer, 0)
    });
    Invoiced { charges, invoices, corrections }
}

/// The customers for whom something was issued.
fn issued_leads(turn: &trueup_model::books::Turn) -> Leads {
    Leads::Some(turn.invoices.iter().map(|key| key.customer).collect())
}

/// The invoice of a billing period that has lines, or for which something was issued.
const DRAW_UP: Reduction<InvoiceKey, (), Total, Invoice, i64> = Reduction {
    name: "Invoices: draw up",
    leads: |_| Leads::none(),
    keys: |turn| turn.invoices.iter().copied().collect(),
    next: |_| Next::Step,
    compute: |targets, key, sums, results| {
        let sum = sums.first().map_or_else(Total::default, |(_, sum)| *sum);
        let issued = targets.books().issued.get(key).map(|issued| issued.total);
        if sum.records > 0 || issued.is_some() {
            results.push((Invoice { key: *key, lines: sum.records, total: sum.sum(), issued }, 1));
        }
    },
};
