//! The thread that writes checkpoints.
//!
//! It does what it is told in order, so when a worker's snapshots of an epoch come, all rows are
//! written that the worker put away before. If the disk does not take something, it says so in the
//! log and goes on: rows stay where they were, and the journal has everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use trueup_connectors::checkpoint::outline::OutlineFile;
use trueup_connectors::checkpoint::row_run::{self, Places, RowRun, RunWriter};
use trueup_connectors::checkpoint::{Manifest, Part, Share};
use trueup_connectors::journal::disk::Disk;
use trueup_model::fact::{Entry, Epoch};
use trueup_operators::cold::RUNS_MAX;
use trueup_operators::event_index::Table;

use super::archive::{RowArchive, SharedShelf, Shelf};
use super::line::{Job, Line, Order, Told, line};
use super::{ARRANGEMENT, OUTLINE, ROWS, Settings, arrangements, fingerprint, next_run, run_file, scratch};
use crate::engine::graph::Snapshots;
use crate::engine::publication::Published;

/// How many runs of about the same size become one. Fewer: rows are written more often. More: there are
/// more runs to ask whether they hold an identity.
const TIER: usize = 4;
/// How many checkpoints are kept.
const KEPT: usize = 2;

/// What there is already.
#[derive(Default)]
pub struct Kept {
    /// The checkpoints: the one that the engine begins with, and the one before it if it can be used.
    pub manifests: Vec<Manifest>,
    /// Each worker's runs, newest first.
    pub runs: Vec<Vec<Arc<RowRun>>>,
}

/// The keeper, as the engine holds it.
pub struct Keeper {
    line: Line,
    shelves: Vec<SharedShelf>,
    settings: Settings,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts a keeper for so many workers.
    pub fn start(settings: &Settings, workers: usize, mut kept: Kept) -> io::Result<Keeper> {
        let (line, told) = line(settings.hot_rows_max);
        kept.runs.resize_with(workers, Vec::new);
        let shelf = |runs| Arc::new(Mutex::new(Shelf { runs, ..Shelf::default() }));
        let shelves: Vec<SharedShelf> = kept.runs.into_iter().map(shelf).collect();
        let desk = Desk::begin(settings, kept.manifests, shelves.clone())?;
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || desk.work(&told))?;
        Ok(Keeper { line, shelves, settings: settings.clone(), thread })
    }

    /// A line to it.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// The archive of a worker.
    pub fn archive(&self, worker: usize, published: Arc<Published>) -> RowArchive {
        let settings = self.settings.clone();
        let rows_max = settings.hot_rows_max.div_ceil(self.shelves.len());
        RowArchive::new(worker, rows_max, settings, self.line(), self.shelves[worker].clone(), published)
    }

    /// Waits until it has done what it was told. A worker that failed may have left its line behind,
    /// so the end is a job like others.
    pub fn finish(self) {
        self.line.tell(Job::End);
        // If it panicked, it has said so.
        let _ = self.thread.join();
    }
}

/// What the keeper works with.
struct Desk {
    settings: Settings,
    shelves: Vec<SharedShelf>,
    /// Each worker's rows that are not written.
    unwritten: Vec<VecDeque<Arc<Table>>>,
    outline: OutlineFile,
    /// What is not in the outline's file.
    outline_unwritten: Vec<Entry>,
    orders: VecDeque<Order>,
    /// What is there of checkpoints that are not whole; none: that cannot become whole.
    shares: BTreeMap<Epoch, Vec<(usize, Option<Share>)>>,
    /// Newest first.
    kept: VecDeque<Manifest>,
    next_run: u64,
}

