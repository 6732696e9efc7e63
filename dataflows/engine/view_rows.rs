//! The rows of each view, made from the arrangements and the books.
//!
//! A row is a function of one record and the books of its epoch (usage by hour and day: of one
//! subject's series). So the rows that changed are found from the records that changed, unless
//! the catalog did: then every record is looked at, and only different rows are told.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::sync::Arc;

use differential_dataflow::difference::Semigroup;
use imbl::ordmap::DiffItem;
use trueup_connectors::journal::ReadBack;
use trueup_model::books::Books;
use trueup_model::catalog::CustomerId;
use trueup_model::charge::{Charge, Crossing, Group, InvoiceKey, Posting};
use trueup_model::fact::Epoch;
use trueup_model::grain::Grain;
use trueup_model::identity::home;
use trueup_model::lookup::Lookup;
use trueup_operators::aggregate::quantity;
use trueup_operators::read::{Reader, Snapshot};
use trueup_operators::total::{Billed, Total};
use trueup_sinks::view::View;

use super::graph::Snapshots;
use super::usage_rows::{self, Names, Window};
use super::{catalog_rows, ledger_rows, quarantine_rows};
use crate::{entitlements, rating};

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A text.
    Text(Arc<str>),
    /// A whole number.
    Integer(i64),
    /// A quantity or an amount, in units of 10^-12.
    Decimal(i128),
    /// An instant, in microseconds since 1970 UTC.
    Time(i64),
}

/// The values of a row, in the order of the view's columns.
pub type Row = Vec<Cell>;

/// All that rows are made of, as of one epoch.
pub struct AsOf<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// The books of the epoch.
    pub books: &'a Arc<Books>,
    /// The arrangements, one set a worker.
    pub parts: &'a [Snapshots],
    /// Where what was set aside is read back.
    pub journal: &'a ReadBack,
}

/// Whether a view may have too many rows to hold at once.
pub fn is_large(view: View) -> bool {
    matches!(view, View::Usage | View::UsageHourly | View::UsageDaily | View::Quarantine)
}

/// How many rows a view has, about.
pub fn rows_about(view: View, at: &AsOf<'_>) -> usize {
    let sum = |count: fn(&Snapshots) -> usize| at.parts.iter().map(count).sum();
    match view {
        View::Usage | View::UsageHourly | View::UsageDaily => {
            sum(|part| part.usage.len() + part.values.len() + part.texts.len())
        }
        View::UsageByPeriod | View::Quotas | View::Charges => sum(|part| part.totals.len()),
        View::QuotaCrossings | View::Invoices | View::Corrections => sum(|part| part.postings.len()),
        View::Quarantine => {
            let inputs = |part: &Snapshots| {
                let updates = part.quarantine.updates();
                updates.map(|((record, ()), _, times)| record.count() as i64 * times).sum::<i64>()
            };
            at.parts.iter().map(inputs).sum::<i64>().max(0) as usize
        }
        View::Ledger => 8,
        View::IngestLedger => sum(|part| part.accounts.len()),
        View::IssuedLines | View::Customers | View::Subscriptions | View::Meters | View::Prices => {
            catalog_rows::rows_about(view, at.books)
        }
    }
}

/// Calls `each` with every row.
pub fn read(view: View, at: &AsOf<'_>, each: &mut dyn FnMut(Row)) {
    read_while(view, at, &mut |row| {
        each(row);
        true
    });
}

/// Calls `each` with the rows for as long as it wants more.
pub fn read_while(view: View, at: &AsOf<'_>, each: &mut dyn FnMut(Row) -> bool) {
    match window(view) {
        Some(window) => {
            let mut names = Names::of(at.books);
            let _all = at.parts.iter().all(|part| usage_rows::read(part, at.epoch, window, None, &mut names, each));
        }
        None => {
            let mut wants_more = true;
            small_rows(view, None, at, &mut |row, _| {
                wants_more = wants_more && each(row);
                wants_more
            });
        }
    }
}

