//! `trueup demo`: an hour of recorded LLM calls, billed while everything goes wrong that does.
//!
//! ```text
//!   recorded calls ─ customers, models ─ duplicates, late, corrected, withdrawn
//!                                                   │ CloudEvents as bytes
//!      oracle ◄── all facts ── stage ── reader, door, workers ──► views ──► this page, Flight
//!         └───────────── every view is the same ◄──────────────────┘
//! ```
//! The seed decides everything: the same seed gives the same page.

mod acts;
mod calls;
mod dice;
mod invoices;
mod stage;
mod stream;
mod tables;

use std::net::SocketAddr;

use clap::value_parser;
use serde_json::json;
use trueup::engine::WORKERS_MAX;
use trueup_sinks::server::Options;

use super::failure::{Failure, Outcome};
use super::narrator::Narrator;
use super::page::{self, Ink, ink};
use super::proof::{self, Proof};
use super::remote::{ADDRESS, block_on};
use super::serve::listen;
use super::signals::told_to_end;
use crate::config;
use stage::Stage;

/// Bill an hour of recorded LLM calls, with everything going wrong that does in practice.
///
/// The calls were recorded in Azure on 2023-11-16. The seed gives each a customer and a model,
/// repeats, delays, corrects and withdraws some, and everything runs through the whole engine.
/// Then every view is checked against a plain computation over all facts, and served.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What decides every draw
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// End after the check, with exit code 1 if it fails
    #[arg(long)]
    exit: bool,
    /// Where to serve the views; port 0 takes a free one [default: 127.0.0.1:8815]
    #[arg(long, value_name = "HOST:PORT", value_parser = config::address)]
    address: Option<SocketAddr>,
    /// How many threads compute
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=WORKERS_MAX as u64))]
    workers: u64,
}

/// Plays.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let mut stage = Stage::open(arguments.workers as usize);
    let quiet = json;
    acts::play(&mut stage, arguments.seed, quiet)?;
    let proof = proof::check(&stage.engine().newest(), stage.told(), Narrator::new(quiet));
    match json {
        true => print_json(&stage, &proof, arguments.seed),
        false => proof.print(),
    }
    if !proof.holds() {
        return Err(Failure::No(
            "the engine and the oracle differ: this is a bug of trueup, please report the seed".into(),
        ));
    }
    if arguments.exit { Ok(()) } else { serve(&stage, arguments.address, json) }
}

fn print_json(stage: &Stage, proof: &Proof, seed: u64) {
    let epoch = stage.engine().newest().epoch();
    page::line(
        json!({"seed": seed, "epoch": epoch, "rows_compared": proof.rows(), "holds": proof.holds()}).to_string(),
    );
}

/// Serves the views until ctrl-c.
fn serve(stage: &Stage, address: Option<SocketAddr>, json: bool) -> Outcome {
    block_on(async {
        let usual: SocketAddr = ADDRESS.parse().expect("the usual address is one");
        let options = |address| Options { address, ..Options::default() };
        let server = match address {
            Some(address) => listen(stage.engine(), options(address)).await?,
            // Somebody else may have the usual port; any other does as well.
            None => match listen(stage.engine(), options(usual)).await {
                Ok(server) => server,
                Err(_) => listen(stage.engine(), options(SocketAddr::new(usual.ip(), 0))).await?,
            },
        };
        if !json {
            invite(server.address());
        }
        let signal = told_to_end().await;
        server.stop().await;
        signal
    })
}

/// What to try on a server.
fn invite(address: SocketAddr) {
    page::gap();
    let heading = format!("The views are served on grpc://{address} until ctrl-c. Try, in another terminal:");
    page::line(ink(Ink::Bold, &heading));
    page::gap();
    let other = if address.to_string() == ADDRESS { String::new() } else { format!(" --address {address}") };
    page::line(format!("  trueup watch quotas{other}"));
    let paths = "d = f.FlightDescriptor.\\\n    for_path(\"quotas\")";
    let read = "print(c.do_get(c.get_flight_info(d).endpoints[0].ticket).read_all().to_pylist())";
    page::line(format!(
        "  python3 -c 'import pyarrow.flight as f; c = f.connect(\"grpc://{address}\"); {paths}; {read}'"
    ));
    if cfg!(feature = "sql") {
        page::line(format!(
            "  trueup sql \"SELECT customer, currency, total FROM invoices ORDER BY total DESC\"{other}"
        ));
        let run = "c.execute(\"SELECT state, events FROM ledger\"); print(c.fetchall())";
        page::line(format!(
            "  python3 -c 'import adbc_driver_flightsql.dbapi as d; c = d.connect(\"grpc://{address}\", autocommit=True).\\\n    cursor(); {run}'"
        ));
    }
}
