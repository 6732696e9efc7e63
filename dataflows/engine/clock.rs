//! The only reader of wall time.
//!
//! What a clock says becomes a fact: it is written into the journal with its epoch, and
//! everything after reads it from there, so that a replay sees the same times. So the billing clock
//! never goes back, and a machine that is far ahead for a moment would leave it there for ever.
//! Law: it goes on by no more than is plausible, unless the operator has said that it may.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use trueup_model::calendar::CENTURY;
use trueup_model::grain::{Micros, show_micros};

const DAY: Micros = 86_400_000_000;
/// How far the machine's clock may run ahead of the time that passes while the process runs: a machine
/// that slept, or was paused, for less than that goes on by itself.
const STEP_MAX: Micros = DAY;
/// How far behind a start the journal may end.
const PAUSE_MAX: Micros = 31 * DAY;

/// Tells the billing time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's time.
    Wall,
    /// What this says instead of the machine.
    Instead(fn() -> Reading),
    /// Time passes only when it is told to: for replays, demonstrations and tests.
    Told,
}

/// What a machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time of day, which may step.
    pub wall: Micros,
    /// For how long it has been running, which never steps. It may stand still while the machine sleeps.
    pub running: Micros,
}

/// Why the billing clock does not follow the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// It stepped while the process ran.
    #[error(
        "the machine's clock stepped ahead to {}, by more than a day over the time that has passed since {}: nothing \
         is accepted while it says so, since the billing clock never goes back; set it right and all goes on, or, if \
         it is right since the machine slept, start again",
        show_micros(*to),
        show_micros(*from)
    )]
    Stepped {
        /// When the clock was read before.
        from: Micros,
        /// What it says.
        to: Micros,
    },
    /// It is far behind what the journal ends with.
    #[error(
        "the machine's clock says {}, and the journal ends more than 31 days before, at {}: nothing is accepted, since \
         the billing clock never goes back; set the machine's clock right, or, if it is right, write \
         `clock_trusted_until = \"{}\"` into trueup.toml and start again",
        show_micros(*to),
        show_micros(*from),
        show_micros(to.saturating_add(DAY))
    )]
    Ahead {
        /// When the last entry was accepted.
        from: Micros,
        /// What the clock says.
        to: Micros,
    },
    /// No calendar covers it.
    #[error("the machine's clock says {}, and calendars end with the year 2099: set it right", show_micros(*to))]
    Beyond {
        /// What it says.
        to: Micros,
    },
}

/// Follows a clock as far as it is plausible.
#[derive(Debug)]
pub struct Timekeeper {
    clock: Clock,
    /// Until when the machine's clock is right, whatever the journal says.
    trusted_until: Micros,
    /// The last time that was plausible, and what was running then.
    last: Option<Reading>,
}

impl Timekeeper {
    /// Follows a clock; the operator says that it is right for as long as it is before `trusted_until`.
    pub fn new(clock: Clock, trusted_until: Micros) -> Timekeeper {
        Timekeeper { clock, trusted_until, last: None }
    }

    /// Whether time passes only when it is told to.
    pub fn is_told(&self) -> bool {
        matches!(self.clock, Clock::Told)
    }

    /// The time now, given the latest time that was accepted or told; 0: none was. Never goes back,
    /// even where the machine's clock does.
    pub fn now(&mut self, latest: Micros) -> Result<Micros, ClockError> {
        let Some(reading) = self.clock.reading() else { return Ok(latest) };
        self.check(reading, latest)?;
        let wall = reading.wall.max(latest);
        self.last = Some(Reading { wall, ..reading });
        Ok(wall)
    }

