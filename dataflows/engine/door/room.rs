//! How much may be set aside, and what is not taken any more when that is full.

use trueup_model::backfill;
use trueup_model::usage::{EventBatch, Refused};

use super::{Door, DoorError, Proposal};
use crate::engine::set_aside::Contradictions;

impl Door {
    /// How many inputs more may be set aside.
    pub fn quarantine_room(&self) -> u64 {
        self.acceptance.quarantined_max.saturating_sub(self.quarantined)
    }

    /// Whether so many inputs of these sources are taken whatever they say.
    pub fn has_room_for<'s>(&self, inputs: u64, mut sources: impl Iterator<Item = &'s str>) -> bool {
        let max = self.acceptance.quarantined_max;
        self.quarantine_room() >= inputs && sources.all(|source| self.contradictions.by(source) < max)
    }

    /// Where contradictions are counted.
    pub fn contradictions(&self) -> &Contradictions {
        &self.contradictions
    }

    /// Sets inputs aside, if there is room for them.
    pub(super) fn set_aside(&mut self, proposal: &mut Proposal, refused: Vec<Refused>) -> Result<(), DoorError> {
        let more = proposal.set_aside_count() + refused.len() as u64;
        if !refused.is_empty() && more > self.quarantine_room() {
            let (standing, max) = (self.quarantined, self.acceptance.quarantined_max);
            return Err(DoorError::QuarantineFull { standing, more, max });
        }
        proposal.take_refused(refused, &mut self.origins);
        Ok(())
    }

    /// Refuses events of a source that contradicted as often as may be. Which event contradicts is found behind
    /// the journal, when its sender has the answer, so it is held against those that come later. Of a backfill
    /// it is known before.
    pub(super) fn check_contradictions(&self, batch: &EventBatch) -> Result<(), DoorError> {
        let (standing, max) = (self.contradictions.by(&batch.source), self.acceptance.quarantined_max);
        if batch.rows.is_empty() || standing < max || batch.source == backfill::SOURCE {
            return Ok(());
        }
        Err(DoorError::Contradicting { standing, source_name: batch.source.clone(), max })
    }
}
