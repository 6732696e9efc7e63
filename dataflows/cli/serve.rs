//! `trueup serve`: an engine on the machine's clock, its views over Arrow Flight until told to
//! stop.

use std::path::PathBuf;
use std::time::Duration;

use trueup::engine::clock::Clock;
use trueup::engine::{Engine, Setup};
use trueup_sinks::server::{self, Options, Server};

use super::failure::{Failure, Outcome};
use super::loading::{EventFiles, load_catalog, load_events};
use super::remote::block_on;
use super::{page, words};
use crate::config::Config;

/// Run an engine and serve its views over Arrow Flight, until ctrl-c.
///
/// The configuration names the catalog, the events to read at the start, and the address; a
/// minimal one is `catalog = "catalog"`. What came in is in memory: after a restart it is read
/// from the files again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; paths in it are seen from its folder
    #[arg(long, value_name = "FILE", default_value = "trueup.toml")]
    config: PathBuf,
    /// Where to listen, whatever the configuration says
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<std::net::SocketAddr>,
}

/// How often time passes where nothing else happens: periods begin and end by it.
const TICK: Duration = Duration::from_secs(60);

/// Serves.
pub fn run(arguments: &Arguments) -> Outcome {
    let mut config = Config::read(&arguments.config).map_err(Failure::Input)?;
    config.address = arguments.address.unwrap_or(config.address);
    let setup = Setup { workers: config.workers, clock: Clock::Wall, retention: config.retention, ..Setup::default() };
    let engine = Engine::start(setup);
    load_catalog(&engine, &config.catalog, None)?;
    let loaded = load_events(&engine, &EventFiles { events: config.events, mapping: config.mappings })?;
    block_on(async {
        let options = Options { address: config.address, token: config.token, ..Options::default() };
        let server = listen(&engine, options).await?;
        page::line(format!(
            "{} events are in ({} set aside). Serving on grpc://{}; ctrl-c stops.",
            words::count(loaded.accepted),
            words::count(loaded.refused),
            server.address()
        ));
        let outcome = until_stopped(&engine).await;
        server.stop().await;
        outcome
    })?;
    engine.stop();
    Ok(())
}

/// Serves an engine's views.
pub async fn listen(engine: &Engine, options: Options) -> Result<Server, Failure> {
    let address = options.address;
    let server = server::start(engine.published(), options).await.map_err(|error| {
        Failure::Engine(format!(
            "nothing can listen at {address} ({error}): give another --address, or port 0 for a free one"
        ))
    })?;
    tracing::info!(address = %server.address(), "serving");
    Ok(server)
}

/// Lets time pass until ctrl-c.
async fn until_stopped(engine: &Engine) -> Outcome {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = ticks.tick() => {
                // An epoch without facts carries the clock alone.
                engine.accept(Vec::new())?;
            }
        }
    }
}
