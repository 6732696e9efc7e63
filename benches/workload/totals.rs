//! What an engine's views add up to, read the way any reader reads them.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Decimal128Type;
use trueup_sinks::reading::{Reading, Scan};
use trueup_sinks::view::View;

use crate::events::TYPES;
use crate::reference::{Totals, credit};

/// A cent, in the units of a view's amounts.
const CENT: i128 = 10_000_000_000;
/// A millionth, in the units of a view's quantities.
const MILLIONTH: i128 = 1_000_000;

/// The totals of the views at a moment, after credits. Reads every row of usage: about a
/// microsecond each.
pub fn of(reading: &Arc<dyn Reading>) -> Totals {
    let mut totals = Totals::default();
    each(reading, View::Usage, |rows| {
        let (meters, quantities) =
            (rows["meter"].as_string::<i32>(), rows["quantity"].as_primitive::<Decimal128Type>());
        for row in (0..rows.num_rows()).filter(|&row| TYPES.contains(&meters.value(row))) {
            totals.hourly_groups += 1;
            totals.quantity += exactly(quantities.value(row), MILLIONTH);
        }
    });
    each(reading, View::Charges, |rows| {
        let billed = rows["billed"].as_primitive::<Decimal128Type>();
        totals.charges += billed.values().iter().map(|&billed| exactly(billed, CENT)).sum::<i128>();
    });
    each(reading, View::Invoices, |rows| {
        let (customers, owed) = (rows["customer"].as_string::<i32>(), rows["total"].as_primitive::<Decimal128Type>());
        for (customer, &owed) in customers.iter().zip(owed.values()) {
            let owed = exactly(owed, CENT);
            // The engine has no credits yet: they are taken off here.
            totals.invoices += owed - credit(number(customer.expect("an invoice has a customer")), owed);
        }
    });
    totals
}

/// The quantities that are charged, in millionths: the same sum without the hours.
pub fn charged_quantity(reading: &Arc<dyn Reading>) -> i128 {
    let mut quantity = 0;
    each(reading, View::UsageByPeriod, |rows| {
        let (features, quantities) =
            (rows["feature"].as_string::<i32>(), rows["quantity"].as_primitive::<Decimal128Type>());
        let priced = (0..rows.num_rows()).filter(|&row| TYPES.contains(&features.value(row)));
        quantity += priced.map(|row| exactly(quantities.value(row), MILLIONTH)).sum::<i128>();
    });
    quantity
}

fn each(reading: &Arc<dyn Reading>, view: View, mut take: impl FnMut(&RecordBatch)) {
    reading.clone().scan(view, &Scan::default()).for_each(|rows| take(&rows));
}

fn exactly(units: i128, unit: i128) -> i128 {
    assert_eq!(units % unit, 0, "{units} is no whole number of {unit}");
    units / unit
}

fn number(customer: &str) -> u32 {
    let digits = customer.strip_prefix("cust-").expect("customers are numbered");
    digits.parse().expect("customers are numbered")
}