/// Calls `each` with the rows of `old` that `new` does not have, with -1, and the other way
/// round, with +1.
pub fn read_changed(view: View, old: &AsOf<'_>, new: &AsOf<'_>, each: &mut dyn FnMut(Row, i64)) {
    match window(view) {
        Some(window) => usage_rows::read_changed(old, new, window, each),
        None => small_rows(view, Some(old), new, &mut |row, diff| {
            each(row, diff);
            true
        }),
    }
}

fn window(view: View) -> Option<Window> {
    match view {
        View::Usage => Some(Window::Grain),
        View::UsageHourly => Some(Window::Hour),
        View::UsageDaily => Some(Window::Day),
        _ => None,
    }
}

/// Whether rows made of the same record under both books are the same.
pub fn same_catalog(old: &AsOf<'_>, new: &AsOf<'_>) -> bool {
    Arc::ptr_eq(&old.books.catalog, &new.books.catalog)
}

/// Is told a row and whether it came or went; says whether it wants more.
pub type Each<'a> = &'a mut dyn FnMut(Row, i64) -> bool;

/// The rows of a view with +1, or if `old` is given, their differences from those.
fn small_rows(view: View, old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    match view {
        View::UsageByPeriod => group_rows(old, new, period_rows, each),
        View::Quotas => group_rows(old, new, quota_rows, each),
        View::Charges => group_rows(old, new, charge_rows, each),
        View::Invoices => invoice_rows(old, new, each),
        View::QuotaCrossings => posting_rows(old, new, Posting::Crossing(Crossing::default()), crossing_row, each),
        View::Corrections => {
            let first = Posting::Correction(Group::default(), Grain::default());
            posting_rows(old, new, first, correction_row, each);
        }
        View::Quarantine => {
            // Alarms come first: none are so many that somebody would go without the rest.
            posting_rows(old, new, Posting::Alarm(Group::default()), quarantine_rows::alarm_row, each);
            quarantine_rows::rows(old, new, each);
        }
        View::Ledger => whole_rows(old, new, &ledger_rows::ledger_rows, each),
        View::IngestLedger => ledger_rows::ingest_rows(old, new, each),
        _ => whole_rows(old, new, &|at| catalog_rows::rows(view, at.books), each),
    }
}

/// The rows of a view that is read as a whole.
fn whole_rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, rows: &dyn Fn(&AsOf<'_>) -> Vec<Row>, each: Each<'_>) {
    for row in old.map(rows).unwrap_or_default() {
        each(row, -1);
    }
    for row in rows(new) {
        if !each(row, 1) {
            return;
        }
    }
}

/// Makes a row of a record, or none.
type RowOf<K, R> = fn(&Arc<Books>, &K, &R) -> Option<Row>;

/// The rows of an arrangement of which each record makes one row, or none, from the record
/// `first` on, until there is one of another kind.
fn record_rows<K, R>(
    snapshot: &Snapshot<K, (), R>,
    first: Option<&K>,
    old: Option<&AsOf<'_>>,
    new: &AsOf<'_>,
    row: RowOf<K, R>,
    each: Each<'_>,
) where
    K: Ord,
    R: Semigroup,
{
    let is_of_kind = |key: &K| first.is_none_or(|first| discriminant(first) == discriminant(key));
    let mut reader = snapshot.reader();
    if let Some(first) = first {
        reader.seek(first);
    }
    let Some(old) = old else {
        while let Some((key, ())) = reader.next().filter(|(key, ())| is_of_kind(key)) {
            let [sum] = reader.sums(key, &(), [new.epoch]);
            if sum.and_then(|sum| row(new.books, key, &sum)).is_some_and(|row| !each(row, 1)) {
                return;
            }
        }
        return;
    };
    let mut tell = |key: &K, [before, after]: [Option<R>; 2]| {
        let before = before.and_then(|sum| row(old.books, key, &sum));
        let after = after.and_then(|sum| row(new.books, key, &sum));
        if before != after {
            before.map(|row| each(row, -1));
            after.map(|row| each(row, 1));
        }
    };
    let epochs = [old.epoch, new.epoch];
    if same_catalog(old, new) {
        let recent = snapshot.recent(epochs).map(|((key, ()), _, _)| key);
        for key in recent.filter(|key| is_of_kind(key)).collect::<BTreeSet<&K>>() {
            reader.seek(key);
            tell(key, reader.sums(key, &(), epochs));
        }
        return;
    }
    while let Some((key, ())) = reader.next().filter(|(key, ())| is_of_kind(key)) {
        tell(key, reader.sums(key, &(), epochs));
    }
}

