//! `trueup journal`: copies of a journal, away from its disk and back.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use trueup_connectors::journal::{Copies, FileJournal, Journal, Settings};

use super::failure::{Failure, Outcome};
use super::page;
use super::remote::block_on;
use super::words;

/// Copy the segments of a journal away, or bring them back.
///
/// A segment is copied once another follows it: with 64 MiB, or at the next start of the server. A
/// server does so by itself where its configuration names `copies`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Copy what is not there yet; the server of the journal must have stopped
    Copy {
        /// The folder of the journal
        #[arg(long, value_name = "DIR")]
        journal: PathBuf,
        /// A folder, or s3://bucket/folder
        #[arg(long, value_name = "PLACE")]
        to: String,
    },
    /// Bring copies back into an empty folder, each checked to its last bit
    Restore {
        /// A folder, or s3://bucket/folder
        #[arg(long, value_name = "PLACE")]
        from: String,
        /// The folder of the journal; it may not be there yet
        #[arg(long, value_name = "DIR")]
        journal: PathBuf,
    },
}

/// Copies, or brings back.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    match &arguments.what {
        What::Copy { journal, to } => {
            if !journal.is_dir() {
                return Err(Failure::Input(format!("`{}` is no folder: give the journal's", journal.display())));
            }
            let (opened, _) =
                FileJournal::open(journal, Settings::default()).map_err(|error| Failure::input(&error))?;
            let sealed = opened.sealed();
            let copies = Copies::at(to).map_err(|error| Failure::input(&error))?;
            let copied =
                block_on(async { copies.add(journal, &sealed).await.map_err(|error| Failure::input(&error)) })?;
            let last = sealed.last().map_or(0, |segment| segment.last);
            let behind = opened.last() - last;
            match json {
                true => page::line(json!({"copied": copied, "segments": sealed.len(), "last": last}).to_string()),
                false => page::line(format!(
                    "{} copied, {} there; the last {} of the journal will be when another segment follows.",
                    words::counted(copied, "segment"),
                    sealed.len(),
                    words::counted(behind as usize, "epoch")
                )),
            }
        }
        What::Restore { from, journal } => {
            let copies = Copies::at(from).map_err(|error| Failure::input(&error))?;
            let restored = block_on(async { copies.restore(journal).await.map_err(|error| Failure::input(&error)) })?;
            // From now on it is known how far this journal goes.
            let settings = Settings { accept_rollback: true, ..Settings::default() };
            FileJournal::open(journal, settings).map_err(|error| Failure::input(&error))?;
            match json {
                true => page::line(json!({"segments": restored.segments, "last": restored.last}).to_string()),
                false => page::line(format!(
                    "{} brought back; the journal goes on behind epoch {}.",
                    words::counted(restored.segments, "segment"),
                    words::count(restored.last)
                )),
            }
        }
    }
    Ok(())
}
