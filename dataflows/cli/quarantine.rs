//! `trueup quarantine`: what was set aside, and reading it again after a fix.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use serde_json::{Value, json};
use trueup::engine::Engine;
use trueup_connectors::quarantine::{Replayed, Selection, reason};
use trueup_model::fact::InputId;
use trueup_sinks::reading::{Reading, Scan};
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::loading::{TENANT, load_catalog};
use super::remote::{Connection, Remote, block_on};
use super::table::Table;
use super::way_in::{self, WayIn};
use super::{page, shown, words};
use crate::config::Config;

/// Look at what was set aside, and read it again after a fix.
///
/// A running server is asked; of one that was stopped, the journal is opened.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The configuration of the server
    #[arg(long, global = true, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List what is set aside
    List(Listed),
    /// Show an input with its reason and its remedy, and all that was kept of it
    Show {
        /// Which, by its epoch and place, such as 12/3
        input: InputId,
    },
    /// Read again what is set aside: a new property of a meter, a raised limit or a catalog that was
    /// mended may let it through. What is accepted counts as received when it came; what fails again
    /// stays, with its reason of now. The exit code is 1 if any of it stays.
    Replay(Selected),
}

#[derive(Debug, clap::Args)]
struct Listed {
    #[command(flatten)]
    selected: Selected,
    /// What was replayed too
    #[arg(long)]
    all: bool,
}

/// Which of what is set aside; all of it unless told otherwise.
#[derive(Debug, clap::Args)]
struct Selected {
    /// These inputs, by epoch and place, such as 12/3
    inputs: Vec<InputId>,
    /// What was set aside for this reason, such as missing
    #[arg(long, value_parser = reason)]
    reason: Option<trueup_model::usage::Reason>,
    /// What came in by this source
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

impl Selected {
    fn selection(&self) -> Selection {
        let inputs: BTreeSet<InputId> = self.inputs.iter().copied().collect();
        Selection { inputs, reason: self.reason, source: self.source.clone() }
    }

    fn written(&self) -> Vec<u8> {
        let inputs: Vec<String> = self.inputs.iter().map(ToString::to_string).collect();
        let reason = self.reason.map(trueup_model::usage::Reason::name);
        json!({"inputs": inputs, "reason": reason, "source": self.source}).to_string().into_bytes()
    }
}

/// Answers.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    match &arguments.what {
        What::List(listed) => list(&arguments.config, listed, json),
        What::Show { input } => show(&arguments.config, *input, json),
        What::Replay(selected) => replay(&arguments.config, selected, json),
    }
}

fn list(config: &Path, listed: &Listed, json: bool) -> Outcome {
    let read = Config::read(config).map_err(Failure::Input)?;
    let batches = match way_in::answers(read.address)? {
        true => block_on(over_server(&read))?,
        false => match way_in::open(config)?.0 {
            WayIn::Journal(engine) => {
                let moment: Arc<dyn Reading> = engine.newest();
                moment.scan(View::Quarantine, &Scan::default()).collect()
            }
            WayIn::Server(_) => return Err(Failure::Engine(format!("nothing shows views at {}", read.address))),
        },
    };
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| Listing { batch, row }));
    let rows: Vec<Listing<'_>> = rows.filter(|row| row.is_wanted(listed)).collect();
    if json {
        rows.iter().for_each(|row| page::line(shown::object(row.batch, row.row)));
        return Ok(());
    }
    let mut table =
        Table::new(&["input", "state", "received", "source", "position", "event", "reason", "why, and what to do"]);
    for row in &rows {
        let source = [row.cell("source"), row.cell("partition")].join(" ");
        let [state, received, position, event, reason, detail] =
            ["state", "received_at", "position", "event_id", "reason", "detail"].map(|column| row.cell(column));
        table.row([row.input(), state, received, source.trim_end().to_owned(), position, event, reason, detail]);
    }
    if !table.is_empty() {
        table.print();
    }
    page::line(format!("{}.", words::counted(rows.len(), "input")));
    Ok(())
}

async fn over_server(config: &Config) -> Result<Vec<RecordBatch>, Failure> {
    let mut remote = Remote::connect(&Connection::to(config)).await?;
    let answer = remote.path(&[View::Quarantine.name()]).await?;
    answer.rows.try_collect().await.map_err(|error| remote.failure(error))
}

