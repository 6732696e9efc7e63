//! `trueup watch`: the changes of a view on a running server, as they come.
//!
//! Rows that went and rows that came are put together by the view's key, so that a change reads
//! as a change. What is printed of an epoch is printed once the server says that it is whole.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::page::Ink;
use super::remote::{Connection, Remote, block_on};
use super::signals::told_to_end;
use super::{page, shown};

/// Follow the changes of a view on a running server.
///
/// Begins with the rows as they are, or with --after at an epoch; each further line is a row that
/// came (+), went (-) or changed (~). Ends with the server; go on with --after the last epoch.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The view, such as quotas or invoices
    #[arg(value_parser = view)]
    view: View,
    #[command(flatten)]
    connection: Connection,
    /// Only changes after this epoch
    #[arg(long, value_name = "EPOCH")]
    after: Option<u64>,
}

fn view(name: &str) -> Result<View, String> {
    View::named(name).ok_or_else(|| format!("the views are {}", View::ALL.map(View::name).join(", ")))
}

/// The columns in front of those of the view: time, progress, difference.
const OWN_COLUMNS: usize = 3;

/// Follows until the server ends or the process is stopped.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    block_on(async {
        let followed = follow(arguments, json);
        tokio::select! {
            outcome = followed => outcome,
            told = told_to_end() => told,
        }
    })
}

async fn follow(arguments: &Arguments, json: bool) -> Outcome {
    let mut remote = Remote::connect(&arguments.connection).await?;
    let after = arguments.after.map(|epoch| epoch.to_string());
    let path: Vec<&str> = ["changes", arguments.view.name()].into_iter().chain(after.as_deref()).collect();
    let mut answer = remote.path(&path).await?;
    let mut epoch = Epoch { view: arguments.view, json, last: arguments.after, changes: BTreeMap::new() };
    loop {
        match answer.rows.try_next().await {
            Ok(Some(batch)) => epoch.take(&batch),
            Ok(None) => return Ok(()),
            Err(error) => return Err(epoch.ended(remote.failure(error))),
        }
    }
}

/// The rows of an epoch that is not whole yet.
struct Epoch {
    view: View,
    json: bool,
    /// The last epoch that was whole.
    last: Option<u64>,
    changes: BTreeMap<i64, BTreeMap<Vec<String>, Change>>,
}

/// What happened to the row of a key.
#[derive(Default)]
struct Change {
    went: Option<Vec<String>>,
    came: Option<Vec<String>>,
}

impl Epoch {
    fn take(&mut self, batch: &RecordBatch) {
        let times: &Int64Array = batch.column(0).as_primitive::<Int64Type>();
        let marks: &BooleanArray = batch.column(1).as_boolean();
        let diffs: &Int64Array = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if marks.is_valid(row) && marks.value(row) {
                self.tell();
                self.last = u64::try_from(times.value(row)).ok();
            } else if self.json {
                page::line(shown::object(batch, row));
            } else {
                self.keep(batch, row, times.value(row), diffs.value(row));
            }
        }
    }

    fn keep(&mut self, batch: &RecordBatch, row: usize, time: i64, diff: i64) {
        let cells: Vec<String> =
            (OWN_COLUMNS..batch.num_columns()).map(|column| shown::cell(batch, row, column)).collect();
        let key = cells[..self.view.key().len()].to_vec();
        let change = self.changes.entry(time).or_default().entry(key).or_default();
        let side = if diff > 0 { &mut change.came } else { &mut change.went };
        *side = Some(cells);
    }

    fn tell(&mut self) {
        for (time, changes) in std::mem::take(&mut self.changes) {
            let heading = if self.last.is_none() { format!("as of epoch {time}") } else { format!("epoch {time}") };
            page::line(page::ink(Ink::Bold, &heading));
            changes.iter().for_each(|(key, change)| page::line(self.sentence(key, change)));
        }
    }

    fn sentence(&self, key: &[String], change: &Change) -> String {
        let columns = &self.view.columns()[key.len()..];
        let rest = |cells: &[String]| cells[key.len()..].to_vec();
        let pairs = |cells: Vec<String>| {
            let pairs = columns.iter().zip(cells).map(|(column, cell)| format!("{} {cell}", column.name));
            pairs.collect::<Vec<_>>().join(", ")
        };
        let key_text = key.join(" | ");
        match (&change.went, &change.came) {
            (Some(went), Some(came)) => {
                let cells = columns.iter().zip(rest(went)).zip(rest(came));
                let changed = cells.filter(|((_, old), new)| old != new);
                let changed = changed.map(|((column, old), new)| format!("{} {old} → {new}", column.name));
                format!("  {} {key_text}: {}", page::ink(Ink::Yellow, "~"), changed.collect::<Vec<_>>().join(", "))
            }
            (None, Some(came)) => format!("  {} {key_text}: {}", page::ink(Ink::Green, "+"), pairs(rest(came))),
            (Some(went), None) => format!("  {} {key_text}: {}", page::ink(Ink::Red, "-"), pairs(rest(went))),
            (None, None) => String::new(),
        }
    }

    /// The failure, with how to go on.
    fn ended(&self, failure: Failure) -> Failure {
        match (failure, self.last) {
            (Failure::Engine(why), Some(last)) => {
                Failure::Engine(format!("{why}: go on with `trueup watch {} --after {last}`", self.view.name()))
            }
            (failure, _) => failure,
        }
    }
}
