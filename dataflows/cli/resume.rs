//! Engines on what a journal tells: one that goes on with it, and one beside the server that does.

use std::path::Path;
use std::sync::Arc;

use trueup::engine::checkpoints;
use trueup::engine::clock::Clock;
use trueup::engine::recovery::Recovery;
use trueup::engine::retention::Retention;
use trueup::engine::{Engine, Setup};
use trueup_connectors::journal::{Aside, FileJournal, Folder, Settings};
use trueup_model::fact::Epoch;

use super::failure::Failure;
use super::loading::cannot_read;
use super::progress::Telling;
use super::words;
use crate::config::Config;

/// The folder of checkpoints in that of the journal.
const CHECKPOINTS: &str = "checkpoints";

/// Starts an engine on what its journal tells, if it has one.
pub fn resume(config: &Config) -> Result<Engine, Failure> {
    resume_telling(config, &mut Recovery::default())
}

/// The same, and tells how far it is.
pub fn resume_telling(config: &Config, recovery: &mut Recovery) -> Result<Engine, Failure> {
    let (retention, acceptance) = (config.retention, config.acceptance);
    let clock_trusted_until = config.clock_trusted_until;
    let setup = Setup { clock: Clock::Wall, clock_trusted_until, retention, acceptance, ..Setup::default() };
    let Some(folder) = &config.journal else { return Ok(Engine::start(Setup { workers: config.workers, ..setup })) };
    let (journal, opened) = FileJournal::open(folder, Settings::default()).map_err(|error| Failure::input(&error))?;
    if let Some(cut) = &opened.cut {
        tracing::warn!(?cut, "what was not whole at the journal's end was cut off");
    }
    let checkpoints = checkpoints_of(folder)?;
    resume_with(config, Setup { journal: Box::new(journal), checkpoints, ..setup }, opened.last, recovery)
}

/// The same beside the server of the journal: nothing that is accepted reaches it, and time passes when
/// it is told.
pub fn resume_aside(config: &Config) -> Result<Engine, Failure> {
    let retention = Retention { events: u64::MAX, ..Retention::default() };
    let setup = Setup { clock: Clock::Told, retention, acceptance: config.acceptance, ..Setup::default() };
    let Some(folder) = &config.journal else { return Ok(Engine::start(Setup { workers: config.workers, ..setup })) };
    // The checkpoints are looked at first: what they are of is then in the journal.
    let checkpoints = checkpoints_aside(folder)?;
    let (journal, opened) =
        FileJournal::open_on(aside(folder)?, Settings::default()).map_err(|error| Failure::input(&error))?;
    let recovery = &mut Recovery::default();
    resume_with(config, Setup { journal: Box::new(journal), checkpoints, ..setup }, opened.last, recovery)
}

fn resume_with(config: &Config, setup: Setup, last: Epoch, recovery: &mut Recovery) -> Result<Engine, Failure> {
    recovery.ends_at(last);
    let (mut telling, mut again) = (Telling::begin(), 0);
    let engine = Engine::resume(Setup { workers: config.workers, ..setup }, |epoch| {
        let progress = recovery.passed(epoch);
        again = progress.done;
        telling.tell(progress);
    })?;
    telling.end();
    if let (Some(folder), 1..) = (&config.journal, last) {
        let (all, again) = (words::count(last), words::count(again));
        eprintln!("trueup: {again} of {all} epochs were computed again from `{}`", folder.display());
    }
    Ok(engine)
}

/// A folder that is only read.
pub fn aside(folder: &Path) -> Result<Arc<Aside<Folder>>, Failure> {
    let aside = Folder::new(folder).and_then(Aside::of);
    Ok(Arc::new(aside.map_err(|error| cannot_read(folder, &error))?))
}

/// The checkpoints of a journal, to be read and not written.
pub fn checkpoints_aside(journal: &Path) -> Result<Option<checkpoints::Settings>, Failure> {
    let folder = journal.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Ok(None);
    }
    // What would be put away would stay in memory all the same.
    let disk = Folder::new(&folder).and_then(Aside::all_of).map_err(|error| cannot_read(&folder, &error))?;
    Ok(Some(checkpoints::Settings { hot_rows_max: usize::MAX, ..checkpoints::Settings::on(Arc::new(disk)) }))
}

/// The checkpoints of a journal: in a folder in its own, which is made.
fn checkpoints_of(journal: &Path) -> Result<Option<checkpoints::Settings>, Failure> {
    let folder = journal.join(CHECKPOINTS);
    let disk = Folder::new(&folder).map_err(|error| {
        Failure::Input(format!("`{}` cannot be used for checkpoints: {error}; check its rights", folder.display()))
    })?;
    Ok(Some(checkpoints::Settings::on(Arc::new(disk))))
}
