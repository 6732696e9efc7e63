//! Takes usage events from Kafka.
//!
//! Law: every message of a topic is read once, in the order of its partition, and how far that is
//! enters the journal in the epoch of its events. So a restart goes on exactly behind what counts, and
//! what was aborted is not seen. Where the next message is not there any more, or the topic is another
//! one, the source halts and says so: it never skips.
//!
//! ```text
//!   brokers ── librdkafka ── messages ── events, refusals ─┐
//!                 │                                        ├─► one epoch
//!              offsets ── topic/partition: next offset ────┘
//! ```
//!
//! No consumer group is joined and no offset is committed to Kafka: the journal alone says where to
//! go on. New partitions of a topic are read from their beginning. While the journal is busy nothing
//! is fetched beyond librdkafka's queue, which is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

mod describe;
mod halt;
mod message;
mod partitions;
mod parts;
mod place;
mod reading;
mod settings;
mod state;
mod watch;

pub use halt::Halt;
pub use message::{MessageReader, read_messages};
/// The client underneath, with its mock cluster, for whoever tries a source out.
pub use rdkafka;
pub use state::State;

use crate::board::Board;
use crate::intake::Intake;
use partitions::Partitions;
use reading::{Equipment, Reading};
use state::{LastWord, Told};
use watch::Watch;

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the source: the journal keeps under it how far it was read, so another name reads
    /// everything again.
    pub name: String,
    /// Brokers to ask first, each as host and port.
    pub brokers: Vec<String>,
    /// The topics.
    pub topics: Vec<String>,
    /// Where a topic begins that was never read before.
    pub start: Start,
    /// What messages hold that do not say it by a header `content-type`.
    pub format: Format,
    /// What is passed through to librdkafka, by the names of its settings.
    pub settings: BTreeMap<String, String>,
    /// Whose events they are.
    pub tenant: String,
    /// Where it writes how it stands.
    pub board: Board,
    /// How often to look for new partitions, and whether the topics are still the same.
    pub survey_every: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: "kafka".to_owned(),
            brokers: Vec::new(),
            topics: Vec::new(),
            start: Start::Beginning,
            format: Format::Json,
            settings: BTreeMap::new(),
            tenant: "default".to_owned(),
            board: Board::default(),
            survey_every: Duration::from_secs(10),
        }
    }
}

/// Where a topic begins that was never read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first message that is still there.
    #[default]
    Beginning,
    /// With what comes from now on.
    End,
}

/// What messages hold that do not say it by a header `content-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// CloudEvents in JSON.
    #[default]
    Json,
    /// A stream of Arrow, whose rows are events.
    Arrow,
}

/// Why a source cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A name that cannot stand in the journal or in Kafka.
    #[error("'{0}' cannot be the name of a Kafka source or of a topic: use 1 to 249 letters, digits, `.`, `_` and `-`")]
    Name(String),
    /// There is nothing to read.
    #[error("the Kafka source '{0}' has no {1}: name at least one")]
    Empty(String, &'static str),
    /// A topic would be read twice.
    #[error("the Kafka source '{name}' names topic '{topic}' twice: name it once")]
    Twice {
        /// The source.
        name: String,
        /// The topic.
        topic: String,
    },
    /// A setting is ours.
    #[error(
        "the Kafka source '{name}' passes `{setting}` through, which is set by trueup, since where reading goes on is \
         for the journal alone to say: leave it out"
    )]
    Reserved {
        /// The source.
        name: String,
        /// The setting.
        setting: String,
    },
    /// librdkafka does not take the settings.
    #[error("the Kafka source '{name}' cannot use its settings: {why}; librdkafka's CONFIGURATION.md lists them")]
    Settings {
        /// The source.
        name: String,
        /// Why, in librdkafka's words.
        why: String,
    },
    /// There is no thread for it.
    #[error("the Kafka source '{name}' has no thread to run on: {error}")]
    Thread {
        /// The source.
        name: String,
        /// Why.
        error: std::io::Error,
    },
}

/// A source that runs.
pub struct KafkaSource {
    name: String,
    told: Told,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Starts a source, on a thread of its own. Brokers need not be there yet. To be called where tokio
/// runs, since what is handed in is awaited there.
pub fn start(intake: Arc<dyn Intake>, options: Options) -> Result<KafkaSource, StartError> {
    check_names(&options)?;
    let Options { name, brokers, topics, start, format, settings, tenant, board, survey_every } = options;
    let config = settings::client_config(&name, &brokers, &settings)?;
    let source = format!("kafka/{name}");
    let consumer = BaseConsumer::from_config_and_context(&config, Watch::new(&name, &source, board.clone()))
        .map_err(|error| StartError::Settings { name: name.clone(), why: shown(&error) })?;
    let consumer = Arc::new(consumer);
    let (told, stop) = (Told::new(&name, &source, board), Arc::new(AtomicBool::new(false)));
    let runtime = Handle::current();
    let thread = thread::Builder::new().name(format!("kafka {name}")).spawn({
        let (told, stop) = (told.clone(), stop.clone());
        move || {
            let last_word = LastWord(told.clone());
            let partitions = Partitions::new(&source, &topics, start);
            let equipment = Equipment {
                consumer: &consumer,
                intake,
                runtime,
                told,
                stop,
                source,
                format,
                tenant,
                survey_every,
                partitions,
            };
            last_word.0.tell(Reading::new(equipment).run());
        }
    });
    let thread = thread.map_err(|error| StartError::Thread { name: name.clone(), error })?;
    Ok(KafkaSource { name, told, stop, thread: Some(thread) })
}

impl KafkaSource {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.told.now()
    }

    /// Stops: what was handed in is waited for, for a few seconds.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whether a source can be started with these options, as far as that can be known without its brokers.
pub fn check(options: &Options) -> Result<(), StartError> {
    check_names(options)?;
    let Options { name, brokers, settings, .. } = options;
    let config = settings::client_config(name, brokers, settings)?.create_native_config();
    config.map(drop).map_err(|error| StartError::Settings { name: name.clone(), why: shown(&error) })
}

fn check_names(options: &Options) -> Result<(), StartError> {
    let Options { name, brokers, topics, .. } = options;
    let is_good = |name: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        (1..=249).contains(&name.len()) && name.bytes().all(is_known)
    };
    if let Some(bad) = [name].into_iter().chain(topics).find(|name| !is_good(name)) {
        return Err(StartError::Name(bad.clone()));
    }
    for (what, list) in [("brokers", brokers), ("topics", topics)] {
        if list.is_empty() {
            return Err(StartError::Empty(name.clone(), what));
        }
    }
    let twice = (1..topics.len()).find(|&place| topics[..place].contains(&topics[place]));
    match twice {
        Some(place) => Err(StartError::Twice { name: name.clone(), topic: topics[place].clone() }),
        None => Ok(()),
    }
}

/// An error of librdkafka in its own words.
fn shown(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, setting, value) => {
            let value = if is_secret(setting) { "..." } else { value };
            format!("{why} (`{setting}` = `{value}`)")
        }
        KafkaError::ClientCreation(why) => why.clone(),
        error => error.to_string(),
    }
}

/// Whether the value of a setting is not to be shown.
fn is_secret(setting: &str) -> bool {
    ["password", "secret", "key", "config", "pem"].iter().any(|word| setting.contains(word))
}
