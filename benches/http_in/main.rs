//! How fast events come in over HTTP, with a journal that is synced before each answer: as JSON lines
//! on standard output and as sentences beside them.
//!
//! Server and senders are threads of one process, over a loopback connection, and share the machine.
//! Without all events in the ledger there is no figure. What each means is in `benches/README.md`.

#![expect(clippy::float_arithmetic, reason = "measurements are no money")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{block_in_place, spawn};
use trueup::engine::checkpoints;
use trueup::engine::door::Submission;
use trueup::engine::intake::Gatherer;
use trueup::engine::view_rows::Cell;
use trueup::engine::{Engine, Setup};
use trueup_connectors::http::{self, Options};
use trueup_connectors::journal::{FileJournal, Folder, Settings};
use trueup_model::fact::Epoch;
use trueup_sinks::view::View;
use trueup_workload::catalog::{self, MONTH_END, Outputs};
use trueup_workload::events::Events;
use trueup_workload::machine::Machine;
use trueup_workload::{cloud_events, feeding};

type Failed = Box<dyn Error + Send + Sync>;

/// Measures HTTP.
#[derive(Parser)]
struct Arguments {
    /// How many events are sent in batches of 1,000 as fast as they go.
    #[arg(long, default_value_t = 2_000_000)]
    batched: u64,
    /// How many are sent alone, from 64 connections.
    #[arg(long, default_value_t = 100_000)]
    single: u64,
    /// How many are sent at 100,000 a second, in batches of 1,000.
    #[arg(long, default_value_t = 1_500_000)]
    paced: u64,
    /// How many workers compute.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Where the journal is to lie; it is emptied before and after.
    #[arg(long, default_value = "target/http_in")]
    folder: PathBuf,
    /// Given by `cargo bench`; without it a few events are run through, as a test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if !arguments.bench {
        (arguments.batched, arguments.single, arguments.paced) = (5_000, 300, 5_000);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(measure(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Failed> {
    let machine = Machine::this();
    eprintln!("{}, commit {}", machine.name, machine.commit);
    let note = |name: &str, value: f64, unit: &str| {
        eprintln!("{name:<26} {value:>14.3} {unit}");
        let line = json!({
            "figure": name, "value": value, "unit": unit, "workers": arguments.workers, "runs": 1,
            "commit": machine.commit, "machine": machine.name,
        });
        writeln!(std::io::stdout(), "{line}")
    };
    let engine = block_in_place(|| begin(arguments))?;
    let intake = Arc::new(Gatherer::start(engine.clone()));
    let server = http::start(intake, Options::default()).await?;
    let senders = Senders { address: server.address(), engine: engine.clone() };
    let events = Events::new(arguments.batched + arguments.single + arguments.paced);

    let (answers, seconds) = senders.send(shares(&events, 0..arguments.batched, 1_000, 8)).await?;
    note("http_batches_of_1000", arguments.batched as f64 / seconds, "events/s")?;
    note("http_batches_epoch_events", arguments.batched as f64 / epochs(&answers), "events")?;

    let singles = arguments.batched..arguments.batched + arguments.single;
    let (answers, seconds) = senders.send(shares(&events, singles.clone(), 1, 64)).await?;
    let mut waits: Vec<f64> = answers.iter().map(|answer| answer.waited).collect();
    note("http_single", arguments.single as f64 / seconds, "posts/s")?;
    note("http_single_p50", percentile(&mut waits, 50), "ms")?;
    note("http_single_p99", percentile(&mut waits, 99), "ms")?;
    note("http_single_epoch_events", arguments.single as f64 / epochs(&answers), "events")?;

    let (mut visible, rate) = senders.paced(&events, singles.end..events.count()).await?;
    note("paced_rate", rate, "events/s")?;
    note("acknowledged_visible_p50", percentile(&mut visible, 50), "ms")?;
    note("acknowledged_visible_p99", percentile(&mut visible, 99), "ms")?;

    block_in_place(|| compare(&engine, &events))?;
    server.stop().await;
    block_in_place(|| engine.stop());
    std::fs::remove_dir_all(&arguments.folder)?;
    Ok(())
}

fn begin(arguments: &Arguments) -> Result<Arc<Engine>, Failed> {
    if arguments.folder.exists() {
        std::fs::remove_dir_all(&arguments.folder)?;
    }
    let (journal, _) = FileJournal::open(&arguments.folder, Settings::default())?;
    let disk = Arc::new(Folder::new(arguments.folder.join("checkpoints"))?);
    let checkpoints = Some(checkpoints::Settings::on(disk));
    let setup = Setup { journal: Box::new(journal), checkpoints, ..feeding::setup(arguments.workers) };
    let engine = Engine::resume(setup, |_| {})?;
    engine.accept(vec![Submission::Clock(MONTH_END), Submission::Catalog(catalog::changes(Outputs::Core))])?;
    Ok(Arc::new(engine))
}

/// In how many epochs it all came in.
fn epochs(answers: &[Answer]) -> f64 {
    answers.iter().map(|answer| answer.epoch).collect::<BTreeSet<_>>().len() as f64
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// Whether everything that was sent is in the ledger.
fn compare(engine: &Engine, events: &Events) -> Result<(), Failed> {
    let last = engine.accept(Vec::new())?.epoch;
    let rows = engine.wait(last)?.rows(View::Ledger);
    let accepted = rows.into_iter().find_map(|row| match &row[..] {
        [Cell::Text(state), Cell::Integer(count)] if **state == *"received" => Some(*count as u64),
        _ => None,
    });
    let count = events.count();
    if accepted == Some(count) { Ok(()) } else { Err(format!("{accepted:?} events instead of {count}").into()) }
}

/// Sends events over connections that stay open.
struct Senders {
    address: SocketAddr,
    engine: Arc<Engine>,
}

impl Senders {
    /// Sends each request as soon as the one before it on its connection is answered; gives what came
    /// of each, and in how many seconds.
    async fn send(&self, shares: Vec<Vec<Vec<u8>>>) -> Result<(Vec<Answer>, f64), Failed> {
        let (address, start) = (self.address, Instant::now());
        let senders = shares.into_iter().map(|share| {
            spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut answers = Vec::with_capacity(share.len());
                for request in share {
                    let start = Instant::now();
                    let epoch = connection.send(&request).await?;
                    answers.push(Answer { epoch, waited: start.elapsed().as_secs_f64() * 1e3 });
                }
                Ok::<_, Failed>(answers)
            })
        });
        let answers: Result<Vec<_>, Failed> = try_join_all(senders).await?.into_iter().collect();
        let answers: Vec<Answer> = answers?.into_iter().flatten().collect();
        let last = answers.iter().map(|answer| answer.epoch).max().unwrap_or_default();
        block_in_place(|| self.engine.wait(last))?;
        Ok((answers, start.elapsed().as_secs_f64()))
    }

    /// Sends 100 batches of 1,000 each second; gives for each how many milliseconds passed from its answer
    /// until the views show it, and how many events were sent a second.
    async fn paced(&self, events: &Events, numbers: Range<u64>) -> Result<(Vec<f64>, f64), Failed> {
        const CONNECTIONS: u64 = 4;
        let shares = shares(events, numbers.clone(), 1_000, CONNECTIONS);
        let start = Instant::now();
        let senders = shares.into_iter().map(|requests| {
            let (address, engine) = (self.address, self.engine.clone());
            spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut pace = tokio::time::interval(Duration::from_millis(10 * CONNECTIONS));
                let mut waits = Vec::new();
                for request in requests {
                    pace.tick().await;
                    let epoch = connection.send(&request).await?;
                    let answered = Instant::now();
                    waits.push(spawn({
                        let engine = engine.clone();
                        async move {
                            let mut epochs = engine.published().epochs();
                            epochs
                                .wait_for(|shown| *shown >= epoch)
                                .await
                                .map(|_| answered.elapsed().as_secs_f64() * 1e3)
                        }
                    }));
                }
                Ok::<_, Failed>(waits)
            })
        });
        let mut visible = Vec::new();
        for waits in try_join_all(senders).await? {
            for wait in waits? {
                visible.push(wait.await??);
            }
        }
        let count = numbers.end - numbers.start;
        Ok((visible, count as f64 / start.elapsed().as_secs_f64()))
    }
}

