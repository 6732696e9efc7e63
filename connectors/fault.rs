//! What is wrong with one input, before it is known where the input came from.
//!
//! A fault is an answer, not an error of ours: the input goes to quarantine with it, and the
//! next one is read. Its sentence names the thing, what is wrong with it, and what to do.

use std::fmt::Display;

use thiserror::Error;
use trueup_model::usage::{Reason, Refused};

use crate::limits::{ID_BYTES_MAX, PAYLOAD_BYTES_MAX, SOURCE_BYTES_MAX, cut};

/// Why an input cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Fault {
    /// Why, by kind.
    pub reason: Reason,
    /// Why, in a sentence that names the thing and the remedy.
    pub detail: String,
}

impl Fault {
    pub(crate) fn unreadable(detail: impl Into<String>) -> Fault {
        Fault { reason: Reason::Unreadable, detail: detail.into() }
    }

    pub(crate) fn missing(detail: impl Into<String>) -> Fault {
        Fault { reason: Reason::Missing, detail: detail.into() }
    }

    pub(crate) fn out_of_range(detail: impl Into<String>) -> Fault {
        Fault { reason: Reason::OutOfRange, detail: detail.into() }
    }

    pub(crate) fn unknown_type(detail: impl Into<String>) -> Fault {
        Fault { reason: Reason::UnknownType, detail: detail.into() }
    }

    /// The refusal of an input that came in at `position` of `source`.
    pub(crate) fn at(self, source: &str, position: impl Display, sender: Sender<'_>, payload: &[u8]) -> Refused {
        Refused {
            source: source.to_owned(),
            partition: String::new(),
            position: position.to_string(),
            event_source: sender.source.map(|text| cut(text, SOURCE_BYTES_MAX).to_owned()),
            event_id: sender.id.map(|text| cut(text, ID_BYTES_MAX).to_owned()),
            reason: self.reason,
            detail: self.detail,
            payload: Some(kept_payload(payload)),
        }
    }
}

/// Who an input says to be, as far as that could be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    /// CloudEvents `source`.
    pub source: Option<&'a str>,
    /// CloudEvents `id`.
    pub id: Option<&'a str>,
}

/// The start of an input as text; bytes that are none become the replacement character.
fn kept_payload(payload: &[u8]) -> String {
    let start = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    cut(&String::from_utf8_lossy(start), PAYLOAD_BYTES_MAX).to_owned()
}
