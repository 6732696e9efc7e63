//! Kafka sources as a configuration writes them: a `[[kafka]]` table for each.
//!
//! ```toml
//! [[kafka]]
//! name = "gateway"                             # none: "kafka"
//! brokers = ["kafka-1:9092", "kafka-2:9092"]
//! topics = ["calls", "jobs"]
//! start = "end"                                # none: "beginning"
//! format = "arrow"                             # none: "json"
//!
//! [kafka.settings]                             # for librdkafka, by its own names
//! security.protocol = "sasl_ssl"
//! sasl.mechanism = "SCRAM-SHA-512"
//! sasl.username = "trueup"
//! sasl.password = { env = "KAFKA_PASSWORD" }   # what is in that variable
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Table, Value};
use trueup_model::backfill::SOURCE;

/// A source to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Its name.
    pub name: String,
    /// Brokers to ask first.
    pub brokers: Vec<String>,
    /// The topics.
    pub topics: Vec<String>,
    /// Where a topic begins that was never read.
    pub start: Start,
    /// What messages hold that do not say it.
    pub format: Format,
    /// What is passed through to librdkafka.
    pub settings: BTreeMap<String, String>,
}

/// Where a topic begins that was never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With what is still there.
    #[default]
    Beginning,
    /// With what comes.
    End,
}

/// What messages hold that do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// CloudEvents in JSON.
    #[default]
    Json,
    /// Streams of Arrow.
    Arrow,
}

/// A table as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    #[serde(default = "default_name")]
    name: String,
    brokers: Vec<String>,
    topics: Vec<String>,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    settings: Table,
}

/// What other ways in are called. The way of a Kafka source is `kafka/NAME`, so that only people would mix them up.
const OTHERS: [&str; 3] = [SOURCE, "flight", "http"];

fn default_name() -> String {
    "kafka".to_owned()
}

/// What the tables mean; an error is a sentence for whoever wrote them. `variable` is the
/// environment.
pub fn meant(written: Vec<Written>, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<KafkaConfig>, String> {
    let mut names = BTreeSet::new();
    let mut meant = Vec::new();
    for Written { name, brokers, topics, start, format, settings } in written {
        if OTHERS.contains(&name.as_str()) {
            return Err(format!("a Kafka source is called '{name}', as another way in is: give it another `name`"));
        }
        if !names.insert(name.clone()) {
            return Err(format!("two Kafka sources are called '{name}': give each table a `name` of its own"));
        }
        let mut flat = BTreeMap::new();
        flatten("", settings, &variable, &mut flat).map_err(|why| format!("the Kafka source '{name}': {why}"))?;
        meant.push(KafkaConfig { name, brokers, topics, start, format, settings: flat });
    }
    Ok(meant)
}

/// Settings have dots in their names, which TOML takes for tables unless they are quoted.
fn flatten(
    before: &str,
    table: Table,
    variable: &impl Fn(&str) -> Option<String>,
    flat: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for (key, value) in table {
        let name = if before.is_empty() { key } else { format!("{before}.{key}") };
        let text = match value {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(is_so) => is_so.to_string(),
            Value::Table(table) => {
                let Some(from) = variable_of(&table) else {
                    flatten(&name, table, variable, flat)?;
                    continue;
                };
                let missing = || format!("`{name}` is to come from the variable `{from}`, which is not set: set it");
                variable(from).ok_or_else(missing)?
            }
            Value::Float(_) | Value::Array(_) | Value::Datetime(_) => {
                return Err(format!("the setting `{name}` is none that librdkafka could take: write it as a text"));
            }
        };
        flat.insert(name, text);
    }
    Ok(())
}

/// The variable that a table names, if that is all it does.
fn variable_of(table: &Table) -> Option<&str> {
    if table.len() == 1 { table.get("env").and_then(Value::as_str) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Tables {
        kafka: Vec<Written>,
    }

    fn read(text: &str) -> Result<Vec<KafkaConfig>, String> {
        let tables: Tables = toml::from_str(text).map_err(|error| error.to_string())?;
        meant(tables.kafka, |name| (name == "SECRET").then(|| "s3cret".to_owned()))
    }

    #[test]
    fn settings_are_named_with_dots() {
        let sources = read(
            r#"
            [[kafka]]
            brokers = ["a:9092"]
            topics = ["calls"]
            [kafka.settings]
            security.protocol = "sasl_ssl"
            "sasl.username" = "trueup"
            sasl.password = { env = "SECRET" }
            fetch.wait.max.ms = 10
            enable.ssl.certificate.verification = true
            "#,
        )
        .unwrap();
        let [source] = &sources[..] else { panic!("{sources:?}") };
        assert_eq!((&*source.name, source.start, source.format), ("kafka", Start::Beginning, Format::Json));
        let [other] = &read("[[kafka]]\nbrokers = ['a:1']\ntopics = ['t']\nformat = 'arrow'").unwrap()[..] else {
            panic!()
        };
        assert_eq!(other.format, Format::Arrow);
        let settings: Vec<(&str, &str)> = source.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            settings,
            [
                ("enable.ssl.certificate.verification", "true"),
                ("fetch.wait.max.ms", "10"),
                ("sasl.password", "s3cret"),
                ("sasl.username", "trueup"),
                ("security.protocol", "sasl_ssl"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let table = "[[kafka]]\nbrokers = ['a:1']\ntopics = ['t']\n";
        let refused = |text: &str| read(text).expect_err("it cannot be meant");
        assert!(refused(&format!("{table}{table}")).contains("two Kafka sources are called 'kafka'"));
        assert!(refused(&format!("{table}name = 'backfill'")).contains("called 'backfill', as another way in is"));
        assert!(refused(&format!("{table}topic = 't'")).contains("topic"));
        assert!(refused(&format!("{table}start = 'middle'")).contains("middle"));
        assert!(refused(&format!("{table}format = 'xml'")).contains("xml"));
        assert!(refused(&format!("{table}settings.a.b = 0.5")).contains("`a.b`"));
        assert!(refused(&format!("{table}settings.a = {{ env = 'NOT_SET' }}")).contains("`NOT_SET`"));
    }
}