impl Desk {
    fn begin(settings: &Settings, manifests: Vec<Manifest>, shelves: Vec<SharedShelf>) -> io::Result<Desk> {
        let disk = &*settings.disk;
        scratch::tidy(disk)?;
        let outline_bytes = manifests.first().map_or(0, |newest| newest.outline_bytes);
        let outline = OutlineFile::open(disk, OUTLINE, outline_bytes)?;
        let next_run = next_run(disk)?;
        let desk = Desk {
            settings: settings.clone(),
            unwritten: shelves.iter().map(|_| VecDeque::new()).collect(),
            shelves,
            outline,
            outline_unwritten: Vec::new(),
            orders: VecDeque::new(),
            shares: BTreeMap::new(),
            kept: manifests.into(),
            next_run,
        };
        desk.tidy()?;
        Ok(desk)
    }

    fn work(mut self, told: &Told) {
        while let Some(job) = told.next() {
            match job {
                Job::Rows { worker, rows } => {
                    self.unwritten[worker].push_back(rows);
                    self.write_rows(worker);
                }
                Job::Order(order) => self.orders.push_back(order),
                Job::Snapshots { worker, epoch, snapshots } => {
                    let ordered = self.orders.len();
                    self.take(worker, epoch, &snapshots);
                    told.done(ordered - self.orders.len());
                }
                Job::End => return,
            }
        }
    }

