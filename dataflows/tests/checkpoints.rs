//! A restart goes on from a checkpoint, and nothing but time tells: also if the power went at any call
//! to the disk.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, thread};

use trueup::engine::checkpoints;
use trueup::engine::clock::Clock;
use trueup::engine::door::{Acceptance, DoorError, Submission};
use trueup::engine::issue::Request;
use trueup::engine::{Engine, Setup};
use trueup_connectors::EventReader;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Folder, Settings};
use trueup_model::fact::Epoch;
use trueup_model::usage::{Reason, Refused};
use trueup_sinks::view::View;
use trueup_workload::catalog::{MONTH_END, MONTH_START, customer_name};

use crate::steps::{self, STEPS, go_on, settled, shown};

const DAY: i64 = 86_400_000_000;

/// What outlives an engine.
struct Disks {
    journal: SimulatedDisk,
    checkpoints: SimulatedDisk,
    /// What every engine on them accepts.
    acceptance: Acceptance,
}

/// An engine, and the epochs that it computed again.
struct Life {
    engine: Engine,
    replayed: Vec<Epoch>,
}

impl Disks {
    fn new() -> Disks {
        let (journal, checkpoints) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
        Disks { journal, checkpoints, acceptance: Acceptance::default() }
    }

    /// The power goes, and the engine starts again.
    fn revive(&mut self, workers: usize, with_checkpoints: bool) -> Life {
        self.journal = self.journal.after_power_cut();
        self.checkpoints = self.checkpoints.after_power_cut();
        let settings = Settings { segment_bytes: 30_000, ..Settings::default() };
        let (journal, _) = FileJournal::open_on(Arc::new(self.journal.clone()), settings).expect("it is whole");
        let kept =
            checkpoints::Settings { hot_rows_max: 20, ..checkpoints::Settings::on(Arc::new(self.checkpoints.clone())) };
        let mut replayed = Vec::new();
        let setup = Setup {
            workers,
            clock: Clock::Told,
            journal: Box::new(journal),
            checkpoints: with_checkpoints.then_some(kept),
            acceptance: self.acceptance,
            ..Setup::default()
        };
        let engine = Engine::resume(setup, |epoch| replayed.push(epoch)).expect("it resumes");
        Life { engine, replayed }
    }
}

fn begin(engine: &Engine) {
    steps::begin(engine).expect("the catalog makes sense");
}

fn send(engine: &Engine, ids: Range<u32>, revision: u32) {
    steps::send(engine, ids, revision).expect("they are taken");
}

#[test]
fn the_room_in_quarantine_is_what_it_was_after_a_restart() {
    let mut disks = Disks::new();
    let life = disks.revive(1, true);
    begin(&life.engine);
    let room = life.engine.quarantine_room();
    let aside = |life: &Life| {
        let mut batch = EventReader::new(life.engine.layouts(), "default", "test").batch();
        for reason in [Reason::Unreadable, Reason::Unreadable, Reason::Missing] {
            let (source, detail) = ("test".to_owned(), "it was refused".to_owned());
            batch.refuse(Refused { source, reason, detail, ..Refused::default() });
        }
        life.engine.accept(vec![Submission::Events(batch.finish())]).expect("they are set aside");
    };
    aside(&life);
    life.engine.checkpoint().expect("the journal is good").expect("there is news");
    aside(&life);
    life.engine.stop();
    for with_checkpoints in [true, false] {
        let life = disks.revive(2, with_checkpoints);
        assert_eq!(life.replayed.len(), if with_checkpoints { 1 } else { 4 });
        assert_eq!(life.engine.quarantine_room(), room - 6);
        let rows = life.engine.newest().rows(View::Quarantine);
        assert_eq!(rows.len(), 6, "what was kept of each is read back: {rows:?}");
        life.engine.stop();
    }
}

/// Sends by a way what contradicts the first events, or settles that.
fn say_otherwise(engine: &Engine, way: &str, revision: u32) -> Result<(), DoorError> {
    let otherwise = steps::events(engine, way, (0..20).map(|id| (id, revision, id + 100)));
    let epoch = engine.accept(vec![otherwise])?.epoch;
    engine.wait(epoch).expect("it runs");
    Ok(())
}

