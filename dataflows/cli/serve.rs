//! `trueup serve`: an engine on the machine's clock, its views over Arrow Flight until told to
//! stop.
//!
//! Law: from its first moment on a server answers. What it cannot say truly yet it does not say: as long as
//! its journal is computed again, the answer is how far that is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{MissedTickBehavior, interval};
use trueup::engine::Engine;
use trueup::engine::clock::{Clock, ClockError};
use trueup::engine::door::DoorError;
use trueup::engine::intake::Gatherer;
use trueup::engine::puts::Puts;
use trueup::engine::recovery::Recovery;
use trueup_connectors::board::{Board, Phase};
use trueup_connectors::http::{self, HttpServer};
use trueup_connectors::intake::Intake;
use trueup_connectors::journal::Copies;
use trueup_connectors::watched::{self, Watch};
use trueup_model::grain::{Micros, QUARTER_MICROS};
use trueup_sinks::limits::Limits;
use trueup_sinks::server::{self, Options, Server};

use super::backfill::{Served, Shelf};
use super::failure::{Failure, Outcome};
use super::kafka::Sources;
use super::loading::{EventFiles, Loaded, TENANT, load_catalog, load_events_that_can_be};
use super::remote::block_on;
use super::resume::resume_telling;
use super::signals::Ending;
use super::{copying, descriptors, ledger, page, words};
use crate::config::{self, Config};

/// Run an engine and serve its views over Arrow Flight, until ctrl-c or SIGTERM.
///
/// The configuration names the catalog, the events to read at the start, and the address; a
/// minimal one is `catalog = "catalog"`. With `journal = "journal"` what came in outlives the
/// process; without it is in memory, and read from the files again after a restart.
///
/// Up to 512 may be connected over Flight, and as many over HTTP; each no more than a third of the files
/// that the process may have open (`ulimit -n`), which is raised as far as the system lets it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; paths in it are seen from its folder
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// Where to listen, whatever the configuration says
    #[arg(long, value_name = "HOST:PORT", value_parser = config::address)]
    address: Option<SocketAddr>,
}

/// How often to look whether a grain has begun.
const LOOK: Duration = Duration::from_secs(1);

/// Serves.
pub fn run(arguments: &Arguments) -> Outcome {
    let mut config = Config::read(&arguments.config).map_err(Failure::Input)?;
    config.address = arguments.address.unwrap_or(config.address);
    let engine = block_on(serve(&config))?;
    // So that the next start is short.
    if_it_can_be(&mut None, || engine.checkpoint().map(|_| ()))?;
    engine.stop();
    page::line(match config.journal {
        Some(_) => "Stopped. What came in is in the journal; the next start goes on from there.",
        None => "Stopped. Without a journal nothing was kept of what was sent.",
    });
    Ok(())
}

/// Listens first, shows the views once they are true, reads what the configuration names, and serves
/// until told to end.
async fn serve(config: &Config) -> Result<Arc<Engine>, Failure> {
    // What is wrong with the configuration is told at once, and not when all has been read.
    Sources::check(&config.kafka)?;
    let copies = config.copies.as_deref().map(copying::place).transpose()?;
    let mut recovery = Recovery::default();
    let listening = Listening::begin(config, &recovery).await?;
    let engine = Arc::new(block_in_place(|| recover(config, &mut recovery))?);
    let intake: Arc<dyn Intake> = Arc::new(Gatherer::start(engine.clone()).of_tenant(TENANT));
    let board = Board::told_by(|| Clock::Wall.now(0));
    announce(config, &board);
    // Whoever hears that it is ready may tell it to end at once.
    let (ending, early) = (Ending::begin()?, Ending::begin()?);
    let open = listening.open(config, &engine, &intake, &board)?;
    let early = tokio::spawn(end_at_once(early));
    let files = EventFiles { events: config.events.clone(), mapping: config.mappings.clone() };
    let loaded = block_in_place(|| load_if_there_is_room(&engine, &files))?;
    early.abort();
    let reading = Reading::begin(config, copies, &engine, intake, board)?;
    page::line(format!(
        "{} events were read; {} so far. Serving on {}{}; ctrl-c stops.",
        words::count(loaded.taken),
        words::set_aside(ledger::quarantined(&engine.newest())),
        open.words(),
        reading.sources.words(),
    ));
    let outcome = until_told(&engine, ending, config.checkpoint_every).await;
    reading.stop().await;
    open.stop().await;
    outcome.map(|()| engine)
}

