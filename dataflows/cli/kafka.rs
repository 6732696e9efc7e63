//! The Kafka sources of a server, as its configuration names them.
//!
//! A source that halts says so in the log and on the board, with what must be decided; the server goes
//! on with its readers and all other ways in.

use std::sync::Arc;

use trueup_connectors::board::Board;
use trueup_connectors::intake::Intake;

use super::failure::{Failure, Outcome};
use crate::config::kafka::KafkaConfig;

#[cfg(feature = "kafka")]
use crate::config::kafka::{Format, Start};
#[cfg(feature = "kafka")]
use trueup_connectors::kafka::{self, KafkaSource, Options};

/// Sources that run.
#[derive(Default)]
pub struct Sources {
    #[cfg(feature = "kafka")]
    running: Vec<KafkaSource>,
    words: String,
}

#[cfg(feature = "kafka")]
impl Sources {
    /// Whether they could be started, as far as that can be known without their brokers.
    pub fn check(wanted: &[KafkaConfig]) -> Outcome {
        wanted.iter().try_for_each(|one| kafka::check(&options(one))).map_err(|error| Failure::input(&error))
    }

    /// Starts all of them, each with its place on the board; their brokers need not be there yet.
    pub fn start(intake: &Arc<dyn Intake>, wanted: &[KafkaConfig], board: &Board) -> Result<Sources, Failure> {
        let mut sources = Sources::default();
        for one in wanted {
            sources.words += &format!(", reading {} from Kafka as '{}'", one.topics.join(" and "), one.name);
            let options = Options { board: board.clone(), ..options(one) };
            let source = kafka::start(intake.clone(), options).map_err(|error| Failure::input(&error))?;
            sources.running.push(source);
        }
        Ok(sources)
    }

    /// Stops them; what they have handed in is waited for.
    pub async fn stop(self) {
        for source in self.running {
            source.stop().await;
        }
    }
}

#[cfg(feature = "kafka")]
fn options(wanted: &KafkaConfig) -> Options {
    let KafkaConfig { name, brokers, topics, start, format, settings } = wanted.clone();
    let start = match start {
        Start::Beginning => kafka::Start::Beginning,
        Start::End => kafka::Start::End,
    };
    let format = match format {
        Format::Json => kafka::Format::Json,
        Format::Arrow => kafka::Format::Arrow,
    };
    let tenant = super::loading::TENANT.to_owned();
    Options { name, brokers, topics, start, format, settings, tenant, ..Options::default() }
}

#[cfg(not(feature = "kafka"))]
impl Sources {
    /// There is nothing to check.
    pub fn check(_wanted: &[KafkaConfig]) -> Outcome {
        Ok(())
    }

    /// None: a configuration that names some is refused as it is read.
    pub fn start(_intake: &Arc<dyn Intake>, _wanted: &[KafkaConfig], _board: &Board) -> Result<Sources, Failure> {
        Ok(Sources::default())
    }

    /// There is nothing to stop.
    pub async fn stop(self) {}
}

impl Sources {
    /// What is read, to be said when the server starts.
    pub fn words(&self) -> &str {
        &self.words
    }
}