    fn shelf(&self, worker: usize) -> MutexGuard<'_, Shelf> {
        self.shelves[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is not written of a worker's rows, as far as the disk takes it.
    fn write_rows(&mut self, worker: usize) {
        while let Some(rows) = self.unwritten[worker].front().cloned() {
            if !self.has_place(worker) {
                return tracing::warn!(
                    worker,
                    "rows are not put away: there are too many runs that could not be merged"
                );
            }
            match self.write_run(|disk, name| write_table(disk, name, &rows)) {
                Ok(run) => self.shelf(worker).add(run),
                Err(error) => return tracing::warn!(worker, %error, "rows are not put away: they cannot be written"),
            }
            self.unwritten[worker].pop_front();
            self.merge_if_it_can_be(worker);
        }
    }

    /// Whether there is a place for another run of a worker. What could not be merged before may be by now.
    fn has_place(&mut self, worker: usize) -> bool {
        if self.shelf(worker).runs.len() >= RUNS_MAX {
            self.merge_if_it_can_be(worker);
        }
        self.shelf(worker).runs.len() < RUNS_MAX
    }

    fn merge_if_it_can_be(&mut self, worker: usize) {
        if let Err(error) = self.merge(worker) {
            tracing::warn!(worker, %error, "runs cannot be merged");
        }
    }

    fn write_run(&mut self, write: impl FnOnce(&dyn Disk, &str) -> io::Result<u64>) -> io::Result<Arc<RowRun>> {
        let name = run_file(self.next_run);
        self.next_run += 1;
        let disk = &*self.settings.disk;
        write(disk, &name)?;
        Ok(Arc::new(RowRun::open(disk, &name)?))
    }

    /// Merges the newest runs while there are enough of about the same size.
    fn merge(&mut self, worker: usize) -> io::Result<()> {
        loop {
            let runs = self.shelf(worker).runs.clone();
            let sizes: Vec<u64> = runs.iter().map(|run| run.rows()).collect();
            let count = alike(&sizes);
            if count == 0 {
                return Ok(());
            }
            let rows_about = sizes[..count].iter().sum();
            let merged =
                self.write_run(|disk, name| row_run::merge(disk, name, rows_about, &runs[..count], |_| true))?;
            self.shelf(worker).replace(0..count, merged);
            self.tidy()?;
        }
    }

    /// Takes a worker's snapshots; makes the checkpoint when those of all workers are there.
    fn take(&mut self, worker: usize, epoch: Epoch, snapshots: &Snapshots) {
        let share = self.share(worker, epoch, snapshots);
        let share = share.inspect_err(|error| tracing::warn!(epoch, %error, "there is no checkpoint")).ok();
        let shares = self.shares.entry(epoch).or_default();
        shares.push((worker, share));
        if shares.len() < self.shelves.len() {
            return;
        }
        let mut shares = self.shares.remove(&epoch).unwrap_or_default();
        shares.sort_by_key(|(worker, _)| *worker);
        let shares: Option<Vec<Share>> = shares.into_iter().map(|(_, share)| share).collect();
        match self.make(epoch, shares) {
            Ok(Some(rows)) => tracing::info!(epoch, rows, "a checkpoint was made"),
            Ok(None) => {}
            Err(error) => tracing::warn!(epoch, %error, "there is no checkpoint"),
        }
        if let Err(error) = self.tidy() {
            tracing::warn!(%error, "what is left of old checkpoints cannot be removed");
        }
    }

    fn share(&mut self, worker: usize, epoch: Epoch, snapshots: &Snapshots) -> io::Result<Share> {
        self.write_rows(worker);
        if !self.unwritten[worker].is_empty() {
            return Err(io::Error::other("there are rows that could not be written"));
        }
        let runs = self.durable_runs(worker)?;
        let runs = runs.iter().map(|run| Part { file: run.name().to_owned(), records: run.rows() }).collect();
        let arrangements = arrangements::write(&*self.settings.disk, worker, epoch, snapshots)?;
        Ok(Share { arrangements, runs })
    }

    /// A worker's runs, newest first, made durable. One of which that cannot be known is written again.
    fn durable_runs(&mut self, worker: usize) -> io::Result<Vec<Arc<RowRun>>> {
        let mut runs = self.shelf(worker).runs.clone();
        for place in 0..runs.len() {
            let Err(error) = runs[place].keep() else { continue };
            tracing::warn!(worker, run = runs[place].name(), %error, "a run is written again: it is not durable");
            let (rows, these) = (runs[place].rows(), &runs[place..=place]);
            let again = self.write_run(|disk, name| row_run::merge(disk, name, rows, these, |_| true))?;
            self.shelf(worker).replace(place..place + 1, again.clone());
            again.keep()?;
            runs[place] = again;
        }
        Ok(runs)
    }

    /// Makes a checkpoint of its shares; says how many rows are in it.
    fn make(&mut self, epoch: Epoch, shares: Option<Vec<Share>>) -> io::Result<Option<u64>> {
        let mut last = None;
        while self.orders.front().is_some_and(|order| order.epoch <= epoch)
            && let Some(mut order) = self.orders.pop_front()
        {
            self.outline_unwritten.append(&mut order.outline);
            last = Some(order);
        }
        let (Some(order), Some(shares)) = (last.filter(|order| order.epoch == epoch), shares) else { return Ok(None) };
        let outline_bytes = self.outline.append(&self.outline_unwritten)?;
        self.outline_unwritten.clear();
        let Order { seal, rows, quarantined, .. } = order;
        let manifest = Manifest { fingerprint: fingerprint(), epoch, seal, rows, quarantined, outline_bytes, shares };
        manifest.write(&*self.settings.disk)?;
        self.kept.push_front(manifest);
        self.kept.truncate(KEPT);
        Ok(Some(rows))
    }

    /// Removes the files that nothing needs any more.
    fn tidy(&self) -> io::Result<()> {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for manifest in &self.kept {
            needed.insert(manifest.file());
            needed.extend(manifest.parts().map(str::to_owned));
        }
        let shares = self.shares.values().flatten().filter_map(|(_, share)| share.as_ref());
        needed.extend(shares.flat_map(Share::parts).map(|part| part.file.clone()));
        for worker in 0..self.shelves.len() {
            needed.extend(self.shelf(worker).runs.iter().map(|run| run.name().to_owned()));
        }
        let disk = &*self.settings.disk;
        let is_ours = |name: &String| {
            name.starts_with(ROWS) || name.starts_with(ARRANGEMENT) || name.starts_with(Manifest::PREFIX)
        };
        for name in disk.list()?.iter().filter(|name| is_ours(name) && !needed.contains(*name)) {
            disk.remove(name)?;
        }
        Ok(())
    }
}

/// How many of the newest runs are to be merged. Runs of about the same size wait until there are four
/// of them: so a row is written again about as often as the number of rows becomes four times as
/// large, and there are at most three runs of each size.
fn alike(sizes: &[u64]) -> usize {
    let mut largest = sizes.first().copied().unwrap_or_default();
    let same = sizes.iter().take_while(|&&size| {
        let is_alike = size <= 2 * largest;
        largest = largest.max(size);
        is_alike
    });
    let count = same.count();
    match count {
        TIER.. => count,
        _ if sizes.len() > RUNS_MAX - TIER => sizes.len() / 2,
        _ => 0,
    }
}

/// Writes the rows of a table into a run, as the bytes they are.
fn write_table(disk: &dyn Disk, name: &str, table: &Table) -> io::Result<u64> {
    let mut writer = RunWriter::create(disk, name, table.len() as u64)?;
    let mut places = Places::default();
    table.each_standing(|row| {
        let packed = row.packed();
        let origin = places.place(packed.origin(), || Ok(writer.origin(row.origin())))?;
        writer.put(packed, origin, row.wide())
    })?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
    use trueup_model::arrival::Origin;
    use trueup_model::identity::Identity;
    use trueup_model::packed_row::PackedRow;
    use trueup_model::usage::{Says, UsageRow};

    use super::*;

    /// A run of one row.
    fn one_row(disk: &dyn Disk, name: &str) -> io::Result<u64> {
        let identity = Identity::of("t", "s", name);
        let (says, value, occurred_at) = (Says::Assertion, 0, 0);
        let row = UsageRow { identity, occurred_at, value, subject: 0, properties: 0, revision: 0, says, wide: 0 };
        let mut writer = RunWriter::create(disk, name, 1)?;
        let origin = writer.origin(&Arc::new(Origin::default()));
        writer.put(PackedRow::of(&row, 0, 0), origin, &[])?;
        writer.finish()
    }

    #[test]
    fn what_could_not_be_merged_makes_place_when_it_can_be() {
        let disk = SimulatedDisk::new(1);
        let settings = Settings::on(Arc::new(disk.clone()));
        let mut desk = Desk::begin(&settings, Vec::new(), vec![SharedShelf::default()]).unwrap();
        for _ in 0..RUNS_MAX {
            let run = desk.write_run(one_row).unwrap();
            desk.shelf(0).add(run);
        }
        disk.fail_after(0, Failure::Full);
        assert!(!desk.has_place(0), "nothing is written over a full disk");
        assert!(desk.has_place(0), "it is tried again");
        let runs = desk.shelf(0).runs.clone();
        let rows: u64 = runs.iter().map(|run| run.rows()).sum();
        assert!(runs.len() < TIER && rows == RUNS_MAX as u64, "{rows} rows in {} runs", runs.len());
    }

    #[test]
    fn runs_stay_few_whatever_their_sizes_and_rows_are_seldom_written() {
        type Part = fn(u64) -> u64;
        let parts: [(Part, u64); 3] =
            [(|_| 1_000, 2_000), (|number| 1 + number * 7_919 % 1_000, 2_000), (|number| 1 << (number % 21), 500)];
        for (part, parts) in parts {
            let (mut runs, mut written, mut rows, mut most): (Vec<u64>, u64, u64, usize) = (Vec::new(), 0, 0, 0);
            for number in 0..parts {
                runs.insert(0, part(number));
                rows += runs[0];
                while let count @ 1.. = alike(&runs) {
                    let merged = runs[..count].iter().sum();
                    written += merged;
                    runs.splice(..count, [merged]);
                }
                most = most.max(runs.len());
            }
            assert!(most <= RUNS_MAX - TIER && runs.iter().sum::<u64>() == rows, "{most} runs");
            assert!(written <= 8 * rows, "{rows} rows were written again as {written}");
        }
    }
}
