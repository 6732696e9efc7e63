//! `trueup ingest`: what an engine makes of event files, without keeping anything.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use trueup::engine::clock::Clock;
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::{Cell, Row};
use trueup::engine::{Engine, Setup};
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::loading::{EventFiles, load_catalog, load_events};
use super::table::Table;
use super::{ledger, page, words};

/// Try event files out.
///
/// The events are read into a fresh engine, which then says how many count, repeat, supersede or
/// wait, and which it set aside and why. Nothing is kept: a running server takes its events over
/// HTTP and from the files that its configuration names. The exit code is 1 if it set any aside.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files of events, or folders of them: CloudEvents as JSON lines, CSV, Arrow or Parquet
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The folder of the catalog
    #[arg(long, value_name = "DIR")]
    catalog: PathBuf,
    /// How to read CSV: a TOML file for all, or one for each CSV file in order, each with --mapping
    #[arg(long, value_name = "FILE")]
    mapping: Vec<PathBuf>,
    /// The billing clock, a date or a time; else it is now. Events of the future are set aside
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// How many inputs that were set aside to show one by one
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
}

/// Reads and reports.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let as_of = arguments.as_of.as_deref().map(words::parse_instant).transpose()?;
    let clock = if as_of.is_some() { Clock::Told } else { Clock::Wall };
    let engine = Engine::start(Setup { clock, ..Setup::default() });
    load_catalog(&engine, &arguments.catalog, as_of)?;
    let files = EventFiles { events: arguments.files.clone(), mapping: arguments.mapping.clone() };
    load_events(&engine, &files)?;
    let moment = engine.newest();
    match json {
        true => print_json(&moment),
        false => print(&moment, arguments.show),
    }
    match ledger::quarantined(&moment) {
        0 => Ok(()),
        inputs => Err(Failure::No(words::set_aside(inputs))),
    }
}

/// What each state of the ledger means.
const MEANINGS: [(&str, &str); 7] = [
    ("received", "came in; each is in one of the states below"),
    ("counted", "stand, and are somebody's usage"),
    ("waiting", "stand, and wait for a customer with their subject"),
    ("superseded", "gave way to a later revision"),
    ("retracted", "took an event back"),
    ("duplicate", "said the same again"),
    ("quarantined", "were set aside, for a reason below"),
];

fn print(moment: &Moment, shown: usize) {
    let states = ledger::states(moment);
    let mut table = Table::new(&["state", ">events", "events that"]);
    for (state, meaning) in MEANINGS {
        if let Some(events) = states.get(state) {
            table.row([state.to_owned(), words::count(*events), meaning.to_owned()]);
        }
    }
    table.print();
    let rows = moment.rows(View::Quarantine);
    let mut table = Table::new(&["where", "reason", "what is wrong, and what to do"]);
    for row in rows.iter().take(shown) {
        let [source, position, reason, detail] = refusal(row);
        table.row([format!("{source} {position}"), reason, detail]);
    }
    if !table.is_empty() {
        table.print();
    }
    if rows.len() > shown {
        page::line(format!("and {} more; raise --show, or use --json", words::count((rows.len() - shown) as i128)));
    }
}

fn print_json(moment: &Moment) {
    let states = ledger::states(moment).into_iter().map(|(state, events)| (state, events.into()));
    page::line(Value::Object(states.collect::<Map<String, Value>>()).to_string());
    for row in moment.rows(View::Quarantine) {
        let [source, position, reason, detail] = refusal(&row);
        page::line(json!({"source": source, "position": position, "reason": reason, "detail": detail}).to_string());
    }
}

/// Source, position, reason and detail of a row of the quarantine.
fn refusal(row: &Row) -> [String; 4] {
    ["source", "position", "reason", "detail"].map(|column| {
        match View::Quarantine.place(column).map(|place| &row[place]) {
            Some(Cell::Text(text)) => text.to_string(),
            _ => String::new(),
        }
    })
}
