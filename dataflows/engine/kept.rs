//! Reads back from the journal what was kept of inputs that were set aside.
//!
//! Law: an input is shown as the journal has it, with its reason by the books that are asked. Only the
//! entry that is being read is in memory; inputs that ascend are read in one way through the journal.

use std::collections::BTreeMap;

use trueup_connectors::journal::{EntryReader, JournalError, ReadBack};
use trueup_connectors::quarantine::SetAside;
use trueup_model::backfill::is_taken_back;
use trueup_model::books::Books;
use trueup_model::fact::{Entry, Epoch, Fact, InputId};
use trueup_model::usage::{Reason, Refused};

use super::set_aside::{Quarantined, Why};

/// A reader of what was kept.
pub struct Kept {
    inputs: EntryReader,
    replays: EntryReader,
    /// Why inputs stayed set aside at the last epoch that was looked at for that.
    still: (Epoch, BTreeMap<InputId, String>),
}

impl Kept {
    /// What this journal kept.
    pub fn by(journal: &ReadBack) -> Kept {
        Kept { inputs: journal.reader(), replays: journal.reader(), still: (0, BTreeMap::new()) }
    }

    /// An input of a record: why it is set aside by these books, and what became of it when it was read
    /// again.
    pub fn shown(&mut self, books: &Books, record: &Quarantined, input: InputId) -> SetAside {
        let mut refused = self.input(record, input).unwrap_or_else(|error| {
            let detail = format!("what was kept of it cannot be read back: {error}");
            Refused { detail, ..known(record) }
        });
        let replayed = books.replayed.get(&input);
        if let Some((reason, at)) = replayed.and_then(|replayed| Some((replayed.still?, replayed.at))) {
            let detail = self.still(input, at);
            (refused.reason, refused.detail) = (reason, detail);
        }
        refused.whole &= !is_taken_back(&books.backfills, &record.origin);
        SetAside {
            input,
            received_at: record.received_at,
            refused,
            replayed_at: replayed.map(|replayed| replayed.at),
            is_accepted: replayed.is_some_and(|replayed| replayed.still.is_none()),
        }
    }

    /// An input as it was kept.
    fn input(&mut self, record: &Quarantined, input: InputId) -> Result<Refused, JournalError> {
        let entry = self.inputs.entry(input.epoch)?;
        let found = entry.and_then(|entry| match record.why {
            Why::Refused(_) => refused(&entry, input.place).cloned(),
            Why::Contradicts { .. } => Some(contradicting(&entry, record)),
        });
        Ok(found.unwrap_or_else(|| Refused { detail: "the journal has it no more".to_owned(), ..known(record) }))
    }

    /// Why an input stayed set aside when it was read again.
    fn still(&mut self, input: InputId, at: Epoch) -> String {
        if self.still.0 != at {
            self.still = match self.replays.entry(at) {
                Ok(entry) => (at, entry.map(|entry| still(&entry)).unwrap_or_default()),
                Err(error) => return format!("why it stays set aside cannot be read back: {error}"),
            };
        }
        self.still.1.get(&input).cloned().unwrap_or_default()
    }
}

/// What is known of inputs without the journal.
fn known(record: &Quarantined) -> Refused {
    Refused {
        source: record.origin.source.clone(),
        partition: record.origin.partition.clone(),
        reason: record.why.reason(),
        ..Refused::default()
    }
}

/// The input at a place among those that an entry set aside.
pub fn refused(entry: &Entry, place: u64) -> Option<&Refused> {
    let mut place = usize::try_from(place).ok()?;
    for fact in &entry.facts {
        let Fact::Refused(refused) = fact else { continue };
        match place.checked_sub(refused.len()) {
            Some(rest) => place = rest,
            None => return refused.get(place),
        }
    }
    None
}

/// Why inputs that an entry read again stayed set aside.
pub fn still(entry: &Entry) -> BTreeMap<InputId, String> {
    let replays =
        entry.facts.iter().flat_map(|fact| if let Fact::Replayed(replays) = fact { &replays[..] } else { &[] });
    replays.filter_map(|replay| Some((replay.input, replay.still.as_ref()?.1.clone()))).collect()
}

