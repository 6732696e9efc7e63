//! What tells a command that runs on to end: ctrl-c, or whoever supervises it.

use super::failure::Failure;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears of it from its making on, also when nobody waits for it yet: until then the process just dies.
pub struct Ending {
    #[cfg(unix)]
    signals: [Signal; 2],
}

impl Ending {
    /// From now on it hears.
    pub fn begin() -> Result<Ending, Failure> {
        #[cfg(unix)]
        {
            let hear = |kind| signal(kind).map_err(|error| Failure::engine(&error));
            Ok(Ending { signals: [hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?] })
        }
        #[cfg(not(unix))]
        Ok(Ending {})
    }

    /// Returns when the process was told to end.
    pub async fn told(self) -> Result<(), Failure> {
        #[cfg(unix)]
        {
            let [mut interrupted, mut terminated] = self.signals;
            tokio::select! {
                _ = interrupted.recv() => Ok(()),
                _ = terminated.recv() => Ok(()),
            }
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map_err(|error| Failure::engine(&error))
    }
}

/// Returns when the process is told to end.
pub async fn told_to_end() -> Result<(), Failure> {
    Ending::begin()?.told().await
}
