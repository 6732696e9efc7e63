//! How much may be set aside, and declared, and what is not taken any more when that is full.

use trueup_model::backfill;
use trueup_model::fact::Declaration;
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

    /// Takes what a producer says to have sent, if it says so of an hour of before or there is room for another.
    pub(super) fn declare(&mut self, proposal: &mut Proposal, declaration: Declaration) -> Result<(), DoorError> {
        let (declared, max) = (&proposal.books.declared, self.acceptance.declared_max);
        if declared.len() >= max && !declared.contains_key(&declaration.arrival) {
            return Err(DoorError::DeclaredFull { max });
        }
        proposal.take_declaration(declaration, &mut self.origins);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trueup_model::arrival::{Arrival, Origin};

    use super::*;
    use crate::engine::clock::Clock;
    use crate::engine::door::{Acceptance, Submission};
    use crate::engine::{Engine, Setup};

    #[test]
    fn what_is_declared_has_a_bound_and_what_was_declared_can_be_corrected() {
        let acceptance = Acceptance { declared_max: 2, ..Acceptance::default() };
        let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
        let declare = |partition: &str, events| {
            let origin = Origin { source: "http".to_owned(), partition: partition.to_owned() };
            let arrival = Arrival::at(Arc::new(origin), 0);
            engine.accept(vec![Submission::Declaration(Declaration { arrival, events })]).map(|_| ())
        };
        assert!([declare("0", 1), declare("1", 1)].iter().all(Result::is_ok));
        assert!(declare("2", 1).is_err_and(|error| error.is_full()));
        assert!(declare("1", 2).is_ok());
        let declared = &engine.books().declared;
        assert_eq!(declared.values().copied().collect::<Vec<u64>>(), [1, 2]);
    }
}
