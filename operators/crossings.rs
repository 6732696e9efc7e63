//! Changes of quota states in, crossings out.
//!
//! Law: a group has a crossing at an epoch exactly if its level at that epoch differs from its
//! level at the epoch before; a group without a state counts as ok. Crossings are never taken
//! back: usage that is withdrawn crosses back, visibly. State: the changes of epochs that are
//! not complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::Operator;

use trueup_model::books::Turn;
use trueup_model::charge::{Crossing, Group, QuotaState};
use trueup_model::fact::Epoch;
use trueup_model::grain::Micros;

/// Finds crossings; all changes of a group must come to the same worker.
pub fn crossings<'scope>(
    states: StreamVec<'scope, Epoch, (QuotaState, Epoch, i64)>,
    turns: StreamVec<'scope, Epoch, (Epoch, Arc<Turn>)>,
) -> StreamVec<'scope, Epoch, (Crossing, Epoch, i64)> {
    states.binary_frontier(turns, Pipeline, Pipeline, "Crossings: compare levels", |_, _| {
        let mut changes: BTreeMap<Epoch, BTreeMap<Group, Change>> = BTreeMap::new();
        // What the billing clock showed at epochs that are not complete, and at the last one.
        let mut clocks: BTreeMap<Epoch, Micros> = BTreeMap::from([(0, 0)]);
        let mut capabilities = CapabilitySet::new();
        move |(input, frontier), (turns, turns_frontier), output| {
            input.for_each(|cap, data| {
                cap.retain_stamp(0).iter().for_each(|cap| capabilities.insert(cap.clone()));
                for (state, epoch, diff) in data.drain(..) {
                    changes.entry(epoch).or_default().entry(state.group).or_default().add(state, diff);
                }
            });
            turns.for_each(|_, data| clocks.extend(data.drain(..).map(|(epoch, turn)| (epoch, turn.books.clock))));
            let is_open = |epoch: &Epoch| frontier.less_equal(epoch) || turns_frontier.less_equal(epoch);
            while let Some(entry) = changes.first_entry().filter(|entry| !is_open(entry.key())) {
                let (epoch, groups) = entry.remove_entry();
                let capability = capabilities.iter().find(|cap| *cap.time() <= epoch);
                let capability = capability.expect("a capability came with the change").delayed(&epoch);
                let mut session = output.session(&capability);
                let at = clocks.range(..=epoch).next_back().map_or(0, |(_, &clock)| clock);
                let crossings = groups.into_values().filter_map(|change| change.crossing(epoch, at));
                session.give_iterator(crossings.map(|crossing| (crossing, epoch, 1)));
            }
            capabilities.downgrade(changes.keys().next().copied());
            while clocks.len() > 1 && clocks.keys().nth(1).is_some_and(|next| !is_open(next)) {
                clocks.pop_first();
            }
        }
    })
}

/// What a group's state was and what it is.
#[derive(Default)]
struct Change {
    gone: Option<QuotaState>,
    come: Option<QuotaState>,
}

impl Change {
    fn add(&mut self, state: QuotaState, diff: i64) {
        if diff < 0 { self.gone = Some(state) } else { self.come = Some(state) }
    }

    fn crossing(self, epoch: Epoch, at: Micros) -> Option<Crossing> {
        let level = |state: &Option<QuotaState>| state.map(|state| state.level).unwrap_or_default();
        let (from, to) = (level(&self.gone), level(&self.come));
        let state = self.come.or(self.gone)?;
        let used = self.come.map_or(0, |state| state.used);
        (from != to).then_some(Crossing { group: state.group, epoch, at, from, to, used, limit: state.limit })
    }
}
