//! The whole dataflow, built the same way on every worker.
//!
//! ```text
//!  intake ── metering ──┬── totals ── invoicing ── invoices, corrections, crossings
//!  turns ──────┴── agenda ┘
//! ```

use std::sync::Arc;

use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::trace::TraceReader;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Input, Map};
use timely::dataflow::{InputHandleVec, Scope};
use timely::progress::Antichain;

use trueup_model::books::{Books, Turn};
use trueup_model::charge::{Group, Posting};
use trueup_model::fact::{Epoch, Replay};
use trueup_model::grain::Grain;
use trueup_model::identity::home;
use trueup_model::lookup::Target;
use trueup_model::metering::UsageKey;
use trueup_operators::accounts::{Account, State};
use trueup_operators::agenda::agenda;
use trueup_operators::arrange::{Before, Trace, arrange_here};
use trueup_operators::contribute::Kept;
use trueup_operators::deduplicate::Intake;
use trueup_operators::read::Snapshot;
use trueup_operators::total::{Billed, Total};

use crate::invoicing::{invoicing, totals};
use crate::metering::{self, TextInGroup, metering};

use super::set_aside::{Contradictions, Origins, Quarantined};

/// What a worker is fed at one epoch.
#[derive(Clone, Debug, Default)]
pub struct EpochInput {
    /// The epoch.
    pub epoch: Epoch,
    /// From which epoch on times stay told apart.
    pub oldest: Epoch,
    /// Events and meterings, in order.
    pub intake: Vec<Intake>,
    /// The books from here on.
    pub turn: Arc<Turn>,
    /// Inputs that were set aside.
    pub refused: Vec<Quarantined>,
    /// The lines of documents issued at this epoch.
    pub issued: Vec<((Group, Grain), Billed)>,
    /// What became of inputs that were read again.
    pub replays: Vec<Replay>,
    /// Whether there is to be a checkpoint of it.
    pub is_kept: bool,
}

/// The inputs of one worker.
pub struct Inputs {
    worker: usize,
    workers: usize,
    intake: InputHandleVec<Epoch, (Epoch, Intake)>,
    turns: InputHandleVec<Epoch, (Epoch, Arc<Turn>)>,
    refused: InputHandleVec<Epoch, ((Quarantined, ()), Epoch, i64)>,
    issued: InputHandleVec<Epoch, ((Posting, ()), Epoch, Billed)>,
    replayed: InputHandleVec<Epoch, ((Account, ()), Epoch, i64)>,
}

impl Inputs {
    /// Feeds an epoch and closes it. What belongs to a customer is fed where the customer is;
    /// what concerns nobody in particular, by the first worker.
    pub fn feed(&mut self, input: &EpochInput) {
        let epoch = input.epoch;
        self.advance_to(epoch);
        self.turns.send((epoch, input.turn.clone()));
        for intake in &input.intake {
            self.intake.send((epoch, intake.clone()));
        }
        let lines = input.issued.iter().filter(|((group, _), _)| home(group.customer, self.workers) == self.worker);
        for &((group, service), mut line) in lines {
            line.negate();
            self.issued.send(((Posting::Correction(group, service), ()), epoch, line));
        }
        if self.worker == 0 {
            for quarantined in &input.refused {
                self.refused.send(((quarantined.clone(), ()), epoch, 1));
            }
            // What was accepted is counted again by deduplication, where it came in.
            for replay in input.replays.iter().filter(|replay| replay.still.is_none()) {
                let account = Account::Arrived(replay.arrival.clone(), State::Quarantined);
                self.replayed.send(((account, ()), epoch, -1));
            }
        }
        self.advance_to(epoch + 1);
    }

    fn advance_to(&mut self, epoch: Epoch) {
        self.intake.advance_to(epoch);
        self.turns.advance_to(epoch);
        self.refused.advance_to(epoch);
        self.issued.advance_to(epoch);
        self.replayed.advance_to(epoch);
    }
}

