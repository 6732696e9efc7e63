//! Changes of quota states in, crossings out.
//!
//! Law: a group has a crossing at an epoch exactly if its level at that epoch differs from its
//! level at the epoch before; a group without a state counts as ok. Crossings are never taken
//! back: usage that is withdrawn crosses back, visibly. State: the changes of epochs that are
//! not complete.

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::Operator;

use trueup_model::charge::{Crossing, Group, QuotaState};
use trueup_model::fact::Epoch;

/// Finds crossings; all changes of a group must come to the same worker.
pub fn crossings<'scope>(
    states: StreamVec<'scope, Epoch, (QuotaState, Epoch, i64)>,
) -> StreamVec<'scope, Epoch, (Crossing, Epoch, i64)> {
    states.unary_frontier(Pipeline, "Crossings: compare levels", |_, _| {
        let mut changes: BTreeMap<Epoch, BTreeMap<Group, Change>> = BTreeMap::new();
        let mut capabilities = CapabilitySet::new();
        move |(input, frontier), output| {
            input.for_each(|cap, data| {
                cap.retain_stamp(0).iter().for_each(|cap| capabilities.insert(cap.clone()));
                for (state, epoch, diff) in data.drain(..) {
                    changes.entry(epoch).or_default().entry(state.group).or_default().add(state, diff);
                }
            });
            while let Some(entry) = changes.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (epoch, groups) = entry.remove_entry();
                let capability = capabilities.iter().find(|cap| *cap.time() <= epoch);
                let capability = capability.expect("a capability came with the change").delayed(&epoch);
                let mut session = output.session(&capability);
                let crossings = groups.into_values().filter_map(|change| change.crossing(epoch));
                session.give_iterator(crossings.map(|crossing| (crossing, epoch, 1)));
            }
            capabilities.downgrade(changes.keys().next().copied());
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

    fn crossing(self, epoch: Epoch) -> Option<Crossing> {
        let level = |state: &Option<QuotaState>| state.map(|state| state.level).unwrap_or_default();
        let (from, to) = (level(&self.gone), level(&self.come));
        let state = self.come.or(self.gone)?;
        let used = self.come.map_or(0, |state| state.used);
        (from != to).then_some(Crossing { group: state.group, epoch, from, to, used, limit: state.limit })
    }
}
