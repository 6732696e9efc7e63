//! How far a message brings its reader, said in the message's metadata as JSON.
//!
//! The same facts as in the columns, for readers that see metadata; JSON, so that any program
//! reads it without our definitions.

use serde::{Deserialize, Serialize};

use crate::reading::Epoch;

/// What one message of a subscription tells about epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The first epoch whose changes may be in this message.
    pub lower: Epoch,
    /// The epoch before which the changes in this message lie: `[lower, upper)`.
    pub upper: Epoch,
    /// Everything up to and with this epoch has been sent: ask for changes after it to resume.
    /// Missing in the middle of a snapshot or of an epoch, where nobody can resume.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resume: Option<Epoch>,
    /// Whether the rows are contents as of an epoch rather than changes.
    pub snapshot: bool,
}

impl Progress {
    /// The metadata of the message.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and truths are always JSON")
    }
}
