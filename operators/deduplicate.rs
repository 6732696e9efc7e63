//! Statements about events in, changes of what stands out.
//!
//! Law: at each epoch the rows that came less the rows that went, over all epochs so far, are
//! exactly the standing assertions (see `event_index`); the contradictions that came less those that were
//! settled are those of what stands (see `unsettled`). Each worker sees every batch and keeps
//! the identities that are its own, so nothing is exchanged here. State: the
//! index, and contradictions.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use trueup_model::fact::Epoch;
use trueup_model::metering::{Metering, MeteringChanges};
use trueup_model::usage::{UsageBatch, UsageRow};

use crate::accounts::{Account, State, States, state};
use crate::arrange::Keyed;
use crate::cold::Archive;
pub use crate::event_index::RowRef;
use crate::event_index::{AHEAD, EventIndex, Outcome};
use crate::unsettled::{Contradiction, Unsettled};

/// What deduplication takes in, in the order of the journal.
#[derive(Clone, Debug)]
pub enum Intake {
    /// From here on events are metered like this; `changes` says whose contributions differ.
    Metering {
        /// The metering from here on.
        metering: Arc<Metering>,
        /// Whose contributions differ from those before.
        changes: Arc<MeteringChanges>,
    },
    /// Events that passed the door.
    Usage(Arc<UsageBatch>),
    /// What is to stand where a backfill was taken back, whatever stands: of each event a row; behind it such as
    /// contradict that.
    Restored(Arc<UsageBatch>),
    /// All rows that are not put away are, if there is somewhere to put them.
    PutAway,
}

/// What deduplication begins with.
#[derive(Default)]
pub struct Start {
    /// How events were metered before.
    pub metering: Arc<Metering>,
    /// Where rows are put away, and were before; none: all of them stay in memory.
    pub archive: Option<Box<dyn Archive>>,
    /// What contradicts what stands, of the identities of this worker.
    pub unsettled: Unsettled,
}

/// A change of what stands, or of how it is metered.
#[derive(Clone, Debug)]
pub enum Change {
    /// Assertions that came to stand and that stand no more.
    Standing {
        /// How they are metered.
        metering: Arc<Metering>,
        /// The batch that brought the change.
        batch: Arc<UsageBatch>,
        /// The places in it of those that stand now.
        came: Vec<u32>,
        /// Those that stood.
        went: Vec<RowRef>,
    },
    /// Standing assertions that are metered otherwise.
    Remetered {
        /// How they were metered.
        old: Arc<Metering>,
        /// How they are metered now.
        new: Arc<Metering>,
        /// The assertions.
        rows: Vec<RowRef>,
    },
}

/// The streams that leave deduplication.
pub struct Deduplicated<'scope> {
    /// Changes of what stands.
    pub changes: StreamVec<'scope, Epoch, (Epoch, Change)>,
    /// Changes of how many events are in which state.
    pub accounts: Keyed<'scope, Account, (), i64>,
    /// Contradictions that came, and those that were settled.
    pub conflicts: StreamVec<'scope, Epoch, (Epoch, Contradiction, i64)>,
}

/// Keeps, of all statements about each event, the one that stands.
pub fn deduplicate<'scope>(
    intake: StreamVec<'scope, Epoch, (Epoch, Intake)>,
    start: Start,
    worker: usize,
    workers: usize,
) -> Deduplicated<'scope> {
    let mut builder = OperatorBuilder::new("Deduplicate: keep what stands".to_owned(), intake.scope());
    let mut input = builder.new_input(intake, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (changes_output, changes) = builder.new_output();
    let (accounts_output, accounts) = builder.new_output();
    let (conflicts_output, conflicts) = builder.new_output();
    let mut changes_output = OutputBuilder::from(changes_output);
    let mut accounts_output = OutputBuilder::from(accounts_output);
    let mut conflicts_output = OutputBuilder::from(conflicts_output);
    let mut standing = Standing::new(start, worker, workers);
    builder.build(move |_| {
        move |_frontiers| {
            let mut changes = changes_output.activate();
            let mut accounts = accounts_output.activate();
            let mut conflicts = conflicts_output.activate();
            // Messages come in the order of the journal, since one input on this worker sends
            // them all.
            input.for_each(|cap, messages| {
                for (epoch, message) in messages.drain(..) {
                    let found = standing.take(epoch, message);
                    accounts
                        .session(&cap)
                        .give_iterator(found.states.accounts().map(|(account, diff)| ((account, ()), epoch, diff)));
                    if let Some(change) = found.change {
                        changes.session(&cap).give((epoch, change));
                    }
                    conflicts
                        .session(&cap)
                        .give_iterator(found.conflicts.into_iter().map(|(conflict, diff)| (epoch, conflict, diff)));
                }
            });
        }
    });
    Deduplicated { changes, accounts, conflicts }
}

