//! By which way, and in which hour, something came in.
//!
//! The ledger closes for each arrival: what came in together is held together, whatever becomes of
//! it later. There are as many as ways in and hours, however many events there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::grain::Micros;

/// Microseconds in an hour.
const HOUR_MICROS: Micros = 3_600_000_000;

/// A way in, or a part of one that is read by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Which way in: a file's name, `http`, `flight`, `kafka/NAME`. Empty for what a journal holds
    /// from before it told.
    pub source: String,
    /// Which part of it, such as the partition `calls/3` of a topic; empty where it has no parts.
    pub partition: String,
}

/// Different ways in, each with its place.
#[derive(Debug, Default)]
pub struct OriginPlaces {
    in_order: Vec<Arc<Origin>>,
    places: BTreeMap<Arc<Origin>, u32>,
    /// The one that was asked for last. What comes together shares its way, so it is known by its address.
    last: u32,
}

impl OriginPlaces {
    /// The place of a way.
    pub fn place(&mut self, origin: &Arc<Origin>) -> u32 {
        if !self.in_order.get(self.last as usize).is_some_and(|last| Arc::ptr_eq(last, origin)) {
            let next = self.in_order.len() as u32;
            self.last = *self.places.entry(origin.clone()).or_insert(next);
            if self.last == next {
                self.in_order.push(origin.clone());
            }
        }
        self.last
    }

    /// All of them, in the order of their places.
    pub fn in_order(&self) -> &[Arc<Origin>] {
        &self.in_order
    }
}

/// What came in by one way in one hour.
///
/// ```
/// use trueup_model::arrival::{Arrival, Origin};
/// let way = Origin { source: "kafka/gateway".to_owned(), partition: "calls/3".to_owned() };
/// assert_eq!(Arrival::at(way.into(), 7_199_999_999).hour, 3_600_000_000);
/// ```
// By the hour first: that tells most of them apart without looking at a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arrival {
    /// The hour of UTC in which it was received by the billing clock: its first instant.
    pub hour: Micros,
    /// The way in.
    pub origin: Arc<Origin>,
}

impl Arrival {
    /// The arrival of what is received by this way at this time.
    pub fn at(origin: Arc<Origin>, received_at: Micros) -> Arrival {
        Arrival { hour: received_at - received_at.rem_euclid(HOUR_MICROS), origin }
    }
}
