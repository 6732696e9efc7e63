//! While a journal is computed again whoever asks is told how far it is; reads are served as soon as it
//! is done, before anything else is read.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::FlightDescriptor;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::TryStreamExt;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Code, Status};
use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup::engine::intake::Gatherer;
use trueup::engine::recovery::Recovery;
use trueup::engine::{Engine, Setup};
use trueup_connectors::http;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Settings};
use trueup_sinks::limits::Limits;
use trueup_sinks::server::{self, Options};

/// How often to look whether what takes no time on an idle machine has happened, and how long between.
const LOOKS: u32 = 3_000;
const PAUSE: Duration = Duration::from_millis(20);

/// An engine on what a disk holds, and its last epoch.
fn resume(disk: &SimulatedDisk, recovery: &mut Recovery, mut told: impl FnMut(u64)) -> Engine {
    let (journal, opened) =
        FileJournal::open_on(Arc::new(disk.clone()), Settings::default()).expect("the journal opens");
    recovery.ends_at(opened.last);
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), ..Setup::default() };
    let resumed = Engine::resume(setup, |epoch| {
        recovery.passed(epoch);
        told(epoch);
    });
    resumed.expect("the journal is whole")
}

/// The status, the header `retry-after` and the body of an answer.
fn ask(address: SocketAddr, what: &str) -> std::io::Result<(String, Option<String>, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "{what} HTTP/1.1\r\nhost: trueup\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    let retry = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    Ok((status.to_owned(), retry.map(str::to_owned), body.to_owned()))
}

async fn asked(address: SocketAddr, what: &'static str) -> (String, Option<String>, String) {
    tokio::task::spawn_blocking(move || ask(address, what).expect("it answers")).await.expect("it answers")
}

/// How many rows a view has now.
async fn rows(address: SocketAddr, view: &str) -> Result<usize, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).expect("it is an address");
    let mut client = FlightServiceClient::new(channel.connect().await.expect("the server listens"));
    let path = FlightDescriptor::new_path(vec!["snapshot".to_owned(), view.to_owned()]);
    let info = client.get_flight_info(path).await?.into_inner();
    let ticket = info.endpoint[0].ticket.clone().expect("there is a ticket");
    let messages = client.do_get(ticket).await?.into_inner().map_err(FlightError::from);
    let batches: Vec<_> = FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_before_the_end_is_told_how_far_it_is() {
    let disk = SimulatedDisk::new(1);
    let engine = resume(&disk, &mut Recovery::default(), |_| {});
    for clock in 1..=5 {
        engine.accept(vec![Submission::Clock(clock)]).expect("the disk is good");
    }
    engine.stop();
    let disk = disk.after_kill();

    let mut recovery = Recovery::default();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let flight = server::listen(anywhere, &Limits::default(), recovery.words()).await.expect("a port is free");
    let http = http::listen(anywhere, 10, http::Patience::default(), recovery.words()).await.expect("a port is free");
    let (flight_at, http_at) = (flight.address(), http.address());
    let (at_gate, reached) = tokio::sync::oneshot::channel();
    let (open_gate, gate) = mpsc::channel::<()>();
    let engine = tokio::task::spawn_blocking(move || {
        let mut at_gate = Some(at_gate);
        resume(&disk, &mut recovery, |epoch| {
            if epoch == 3 {
                at_gate.take().map(|at_gate| at_gate.send(()));
                gate.recv().expect("the gate is opened");
            }
        })
    });
    reached.await.expect("it gets there");
    let words = "the journal is being computed again: 3 of 5 epochs; try again in a moment";
    let told = ("503".to_owned(), Some("1".to_owned()), format!(r#"{{"error":"{words}"}}"#));
    assert_eq!(asked(http_at, "GET /readyz").await, told);
    assert_eq!(asked(http_at, "POST /v1/events").await, told);
    assert_eq!(asked(http_at, "GET /livez").await.0, "200");
    let refused = rows(flight_at, "meters").await.expect_err("there is nothing true yet");
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, words));

    open_gate.send(()).expect("it waits there");
    let engine = Arc::new(engine.await.expect("it ends"));
    let flight = flight.show(engine.published(), Options::default());
    let http = http.open(Arc::new(Gatherer::start(engine.clone())), &http::Options::default());
    assert_eq!(asked(http_at, "GET /readyz").await, ("200".to_owned(), None, r#"{"ready":true}"#.to_owned()));
    assert_eq!(asked(http_at, "POST /v1/events").await.0, "415", "it is asked for events");
    assert_eq!(rows(flight_at, "meters").await.expect("the views can be read"), 0);
    http.stop().await;
    flight.stop().await;
}

/// A server that is killed when it is dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

/// A pipe is a gate: whoever reads it waits until somebody has written.
fn pipe(path: &Path) -> PathBuf {
    let made = Command::new("mkfifo").arg(path).status().expect("there are pipes");
    assert!(made.success(), "{}", path.display());
    path.to_path_buf()
}

fn until(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what}");
}

#[test]
fn views_are_read_before_the_files_of_events_are() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("recovering");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    let catalog = pipe(&folder.join("catalog/all.toml"));
    let events = pipe(&folder.join("events.ndjson"));
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("there is a port");
    let (flight, http) = (free(), free());
    let config = format!(
        "catalog = 'catalog'\nevents = ['events.ndjson']\njournal = 'journal'\naddress = '{flight}'\nhttp = '{http}'\n"
    );
    fs::write(folder.join("trueup.toml"), config).expect("a file can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let command = command.current_dir(&folder).arg("serve").stdout(Stdio::piped());
    let mut server = Serving(command.spawn().expect("a server starts"));

    let words = "the catalog is being read; try again in a moment";
    until(|| ask(http, "GET /readyz").is_ok_and(|(.., body)| body.contains(words)), "it tells what it waits for");
    let mut sources = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let sources = sources.current_dir(&folder).arg("sources").output().expect("the command runs");
    let said = String::from_utf8_lossy(&sources.stderr).into_owned();
    assert_eq!((sources.status.code(), said), (Some(3), format!("trueup: {words}\n")));

    let meter = "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'count'\n";
    fs::write(catalog, meter).expect("it is read");
    until(|| ask(http, "GET /readyz").is_ok_and(|(status, ..)| status == "200"), "the views can be read");
    let meters = Runtime::new().expect("there are threads").block_on(rows(flight, "meters"));
    assert_eq!(meters.expect("the views can be read"), 1);

    let event = r#"{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-02T09:00:00Z"}"#;
    fs::write(events, event).expect("it is read");
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().expect("it is piped")).read_line(&mut said).expect("it says so");
    assert!(said.starts_with("1 events were read") && said.contains("Serving on grpc://"), "{said}");
}

