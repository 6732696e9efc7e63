//! What a source is doing, for whoever asks, and what is said of it in the log: once when it changes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::halt::Halt;

/// What a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It asks the brokers for its topics.
    Starting,
    /// It takes messages as they come.
    Reading,
    /// It cannot go on now, tries again, and says why.
    Waiting(String),
    /// It will not go on: messages may be lost, and somebody must decide.
    Halted(Halt),
    /// It has ended: it was told to, or there is no engine any more.
    Ended(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Starting => f.write_str("starting"),
            State::Reading => f.write_str("reading"),
            State::Waiting(why) => write!(f, "waiting: {why}"),
            State::Halted(halt) => write!(f, "halted: {halt}"),
            State::Ended(why) => write!(f, "ended: {why}"),
        }
    }
}

/// The state of a source, shared with whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Told {
    source: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl Told {
    /// A source that starts.
    pub fn new(source: &str) -> Told {
        Told { source: source.into(), state: Arc::new(Mutex::new(State::Starting)) }
    }

    /// What it is doing now.
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    /// It is doing this from now on; the log has it if it is news.
    pub fn tell(&self, state: State) {
        let mut told = self.lock();
        if *told == state {
            return;
        }
        let source = &*self.source;
        match &state {
            State::Starting => {}
            State::Reading => tracing::info!(source, "Kafka is read"),
            State::Waiting(why) => tracing::warn!(source, why, "Kafka cannot be read now: it is tried again"),
            State::Halted(halt) => tracing::error!(source, %halt, "the Kafka source has halted: nothing is skipped"),
            State::Ended(why) => tracing::info!(source, why, "the Kafka source has ended"),
        }
        *told = state;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