#[test]
fn contradictions_are_known_and_settled_after_a_restart() {
    for (workers, then) in [(1, 1), (1, 3), (3, 2)] {
        let mut disks = Disks::new();
        disks.acceptance.quarantined_max = 20;
        let life = disks.revive(workers, true);
        begin(&life.engine);
        send(&life.engine, 0..40, 0);
        say_otherwise(&life.engine, "other", 0).expect("there is room");
        life.engine.checkpoint().expect("the journal is good").expect("there is news");
        life.engine.stop();

        let life = disks.revive(then, true);
        assert!(life.replayed.is_empty(), "the checkpoint has everything");
        let set_aside = || life.engine.newest().rows(View::Quarantine).len();
        let again = say_otherwise(&life.engine, "other", 0);
        assert!(matches!(again, Err(DoorError::Contradicting { standing: 20, .. })), "{again:?}");
        say_otherwise(&life.engine, "another", 0).expect("it has room of its own");
        assert_eq!(set_aside(), 20, "what was said before is a duplicate, {workers} workers, then {then}");
        say_otherwise(&life.engine, "another", 1).expect("it contradicts nothing");
        assert_eq!(set_aside(), 0, "what contradicts is settled, {workers} workers, then {then}");
        say_otherwise(&life.engine, "other", 1).expect("there is room again");
        life.engine.stop();
    }
}

#[test]
fn a_restart_computes_only_what_came_after_the_checkpoint() {
    for (workers, then) in [(1, 1), (2, 2), (1, 3), (3, 2)] {
        let mut disks = Disks::new();
        let life = disks.revive(workers, true);
        begin(&life.engine);
        (0..6).for_each(|part| send(&life.engine, 20 * part..20 * part + 30, 0));
        let request = Request { customer: customer_name(3), subscription: None, period: MONTH_START };
        life.engine.issue(&request).expect("there is something to issue");
        let kept = life.engine.checkpoint().expect("the journal is good").expect("there is news");
        send(&life.engine, 0..40, 1);
        life.engine.stop();

        let life = disks.revive(then, true);
        assert_eq!(life.replayed, [kept + 1], "{workers} workers, then {then}");
        assert_eq!(life.engine.read_to("test").as_deref(), Some("1"));
        // What stood before the checkpoint is found, taken off and counted once.
        send(&life.engine, 20..90, 0);
        send(&life.engine, 0..60, 3);
        let passed = life.engine.accept(vec![Submission::Clock(MONTH_END + 20 * DAY)]).expect("time passes");
        life.engine.wait(passed.epoch).expect("it runs");
        let told = shown(&life.engine);
        life.engine.stop();

        let whole = disks.revive(then, false);
        assert_eq!(whole.replayed.len() as u64, passed.epoch);
        assert_eq!(shown(&whole.engine), told, "{workers} workers, then {then}");
        whole.engine.stop();
        assert_eq!(shown(&disks.revive(workers, true).engine), told, "{workers} workers, then {then}, then {workers}");
    }
}

#[test]
fn a_checkpoint_is_made_only_of_news() {
    let mut disks = Disks::new();
    let life = disks.revive(1, true);
    assert_eq!(life.engine.checkpoint().expect("the journal is good"), None);
    begin(&life.engine);
    assert!(life.engine.checkpoint().expect("the journal is good").is_some());
    assert_eq!(life.engine.checkpoint().expect("the journal is good"), None);
    life.engine.stop();
    let life = disks.revive(1, true);
    assert_eq!(life.engine.checkpoint().expect("the journal is good"), None, "after a restart too");
}

