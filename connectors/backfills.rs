//! Batches that were staged beside the journal: the seam between whoever asks and the engine.

use std::fmt;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::intake::HandInError;

/// Lets batches count that were staged, and takes them back. What was done is told as JSON.
pub trait Backfills: fmt::Debug + Send + Sync + 'static {
    /// Applies a batch as one epoch.
    fn apply(&self, name: String, terms: Terms) -> BoxFuture<'_, Result<Value, BackfillError>>;

    /// Takes back, as one epoch, what a batch brought.
    fn revert(&self, name: String) -> BoxFuture<'_, Result<Value, BackfillError>>;
}

/// On which terms a batch is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Only if this is its digest, as its preview showed it.
    pub digest: Option<String>,
    /// Also if some of its events cannot be counted; they are set aside.
    pub set_aside: bool,
}

impl Terms {
    /// Reads terms: nothing, or `{}`, are none. An error is a sentence for whoever wrote them.
    ///
    /// ```
    /// use trueup_connectors::backfills::Terms;
    /// assert_eq!(Terms::read(b""), Ok(Terms::default()));
    /// assert!(Terms::read(br#"{"digest": "00ff", "set_aside": true}"#).unwrap().set_aside);
    /// assert!(Terms::read(br#"{"force": true}"#).unwrap_err().contains("cannot be read"));
    /// ```
    pub fn read(json: &[u8]) -> Result<Terms, String> {
        if json.is_empty() {
            return Ok(Terms::default());
        }
        serde_json::from_slice(json).map_err(|error| {
            format!(
                "the terms cannot be read ({error}): send {{\"digest\": \"...\", \"set_aside\": true}}, or less of it"
            )
        })
    }
}

/// Why a backfill was not applied, or not taken back; then nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// It cannot be as it is; why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error(transparent)]
    NotNow(#[from] HandInError),
}
