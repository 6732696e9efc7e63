//! Brings the batches of an arrangement and the turns of the books together, epoch by epoch.
//!
//! Law: an epoch is given out once, after everything at it has come from both sides, and never
//! before an earlier one. A capability is held only for what is still to be given out.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::trace::{Span, TraceReader};
use timely::PartialOrder;
use timely::dataflow::operators::{Capability, CapabilitySet};
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use trueup_model::books::Turn;
use trueup_model::fact::Epoch;

/// What came at one epoch.
pub struct Step<B> {
    /// The epoch.
    pub epoch: Epoch,
    /// The right to send at it.
    pub capability: Capability<Epoch>,
    /// Batches that hold updates at it, among others.
    pub batches: Vec<B>,
    /// The books from here on, if they turned.
    pub turn: Option<Arc<Turn>>,
}

/// What has come and is not given out.
pub struct InOrder<B> {
    waiting: BTreeMap<Epoch, (Vec<B>, Option<Arc<Turn>>)>,
    capabilities: CapabilitySet<Epoch>,
    upper: Antichain<Epoch>,
    /// Up to where the trace was told to merge: its times, and its batches.
    let_go: (Antichain<Epoch>, Antichain<Epoch>),
}

impl<B> Default for InOrder<B> {
    fn default() -> Self {
        let start = || Antichain::from_elem(0);
        InOrder {
            waiting: BTreeMap::new(),
            capabilities: CapabilitySet::new(),
            upper: start(),
            let_go: (start(), start()),
        }
    }
}

impl<B: Clone> InOrder<B> {
    /// Takes the capabilities of a message.
    pub fn hold(&mut self, capabilities: &CapabilitySet<Epoch>) {
        for capability in capabilities.iter() {
            self.capabilities.insert(capability.clone());
        }
    }

    /// Takes a span; `epochs` tells the times in a batch, and is asked only where the span
    /// leaves more than one possible.
    pub fn batch(&mut self, span: Span<Epoch, B>, epochs: impl FnOnce(&B) -> Vec<Epoch>) {
        self.upper.clone_from(span.upper());
        let Some(batch) = span.inner.clone() else { return };
        let lower = span.lower().as_option().copied().unwrap_or_default();
        let is_single = span.upper().as_option() == Some(&(lower + 1));
        let epochs = if is_single { vec![lower] } else { epochs(&batch) };
        for epoch in epochs {
            self.waiting.entry(epoch).or_default().0.push(batch.clone());
        }
    }

    /// Takes a turn of the books.
    pub fn turn(&mut self, epoch: Epoch, turn: Arc<Turn>) {
        self.waiting.entry(epoch).or_default().1 = Some(turn);
    }

    /// The upper bound of the batches that came.
    pub fn upper(&mut self) -> &mut Antichain<Epoch> {
        &mut self.upper
    }

    /// The next epoch for which both sides are complete.
    pub fn next(&mut self, frontiers: [&MutableAntichain<Epoch>; 2]) -> Option<Step<B>> {
        let epoch = *self.waiting.keys().next()?;
        if frontiers.iter().any(|frontier| frontier.less_equal(&epoch)) {
            return None;
        }
        let (batches, turn) = self.waiting.remove(&epoch)?;
        let capability = self.capabilities.iter().find(|capability| capability.time().less_equal(&epoch));
        let capability = capability.expect("a capability came with whatever waits").delayed(&epoch);
        Some(Step { epoch, capability, batches, turn })
    }

    /// Lets go of capabilities that nothing needs any more.
    pub fn release(&mut self) {
        match self.waiting.keys().next() {
            Some(&epoch) => self.capabilities.downgrade([epoch]),
            None => self.capabilities.downgrade(Vec::<Epoch>::new()),
        }
    }

    /// Lets the trace merge what need not be told apart any more. Tells it only news: each call
    /// costs it some work.
    pub fn let_go(&mut self, trace: &mut impl TraceReader<Time = Epoch>, turns: &MutableAntichain<Epoch>) {
        let news = (self.since(turns), self.upper.clone());
        if news != self.let_go {
            trace.set_logical_compaction(news.0.borrow());
            trace.set_physical_compaction(news.1.borrow());
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