/// Ends the process when it is told to while files are read, which may take long: what was read is in the journal.
async fn end_at_once(ending: Ending) {
    if ending.told().await.is_ok() {
        page::line("Stopped while files were being read; the next start goes on where they were left.");
        std::process::exit(0);
    }
}

/// Tells of every source before it begins, so that whoever asks meanwhile hears of all of them.
fn announce(config: &Config, board: &Board) {
    let topics = config.kafka.iter().map(|topics| format!("kafka/{}", topics.name));
    let folders = config.watch.iter().map(|folder| folder.display().to_string());
    topics.chain(folders).for_each(|source| board.stands(&source, Phase::Starting.into()));
}

/// Reads the files of the configuration. What others sent may have filled the quarantine or the disk: that
/// keeps nobody from starting, and no file from being read that has room. What is not read is read at the next start.
fn load_if_there_is_room(engine: &Engine, files: &EventFiles) -> Result<Loaded, Failure> {
    load_events_that_can_be(engine, files, |file, failure| match failure {
        Failure::Later(why) => {
            let file = file.display();
            tracing::error!(%file, why, "the file is not read to its end; the next start goes on");
            Ok(())
        }
        failure => Err(failure),
    })
}

/// Computes what the journal tells, and takes the catalog of now: from then on the views are true.
fn recover(config: &Config, recovery: &mut Recovery) -> Result<Engine, Failure> {
    let engine = resume_telling(config, recovery)?;
    recovery.goes_on("the catalog is being read");
    load_catalog(&engine, &config.catalog, None)?;
    Ok(engine)
}

/// Servers that listen and tell whoever calls to come again.
struct Listening {
    flight: server::Waiting,
    http: Option<http::Waiting>,
}

impl Listening {
    async fn begin(config: &Config, recovery: &Recovery) -> Result<Listening, Failure> {
        let limits = Limits::default();
        let connections_max = descriptors::for_connections(limits.connections_max);
        let address = config.address;
        let flight = server::listen(address, &Limits { connections_max, ..limits }, recovery.words()).await;
        let flight = flight.map_err(|error| cannot_listen(address, &error))?;
        let http = match config.http {
            Some(address) => {
                let patience = http::Patience::default();
                let listening = http::listen(address, connections_max, patience, recovery.words()).await;
                Some(listening.map_err(|error| cannot_listen(address, &error))?)
            }
            None => None,
        };
        Ok(Listening { flight, http })
    }

    /// Shows the views, and takes events in.
    fn open(
        self,
        config: &Config,
        engine: &Arc<Engine>,
        intake: &Arc<dyn Intake>,
        board: &Board,
    ) -> Result<Open, Failure> {
        let receiver = Some(Arc::new(Puts::new(intake.clone(), TENANT)) as _);
        let options = Options { token: config.token.clone(), receiver, ..Options::default() };
        let flight = self.flight.show(engine.published(), options);
        let shelf = config.journal.as_deref().map(Shelf::of).transpose()?;
        let served = shelf.map(|shelf| Served::new(engine.clone(), shelf));
        let options = http::Options {
            token: config.token.clone(),
            tenant: TENANT.to_owned(),
            board: board.clone(),
            backfills: served.map(|served| Arc::new(served) as _),
            ..http::Options::default()
        };
        let http = self.http.map(|http| http.open(intake.clone(), &options));
        tracing::info!(address = %flight.address(), epoch = engine.newest().epoch(), "serving");
        Ok(Open { flight, http })
    }
}

/// Servers that answer.
struct Open {
    flight: Server,
    http: Option<HttpServer>,
}

