//! What librdkafka says by the way: into our log, the last error kept for whoever has to explain why
//! nothing comes, and onto the board where partitions end.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::place::partition_name;
use crate::board::Board;

/// Listens to librdkafka.
pub(super) struct Watch {
    name: String,
    source: String,
    board: Board,
    last_error: Mutex<Option<String>>,
}

impl Watch {
    /// Listens for the source of this name, which the board calls `source`.
    pub fn new(name: &str, source: &str, board: Board) -> Watch {
        Watch { name: name.to_owned(), source: source.to_owned(), board, last_error: Mutex::default() }
    }

    /// The last error, in librdkafka's words.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reason, with what librdkafka said last.
    pub fn with_last_error(&self, why: String) -> String {
        match self.last_error() {
            Some(error) => format!("{why} (the last error: {error})"),
            None => why,
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        // Lost connections are found again, and what is not mended shows in the source's state.
        tracing::debug!(source = self.name, level = ?level, message, "librdkafka");
    }

    fn stats(&self, statistics: Statistics) {
        self.board.end(&self.source, ends(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(source = self.name, %error, reason, "librdkafka");
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down follows from what was said of each, and says less.
        if last_error.is_none() || !matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)) {
            *last_error = Some(match remedy(&error) {
                Some(remedy) => format!("{reason}: {remedy}"),
                None => reason.to_owned(),
            });
        }
    }
}

impl ConsumerContext for Watch {}

/// What to do where brokers do not let a source in; librdkafka says only what they said.
fn remedy(error: &KafkaError) -> Option<&'static str> {
    match error {
        KafkaError::Global(RDKafkaErrorCode::Authentication) => Some(
            "check `sasl.username`, `sasl.password` and `sasl.mechanism` under `[kafka.settings]`, and that the brokers \
             know this user for this mechanism",
        ),
        KafkaError::Global(RDKafkaErrorCode::SSL) => Some(
            "check `ssl.ca.location` under `[kafka.settings]`, which names the certificates that are trusted, and that \
             `brokers` names them as their certificates do",
        ),
        _ => None,
    }
}

/// Where each partition ends that is being fetched, as far as messages can be read: behind it lies
/// what a transaction holds that is still open.
fn ends(statistics: Statistics) -> impl Iterator<Item = (String, i64)> {
    statistics.topics.into_values().flat_map(|topic| {
        let ends = topic.partitions.into_iter().filter_map(|(partition, known)| {
            let end = if known.ls_offset >= 0 { known.ls_offset } else { known.hi_offset };
            (partition >= 0 && end >= 0).then_some((partition, end))
        });
        let named = ends.map(|(partition, end)| (partition_name(&topic.topic, partition), end));
        named.collect::<Vec<_>>()
    })
}
