//! What librdkafka says by the way: into our log, and the last error kept for whoever has to explain
//! why nothing comes.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Listens to librdkafka.
pub(super) struct Watch {
    source: String,
    last_error: Mutex<Option<String>>,
}

impl Watch {
    /// Listens for a source.
    pub fn new(source: &str) -> Watch {
        Watch { source: source.to_owned(), last_error: Mutex::default() }
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
        tracing::debug!(source = self.source, level = ?level, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(source = self.source, %error, reason, "librdkafka");
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down follows from what was said of each, and says less.
        if last_error.is_none() || !matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)) {
            *last_error = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Watch {}
