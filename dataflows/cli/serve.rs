//! `trueup serve`: an engine on the machine's clock, its views over Arrow Flight until told to
//! stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};
use trueup::engine::Engine;
use trueup::engine::clock::Clock;
use trueup::engine::door::DoorError;
use trueup::engine::intake::Gatherer;
use trueup::engine::puts::Puts;
use trueup_connectors::board::Board;
use trueup_connectors::http::{self, HttpServer};
use trueup_connectors::intake::Intake;
use trueup_connectors::watched;
use trueup_model::grain::{Micros, QUARTER_MICROS};
use trueup_sinks::server::{self, Options, Server};

use super::backfill::{Served, Shelf};
use super::failure::{Failure, Outcome};
use super::kafka::Sources;
use super::loading::{EventFiles, TENANT, load_catalog, load_events};
use super::remote::block_on;
use super::resume::resume;
use super::signals::told_to_end;
use super::{copying, ledger, page, words};
use crate::config::Config;

/// Run an engine and serve its views over Arrow Flight, until ctrl-c or SIGTERM.
///
/// The configuration names the catalog, the events to read at the start, and the address; a
/// minimal one is `catalog = "catalog"`. With `journal = "journal"` what came in outlives the
/// process; without it is in memory, and read from the files again after a restart.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; paths in it are seen from its folder
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// Where to listen, whatever the configuration says
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<SocketAddr>,
}

/// How often to look whether a grain has begun.
const LOOK: Duration = Duration::from_secs(1);

/// Serves.
pub fn run(arguments: &Arguments) -> Outcome {
    let mut config = Config::read(&arguments.config).map_err(Failure::Input)?;
    config.address = arguments.address.unwrap_or(config.address);
    let engine = Arc::new(resume(&config)?);
    load_catalog(&engine, &config.catalog, None)?;
    let loaded = load_events(&engine, &EventFiles { events: config.events, mapping: config.mappings })?;
    block_on(async {
        let intake: Arc<dyn Intake> = Arc::new(Gatherer::start(engine.clone()).of_tenant(TENANT));
        let options = Options {
            address: config.address,
            token: config.token.clone(),
            receiver: Some(Arc::new(Puts::new(intake.clone(), TENANT))),
            ..Options::default()
        };
        let server = listen(&engine, options).await?;
        let board = Board::told_by(|| Clock::Wall.now(0));
        let way_in = match config.http {
            Some(address) => {
                let served = config.journal.as_deref().map(|journal| Served::new(engine.clone(), Shelf::of(journal)));
                let options = http::Options {
                    address,
                    token: config.token,
                    board: board.clone(),
                    backfills: served.map(|served| Arc::new(served) as _),
                    ..http::Options::default()
                };
                Some(take_events(intake.clone(), options).await?)
            }
            None => None,
        };
        let sources = Sources::start(&intake, &config.kafka, &board)?;
        let (folders, tenant) = (config.watch, TENANT.to_owned());
        let watch = watched::start(intake, watched::Options { folders, tenant, board, ..watched::Options::default() });
        let copying = match (&config.journal, &config.copies) {
            (Some(journal), Some(place)) => Some(copying::start(&engine, journal, place)?),
            _ => None,
        };
        let quarantined = ledger::quarantined(&engine.newest());
        page::line(format!(
            "{} events were read; {} so far. Serving on grpc://{}{}{}; ctrl-c stops.",
            words::count(loaded.taken),
            words::set_aside(quarantined),
            server.address(),
            way_in
                .as_ref()
                .map_or(String::new(), |way_in| format!(", taking events at http://{}/v1/events", way_in.address())),
            sources.words(),
        ));
        let outcome = until_told(&engine, config.checkpoint_every).await;
        sources.stop().await;
        watch.stop().await;
        if let Some(way_in) = way_in {
            way_in.stop().await;
        }
        server.stop().await;
        if let Some(copying) = copying {
            copying.abort();
        }
        outcome
    })?;
    // So that the next start is short.
    engine.checkpoint()?;
    engine.stop();
    Ok(())
}

/// Serves an engine's views.
pub async fn listen(engine: &Engine, options: Options) -> Result<Server, Failure> {
    let address = options.address;
    let server = server::start(engine.published(), options).await.map_err(|error| cannot_listen(address, &error))?;
    tracing::info!(address = %server.address(), "serving");
    Ok(server)
}

/// Takes events in over HTTP.
async fn take_events(intake: Arc<dyn Intake>, options: http::Options) -> Result<HttpServer, Failure> {
    let address = options.address;
    let options = http::Options { tenant: TENANT.to_owned(), ..options };
    http::start(intake, options).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::Engine(format!(
        "nothing can listen at {address} ({error}): give another address, or port 0 for a free one"
    ))
}

/// Lets time pass until the process is told to end: periods begin and end by it, always on the
/// edge of a grain, so that is when it is worth an epoch without facts. Now and then what was
/// computed is kept.
async fn until_told(engine: &Engine, checkpoint_every: Duration) -> Outcome {
    let end = told_to_end();
    tokio::pin!(end);
    // The first is made at once, of what was computed again.
    let mut checkpoints = interval(checkpoint_every);
    checkpoints.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        still_runs(engine)?;
        let clock = engine.books().clock;
        if Clock::Wall.now(clock) >= next_edge(clock) {
            tick(engine)?;
        }
        tokio::select! {
            told = &mut end => return told.and(still_runs(engine)),
            _ = checkpoints.tick() => make_epoch(|| engine.checkpoint().map(|_| ()))?,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Says why an engine has stopped by itself, if it has: then the process is to be started again.
fn still_runs(engine: &Engine) -> Outcome {
    engine.published().stopped().map_or(Ok(()), |stopped| Err(stopped.into()))
}

/// Lets time pass: an epoch without facts carries the clock alone.
fn tick(engine: &Engine) -> Outcome {
    make_epoch(|| engine.accept(Vec::new()).map(|_| ()))
}

/// Makes an epoch without facts. Where there is no room for it now, there may be later.
fn make_epoch(make: impl FnOnce() -> Result<(), DoorError>) -> Outcome {
    match block_in_place(make) {
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