#[test]
fn what_is_damaged_is_passed_over() {
    let mut disks = Disks::new();
    let life = disks.revive(1, true);
    begin(&life.engine);
    let mut kept = Vec::new();
    for part in 0..3 {
        send(&life.engine, 30 * part..30 * part + 30, 0);
        kept.push(life.engine.checkpoint().expect("the journal is good").expect("there is news"));
    }
    life.engine.wait(kept[2]).expect("it runs");
    life.engine.stop();
    let expected = shown(&life.engine);
    let names = disks.checkpoints.names();
    let newest = format!("{:020}", kept[2]);
    // Two checkpoints are kept, and the files of both.
    let manifests = names.iter().filter(|name| name.starts_with("checkpoint-")).count();
    assert_eq!(manifests, 2, "{names:?}");
    drop(disks.revive(1, true));
    assert_eq!(disks.checkpoints.names(), names, "a start leaves them as they are");
    for name in names.iter().filter(|name| name.contains(&newest)) {
        let (journal, checkpoints) = (disks.journal.after_kill(), disks.checkpoints.after_kill());
        let mut copy = Disks { journal, checkpoints, ..disks };
        copy.checkpoints.tamper(name, |bytes| bytes[0] ^= 1);
        let life = copy.revive(1, true);
        assert_eq!(life.replayed.first(), Some(&(kept[1] + 1)), "{name}");
        assert_eq!(shown(&life.engine), expected, "{name}");
    }
    // Without the outline neither can be used, and the journal has everything.
    disks.checkpoints.tamper("outline", |bytes| bytes[8] ^= 1);
    let life = disks.revive(1, true);
    assert_eq!(life.replayed.first(), Some(&1));
    assert_eq!(shown(&life.engine), expected);
}

#[test]
fn a_disk_that_does_not_answer_holds_nobody_up_but_the_keeper() {
    let mut disks = Disks::new();
    let (journal, _) = FileJournal::open_on(Arc::new(disks.journal.clone()), Settings::default()).expect("it is whole");
    let kept = checkpoints::Settings::on(Arc::new(disks.checkpoints.clone()));
    let setup = Setup { clock: Clock::Told, workers: 8, journal: Box::new(journal), ..Setup::default() };
    let engine = Engine::start(Setup { checkpoints: Some(kept), ..setup });
    begin(&engine);
    let (answers, answered) = mpsc::channel::<()>();
    disks.checkpoints.meanwhile(0, move || assert!(answered.recv().is_err()));
    let ordered = (0..9).filter_map(|part| {
        send(&engine, 10 * part..10 * part + 15, 0);
        engine.checkpoint().expect("the journal is good")
    });
    let ordered: Vec<Epoch> = ordered.collect();
    engine.wait(engine.accept(Vec::new()).expect("the journal is good").epoch).expect("it runs");
    assert_eq!(ordered.len(), 4, "each keeps in memory what it is to hold, so none is ordered after these");
    drop(answers);
    engine.stop();
    let life = disks.revive(2, true);
    assert_eq!(life.replayed.first(), ordered.last().map(|last| last + 1).as_ref());
    assert_eq!(shown(&life.engine), shown(&engine));
}

#[test]
fn a_checkpoint_of_another_journal_is_passed_over() {
    let mut disks = Disks::new();
    let life = disks.revive(1, true);
    begin(&life.engine);
    send(&life.engine, 0..30, 0);
    life.engine.checkpoint().expect("the journal is good");
    life.engine.stop();
    disks.journal = SimulatedDisk::new(7);
    let life = disks.revive(1, true);
    assert_eq!(life.engine.newest().epoch(), 0);
    begin(&life.engine);
    send(&life.engine, 50..60, 0);
    let ledger = life.engine.wait(2).expect("it runs").rows(View::Ledger);
    assert!(!ledger.is_empty(), "and what was put away there is not known here");
    assert_eq!(shown(&life.engine), shown(&disks.revive(1, false).engine));
}

/// Journal and checkpoints on one disk, so that its calls can be counted.
fn on_one_disk(disk: &SimulatedDisk) -> Result<Engine, String> {
    let settings = Settings { segment_bytes: 30_000, ..Settings::default() };
    let (journal, _) = FileJournal::open_on(Arc::new(disk.clone()), settings).map_err(|error| error.to_string())?;
    let kept = checkpoints::Settings { hot_rows_max: 25, ..checkpoints::Settings::on(Arc::new(disk.clone())) };
    let setup = Setup {
        workers: 2,
        clock: Clock::Told,
        journal: Box::new(journal),
        checkpoints: Some(kept),
        ..Setup::default()
    };
    Engine::resume(setup, |_| {}).map_err(|error| error.to_string())
}