/// What came of a request.
struct Answer {
    epoch: Epoch,
    /// Milliseconds from sending it until the answer was there.
    waited: f64,
}

/// Requests of so many events each, dealt out to so many connections.
fn shares(events: &Events, numbers: Range<u64>, batch: u64, connections: u64) -> Vec<Vec<Vec<u8>>> {
    let share = |connection: u64| {
        let starts = numbers.clone().step_by(batch as usize).skip(connection as usize).step_by(connections as usize);
        starts.map(|start| request(events, start..(start + batch).min(numbers.end))).collect()
    };
    (0..connections).map(share).collect()
}

/// A request with these events.
fn request(events: &Events, numbers: Range<u64>) -> Vec<u8> {
    let mut body = Vec::new();
    for number in numbers {
        cloud_events::write(&events.at(number), &mut body).expect("memory takes everything");
    }
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length";
    let mut request = format!("{head}: {}\r\n\r\n", body.len()).into_bytes();
    request.append(&mut body);
    request
}

/// A connection that is kept alive.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Connection, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::new() })
    }

    /// Sends a request and waits for the answer; gives the epoch that it names.
    async fn send(&mut self, request: &[u8]) -> Result<Epoch, Failed> {
        self.stream.write_all(request).await?;
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            // The answer ends with its one JSON object.
            let text = std::str::from_utf8(&self.received)?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let Ok(answer) = serde_json::from_str::<Value>(body) else { continue };
            return match answer["epoch"].as_u64() {
                Some(epoch) if answer["set_aside"] == 0 => Ok(epoch),
                _ => Err(format!("{head}\n{body}").into()),
            };
        }
    }
}
