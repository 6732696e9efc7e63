//! A server that is killed at any moment under load loses nothing that it acknowledged, and counts
//! nothing twice.
//!
//! `TRUEUP_KILLS` sets how often it is killed, `TRUEUP_SEED` by which luck. Senders post batches over
//! HTTP and send again whatever was not acknowledged, mostly more than once; the server has a journal,
//! and a checkpoint every second. After each kill what was acknowledged must be in the journal, and
//! nothing that was not sent. At the end all must count once, and be shown alike with the checkpoint,
//! without it, and by the oracle. `kills/run` does so 2,000 times and writes `kills/report.md`.

mod found;
mod moments;
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use trueup::engine::clock::Clock;
use trueup::engine::view_rows::{Cell, Row};
use trueup::engine::{Engine, Setup, checkpoints};
use trueup_connectors::journal::{FileJournal, Folder, Settings};
use trueup_model::money::ONE;
use trueup_sinks::view::View;

use crate::proof::prove_without_crossings;
use found::{Found, beside};
use moments::{Aim, Left};
use server::Server;

const SENDERS: u64 = 4;
/// How often it may be killed while it starts, before it is let go on.
const IN_A_ROW_MAX: usize = 5;
/// How long to wait for what takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub const CATALOG: &str = r#"
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
pub fn units(id: u64) -> u64 {
    1 + id % 7
}

/// An event as it is sent.
pub fn event(id: &u64) -> String {
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

/// An engine that begins with the checkpoint, or computes the whole journal.
fn resume(folder: &Path, with_checkpoint: bool) -> Engine {
    let journal = folder.join("journal");
    let disk = Arc::new(Folder::new(journal.join("checkpoints")).expect("the folder is there"));
    let (journal, opened) = FileJournal::open(&journal, Settings::default()).expect("it can be opened");
    let checkpoints = with_checkpoint.then(|| checkpoints::Settings::on(disk));
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), checkpoints, ..Setup::default() };
    let mut replayed = 0;
    let engine = Engine::resume(setup, |_| replayed += 1).expect("it resumes");
    assert_eq!(replayed < opened.last, with_checkpoint, "{replayed} of {} epochs were computed again", opened.last);
    engine
}

/// All views.
pub fn shown(engine: &Engine) -> Vec<(View, Vec<Row>)> {
    View::ALL.map(|view| (view, engine.newest().rows(view))).into()
}

