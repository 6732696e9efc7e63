//! Totals and issued documents in, postings out: invoices, corrections, crossings.
//!
//! One pass over the totals that changed rates them and holds them against their quotas, before
//! and now. A draft is the running sum of its charges. Issuing freezes it into a document, which
//! is a fact; corrections are then simply what the books say less what was issued. There is no
//! code for late usage: it changes what the books say.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::difference::{IsZero, Semigroup};
use timely::dataflow::operators::{Concat, Concatenate};

use trueup_model::books::Books;
use trueup_model::charge::{Charge, Group, Posting};
use trueup_model::grain::Grain;
use trueup_model::identity::customer_place;
use trueup_model::lookup::Lookup;
use trueup_operators::arrange::{Arrangement, Before, Keyed, Records, arrange_by_key, arrange_here};
use trueup_operators::reduce_through::{BooksOfBoth, Change, Reduction, Which, reduce_through};
use trueup_operators::total::{Billed, Total};
use trueup_operators::touched::Leads;

use crate::metering::Turns;
use crate::{entitlements, rating};

/// Totals by group and service period.
pub type Totals<'scope> = Arrangement<'scope, Group, Grain, Total>;

/// Arranges what is billed: usage by target, and what time alone brings.
pub fn totals<'scope>(
    targets: Vec<Records<'scope, (Group, Grain), Total>>,
    agenda: Records<'scope, (Group, Grain), Total>,
    before: Before<Group, Grain, Total>,
) -> Totals<'scope> {
    let targets = agenda.scope().concatenate(targets.into_iter().chain([agenda]));
    arrange_by_key(targets, "Totals: by group", before, total_place)
}

/// Where the totals of a group live.
pub fn total_place(group: &Group) -> u64 {
    customer_place(group.customer)
}

/// Draws up invoices; `issued` takes off the lines of issued documents, each where its customer
/// is.
pub fn invoicing<'scope>(
    totals: Totals<'scope>,
    issued: Keyed<'scope, Posting, (), Billed>,
    turns: Turns<'scope>,
    books: &Arc<Books>,
    before: Before<Posting, (), Billed>,
) -> Arrangement<'scope, Posting, (), Billed> {
    let billed = reduce_through(totals, turns, books, BILL);
    arrange_here(billed.concat(issued), "Postings: invoices, corrections, crossings", before)
}

/// The postings of a group.
const BILL: Reduction<Group, Grain, Total, (Posting, ()), Billed> = Reduction {
    name: "Bill: rate totals and hold them against quotas",
    leads: Leads::customers,
    which: Which::All,
    change: |books, change, postings| {
        books.difference(change, postings, post_charges);
        postings.extend(crossed(books, change));
    },
};

/// Posts the charges of a group: to its invoice and, where that is issued, line by line. While
/// they are larger than can be kept, what was issued stands, so that nobody is refunded for it, and
/// the invoice counts the group as held, as its quantity.
fn post_charges(
    lookup: &mut Lookup,
    group: &Group,
    totals: &[(Grain, Total)],
    postings: &mut Vec<((Posting, ()), Billed)>,
) {
    let mut sum = Billed::default();
    let lines: Vec<(Grain, Billed)> = match rating::charges(lookup, group, totals) {
        Ok(charges) => charges.iter().map(line).collect(),
        Err(_) => {
            postings.push(((Posting::Alarm(*group), ()), Billed { lines: 1, ..Billed::default() }));
            sum.quantity = 1;
            issued_lines(lookup.books(), group)
        }
    };
    let invoice = group.invoice();
    let is_issued = lookup.books().issued.contains_key(&invoice);
    for (service, line) in lines {
        (sum.lines, sum.money) = (sum.lines + 1, sum.money + line.money);
        if is_issued {
            postings.push(((Posting::Correction(*group, service), ()), line));
        }
    }
    if !sum.is_zero() {
        postings.push(((Posting::Invoice(invoice), ()), sum));
    }
}

/// A charge as it stands against what was issued.
fn line(charge: &Charge) -> (Grain, Billed) {
    (charge.service.from, Billed { lines: 0, quantity: charge.quantity, money: charge.billed })
}

/// What the documents of a group say of it, by service period.
fn issued_lines(books: &Books, group: &Group) -> Vec<(Grain, Billed)> {
    let feature = &books.catalog.features.get(group.feature).name;
    let invoice = group.invoice();
    let lines = books.documents_of(&invoice).flat_map(|document| &document.lines);
    let mut issued: BTreeMap<Grain, Billed> = BTreeMap::new();
    for line in lines.filter(|line| line.feature == *feature) {
        let service = Grain::at_edge(line.service_start).expect("the door lets in no document with other times");
        let billed = Billed { lines: 0, quantity: line.quantity, money: line.billed };
        issued.entry(service).or_default().plus_equals(&billed);
    }
    issued.into_iter().filter(|(_, billed)| !billed.is_zero()).collect()
}

/// The crossing that a change of totals or books is, if it is one.
fn crossed(books: &mut BooksOfBoth, change: &Change<'_, Group, Grain, Total>) -> Option<((Posting, ()), Billed)> {
    let before = entitlements::state(books.before(), change.key, change.before);
    let after = entitlements::state(books.now(), change.key, change.after);
    let at = books.now().books().clock;
    let crossing = entitlements::crossing([before, after], change.epoch, at)?;
    Some(((Posting::Crossing(crossing), ()), Billed { lines: 1, ..Billed::default() }))
}
