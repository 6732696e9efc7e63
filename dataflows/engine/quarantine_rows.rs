//! The rows of the quarantine: what was set aside and why, and what became of it when it was read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use trueup_connectors::quarantine::{Selection, SetAside};
use trueup_model::books::Books;
use trueup_model::charge::{Group, Posting};
use trueup_model::fact::InputId;
use trueup_model::grain::Micros;
use trueup_model::identity::stable_hash;
use trueup_model::usage::Refused;
use trueup_operators::read::Reader;
use trueup_operators::total::Billed;

use super::graph::{CONFLICTS_FROM, Quarantined};
use super::view_rows::{AsOf, Cell, Each, Row, each_record, group_cells, text};

/// The rows of what was set aside, or their differences from those of `old`.
pub fn rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    let Some(old) = old else {
        for part in new.parts {
            let mut wants_more = true;
            each_record(&part.quarantine, new.epoch, |record, _| {
                wants_more = wants_more && each(row(new.books, record), 1);
            });
        }
        return;
    };
    let epochs = [old.epoch, new.epoch];
    let replayed: BTreeSet<InputId> = old.books.replayed.diff(&new.books.replayed).map(replayed_input).collect();
    for part in new.parts {
        let recent = part.quarantine.recent(epochs).map(|((record, ()), _, _)| record);
        let mut records: BTreeSet<&Quarantined> = recent.collect();
        let mut reader = part.quarantine.reader();
        records.extend(replayed.iter().filter_map(|input| seek(&mut reader, *input)));
        let mut reader = part.quarantine.reader();
        for record in records {
            reader.seek(record);
            let [before, after] = reader.sums(record, &(), epochs);
            let before = before.map(|_| row(old.books, record));
            let after = after.map(|_| row(new.books, record));
            if before != after {
                before.map(|row| each(row, -1));
                after.map(|row| each(row, 1));
            }
        }
    }
}

fn replayed_input<V>(change: DiffItem<'_, '_, InputId, V>) -> InputId {
    match change {
        DiffItem::Add(input, _) | DiffItem::Remove(input, _) => *input,
        DiffItem::Update { new: (input, _), .. } => *input,
    }
}

/// Brings a reader to an input, if it is there.
fn seek<'r>(reader: &mut Reader<'r, Quarantined, (), i64>, input: InputId) -> Option<&'r Quarantined> {
    let InputId { epoch, place } = input;
    reader.seek(&Quarantined { epoch, place, received_at: Micros::MIN, refused: Arc::default() });
    reader.next().map(|(record, ())| record).filter(|record| input_of(record) == input)
}

fn input_of(record: &Quarantined) -> InputId {
    InputId { epoch: record.epoch, place: record.place }
}

/// Why an input is set aside by now, and what became of it when it was read again.
fn shown(books: &Books, record: &Quarantined) -> SetAside {
    let replayed = books.replayed.get(&input_of(record));
    let mut refused = (*record.refused).clone();
    if let Some((reason, detail)) = replayed.and_then(|replayed| replayed.still.as_ref()) {
        (refused.reason, refused.detail) = (*reason, detail.to_string());
    }
    SetAside {
        input: input_of(record),
        received_at: record.received_at,
        refused,
        replayed_at: replayed.map(|replayed| replayed.at),
        is_accepted: replayed.is_some_and(|replayed| replayed.still.is_none()),
    }
}

/// An input that was set aside.
pub fn find(at: &AsOf<'_>, input: InputId) -> Option<SetAside> {
    let found = at.parts.iter().find_map(|part| seek(&mut part.quarantine.reader(), input));
    found.map(|record| shown(at.books, record))
}

/// What is set aside and selected, in the order of the journal; and how many contradictions beside it.
pub fn set_aside(at: &AsOf<'_>, selection: &Selection) -> (Vec<InputId>, u64) {
    let (mut inputs, mut conflicts) = (Vec::new(), 0);
    for part in at.parts {
        each_record(&part.quarantine, at.epoch, |record, _| {
            let shown = shown(at.books, record);
            if shown.is_accepted || !selection.has(shown.input, &shown.refused) {
                return;
            }
            if record.place < CONFLICTS_FROM {
                inputs.push(shown.input);
            } else {
                conflicts += 1;
            }
        });
    }
    inputs.sort_unstable();
    (inputs, conflicts)
}

fn row(books: &Books, record: &Quarantined) -> Row {
    let SetAside { refused, replayed_at, is_accepted, .. } = shown(books, record);
    let Refused { source, partition, position, event_source, event_id, reason, detail, payload, .. } = &refused;
    let optional = |value: &Option<String>| value.as_deref().map_or(Cell::Null, text);
    vec![
        Cell::Integer(record.epoch as i64),
        Cell::Integer(record.place as i64),
        Cell::Time(record.received_at),
        text(source),
        text(partition),
        text(position),
        optional(event_source),
        optional(event_id),
        text(reason.name()),
        text(detail),
        optional(payload),
        text(if is_accepted { "replayed" } else { "set_aside" }),
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
