//! How fast events come in from Kafka, each a message in JSON, until all views can be read: a real
//! broker on this machine, a journal on disk that is synced, two workers.
//!
//! `cargo bench --no-default-features --features kafka --bench kafka -- --events 2000000 --runs 3`
//!
//! The clock runs from when the source is started to when the last event is in the views; the events
//! lie in the broker by then. A run whose totals are wrong is an error.
#![expect(clippy::float_arithmetic, reason = "measurements are no money")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::FutureExt;
use futures::future::BoxFuture;
use trueup::engine::intake::Gatherer;
use trueup::engine::{Engine, Setup};
use trueup_connectors::FileJournal;
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::kafka::rdkafka::ClientConfig;
use trueup_connectors::kafka::rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use trueup_connectors::kafka::rdkafka::client::DefaultClientContext;
use trueup_connectors::kafka::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use trueup_connectors::kafka::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use trueup_connectors::kafka::{self, Options, State};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;
use trueup_workload::catalog::Outputs;
use trueup_workload::events::Events;
use trueup_workload::machine::{Machine, processor_time};
use trueup_workload::reference::expected;
use trueup_workload::{cloud_events, feeding, totals};

/// How fast events come in from Kafka.
#[derive(Parser)]
struct Arguments {
    /// How many events the month has
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// In how many partitions they lie
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// How often to measure; the median is the figure
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How the producer compresses them: none, lz4, zstd
    #[arg(long, default_value = "lz4")]
    compression: String,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

const WORKERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let place = place()?;
    let broker = Broker::start(&place)?;
    let events = Events::new(arguments.events);
    send(&broker.address, &arguments, &events)?;
    let mut runs = Vec::new();
    for number in 1..=arguments.runs {
        let run = run(&broker.address, &arguments, &events, &place.join("journal"))?;
        let Run { rate, wall, processor, epochs } = run;
        eprintln!(
            "run {number}: {} events in {wall:.2} s, {processor:.2} s of processors without the broker's, {epochs} epochs \
             of {} on average: {:.0} events/s",
            arguments.events,
            arguments.events / epochs.max(1),
            rate,
        );
        runs.push(run);
    }
    runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let Run { rate, epochs, .. } = runs[(runs.len() - 1) / 2];
    let Machine { name, commit } = Machine::this();
    println!(
        r#"{{"figure":"kafka_json_durable.load","value":{rate:.0},"unit":"events/s","events":{},"partitions":{},"compression":"{}","workers":{WORKERS},"epoch_events":{},"runs":{},"commit":"{commit}","machine":"{name}"}}"#,
        arguments.events,
        arguments.partitions,
        arguments.compression,
        arguments.events / epochs.max(1),
        arguments.runs,
    );
    Ok(())
}

/// A folder of this bench's own, beside what cargo builds.
fn place() -> Outcome<PathBuf> {
    let built = std::env::current_exe()?;
    let place = built.ancestors().nth(3).unwrap_or(&built).join("tmp/kafka");
    std::fs::create_dir_all(&place)?;
    Ok(place)
}

/// A broker, for as long as it is held.
struct Broker {
    address: String,
    script: Child,
}

impl Broker {
    fn start(place: &Path) -> Outcome<Broker> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/tests/kafka/broker");
        let (libs, folder) = (place.join("libs"), place.join("bench"));
        drop(std::fs::remove_dir_all(&folder));
        if !Command::new(&script).arg("fetch").arg(&libs).stdout(Stdio::null()).status()?.success() {
            return Err("Apache Kafka could not be fetched: it needs Java 17, Maven and a network".into());
        }
        let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let ports = [free[0].local_addr()?.port(), free[1].local_addr()?.port()];
        drop(free);
        let mut command = Command::new(&script);
        command.arg("run").arg(&libs).arg(&folder).arg("1").args(ports.map(|port| port.to_string()));
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        BufReader::new(script.stdout.take().ok_or("it is piped")?).read_line(&mut said)?;
        let address = format!("127.0.0.1:{}", ports[0]);
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("the broker does not come: see {}", folder.join("broker.log").display()).into());
            }
            sleep(Duration::from_millis(100));
        }
        Ok(Broker { address, script })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The broker ends with its script's input.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Makes the topic and sends the events, each to the partition of its number.
fn send(brokers: &str, arguments: &Arguments, events: &Events) -> Outcome<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "50").set("batch.num.messages", "10000");
    config.set("compression.type", &arguments.compression).set("queue.buffering.max.messages", "200000");
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new("events", arguments.partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for made in runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()))? {
        made.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    let producer: BaseProducer = config.create()?;
    let mut line = Vec::new();
    for number in 0..events.count() {
        line.clear();
        cloud_events::write(&events.at(number), &mut line)?;
        let partition = (number % arguments.partitions as u64) as i32;
        loop {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("events").partition(partition).payload(&line);
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

/// What was measured.
struct Run {
    rate: f64,
    wall: f64,
    processor: f64,
    epochs: u64,
}

fn run(brokers: &str, arguments: &Arguments, events: &Events, folder: &Path) -> Outcome<Run> {
    drop(std::fs::remove_dir_all(folder));
    let (journal, _) = FileJournal::open(folder, Default::default())?;
    let setup = Setup { journal: Box::new(journal), ..feeding::setup(WORKERS) };
    let engine = Arc::new(feeding::start(Outputs::Core, setup)?);
    let first = engine.newest().epoch();
    let intake = Arc::new(Counted::new(engine.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let options =
        Options { brokers: vec![brokers.to_owned()], topics: vec!["events".to_owned()], ..Options::default() };
    let (begun, processor) = (Instant::now(), processor_time());
    let source = runtime.block_on(async { kafka::start(intake.clone(), options) })?;
    while intake.inputs.load(Ordering::Relaxed) < events.count() {
        if let state @ (State::Halted(_) | State::Ended(_)) = source.state() {
            return Err(state.to_string().into());
        }
        sleep(Duration::from_millis(1));
    }
    let last = intake.epoch.load(Ordering::Relaxed);
    let moment = engine.wait(last)?;
    let (wall, processor) = (begun.elapsed().as_secs_f64(), (processor_time() - processor).as_secs_f64());
    runtime.block_on(source.stop());
    let (found, expected) = (totals::of(&(moment as _)), expected(events, 0));
    if found != expected {
        return Err(format!("the views add up to {found}, but it should be {expected}").into());
    }
    engine.stop();
    Ok(Run { rate: arguments.events as f64 / wall, wall, processor, epochs: last - first })
}

/// An engine's intake that counts what it has taken.
struct Counted {
    inner: Gatherer,
    inputs: AtomicU64,
    epoch: AtomicU64,
}

impl Counted {
    fn new(engine: Arc<Engine>) -> Counted {
        Counted { inner: Gatherer::start(engine), inputs: AtomicU64::new(0), epoch: AtomicU64::new(0) }
    }
}

impl Intake for Counted {
    fn layouts(&self) -> Arc<Layouts> {
        self.inner.layouts()
    }

    fn read_to(&self, source: &str) -> Option<String> {
        self.inner.read_to(source)
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        async move {
            let taken = self.inner.hand_in_parts(parts, read_to).await?;
            self.epoch.store(taken.epoch, Ordering::Relaxed);
            self.inputs.fetch_add(taken.events + taken.refused.len() as u64, Ordering::Relaxed);
            Ok(taken)
        }
        .boxed()
    }
}
