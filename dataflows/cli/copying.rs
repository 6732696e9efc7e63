//! Copies of the journal of a server that runs, made beside it as its segments end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn, spawn_blocking};
use trueup::engine::Engine;
use trueup_connectors::journal::Copies;

use super::failure::Failure;

/// How often to look whether a segment has ended.
const LOOK: Duration = Duration::from_secs(10);

/// Where copies are to be, if that is a place for them.
pub fn place(place: &str) -> Result<Copies, Failure> {
    Copies::at(place).map_err(|error| Failure::input(&error))
}

/// Copies what has ended, again and again, until it is aborted. A place that cannot be used is told in
/// the log, and tried again.
pub fn start(engine: &Arc<Engine>, journal: &Path, copies: Copies) -> JoinHandle<()> {
    let (engine, journal) = (engine.clone(), journal.to_path_buf());
    spawn(async move {
        let mut known = 0;
        loop {
            known = copy(&engine, &journal, &copies, known).await;
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// Copies what has ended, if it is more than was known; says how many segments are known to be there.
async fn copy(engine: &Arc<Engine>, journal: &Path, copies: &Copies, known: usize) -> usize {
    let engine = engine.clone();
    // The journal may be at work, and is waited for.
    let sealed = spawn_blocking(move || engine.sealed()).await.unwrap_or_default();
    if sealed.len() == known {
        return known;
    }
    match copies.add(journal, &sealed).await {
        Ok(copied) => {
            tracing::info!(copied, segments = sealed.len(), "segments of the journal were copied");
            sealed.len()
        }
        Err(error) => {
            tracing::error!(%error, "the journal is not copied");
            known
        }
    }
}
