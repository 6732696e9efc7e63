//! `trueup backfill`: a named batch of events, staged, previewed, applied as one epoch, taken back as
//! one.

mod doing;
mod known;
mod preview;
mod staged;
mod told;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup_connectors::backfills::Terms;
use trueup_connectors::shelf::{Staged, check_name};
use trueup_model::backfill::{Scope, Whose};

use super::failure::{Failure, Outcome};
use super::loading::EventFiles;
use super::resume::resume_aside;
use super::table::Table;
use super::way_in::{self, Server, WayIn};
use super::{page, words};
use crate::config::Config;
pub use doing::Served;
use known::Known;
pub use staged::Shelf;
use told::{DIGITS, Told};

/// Stage events, preview what they move, apply them as one epoch, and take them back.
///
/// All of it works on the journal that the configuration names. A running server applies and takes back,
/// asked over HTTP; without one that is done in its journal. A preview changes nothing, and works beside
/// a running server too.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration of the server, which names the journal
    #[arg(long, global = true, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Put events aside under a name, as they are now
    Stage(Stage),
    /// Show which usage, quotas and money a batch would move
    Preview(Preview),
    /// Let a batch count, as one epoch
    Apply(ApplyArguments),
    /// Take back what a batch brought, as one epoch
    Revert(Named),
    /// List what was staged, applied and taken back
    List,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The name of the batch
    name: String,
}

/// Put events aside under a name, as they are now.
///
/// The files are copied into the journal's folder with a digest of each. Nothing counts before it is
/// applied, and what is applied is what was staged.
#[derive(Debug, clap::Args)]
struct Stage {
    /// The name of the batch: letters, digits, `-`, `_` and `.`
    name: String,
    /// Files of events, or folders of them: CloudEvents as JSON lines, CSV, Arrow or Parquet
    #[arg(value_name = "FILE", required_unless_present = "replace")]
    files: Vec<PathBuf>,
    /// How to read CSV: a TOML file for all, or one for each CSV file in order, each with --mapping
    #[arg(long, value_name = "FILE")]
    mapping: Vec<PathBuf>,
    /// Let the batch stand in place of all usage of a subject or customer that a meter reads
    #[arg(long, requires_all = ["meter", "from", "to", "whose"])]
    replace: bool,
    #[command(flatten)]
    whose: WhoseArguments,
    /// The meter of the usage that is replaced
    #[arg(long, requires = "replace")]
    meter: Option<String>,
    /// When the usage that is replaced begins: a time, or a date, which begins where the customer is
    #[arg(long, value_name = "TIME", requires = "replace")]
    from: Option<String>,
    /// When it ends: the first instant after it, likewise
    #[arg(long, value_name = "TIME", requires = "replace")]
    to: Option<String>,
    /// Stage it in place of what was staged under this name
    #[arg(long)]
    again: bool,
}

#[derive(Debug, clap::Args)]
#[group(id = "whose", multiple = false)]
struct WhoseArguments {
    /// Whose usage is replaced: a subject
    #[arg(long, requires = "replace")]
    subject: Option<String>,
    /// Whose usage is replaced: every subject of a customer
    #[arg(long, requires = "replace")]
    customer: Option<String>,
}

/// Show which usage, quotas and money a batch would move.
///
/// The batch is accepted on top of the journal as it is, by an engine that writes nothing, and the
/// views before and after are compared. With --json every row that differs is a line.
#[derive(Debug, clap::Args)]
struct Preview {
    /// The name of the batch
    name: String,
    /// Show what taking it back would move
    #[arg(long)]
    revert: bool,
    /// How many rows of each view to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
}

/// Let a batch count, as one epoch.
///
/// All of its events enter together, or none. A batch is applied once. If some of its events cannot be
/// counted, or contradict what stands, nothing is applied, unless --set-aside.
#[derive(Debug, clap::Args)]
struct ApplyArguments {
    /// The name of the batch
    name: String,
    /// Apply it only if this is its digest, as its preview showed it, or at least its first 12 digits
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// Set aside what cannot be counted, and apply the rest
    #[arg(long)]
    set_aside: bool,
}

