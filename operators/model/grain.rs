//! The finest slices of time by which usage is kept.
//!
//! A grain is counted in quarter hours since 1970 UTC. Customers whose zone is always a whole
//! number of hours from UTC get hour grains, the others quarter hours, so that every local
//! midnight falls on a grain edge: days, months and price intervals are unions of grains, and
//! hours always add up to the invoice.

use serde::{Deserialize, Serialize};

/// An instant, in microseconds since 1970 UTC.
pub type Micros = i64;

/// Microseconds in a quarter of an hour.
pub const QUARTER_MICROS: i64 = 15 * 60 * 1_000_000;

/// A grain edge: quarter hours since 1970 UTC. As a grain it names the slice that starts there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grain(pub u32);

/// How long the grains of a customer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GrainStep {
    /// An hour of UTC.
    #[default]
    Hour,
    /// A quarter of an hour of UTC.
    Quarter,
}

impl GrainStep {
    /// Quarter hours in one grain.
    pub fn quarters(self) -> u32 {
        match self {
            GrainStep::Hour => 4,
            GrainStep::Quarter => 1,
        }
    }

    /// The grain that contains `at`. The instant must lie between 1970 and 2200, which the
    /// door has checked.
    pub fn grain(self, at: Micros) -> Grain {
        let quarter = (at / QUARTER_MICROS) as u32;
        Grain(quarter - quarter % self.quarters())
    }
}

impl Grain {
    /// The end of time: an edge after every grain.
    pub const MAX: Grain = Grain(u32::MAX);

    /// The instant of the edge.
    pub fn micros(self) -> Micros {
        i64::from(self.0) * QUARTER_MICROS
    }

    /// The edge at exactly this instant, if there is one.
    pub fn at_edge(at: Micros) -> Option<Grain> {
        let quarters = u32::try_from(at.div_euclid(QUARTER_MICROS)).ok()?;
        (at.rem_euclid(QUARTER_MICROS) == 0).then_some(Grain(quarters))
    }
}

/// A half-open interval of time between two grain edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// The first grain inside.
    pub from: Grain,
    /// The first edge that is outside again.
    pub to: Grain,
}

impl Interval {
    /// Whether the grain lies inside.
    pub fn contains(self, grain: Grain) -> bool {
        self.from <= grain && grain < self.to
    }
}

/// An instant as people write it: RFC 3339 in UTC.
pub fn show_micros(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| format!("{at} us"), |instant| instant.to_string())
}
