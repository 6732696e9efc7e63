//! What is wrong with one input, before it is known where the input came from.
//!
//! A fault is an answer, not an error of ours: the input goes to quarantine with it, and the
//! next one is read. Its sentence names the thing, what is wrong with it, and what to do.

use std::error::Error as StdError;
use std::fmt::Display;

use thiserror::Error;
use trueup_model::usage::{Reason, Refused};

use crate::limits::{EVENT_BYTES_MAX, ID_BYTES_MAX, PAYLOAD_BYTES_MAX, SOURCE_BYTES_MAX, cut};

/// An error with what caused it, in one sentence.
pub fn with_causes(error: &dyn StdError) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some libraries repeat their cause in their own words.
        let words = error.to_string();
        if !sentence.contains(&words) {
            sentence.push_str(": ");
            sentence.push_str(&words);
        }
        cause = error.source();
    }
    sentence
}

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

    pub(crate) fn breaks_schema(detail: impl Into<String>) -> Fault {
        Fault { reason: Reason::BreaksSchema, detail: detail.into() }
    }

    /// The refusal of an input that came in at `position` of `source`. One that is JSON, as far as one
    /// sees, is kept whole, to be read again.
    pub(crate) fn at(self, source: &str, position: impl Display, sender: Sender<'_>, payload: &[u8]) -> Refused {
        let whole = whole_payload(payload);
        Refused {
            source: source.to_owned(),
            partition: String::new(),
            position: position.to_string(),
            event_source: sender.source.map(|text| cut(text, SOURCE_BYTES_MAX).to_owned()),
            event_id: sender.id.map(|text| cut(text, ID_BYTES_MAX).to_owned()),
            reason: self.reason,
            detail: self.detail,
            whole: whole.is_some(),
            payload: Some(whole.unwrap_or_else(|| kept_payload(payload))),
        }
    }
}

impl Fault {
    /// The refusal of an input that is no event in JSON, such as a row of columns or a message that
    /// another gives its attributes: its beginning is kept, to be looked at.
    pub(crate) fn at_record(self, source: &str, position: impl Display, sender: Sender<'_>, payload: &[u8]) -> Refused {
        Refused { payload: Some(kept_payload(payload)), whole: false, ..self.at(source, position, sender, payload) }
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

/// An input as text, if it may be JSON and is no longer than an event may be.
fn whole_payload(payload: &[u8]) -> Option<String> {
    let is_json = payload.trim_ascii_start().starts_with(b"{") || payload.trim_ascii_start().starts_with(b"[");
    let text = if payload.len() <= EVENT_BYTES_MAX { std::str::from_utf8(payload).ok() } else { None };
    text.filter(|_| is_json).map(str::to_owned)
}

/// The start of an input as text; bytes that are none become the replacement character.
fn kept_payload(payload: &[u8]) -> String {
    let start = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    cut(&String::from_utf8_lossy(start), PAYLOAD_BYTES_MAX).to_owned()
}
