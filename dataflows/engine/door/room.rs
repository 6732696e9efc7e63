//! How much may be set aside, and what is not taken any more when that is full.

use trueup_model::arrival::Origin;
use trueup_model::usage::{EventBatch, Refused};

use super::{Door, DoorError, Proposal};
use crate::engine::set_aside::Contradictions;

impl Door {
    /// How many inputs more may be set aside.
    pub fn quarantine_room(&self) -> u64 {
        self.acceptance.quarantined_max.saturating_sub(self.standing_aside())
    }

    /// Where contradictions are counted.
    pub fn contradictions(&self) -> &Contradictions {
        &self.contradictions
    }

    /// How many inputs stand in quarantine.
    fn standing_aside(&self) -> u64 {
        self.quarantined + self.contradictions.standing()
    }

    /// Sets inputs aside, if there is room for them.
    pub(super) fn set_aside(&mut self, proposal: &mut Proposal, refused: Vec<Refused>) -> Result<(), DoorError> {
        let more = proposal.set_aside() + refused.len() as u64;
        if !refused.is_empty() && more > self.quarantine_room() {
            let (standing, max) = (self.standing_aside(), self.acceptance.quarantined_max);
            return Err(DoorError::QuarantineFull { standing, more, max });
        }
        proposal.take_refused(refused, &mut self.origins);
        Ok(())
    }

    /// Refuses events where there is no room for one that contradicts. Which does is found behind the journal, so
    /// nothing is taken by a way that brought some before.
    pub(super) fn has_room_for_contradictions(&self, batch: &EventBatch) -> Result<(), DoorError> {
        if batch.rows.is_empty() || self.quarantine_room() > 0 {
            return Ok(());
        }
        let way = Origin { source: batch.source.clone(), partition: batch.partition.clone() };
        match self.contradictions.by(&way) {
            0 => Ok(()),
            contradicting => {
                let (standing, max) = (self.standing_aside(), self.acceptance.quarantined_max);
                Err(DoorError::Contradicting { standing, contradicting, way: way.source, max })
            }
        }
    }
}
