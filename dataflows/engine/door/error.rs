//! Why the door did not accept an epoch: a sentence for whoever submitted it, with what to do.

use trueup_connectors::journal::JournalError;
use trueup_model::catalog::CatalogError;

use crate::engine::clock::ClockError;
use crate::engine::publication::Stopped;

/// Why an epoch was not accepted; then nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The catalog does not allow a change.
    #[error("{error}")]
    Catalog {
        /// Which of the changes that came together.
        index: usize,
        /// Why.
        error: CatalogError,
    },
    /// Events were read by layouts that are no longer those of the catalog.
    #[error("the catalog changed while these events were read: read them again")]
    StaleLayouts,
    /// A document names something that is not there.
    #[error("document {number} cannot be issued: {why}")]
    Document {
        /// Its number.
        number: String,
        /// Why.
        why: String,
    },
    /// A backfill cannot be applied, or taken back.
    #[error("backfill '{name}' {why}")]
    Backfill {
        /// Its name.
        name: String,
        /// Why, and what to do.
        why: String,
    },
    /// There is no room for what would be set aside.
    #[error(
        "{standing} inputs stand in quarantine, {more} more cannot be counted, and {max} is the most that is kept: mend \
         them where they come from; read again what can be by `trueup quarantine replay`, or raise `quarantine_inputs` \
         in trueup.toml and start again"
    )]
    QuarantineFull {
        /// How many are there.
        standing: u64,
        /// How many would come.
        more: u64,
        /// How many there may be.
        max: u64,
    },
    /// A source contradicted as often as may be.
    #[error(
        "{standing} events that came by {source_name} say something else than what stands, and {max} is the most that \
         is kept of one source, so it brings nothing more: let another source send what is meant under greater \
         revisions, which settles them, or raise `quarantine_inputs` in trueup.toml and start again"
    )]
    Contradicting {
        /// How many contradictions of it stand.
        standing: u64,
        /// The source.
        source_name: String,
        /// How many there may be.
        max: u64,
    },
    /// It is declared of as many hours as may be.
    #[error(
        "of {max} hours of ways in it is declared already how much was sent, and more are not kept: leave out hours in \
         which nothing was sent, and parts of sources that need not be told apart"
    )]
    DeclaredFull {
        /// How many there may be.
        max: usize,
    },
    /// Time is told to an engine that reads it from the machine.
    #[error(
        "this engine takes its time from the machine's clock: start one whose time is told, or leave the clock out"
    )]
    WallClock,
    /// Time is told that no calendar covers.
    #[error("the clock cannot be set to {at}: calendars end with the year 2099")]
    ClockTooFar {
        /// The time that was told.
        at: String,
    },
    /// The machine's clock is not plausible, and the billing clock does not follow it.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The journal did not take it. If it failed while it was to make an epoch durable, nobody
    /// knows whether the epoch is: whatever is sent again counts once.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine takes nothing any more.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl DoorError {
    /// Whether there is no room for what it brings, in the quarantine or beside the ledger.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            DoorError::QuarantineFull { .. } | DoorError::Contradicting { .. } | DoorError::DeclaredFull { .. }
        )
    }
}
