//! A server that is killed at any moment under load loses nothing that it acknowledged, and counts
//! nothing twice.
//!
//! `TRUEUP_KILLS` sets how often it is killed, `TRUEUP_SEED` by which luck. Senders post batches over
//! HTTP and send again whatever was not acknowledged, mostly more than once; the server has a journal,
//! and a checkpoint every second. At the end all that was sent must be in the journal, must count once,
//! and must be shown alike with the checkpoint and without it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use trueup::engine::clock::Clock;
use trueup::engine::view_rows::{Cell, Row};
use trueup::engine::{Engine, Setup, checkpoints};
use trueup_connectors::journal::{FileJournal, Folder, Journal, Settings};
use trueup_model::fact::Fact;
use trueup_model::money::ONE;
use trueup_sinks::view::View;

const SENDERS: u64 = 4;
/// How long to wait for what takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CATALOG: &str = r#"
[[meter]]
name = "calls"
event_type = "call"
aggregation = "sum"
property = "units"

[[meter]]
name = "peak"
event_type = "call"
aggregation = "max"
property = "units"

[[feature]]
name = "calls"
meter = "calls"

[[plan]]
name = "pro"
currency = "EUR"
cadence = "day"

[[plan.rate_card]]
feature = "calls"
price = { model = "graduated", tiers = [{ up_to = "1000", unit = "0.03" }, { unit = "0.01" }] }
quota = { limit = "5000", warn_at_percent = 50 }

[[customer]]
id = "acme"
zone = "Asia/Kolkata"

[[subscription]]
id = "acme-pro"
customer = "acme"
plan = "pro"
starts_at = 2026-06-01
"#;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Numbers that look random, the same for the same seed.
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kills");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    fs::write(folder.join("catalog/all.toml"), CATALOG).expect("a file can be written");
    let config = "catalog = 'catalog'\naddress = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\njournal = 'journal'\n\
                  checkpoint_seconds = 1\nworkers = 2\n";
    fs::write(folder.join("trueup.toml"), config).expect("a file can be written");
    folder
}

/// A server that runs; killed when it is dropped.
struct Server {
    child: Child,
    /// Held open, so that the server may say something at its end.
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        let command = command.current_dir(folder).arg("serve").stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("the server starts");
        let output = BufReader::new(child.stdout.take().expect("its output is ours"));
        Server { child, output }
    }

    /// Where it takes events in, once it says so.
    fn address(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it says where it listens");
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once('/')).map(|(address, _)| address);
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("it says `{line}`"))
    }

    fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Ends it as a person would.
    fn stop(mut self) {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("a signal can be sent");
        assert!(self.child.wait().expect("it ends").success(), "it ends well");
    }
}

/// What a sender has sent.
#[derive(Default)]
struct Sent {
    /// Ids that are not acknowledged.
    open: Vec<u64>,
    /// How many batches were acknowledged.
    acknowledged: u64,
}

/// Posts a batch; whether it was acknowledged.
fn post(stream: &mut TcpStream, ids: &[u64]) -> std::io::Result<bool> {
    let body: String = ids.iter().map(event).collect();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = Vec::new();
    let mut bytes = [0; 4_096];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(false);
        }
        answer.extend_from_slice(&bytes[..count]);
        // The answer is one small JSON object.
        if answer.contains(&b'}') {
            return Ok(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

/// What an event uses.
fn units(id: u64) -> u64 {
    1 + id % 7
}

fn event(id: &u64) -> String {
    let time = format!("2026-06-{:02}T08:00:00Z", 1 + id % 20);
    let data = json!({ "units": units(*id).to_string() });
    json!({ "id": id.to_string(), "source": "/kills", "type": "call", "subject": "acme", "time": time, "data": data })
        .to_string()
        + "\n"
}

/// Sends new events, and again what was not acknowledged, until the server is gone or told to stop.
fn send(address: SocketAddr, sent: &mut Sent, luck: &mut Luck, next: &AtomicU64, enough: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    while !enough.load(Ordering::Relaxed) || !sent.open.is_empty() {
        if sent.open.is_empty() || luck.below(3) == 0 && !enough.load(Ordering::Relaxed) {
            let count = 1 + luck.below(20);
            let first = next.fetch_add(count, Ordering::Relaxed);
            sent.open.extend(first..first + count);
        }
        match post(&mut stream, &sent.open) {
            // Now and then the answer is as good as lost, and everything is sent again.
            Ok(true) if luck.below(5) == 0 => {}
            Ok(true) => {
                sent.open.clear();
                sent.acknowledged += 1;
            }
            Ok(false) | Err(_) => return,
        }
    }
}

/// Lets all senders send, until `watch` returns.
fn under_load(address: SocketAddr, senders: &[Mutex<(Sent, Luck)>], next: &AtomicU64, watch: impl FnOnce(&AtomicBool)) {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for sender in senders {
            let enough = &enough;
            scope.spawn(move || {
                let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                let (sent, luck) = &mut *sender;
                send(address, sent, luck, next, enough);
            });
        }
        watch(&enough);
    });
}

