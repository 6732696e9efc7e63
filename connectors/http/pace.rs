//! How fast bytes must go at least, so that nobody is waited for without end.

use std::time::Duration;

use tokio::time::Instant;

/// So many bytes within each such time. The first of them is a grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// How many bytes.
    pub bytes: usize,
    /// Within which time.
    pub within: Duration,
}

/// How far somebody is with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    least: Least,
    missing: usize,
    until: Instant,
}

impl Pace {
    /// From now on.
    pub fn of(least: Least) -> Pace {
        Pace::since(least, Instant::now())
    }

    fn since(least: Least, now: Instant) -> Pace {
        Pace { least, missing: least.bytes, until: now + least.within }
    }

    /// When it is too slow if not enough bytes go until then.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Counts what went now.
    pub fn went(&mut self, bytes: usize) {
        self.went_at(bytes, Instant::now());
    }

    fn went_at(&mut self, bytes: usize, now: Instant) {
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 {
            *self = Pace::since(self.least, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_given_anew_for_enough_bytes_and_not_for_few() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut pace = Pace::since(Least { bytes: 100, within: Duration::from_secs(10) }, now);
        for second in 1..10 {
            pace.went_at(10, at(second));
        }
        assert_eq!(pace.until(), at(10));
        pace.went_at(10, at(9));
        assert_eq!(pace.until(), at(19));
        pace.went_at(5_000, at(11));
        assert_eq!(pace.until(), at(21), "what goes fast once may not be slow later");
    }
}