#[test]
fn a_full_quarantine_keeps_no_server_from_starting() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("full_quarantine");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    let files = [
        ("catalog/all.toml", "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'count'\n"),
        ("events.ndjson", "junk\njunk\njunk\n"),
        (
            "trueup.toml",
            "catalog = 'catalog'\nevents = ['events.ndjson']\naddress = '127.0.0.1:0'\nquarantine_inputs = 1\n",
        ),
    ];
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file can be written"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let command = command.current_dir(&folder).arg("serve").stdout(Stdio::piped());
    let mut server = Serving(command.spawn().expect("a server starts"));
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().expect("it is piped")).read_line(&mut said).expect("it says so");
    assert!(said.contains("Serving on grpc://"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_server_that_says_it_is_ready_ends_well_when_it_is_told() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ready");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    let meter = "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'count'\n";
    fs::write(folder.join("catalog/all.toml"), meter).expect("a file can be written");
    // Nobody writes into it, so that the server is ready and reads files for ever.
    pipe(&folder.join("events.ndjson"));
    let http = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("there is a port");
    let config = format!("catalog = 'catalog'\nevents = ['events.ndjson']\naddress = '127.0.0.1:0'\nhttp = '{http}'\n");
    fs::write(folder.join("trueup.toml"), config).expect("a file can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let command = command.current_dir(&folder).arg("serve").stdout(Stdio::piped());
    let mut server = Serving(command.spawn().expect("a server starts"));
    until(|| ask(http, "GET /readyz").is_ok_and(|(status, ..)| status == "200"), "the views can be read");
    let told = Command::new("kill").arg(server.0.id().to_string()).status().expect("there is such a command");
    assert!(told.success());
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().expect("it is piped")).read_to_string(&mut said).expect("it says so");
    assert_eq!(server.0.wait().expect("it ends").code(), Some(0), "{said}");
    assert!(said.contains("Stopped while files were being read"), "{said}");
}