/// What the dataflow begins with on one worker: all that came of the epochs through one of them.
#[derive(Default)]
pub struct Start {
    /// That epoch; 0: from the beginning.
    pub epoch: Epoch,
    /// The books of that epoch.
    pub books: Arc<Books>,
    /// What metering begins with.
    pub metering: metering::Start,
    /// Totals by group and service period.
    pub totals: Before<Group, Grain, Total>,
    /// Invoices, corrections, crossings and alarms.
    pub postings: Before<Posting, (), Billed>,
    /// Numbers of inputs by arrival and state, and of those that stand by subject.
    pub accounts: Before<Account, (), i64>,
    /// The quarantine.
    pub quarantine: Before<Quarantined, (), i64>,
    /// Where contradictions are counted.
    pub contradictions: Contradictions,
}

/// The arrangements that are read, as handles on one worker.
pub struct Traces {
    usage: Trace<UsageKey, (), Total>,
    values: Trace<UsageKey, Kept, i64>,
    texts: Trace<UsageKey, u32, i64>,
    values_by_group: Trace<Target, Kept, i64>,
    texts_by_group: Trace<TextInGroup, (), i64>,
    totals: Trace<Group, Grain, Total>,
    postings: Trace<Posting, (), Billed>,
    accounts: Trace<Account, (), i64>,
    quarantine: Trace<Quarantined, (), i64>,
}

/// The same arrangements as of one frontier, to be read anywhere.
#[derive(Clone)]
pub struct Snapshots {
    /// Usage of additive meters, by subject, series and grain.
    pub usage: Snapshot<UsageKey, (), Total>,
    /// The values of extremes, likewise.
    pub values: Snapshot<UsageKey, Kept, i64>,
    /// The texts of unique counts, likewise.
    pub texts: Snapshot<UsageKey, u32, i64>,
    /// The values by what they are charged as.
    pub values_by_group: Snapshot<Target, Kept, i64>,
    /// The texts by what they are charged as.
    pub texts_by_group: Snapshot<TextInGroup, (), i64>,
    /// Totals by group and service period.
    pub totals: Snapshot<Group, Grain, Total>,
    /// Invoices, corrections, crossings and alarms.
    pub postings: Snapshot<Posting, (), Billed>,
    /// Numbers of inputs by arrival and state, and of those that stand by subject.
    pub accounts: Snapshot<Account, (), i64>,
    /// The quarantine.
    pub quarantine: Snapshot<Quarantined, (), i64>,
}

impl Traces {
    /// Whether an epoch is complete on this worker, in all that is read.
    pub fn have(&mut self, epoch: Epoch) -> bool {
        // Taken apart by name, so that the compiler asks for one that is added.
        let Traces { usage, values, texts, values_by_group, texts_by_group, totals, postings, accounts, quarantine } =
            self;
        has(usage, epoch)
            && has(values, epoch)
            && has(texts, epoch)
            && has(values_by_group, epoch)
            && has(texts_by_group, epoch)
            && has(totals, epoch)
            && has(postings, epoch)
            && has(accounts, epoch)
            && has(quarantine, epoch)
    }

    /// The arrangements as of `epoch`, which is complete.
    pub fn snapshots(&mut self, epoch: Epoch) -> Snapshots {
        Snapshots {
            usage: snapshot(&mut self.usage, epoch),
            values: snapshot(&mut self.values, epoch),
            texts: snapshot(&mut self.texts, epoch),
            values_by_group: snapshot(&mut self.values_by_group, epoch),
            texts_by_group: snapshot(&mut self.texts_by_group, epoch),
            totals: snapshot(&mut self.totals, epoch),
            postings: snapshot(&mut self.postings, epoch),
            accounts: snapshot(&mut self.accounts, epoch),
            quarantine: snapshot(&mut self.quarantine, epoch),
        }
    }

