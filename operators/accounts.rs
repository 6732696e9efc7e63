//! In which state inputs are: accounts, and how what comes and goes changes them.
//!
//! Law: each input is in exactly one state, so over all states the changes of a message add up to its inputs.

use std::collections::BTreeMap;

use differential_dataflow::consolidation::consolidate;
use trueup_model::arrival::Arrival;
use trueup_model::dictionary::SubjectId;
use trueup_model::usage::{UsageBatch, UsageRow};

/// The state an input is in; each is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum State {
    /// It is an assertion, and stands.
    Standing,
    /// Another statement stands above it.
    Superseded,
    /// It is a retraction, and stands; or it says nothing, as all that was said was taken back.
    Retracted,
    /// It says what had been said.
    Duplicate,
    /// It was set aside.
    Quarantined,
}

impl State {
    /// How many states there are.
    pub const COUNT: usize = State::Quarantined as usize + 1;
    /// Every state, each at its place.
    pub const ALL: [State; State::COUNT] =
        [State::Standing, State::Superseded, State::Retracted, State::Duplicate, State::Quarantined];
}

/// Under what the ledger counts inputs. By subject they are counted once more, as long as they stand,
/// since whose a subject is may change; by arrival and subject together would be too many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Account {
    /// What came in together and is in the same state.
    Arrived(Arrival, State),
    /// The assertions that stand for a subject.
    Subject(SubjectId),
}

/// How numbers of inputs by state changed. There are few arrivals and many rows, so nothing but a
/// number is touched for most of them.
#[derive(Default)]
pub(crate) struct States {
    /// Of the rows of the message.
    here: [i64; State::COUNT],
    /// Of rows that came before them.
    before: BTreeMap<Arrival, [i64; State::COUNT]>,
    /// Where the rows of the message came from.
    arrival: Option<Arrival>,
    subjects: Vec<(SubjectId, i64)>,
}

impl States {
    /// None yet, of a message whose rows came in so.
    pub fn of(arrival: Arrival) -> States {
        States { arrival: Some(arrival), ..States::default() }
    }

    /// Counts a row of the message.
    pub fn put(&mut self, state: State, row: &UsageRow) {
        self.here[state as usize] += 1;
        self.put_subject(state, row, 1);
    }

    /// Counts a row that stood into another state.
    pub fn step_down(&mut self, (batch, row): (&UsageBatch, &UsageRow), to: State) {
        self.turn(batch.arrival(), state(row), to);
        self.put_subject(state(row), row, -1);
    }

    /// Counts an input that came before into another state.
    pub fn turn(&mut self, arrival: Arrival, from: State, to: State) {
        let counts = self.before.entry(arrival).or_default();
        counts[from as usize] -= 1;
        counts[to as usize] += 1;
    }

    fn put_subject(&mut self, state: State, row: &UsageRow, diff: i64) {
        if state == State::Standing {
            self.subjects.push((row.subject, diff));
        }
    }

    /// What is added to which account.
    pub fn accounts(mut self) -> impl Iterator<Item = (Account, i64)> {
        if let Some(arrival) = self.arrival {
            let sums = self.before.entry(arrival).or_default();
            sums.iter_mut().zip(self.here).for_each(|(sum, count)| *sum += count);
        }
        consolidate(&mut self.subjects);
        let arrived = self.before.into_iter().flat_map(|(arrival, counts)| {
            let counts = State::ALL.into_iter().zip(counts).filter(|(_, count)| *count != 0);
            counts.map(move |(state, count)| (Account::Arrived(arrival.clone(), state), count))
        });
        arrived.chain(self.subjects.into_iter().map(|(subject, count)| (Account::Subject(subject), count)))
    }
}

/// The state of a row that stands.
pub(crate) fn state(row: &UsageRow) -> State {
    if row.asserts() { State::Standing } else { State::Retracted }
}