/// Does what is asked of backfills.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let config = Config::read(&arguments.config).map_err(Failure::Input)?;
    let Some(journal) = &config.journal else {
        let shown = arguments.config.display();
        return Err(Failure::Input(format!(
            "`{shown}` names no journal, so nothing that is applied would stay: add one"
        )));
    };
    let shelf = Shelf::of(journal)?;
    match &arguments.act {
        Act::Stage(arguments) => stage(&config, journal, &shelf, arguments, json),
        Act::Preview(arguments) => preview(&config, journal, &shelf, arguments, json),
        Act::Apply(named) => apply(&arguments.config, &shelf, named, json),
        Act::Revert(Named { name }) => revert(&arguments.config, name, json),
        Act::List => list(journal, &shelf, json),
    }
}

fn stage(config: &Config, journal: &Path, shelf: &Shelf, arguments: &Stage, json: bool) -> Outcome {
    let files = EventFiles { events: arguments.files.clone(), mapping: arguments.mapping.clone() };
    let mut scope = None;
    if arguments.again || arguments.replace {
        let known = Known::of(journal)?;
        known.check_name(&arguments.name)?;
        if arguments.replace {
            // Of a catalog that no server has read yet the journal knows nothing.
            scope = known_scope(arguments, &known.with_catalog(&config.catalog)?)?;
        }
    }
    let said = scope.as_ref().map(in_place_of).unwrap_or_default();
    let staged = shelf.stage(&arguments.name, &files, scope, arguments.again)?;
    let (name, digest) = (staged.name(), staged.digest());
    match json {
        true => page::line(json!({"name": name, "files": staged.files().len(), "digest": digest}).to_string()),
        false => page::line(format!(
            "{} staged as `{name}`, digest {digest}.{said} See what it moves: trueup backfill preview {name}",
            words::counted(staged.files().len(), "file")
        )),
    }
    Ok(())
}

fn say_doubt(known: &Known, scope: &Scope) {
    if let Some(doubt) = known.doubt(scope) {
        eprintln!("trueup: {doubt}");
    }
}

/// What a batch stands in place of, as a sentence behind another.
fn in_place_of(scope: &Scope) -> String {
    let Scope { whose, meter, from, to } = scope;
    let whose = match whose {
        Whose::Subject(subject) => format!("subject `{subject}`"),
        Whose::Customer(customer) => format!("customer `{customer}`"),
    };
    let [from, to] = [from, to].map(|at| words::instant(*at));
    format!(" It stands in place of what meter `{meter}` counts of {whose} from {from} to {to}, in UTC.")
}

/// What the batch is to stand in place of, if all of it is known.
fn known_scope(arguments: &Stage, known: &Known) -> Result<Option<Scope>, Failure> {
    let whose = match (&arguments.whose.subject, &arguments.whose.customer) {
        (Some(subject), _) => Whose::Subject(subject.clone()),
        (None, Some(customer)) => Whose::Customer(customer.clone()),
        (None, None) => return Ok(None),
    };
    let (Some(meter), Some(from), Some(to)) = (&arguments.meter, &arguments.from, &arguments.to) else {
        return Ok(None);
    };
    let zone = known.zone(&whose);
    let (from, to) = (words::parse_instant_in(from, zone)?, words::parse_instant_in(to, zone)?);
    if from >= to {
        return Err(Failure::Input("what is replaced ends before it begins: give a --to after --from".to_owned()));
    }
    let scope = Scope { whose, meter: meter.clone(), from, to };
    known.check(&scope)?;
    say_doubt(known, &scope);
    Ok(Some(scope))
}

