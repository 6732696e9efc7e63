//! Issues all invoices of a period, for the commands that do.

use trueup::engine::Engine;
use trueup::engine::door::Receipt;
use trueup::engine::issue::{IssueError, Request};
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup_model::calendar;
use trueup_model::fact::Document;
use trueup_model::grain::Micros;
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::words;

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
    let (moment, clock) = (engine.newest(), engine.books().clock);
    let due = invoices(engine, &moment, period).filter(|invoice| invoice.to <= clock);
    let issued = due.filter_map(|invoice| match engine.issue(&invoice.request()) {
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

/// Why nothing was issued of a period.
pub fn why_nothing(engine: &Engine, period: &str) -> String {
    let clock = engine.books().clock;
    let invoices: Vec<Invoice> = invoices(engine, &engine.newest(), period).collect();
    let open: Vec<Micros> = invoices.iter().map(|invoice| invoice.to).filter(|to| *to > clock).collect();
    match open.iter().min() {
        None if invoices.is_empty() => format!("no customer has an invoice of which the period begins in {period}"),
        None => format!("what is due for {period} was issued before, and nothing of it has changed since"),
        Some(first) => format!(
            "nothing is due for {period}: {} not over yet, the first until {} UTC, and issued after that",
            words::counted(open.len(), "period"),
            words::instant(*first),
        ),
    }
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

/// An invoice as the view has it.
struct Invoice {
    customer: String,
    subscription: String,
    from: Micros,
    to: Micros,
}

impl Invoice {
    fn of(row: &Row) -> Option<Invoice> {
        let [Cell::Text(customer), Cell::Text(subscription), Cell::Time(from), Cell::Time(to), ..] = &row[..] else {
            return None;
        };
        Some(Invoice { customer: customer.to_string(), subscription: subscription.to_string(), from: *from, to: *to })
    }

    fn request(self) -> Request {
        Request { customer: self.customer, subscription: Some(self.subscription), period: self.from }
    }
}

/// The invoices whose period begins in `period` where their customers are.
fn invoices(engine: &Engine, moment: &Moment, period: &str) -> impl Iterator<Item = Invoice> {
    let books = engine.books();
    moment.rows(View::Invoices).into_iter().filter_map(|row| Invoice::of(&row)).filter(move |invoice| {
        let zone = books.catalog.customers.named(&invoice.customer).map(|customer| &customer.zone);
        let begins = zone.and_then(|zone| calendar::local_date(zone, invoice.from).ok());
        begins.is_some_and(|begins| begins.to_string().starts_with(period))
    })
}
