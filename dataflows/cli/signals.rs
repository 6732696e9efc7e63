//! What tells a command that runs on to end: ctrl-c, or whoever supervises it.

use super::failure::Failure;

/// Returns when the process is told to end.
pub async fn told_to_end() -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate()).map_err(|error| Failure::engine(&error))?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome.map_err(|error| Failure::engine(&error)),
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(|error| Failure::engine(&error))
}