/// The rows of the postings of one kind, of which `first` is the least.
fn posting_rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, first: Posting, row: RowOf<Posting, Billed>, each: Each<'_>) {
    for part in new.parts {
        record_rows(&part.postings, Some(&first), old, new, row, each);
    }
}

/// Calls `each` with every record as of an epoch.
pub fn each_record<K: Ord, R: Semigroup>(snapshot: &Snapshot<K, (), R>, as_of: Epoch, mut each: impl FnMut(&K, R)) {
    let mut reader = snapshot.reader();
    while let Some((key, ())) = reader.next() {
        let [sum] = reader.sums(key, &(), [as_of]);
        if let Some(sum) = sum {
            each(key, sum);
        }
    }
}

/// The totals of a group, in order of time.
pub type Totals = Vec<(Grain, Total)>;

/// The totals of the group at which the reader is, as of these epochs.
fn group_totals<const N: usize>(
    reader: &mut Reader<'_, Group, Grain, Total>,
    group: &Group,
    epochs: [Epoch; N],
) -> [Totals; N] {
    let mut totals = [const { Totals::new() }; N];
    while let Some(service) = reader.value(group) {
        let sums = reader.sums(group, service, epochs);
        for (totals, sum) in totals.iter_mut().zip(sums) {
            totals.extend(sum.map(|sum| (*service, sum)));
        }
    }
    totals
}

/// The totals of the groups of a customer.
pub fn totals_of(part: &Snapshots, as_of: Epoch, customer: CustomerId) -> Vec<(Group, Totals)> {
    let mut reader = part.totals.reader();
    let mut groups = Vec::new();
    reader.seek(&Group { customer, ..Group::default() });
    while let Some((group, _)) = reader.next().filter(|(group, _)| group.customer == customer) {
        let [totals] = group_totals(&mut reader, group, [as_of]);
        groups.push((*group, totals));
    }
    groups
}

/// Makes the rows of a group from its totals.
type RowsOf = fn(&mut Lookup, &Group, &Totals) -> Vec<Row>;

/// The rows of a view that are made from the totals of each group.
fn group_rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, rows: RowsOf, each: Each<'_>) {
    let mut lookup = Lookup::under(new.books.clone());
    let Some(old) = old else {
        for part in new.parts {
            let mut reader = part.totals.reader();
            while let Some((group, _)) = reader.next() {
                let [totals] = group_totals(&mut reader, group, [new.epoch]);
                if !rows(&mut lookup, group, &totals).into_iter().all(|row| each(row, 1)) {
                    return;
                }
            }
        }
        return;
    };
    let mut old_lookup = Lookup::under(old.books.clone());
    let epochs = [old.epoch, new.epoch];
    for part in new.parts {
        let mut reader = part.totals.reader();
        let mut tell = |reader: &mut Reader<'_, Group, Grain, Total>, group: &Group| {
            let [before, after] = group_totals(reader, group, epochs);
            let before = rows(&mut old_lookup, group, &before).into_iter().map(|row| (row, -1));
            let after = rows(&mut lookup, group, &after).into_iter().map(|row| (row, 1));
            for (row, diff) in before.chain(after) {
                each(row, diff);
            }
        };
        if same_catalog(old, new) {
            let recent: BTreeSet<&Group> = part.totals.recent(epochs).map(|((group, _), _, _)| group).collect();
            for group in recent {
                reader.seek(group);
                tell(&mut reader, group);
            }
        } else {
            while let Some((group, _)) = reader.next() {
                tell(&mut reader, group);
            }
        }
    }
}

