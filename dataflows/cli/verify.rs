//! `trueup verify`: whether what a journal says is what the engine makes of it.

use std::path::PathBuf;

use clap::value_parser;
use serde_json::json;
use trueup::engine::clock::Clock;
use trueup::engine::{Engine, Setup, WORKERS_MAX};
use trueup::retelling::{Retelling, Told};
use trueup_connectors::journal::{FileJournal, Journal, Settings};

use super::failure::{Failure, Outcome};
use super::narrator::Narrator;
use super::page;
use super::proof;

/// Check every view against a plain computation over a journal.
///
/// The journal is read to its end, checksums and all. The engine computes its views from it, as at
/// a restart; the oracle, which shares nothing with it, works them out anew from all facts; and both
/// must say the same, row by row. The server of the journal must have stopped; an end that a crash
/// tore off is cut, as at a restart. The exit code is 1 if they differ.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the journal
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,
    /// How many threads compute
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=WORKERS_MAX as u64))]
    workers: u64,
}

/// Verifies.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let folder = &arguments.journal;
    if !folder.is_dir() {
        return Err(Failure::Input(format!("`{}` is no folder: give the journal's", folder.display())));
    }
    let (journal, opened) = FileJournal::open(folder, Settings::default()).map_err(|error| Failure::input(&error))?;
    if opened.last == 0 {
        return Err(Failure::Input(format!(
            "the journal in `{}` is empty: there is nothing to verify",
            folder.display()
        )));
    }
    let narrator = Narrator::new(json);
    let told = retell(&journal, narrator, opened.last)?;
    let bar = narrator.bar(opened.last as usize, "the engine computes");
    let setup = Setup {
        workers: arguments.workers as usize,
        clock: Clock::Told,
        journal: Box::new(journal),
        ..Setup::default()
    };
    let engine = Engine::resume(setup, |epoch| bar.set_position(epoch))?;
    bar.finish_and_clear();
    let proof = proof::check(&engine.newest(), &told, narrator);
    match json {
        true => page::line(
            json!({"epochs": opened.last, "facts": proof.facts(), "rows_compared": proof.rows(), "holds": proof.holds()})
                .to_string(),
        ),
        false => proof.print(),
    }
    if proof.holds() {
        return Ok(());
    }
    Err(Failure::No(
        "the engine and the oracle differ: this is a bug of trueup, please report it with the journal".into(),
    ))
}

/// What the journal holds, in the words of the oracle.
fn retell(journal: &FileJournal, narrator: Narrator, last: u64) -> Result<Vec<Told>, Failure> {
    let bar = narrator.bar(last as usize, "the journal is read");
    let mut retelling = Retelling::default();
    let mut told = Vec::new();
    for entry in journal.entries(0) {
        let entry = entry.map_err(|error| Failure::input(&error))?;
        told.push(retelling.retell(&entry));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(told)
}
