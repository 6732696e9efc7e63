//! Writes the events of the workload to a file.
//!
//! `write-events binary|ndjson COUNT AFTER FILE` writes the COUNT events of a month and AFTER
//! more that come when it is over; `write-events totals COUNT AFTER FILE` the totals after
//! COUNT events and after each further thousand of AFTER, a line each.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use trueup_workload::cloud_events;
use trueup_workload::events::Events;
use trueup_workload::reference::Reference;

/// Writes the events of the workload to a file.
#[derive(Parser)]
struct Arguments {
    /// What to write.
    form: Form,
    /// How many events the month has.
    count: u64,
    /// How many come after it.
    after: u64,
    /// Where to.
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// 48 bytes for each event.
    Binary,
    /// A CloudEvent in JSON on each line.
    Ndjson,
    /// Not the events, but their totals.
    Totals,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let events = Events::new(arguments.count);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&arguments.file)?);
    let numbers = 0..arguments.count + arguments.after;
    match arguments.form {
        Form::Binary => {
            numbers.map(|number| events.at(number)).try_for_each(|event| file.write_all(&event.to_bytes()))?
        }
        Form::Ndjson => {
            numbers.map(|number| events.at(number)).try_for_each(|event| cloud_events::write(&event, &mut file))?
        }
        Form::Totals => write_totals(&events, arguments.after, &mut file)?,
    }
    file.flush()
}

fn write_totals(events: &Events, after: u64, to: &mut impl Write) -> io::Result<()> {
    let mut reference = Reference::default();
    (0..events.count()).for_each(|number| reference.take(&events.at(number)));
    writeln!(to, "{}", reference.totals())?;
    for number in events.count()..events.count() + after {
        reference.take(&events.at(number));
        if (number + 1 - events.count()).is_multiple_of(1000) {
            writeln!(to, "{}", reference.totals())?;
        }
    }
    Ok(())
}
