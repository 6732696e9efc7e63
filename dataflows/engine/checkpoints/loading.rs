//! Loads the newest checkpoint that is whole and belongs to the journal.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use trueup_connectors::checkpoint::row_run::{self, RowRun};
use trueup_connectors::checkpoint::{Manifest, Share, outline};
use trueup_connectors::journal::disk::Disk;
use trueup_connectors::journal::{Journal, JournalError, hexadecimal};
use trueup_model::fact::Entry;
use trueup_model::identity::Identity;

use super::keeper::Kept;
use super::{OUTLINE, Settings, arrangements, fingerprint, next_run, run_file};
use crate::engine::graph::Start;

/// A checkpoint, as an engine begins with it.
pub struct Loaded {
    /// What it is.
    pub manifest: Manifest,
    /// The outline of the journal up to it.
    pub outline: Vec<Arc<Entry>>,
    /// What each worker begins with, but for books and what follows from them.
    pub starts: Vec<Start>,
    /// What the keeper has to go on from.
    pub kept: Kept,
}

/// The newest checkpoint that can be used with a journal; those that cannot are passed over.
pub fn load(settings: &Settings, journal: &dyn Journal, workers: usize) -> Result<Option<Loaded>, JournalError> {
    let disk = &*settings.disk;
    let found =
        Manifest::all(disk).map_err(|source| JournalError::Disk { doing: "list the checkpoints of", source })?;
    let mut usable: VecDeque<Manifest> = VecDeque::new();
    for manifest in found {
        match manifest {
            Ok(manifest) if is_usable(&manifest, journal)? => usable.push_back(manifest),
            Ok(_) => {}
            Err(file) => tracing::warn!(file, "a checkpoint is passed over: it is damaged"),
        }
    }
    while let Some(manifest) = usable.pop_front() {
        let epoch = manifest.epoch;
        match read(disk, manifest, workers) {
            Ok(mut loaded) => {
                loaded.kept.manifests.extend(usable.pop_front());
                return Ok(Some(loaded));
            }
            Err(error) => tracing::warn!(epoch, %error, "a checkpoint is passed over: it cannot be read"),
        }
    }
    Ok(None)
}

/// Whether a checkpoint holds what this program would compute of this journal.
fn is_usable(manifest: &Manifest, journal: &dyn Journal) -> Result<bool, JournalError> {
    let epoch = manifest.epoch;
    if manifest.fingerprint != fingerprint() {
        tracing::info!(epoch, "a checkpoint is passed over: another version of the program wrote it");
        return Ok(false);
    }
    let is_of_it = journal.seal_of(epoch)?.is_some_and(|seal| hexadecimal(&seal) == manifest.seal);
    if !is_of_it {
        tracing::warn!(epoch, "a checkpoint is passed over: it belongs to another journal");
    }
    Ok(is_of_it)
}

fn read(disk: &dyn Disk, manifest: Manifest, workers: usize) -> io::Result<Loaded> {
    let outline = outline::read(disk, OUTLINE, manifest.outline_bytes)?;
    let shares = &manifest.shares;
    let runs = if shares.len() == workers { open_runs(disk, shares)? } else { divide_runs(disk, shares, workers)? };
    let start = |worker| -> io::Result<Start> {
        let mut start = Start { epoch: manifest.epoch, ..Start::default() };
        arrangements::read(disk, shares, worker, workers, &mut start)?;
        Ok(start)
    };
    let starts = thread::scope(|scope| {
        let start = &start;
        let readers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || start(worker))).collect();
        let read = readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked"))));
        read.collect::<io::Result<Vec<Start>>>()
    })?;
    let kept = Kept { manifests: vec![manifest.clone()], runs };
    Ok(Loaded { manifest, outline, starts, kept })
}

fn open_runs(disk: &dyn Disk, shares: &[Share]) -> io::Result<Vec<Vec<Arc<RowRun>>>> {
    let open = |share: &Share| share.runs.iter().map(|run| Ok(Arc::new(RowRun::open(disk, &run.file)?))).collect();
    shares.iter().map(open).collect()
}

/// Where there were other workers, each of those that are now gets the rows that are its own.
fn divide_runs(disk: &dyn Disk, shares: &[Share], workers: usize) -> io::Result<Vec<Vec<Arc<RowRun>>>> {
    let all: Vec<Arc<RowRun>> = open_runs(disk, shares)?.into_iter().flatten().collect();
    let rows: u64 = all.iter().map(|run| run.rows()).sum();
    let first = next_run(disk)?;
    let divide = |worker: usize| {
        let is_mine = |identity: Identity| identity.worker(workers) == worker;
        let name = run_file(first + worker as u64);
        row_run::merge(disk, &name, rows.div_ceil(workers as u64), &all, is_mine)?;
        Ok(vec![Arc::new(RowRun::open(disk, &name)?)])
    };
    (0..workers).map(divide).collect()
}
