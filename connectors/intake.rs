//! Where events go that come in over the network: the seam between senders and the engine.

use std::sync::Arc;

use crate::quarantine::Quarantine;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use trueup_model::fact::{Declaration, Epoch};
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, Refused};

/// Takes events in.
pub trait Intake: Send + Sync + 'static {
    /// By which layouts events are to be read now.
    fn layouts(&self) -> Arc<Layouts>;

    /// How far a source had been read, in its own words, by all that is in the journal now.
    fn read_to(&self, source: &str) -> Option<String>;

    /// Hands events in, and how far their sources are read with them: both enter in the same
    /// epoch, or neither does. The answer comes when they are in the journal: what it counts
    /// outlives a crash. Batches that wait together may enter as one epoch.
    fn hand_in(&self, batch: EventBatch, read_to: Vec<Position>) -> BoxFuture<'_, Result<Taken, HandInError>> {
        self.hand_in_parts(vec![batch], read_to)
    }

    /// The same of several batches, such as one for each partition of a topic: all enter in the same
    /// epoch, or none does, and the answer is about all of them.
    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>>;

    /// Hands in what producers say to have sent. The answer comes when it is in the journal. Where
    /// nobody keeps a ledger, there is nobody to tell.
    fn declare(&self, _declarations: Vec<Declaration>) -> BoxFuture<'_, Result<Epoch, HandInError>> {
        let why = "nobody keeps a ledger here: declare to the server that takes the events";
        Box::pin(async move { Err(HandInError::Unable(why.to_owned())) })
    }

    /// What was set aside, where that can be looked at.
    fn quarantine(&self) -> Option<&dyn Quarantine> {
        None
    }
}

/// How far a source has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The source, by its name.
    pub source: String,
    /// How far, in its own words.
    pub at: String,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The epoch at which it came in, by which the views can be read.
    pub epoch: Epoch,
    /// How many events passed; each counts once, however often it is sent.
    pub events: u64,
    /// What was set aside at once. Contradictions are found later, and stand in the quarantine.
    pub refused: Vec<Arc<Refused>>,
}

impl Taken {
    /// What a sender is told, as JSON: the epoch, how many events passed, how many were set aside,
    /// and the first of those one by one.
    pub fn told(&self, named_max: usize) -> Value {
        let named = self.refused.iter().take(named_max).map(|refused| {
            json!({
                "position": refused.position,
                "source": refused.event_source,
                "id": refused.event_id,
                "reason": refused.reason.name(),
                "detail": refused.detail,
            })
        });
        json!({
            "epoch": self.epoch,
            "taken": self.events,
            "set_aside": self.refused.len(),
            "refused": named.collect::<Vec<_>>(),
        })
    }
}

/// Why a batch was not taken. It is safe to hand the same in again: nothing counts twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandInError {
    /// The catalog changed since it was read.
    #[error("the catalog changed while these events were read: read them again")]
    Stale,
    /// Not now: the disk has no room, the clock is not plausible, or something else is under way that it would wait
    /// for.
    #[error("{0}")]
    Unable(String),
    /// There is no room for what would be set aside of it; a batch that can be read is taken, unless its
    /// source contradicted as often as may be.
    #[error("{0}")]
    Full(String),
    /// The engine is gone.
    #[error("{0}")]
    Stopped(String),
}
