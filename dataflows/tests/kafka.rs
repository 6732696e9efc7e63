//! A server that reads from Kafka, over kills and into a halt, with librdkafka's mock cluster.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use trueup::engine::clock::Clock;
use trueup::engine::{Engine, Setup};
use trueup_connectors::FileJournal;
use trueup_connectors::kafka::rdkafka::ClientConfig;
use trueup_connectors::kafka::rdkafka::mocking::MockCluster;
use trueup_connectors::kafka::rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use crate::ledger::{ledger, received};

const CATALOG: &str = r#"
meter = [{ name = "tokens", event_type = "call", aggregation = "sum", property = "tokens", scale = 0 }]
feature = [{ name = "tokens", meter = "tokens" }]
customer = [{ id = "acme" }]
subscription = [{ id = "acme-pro", customer = "acme", plan = "pro", starts_at = 2026-06-01 }]

[[plan]]
name = "pro"
currency = "USD"
cadence = "month"
rate_card = [{ feature = "tokens", price = { model = "per_unit", unit = "0.25" } }]
"#;

const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

type Mock = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Mock {
    let mock = MockCluster::new(1).expect("it needs nothing");
    mock.create_topic("calls", PARTITIONS, 1).expect("it is new");
    mock
}

/// Sends events of one token each, each of them twice.
fn send(mock: &Mock, numbers: Range<u32>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().expect("it needs no more");
    for number in numbers {
        let event = format!(
            r#"{{"id":"{number}","source":"/s","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
        );
        for again in 0..2 {
            let partition = (number as i32 + again) % PARTITIONS;
            let record: BaseRecord<'_, (), str> = BaseRecord::to("calls").partition(partition).payload(&event);
            producer.send(record).map_err(|(error, _)| error).expect("there is room");
        }
    }
    producer.flush(PATIENCE).expect("the cluster takes all");
}

/// A folder with a catalog, and a configuration that reads `calls`.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("serve_kafka").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("catalog")).expect("a folder can be made");
    fs::write(folder.join("catalog/all.toml"), CATALOG).expect("a file can be written");
    folder
}

fn configure(folder: &Path, mock: &Mock) {
    let brokers = mock.bootstrap_servers();
    let text = format!(
        "catalog = 'catalog'\njournal = 'journal'\naddress = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\n\
         [[kafka]]\nbrokers = ['{brokers}']\ntopics = ['calls']\nsettings.fetch.wait.max.ms = 5\n"
    );
    fs::write(folder.join("trueup.toml"), text).expect("a file can be written");
}

/// A server, and what it said when it began to serve.
struct Server {
    process: Child,
    said: String,
    _out: BufReader<ChildStdout>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        let err = fs::File::options().append(true).create(true).open(folder.join("log")).expect("a log can be kept");
        command.current_dir(folder).arg("serve").env("NO_COLOR", "1").stdout(Stdio::piped()).stderr(err);
        let mut process = command.spawn().expect("a server starts");
        let mut out = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut said = String::new();
        out.read_line(&mut said).expect("it says that it serves");
        assert!(said.contains("reading calls from Kafka as 'kafka'"), "{said}");
        Server { process, said, _out: out }
    }

    fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Sends an event over HTTP, and reads the status.
    fn post(&self, id: &str) -> u16 {
        let body = format!(
            r#"{{"id":"{id}","source":"/h","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
        );
        let answer = self.ask("POST /v1/events", &body);
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("there is a status")
    }
}

impl Server {
    fn address(&self) -> &str {
        self.said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("it listens")
    }