    fn check(&self, Reading { wall: to, running }: Reading, latest: Micros) -> Result<(), ClockError> {
        if to >= CENTURY.end {
            return Err(ClockError::Beyond { to });
        }
        if to < self.trusted_until {
            return Ok(());
        }
        match self.last {
            Some(last) => {
                let passed = running.saturating_sub(last.running).max(0);
                let from = last.wall.max(latest);
                let is_plausible = to.saturating_sub(from).saturating_sub(passed) <= STEP_MAX;
                if is_plausible { Ok(()) } else { Err(ClockError::Stepped { from, to }) }
            }
            // A journal without entries has nothing to say.
            None if latest > 0 && to.saturating_sub(latest) > PAUSE_MAX => Err(ClockError::Ahead { from: latest, to }),
            None => Ok(()),
        }
    }
}

impl Clock {
    /// The time now, for whoever only shows it: no earlier than `latest`.
    pub fn now(self, latest: Micros) -> Micros {
        self.reading().map_or(latest, |reading| reading.wall.max(latest))
    }

    fn reading(self) -> Option<Reading> {
        match self {
            Clock::Wall => Some(machine()),
            Clock::Instead(read) => Some(read()),
            Clock::Told => None,
        }
    }
}

fn machine() -> Reading {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let running = BEGIN.get_or_init(Instant::now).elapsed();
    let [wall, running] = [since_1970, running].map(|time| i64::try_from(time.as_micros()).unwrap_or(Micros::MAX));
    Reading { wall, running }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_782_864_000_000_000; // 2026-07-01T00:00:00Z

    fn keeper(trusted_until: Micros) -> Timekeeper {
        Timekeeper::new(Clock::Wall, trusted_until)
    }

    /// A keeper that has read `NOW` when nothing had been running yet.
    fn running() -> Timekeeper {
        Timekeeper { last: Some(Reading { wall: NOW, running: 0 }), ..keeper(0) }
    }

    #[test]
    fn the_billing_clock_waits_for_a_machine_that_is_behind() {
        let ahead = CENTURY.end - 1;
        assert_eq!(keeper(0).now(ahead), Ok(ahead));
        assert!(keeper(0).now(0).is_ok_and(|now| now > 0));
        assert_eq!(Timekeeper::new(Clock::Told, 0).now(7), Ok(7));
    }

    #[test]
    fn a_step_of_more_than_a_day_is_not_followed_while_the_process_runs() {
        let check = |after: Micros, running: Micros| self::running().check(Reading { wall: NOW + after, running }, NOW);
        assert_eq!(check(DAY, 0), Ok(()));
        assert_eq!(check(DAY + 1, 0), Err(ClockError::Stepped { from: NOW, to: NOW + DAY + 1 }));
        // What has passed by the clock that never steps has passed.
        assert_eq!(check(40 * DAY, 39 * DAY), Ok(()));
        assert!(check(40 * DAY + 1, 39 * DAY).is_err());
        assert_eq!(check(-400 * DAY, 0), Ok(()), "one that goes back is waited for");
    }

    #[test]
    fn a_start_long_after_the_journal_ended_asks_the_operator() {
        let check = |wall: Micros, trusted: Micros| keeper(trusted).check(Reading { wall, running: 0 }, NOW);
        assert_eq!(check(NOW + PAUSE_MAX, 0), Ok(()));
        let late = NOW + PAUSE_MAX + 1;
        let error = check(late, 0).expect_err("it is too late");
        assert_eq!(error, ClockError::Ahead { from: NOW, to: late });
        let told = error.to_string();
        assert!(told.contains("`clock_trusted_until = \"2026-08-02T00:00:00.000001Z\"`"), "{told}");
        assert_eq!(check(late, late + 1), Ok(()));
        assert!(check(late, late).is_err());
        assert_eq!(keeper(0).check(Reading { wall: late, running: 0 }, 0), Ok(()), "the first entry of a journal");
    }

    #[test]
    fn no_word_of_the_operator_makes_a_year_that_no_calendar_has() {
        let to = CENTURY.end;
        assert_eq!(keeper(Micros::MAX).check(Reading { wall: to, running: 0 }, NOW), Err(ClockError::Beyond { to }));
        assert_eq!(keeper(0).check(Reading { wall: to, running: 0 }, 0), Err(ClockError::Beyond { to }));
    }
}