    /// Lets go of the difference between times up to `since`; later snapshots begin after
    /// `epoch`.
    pub fn forget(&mut self, since: Epoch, epoch: Epoch) {
        let Traces { usage, values, texts, values_by_group, texts_by_group, totals, postings, accounts, quarantine } =
            self;
        forget(usage, since, epoch);
        forget(values, since, epoch);
        forget(texts, since, epoch);
        forget(values_by_group, since, epoch);
        forget(texts_by_group, since, epoch);
        forget(totals, since, epoch);
        forget(postings, since, epoch);
        forget(accounts, since, epoch);
        forget(quarantine, since, epoch);
    }
}

/// One epoch is in flight at a time, so a trace that has it has nothing beyond it.
fn snapshot<K, V, R>(trace: &mut Trace<K, V, R>, epoch: Epoch) -> Snapshot<K, V, R>
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    let mut runs = Vec::new();
    trace.map_spans(|span| {
        let last = span.upper().as_option().map_or(Epoch::MAX, |upper| upper - 1);
        debug_assert!(last <= epoch);
        runs.extend(span.inner.clone().map(|run| (last, run)));
    });
    Snapshot::new(runs)
}

/// Whether nothing at an epoch is to come any more.
fn has<K, V, R>(trace: &mut Trace<K, V, R>, epoch: Epoch) -> bool
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    let mut upper = Antichain::new();
    trace.read_upper(&mut upper);
    !upper.less_equal(&epoch)
}

fn forget<K, V, R>(trace: &mut Trace<K, V, R>, since: Epoch, epoch: Epoch)
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    R: Semigroup + 'static,
{
    trace.set_logical_compaction(Antichain::from_elem(since).borrow());
    trace.set_physical_compaction(Antichain::from_elem(epoch + 1).borrow());
}

/// Builds the dataflow on one worker. It takes epochs after the one it begins with.
pub fn build(scope: Scope<'_, Epoch>, start: Start, worker: usize, workers: usize) -> (Inputs, Traces) {
    let (intake_input, intake) = scope.new_input();
    let (turns_input, turns) = scope.new_input();
    let (refused_input, refused) = scope.new_input();
    let (issued_input, issued) = scope.new_input();
    let (replayed_input, replayed) = scope.new_input();

    let books = &start.books;
    let metered = metering(intake, turns.clone(), books, start.metering, worker, workers);
    let totals = totals(metered.targets, agenda(turns.clone(), books, worker, workers), start.totals);
    let postings = invoicing(totals.clone(), issued, turns, books, start.postings);
    let set_aside = refused.clone().map(|((inputs, ()), epoch, times): ((Quarantined, ()), Epoch, i64)| {
        ((inputs.account(), ()), epoch, times * inputs.count() as i64)
    });
    let accounts = metered.accounts.concat(set_aside).concat(replayed);
    let accounts = arrange_here(accounts, "Ledger: inputs by arrival and state", start.accounts);
    let (mut origins, contradictions) = (Origins::default(), start.contradictions);
    let conflicts = metered.conflicts.map(move |(epoch, conflict, times)| {
        let record = Quarantined::from(conflict).sharing(&mut origins);
        contradictions.count(&record, times);
        ((record, ()), epoch, times)
    });
    let quarantine = arrange_here(refused.concat(conflicts), "Quarantine: what was set aside", start.quarantine);

    let mut inputs = Inputs {
        worker,
        workers,
        intake: intake_input,
        turns: turns_input,
        refused: refused_input,
        issued: issued_input,
        replayed: replayed_input,
    };
    inputs.advance_to(start.epoch + 1);
    let traces = Traces {
        usage: metered.usage.trace,
        values: metered.values.trace,
        texts: metered.texts.trace,
        values_by_group: metered.values_by_group.trace,
        texts_by_group: metered.texts_by_group.trace,
        totals: totals.trace,
        postings: postings.trace,
        accounts: accounts.trace,
        quarantine: quarantine.trace,
    };
    (inputs, traces)
}
