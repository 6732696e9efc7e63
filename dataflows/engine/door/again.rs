//! Inputs that had been set aside, read again: what is right by now becomes usage of when it came.

use std::collections::BTreeMap;
use std::sync::Arc;

use trueup_model::arrival::{Arrival, Origin};
use trueup_model::fact::Replay;
use trueup_model::usage::Refused;

use super::{Door, DoorError, Proposal};
use crate::engine::quarantine::Again;

impl Door {
    /// Takes what can be counted by now, and says of every input what became of it. One of several
    /// events is accepted if all of them are.
    pub(super) fn take_again(&mut self, proposal: &mut Proposal, again: Again) -> Result<(), DoorError> {
        let Again { received_at, mut batch, inputs } = again;
        let origin = self.origins.shared(&Origin { source: batch.source.clone(), partition: batch.partition.clone() });
        let arrival = Arrival::at(origin, received_at);
        let (rows, ids) = (batch.rows.clone(), std::mem::take(&mut batch.ids));
        // Once to see what the door says of each, and once more without what it would set aside, which leaves no
        // names behind.
        let mark = self.dictionary.mark();
        let (_, faults) = self.usage(proposal, batch.clone(), received_at)?;
        self.dictionary.rewind(mark);
        let faults: BTreeMap<usize, Refused> = faults.into_iter().collect();
        let (mut replays, mut place) = (Vec::with_capacity(inputs.len()), 0);
        batch.rows.clear();
        for again in inputs {
            let its = place..place + again.rows;
            place += again.rows;
            let fault = faults.range(its.clone()).next();
            let still = again.still.clone().or_else(|| fault.map(|(_, fault)| (fault.reason, fault.detail.clone())));
            if again.is_unchanged(still.as_ref()) {
                continue;
            }
            if still.is_none() {
                for place in its {
                    batch.rows.push(rows[place]);
                    ids.get(place).into_iter().for_each(|(source, id)| batch.ids.push(source, id));
                }
            }
            replays.push(Replay { input: again.input, arrival: arrival.clone(), still });
        }
        if replays.is_empty() {
            return Ok(());
        }
        let (usage, _) = self.usage(proposal, batch, received_at)?;
        proposal.take_replays(replays);
        proposal.take_usage(Arc::new(usage));
        Ok(())
    }
}
