//! A life of an engine in a process of its own: it goes on with the steps of a sender, tells on its standard
//! output what it acknowledges, and ends at the point that it was given.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use trueup::engine::clock::Clock;
use trueup::engine::worker::Pace;
use trueup::engine::{Engine, Setup};
use trueup_connectors::journal::{FileJournal, Folder};
use trueup_model::fact::Epoch;

use super::points::{Passing, Points};
use super::{checkpoints_on, settings};
use crate::steps::STEPS;

/// Where a process finds what it is to do.
const TASK: &str = "TRUEUP_ABORTS";

/// The end of a life.
#[derive(Debug)]
pub struct End {
    /// How many steps were acknowledged, with those of the lives before.
    pub done: usize,
    /// The last epoch that was acknowledged.
    pub epoch: Epoch,
    /// What was passed, and how often; none: it was ended.
    pub passed: Option<BTreeMap<String, u64>>,
}

/// Runs a test once more, in a process that goes on behind `done` steps and ends at a hit of a point.
pub fn live(test: &str, folder: &Path, done: usize, (point, hit): (&str, u64)) -> End {
    let mut command = Command::new(std::env::current_exe().expect("a test knows where it is"));
    let task = json!({ "folder": folder, "done": done, "point": point, "hit": hit });
    let output = command.args([test, "--exact", "--nocapture"]).env(TASK, task.to_string()).output();
    let output = output.expect("it can be run");
    let was_ended = output.status.signal().is_some();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(was_ended || output.status.success(), "{} at hit {hit} of `{point}`: {said}", output.status);
    let mut end = End { done, epoch: 0, passed: None };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let told = line.find('{').map(|start| serde_json::from_str::<Value>(&line[start..]));
        let Some(told) = told.and_then(Result::ok) else { continue };
        if let Some(done) = told["done"].as_u64() {
            end.done = done as usize;
            end.epoch = told["epoch"].as_u64().unwrap_or(end.epoch);
        }
        if let Some(passed) = told["passed"].as_object() {
            let hits = |(point, hits): (&String, &Value)| Some((point.clone(), hits.as_u64()?));
            end.passed = passed.iter().map(hits).collect();
        }
    }
    assert_eq!(end.passed.is_none(), was_ended, "it tells what it passed unless it was ended");
    end
}

/// If this process is one that was run so, lives that life, and says so.
pub fn was_lived() -> bool {
    let Ok(task) = std::env::var(TASK) else { return false };
    let task: Value = serde_json::from_str(&task).expect("a task is JSON");
    let text = |key: &str| task[key].as_str().expect("it is a text");
    let number = |key: &str| task[key].as_u64().expect("it is a number");
    let points = Arc::new(Points::up_to(text("point"), number("hit")));
    go_on(Path::new(text("folder")), number("done") as usize, &points);
    println!("\n{}", json!({ "passed": points.passed() }));
    true
}

fn go_on(folder: &Path, done: usize, points: &Arc<Points>) {
    let disk = |folder: &Path, name: &'static str| {
        let folder = Folder::new(folder).expect("the folder is there");
        Arc::new(Passing { folder, points: points.clone(), name })
    };
    let (journal, _) = FileJournal::open_on(disk(folder, "the journal"), settings()).expect("it is whole");
    points.pass("the journal is open");
    let hold = Arc::new(Hold { points: points.clone(), is_held: Mutex::default(), changed: Condvar::new() });
    let setup = Setup {
        workers: 2,
        clock: Clock::Told,
        journal: Box::new(journal),
        checkpoints: Some(checkpoints_on(disk(&folder.join("checkpoints"), "the checkpoints"))),
        pace: Some(hold.clone()),
        ..Setup::default()
    };
    let engine = Engine::resume(setup, |_| {}).expect("it resumes");
    points.pass("the engine has resumed");
    for (step, take) in STEPS.iter().enumerate().skip(done) {
        hold.set(true);
        let epoch = take(&engine).expect("nothing fails");
        points.pass("an epoch is durable and not acknowledged");
        println!("\n{}", json!({ "done": step + 1, "epoch": epoch }));
        points.pass("an epoch is acknowledged and nothing of it computed");
        hold.set(false);
        engine.wait(epoch.unwrap_or_default()).expect("it runs");
        points.pass("an epoch can be read");
    }
    engine.checkpoint().expect("nothing fails");
    engine.stop();
    points.pass("the engine has stopped");
}

/// Holds the workers back until they are to compute.
struct Hold {
    points: Arc<Points>,
    is_held: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn set(&self, is_held: bool) {
        *self.is_held.lock().unwrap_or_else(PoisonError::into_inner) = is_held;
        self.changed.notify_all();
    }
}

impl Pace for Hold {
    fn turn(&self, _worker: usize) {
        let held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(held, |is_held| *is_held).unwrap_or_else(PoisonError::into_inner));
        self.points.pass("a worker computes");
        // A worker that is paced asks again and again while it waits for the others.
        thread::sleep(Duration::from_micros(100));
    }

    fn leave(&self, _worker: usize) {
        self.points.pass("a worker is done with an epoch");
    }
}
