//! `trueup declare`: what producers say to have sent, to be held against what came in.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;
use trueup::engine::door::Submission;
use trueup_connectors::declarations::read_declarations;

use super::failure::{Failure, Outcome};
use super::loading::cannot_read;
use super::way_in::{self, WayIn};
use super::{page, words};

/// Say how many events were sent, by which way, for which hour.
///
/// The file holds one declaration, or a list of them:
/// {"source": "http", "hour": "2026-06-01T08:00:00Z", "events": 1200}. The view
/// `ingest_ledger` then shows them beside what was received, with the difference. A running server is
/// told over HTTP; the journal of one that was stopped is opened.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration of the server
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// A file of declarations in JSON, or - for what comes in on stdin
    file: PathBuf,
}

/// Declares.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let text = read(&arguments.file)?;
    let declarations =
        read_declarations(&text).map_err(|error| Failure::Input(format!("`{}`: {error}", arguments.file.display())))?;
    let declared = declarations.len();
    let epoch = match way_in::open(&arguments.config)?.0 {
        WayIn::Server(server) => server.post("/v1/declarations", text)?["epoch"].as_u64().unwrap_or_default(),
        WayIn::Journal(engine) => engine.accept(declarations.into_iter().map(Submission::Declaration).collect())?.epoch,
    };
    match json {
        true => page::line(json!({"epoch": epoch, "declared": declared}).to_string()),
        false => page::line(format!("{} taken, at epoch {epoch}.", words::counted(declared, "declaration"))),
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file != Path::new("-") {
        return fs::read(file).map_err(|error| cannot_read(file, &error));
    }
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|error| cannot_read(file, &error))?;
    Ok(text)
}
