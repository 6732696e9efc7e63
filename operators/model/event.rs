//! A usage event as its sender states it: CloudEvents 1.0 with two extensions.
//!
//! `revision` orders the statements made under one identity, the greatest stands; `retract`
//! takes the event back. This form is for people, tests and the oracle; on the way in events
//! travel as rows of an `EventBatch`.

use std::collections::BTreeMap;

use crate::grain::Micros;

/// One statement about one use of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Who says so: CloudEvents `source`.
    pub source: String,
    /// Its id, unique within the source.
    pub id: String,
    /// What kind of use: CloudEvents `type`.
    pub event_type: String,
    /// Who used it: CloudEvents `subject`.
    pub subject: String,
    /// When it was used: CloudEvents `time`.
    pub occurred_at: Micros,
    /// Which statement of this event it is; none given counts as 0.
    pub revision: u32,
    /// Whether it takes the event back.
    pub retract: bool,
    /// The properties of CloudEvents `data`, each as its text: numbers exactly as written.
    pub data: BTreeMap<String, String>,
}
