//! How the sources stand that read by themselves, such as topics of Kafka and watched folders: what each
//! is doing, since when, what is in its way and what to do, and how far it is.
//!
//! Sources write it here, and whoever operates them reads it. It is no view and no fact: a view follows
//! from the journal alone, a replay has no brokers, and what is in the way of a source now is found
//! again when it starts again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use trueup_model::grain::{Micros, show_micros};

/// Where sources write how they stand. Clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    clock: Option<fn() -> Micros>,
    sources: Arc<Mutex<BTreeMap<String, Source>>>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Board").field(&*self.lock()).finish()
    }
}

/// How a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it is doing.
    pub phase: Phase,
    /// What is in its way, in a word for programs.
    pub reason: Option<&'static str>,
    /// What is in its way, in a sentence.
    pub why: Option<String>,
    /// What to do about it; none where it passes by itself, or the sentence says it.
    pub remedy: Option<String>,
}

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It asks what there is.
    Starting,
    /// It takes what comes.
    Reading,
    /// It cannot go on now, and tries again.
    Waiting,
    /// It will not go on until somebody has decided.
    Halted,
    /// It has ended, and so has what it ran in.
    Ended,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Reading => "reading",
            Phase::Waiting => "waiting",
            Phase::Halted => "halted",
            Phase::Ended => "ended",
        }
    }

    /// Whether nothing more is read.
    fn is_over(self) -> bool {
        matches!(self, Phase::Halted | Phase::Ended)
    }
}

impl From<Phase> for Standing {
    fn from(phase: Phase) -> Standing {
        Standing { phase, reason: None, why: None, remedy: None }
    }
}

/// What is known of a source.
#[derive(Debug)]
struct Source {
    standing: Standing,
    since: Option<Micros>,
    partitions: BTreeMap<String, Progress>,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The offset that comes next, by the journal.
    next: Option<i64>,
    /// Where the partition ends.
    end: Option<i64>,
}

impl Board {
    /// A board that says since when, by this clock.
    pub fn told_by(clock: fn() -> Micros) -> Board {
        Board { clock: Some(clock), ..Board::default() }
    }

    /// A source stands like this from now on. Of one that goes on no more nobody knows how much is left.
    pub fn stands(&self, source: &str, standing: Standing) {
        let now = self.clock.map(|clock| clock());
        let mut sources = self.lock();
        let Some(known) = sources.get_mut(source) else {
            let partitions = BTreeMap::new();
            sources.insert(source.to_owned(), Source { standing, since: now, partitions });
            return;
        };
        if known.standing.phase != standing.phase {
            known.since = now;
        }
        if standing.phase.is_over() {
            known.partitions.values_mut().for_each(|progress| progress.end = None);
        }
        known.standing = standing;
    }

    /// The next offset of each of these partitions.
    pub fn reached(&self, source: &str, next: impl IntoIterator<Item = (String, i64)>) {
        if let Some(known) = self.lock().get_mut(source) {
            next.into_iter().for_each(|(partition, next)| known.progress(partition).next = Some(next));
        }
    }

    /// Where these partitions end, as long as they are read.
    pub fn end(&self, source: &str, ends: impl IntoIterator<Item = (String, i64)>) {
        if let Some(known) = self.lock().get_mut(source).filter(|known| !known.standing.phase.is_over()) {
            ends.into_iter().for_each(|(partition, end)| known.progress(partition).end = Some(end));
        }
    }

    /// How all sources stand, as JSON.
    pub fn told(&self) -> Value {
        json!({"sources": self.lock().iter().map(|(name, source)| source.told(name)).collect::<Vec<_>>()})
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn progress(&mut self, partition: String) -> &mut Progress {
        self.partitions.entry(partition).or_default()
    }

    fn told(&self, name: &str) -> Value {
        let Standing { phase, reason, why, remedy } = &self.standing;
        let partitions = self.partitions.iter().map(|(partition, progress)| progress.told(partition));
        json!({
            "source": name,
            "state": phase.name(),
            "since": self.since.map(show_micros),
            "reason": reason,
            "why": why,
            "remedy": remedy,
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}

impl Progress {
    fn told(&self, partition: &str) -> Value {
        let Progress { next, end } = *self;
        // The end was told a while ago, and we may be beyond it by now.
        let lag = next.zip(end).map(|(next, end)| (end - next).max(0));
        json!({"partition": partition, "next": next, "end": end, "lag": lag})
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn a_source_says_since_when_it_stands_as_it_does() {
        static NOW: AtomicI64 = AtomicI64::new(1_780_272_000_000_000);
        let board = Board::told_by(|| NOW.fetch_add(1_000_000, Ordering::Relaxed));
        let waiting = |why: &str| Standing { why: Some(why.to_owned()), ..Phase::Waiting.into() };
        board.stands("kafka/a", Phase::Starting.into());
        board.stands("kafka/a", waiting("nobody answers"));
        board.stands("kafka/a", waiting("the topic is not there"));
        let told = board.told()["sources"][0].clone();
        assert_eq!((&told["state"], &told["why"]), (&"waiting".into(), &"the topic is not there".into()));
        assert_eq!(told["since"], "2026-06-01T00:00:01Z");
        board.stands("kafka/a", Phase::Reading.into());
        assert_eq!(board.told()["sources"][0]["since"], "2026-06-01T00:00:03Z");
        assert_eq!(board.told()["sources"][0]["why"], Value::Null);
    }

    #[test]
    fn lag_is_told_where_it_is_known() {
        let board = Board::default();
        board.reached("kafka/a", [("calls/0".to_owned(), 7)]);
        assert_eq!(board.told(), json!({"sources": []}));
        board.stands("kafka/a", Phase::Reading.into());
        board.reached("kafka/a", [("calls/0".to_owned(), 7), ("calls/1".to_owned(), 9)]);
        board.end("kafka/a", [("calls/0".to_owned(), 12), ("calls/2".to_owned(), 3)]);
        let partitions = || board.told()["sources"][0]["partitions"].clone();
        type Known = Option<i64>;
        let partition = |name: &str, next: Known, end: Known, lag: Known| json!({"partition": name, "next": next, "end": end, "lag": lag});
        let expected = [
            partition("calls/0", Some(7), Some(12), Some(5)),
            partition("calls/1", Some(9), None, None),
            partition("calls/2", None, Some(3), None),
        ];
        assert_eq!(partitions(), Value::from(expected.to_vec()));
        board.reached("kafka/a", [("calls/0".to_owned(), 20)]);
        assert_eq!(partitions()[0]["lag"], 0);
        board.stands("kafka/a", Phase::Halted.into());
        board.end("kafka/a", [("calls/0".to_owned(), 30)]);
        assert_eq!(partitions()[0], partition("calls/0", Some(20), None, None));
    }
}