fn preview(config: &Config, journal: &Path, shelf: &Shelf, arguments: &Preview, json: bool) -> Outcome {
    let name = &arguments.name;
    let staged = if arguments.revert { None } else { Some(shelf.find(name)?) };
    // Only of a subject can there be a doubt, and for that the journal is read.
    let doubtful = |scope: &&Scope| matches!(scope.whose, Whose::Subject(_));
    if let Some(scope) = staged.as_ref().and_then(Staged::scope).filter(doubtful) {
        say_doubt(&Known::of(journal)?, scope);
    }
    let engine = resume_aside(config)?;
    let submissions = match &staged {
        Some(staged) => doing::submissions(&engine, shelf, staged, true)?,
        None => vec![Submission::Revert(name.clone())],
    };
    // What time alone moves is none of the batch's doing, so it passes before.
    let now = Clock::Wall.now(engine.books().clock);
    let before = engine.accept(vec![Submission::Clock(now)])?.epoch;
    let scope = staged.as_ref().and_then(Staged::scope);
    let beside = scope.map_or(0, |scope| doing::beside(&engine, scope, &submissions));
    let receipt = engine.accept(submissions)?;
    let after = engine.wait(receipt.epoch)?;
    let told = doing::told(&engine, name, receipt.uncounted())?.into_preview();
    let moved = preview::Moved::between(&after, before);
    match json {
        true => moved.print_json(&told.json()),
        false => {
            page::line(told.sentence() + &scope.map(in_place_of).unwrap_or_default());
            if beside > 0 {
                let events = words::counted(beside, "event");
                page::line(format!("{events} of it not in what it stands in place of: they come on top."));
            }
            moved.print(arguments.show);
            if staged.is_some() {
                page::line(told.how_to_apply());
            }
        }
    }
    Ok(())
}

fn apply(config: &Path, shelf: &Shelf, arguments: &ApplyArguments, json: bool) -> Outcome {
    let name = &arguments.name;
    let terms = Terms { digest: arguments.digest.clone(), set_aside: arguments.set_aside };
    // Whether it is there is told before an engine is started for it.
    shelf.find(name)?;
    say(
        &match way_in::open(config)?.0 {
            WayIn::Server(server) => asked(&server, name, "apply", serde_json::to_vec(&terms).unwrap_or_default())?,
            WayIn::Journal(engine) => doing::apply(&engine, shelf, name, &terms)?,
        },
        json,
    );
    Ok(())
}

fn revert(config: &Path, name: &str, json: bool) -> Outcome {
    check_name(name)?;
    say(
        &match way_in::open(config)?.0 {
            WayIn::Server(server) => asked(&server, name, "revert", Vec::new())?,
            WayIn::Journal(engine) => doing::revert(&engine, name)?,
        },
        json,
    );
    Ok(())
}

/// Lets a server do it.
fn asked(server: &Server, name: &str, what: &str, terms: Vec<u8>) -> Result<Told, Failure> {
    let done = server.post_patiently(&format!("/v1/backfills/{name}/{what}"), terms)?;
    serde_json::from_value(done).map_err(|error| Failure::engine(&error))
}

fn say(told: &Told, json: bool) {
    page::line(if json { told.json().to_string() } else { told.sentence() });
}

fn list(journal: &Path, shelf: &Shelf, json: bool) -> Outcome {
    let known = Known::of(journal)?;
    let mut table = Table::new(&["name", "state", ">epoch", ">taken back", ">events", ">retracted", "digest"]);
    for (name, applied) in known.backfills() {
        if json {
            page::line(Told::of(name, applied, 0).json().to_string());
            continue;
        }
        let (state, reverted) = match applied.reverted {
            Some((epoch, _)) => ("taken back", words::count(epoch)),
            None => ("applied", String::new()),
        };
        let [epoch, events, displaced] =
            [applied.epoch, applied.batch.events, applied.batch.displaced].map(words::count);
        let digest = applied.batch.digest.chars().take(DIGITS).collect();
        table.row([name.to_string(), state.to_owned(), epoch, reverted, events, displaced, digest]);
    }
    for name in shelf.names()?.into_iter().filter(|name| !known.backfills().contains_key(name.as_str())) {
        let staged = shelf.find(&name);
        let (state, digest) = match &staged {
            Ok(staged) => ("staged", staged.digest()),
            Err(_) => ("damaged", ""),
        };
        match json {
            true => page::line(json!({"name": name, "digest": digest, "epoch": null}).to_string()),
            false => {
                let digest = digest.chars().take(DIGITS).collect();
                let [epoch, reverted, events, displaced] = [const { String::new() }; 4];
                table.row([name, state.to_owned(), epoch, reverted, events, displaced, digest]);
            }
        }
    }
    if !json {
        table.print();
    }
    Ok(())
}