/// An event of an entry that contradicts one that stands.
fn contradicting(entry: &Entry, record: &Quarantined) -> Refused {
    let (Why::Contradicts { revision, standing, other, .. }, Some(number)) = (record.why, record.row()) else {
        return known(record);
    };
    let sent = entry.facts.iter().find_map(|fact| {
        let Fact::Usage(batch) = fact else { return None };
        let place = number.checked_sub(batch.first_row).and_then(|place| usize::try_from(place).ok())?;
        batch.ids.get(place)
    });
    let detail = format!(
        "revision {revision} of this event was accepted before with other content (digest {standing:016x}, this one \
         {other:016x}): send what is meant under a greater revision, which settles it"
    );
    Refused {
        position: sent.map_or_else(|| format!("accepted row {number}"), |(_, id)| format!("event {id}")),
        event_source: sent.map(|(source, _)| source.to_owned()),
        event_id: sent.map(|(_, id)| id.to_owned()),
        reason: Reason::Conflict,
        detail,
        ..known(record)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::set_aside::CONFLICTS_FROM;
    use trueup_connectors::journal::{Journal, MemoryJournal};
    use trueup_model::arrival::Origin;
    use trueup_model::identity::Identity;
    use trueup_model::usage::{Says, SentIds, UsageBatch, UsageRow};
    use trueup_operators::unsettled::Contradiction;

    #[test]
    fn a_contradiction_names_the_event_that_was_set_aside() {
        let row = |value: i64| UsageRow {
            identity: Identity::of("default", "/s", "same"),
            occurred_at: 0,
            value,
            subject: 0,
            properties: 0,
            revision: 3,
            says: Says::Assertion,
            wide: 0,
        };
        let mut ids = SentIds::default();
        [("/s", "first"), ("/s", "other")].iter().for_each(|(source, id)| ids.push(source, id));
        let origin = Arc::new(Origin { source: "calls".to_owned(), partition: "3".to_owned() });
        let (first_row, received_at, rows) = (10, 5, vec![row(1), row(2)]);
        let batch = Arc::new(UsageBatch { first_row, received_at, origin, rows, ids, ..UsageBatch::default() });
        let mut journal = MemoryJournal::new();
        for (epoch, facts) in [(1, Vec::new()), (2, vec![Fact::Usage(Arc::default()), Fact::Usage(batch.clone())])] {
            journal.append(Arc::new(Entry { epoch, facts, ..Entry::default() })).expect("it follows");
        }
        let record = Quarantined::from(Contradiction::of((&batch, 1), &(batch.clone(), 0), 2));
        let input = InputId { epoch: 2, place: CONFLICTS_FROM + 11 };
        assert_eq!(record.inputs().collect::<Vec<_>>(), [input]);
        let shown = Kept::by(&journal.read_back()).shown(&Books::default(), &record, input);
        assert_eq!((shown.input, shown.received_at, shown.is_accepted), (input, 5, false));
        let refused = shown.refused;
        assert_eq!((refused.source.as_str(), refused.partition.as_str()), ("calls", "3"));
        assert_eq!((refused.position.as_str(), refused.event_id.as_deref()), ("event other", Some("other")));
        assert!(refused.detail.starts_with("revision 3 of this event"), "{}", refused.detail);
    }

    #[test]
    fn inputs_are_found_by_their_place_over_all_facts_of_an_entry() {
        let aside = |details: &[&str]| {
            let refused = |detail: &&str| Refused { detail: (*detail).to_owned(), ..Refused::default() };
            Fact::Refused(details.iter().map(refused).collect())
        };
        let facts = vec![aside(&["0", "1"]), Fact::Usage(Arc::default()), aside(&[]), aside(&["2"])];
        let entry = Entry { facts, ..Entry::default() };
        let found: Vec<_> = (0..4).map(|place| refused(&entry, place).map(|found| &*found.detail)).collect();
        assert_eq!(found, [Some("0"), Some("1"), Some("2"), None]);
    }
}
