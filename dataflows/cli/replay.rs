//! `trueup replay`: events through an engine to the end, and every view into a folder.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ValueEnum, value_parser};
use serde_json::json;
use trueup::engine::clock::Clock;
use trueup::engine::moment::Moment;
use trueup::engine::{Engine, Setup, WORKERS_MAX};
use trueup_sinks::files::{self, Format};
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::issuing::{check_period, issue_all};
use super::loading::{EventFiles, load_catalog, load_events};
use super::table::Table;
use super::{ledger, page, words};

/// Run events through an engine to the end and write every view into a folder.
///
/// With --issue the invoices of a year, a month or a day are issued once the events are in;
/// files of --late are read after that, so that what they move shows as corrections.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the catalog
    #[arg(long, value_name = "DIR")]
    catalog: PathBuf,
    #[command(flatten)]
    files: EventFiles,
    /// The billing clock, a date or a time; else it is now. With it a replay always ends the same
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// Issue the invoices whose period begins in this year, month or day where the customer is
    #[arg(long, value_name = "PERIOD")]
    issue: Option<String>,
    /// Files of events that come after the invoices were issued
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "issue")]
    late: Vec<PathBuf>,
    /// The folder for the views; files of the same names are replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The form of the files
    #[arg(long, value_enum, default_value_t = Form::Parquet)]
    format: Form,
    /// How many threads compute
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=WORKERS_MAX as u64))]
    workers: u64,
    /// End with exit code 1 if any input is set aside, not only if all are
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Parquet,
    Csv,
    Json,
}

/// Replays.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    arguments.issue.as_deref().map_or(Ok(()), check_period)?;
    let as_of = arguments.as_of.as_deref().map(words::parse_instant).transpose()?;
    let clock = if as_of.is_some() { Clock::Told } else { Clock::Wall };
    let engine = Engine::start(Setup { clock, workers: arguments.workers as usize, ..Setup::default() });
    load_catalog(&engine, &arguments.catalog, as_of)?;
    load_events(&engine, &arguments.files)?;
    let issued = match &arguments.issue {
        Some(period) => issue_all(&engine, period)?.documents.len(),
        None => 0,
    };
    let late = EventFiles { events: arguments.late.clone(), mapping: arguments.files.mapping.clone() };
    load_events(&engine, &late)?;
    let format = match arguments.format {
        Form::Parquet => Format::Parquet,
        Form::Csv => Format::Csv,
        Form::Json => Format::Json,
    };
    let moment = engine.newest();
    let written = files::write_views(Arc::clone(&moment) as _, &arguments.out, format)?;
    if json {
        written.iter().for_each(|(view, path, rows)| {
            page::line(json!({"view": view.name(), "file": path.display().to_string(), "rows": rows}).to_string());
        });
    } else {
        print(&moment, written, issued);
    }
    judge(&moment, arguments.strict)?;
    match &arguments.issue {
        Some(period) if issued == 0 => Err(Failure::No(format!(
            "nothing was issued: no invoice has lines and a period that begins in {period} and is over"
        ))),
        _ => Ok(()),
    }
}

fn print(moment: &Moment, written: Vec<(View, PathBuf, usize)>, issued: usize) {
    let mut table = Table::new(&["view", ">rows", "file"]);
    for (view, path, rows) in written {
        table.row([view.name().to_owned(), words::count(rows as i128), path.display().to_string()]);
    }
    table.print();
    let at = words::instant(moment.books().clock);
    page::line(format!(
        "The books as of {at} UTC, epoch {}; {} issued.",
        moment.epoch(),
        words::counted(issued, "invoice")
    ));
}

/// Says what was set aside; that is a failure if nothing else came in, or if none may be.
fn judge(moment: &Moment, strict: bool) -> Outcome {
    let inputs = ledger::quarantined(moment);
    let received = ledger::states(moment).get("received").copied().unwrap_or_default();
    if inputs > 0 && (strict || inputs == received) {
        return Err(Failure::No(format!("{}: the quarantine view says which and why", words::set_aside(inputs))));
    }
    ledger::tell_set_aside(moment);
    Ok(())
}
