//! What librdkafka is told: our part, which exactly once rests on, and what is passed through.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::StartError;

/// What we set, and nobody else may: where reading begins comes from the journal alone, a missing
/// offset is an error and never a leap, and what was aborted or damaged is not read.
const OURS: [(&str, &str); 9] = [
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "false"),
    ("isolation.level", "read_committed"),
    // Whoever waits for the journal does not poll, and may wait for long.
    ("max.poll.interval.ms", "86400000"),
    ("socket.keepalive.enable", "true"),
];

/// Other names of settings that are ours, and settings that would have a group choose partitions.
const REFUSED: [&str; 8] = [
    "auto.commit.enable",
    "bootstrap.servers",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "metadata.broker.list",
    "offset.store.method",
    "partition.assignment.strategy",
];

/// What is set unless it is passed through: bounds on the memory of what is fetched ahead, how soon
/// more is fetched once there is room, and how often it is told where partitions end.
const DEFAULTS: [(&str, &str); 5] = [
    ("fetch.queue.backoff.ms", "20"),
    ("fetch.wait.max.ms", "100"),
    ("queued.max.messages.kbytes", "32768"),
    ("reconnect.backoff.max.ms", "2000"),
    ("statistics.interval.ms", "5000"),
];

/// The names that cannot be passed through.
pub(super) fn reserved() -> impl Iterator<Item = &'static str> {
    OURS.iter().map(|(name, _)| *name).chain(REFUSED)
}

/// A consumer's configuration.
pub(super) fn client_config(
    name: &str,
    brokers: &[String],
    passed: &BTreeMap<String, String>,
) -> Result<ClientConfig, StartError> {
    if let Some(setting) = passed.keys().find(|setting| reserved().any(|ours| ours == setting.as_str())) {
        return Err(StartError::Reserved { name: name.to_owned(), setting: setting.clone() });
    }
    let mut config = ClientConfig::new();
    // Nothing is committed to a group and nothing read from it; librdkafka wants its name.
    config.set("group.id", format!("trueup-{name}")).set("client.id", "trueup");
    let defaults = DEFAULTS.iter().copied();
    let passed = passed.iter().map(|(setting, value)| (setting.as_str(), value.as_str()));
    for (setting, value) in defaults.chain(passed).chain(OURS) {
        config.set(setting, value);
    }
    config.set("bootstrap.servers", brokers.join(",")).set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(passed: &[(&str, &str)]) -> Result<ClientConfig, StartError> {
        let passed = passed.iter().map(|(setting, value)| (setting.to_string(), value.to_string())).collect();
        client_config("kafka", &["a:1".to_owned(), "b:2".to_owned()], &passed)
    }

    #[test]
    fn what_is_passed_through_arrives() {
        let config = config(&[("queued.max.messages.kbytes", "1024"), ("sasl.mechanism", "PLAIN")]).unwrap();
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("1024"));
        assert_eq!(config.get("sasl.mechanism"), Some("PLAIN"));
        assert_eq!(config.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn what_is_ours_cannot_be_changed() {
        for setting in reserved() {
            assert!(config(&[(setting, "x")]).is_err(), "{setting}");
        }
    }
}