impl Open {
    fn words(&self) -> String {
        let flight = format!("grpc://{}", self.flight.address());
        match &self.http {
            Some(http) => format!("{flight}, taking events at http://{}/v1/events", http.address()),
            None => flight,
        }
    }

    async fn stop(self) {
        if let Some(http) = self.http {
            http.stop().await;
        }
        self.flight.stop().await;
    }
}

/// What reads and writes by itself.
struct Reading {
    sources: Sources,
    watch: Watch,
    copying: Option<JoinHandle<()>>,
}

impl Reading {
    fn begin(
        config: &Config,
        copies: Option<Copies>,
        engine: &Arc<Engine>,
        intake: Arc<dyn Intake>,
        board: Board,
    ) -> Result<Reading, Failure> {
        let sources = Sources::start(&intake, &config.kafka, &board)?;
        let (folders, tenant) = (config.watch.clone(), TENANT.to_owned());
        let watch = watched::start(intake, watched::Options { folders, tenant, board, ..watched::Options::default() });
        let copying = config.journal.as_ref().zip(copies);
        let copying = copying.map(|(journal, copies)| copying::start(engine, journal, copies));
        Ok(Reading { sources, watch, copying })
    }

    async fn stop(self) {
        self.sources.stop().await;
        self.watch.stop().await;
        self.copying.inspect(JoinHandle::abort);
    }
}

/// Serves an engine's views.
pub async fn listen(engine: &Engine, options: Options) -> Result<Server, Failure> {
    let address = options.address;
    let server = server::start(engine.published(), options).await.map_err(|error| cannot_listen(address, &error))?;
    tracing::info!(address = %server.address(), "serving");
    Ok(server)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::Engine(format!(
        "nothing can listen at {address} ({error}): give another address, or port 0 for a free one"
    ))
}

/// Lets time pass until the process is told to end: periods begin and end by it, always on the
/// edge of a grain, so that is when it is worth an epoch without facts. Now and then what was
/// computed is kept.
async fn until_told(engine: &Engine, ending: Ending, checkpoint_every: Duration) -> Outcome {
    let mut refused_clock = None;
    let end = ending.told();
    tokio::pin!(end);
    // The first is made at once, of what was computed again.
    let mut checkpoints = interval(checkpoint_every);
    checkpoints.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        still_runs(engine)?;
        let clock = engine.books().clock;
        if Clock::Wall.now(clock) >= next_edge(clock) {
            tick(engine, &mut refused_clock)?;
        }
        tokio::select! {
            outcome = &mut end => return outcome.and(still_runs(engine)),
            _ = checkpoints.tick() => if_it_can_be(&mut refused_clock, || engine.checkpoint().map(|_| ()))?,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Says why an engine has stopped by itself, if it has: then the process is to be started again.
fn still_runs(engine: &Engine) -> Outcome {
    engine.published().stopped().map_or(Ok(()), |stopped| Err(stopped.into()))
}

/// Lets time pass: an epoch without facts carries the clock alone.
fn tick(engine: &Engine, refused_clock: &mut Option<ClockError>) -> Outcome {
    if_it_can_be(refused_clock, || engine.accept(Vec::new()).map(|_| ()))
}

/// Does what makes an epoch of its own: lets time pass, or orders a checkpoint. Where there is no room for
/// it now, there may be later; where the machine's clock is not plausible, that is told once.
fn if_it_can_be(refused_clock: &mut Option<ClockError>, done: impl FnOnce() -> Result<(), DoorError>) -> Outcome {
    match block_in_place(done) {
        Err(DoorError::Clock(error)) => {
            if refused_clock.replace(error).is_none() {
                tracing::error!(%error, "nothing is accepted");
            }
            Ok(())
        }
        Ok(()) => {
            *refused_clock = None;
            Ok(())
        }
        Err(DoorError::Journal(error)) if !error.is_final() => {
            tracing::error!(%error, "no epoch was made");
            Ok(())
        }
        made => made.map_err(Failure::from),
    }
}

/// When the next grain begins.
fn next_edge(clock: Micros) -> Micros {
    (clock.div_euclid(QUARTER_MICROS) + 1) * QUARTER_MICROS
}
