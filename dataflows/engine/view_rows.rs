//! The rows of each view, made from the arrangements and the books.
//!
//! A row is a function of one record and the books of its epoch (usage by hour and day: of one
//! subject's series). So the rows that changed are found from the records that changed, unless
//! the catalog did: then every record is looked at, and only different rows are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::trace::{Cursor, Navigable};
use trueup_model::books::{Books, RUNNING};
use trueup_model::charge::{Charge, Crossing, Group, Invoice, InvoiceKey, QuotaState};
use trueup_model::fact::Epoch;
use trueup_model::grain::Grain;
use trueup_model::metering::UsageKey;
use trueup_operators::deduplicate::State;
use trueup_operators::shared::{Snapshot, accumulate};
use trueup_operators::total::{Gap, Total};
use trueup_sinks::view::View;

use super::catalog_rows;
use super::graph::{Quarantined, Snapshots};
use super::usage_rows::{self, Names, Window};
use crate::rating;

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
}

/// Whether a view may have too many rows to hold at once.
pub fn is_large(view: View) -> bool {
    matches!(view, View::Usage | View::UsageHourly | View::UsageDaily)
}

/// How many rows a view has, about.
pub fn rows_about(view: View, at: &AsOf<'_>) -> usize {
    let sum = |count: fn(&Snapshots) -> usize| at.parts.iter().map(count).sum();
    match view {
        View::Usage | View::UsageHourly | View::UsageDaily => sum(|part| part.usage.updates()),
        View::UsageByPeriod => sum(|part| part.totals.updates()),
        View::Quotas => sum(|part| part.quotas.updates()),
        View::QuotaCrossings => sum(|part| part.crossings.updates()),
        View::Charges => sum(|part| part.charges.updates()),
        View::Invoices => sum(|part| part.invoices.updates()),
        View::Corrections => sum(|part| part.corrections.updates()),
        View::Quarantine => sum(|part| part.quarantine.updates()),
        View::Ledger => 8,
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

type Each<'a> = &'a mut dyn FnMut(Row, i64) -> bool;

/// The rows of a view with +1, or if `old` is given, their differences from those.
fn small_rows(view: View, old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    for (index, part) in new.parts.iter().enumerate() {
        match view {
            View::UsageByPeriod => totals_rows(part, old, new, each),
            View::Quotas => record_rows(&part.quotas, old, new, |books, state, _: &i64| quota_row(books, state), each),
            View::QuotaCrossings => {
                record_rows(&part.crossings, old, new, |books, crossing, _: &i64| crossing_row(books, crossing), each);
            }
            View::Charges => {
                record_rows(&part.charges, old, new, |books, charge, _: &i64| charge_row(books, charge), each)
            }
            View::Invoices => {
                record_rows(&part.invoices, old, new, |books, invoice, _: &i64| invoice_row(books, invoice), each)
            }
            View::Corrections => record_rows(&part.corrections, old, new, correction_row, each),
            View::Quarantine => {
                record_rows(
                    &part.quarantine,
                    old,
                    new,
                    |books, quarantined, _: &i64| quarantine_row(books, quarantined),
                    each,
                );
                record_rows(&part.alarms, old, new, |books, group, _: &i64| alarm_row(books, group), each);
            }
            // These are the same for all workers.
            _ if index > 0 => {}
            View::Ledger => whole_rows(old, new, &ledger_rows, each),
            _ => whole_rows(old, new, &|at| catalog_rows::rows(view, at.books), each),
        }
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

/// The rows of an arrangement of which each record makes one row, or none.
fn record_rows<B, K, R>(
    snapshot: &Snapshot<B>,
    old: Option<&AsOf<'_>>,
    new: &AsOf<'_>,
    row: impl Fn(&Arc<Books>, &K, &R) -> Option<Row>,
    each: Each<'_>,
) where
    B: Navigable + Clone,
    B::Cursor: for<'a> Cursor<
            Time = Epoch,
            Key<'a> = &'a K,
            Val<'a> = &'a (),
            TimeGat<'a> = &'a Epoch,
            DiffGat<'a> = &'a R,
            Diff = R,
        >,
    K: Ord + Clone + 'static,
    R: ExchangeData + Semigroup,
{
    let Some(old) = old else {
        return each_record(snapshot, new.epoch, |key: &K, diff| {
            row(new.books, key, &diff).is_none_or(|row| each(row, 1))
        });
    };
    let is_recent = same_catalog(old, new);
    each_changed(snapshot, is_recent, [old.epoch, new.epoch], |key: &K, [before, after]| {
        let before = before.and_then(|diff| row(old.books, key, &diff));
        let after = after.and_then(|diff| row(new.books, key, &diff));
        if before != after {
            before.map(|row| each(row, -1));
            after.map(|row| each(row, 1));
        }
    });
}

/// Calls `each` with every record as of an epoch, for as long as it wants more.
pub fn each_record<B, K, R>(snapshot: &Snapshot<B>, as_of: Epoch, mut each: impl FnMut(&K, R) -> bool)
where
    B: Navigable + Clone,
    B::Cursor: for<'a> Cursor<Time = Epoch, Key<'a> = &'a K, DiffGat<'a> = &'a R, Diff = R>,
    K: 'static,
    R: ExchangeData + Semigroup,
{
    let (mut cursor, storage) = snapshot.cursor();
    while let Some(key) = cursor.get_key(&storage) {
        if let Some(diff) = accumulate(&mut cursor, &storage, as_of)
            && !each(key, diff)
        {
            return;
        }
        cursor.step_key(&storage);
    }
}

/// Calls `each` with records and their accumulations as of both epochs: those with updates in
/// between, or, unless `is_recent`, all.
fn each_changed<B, K, R>(
    snapshot: &Snapshot<B>,
    is_recent: bool,
    epochs: [Epoch; 2],
    mut each: impl FnMut(&K, [Option<R>; 2]),
) where
    B: Navigable + Clone,
    B::Cursor: for<'a> Cursor<Time = Epoch, Key<'a> = &'a K, TimeGat<'a> = &'a Epoch, DiffGat<'a> = &'a R, Diff = R>,
    K: Ord + Clone + 'static,
    R: ExchangeData + Semigroup,
{
    let (mut cursor, storage) = snapshot.cursor();
    if is_recent {
        for key in recent_keys(snapshot, epochs) {
            cursor.seek_key(&storage, &key);
            let sums = epochs.map(|epoch| accumulate(&mut cursor, &storage, epoch));
            each(&key, sums);
        }
        return;
    }
    while let Some(key) = cursor.get_key(&storage) {
        let sums = epochs.map(|epoch| accumulate(&mut cursor, &storage, epoch));
        each(key, sums);
        cursor.step_key(&storage);
    }
}

/// The keys with updates after the first epoch up to the second.
pub fn recent_keys<B, K, R>(snapshot: &Snapshot<B>, [after, through]: [Epoch; 2]) -> BTreeSet<K>
where
    B: Navigable + Clone,
    B::Cursor: for<'a> Cursor<Time = Epoch, Key<'a> = &'a K, TimeGat<'a> = &'a Epoch, DiffGat<'a> = &'a R, Diff = R>,
    K: Ord + Clone + 'static,
    R: ExchangeData + Semigroup,
{
    let mut keys = BTreeSet::new();
    let (mut cursor, storage) = snapshot.after(after).cursor();
    while let Some(key) = cursor.get_key(&storage) {
        let mut is_recent = false;
        while cursor.val_valid(&storage) && !is_recent {
            cursor.map_times(&storage, |time, _| is_recent |= after < *time && *time <= through);
            cursor.step_val(&storage);
        }
        if is_recent {
            keys.insert(key.clone());
        }
        cursor.step_key(&storage);
    }
    keys
}

/// Usage by period: totals have several values under a key, so they are read by group.
fn totals_rows(part: &Snapshots, old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    let Some(old) = old else {
        for group in all_groups(part) {
            if !group_rows(part, new, &group).into_iter().all(|row| each(row, 1)) {
                return;
            }
        }
        return;
    };
    let groups =
        if same_catalog(old, new) { recent_keys(&part.totals, [old.epoch, new.epoch]) } else { all_groups(part) };
    for group in groups {
        for (at, diff) in [(old, -1), (new, 1)] {
            for row in group_rows(part, at, &group) {
                each(row, diff);
            }
        }
    }
}

fn all_groups(part: &Snapshots) -> BTreeSet<Group> {
    let (mut cursor, storage) = part.totals.cursor();
    let mut groups = BTreeSet::new();
    while let Some(group) = cursor.get_key(&storage) {
        groups.insert(*group);
        cursor.step_key(&storage);
    }
    groups
}

fn group_rows(part: &Snapshots, at: &AsOf<'_>, group: &Group) -> Vec<Row> {
    let (mut cursor, storage) = part.totals.cursor();
    let mut rows = Vec::new();
    cursor.seek_key(&storage, group);
    if cursor.get_key(&storage) != Some(group) {
        return rows;
    }
    while let Some(&service) = cursor.get_val(&storage) {
        if let Some(total) = accumulate(&mut cursor, &storage, at.epoch) {
            rows.extend(period_row(at.books, group, service, &total));
        }
        cursor.step_val(&storage);
    }
    rows
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn time(grain: Grain) -> Cell {
    Cell::Time(grain.micros())
}

/// The customer, subscription and feature of a group.
fn group_cells(books: &Books, group: &Group) -> [Cell; 3] {
    let catalog = &books.catalog;
    [
        text(&catalog.customers.get(group.customer).id),
        text(&catalog.subscriptions.get(group.subscription).id),
        text(&catalog.features.get(group.feature).name),
    ]
}

fn period_row(books: &Arc<Books>, group: &Group, start: Grain, total: &Total) -> Option<Row> {
    let is_metered = books.catalog.features.get(group.feature).meter.is_some();
    if start >= RUNNING || !is_metered || total.records <= 0 {
        return None;
    }
    let [customer, subscription, feature] = group_cells(books, group);
    let period = books.period(&group.invoice())?;
    let service = books.service(group, start)?;
    let plan = books.catalog.tenure(group.customer, group.subscription)?.plan;
    let meter = books.card(plan, group.feature).and_then(|card| card.meter());
    let quantity = rating::quantity(meter, total);
    Some(vec![
        customer,
        subscription,
        feature,
        time(period.from),
        time(period.to),
        time(service.from),
        time(service.to),
        Cell::Decimal(quantity),
        Cell::Integer(total.records),
    ])
}

fn quota_row(books: &Arc<Books>, state: &QuotaState) -> Option<Row> {
    let [customer, subscription, feature] = group_cells(books, &state.group);
    let period = books.period(&state.group.invoice())?;
    Some(vec![
        customer,
        subscription,
        feature,
        time(period.from),
        time(period.to),
        Cell::Decimal(state.used),
        Cell::Decimal(state.limit),
        Cell::Decimal(state.warning_at),
        text(state.level.name()),
    ])
}

fn crossing_row(books: &Arc<Books>, crossing: &Crossing) -> Option<Row> {
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

fn invoice_row(books: &Arc<Books>, invoice: &Invoice) -> Option<Row> {
    let InvoiceKey { customer, subscription, period } = invoice.key;
    let catalog = &books.catalog;
    let definition = catalog.subscriptions.get(subscription);
    let plan = catalog.plans.named(&definition.plan)?;
    let issued = books.issued.get(&invoice.key);
    // What was issued stands as it was issued, whatever the catalog says since.
    let end = issued.map(|issued| issued.period_end).or_else(|| Some(books.period(&invoice.key)?.to));
    let currency = issued.map_or_else(|| plan.currency.code().into(), |issued| issued.currency.clone());
    Some(vec![
        text(&catalog.customers.get(customer).id),
        text(&definition.id),
        time(period),
        time(end.unwrap_or(period)),
        text(&plan.name),
        text(if issued.is_some() { "issued" } else { "draft" }),
        issued.map_or(Cell::Null, |issued| Cell::Text(issued.number.clone())),
        Cell::Text(currency),
        Cell::Integer(invoice.lines),
        Cell::Decimal(invoice.total),
        Cell::Decimal(invoice.issued.unwrap_or_default()),
        Cell::Decimal(invoice.issued.map_or(0, |issued| invoice.total - issued)),
    ])
}

fn correction_row(books: &Arc<Books>, (group, service): &(Group, Grain), gap: &Gap) -> Option<Row> {
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
        Cell::Decimal(gap.quantity),
        Cell::Decimal(gap.billed),
    ])
}

fn quarantine_row(_: &Arc<Books>, quarantined: &Quarantined) -> Option<Row> {
    let refused = &quarantined.refused;
    let optional = |value: &Option<String>| value.as_deref().map_or(Cell::Null, text);
    Some(vec![
        Cell::Integer(quarantined.epoch as i64),
        Cell::Integer(quarantined.place as i64),
        Cell::Time(quarantined.received_at),
        text(&refused.source),
        text(&refused.position),
        optional(&refused.event_source),
        optional(&refused.event_id),
        text(refused.reason.name()),
        text(&refused.detail),
        optional(&refused.payload),
    ])
}

/// A group whose amount is beyond what can be kept: its events are counted, its charge is not.
fn alarm_row(books: &Arc<Books>, group: &Group) -> Option<Row> {
    let [customer, subscription, feature] = [0, 1, 2].map(|part| match &group_cells(books, group)[part] {
        Cell::Text(text) => text.to_string(),
        _ => String::new(),
    });
    let detail = format!(
        "the amount for '{feature}' of customer '{customer}' is larger than can be kept: \
         correct the quantity or the price; nothing is charged for it until then"
    );
    Some(vec![
        Cell::Integer(0),
        Cell::Integer(i64::from(group.feature) + (i64::from(group.customer) << 32)),
        Cell::Time(group.period.micros()),
        text("rating"),
        text(&format!("subscription {subscription}")),
        Cell::Null,
        Cell::Null,
        text("amount_too_large"),
        text(&detail),
        Cell::Null,
    ])
}

/// How many events are in which state.
fn ledger_rows(at: &AsOf<'_>) -> Vec<Row> {
    let mut counts = BTreeMap::from([("accepted", 0)]);
    for part in at.parts {
        each_record(&part.states, at.epoch, |state: &State, events: i64| {
            let name = match state {
                State::Standing(subject) if at.books.catalog.owner(*subject).is_none() => "waiting",
                State::Standing(_) => "counted",
                State::Superseded => "superseded",
                State::Retracted => "retracted",
                State::Duplicate => "duplicate",
                State::Quarantined => "quarantined",
            };
            *counts.entry(name).or_default() += events;
            *counts.entry("accepted").or_default() += events;
            true
        });
    }
    counts.into_iter().map(|(name, events)| vec![text(name), Cell::Integer(events)]).collect()
}

/// The usage key's records, for `usage_rows`.
pub fn recent_series(part: &Snapshots, epochs: [Epoch; 2]) -> BTreeSet<(u32, u32)> {
    let keys: BTreeSet<UsageKey> = recent_keys(&part.usage, epochs);
    keys.into_iter().map(|key| (key.subject, key.series)).collect()
}