    fn ask(&self, what: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        let length = body.len();
        write!(
            stream,
            "{what} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// How its only source stands.
    fn source(&self) -> Value {
        let answer = self.ask("GET /v1/sources", "");
        let (_, told) = answer.split_once("\r\n\r\n").expect("there is an answer");
        let told: Value = serde_json::from_str(told).expect("it is JSON");
        told["sources"][0].clone()
    }

    /// What `trueup sources` says of it, and its exit code.
    fn command(&self, folder: &Path, more: &[&str]) -> (Option<i32>, String) {
        // The server has chosen its port, which the command does not know.
        let text = fs::read_to_string(folder.join("trueup.toml")).expect("it is there");
        let asked = text.replace("http = '127.0.0.1:0'", &format!("http = '{}'", self.address()));
        fs::write(folder.join("asked.toml"), asked).expect("a file can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        command.current_dir(folder).args(["sources", "--config", "asked.toml"]).args(more).env("COLUMNS", "400");
        let said = command.output().expect("the command runs");
        (said.status.code(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to pass that {what}");
        sleep(Duration::from_millis(20));
    }
}

/// How many bytes the journal has: it grows as events come in.
fn journal_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join("journal")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// What the journal holds, computed anew.
struct Told {
    ledger: Vec<String>,
    /// How many messages came by each way and partition.
    received: Vec<(String, i64)>,
    /// How far each partition was read.
    places: Vec<String>,
}

fn told(folder: &Path) -> Told {
    let (journal, _) = FileJournal::open(&folder.join("journal"), Default::default()).expect("it is whole");
    let setup = Setup { clock: Clock::Told, journal: Box::new(journal), ..Setup::default() };
    let engine = Engine::resume(setup, |_| {}).expect("it can be computed");
    let received =
        received(&engine).into_iter().map(|((way, partition), inputs)| (format!("{way} {partition}"), inputs));
    let place = |partition| engine.read_to(&format!("kafka/kafka/calls/{partition}")).unwrap_or_default();
    let places = (0..PARTITIONS).map(|partition| place(partition).split(" of ").next().unwrap_or_default().to_owned());
    Told { ledger: ledger(&engine), received: received.collect(), places: places.collect() }
}

#[test]
fn a_server_that_is_killed_counts_every_message_once() {
    const KILLS: u32 = 8;
    const EACH: u32 = 300;
    let (mock, folder) = (cluster(), folder("kills"));
    configure(&folder, &mock);
    for kill in 0..KILLS {
        send(&mock, kill * EACH..(kill + 1) * EACH - 60);
        let server = Server::start(&folder);
        let before = journal_bytes(&folder);
        send(&mock, (kill + 1) * EACH - 60..(kill + 1) * EACH);
        // Some die before anything is in, some while it comes, some behind it.
        sleep(Duration::from_millis(u64::from(kill) * 90));
        assert!(kill < KILLS - 2 || journal_bytes(&folder) > before, "nothing came in {} ms", kill * 90);
        server.kill();
    }
    let server = Server::start(&folder);
    let mut bytes = 0;
    wait_until("all is in", || {
        sleep(Duration::from_millis(500));
        let before = std::mem::replace(&mut bytes, journal_bytes(&folder));
        bytes == before
    });
    server.kill();
    let verify = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .current_dir(&folder)
        .args(["verify", "--journal", "journal", "--json"])
        .output()
        .expect("the command runs");
    let verified = String::from_utf8_lossy(&verify.stdout);
    assert!(verified.contains(r#""holds":true"#), "{verified}");
    let Told { ledger, received, places } = told(&folder);
    let events = KILLS * EACH;
    // Not one message was handed in again: what is accepted is what was sent.
    let of_state = |state: &str| ledger.iter().find_map(|row| row.strip_prefix(state)?.trim().parse::<u32>().ok());
    assert_eq!((of_state("received"), of_state("duplicate")), (Some(2 * events), Some(events)), "{ledger:?}");
    let share = 2 * events / PARTITIONS as u32;
    assert_eq!(places, [share.to_string().as_str(); 3]);
    let ways = (0..PARTITIONS).map(|partition| (format!("kafka/kafka calls/{partition}"), i64::from(share)));
    assert_eq!(received, ways.collect::<Vec<_>>());
}

#[test]
fn a_source_that_halts_says_so_and_holds_up_nobody() {
    let (mock, folder) = (cluster(), folder("halt"));
    configure(&folder, &mock);
    send(&mock, 0..30);
    let server = Server::start(&folder);
    let before = journal_bytes(&folder);
    wait_until("the events are in", || journal_bytes(&folder) > before + 1_000);
    sleep(Duration::from_millis(300));
    let stands = server.source();
    assert_eq!((&stands["source"], &stands["state"]), (&"kafka/kafka".into(), &"reading".into()));
    let next =
        stands["partitions"].as_array().map(|all| all.iter().map(|one| one["next"].as_i64()).collect::<Vec<_>>());
    assert_eq!(next, Some(vec![Some(20); 3]), "{stands}");
    let (code, said) = server.command(&folder, &["--partitions"]);
    assert!(code == Some(0) && said.contains("kafka/kafka") && said.contains("calls/2"), "{said}");
    server.kill();
    // Another cluster has another topic by this name.
    let other = cluster();
    configure(&folder, &other);
    send(&other, 100..200);
    let server = Server::start(&folder);
    let log = || fs::read_to_string(folder.join("log")).expect("there is a log");
    wait_until("the log has it", || log().contains("the Kafka source has halted"));
    let log = log();
    for said in ["topic 'calls', partition", "20 is the next offset", "offsets 0 to", "another `name`"] {
        assert!(log.contains(said), "no `{said}` in {log}");
    }
    // Whoever reads no log is told the same.
    let stands = server.source();
    assert_eq!((&stands["state"], &stands["reason"]), (&"halted".into(), &"recreated".into()), "{stands}");
    assert!(stands["since"].as_str().is_some_and(|since| since.starts_with("20")), "{stands}");
    let (code, said) = server.command(&folder, &[]);
    for words in ["halted", "offsets 0 to", "another `name`", "1 source has halted"] {
        assert!(code == Some(1) && said.contains(words), "no `{words}` in {said}");
    }
    assert_eq!(server.command(&folder, &["--json"]).1.lines().next(), Some(&*stands.to_string()));
    assert_eq!(server.post("1"), 200);
    server.kill();
    let Told { ledger, .. } = told(&folder);
    assert!(ledger.contains(&"received 61".to_owned()), "{ledger:?}");
}