/// One worker's share of what stands.
struct Standing {
    worker: usize,
    workers: usize,
    metering: Arc<Metering>,
    index: EventIndex,
    unsettled: Unsettled,
}

/// What one message brought.
#[derive(Default)]
struct Found {
    came: Vec<u32>,
    went: Vec<RowRef>,
    change: Option<Change>,
    states: States,
    conflicts: Vec<(Contradiction, i64)>,
}

impl Found {
    fn stand(&mut self, row: &UsageRow, place: u32) {
        self.states.put(state(row), row);
        if row.asserts() {
            self.came.push(place);
        }
    }

    /// Takes off a row that stood and is in another state from now on.
    fn step_down(&mut self, (batch, place): RowRef, to: State) {
        let row = &batch.rows[place as usize];
        self.states.step_down((&batch, row), to);
        if row.asserts() {
            self.went.push((batch, place));
        }
    }

    /// Takes off a contradiction of what stood until now.
    fn settle(&mut self, settled: Contradiction) {
        self.states.turn(settled.told.arrival(), State::Quarantined, State::Superseded);
        self.conflicts.push((settled, -1));
    }
}

impl Standing {
    fn new(start: Start, worker: usize, workers: usize) -> Standing {
        let index = start.archive.map_or_else(EventIndex::in_memory, EventIndex::kept_in);
        Standing { worker, workers, metering: start.metering, index, unsettled: start.unsettled }
    }

    fn take(&mut self, epoch: Epoch, message: Intake) -> Found {
        match message {
            Intake::Metering { metering, changes } => self.remeter(metering, &changes),
            Intake::Usage(batch) => self.observe(epoch, batch, Self::said),
            Intake::Restored(batch) => self.observe(epoch, batch, Self::restored),
            Intake::PutAway => {
                self.index.put_away();
                Found::default()
            }
        }
    }

    /// Takes notice of the rows of a batch; `judge` finds out what each does to what stood.
    fn observe(
        &mut self,
        epoch: Epoch,
        batch: Arc<UsageBatch>,
        judge: impl Fn(&mut Self, &Arc<UsageBatch>, u32, u32) -> Outcome,
    ) -> Found {
        let states = States::of(batch.arrival());
        let mut found = Found { states, ..Found::default() };
        let mine: Vec<u32> = self.mine(&batch);
        self.index.receive();
        let mut identities = Vec::with_capacity(AHEAD);
        let mut masks = [0; AHEAD];
        for block in mine.chunks(AHEAD) {
            identities.clear();
            identities.extend(block.iter().map(|&place| batch.rows[place as usize].identity));
            self.index.warm(&identities, &mut masks[..block.len()]);
            for (&place, &mask) in block.iter().zip(&masks) {
                let outcome = judge(self, &batch, place, mask);
                self.take_notice(epoch, outcome, (&batch, place), &mut found);
            }
        }
        self.index.put_away_if_many();
        let (came, went) = (std::mem::take(&mut found.came), std::mem::take(&mut found.went));
        if !came.is_empty() || !went.is_empty() {
            found.change = Some(Change::Standing { metering: self.metering.clone(), batch, came, went });
        }
        found
    }

    /// A row that somebody said.
    fn said(&mut self, batch: &Arc<UsageBatch>, place: u32, mask: u32) -> Outcome {
        self.index.observe(batch, place, mask, &self.metering)
    }

    /// A row that stands whatever stood, or one behind it that contradicts it: that is known, and not for the
    /// metering of today to judge.
    fn restored(&mut self, batch: &Arc<UsageBatch>, place: u32, mask: u32) -> Outcome {
        match first_of_event(batch, place) {
            first if first == place => self.index.restore(batch, place, mask),
            first => Outcome::Conflict((batch.clone(), first)),
        }
    }

