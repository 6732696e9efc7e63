//! What memory keeps of inputs that were set aside: where the journal has them, and why.
//!
//! Law: inputs of one epoch that follow each other, by one way and for one reason, are one record,
//! and each input is in exactly one. What an input said stays in the journal and is read back from
//! there when it is shown (`quarantine_rows.rs`), so a million lines of junk cost as much memory as
//! the batches they came in. A record has 80 bytes, an update of it 96.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use trueup_model::arrival::{Arrival, Origin};
use trueup_model::fact::{Epoch, InputId};
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::usage::{Reason, Refused};
use trueup_operators::accounts::{Account, State};
use trueup_operators::unsettled::{Contradiction, Told};

/// Contradictions come after the inputs that the door set aside.
pub const CONFLICTS_FROM: u64 = 1 << 40;

/// Inputs that were set aside, in the order of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quarantined {
    /// The epoch that brought them.
    pub epoch: Epoch,
    /// The place of the last of them among those of the epoch: inputs first, then contradictions by
    /// row. It comes before the first, so that whoever seeks an input finds the record that has it.
    pub last: u64,
    /// The place of the first.
    pub first: u64,
    /// When they were received, by the billing clock.
    pub received_at: Micros,
    /// By which way.
    pub origin: Arc<Origin>,
    /// Why.
    pub why: Why,
}

/// Why inputs were set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Why {
    /// They were refused; the journal has the sentence.
    Refused(Reason),
    /// An event contradicts one that stands. That was found behind the journal, so it is kept here.
    Contradicts {
        /// Which event it is about.
        identity: Identity,
        /// The revision of both.
        revision: u32,
        /// The digest of what stands.
        standing: u64,
        /// The digest of what was set aside.
        other: u64,
    },
}

impl Why {
    /// The kind of the reason.
    pub fn reason(self) -> Reason {
        match self {
            Why::Refused(reason) => reason,
            Why::Contradicts { .. } => Reason::Conflict,
        }
    }
}

impl Quarantined {
    /// What is not after any record that has this input, to be sought.
    pub fn sought(InputId { epoch, place }: InputId) -> Quarantined {
        let (received_at, why) = (Micros::MIN, Why::Refused(Reason::default()));
        Quarantined { epoch, last: place, first: 0, received_at, origin: Arc::default(), why }
    }

    /// Its inputs, in their order.
    pub fn inputs(&self) -> impl Iterator<Item = InputId> + use<> {
        let epoch = self.epoch;
        (self.first..=self.last).map(move |place| InputId { epoch, place })
    }

    /// Whether an input is one of them.
    pub fn has(&self, input: InputId) -> bool {
        self.epoch == input.epoch && (self.first..=self.last).contains(&input.place)
    }

    /// How many inputs it has.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The number of the row that contradicts, among all that were accepted, if one does.
    pub fn row(&self) -> Option<u64> {
        self.first.checked_sub(CONFLICTS_FROM)
    }

    /// The contradiction that it is, if it is one.
    pub fn contradiction(&self) -> Option<Contradiction> {
        let (Why::Contradicts { identity, revision, standing, other }, Some(number)) = (self.why, self.row()) else {
            return None;
        };
        let (epoch, received_at, origin) = (self.epoch, self.received_at, self.origin.clone());
        let told = Told { epoch, number, received_at, origin, revision, standing };
        Some(Contradiction { identity, digest: other, told })
    }

    /// Where the ledger counts inputs that were set aside at the door.
    pub fn account(&self) -> Account {
        Account::Arrived(Arrival::at(self.origin.clone(), self.received_at), State::Quarantined)
    }

    /// The same with an origin that is shared by all of that way.
    pub fn sharing(self, origins: &mut Origins) -> Quarantined {
        let origin = origins.shared(&self.origin);
        Quarantined { origin, ..self }
    }
}

/// The ways in, each once in memory.
#[derive(Default)]
pub struct Origins(BTreeSet<Arc<Origin>>);

