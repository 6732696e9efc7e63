//! A process that aborts at the first calls of each kind to its disk, or between the steps of its engine,
//! loses nothing that it acknowledged, and counts nothing twice.
//!
//! The test runs itself again as the process that aborts, on a real folder: at hits 1 to 5 of each point that
//! a whole life passes, on an empty folder and on one that an abort left with a torn end. There, at the first
//! hit, five lives in a row end at the same point. What power cuts do besides is in `checkpoints.rs`.

mod life;
mod points;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use trueup::engine::clock::Clock;
use trueup::engine::view_rows::Row;
use trueup::engine::{Engine, Setup, checkpoints};
use trueup_connectors::journal::disk::Disk;
use trueup_connectors::journal::{Aside, FileJournal, Folder, Journal, Settings};

use crate::proof::prove;
use crate::steps::{STEPS, go_on, settled, shown};
use life::{End, live, was_lived};

const TEST: &str = "aborts::whatever_was_acknowledged_outlives_an_abort_at_any_point";
const HITS_MAX: u64 = 5;
const IN_A_ROW: usize = 5;

/// Segments so short that there are some.
fn settings() -> Settings {
    Settings { segment_bytes: 12_000, ..Settings::default() }
}

/// Checkpoints with so few rows in memory that most are put away.
fn checkpoints_on(disk: Arc<dyn Disk>) -> checkpoints::Settings {
    checkpoints::Settings { hot_rows_max: 25, ..checkpoints::Settings::on(disk) }
}

/// Where a trial begins.
struct Beginning {
    /// None: there is nothing yet.
    folder: Option<PathBuf>,
    done: usize,
    /// How many lives end at the first hit of a point.
    in_a_row: usize,
}

/// An end at a hit of a point.
struct Trial<'a> {
    beginning: &'a Beginning,
    point: String,
    hit: u64,
}

/// How often a life was ended, and how often a trial lived on as its point was not passed so often.
#[derive(Default)]
struct Seen {
    aborts: AtomicU64,
    spared: AtomicU64,
}

type Views = Vec<(&'static str, Vec<Row>)>;

fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aborts").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

impl Beginning {
    /// Puts it into a folder.
    fn lay(&self, to: &Path) {
        drop(fs::remove_dir_all(to));
        fs::create_dir_all(to.join("checkpoints")).expect("a folder can be made");
        for below in ["", "checkpoints"] {
            let Some(from) = self.folder.as_ref().map(|folder| folder.join(below)) else { continue };
            for entry in fs::read_dir(from).expect("it can be listed").map(|entry| entry.expect("it is there")) {
                if entry.path().is_file() {
                    fs::copy(entry.path(), to.join(below).join(entry.file_name())).expect("it can be copied");
                }
            }
        }
    }

    /// What a life from here passes, and how often.
    fn trials(&self, name: &str) -> Vec<Trial<'_>> {
        let folder = fresh(name);
        self.lay(&folder);
        let passed = live(TEST, &folder, self.done, ("", 1)).passed.expect("nothing ends it");
        let trials = passed.into_iter().flat_map(|(point, hits)| {
            (1..=hits.min(HITS_MAX)).map(move |hit| Trial { beginning: self, point: point.clone(), hit })
        });
        trials.collect()
    }
}

/// A folder in which a process has aborted, and the last segment has a torn end.
fn torn() -> Beginning {
    let folder = fresh("torn");
    let End { done, passed, .. } = live(TEST, &folder, 0, ("an epoch is acknowledged and nothing of it computed", 7));
    assert_eq!((done, passed), (7, None));
    let segments = fs::read_dir(&folder).expect("it can be listed").map(|entry| entry.expect("it is there").path());
    let segments: BTreeSet<PathBuf> =
        segments.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).collect();
    let last = segments.last().expect("there are segments");
    assert!(segments.len() > 2, "{segments:?}");
    let half = fs::read(last).expect("it can be read")[..100].to_vec();
    let mut last = fs::File::options().append(true).open(last).expect("it is there");
    last.write_all(&half).expect("there is room");
    Beginning { folder: Some(folder), done, in_a_row: IN_A_ROW }
}

