//! The rows of the two ledgers: what became of what came in, in all, and by way in and hour.
//!
//! Law: in each row received is accepted and quarantined, and accepted is standing, superseded,
//! retracted and duplicate; the rows of the one add up to those of the other.

use std::collections::{BTreeMap, BTreeSet};

use imbl::ordmap::DiffItem;
use trueup_model::arrival::Arrival;
use trueup_model::books::Books;
use trueup_model::fact::Epoch;
use trueup_operators::accounts::{Account, State};
use trueup_operators::read::Reader;

use super::view_rows::{AsOf, Cell, Each, Row, each_record, text};

/// How many inputs are in which state.
pub fn ledger_rows(at: &AsOf<'_>) -> Vec<Row> {
    let mut counts = BTreeMap::from([("received", 0)]);
    for part in at.parts {
        each_record(&part.accounts, at.epoch, |account: &Account, inputs: i64| {
            let name = match account {
                Account::Subject(subject) if at.books.catalog.owner(*subject).is_none() => "waiting",
                Account::Subject(_) => "counted",
                // Those are told by whose subject they are.
                Account::Arrived(_, State::Standing) => return,
                Account::Arrived(_, state) => name(*state),
            };
            *counts.entry(name).or_default() += inputs;
            *counts.entry("received").or_default() += inputs;
        });
    }
    // A state that was left again is no row: each worker counts for itself, below zero too.
    counts.retain(|&name, inputs| name == "received" || *inputs != 0);
    counts.into_iter().map(|(name, inputs)| vec![text(name), Cell::Integer(inputs)]).collect()
}

fn name(state: State) -> &'static str {
    match state {
        State::Standing => "standing",
        State::Superseded => "superseded",
        State::Retracted => "retracted",
        State::Duplicate => "duplicate",
        State::Quarantined => "quarantined",
    }
}

/// The rows of the ledger by way in and hour, or their differences from those of `old`.
pub fn ingest_rows(old: Option<&AsOf<'_>>, new: &AsOf<'_>, each: Each<'_>) {
    let epochs = [old.map_or(new.epoch, |old| old.epoch), new.epoch];
    let mut readers: Vec<_> = new.parts.iter().map(|part| part.accounts.reader()).collect();
    for arrival in arrivals(old, new) {
        let [before, after] = counts(&mut readers, &arrival, epochs);
        let before = old.and_then(|old| ingest_row(old.books, &arrival, before));
        let after = ingest_row(new.books, &arrival, after);
        if before == after {
            continue;
        }
        before.map(|row| each(row, -1));
        if after.is_some_and(|row| !each(row, 1)) {
            return;
        }
    }
}

/// The arrivals there may be something to tell of.
fn arrivals(old: Option<&AsOf<'_>>, new: &AsOf<'_>) -> BTreeSet<Arrival> {
    let arrival = |account: &Account| match account {
        Account::Arrived(arrival, _) => Some(arrival.clone()),
        Account::Subject(_) => None,
    };
    let Some(old) = old else {
        let came = new.parts.iter().flat_map(|part| part.accounts.updates());
        let declared = new.books.declared.keys().cloned();
        return came.filter_map(|((account, ()), _, _)| arrival(account)).chain(declared).collect();
    };
    let recent = new.parts.iter().flat_map(|part| part.accounts.recent([old.epoch, new.epoch]));
    let declared = old.books.declared.diff(&new.books.declared).map(|change| match change {
        DiffItem::Add(arrival, _) | DiffItem::Remove(arrival, _) => arrival.clone(),
        DiffItem::Update { new: (arrival, _), .. } => arrival.clone(),
    });
    recent.filter_map(|((account, ()), _, _)| arrival(account)).chain(declared).collect()
}

/// Numbers of inputs, each state at its place.
type Counts = [i64; State::COUNT];

/// How many inputs of an arrival are in which state on all workers, as of each epoch.
fn counts(readers: &mut [Reader<'_, Account, (), i64>], arrival: &Arrival, epochs: [Epoch; 2]) -> [Counts; 2] {
    let mut counts = [Counts::default(); 2];
    for state in State::ALL {
        let account = Account::Arrived(arrival.clone(), state);
        for reader in &mut *readers {
            reader.seek(&account);
            let sums = reader.sums(&account, &(), epochs);
            counts.iter_mut().zip(sums).for_each(|(counts, sum)| counts[state as usize] += sum.unwrap_or_default());
        }
    }
    counts
}

/// A row; none where nothing came in and nobody says that something should have.
fn ingest_row(books: &Books, arrival: &Arrival, counts: Counts) -> Option<Row> {
    let received: i64 = counts.iter().sum();
    let declared = books.declared.get(arrival).map(|events| i64::try_from(*events).unwrap_or(i64::MAX));
    if received == 0 && declared.is_none() {
        return None;
    }
    let of = |state: State| Cell::Integer(counts[state as usize]);
    Some(vec![
        text(&arrival.origin.source),
        text(&arrival.origin.partition),
        Cell::Time(arrival.hour),
        Cell::Integer(received),
        Cell::Integer(received - counts[State::Quarantined as usize]),
        of(State::Standing),
        of(State::Superseded),
        of(State::Retracted),
        of(State::Duplicate),
        of(State::Quarantined),
        declared.map_or(Cell::Null, Cell::Integer),
        declared.map_or(Cell::Null, |declared| Cell::Integer(received - declared)),
    ])
}
