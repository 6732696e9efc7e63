//! What can be asked of `trueup` on the command line, and who answers.
//!
//! One file per command, beside those the helpers that several share. Answers go to stdout, as
//! tables or with `--json` as one JSON object a line; all that is said about the work itself goes
//! to stderr.

mod backfill;
mod check;
mod copying;
mod declare;
mod demo;
mod descriptors;
mod failure;
mod ingest;
mod issue;
mod issuing;
mod journal;
mod kafka;
mod ledger;
mod loading;
mod narrator;
mod page;
mod progress;
mod proof;
mod quarantine;
mod quote;
mod remote;
mod replay;
mod resume;
mod serve;
mod shown;
mod signals;
mod sources;
mod sql;
mod table;
mod verify;
mod watch;
mod way_in;
mod words;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use failure::{Failure, Outcome};

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the answer is no: a check failed, or events were set aside \
where none may be; 2 the input cannot be used; 3 the engine, the server or the machine failed.";

/// Warnings, and how a journal is computed again: whoever runs a service would ask.
const LOG: &str = "warn,trueup::recovery=info";

/// Meters usage and bills it, with numbers that are always true.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Answer with JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// What to log to stderr: error, warn, info, debug, or one of them for a part, such as `trueup=debug`
    #[arg(long, global = true, env = "TRUEUP_LOG", default_value = LOG, value_name = "LEVEL")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bill an hour of recorded LLM calls, with everything going wrong that does in practice
    Demo(demo::Arguments),
    /// Run an engine and serve its views over Arrow Flight
    Serve(serve::Arguments),
    /// Try event files out: read them into a fresh engine and say what it makes of each event
    Ingest(ingest::Arguments),
    /// Ask the views by SQL, of a running server or over files
    Sql(sql::Arguments),
    /// Follow the changes of a view on a running server
    Watch(watch::Arguments),
    /// Run events through an engine to the end and write every view into a folder
    Replay(replay::Arguments),
    /// Issue the invoices of a period, from what a server's journal holds
    Issue(issue::Arguments),
    /// Say how many events were sent, to be held against what came in
    Declare(declare::Arguments),
    /// Look at what was set aside, and read it again after a fix
    Quarantine(quarantine::Arguments),
    /// Stage events, preview what they move, apply them as one epoch, and take them back
    Backfill(backfill::Arguments),
    /// Say how the sources of a running server stand: what has halted, why, and what to do
    Sources(sources::Arguments),
    /// Price usage by a plan, tier by tier
    Quote(quote::Arguments),
    /// Check a catalog and tell what it defines
    Check(check::Arguments),
    /// Copy a journal away from its disk, or bring it back
    Journal(journal::Arguments),
    /// Check every view against a plain computation over a journal
    Verify(verify::Arguments),
}

/// Does what the arguments of this process ask for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // A long journal has many files.
    let _ = descriptors::raise();
    let outcome = log_to_stderr(&cli.log).and_then(|()| answer(cli));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trueup: {failure}");
            failure.exit_code()
        }
    }
}

fn answer(cli: Cli) -> Outcome {
    let json = cli.json;
    match cli.command {
        Command::Demo(arguments) => demo::run(&arguments, json),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments, json),
        Command::Sql(arguments) => sql::run(&arguments, json),
        Command::Watch(arguments) => watch::run(&arguments, json),
        Command::Replay(arguments) => replay::run(&arguments, json),
        Command::Issue(arguments) => issue::run(&arguments, json),
        Command::Declare(arguments) => declare::run(&arguments, json),
        Command::Quarantine(arguments) => quarantine::run(&arguments, json),
        Command::Backfill(arguments) => backfill::run(&arguments, json),
        Command::Sources(arguments) => sources::run(&arguments, json),
        Command::Quote(arguments) => quote::run(&arguments, json),
        Command::Check(arguments) => check::run(&arguments, json),
        Command::Journal(arguments) => journal::run(&arguments, json),
        Command::Verify(arguments) => verify::run(&arguments, json),
    }
}

fn log_to_stderr(level: &str) -> Outcome {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::Input(format!("`--log {level}` is not understood ({error}): write a level, such as `--log info`"))
    })?;
    let is_colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_colored).with_writer(std::io::stderr).init();
    Ok(())
}