impl Trial<'_> {
    fn run(&self, folder: &Path, expected: &Views, seen: &Seen) {
        self.beginning.lay(folder);
        let mut done = self.beginning.done;
        let lives = if self.hit == 1 { self.beginning.in_a_row } else { 1 };
        for life in 0..lives {
            let end = live(TEST, folder, done, (&self.point, self.hit));
            self.check_acknowledged(folder, &end);
            done = end.done;
            if end.passed.is_some() {
                seen.spared.fetch_add(u64::from(life == 0), Ordering::Relaxed);
                break;
            }
            seen.aborts.fetch_add(1, Ordering::Relaxed);
        }
        self.check(folder, done, expected);
    }

    fn name(&self) -> String {
        format!("hit {} of `{}`, with {} steps done before", self.hit, self.point, self.beginning.done)
    }

    /// All that was acknowledged is in the journal.
    fn check_acknowledged(&self, folder: &Path, end: &End) {
        let last = beside(folder).last();
        assert!(last >= end.epoch, "{}: {} was acknowledged, and {last} is the last", self.name(), end.epoch);
    }

    /// The sender goes on with what was not acknowledged; then the views are those of whoever was never
    /// ended, those of a whole replay, and those of the oracle.
    fn check(&self, folder: &Path, done: usize, expected: &Views) {
        let (journal, _) = FileJournal::open(folder, settings()).expect("it is whole");
        let disk = Folder::new(folder.join("checkpoints")).expect("the folder is there");
        let engine = resume(journal, Some(checkpoints_on(Arc::new(disk))), 2);
        assert_eq!(go_on(&engine, done), STEPS.len(), "{}", self.name());
        let last = engine.accept(Vec::new()).expect("nothing fails").epoch;
        engine.wait(last).expect("it runs");
        engine.stop();
        assert!(settled(&engine) == *expected, "{}: something was lost, or counts twice", self.name());
        let replayed = resume(beside(folder), None, 1);
        assert!(shown(&replayed) == shown(&engine), "{}: a checkpoint shows in nothing but time", self.name());
        prove(&replayed, &beside(folder));
    }
}

/// The journal of a folder, only read.
fn beside(folder: &Path) -> FileJournal {
    let disk = Folder::new(folder).and_then(Aside::of).expect("the folder can be read");
    FileJournal::open_on(Arc::new(disk), settings()).expect("an abort leaves no damage").0
}

fn resume(journal: FileJournal, checkpoints: Option<checkpoints::Settings>, workers: usize) -> Engine {
    let setup = Setup { workers, clock: Clock::Told, journal: Box::new(journal), checkpoints, ..Setup::default() };
    Engine::resume(setup, |_| {}).expect("it resumes")
}

/// What is shown when nothing ends.
fn unharmed() -> Views {
    let engine = Engine::start(Setup { workers: 2, clock: Clock::Told, ..Setup::default() });
    assert_eq!(go_on(&engine, 0), STEPS.len());
    let last = engine.accept(Vec::new()).expect("nothing fails").epoch;
    engine.wait(last).expect("it runs");
    settled(&engine)
}

#[test]
fn whatever_was_acknowledged_outlives_an_abort_at_any_point() {
    if was_lived() {
        return;
    }
    let expected = unharmed();
    let beginnings = [Beginning { folder: None, done: 0, in_a_row: 1 }, torn()];
    let trials: Vec<Trial> = beginnings
        .iter()
        .zip(["from_nothing", "from_torn"])
        .flat_map(|(beginning, name)| beginning.trials(name))
        .collect();
    let points: BTreeSet<&str> = trials.iter().map(|trial| trial.point.as_str()).collect();
    let (next, seen) = (AtomicUsize::new(0), Seen::default());
    thread::scope(|scope| {
        for thread in ["one", "two"] {
            let (trials, next, seen, expected) = (&trials, &next, &seen, &expected);
            scope.spawn(move || {
                let folder = fresh(thread);
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = AssertUnwindSafe(|| trial.run(&folder, expected, seen));
                    if let Err(panic) = catch_unwind(run) {
                        eprintln!("it failed at {}", trial.name());
                        resume_unwind(panic);
                    }
                }
            });
        }
    });
    let [aborts, spared] = [&seen.aborts, &seen.spared].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{} points, {} trials, {aborts} aborts: nothing lost, nothing twice; {spared} trials were spared",
        points.len(),
        trials.len()
    );
    for call in ["create", "half of a write", "sync", "rename", "remove", "truncate", "lock", "open", "list"] {
        assert!(points.iter().any(|point| point.starts_with(&format!("{call} of "))), "{call}: {points:?}");
    }
    // Which rows a worker still has in memory is a matter of time, and so is how often they are read.
    assert!(spared * 50 < trials.len() as u64, "{spared} of {} trials ended nothing", trials.len());
}
