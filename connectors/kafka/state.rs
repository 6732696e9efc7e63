//! What a source is doing, for whoever asks, on the board of all sources, and in the log: once when it
//! changes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::halt::Halt;
use crate::board::{Board, Phase, Standing};

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

impl State {
    /// The same as it stands on a board.
    fn standing(&self) -> Standing {
        let because = |phase: Phase, why: &String| Standing { why: Some(why.clone()), ..phase.into() };
        match self {
            State::Starting => Phase::Starting.into(),
            State::Reading => Phase::Reading.into(),
            State::Waiting(why) => because(Phase::Waiting, why),
            State::Halted(halt) => Standing {
                phase: Phase::Halted,
                reason: Some(halt.name()),
                why: Some(halt.found()),
                remedy: Some(halt.remedy()),
            },
            State::Ended(why) => because(Phase::Ended, why),
        }
    }
}

/// The state of a source, shared with whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Told {
    name: Arc<str>,
    /// As the ledger and the board call it.
    source: Arc<str>,
    state: Arc<Mutex<State>>,
    board: Board,
}

impl Told {
    /// A source that starts.
    pub fn new(name: &str, source: &str, board: Board) -> Told {
        board.stands(source, State::Starting.standing());
        Told { name: name.into(), source: source.into(), state: Arc::new(Mutex::new(State::Starting)), board }
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
        self.board.stands(&self.source, state.standing());
        let source = &*self.name;
        match &state {
            State::Starting => {}
            State::Reading => tracing::info!(source, "Kafka is read"),
            State::Waiting(why) => tracing::warn!(source, why, "Kafka cannot be read now: it is tried again"),
            State::Halted(halt) => tracing::error!(source, %halt, "the Kafka source has halted: nothing is skipped"),
            State::Ended(why) => tracing::info!(source, why, "the Kafka source has ended"),
        }
        *told = state;
    }

    /// The next offset of each partition, by the journal.
    pub fn reached(&self, next: impl IntoIterator<Item = (String, i64)>) {
        self.board.reached(&self.source, next);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a thread has failed, where it ends before it has said how.
pub(super) struct LastWord(pub Told);

impl Drop for LastWord {
    fn drop(&mut self) {
        if matches!(self.0.now(), State::Starting | State::Reading | State::Waiting(_)) {
            self.0.tell(State::Ended("its thread failed: start again".to_owned()));
        }
    }
}
