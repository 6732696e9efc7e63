//! `trueup sql`: one statement, over a running server's views or over files.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use trueup::engine::clock::Clock;
use trueup::engine::{Engine, Setup};
use trueup_sinks::limits::Limits;
use trueup_sinks::reading::Reading;
use trueup_sinks::sql::Sql;

use super::failure::{Failure, Outcome};
use super::loading::{EventFiles, load_catalog, load_events};
use super::remote::{Connection, Remote, block_on};
use super::{ledger, shown, words};

/// Ask the views by SQL.
///
/// Without --catalog a running server is asked: that of `trueup.toml`, or at --address. With it, a fresh
/// engine reads the catalog and the events first; nothing is kept.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The statement, such as "SELECT * FROM invoices"
    statement: String,
    #[command(flatten)]
    connection: Connection,
    /// Wait until this epoch is in the answer: that of a receipt
    #[arg(long, value_name = "EPOCH", conflicts_with = "catalog")]
    min_epoch: Option<u64>,
    /// The folder of a catalog: ask over files instead of a server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["address", "config"])]
    catalog: Option<PathBuf>,
    #[command(flatten)]
    files: EventFiles,
    /// The billing clock over files: a date or a time; else it is now
    #[arg(long, value_name = "TIME", requires = "catalog")]
    as_of: Option<String>,
}

/// Answers.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    let (schema, batches) = block_on(async {
        match &arguments.catalog {
            Some(catalog) => over_files(arguments, catalog).await,
            None => over_server(arguments).await,
        }
    })?;
    shown::print(&schema, &batches, json);
    Ok(())
}

async fn over_server(arguments: &Arguments) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    if !arguments.files.events.is_empty() {
        return Err(Failure::Input("--events are read with a --catalog: give its folder too".to_owned()));
    }
    let mut remote = Remote::connect(&arguments.connection).await?;
    if let Some(epoch) = arguments.min_epoch {
        remote.at_least(epoch)?;
    }
    let answer = remote.query(&arguments.statement).await?;
    let batches = answer.rows.try_collect().await.map_err(|error| remote.failure(error))?;
    Ok((answer.schema, batches))
}

async fn over_files(
    arguments: &Arguments,
    catalog: &std::path::Path,
) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let as_of = arguments.as_of.as_deref().map(words::parse_instant).transpose()?;
    let clock = if as_of.is_some() { Clock::Told } else { Clock::Wall };
    let engine = Engine::start(Setup { clock, ..Setup::default() });
    load_catalog(&engine, catalog, as_of)?;
    load_events(&engine, &arguments.files)?;
    ledger::tell_set_aside(&engine.newest());
    let moment: Arc<dyn Reading> = engine.newest();
    let sql = Sql::new(Limits::default());
    let statement = sql.plan(&arguments.statement).await?;
    let batches = sql.run(&statement, moment).await?.try_collect().await?;
    Ok((statement.schema.clone(), batches))
}
