//! Brings the runs of an arrangement and the turns of the books together, epoch by epoch.
//!
//! Law: an epoch is given out once, after everything at it has come from both sides, and never
//! before an earlier one. A capability is held only for what is still to be given out, and of the
//! trace only what is still to be told apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::trace::{Span, TraceReader};
use timely::PartialOrder;
use timely::communication::Pull;
use timely::dataflow::channels::Message;
use timely::dataflow::operators::generic::InputHandleCore;
use timely::dataflow::operators::{Capability, CapabilitySet};
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use trueup_model::books::Turn;
use trueup_model::fact::Epoch;

use crate::arrange::{Trace, epochs};
use crate::run::Run;

/// What came at one epoch.
pub struct Step<K, V, R> {
    /// The epoch.
    pub epoch: Epoch,
    /// The right to send at it.
    pub capability: Capability<Epoch>,
    /// Runs that hold updates at it, among others.
    pub runs: Vec<Run<K, V, R>>,
    /// The books from here on, if they turned.
    pub turn: Option<Arc<Turn>>,
}

/// Runs and a turn that wait for the rest of their epoch.
type Waiting<K, V, R> = (Vec<Run<K, V, R>>, Option<Arc<Turn>>);
type Spans<K, V, R> = Vec<Span<Epoch, Run<K, V, R>>>;
type Turns = Vec<(Epoch, Arc<Turn>)>;

/// An arrangement that is followed: what has come of it and is not given out, and its trace.
pub struct InOrder<K, V, R>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    trace: Trace<K, V, R>,
    waiting: BTreeMap<Epoch, Waiting<K, V, R>>,
    capabilities: CapabilitySet<Epoch>,
    /// The upper bound of the runs that came.
    upper: Antichain<Epoch>,
    /// Up to where the trace was told to merge: its times, and its batches.
    let_go: (Antichain<Epoch>, Antichain<Epoch>),
}

impl<K, V, R> InOrder<K, V, R>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Semigroup,
{
    /// Follows the arrangement of this trace from here on.
    pub fn new(mut trace: Trace<K, V, R>) -> InOrder<K, V, R> {
        let mut upper = Antichain::new();
        trace.read_upper(&mut upper);
        let start = || Antichain::from_elem(0);
        let let_go = (start(), start());
        InOrder { trace, waiting: BTreeMap::new(), capabilities: CapabilitySet::new(), upper, let_go }
    }

    /// Takes what came on both inputs.
    pub fn receive<P, Q>(
        &mut self,
        spans: &mut InputHandleCore<Epoch, Spans<K, V, R>, P>,
        turns: &mut InputHandleCore<Epoch, Turns, Q>,
    ) where
        P: Pull<Message<Epoch, Spans<K, V, R>>>,
        Q: Pull<Message<Epoch, Turns>>,
    {
        spans.for_each(|cap, spans| {
            self.hold(&cap.retain_stamp(0));
            spans.drain(..).for_each(|span| self.take_span(span));
        });
        turns.for_each(|cap, turns| {
            self.hold(&cap.retain_stamp(0));
            turns.drain(..).for_each(|(epoch, turn)| self.waiting.entry(epoch).or_default().1 = Some(turn));
        });
    }

    fn hold(&mut self, capabilities: &CapabilitySet<Epoch>) {
        for capability in capabilities.iter() {
            self.capabilities.insert(capability.clone());
        }
    }

    /// Takes a span. Its run is asked for its epochs only where the span leaves more than one
    /// possible.
    fn take_span(&mut self, span: Span<Epoch, Run<K, V, R>>) {
        self.upper.clone_from(span.upper());
        let Some(run) = span.inner.clone() else { return };
        let lower = span.lower().as_option().copied().unwrap_or_default();
        let is_single = span.upper().as_option() == Some(&(lower + 1));
        let epochs = if is_single { vec![lower] } else { epochs(&run) };
        for epoch in epochs {
            self.waiting.entry(epoch).or_default().0.push(run.clone());
        }
    }

    /// The next epoch for which both sides are complete.
    pub fn next(&mut self, frontiers: [&MutableAntichain<Epoch>; 2]) -> Option<Step<K, V, R>> {
        let epoch = *self.waiting.keys().next()?;
        if frontiers.iter().any(|frontier| frontier.less_equal(&epoch)) {
            return None;
        }
        let (runs, turn) = self.waiting.remove(&epoch)?;
        let capability = self.capabilities.iter().find(|capability| capability.time().less_equal(&epoch));
        let capability = capability.expect("a capability came with whatever waits").delayed(&epoch);
        Some(Step { epoch, capability, runs, turn })
    }

    /// All runs that came.
    pub fn runs(&mut self) -> Vec<Run<K, V, R>> {
        self.trace.advance_upper(&mut self.upper);
        let runs = self.trace.batches_through(self.upper.borrow());
        runs.expect("runs meet at each upper that was announced")
    }

    /// Lets go of capabilities that nothing needs any more, and lets the trace merge what need
    /// not be told apart any more.
    pub fn let_go(&mut self, turns: &MutableAntichain<Epoch>) {
        match self.waiting.keys().next() {
            Some(&epoch) => self.capabilities.downgrade([epoch]),
            None => self.capabilities.downgrade(Vec::<Epoch>::new()),
        }
        self.trace.advance_upper(&mut self.upper);
        // The trace is told only news: each call costs it some work.
        let news = (self.since(turns), self.upper.clone());
        if news != self.let_go {
            self.trace.set_logical_compaction(news.0.borrow());
            self.trace.set_physical_compaction(news.1.borrow());
            self.let_go = news;
        }
    }

    /// The last epoch that need not be told apart from those before it: whatever is given out
    /// next, only the epoch before it and later ones will be read.
    fn since(&self, turns: &MutableAntichain<Epoch>) -> Antichain<Epoch> {
        let waiting = self.waiting.keys().next().copied();
        let upper = self.upper.as_option().copied();
        let to_come = turns.frontier().first().copied();
        let next = [waiting, upper, to_come].into_iter().flatten().min();
        next.map_or_else(Antichain::new, |next| Antichain::from_elem(next.saturating_sub(1)))
    }
}
