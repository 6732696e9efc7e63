//! The whole dataflow, built the same way on every worker.
//!
//! ```text
//!  intake ── metering ── totals ─┬─ rating ── invoicing ── invoices, corrections
//!  turns ──────┴── agenda ──┘    └─ entitlements ── quotas, crossings
//! ```

use std::sync::Arc;

use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::implementations::spine_fueled::{Spine, SpineBatch};
use timely::dataflow::operators::vec::{Input, Map};
use timely::dataflow::operators::{Concat, Probe, probe};
use timely::dataflow::{InputHandleVec, Scope, StreamVec};
use timely::progress::Antichain;

use trueup_model::books::Turn;
use trueup_model::charge::{Charge, Crossing, Group, Invoice, QuotaState};
use trueup_model::fact::Epoch;
use trueup_model::grain::{Grain, Micros};
use trueup_model::metering::UsageKey;
use trueup_model::usage::{Reason, Refused};
use trueup_operators::agenda::agenda;
use trueup_operators::arrange::{Records, arrange_by_self, arrange_here};
use trueup_operators::deduplicate::{Conflict, Intake, State};
use trueup_operators::shared::{KeyBatch, KeyTrace, Snapshot, ValBatch, ValTrace};
use trueup_operators::total::{Gap, Total};

use crate::entitlements::entitlements;
use crate::invoicing::invoicing;
use crate::metering::metering;
use crate::rating::{rating, totals};

/// What a worker is fed at one epoch.
#[derive(Clone, Debug, Default)]
pub struct EpochInput {
    /// The epoch.
    pub epoch: Epoch,
    /// Events and meterings, in order.
    pub intake: Vec<Intake>,
    /// The books from here on.
    pub turn: Arc<Turn>,
    /// Inputs that were set aside.
    pub refused: Vec<Arc<Refused>>,
    /// The lines of documents issued at this epoch.
    pub issued: Vec<((Group, Grain), Gap)>,
}

/// A set-aside input, in the order of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarantined {
    /// The epoch that brought it.
    pub epoch: Epoch,
    /// Its place among those of the epoch: inputs first, then contradictions by row.
    pub place: u64,
    /// When it was received, by the billing clock.
    pub received_at: Micros,
    /// What and why.
    pub refused: Arc<Refused>,
}

/// The inputs of one worker.
pub struct Inputs {
    intake: InputHandleVec<Epoch, (Epoch, Intake)>,
    turns: InputHandleVec<Epoch, (Epoch, Arc<Turn>)>,
    refused: InputHandleVec<Epoch, Quarantined>,
    issued: InputHandleVec<Epoch, ((Group, Grain), Epoch, Gap)>,
}

impl Inputs {
    /// Feeds an epoch and closes it. What concerns all workers alike but must count once is fed
    /// by the first.
    pub fn feed(&mut self, input: &EpochInput, is_first: bool) {
        let epoch = input.epoch;
        self.advance_to(epoch);
        self.turns.send((epoch, input.turn.clone()));
        for intake in &input.intake {
            self.intake.send((epoch, intake.clone()));
        }
        if is_first {
            for (place, refused) in input.refused.iter().enumerate() {
                let received_at = input.turn.books.clock;
                self.refused.send(Quarantined { epoch, place: place as u64, received_at, refused: refused.clone() });
            }
            for (line, gap) in &input.issued {
                self.issued.send((*line, epoch, *gap));
            }
        }
        self.advance_to(epoch + 1);
    }

    fn advance_to(&mut self, epoch: Epoch) {
        self.intake.advance_to(epoch);
        self.turns.advance_to(epoch);
        self.refused.advance_to(epoch);
        self.issued.advance_to(epoch);
    }
}

/// The arrangements that are read, as handles on one worker.
pub struct Traces {
    usage: TraceAgent<KeyTrace<UsageKey, Total>>,
    texts: TraceAgent<ValTrace<(UsageKey, u32), (), i64>>,
    totals: TraceAgent<ValTrace<Group, Grain, Total>>,
    charges: TraceAgent<KeyTrace<Charge, i64>>,
    quotas: TraceAgent<KeyTrace<QuotaState, i64>>,
    crossings: TraceAgent<KeyTrace<Crossing, i64>>,
    invoices: TraceAgent<KeyTrace<Invoice, i64>>,
    corrections: TraceAgent<KeyTrace<(Group, Grain), Gap>>,
    states: TraceAgent<KeyTrace<State, i64>>,
    quarantine: TraceAgent<KeyTrace<Quarantined, i64>>,
    alarms: TraceAgent<KeyTrace<Group, i64>>,
}