    /// Tells what came of a row.
    fn take_notice(&mut self, epoch: Epoch, outcome: Outcome, (batch, place): (&UsageBatch, u32), found: &mut Found) {
        let row = &batch.rows[place as usize];
        match outcome {
            Outcome::First => found.stand(row, place),
            Outcome::Replaced(old) => {
                found.step_down(old, State::Superseded);
                found.stand(row, place);
                self.unsettled.settle(row.identity).into_iter().for_each(|settled| found.settle(settled));
            }
            Outcome::Reread(old) => {
                found.step_down(old, State::Duplicate);
                found.stand(row, place);
            }
            Outcome::Duplicate => found.states.put(State::Duplicate, row),
            Outcome::Superseded => found.states.put(State::Superseded, row),
            Outcome::Conflict(standing) => {
                let contradiction = Contradiction::of((batch, place), &standing, epoch);
                if self.unsettled.put(contradiction.clone()) {
                    found.states.put(State::Quarantined, row);
                    found.conflicts.push((contradiction, 1));
                } else {
                    found.states.put(State::Duplicate, row);
                }
            }
        }
    }

    /// The places of the rows that this worker remembers.
    fn mine(&self, batch: &UsageBatch) -> Vec<u32> {
        let places = 0..batch.rows.len() as u32;
        if self.workers == 1 {
            return places.collect();
        }
        places.filter(|&place| batch.rows[place as usize].identity.worker(self.workers) == self.worker).collect()
    }

    fn remeter(&mut self, metering: Arc<Metering>, changes: &MeteringChanges) -> Found {
        let old = std::mem::replace(&mut self.metering, metering.clone());
        if changes.is_empty() {
            return Found::default();
        }
        let differs = |row: &UsageRow| {
            row.asserts() && (changes.properties.contains(&row.properties) || changes.subjects.contains(&row.subject))
        };
        let rows = self.index.standing(differs);
        let change = (!rows.is_empty()).then_some(Change::Remetered { old, new: metering, rows });
        Found { change, ..Found::default() }
    }
}