/// How many events count, and what they used.
pub fn used(views: &[(View, Vec<Row>)]) -> (i128, i128) {
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

/// How often it was killed, and when.
#[derive(Default)]
struct Kills {
    before_opening: u64,
    recovering: u64,
    at_rest: u64,
    under_load: u64,
    /// So many one behind the other while it started, and how often.
    in_a_row: [u64; IN_A_ROW_MAX],
    /// And of all these.
    in_checkpoint: u64,
    in_segment: u64,
}

impl Kills {
    fn all(&self) -> u64 {
        self.before_opening + self.recovering + self.at_rest + self.under_load
    }

    /// Looks into the middle of what a kill came.
    fn look(&mut self, left: &Left) {
        self.in_checkpoint += u64::from(left.is_in_checkpoint());
        self.in_segment += u64::from(left.is_in_segment());
    }
}

/// A server, what was sent to it, and what was found after each kill.
struct Trial {
    folder: PathBuf,
    luck: Luck,
    senders: Vec<Mutex<(Sent, Luck)>>,
    next: AtomicU64,
    found: Found,
    kills: Kills,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let sender = |sender| Mutex::new((Sent::default(), Luck(seed * 1_000 + sender)));
        Trial {
            folder: folder(),
            luck: Luck(seed),
            senders: (0..SENDERS).map(sender).collect(),
            next: AtomicU64::new(0),
            found: Found::default(),
            kills: Kills::default(),
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Kills it while it starts, so many times in a row: mostly once it has opened the journal, now and then
    /// when it begins its segment.
    fn kill_while_starting(&mut self, times: u64) {
        for _ in 0..times {
            let left = Left::there(&self.journal());
            let server = Server::start(&self.folder);
            let (aim, micros_max) = match self.luck.below(4) {
                0 => (Aim::None, 40_000),
                1 => (Aim::Segment, 1),
                _ => (Aim::Opening, 40_000),
            };
            left.wait_for(aim);
            thread::sleep(Duration::from_micros(self.luck.below(micros_max)));
            match (server.kill(), left.is_opened()) {
                (true, _) => self.kills.at_rest += 1,
                (false, true) => self.kills.recovering += 1,
                (false, false) => self.kills.before_opening += 1,
            }
            self.kills.look(&left);
            self.check();
        }
        self.kills.in_a_row[times as usize - 1] += 1;
    }

    /// Kills it while events come in.
    fn kill_under_load(&mut self) {
        let left = Left::there(&self.journal());
        let mut server = Server::start(&self.folder);
        let address = server.address();
        let (aim, micros_max) = match self.luck.below(4) {
            // Mostly before the end of what was aimed at.
            0 => (Aim::Checkpoint, 4_000),
            _ => (Aim::None, 200_000),
        };
        let moment = Duration::from_micros(self.luck.below(micros_max));
        under_load(address, &self.senders, &self.next, |enough| {
            left.wait_for(aim);
            thread::sleep(moment);
            server.kill();
            enough.store(true, Ordering::Relaxed);
        });
        self.kills.under_load += 1;
        self.kills.look(&left);
        self.check();
    }

    /// What was acknowledged is in the journal, and what is there was sent.
    fn check(&mut self) {
        self.found.look(&self.journal(), self.next.load(Ordering::Relaxed));
        let senders = self.senders.iter().map(|sender| sender.lock().unwrap_or_else(PoisonError::into_inner));
        let open: BTreeSet<u64> = senders.flat_map(|sender| sender.0.open.clone()).collect();
        let lost: Vec<_> = self.found.missing.difference(&open).collect();
        assert!(lost.is_empty(), "kill {}: acknowledged, and not there: {lost:?}", self.kills.all());
    }

    /// Lets everything be acknowledged, and stops it as a person would.
    fn end(&mut self) {
        let mut server = Server::start(&self.folder);
        let address = server.address();
        under_load(address, &self.senders, &self.next, |enough| enough.store(true, Ordering::Relaxed));
        server.stop();
        self.check();
        assert!(self.found.missing.is_empty(), "all is acknowledged and there at the end: {:?}", self.found.missing);
    }

    /// Every view is what the journal says: with the checkpoint, without it, to the oracle, and by a sum.
    fn prove(&self) {
        let views = shown(&resume(&self.folder, true));
        let engine = resume(&self.folder, false);
        assert!(views == shown(&engine), "a checkpoint shows in nothing but time");
        let events = self.next.load(Ordering::Relaxed);
        assert_eq!(used(&views), (i128::from(events), (0..events).map(|id| i128::from(units(id))).sum()));
        prove_without_crossings(&engine, &beside(&self.journal()).0);
    }

    /// A line of the report.
    fn print(&self, seed: u64) {
        let Kills { before_opening, recovering, at_rest, under_load, in_a_row, in_checkpoint, in_segment } =
            &self.kills;
        let in_a_row = in_a_row.iter().map(u64::to_string).collect::<Vec<_>>().join(" | ");
        let events = self.next.load(Ordering::Relaxed);
        let acknowledged =
            |sender: &Mutex<(Sent, Luck)>| sender.lock().unwrap_or_else(PoisonError::into_inner).0.acknowledged;
        let batches: u64 = self.senders.iter().map(acknowledged).sum();
        println!(
            "{} kills, {events} events in {batches} acknowledged batches: nothing lost, nothing twice",
            self.kills.all()
        );
        println!(
            "| {seed} | {} | {before_opening} | {recovering} | {at_rest} | {under_load} | {in_checkpoint} \
             | {in_segment} | {in_a_row} | {events} | {batches} | 0 |",
            self.kills.all()
        );
    }
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_whenever_it_is_killed() {
    let (kills, seed) = (setting("TRUEUP_KILLS", 200), setting("TRUEUP_SEED", 1));
    let mut trial = Trial::new(seed);
    while trial.kills.all() < kills {
        match trial.luck.below(8) {
            0 => {
                let times = 1 + trial.luck.below(IN_A_ROW_MAX as u64);
                trial.kill_while_starting(times.min(kills - trial.kills.all()));
            }
            _ => trial.kill_under_load(),
        }
    }
    trial.end();
    trial.prove();
    trial.print(seed);
    let Kills { recovering, in_checkpoint, in_segment, .. } = trial.kills;
    let kinds = [recovering, in_checkpoint, in_segment];
    assert!(kills < 200 || kinds.iter().all(|kind| *kind > 0), "the kills are too kind: {kinds:?}");
}