/// The same arrangements as of one frontier, to be read anywhere.
#[derive(Clone)]
pub struct Snapshots {
    /// Usage by subject, series and grain.
    pub usage: Snapshot<KeyBatch<UsageKey, Total>>,
    /// The texts of unique counts.
    pub texts: Snapshot<ValBatch<(UsageKey, u32), (), i64>>,
    /// Totals by group and service period.
    pub totals: Snapshot<ValBatch<Group, Grain, Total>>,
    /// Charges.
    pub charges: Snapshot<KeyBatch<Charge, i64>>,
    /// Quota states.
    pub quotas: Snapshot<KeyBatch<QuotaState, i64>>,
    /// Quota crossings.
    pub crossings: Snapshot<KeyBatch<Crossing, i64>>,
    /// Invoices.
    pub invoices: Snapshot<KeyBatch<Invoice, i64>>,
    /// Corrections by line.
    pub corrections: Snapshot<KeyBatch<(Group, Grain), Gap>>,
    /// Numbers of events by state.
    pub states: Snapshot<KeyBatch<State, i64>>,
    /// The quarantine.
    pub quarantine: Snapshot<KeyBatch<Quarantined, i64>>,
    /// Groups whose amount is beyond what can be kept.
    pub alarms: Snapshot<KeyBatch<Group, i64>>,
}

impl Traces {
    /// The arrangements as of `epoch`, which is complete.
    pub fn snapshots(&mut self, epoch: Epoch) -> Snapshots {
        Snapshots {
            usage: snapshot(&mut self.usage, epoch),
            texts: snapshot(&mut self.texts, epoch),
            totals: snapshot(&mut self.totals, epoch),
            charges: snapshot(&mut self.charges, epoch),
            quotas: snapshot(&mut self.quotas, epoch),
            crossings: snapshot(&mut self.crossings, epoch),
            invoices: snapshot(&mut self.invoices, epoch),
            corrections: snapshot(&mut self.corrections, epoch),
            states: snapshot(&mut self.states, epoch),
            quarantine: snapshot(&mut self.quarantine, epoch),
            alarms: snapshot(&mut self.alarms, epoch),
        }
    }

    /// Lets go of the difference between times up to `since`; later snapshots begin after
    /// `epoch`.
    pub fn forget(&mut self, since: Epoch, epoch: Epoch) {
        forget(&mut self.usage, since, epoch);
        forget(&mut self.texts, since, epoch);
        forget(&mut self.totals, since, epoch);
        forget(&mut self.charges, since, epoch);
        forget(&mut self.quotas, since, epoch);
        forget(&mut self.crossings, since, epoch);
        forget(&mut self.invoices, since, epoch);
        forget(&mut self.corrections, since, epoch);
        forget(&mut self.states, since, epoch);
        forget(&mut self.quarantine, since, epoch);
        forget(&mut self.alarms, since, epoch);
    }
}

fn snapshot<B>(trace: &mut TraceAgent<Spine<B>>, epoch: Epoch) -> Snapshot<B>
where
    B: SpineBatch<Time = Epoch> + Clone + 'static,
{
    let through = Antichain::from_elem(epoch + 1);
    let spans = trace.spans_through(through.borrow());
    Snapshot::new(spans.expect("spans meet after each complete epoch"))
}

fn forget<B>(trace: &mut TraceAgent<Spine<B>>, since: Epoch, epoch: Epoch)
where
    B: SpineBatch<Time = Epoch> + Clone + 'static,
{
    trace.set_logical_compaction(Antichain::from_elem(since).borrow());
    trace.set_physical_compaction(Antichain::from_elem(epoch + 1).borrow());
}

