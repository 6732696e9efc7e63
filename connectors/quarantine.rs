//! What was set aside, to be looked at and read again: the seam between whoever asks and the engine.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use trueup_model::fact::{Epoch, InputId};
use trueup_model::grain::{Micros, show_micros};
use trueup_model::usage::{Reason, Refused};

use crate::intake::HandInError;

/// Shows what was set aside, and reads it again.
pub trait Quarantine: Send + Sync + 'static {
    /// An input that was set aside, whole if it was kept whole; none if there is none of this name.
    fn show(&self, input: InputId) -> BoxFuture<'_, Result<Option<SetAside>, HandInError>>;

    /// Reads what was set aside again, by the catalog and the limits of now.
    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Replayed, HandInError>>;
}

/// An input that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Which.
    pub input: InputId,
    /// When it was received, by the billing clock.
    pub received_at: Micros,
    /// What and why; why it stays so, where it was read again.
    pub refused: Refused,
    /// At which epoch it was last read again.
    pub replayed_at: Option<Epoch>,
    /// Whether it was accepted then.
    pub is_accepted: bool,
}

impl SetAside {
    /// All of it, for whoever asked.
    pub fn json(&self) -> Value {
        let SetAside { input, received_at, refused, replayed_at, is_accepted } = self;
        json!({
            "input": input.to_string(),
            "received_at": show_micros(*received_at),
            "state": if *is_accepted { "replayed" } else { "set_aside" },
            "replayed_at": replayed_at,
            "source": refused.source,
            "partition": refused.partition,
            "position": refused.position,
            "event_source": refused.event_source,
            "event_id": refused.event_id,
            "reason": refused.reason.name(),
            "detail": refused.detail,
            "payload": refused.payload,
            "whole": refused.whole,
        })
    }
}

/// Which of what is set aside: all that fits each of these that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One of these inputs; none: any.
    pub inputs: BTreeSet<InputId>,
    /// Set aside for this reason.
    pub reason: Option<Reason>,
    /// That came in by this source.
    pub source: Option<String>,
}

/// What became of inputs that were read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The last epoch that this made; none where nothing was read.
    pub epoch: Option<Epoch>,
    /// How many were accepted.
    pub accepted: u64,
    /// How many stay set aside, with the reason of now.
    pub still: u64,
    /// How many cannot be read again: they were not kept whole, or contradict what stands.
    pub unreadable: u64,
}

/// A selection as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    inputs: Vec<String>,
    reason: Option<String>,
    source: Option<String>,
}

impl Selection {
    /// Reads a selection: `{}` is all that is set aside. An error is a sentence for whoever wrote it.
    ///
    /// ```
    /// use trueup_connectors::quarantine::Selection;
    /// let selection = Selection::read(br#"{"inputs": ["12/3"], "reason": "missing"}"#).unwrap();
    /// assert_eq!(selection.inputs.len(), 1);
    /// assert!(Selection::read(br#"{"reason": "boring"}"#).unwrap_err().starts_with("`boring` is no reason"));
    /// ```
    pub fn read(json: &[u8]) -> Result<Selection, String> {
        let written: Written = serde_json::from_slice(json).map_err(|error| {
            format!(
                "the selection cannot be read ({error}): send {{\"inputs\": [\"12/3\"], \"reason\": \"missing\", \
                 \"source\": \"http\"}}, or less of it, or {{}} for all that is set aside"
            )
        })?;
        let inputs = written.inputs.iter().map(|input| input.parse()).collect::<Result<_, String>>()?;
        let reason = written.reason.map(|name| reason(&name)).transpose()?;
        Ok(Selection { inputs, reason, source: written.source })
    }

    /// Whether an input, set aside for this reason by this source, is one of these.
    pub fn has(&self, input: InputId, why: Reason, source: &str) -> bool {
        (self.inputs.is_empty() || self.inputs.contains(&input))
            && self.reason.is_none_or(|reason| reason == why)
            && self.source.as_ref().is_none_or(|wanted| wanted == source)
    }
}

/// The reason of this name.
pub fn reason(name: &str) -> Result<Reason, String> {
    Reason::named(name).ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.into_iter().map(Reason::name).collect();
        format!("`{name}` is no reason: the reasons are {}", names.join(", "))
    })
}
