//! Issues all invoices of a period, for the commands that do.

use trueup::engine::Engine;
use trueup::engine::door::Receipt;
use trueup::engine::issue::{IssueError, Request};
use trueup::engine::view_rows::{Cell, Row};
use trueup_model::calendar;
use trueup_model::fact::Document;
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};

/// What came of issuing.
pub struct Issued {
    /// What was issued.
    pub documents: Vec<Document>,
    /// How many invoices are held, since an amount of them cannot be kept; which ones was said.
    pub held: usize,
}

/// Issues every invoice whose period begins in `period` and is over, in the order of the view; of
/// those issued before, what has changed since.
pub fn issue_all(engine: &Engine, period: &str) -> Result<Issued, Failure> {
    let mut held = 0;
    let moment = engine.newest();
    let due = moment.rows(View::Invoices).into_iter().filter_map(|row| request(engine, row, period));
    let issued = due.filter_map(|request| match engine.issue(&request) {
        // One customer's mistake holds up nobody else's invoice.
        Err(error @ IssueError::TooLarge { .. }) => {
            eprintln!("trueup: {error}");
            held += 1;
            None
        }
        Err(IssueError::Nothing { .. }) => None,
        issued => Some(issued.map_err(Failure::from)),
    });
    let issued = issued.collect::<Result<Vec<_>, Failure>>()?;
    let (documents, receipts): (Vec<Document>, Vec<Receipt>) = issued.into_iter().unzip();
    engine.wait(receipts.last().map_or(moment.epoch(), |receipt| receipt.epoch))?;
    Ok(Issued { documents, held })
}

/// A period is a year, a month or a day: to be asked before anything is computed for it.
pub fn check_period(period: &str) -> Outcome {
    let is_good = match period.len() {
        4 => format!("{period}-01-01"),
        7 => format!("{period}-01"),
        _ => period.to_owned(),
    };
    match is_good.parse::<jiff::civil::Date>() {
        Ok(_) if matches!(period.len(), 4 | 7 | 10) => Ok(()),
        _ => Err(Failure::Input(format!("`{period}` is no period: write a year, a month or a day, such as 2026-07"))),
    }
}

/// The request for an invoice, if it is due.
fn request(engine: &Engine, row: Row, period: &str) -> Option<Request> {
    let [Cell::Text(customer), Cell::Text(subscription), Cell::Time(from), Cell::Time(to), ..] = &row[..] else {
        return None;
    };
    let books = engine.books();
    let zone = &books.catalog.customers.named(customer)?.zone;
    let begins = calendar::local_date(zone, *from).ok()?.to_string();
    let is_due = begins.starts_with(period) && *to <= books.clock;
    is_due.then(|| Request {
        customer: customer.to_string(),
        subscription: Some(subscription.to_string()),
        period: *from,
    })
}
