//! What became of what was submitted.

use std::sync::Arc;

use trueup_model::fact::Epoch;
use trueup_model::usage::Refused;

/// What became of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub epoch: Epoch,
    /// What became of each submission, in their order.
    pub parts: Vec<Part>,
}

/// What became of a submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How many rows were accepted: events that passed, and what follows from a backfill.
    pub taken: u64,
    /// What was set aside, as it was read or at the door.
    pub refused: Vec<Arc<Refused>>,
    /// How many of the events before it say something else than what stands: told of backfills alone, since
    /// others are not held against what stands before they are accepted.
    pub contradicting: u64,
}

impl Receipt {
    /// How many rows were accepted.
    pub fn taken(&self) -> u64 {
        self.parts.iter().map(|part| part.taken).sum()
    }

    /// How many inputs were set aside.
    pub fn refused(&self) -> u64 {
        self.parts.iter().map(|part| part.refused.len() as u64).sum()
    }

    /// How many inputs of a backfill cannot be counted: those that were set aside, and those that
    /// contradict what stands.
    pub fn uncounted(&self) -> u64 {
        self.refused() + self.parts.iter().map(|part| part.contradicting).sum::<u64>()
    }
}