/// The place of the first row of the same event, where those of an event lie beside each other.
fn first_of_event(batch: &UsageBatch, place: u32) -> u32 {
    let identity = batch.rows[place as usize].identity;
    let beside = batch.rows[..place as usize].iter().rev().take_while(|row| row.identity == identity);
    place - beside.count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::memory::MemoryArchive;
    use std::cmp::Ordering;
    use std::collections::{BTreeMap, BTreeSet};

    use trueup_model::arrival::{Arrival, Origin};
    use trueup_model::identity::Identity;
    use trueup_model::usage::Says;

    /// A statement of one of a few events, by three digits of a number.
    fn row(number: u64) -> UsageRow {
        let digit = |place: u32| (number / 7_u64.pow(place)) % 7;
        let identity = Identity::of("t", "s", &digit(0).to_string());
        let (revision, value) = (digit(1) as u32 / 2, (digit(2) / 3) as i64);
        let retract = digit(2) == 0 && (digit(0) + digit(1) / 2).is_multiple_of(2);
        let (subject, properties) = (digit(0) as u32, digit(0) as u32 % 2);
        let says = Says::of(retract);
        UsageRow { identity, occurred_at: 0, value, subject, properties, revision, says, wide: 0 }
    }

    /// Batches of statements in an order that looks random.
    fn batches() -> Vec<Arc<UsageBatch>> {
        let rows: Vec<UsageRow> = (0..343).map(|number| row(number * 191 % 343)).collect();
        let mut batches = Vec::new();
        for rows in rows.chunks(10) {
            let first_row = batches.len() as u64 * 10;
            // Three hours by two ways, in turn.
            let origin = Origin { source: format!("way {}", first_row / 10 % 2), partition: String::new() };
            let (received_at, origin) = (first_row as i64 / 40 % 3 * 3_600_000_000 + 7, Arc::new(origin));
            let rows = rows.to_vec();
            batches.push(Arc::new(UsageBatch { first_row, received_at, origin, rows, ..UsageBatch::default() }));
        }
        batches
    }

    /// What tells a row that stands from all others, with its value.
    type Key = (Identity, u32, bool, i64);

    fn key(batch: &UsageBatch, place: u32) -> Key {
        let row = &batch.rows[place as usize];
        (row.identity, row.revision, !row.asserts(), row.value)
    }

    /// The rows that changes put and take away.
    #[derive(Default)]
    struct Seen {
        standing: BTreeMap<Key, i64>,
        accounts: BTreeMap<Account, i64>,
        conflicts: i64,
    }

    impl Seen {
        fn add(&mut self, found: Found) {
            if let Some(Change::Standing { batch, came, went, .. }) = found.change {
                assert!(!came.is_empty() || !went.is_empty(), "a change changes something");
                came.iter().for_each(|&place| *self.standing.entry(key(&batch, place)).or_default() += 1);
                for (batch, place) in went {
                    *self.standing.entry(key(&batch, place)).or_default() -= 1;
                }
            }
            for (account, diff) in found.states.accounts() {
                assert_ne!(diff, 0, "{account:?}: what changes nothing is not told");
                *self.accounts.entry(account).or_default() += diff;
            }
            self.conflicts += found.conflicts.iter().map(|(_, diff)| diff).sum::<i64>();
            self.standing.retain(|_, count| *count != 0);
        }

        /// How many inputs are in a state.
        fn of(&self, state: State) -> i64 {
            let is_it = |account: &Account| matches!(account, Account::Arrived(_, its) if *its == state);
            self.accounts.iter().filter(|(account, _)| is_it(account)).map(|(_, count)| count).sum()
        }

        /// How many inputs came in together, whatever became of them.
        fn by_arrival(&self) -> BTreeMap<Arrival, i64> {
            let mut sums = BTreeMap::new();
            for (account, count) in &self.accounts {
                if let Account::Arrived(arrival, _) = account {
                    assert!(*count >= 0, "{account:?} is {count}");
                    *sums.entry(arrival.clone()).or_default() += count;
                }
            }
            sums
        }

        fn by_subject(&self) -> i64 {
            let is_subject = |account: &Account| matches!(account, Account::Subject(_));
            self.accounts.iter().filter(|(account, _)| is_subject(account)).map(|(_, count)| count).sum()
        }
    }

    #[test]
    fn what_came_less_what_went_is_what_stands() {
        for (workers, is_kept) in [(1, false), (2, false), (3, false), (1, true), (3, true)] {
            let archive = || -> Box<dyn Archive> { Box::new(MemoryArchive::new(20, 1)) };
            let start = || Start { archive: is_kept.then(archive), ..Start::default() };
            let mut shares: Vec<Standing> =
                (0..workers).map(|worker| Standing::new(start(), worker, workers)).collect();
            let (mut seen, mut best) = (Seen::default(), BTreeMap::<Identity, (u32, bool, u64, i64)>::new());
            let (mut rows, mut aside) = (BTreeMap::<Arrival, i64>::new(), BTreeSet::new());
            for batch in batches() {
                shares.iter_mut().for_each(|share| seen.add(share.take(1, Intake::Usage(batch.clone()))));
                *rows.entry(batch.arrival()).or_default() += batch.rows.len() as i64;
                for (number, row) in (batch.first_row..).zip(&batch.rows) {
                    // The greatest revision, a retraction above all else of it, and of equal ones the first.
                    let new = (row.revision, !row.asserts(), number, row.value);
                    let stands = best.entry(row.identity).or_insert(new);
                    match (new.0, new.1).cmp(&(stands.0, stands.1)) {
                        Ordering::Greater => {
                            *stands = new;
                            aside.retain(|(identity, _)| *identity != row.identity);
                        }
                        // Each other thing that is said at its revision is set aside, once.
                        Ordering::Equal if new.3 != stands.3 && !new.1 => drop(aside.insert((row.identity, row.value))),
                        _ => {}
                    }
                }
                let asserted = best.iter().filter(|(_, (_, retract, ..))| !retract);
                let asserted =
                    asserted.map(|(identity, &(revision, .., value))| ((*identity, revision, false, value), 1));
                assert_eq!(seen.standing, asserted.collect(), "{workers} workers, put away: {is_kept}");
                assert_eq!(seen.by_arrival(), rows, "each is in exactly one state, where it came in");
                let standing = seen.of(State::Standing);
                assert_eq!((standing, standing), (seen.standing.len() as i64, seen.by_subject()));
                assert_eq!(standing + seen.of(State::Retracted), best.len() as i64);
                assert_eq!((seen.of(State::Quarantined), seen.conflicts), (aside.len() as i64, aside.len() as i64));
            }
            assert_eq!(rows.len(), 6, "there are several ways and hours");
            assert!(State::ALL.into_iter().all(|state| seen.of(state) > 0), "every state comes about");
        }
    }

    #[test]
    fn what_is_metered_otherwise_is_what_stands_of_it() {
        let mut share = Standing::new(Start::default(), 0, 1);
        let mut seen = Seen::default();
        batches().into_iter().for_each(|batch| seen.add(share.take(1, Intake::Usage(batch))));
        let rows: BTreeMap<Key, UsageRow> = batches()
            .iter()
            .flat_map(|batch| (0..batch.rows.len() as u32).map(|place| (key(batch, place), batch.rows[place as usize])))
            .collect();
        for (properties, subjects) in [(vec![], vec![]), (vec![1], vec![]), (vec![], vec![2]), (vec![0], vec![4, 99])] {
            let (properties, subjects) = (BTreeSet::from_iter(properties), BTreeSet::from_iter(subjects));
            let keys = seen.standing.keys().copied().filter(|key| {
                let row = &rows[key];
                properties.contains(&row.properties) || subjects.contains(&row.subject)
            });
            let expected: BTreeSet<Key> = keys.collect();
            let changes = Arc::new(MeteringChanges { properties, subjects });
            let found = share.take(1, Intake::Metering { metering: Arc::default(), changes });
            let rows = match found.change {
                Some(Change::Remetered { rows, .. }) => rows,
                other => Vec::from_iter(other.map(|other| panic!("{other:?}"))),
            };
            let rows: BTreeSet<Key> = rows.iter().map(|(batch, place)| key(batch, *place)).collect();
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn what_is_restored_stands_whatever_stood_and_yields_as_its_own_revision_does() {
        let event = |id: u32, revision, says, value| UsageRow {
            identity: Identity::of("t", "s", &id.to_string()),
            occurred_at: 0,
            value,
            subject: 0,
            properties: 0,
            revision,
            says,
            wide: 0,
        };
        let assertion = |id, revision, value| event(id, revision, Says::Assertion, value);
        let retraction = |id, revision| event(id, revision, Says::Retraction, 0);
        let nothing = |id| event(id, 0, Says::Nothing, 0);
        let said = [
            // All of this is taken back below; of the third something else is said, which is set aside.
            vec![assertion(1, 3, 30), retraction(2, 9), assertion(3, 2, 20), assertion(3, 2, 21), assertion(4, 7, 70)],
            vec![nothing(1), assertion(2, 1, 10), assertion(3, 2, 21), assertion(3, 2, 22), retraction(4, 0)],
            // What is said behind it is held against what stands now.
            vec![assertion(1, 0, 5), retraction(2, 0), retraction(2, 1), assertion(3, 2, 22), assertion(4, 0, 40)],
            vec![assertion(1, 0, 5), assertion(1, 0, 6), assertion(4, 1, 41)],
        ];
        let after = |batches: usize| {
            let mut shares: Vec<Standing> = (0..3).map(|worker| Standing::new(Start::default(), worker, 3)).collect();
            let mut seen = Seen::default();
            for (rows, number) in said[..batches].iter().zip(0..) {
                let batch =
                    Arc::new(UsageBatch { first_row: number * 10, rows: rows.clone(), ..UsageBatch::default() });
                let intake = if number == 1 { Intake::Restored } else { Intake::Usage };
                shares.iter_mut().for_each(|share| seen.add(share.take(number, intake(batch.clone()))));
            }
            let inputs: i64 = seen.by_arrival().values().sum();
            let sent: i64 = said[..batches].iter().map(|rows| rows.len() as i64).sum();
            assert_eq!(inputs, sent, "each is counted once");
            let mut standing: Vec<i64> = seen.standing.keys().map(|(.., value)| *value).collect();
            standing.sort_unstable();
            (standing, seen.conflicts, seen.of(State::Quarantined))
        };
        assert_eq!(after(1), (vec![20, 30, 70], 1, 1));
        assert_eq!(after(2), (vec![10, 21], 1, 1), "what contradicted is settled, and what contradicts is told");
        assert_eq!(after(3), (vec![5, 21], 1, 1));
        assert_eq!(after(4), (vec![5, 21, 41], 2, 2));
    }
}