impl Origins {
    /// The one of a way.
    pub fn shared(&mut self, origin: &Origin) -> Arc<Origin> {
        if let Some(known) = self.0.get(origin) {
            return known.clone();
        }
        let known = Arc::new(origin.clone());
        self.0.insert(known.clone());
        known
    }

    /// Adds inputs that were set aside to those of the same epoch before them.
    pub fn gather(&mut self, records: &mut Vec<Quarantined>, refused: &[Refused], epoch: Epoch, clock: Micros) {
        for one in refused {
            let why = Why::Refused(one.reason);
            let place = records.last().map_or(0, |before| before.last + 1);
            if let Some(before) = records.last_mut()
                && before.why == why
                && before.origin.source == one.source
                && before.origin.partition == one.partition
            {
                before.last = place;
                continue;
            }
            let origin = self.shared(&one.origin());
            records.push(Quarantined { epoch, last: place, first: place, received_at: clock, origin, why });
        }
    }
}

/// How many contradictions stand, by the source that brought them first. Workers find them, behind the journal;
/// the door asks, which is ahead of them by an epoch or two.
#[derive(Clone, Default)]
pub struct Contradictions(Arc<Mutex<BTreeMap<String, u64>>>);

impl Contradictions {
    /// Counts a record, if it is one, so many times more: fewer if it was settled.
    pub fn count(&self, record: &Quarantined, times: i64) {
        if record.row().is_none() {
            return;
        }
        let mut sources = self.sources();
        let standing = sources.get(&record.origin.source).copied().unwrap_or_default();
        match standing.saturating_add_signed(times) {
            0 => drop(sources.remove(&record.origin.source)),
            now => drop(sources.insert(record.origin.source.clone(), now)),
        }
    }

    /// How many a source brought.
    pub fn by(&self, source: &str) -> u64 {
        self.sources().get(source).copied().unwrap_or_default()
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // A count is right whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Contradiction> for Quarantined {
    fn from(contradiction: Contradiction) -> Quarantined {
        let Contradiction { identity, digest: other, told } = contradiction;
        let Told { epoch, number, received_at, origin, revision, standing } = told;
        let place = CONFLICTS_FROM + number;
        let why = Why::Contradicts { identity, revision, standing, other };
        Quarantined { epoch, last: place, first: place, received_at, origin, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str, reason: Reason) -> Refused {
        Refused { source: source.to_owned(), reason, ..Refused::default() }
    }

    #[test]
    fn inputs_that_follow_each_other_are_one_record() {
        let (missing, unreadable) = (Reason::Missing, Reason::Unreadable);
        let (mut origins, mut records) = (Origins::default(), Vec::new());
        let first = [("a", missing), ("a", missing), ("a", unreadable)].map(|(source, why)| refused(source, why));
        let second = [("a", unreadable), ("b", unreadable), ("a", unreadable)];
        origins.gather(&mut records, &first, 7, 5);
        origins.gather(&mut records, &second.map(|(source, why)| refused(source, why)), 7, 5);
        let told: Vec<_> = records.iter().map(|one| (&*one.origin.source, one.first, one.last, one.count())).collect();
        assert_eq!(told, [("a", 0, 1, 2), ("a", 2, 3, 2), ("b", 4, 4, 1), ("a", 5, 5, 1)]);
        assert!(Arc::ptr_eq(&records[0].origin, &records[3].origin));
        for place in 0..6 {
            let input = InputId { epoch: 7, place };
            let found: Vec<_> = records.iter().filter(|record| record.has(input)).collect();
            assert_eq!(found.len(), 1, "each is in one record");
            assert_eq!(records.iter().find(|record| **record >= Quarantined::sought(input)), Some(found[0]));
        }
        assert_eq!(records.iter().flat_map(Quarantined::inputs).count(), 6);
    }

    #[test]
    fn a_record_is_as_small_as_is_said() {
        assert_eq!(size_of::<Quarantined>(), 80);
        assert_eq!(size_of::<((Quarantined, ()), Epoch, i64)>(), 96);
    }
}