/// The ids in the journal.
fn journaled(folder: &Path) -> BTreeSet<u64> {
    let (journal, _) = FileJournal::open(&folder.join("journal"), Settings::default()).expect("it can be opened");
    let mut ids = BTreeSet::new();
    for entry in journal.entries(0) {
        for fact in &entry.expect("it is whole").facts {
            if let Fact::Usage(batch) = fact {
                let sent = (0..batch.rows.len()).filter_map(|row| batch.ids.get(row));
                ids.extend(sent.map(|(_, id)| id.parse::<u64>().expect("ids are numbers")));
            }
        }
    }
    ids
}

/// All views of an engine that begins with the checkpoint, or computes the whole journal.
fn shown(folder: &Path, with_checkpoint: bool) -> Vec<(View, Vec<Row>)> {
    let journal = folder.join("journal");
    let disk = Arc::new(Folder::new(journal.join("checkpoints")).expect("the folder is there"));
    let (journal, opened) = FileJournal::open(&journal, Settings::default()).expect("it can be opened");
    let checkpoints = with_checkpoint.then(|| checkpoints::Settings::on(disk));
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), checkpoints, ..Setup::default() };
    let mut replayed = 0;
    let engine = Engine::resume(setup, |_| replayed += 1).expect("it resumes");
    assert_eq!(replayed < opened.last, with_checkpoint, "{replayed} of {} epochs were computed again", opened.last);
    View::ALL.map(|view| (view, engine.newest().rows(view))).into()
}

/// How many events count, and what they used.
fn used(views: &[(View, Vec<Row>)]) -> (i128, i128) {
    let rows = |wanted: View| views.iter().filter(move |(view, _)| *view == wanted).flat_map(|(_, rows)| rows);
    let column =
        |view: View, name: &str| view.columns().iter().position(|column| column.name == name).expect("it is there");
    let number = |cell: &Cell| match cell {
        Cell::Integer(number) => i128::from(*number),
        Cell::Decimal(units) => units / ONE,
        cell => panic!("{cell:?} is no number"),
    };
    let counted = rows(View::Ledger).find(|row| row[0] == Cell::Text("counted".into())).expect("events count");
    let (meter, quantity) = (column(View::Usage, "meter"), column(View::Usage, "quantity"));
    let calls = rows(View::Usage).filter(|row| row[meter] == Cell::Text("calls".into()));
    (number(&counted[1]), calls.map(|row| number(&row[quantity])).sum())
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_whenever_it_is_killed() {
    let (kills, seed) = (setting("TRUEUP_KILLS", 200), setting("TRUEUP_SEED", 1));
    let folder = folder();
    let next = AtomicU64::new(0);
    let senders: Vec<Mutex<(Sent, Luck)>> =
        (0..SENDERS).map(|sender| Mutex::new((Sent::default(), Luck(seed * 1_000 + sender)))).collect();
    let mut luck = Luck(seed);
    for kill in 0..kills {
        let mut server = Server::start(&folder);
        if luck.below(4) == 0 {
            // While it starts and recovers.
            thread::sleep(Duration::from_millis(luck.below(150)));
            server.kill();
            continue;
        }
        let address = server.address();
        let moment = Duration::from_micros(luck.below(200_000));
        under_load(address, &senders, &next, |enough| {
            thread::sleep(moment);
            server.kill();
            enough.store(true, Ordering::Relaxed);
        });
        if kill % 50 == 49 {
            // What was acknowledged is there already, not only when all was sent again.
            let there = journaled(&folder);
            let open: BTreeSet<u64> = senders.iter().flat_map(|sender| sender.lock().unwrap().0.open.clone()).collect();
            let all = (0..next.load(Ordering::Relaxed)).filter(|id| !open.contains(id));
            assert_eq!(all.filter(|id| !there.contains(id)).count(), 0, "acknowledged, and not there");
        }
    }
    let mut server = Server::start(&folder);
    let address = server.address();
    under_load(address, &senders, &next, |enough| enough.store(true, Ordering::Relaxed));
    server.stop();
    let events = next.load(Ordering::Relaxed);
    let open: usize = senders.iter().map(|sender| sender.lock().unwrap().0.open.len()).sum();
    assert_eq!(open, 0, "all is acknowledged at the end");
    assert_eq!(journaled(&folder), (0..events).collect(), "all is there");
    let views = shown(&folder, true);
    assert!(views == shown(&folder, false), "a checkpoint shows in nothing but time");
    assert_eq!(used(&views), (i128::from(events), (0..events).map(|id| i128::from(units(id))).sum()));
    let batches: u64 = senders.iter().map(|sender| sender.lock().unwrap().0.acknowledged).sum();
    println!("{kills} kills, {events} events in {batches} acknowledged batches: nothing lost, nothing twice");
}
