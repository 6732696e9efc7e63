//! Every figure of trueup, as JSON lines on standard output and as sentences beside them.
//!
//! Each run is a process of its own, so that memory is that of one engine and nothing is warm.
//! A run that does not arrive at the reference totals is an error, and there is no figure.
//! What each figure means is in `benches/README.md`.

mod measured;
mod plan;
mod run;

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use trueup_workload::machine::Machine;

use measured::Measured;
use plan::Subject;

/// Measures trueup.
#[derive(Parser)]
struct Arguments {
    /// How many events the month has.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// How often each subject is run; the figure is the median.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only subjects whose name contains this, such as `core_2w` or `ndjson`.
    #[arg(long, default_value = "")]
    only: String,
    /// For how many events back changes can be told, where it is not the default.
    #[arg(long)]
    retention_events: Option<u64>,
    /// Lists the subjects instead of running them.
    #[arg(long)]
    list: bool,
    /// Runs this one subject in this process, and prints what was measured.
    #[arg(long, hide = true)]
    alone: Option<String>,
    /// Given by `cargo bench`; without it a few events are run through, as a test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if !arguments.bench && arguments.alone.is_none() {
        (arguments.events, arguments.runs) = (20_000, 1);
    }
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let subjects = plan::subjects(arguments.events, arguments.retention_events);
    if let Some(name) = &arguments.alone {
        let subject =
            subjects.iter().find(|subject| subject.name() == *name).ok_or(format!("there is no subject {name}"))?;
        let measured = run::run(subject).map_err(|error| error.to_string())?;
        return measured.iter().try_for_each(|one| say(&one.to_line()));
    }
    let machine = Machine::this();
    eprintln!("{}, commit {}", machine.name, machine.commit);
    for subject in subjects.iter().filter(|subject| subject.name().contains(&arguments.only)) {
        if arguments.list {
            say(&subject.name())?;
            continue;
        }
        let runs: Result<Vec<_>, String> = (0..arguments.runs).map(|_| run_alone(arguments, subject)).collect();
        for figure in measured::medians(runs?) {
            eprintln!("{:<34} {:>14} {}", figure.name, measured::show(figure.value), figure.unit);
            say(&measured::line(&figure, subject, arguments.runs, &machine))?;
        }
    }
    Ok(())
}

/// Runs a subject in a process of its own.
fn run_alone(arguments: &Arguments, subject: &Subject) -> Result<Vec<Measured>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args(["--events", &arguments.events.to_string(), "--alone", &subject.name()]);
    if let Some(retention_events) = arguments.retention_events {
        command.args(["--retention-events", &retention_events.to_string()]);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{} gave no figure", subject.name()));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().map(Measured::from_line).collect()
}

fn say(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())
}
