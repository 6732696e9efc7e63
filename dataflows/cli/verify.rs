//! `trueup verify`: whether what a journal says is what the engine makes of it.

use std::path::PathBuf;

use clap::value_parser;
use serde_json::json;
use trueup::engine::checkpoints;
use trueup::engine::clock::Clock;
use trueup::engine::{Engine, Setup, WORKERS_MAX};
use trueup::retelling::{Retelling, Told};
use trueup_connectors::journal::{FileJournal, Journal, Settings};
use trueup_model::fact::Epoch;
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::narrator::Narrator;
use super::page;
use super::proof;
use super::resume::{aside, checkpoints_aside};
use super::words;
use crate::config::Config;

/// Check every view against a plain computation over a journal.
///
/// The journal is read to its end, checksums and all. The engine computes its views from it, as at
/// a restart; the oracle, which shares nothing with it, works them out anew from all facts; and both
/// must say the same, row by row. If there is a checkpoint, an engine that begins with it must show
/// the same too. Nothing is written, so the server of the journal may run: what it has written by now is
/// verified. The exit code is 1 if they differ.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the journal; else as the configuration says
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    journal: Option<PathBuf>,
    /// The configuration of the server
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// How many threads compute
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=WORKERS_MAX as u64))]
    workers: u64,
}

/// Verifies.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let folder = &folder(arguments)?;
    if !folder.is_dir() {
        return Err(Failure::Input(format!("`{}` is no folder: give the journal's", folder.display())));
    }
    // The checkpoints are looked at first: what they are of is then in the journal.
    let (checkpoints, disk) = (checkpoints_aside(folder)?, aside(folder)?);
    let open = || FileJournal::open_on(disk.clone(), Settings::default()).map_err(|error| Failure::input(&error));
    let (journal, opened) = open()?;
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
    let kept = match checkpoints {
        Some(checkpoints) => verify_checkpoint(engine, open()?.0, checkpoints, arguments)?,
        None => None,
    };
    match json {
        true => page::line(
            json!({
                "epochs": opened.last, "facts": proof.facts(), "rows_compared": proof.rows(), "holds": proof.holds(),
                "checkpoint": kept.as_ref().map(|kept| kept.epoch),
                "checkpoint_holds": kept.as_ref().map(|kept| kept.wrong.is_empty()),
            })
            .to_string(),
        ),
        false => {
            proof.print();
            kept.iter().for_each(Kept::print);
        }
    }
    if let Some(kept) = kept.filter(|kept| !kept.wrong.is_empty()) {
        return Err(Failure::No(format!(
            "with the checkpoint of epoch {} the engine shows something else: this is a bug of trueup, please report it \
             with the journal; without the folder of the checkpoints everything is computed anew",
            kept.epoch
        )));
    }
    if proof.holds() {
        return Ok(());
    }
    Err(Failure::No(
        "the engine and the oracle differ: this is a bug of trueup, please report it with the journal".into(),
    ))
}

/// The folder of the journal that is meant.
fn folder(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(journal) = &arguments.journal {
        return Ok(journal.clone());
    }
    let config = Config::read(&arguments.config).map_err(Failure::Input)?;
    config.journal.ok_or_else(|| {
        Failure::Input(format!("`{}` names no journal: give one with --journal", arguments.config.display()))
    })
}

/// What became of a checkpoint.
struct Kept {
    epoch: Epoch,
    /// The views that are not as they would be without it.
    wrong: Vec<&'static str>,
}

impl Kept {
    fn print(&self) {
        let epoch = words::count(self.epoch);
        match self.wrong.is_empty() {
            true => page::line(format!("With the checkpoint of epoch {epoch} every view is the same.")),
            false => {
                page::line(format!("With the checkpoint of epoch {epoch} these differ: {}.", self.wrong.join(", ")))
            }
        }
    }
}

/// Starts the engine once more, from the newest checkpoint if there is one, and compares every view.
fn verify_checkpoint(
    whole: Engine,
    journal: FileJournal,
    checkpoints: checkpoints::Settings,
    arguments: &Arguments,
) -> Result<Option<Kept>, Failure> {
    let expected = whole.newest();
    let last = expected.epoch();
    // Two engines at once need not fit into memory.
    drop(whole);
    let setup = Setup {
        workers: arguments.workers as usize,
        clock: Clock::Told,
        journal: Box::new(journal),
        checkpoints: Some(checkpoints),
        ..Setup::default()
    };
    let mut first = None;
    let engine = Engine::resume(setup, |epoch| first = first.or(Some(epoch)))?;
    let shown = engine.newest();
    let is_wrong = |view: &View| shown.rows(*view) != expected.rows(*view);
    let wrong = View::ALL.into_iter().filter(is_wrong).map(View::name).collect();
    let epoch = first.map_or(last, |first| first - 1);
    Ok((epoch > 0).then_some(Kept { epoch, wrong }))
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
