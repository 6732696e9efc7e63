//! The only reader of wall time.
//!
//! What a clock says becomes a fact: it is written into the journal with its epoch, and
//! everything after reads it from there, so that a replay sees the same times.

use std::time::{SystemTime, UNIX_EPOCH};

use trueup_model::grain::Micros;

/// Tells the billing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The machine's time.
    Wall,
    /// Time passes only when it is told to: for replays, demonstrations and tests.
    Told,
}

impl Clock {
    /// The time now, given the latest time that was accepted or told. Never goes back, even
    /// where the machine's clock does.
    pub fn now(self, latest: Micros) -> Micros {
        match self {
            Clock::Told => latest,
            Clock::Wall => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                latest.max(i64::try_from(since_1970.as_micros()).unwrap_or(latest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_billing_clock_waits_for_a_machine_that_is_behind() {
        let far_ahead = 1 << 60;
        assert_eq!(Clock::Wall.now(far_ahead), far_ahead);
        assert!(Clock::Wall.now(0) > 0);
    }
}
