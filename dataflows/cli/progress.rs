//! Tells whoever watches a process how its journal is computed again: by a bar on a terminal, else by a line
//! in the log now and then.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use trueup::engine::recovery::Progress;

/// How often there is a line.
const EVERY: Duration = Duration::from_secs(10);

/// Tells of it.
pub enum Telling {
    /// On a terminal.
    Bar(ProgressBar),
    /// In the log.
    Log { begun: Instant, lines: Lines },
}

impl Telling {
    /// Begins.
    pub fn begin() -> Telling {
        match stderr().is_terminal() {
            true => Telling::Bar(ProgressBar::new(0)),
            false => Telling::Log { begun: Instant::now(), lines: Lines::default() },
        }
    }

    /// It is so far by now.
    pub fn tell(&mut self, progress: Progress) {
        match self {
            Telling::Bar(bar) => {
                bar.set_length(progress.all);
                bar.set_position(progress.done);
            }
            Telling::Log { begun, lines } => {
                if let Some(line) = lines.line(progress, begun.elapsed()) {
                    line.log();
                }
            }
        }
    }

    /// It is done.
    pub fn end(self) {
        if let Telling::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// When there was a line, so that there is not one for each epoch.
#[derive(Debug, Default)]
pub struct Lines {
    last: Duration,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    percent: u64,
    epochs_a_second: u64,
    epochs_left: u64,
    seconds_left: u64,
}

impl Lines {
    /// The line of now, so long after the beginning, if it is time for one.
    fn line(&mut self, Progress { done, all }: Progress, elapsed: Duration) -> Option<Line> {
        if elapsed < self.last + EVERY {
            return None;
        }
        self.last = elapsed;
        let (left, seconds) = (all.saturating_sub(done), elapsed.as_secs());
        Some(Line {
            percent: done.saturating_mul(100) / all.max(1),
            epochs_a_second: done / seconds,
            epochs_left: left,
            // At the rate so far.
            seconds_left: left.saturating_mul(seconds).div_ceil(done.max(1)),
        })
    }
}

impl Line {
    /// Logs itself under a name of its own, which the log shows unless it is told otherwise.
    fn log(self) {
        let Line { percent, epochs_a_second, epochs_left, seconds_left } = self;
        tracing::info!(
            target: "trueup::recovery",
            percent,
            epochs_a_second,
            epochs_left,
            seconds_left,
            "the journal is being computed again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_now_and_then_and_not_for_each_epoch() {
        let mut lines = Lines::default();
        // A million epochs, thirty thousand a second.
        let told = (1..=1_000_000).filter_map(|done| {
            let elapsed = Duration::from_micros(done * 1_000 / 30);
            lines.line(Progress { done, all: 1_000_000 }, elapsed)
        });
        let told: Vec<Line> = told.collect();
        let rates: Vec<u64> = told.iter().map(|line| line.epochs_a_second).collect();
        assert_eq!(rates, [30_000; 3]);
        assert_eq!(told[0], Line { percent: 30, epochs_a_second: 30_000, epochs_left: 700_000, seconds_left: 24 });
    }

    #[test]
    fn a_large_epoch_alone_has_a_line_of_its_own() {
        let line = Lines::default().line(Progress { done: 1, all: 3 }, Duration::from_secs(90));
        assert_eq!(line, Some(Line { percent: 33, epochs_a_second: 0, epochs_left: 2, seconds_left: 180 }));
    }
}