/// A row of the quarantine.
struct Listing<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Listing<'_> {
    fn cell(&self, column: &str) -> String {
        let place = self.batch.schema_ref().index_of(column).ok();
        place.map_or_else(String::new, |place| shown::cell(self.batch, self.row, place))
    }

    fn input(&self) -> String {
        format!("{}/{}", self.cell("epoch"), self.cell("place"))
    }

    fn is_wanted(&self, listed: &Listed) -> bool {
        let Selected { inputs, reason, source } = &listed.selected;
        (listed.all || self.cell("state") != "replayed")
            && (inputs.is_empty() || inputs.iter().any(|input| input.to_string() == self.input()))
            && reason.is_none_or(|reason| self.cell("reason") == reason.name())
            && source.as_ref().is_none_or(|source| self.cell("source") == *source)
    }
}

fn show(config: &Path, input: InputId, json: bool) -> Outcome {
    let shown = match way_in::open(config)?.0 {
        WayIn::Server(server) => server.get(&format!("/v1/quarantine/{input}"))?,
        WayIn::Journal(engine) => kept(&engine, input)?,
    };
    if json {
        page::line(shown.to_string());
        return Ok(());
    }
    let text = |key: &str| match &shown[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    for key in ["input", "state", "replayed_at", "received_at", "source", "partition", "position"] {
        tell(key, &text(key));
    }
    for key in ["event_source", "event_id", "reason", "detail"] {
        tell(key, &text(key));
    }
    if shown["whole"] == Value::Bool(false) {
        let why = "it was not kept whole, as it is no JSON or larger than an event may be; or it contradicts what \
                   stands, or its backfill was taken back: mend it where it comes from and send it again";
        tell("cannot be replayed", why);
    }
    tell("payload", &text("payload"));
    Ok(())
}

fn tell(key: &str, text: &str) {
    if !text.is_empty() {
        page::line(format!("{:<20}{text}", key.replace('_', " ")));
    }
}

/// An input as the journal has it.
fn kept(engine: &Engine, input: InputId) -> Result<Value, Failure> {
    let found = engine.set_aside(input)?.ok_or_else(|| {
        Failure::Input(format!("nothing was set aside as {input}: `trueup quarantine list --all` says what was"))
    })?;
    Ok(found.json())
}

fn replay(config: &Path, selected: &Selected, json: bool) -> Outcome {
    let (way_in, config) = way_in::open(config)?;
    // Without a server the catalog is read just now.
    let is_served = matches!(way_in, WayIn::Server(_));
    let replayed = match way_in {
        WayIn::Server(server) => {
            let answer = server.post("/v1/quarantine/replay", selected.written())?;
            let number = |key: &str| answer[key].as_u64().unwrap_or_default();
            let (accepted, still, unreadable) = (number("accepted"), number("still_set_aside"), number("unreadable"));
            Replayed { epoch: answer["epoch"].as_u64(), accepted, still, unreadable }
        }
        WayIn::Journal(engine) => {
            // The fix is in the catalog's files, more often than not.
            load_catalog(&engine, &config.catalog, None)?;
            engine.replay_quarantine(TENANT, &selected.selection())?
        }
    };
    let Replayed { epoch, accepted, still, unreadable } = replayed;
    let named = selected.inputs.iter().collect::<BTreeSet<_>>().len() as u64;
    let unknown = named.saturating_sub(accepted + still + unreadable);
    match json {
        true => page::line(
            json!({
                "epoch": epoch, "accepted": accepted, "still_set_aside": still, "unreadable": unreadable,
                "not_found": unknown,
            })
            .to_string(),
        ),
        false => {
            page::line(format!("{} accepted.", words::counted(accepted as usize, "input")));
            if still > 0 {
                let inputs = words::counted(still as usize, "input");
                page::line(format!(
                    "{inputs} still set aside, with the reason of now: `trueup quarantine list` has it."
                ));
                if is_served {
                    page::line(
                        "A server has the catalog that it started with: if the fix is there, start it again first. If \
                         what was sent is wrong, send it again as it should be.",
                    );
                }
            }
            if unreadable > 0 {
                let inputs = words::counted(unreadable as usize, "input");
                page::line(format!("{inputs} cannot be read again: `trueup quarantine show` says why."));
            }
        }
    }
    if unknown > 0 {
        let inputs = words::counted(unknown as usize, "input");
        let why = "there is none of that name, it was accepted before, its backfill was taken back, or it is not of that \
                   reason or source";
        return Err(Failure::No(format!("{inputs} of those that were named not found in the quarantine: {why}")));
    }
    let is_narrow = selected.reason.is_some() || selected.source.is_some();
    if is_narrow && accepted + still + unreadable == 0 {
        let why = "nothing that is set aside is of that reason and source: `trueup quarantine list` has what is";
        return Err(Failure::No(why.to_owned()));
    }
    match still + unreadable {
        0 => Ok(()),
        left => Err(Failure::No(format!("{} in the quarantine", words::counted(left as usize, "input")))),
    }
}