/// A cell that holds a text.
pub fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn time(grain: Grain) -> Cell {
    Cell::Time(grain.micros())
}

/// The customer, subscription and feature of a group.
pub fn group_cells(books: &Books, group: &Group) -> [Cell; 3] {
    let catalog = &books.catalog;
    [
        text(&catalog.customers.get(group.customer).id),
        text(&catalog.subscriptions.get(group.subscription).id),
        text(&catalog.features.get(group.feature).name),
    ]
}

/// Usage by service period.
fn period_rows(lookup: &mut Lookup, group: &Group, totals: &Totals) -> Vec<Row> {
    // Books of before the group had totals may not know its feature.
    if rating::services(totals).next().is_none() {
        return Vec::new();
    }
    let books = lookup.books().clone();
    let Some(terms) = lookup.terms(group).filter(|terms| terms.meter().is_some()) else { return Vec::new() };
    let period = terms.period();
    let row = |(start, total): &(Grain, Total)| {
        let [customer, subscription, feature] = group_cells(&books, group);
        let service = terms.service(*start);
        vec![
            customer,
            subscription,
            feature,
            time(period.from),
            time(period.to),
            time(service.from),
            time(service.to),
            Cell::Decimal(quantity(terms.meter(), total)),
            Cell::Integer(total.records),
        ]
    };
    rating::services(totals).map(row).collect()
}

fn quota_rows(lookup: &mut Lookup, group: &Group, totals: &Totals) -> Vec<Row> {
    let Some(state) = entitlements::state(lookup, group, totals) else { return Vec::new() };
    let books = lookup.books();
    let [customer, subscription, feature] = group_cells(books, group);
    let Some(period) = books.period(&group.invoice()) else { return Vec::new() };
    vec![vec![
        customer,
        subscription,
        feature,
        time(period.from),
        time(period.to),
        Cell::Decimal(state.used),
        Cell::Decimal(state.limit),
        Cell::Decimal(state.warning_at),
        text(state.level.name()),
    ]]
}

/// Charges; none while the amount is larger than can be kept, of which the quarantine tells.
fn charge_rows(lookup: &mut Lookup, group: &Group, totals: &Totals) -> Vec<Row> {
    let charges = rating::charges(lookup, group, totals).unwrap_or_default();
    charges.iter().filter_map(|charge| charge_row(lookup.books(), charge)).collect()
}

fn crossing_row(books: &Arc<Books>, posting: &Posting, _: &Billed) -> Option<Row> {
    let Posting::Crossing(crossing) = posting else { return None };
    let [customer, subscription, feature] = group_cells(books, &crossing.group);
    Some(vec![
        customer,
        subscription,
        feature,
        time(crossing.group.period),
        Cell::Integer(crossing.epoch as i64),
        Cell::Time(crossing.at),
        text(crossing.from.name()),
        text(crossing.to.name()),
        Cell::Decimal(crossing.used),
        Cell::Decimal(crossing.limit),
    ])
}

fn charge_row(books: &Arc<Books>, charge: &Charge) -> Option<Row> {
    let [customer, subscription, feature] = group_cells(books, &charge.group);
    let period = books.period(&charge.group.invoice())?;
    let tenure = books.catalog.tenure(charge.group.customer, charge.group.subscription)?;
    let plan = books.catalog.plans.get(tenure.plan);
    Some(vec![
        customer,
        subscription,
        feature,
        time(period.from),
        time(charge.service.from),
        time(period.to),
        time(charge.service.to),
        text(&plan.name),
        text(plan.currency.code()),
        Cell::Decimal(charge.quantity),
        Cell::Decimal(charge.amount),
        Cell::Decimal(charge.billed),
    ])
}

