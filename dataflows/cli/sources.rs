//! `trueup sources`: how the sources of a running server stand that read by themselves.

use std::path::PathBuf;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::table::Table;
use super::{page, way_in, words};

/// Say how the sources of a running server stand: topics of Kafka and watched folders.
///
/// The server is asked at the `http` of its configuration. A source that is waiting goes on by itself;
/// one that has halted does not, until somebody has decided. The exit code is 1 if one has halted.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration of the server
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// How far each partition is, too
    #[arg(long)]
    partitions: bool,
}

/// Answers.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let answer = way_in::server(&arguments.config)?.get("/v1/sources")?;
    let sources = list(&answer["sources"]);
    match json {
        true => sources.iter().for_each(|source| page::line(source.to_string())),
        false => show(sources, arguments.partitions),
    }
    match sources.iter().filter(|source| source["state"] == "halted").count() {
        0 => Ok(()),
        halted => Err(Failure::No(format!(
            "{} {} halted: nothing more is read there until somebody has decided",
            words::counted(halted, "source"),
            if halted == 1 { "has" } else { "have" },
        ))),
    }
}

fn show(sources: &[Value], partitions: bool) {
    if sources.is_empty() {
        return page::line("The server has no sources that read by themselves.");
    }
    let mut table = Table::new(&["source", "state", "since", ">behind", "why, and what to do"]);
    for source in sources {
        let said = [text(&source["why"]), text(&source["remedy"])];
        let said: Vec<String> = said.into_iter().filter(|said| !said.is_empty()).collect();
        let cells = ["source", "state", "since"].map(|key| text(&source[key]));
        table.row(cells.into_iter().chain([behind(source), said.join(": ")]));
    }
    table.print();
    if partitions {
        show_partitions(sources);
    }
}

fn show_partitions(sources: &[Value]) {
    let mut table = Table::new(&["source", "partition", ">next", ">end", ">behind"]);
    for source in sources {
        for partition in list(&source["partitions"]) {
            let cells = ["partition", "next", "end", "lag"].map(|key| text(&partition[key]));
            table.row([text(&source["source"])].into_iter().chain(cells));
        }
    }
    if !table.is_empty() {
        table.print();
    }
}

/// By how many messages a source is behind in all its partitions; nothing where one is not known.
fn behind(source: &Value) -> String {
    let partitions = list(&source["partitions"]);
    let lags: Option<Vec<i64>> = partitions.iter().map(|partition| partition["lag"].as_i64()).collect();
    lags.filter(|lags| !lags.is_empty()).map_or_else(String::new, |lags| lags.iter().sum::<i64>().to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