/// Builds the dataflow on one worker. The probe tells when an epoch is complete in all views.
pub fn build(scope: Scope<'_, Epoch>, worker: usize, workers: usize) -> (Inputs, Traces, probe::Handle<Epoch>) {
    let (intake_input, intake) = scope.new_input();
    let (turns_input, turns) = scope.new_input();
    let (refused_input, refused) = scope.new_input();
    let (issued_input, issued) = scope.new_input();

    let metered = metering(intake, turns.clone(), worker, workers);
    let totals = totals(metered.targets, agenda(turns.clone(), worker, workers));
    let rated = rating(totals.clone(), turns.clone());
    let entitled = entitlements(totals.clone(), turns.clone());
    let invoiced = invoicing(rated.charges, issued, turns);

    let refused_states = refused.clone().map(|quarantined: Quarantined| (State::Quarantined, quarantined.epoch, 1));
    let states = arrange_by_self(metered.states.concat(refused_states), "Ledger: events by state", place_of_state);
    let quarantine = quarantine(refused, metered.conflicts);
    let quarantine = arrange_here(quarantine, "Quarantine: what was set aside");
    let alarms = arrange_here(rated.alarms, "Alarms: amounts beyond what can be kept");
    let quotas = arrange_here(entitled.quotas, "Quotas: what they stand at");
    let crossings = arrange_here(entitled.crossings, "Crossings: changes of level");
    let invoices = arrange_here(invoiced.invoices, "Invoices: drafts and issued");

    let probe = probe::Handle::new();
    metered.usage.stream.probe_with(&probe);
    metered.texts.stream.probe_with(&probe);
    totals.stream.probe_with(&probe);
    invoiced.charges.stream.probe_with(&probe);
    invoiced.corrections.stream.probe_with(&probe);
    states.stream.probe_with(&probe);
    quarantine.stream.probe_with(&probe);
    alarms.stream.probe_with(&probe);
    quotas.stream.probe_with(&probe);
    crossings.stream.probe_with(&probe);
    invoices.stream.probe_with(&probe);

    let inputs = Inputs { intake: intake_input, turns: turns_input, refused: refused_input, issued: issued_input };
    let traces = Traces {
        usage: metered.usage.trace,
        texts: metered.texts.trace,
        totals: totals.trace,
        charges: invoiced.charges.trace,
        quotas: quotas.trace,
        crossings: crossings.trace,
        invoices: invoices.trace,
        corrections: invoiced.corrections.trace,
        states: states.trace,
        quarantine: quarantine.trace,
        alarms: alarms.trace,
    };
    (inputs, traces, probe)
}

/// What was set aside at the door, and what contradicts what stands.
fn quarantine<'scope>(
    refused: StreamVec<'scope, Epoch, Quarantined>,
    conflicts: StreamVec<'scope, Epoch, (Epoch, Conflict)>,
) -> Records<'scope, Quarantined, i64> {
    let refused = refused.map(|quarantined| {
        let epoch = quarantined.epoch;
        (quarantined, epoch, 1)
    });
    let conflicts = conflicts.map(|(epoch, conflict)| (contradiction(epoch, &conflict), epoch, 1));
    refused.concat(conflicts)
}

/// Contradictions come after the inputs that the door set aside.
const CONFLICTS_FROM: u64 = 1 << 40;

fn contradiction(epoch: Epoch, conflict: &Conflict) -> Quarantined {
    let (batch, place) = &conflict.refused;
    let number = batch.first_row + u64::from(*place);
    let (standing_batch, standing_place) = &conflict.standing;
    let (row, standing) = (&batch.rows[*place as usize], &standing_batch.rows[*standing_place as usize]);
    let sent = batch.ids.get(*place as usize);
    let detail = format!(
        "revision {} of this event was accepted before with other content (digest {:016x}, this one {:016x}): \
         send what is meant under a greater revision",
        row.revision,
        standing_batch.content_digest(standing),
        batch.content_digest(row),
    );
    let refused = Refused {
        source: "events".to_owned(),
        position: format!("accepted row {number}"),
        event_source: sent.map(|(source, _)| source.to_owned()),
        event_id: sent.map(|(_, id)| id.to_owned()),
        reason: Reason::Conflict,
        detail,
        payload: None,
    };
    Quarantined { epoch, place: CONFLICTS_FROM + number, received_at: batch.received_at, refused: Arc::new(refused) }
}

fn place_of_state(state: &State) -> u64 {
    match state {
        State::Standing(subject) => trueup_model::identity::stable_hash(*subject, 0),
        _ => 0,
    }
}