/// Invoices; each has lines, or was issued, or both.
fn invoice_rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    let epochs = [old.map_or(new.epoch, |old| old.epoch), new.epoch];
    let mut readers: Vec<_> = new.parts.iter().map(|part| part.postings.reader()).collect();
    for key in invoice_keys(old, new) {
        let reader = &mut readers[home(key.customer, new.parts.len())];
        let posting = Posting::Invoice(key);
        reader.seek(&posting);
        let [before, after] = reader.sums(&posting, &(), epochs);
        let before = old.and_then(|old| invoice_row(old.books, &key, before));
        let after = invoice_row(new.books, &key, after);
        if before == after {
            continue;
        }
        before.map(|row| each(row, -1));
        if after.is_some_and(|row| !each(row, 1)) {
            return;
        }
    }
}

/// The invoices there may be something to tell of.
fn invoice_keys(old: Option<&AsOf<'_>>, new: &AsOf<'_>) -> BTreeSet<InvoiceKey> {
    let key = |posting: &Posting| if let Posting::Invoice(key) = posting { Some(*key) } else { None };
    let Some(old) = old.filter(|old| same_catalog(old, new)) else {
        let books = old.into_iter().chain([new]).flat_map(|at| at.books.issued.keys().copied());
        let runs = new.parts.iter().flat_map(|part| part.postings.updates());
        return books.chain(runs.filter_map(|((posting, ()), _, _)| key(posting))).collect();
    };
    let issued = old.books.issued.diff(&new.books.issued).map(|change| match change {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => *key,
    });
    let recent = new.parts.iter().flat_map(|part| part.postings.recent([old.epoch, new.epoch]));
    issued.chain(recent.filter_map(|((posting, ()), _, _)| key(posting))).collect()
}

fn invoice_row(books: &Arc<Books>, key: &InvoiceKey, sum: Option<Billed>) -> Option<Row> {
    let InvoiceKey { customer, subscription, period } = *key;
    let catalog = &books.catalog;
    let issued = books.issued.get(key);
    if sum.is_none() && issued.is_none() {
        return None;
    }
    let sum = sum.unwrap_or_default();
    let definition = catalog.subscriptions.get(subscription);
    let plan = catalog.plans.named(&definition.plan)?;
    // What was issued stands as it was issued, whatever the catalog says since.
    let end = issued.map(|issued| issued.period_end).or_else(|| Some(books.period(key)?.to));
    let currency = issued.map_or_else(|| plan.currency.code().into(), |issued| issued.currency.clone());
    Some(vec![
        text(&catalog.customers.get(customer).id),
        text(&definition.id),
        time(period),
        time(end.unwrap_or(period)),
        text(&plan.name),
        text(state(issued.is_some(), sum.quantity > 0)),
        issued.map_or(Cell::Null, |issued| Cell::Text(issued.number.clone())),
        Cell::Text(currency),
        Cell::Integer(sum.lines),
        Cell::Decimal(sum.money),
        Cell::Decimal(issued.map_or(0, |issued| issued.total)),
        Cell::Decimal(issued.map_or(0, |issued| sum.money - issued.total)),
    ])
}

/// The state of an invoice: issued, or a draft, which is held while an amount of it is not known.
fn state(is_issued: bool, is_held: bool) -> &'static str {
    match (is_issued, is_held) {
        (true, _) => "issued",
        (false, true) => "held",
        (false, false) => "draft",
    }
}

fn correction_row(books: &Arc<Books>, posting: &Posting, billed: &Billed) -> Option<Row> {
    let Posting::Correction(group, service) = posting else { return None };
    let issued = books.issued.get(&group.invoice())?;
    let [customer, subscription, feature] = group_cells(books, group);
    Some(vec![
        customer,
        subscription,
        feature,
        time(group.period),
        time(*service),
        Cell::Text(issued.number.clone()),
        Cell::Text(issued.currency.clone()),
        Cell::Decimal(billed.quantity),
        Cell::Decimal(billed.money),
    ])
}
