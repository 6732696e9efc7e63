//! The rows of the quarantine: what is set aside, and what became of it when it was read again.
//!
//! A row is a function of a record, of what the journal kept of the input, and of what the books say of
//! it, so the rows that changed are those of records that came, of contradictions that were settled, and of
//! inputs that were read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use trueup_connectors::quarantine::{Selection, SetAside};
use trueup_model::books::Books;
use trueup_model::charge::{Group, Posting};
use trueup_model::fact::InputId;
use trueup_model::identity::stable_hash;
use trueup_model::usage::Refused;
use trueup_operators::total::Billed;

use super::kept::Kept;
use super::set_aside::Quarantined;
use super::view_rows::{AsOf, Cell, Each, Row, each_record, group_cells, text};

/// The rows of what was set aside, or their differences from those of `old`.
pub fn rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    let mut kept = Kept::by(new.journal);
    let mut row = |books: &Books, record: &Quarantined, input| row(&kept.shown(books, record, input));
    let Some(old) = old else {
        in_order(new, &mut |record| record.inputs().all(|input| each(row(new.books, record, input), 1)));
        return;
    };
    let epochs = [old.epoch, new.epoch];
    let recent = new.parts.iter().flat_map(|part| part.quarantine.recent(epochs));
    let mut changed: BTreeMap<&Quarantined, i64> = BTreeMap::new();
    recent.for_each(|((record, ()), _, times)| *changed.entry(record).or_default() += times);
    for (record, times) in changed.into_iter().filter(|(_, times)| *times != 0) {
        let books = if times > 0 { new.books } else { old.books };
        record.inputs().for_each(|input| _ = each(row(books, record, input), times));
    }
    for input in old.books.replayed.diff(&new.books.replayed).map(replayed_input) {
        // What came since was told as it is now.
        let Some(record) = find_record(new, input).filter(|_| input.epoch <= old.epoch) else { continue };
        let (before, after) = (row(old.books, record, input), row(new.books, record, input));
        if before != after {
            each(before, -1);
            each(after, 1);
        }
    }
}

fn replayed_input<V>(change: DiffItem<'_, '_, InputId, V>) -> InputId {
    match change {
        DiffItem::Add(input, _) | DiffItem::Remove(input, _) => *input,
        DiffItem::Update { new: (input, _), .. } => *input,
    }
}

/// Goes through the records of all workers in the order of the quarantine, for as long as more is wanted.
fn in_order<'a>(at: &AsOf<'a>, wants_more: &mut dyn FnMut(&'a Quarantined) -> bool) {
    let mut readers: Vec<_> = at.parts.iter().map(|part| part.quarantine.reader()).collect();
    loop {
        let next = readers.iter_mut().filter_map(|reader| Some((reader.next()?.0, reader)));
        let Some((record, reader)) = next.min_by_key(|(record, _)| *record) else { return };
        let [sum] = reader.sums(record, &(), [at.epoch]);
        if sum.is_some() && !wants_more(record) {
            return;
        }
    }
}

fn find_record<'a>(at: &AsOf<'a>, input: InputId) -> Option<&'a Quarantined> {
    at.parts.iter().find_map(|part| {
        let mut reader = part.quarantine.reader();
        reader.seek(&Quarantined::sought(input));
        let (record, ()) = reader.next()?;
        let [sum] = reader.sums(record, &(), [at.epoch]);
        (sum.is_some() && record.has(input)).then_some(record)
    })
}

/// An input that was set aside, as it was kept.
pub fn find(at: &AsOf<'_>, input: InputId) -> Option<SetAside> {
    find_record(at, input).map(|record| Kept::by(at.journal).shown(at.books, record, input))
}

/// What is set aside and selected, in the order of the journal; and how many contradictions beside it.
pub fn set_aside(at: &AsOf<'_>, selection: &Selection) -> (Vec<InputId>, u64) {
    let (mut inputs, mut conflicts) = (Vec::new(), 0);
    for part in at.parts {
        each_record(&part.quarantine, at.epoch, |record, _| {
            for input in record.inputs() {
                let replayed = at.books.replayed.get(&input);
                let is_accepted = replayed.is_some_and(|replayed| replayed.still.is_none());
                let reason = replayed.and_then(|replayed| replayed.still).unwrap_or(record.why.reason());
                if is_accepted || !selection.has(input, reason, &record.origin.source) {
                    continue;
                }
                match record.row() {
                    None => inputs.push(input),
                    Some(_) => conflicts += 1,
                }
            }
        });
    }
    inputs.sort_unstable();
    (inputs, conflicts)
}

fn row(shown: &SetAside) -> Row {
    let SetAside { input, received_at, refused, replayed_at, is_accepted } = shown;
    let Refused { source, partition, position, event_source, event_id, reason, detail, .. } = refused;
    let optional = |value: Option<&str>| value.map_or(Cell::Null, text);
    vec![
        Cell::Integer(input.epoch as i64),
        Cell::Integer(input.place as i64),
        Cell::Time(*received_at),
        text(source),
        text(partition),
        text(position),
        optional(event_source.as_deref()),
        optional(event_id.as_deref()),
        text(reason.name()),
        text(detail),
        optional(refused.payload_shown()),
        text(if *is_accepted { "replayed" } else { "set_aside" }),
        replayed_at.map_or(Cell::Null, |epoch| Cell::Integer(epoch as i64)),
    ]
}

/// A group whose amount is beyond what can be kept: its events are counted, its charge is not.
pub fn alarm_row(books: &Arc<Books>, posting: &Posting, _: &Billed) -> Option<Row> {
    let Posting::Alarm(group) = posting else { return None };
    let [customer, subscription, feature] = [0, 1, 2].map(|part| match &group_cells(books, group)[part] {
        Cell::Text(text) => text.to_string(),
        _ => String::new(),
    });
    let detail = format!(
        "the amount for '{feature}' of customer '{customer}' is larger than can be kept: \
         correct the quantity or the price; until then what was issued of it stands, and nothing is issued"
    );
    Some(vec![
        Cell::Integer(0),
        Cell::Integer(place_of_alarm(group)),
        Cell::Time(group.period.micros()),
        text("rating"),
        text(""),
        text(&format!("subscription {subscription}")),
        Cell::Null,
        Cell::Null,
        text("amount_too_large"),
        text(&detail),
        Cell::Null,
        text("set_aside"),
        Cell::Null,
    ])
}

/// A place in the quarantine that no other group has, and no input.
fn place_of_alarm(group: &Group) -> i64 {
    let parts = [stable_hash(group.customer, group.subscription), stable_hash(group.period.0, group.feature)];
    let [one, other] = parts.map(|hash| hash as u32);
    i64::MIN | (stable_hash(one, other) >> 1) as i64
}