#[test]
fn the_power_may_go_at_any_call_to_the_disk() {
    let disk = SimulatedDisk::new(1);
    let engine = on_one_disk(&disk).expect("the disk is good");
    assert_eq!(go_on(&engine, 0), STEPS.len());
    let last = engine.checkpoint().expect("the journal is good").expect("there is news");
    engine.wait(last).expect("it runs");
    let expected = settled(&engine);
    engine.stop();
    let calls = disk.calls();
    assert!(calls > 200, "{calls}");
    for call in 0..calls {
        let mut disk = SimulatedDisk::new(call);
        disk.power_off_after(call);
        let mut done = 0;
        if let Ok(engine) = on_one_disk(&disk) {
            done = go_on(&engine, 0);
        }
        disk = if call.is_multiple_of(3) { disk.after_kill() } else { disk.after_power_cut() };
        // The power goes once more while it recovers.
        disk.power_off_after(call % 40);
        if let Ok(engine) = on_one_disk(&disk) {
            done = go_on(&engine, done);
        }
        disk = disk.after_power_cut();
        let engine = on_one_disk(&disk).unwrap_or_else(|error| panic!("call {call}: {error}"));
        assert_eq!(go_on(&engine, done), STEPS.len(), "call {call}");
        let last = engine.accept(Vec::new()).expect("the journal is good").epoch;
        engine.wait(last).expect("it runs");
        assert_eq!(settled(&engine), expected, "the power went at call {call}");
    }
    println!("the power went at each of {calls} calls, and once more while it recovered");
}

/// The files of a folder.
fn listed(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("it can be listed").path()).collect()
}

/// How many checkpoints are made while a journal is verified once: enough that those it began with are gone.
const MEANWHILE: u32 = 10;

/// Sends a little and makes a checkpoint of it, as often as there is leave to, until it is done.
fn checkpoint_until(done: &AtomicBool, leave: &AtomicU32, engine: &Engine, checkpoints: &Path) {
    let rest = || thread::sleep(Duration::from_millis(1));
    let mut next = 100;
    while !done.load(Ordering::Relaxed) {
        if leave.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |leave| leave.checked_sub(1)).is_err() {
            rest();
            continue;
        }
        let before = listed(checkpoints);
        send(engine, next..next + 1, 0);
        next += 1;
        engine.checkpoint().expect("the disk is good");
        // One at a time: else they would lie in a queue, and be made when nobody verifies.
        while listed(checkpoints) == before && !done.load(Ordering::Relaxed) {
            rest();
        }
    }
}

#[test]
fn a_journal_is_verified_beside_a_server_that_makes_checkpoints() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("verified_beside");
    drop(fs::remove_dir_all(&folder));
    let settings = Settings { segment_bytes: 10_000, ..Settings::default() };
    let (journal, _) = FileJournal::open(&folder, settings).expect("a journal can begin");
    let checkpoints = folder.join("checkpoints");
    let disk = Folder::new(&checkpoints).expect("a folder can be made");
    let kept = checkpoints::Settings { hot_rows_max: 20, ..checkpoints::Settings::on(Arc::new(disk)) };
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), checkpoints: Some(kept), ..Setup::default() };
    let engine = Engine::resume(setup, |_| {}).expect("it begins");
    begin(&engine);
    send(&engine, 0..50, 0);
    let (done, leave) = (AtomicBool::new(false), AtomicU32::new(0));
    let (mut verified, mut kept_meanwhile) = (Vec::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| checkpoint_until(&done, &leave, &engine, &checkpoints));
        for _ in 0..3 {
            let before = listed(&checkpoints);
            leave.store(MEANWHILE, Ordering::Relaxed);
            let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
            verified.push(command.args(["--json", "verify", "--journal"]).arg(&folder).output());
            kept_meanwhile += u64::from(listed(&checkpoints) != before);
        }
        done.store(true, Ordering::Relaxed);
    });
    engine.stop();
    for verified in verified {
        let verified = verified.expect("the command runs");
        let [said, why] = [verified.stdout, verified.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(verified.status.code(), Some(0), "{said}{why}");
        assert!(said.contains(r#""holds":true"#) && !said.contains(r#""checkpoint_holds":false"#), "{said}");
    }
    assert!(kept_meanwhile > 0, "checkpoints came and went meanwhile");
}
