//! Brings the workers' snapshots of an epoch together and shows them as one reading.
//!
//! Law: readings are published in the order of their epochs, each whole: a reader that takes
//! one sees all views of all workers as of the same epoch. Publishing swaps a pointer; it waits
//! for no reader and no reader waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use tokio::sync::watch;
use trueup_connectors::journal::ReadBack;
use trueup_model::books::Books;
use trueup_model::fact::Epoch;

use super::graph::Snapshots;
use super::moment::Moment;

/// Where the newest reading is found.
pub struct Published {
    workers: usize,
    newest: RwLock<Arc<Moment>>,
    gathering: Mutex<Gathering>,
    changed: Condvar,
    has_stopped: AtomicBool,
    /// Dropped when the engine stops, which ends whoever follows.
    epochs: Mutex<Option<watch::Sender<Epoch>>>,
}

#[derive(Default)]
struct Gathering {
    parts: BTreeMap<Epoch, Vec<(usize, Snapshots)>>,
    /// Why the engine stopped, if it did.
    stopped: Option<String>,
}

/// The engine stopped, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine stopped: {0}")]
pub struct Stopped(pub String);

impl Published {
    /// Nothing published yet but empty books, as of just before `begin`; what is shown of what was set
    /// aside is read back from `journal`.
    pub fn new(workers: usize, begin: Epoch, journal: ReadBack) -> Published {
        Published {
            workers,
            newest: RwLock::new(Arc::new(Moment::before(begin, journal))),
            gathering: Mutex::default(),
            changed: Condvar::new(),
            has_stopped: AtomicBool::new(false),
            epochs: Mutex::new(Some(watch::Sender::new(0))),
        }
    }

    /// The newest reading.
    pub fn newest(&self) -> Arc<Moment> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the epoch of the newest reading.
    pub fn epochs(&self) -> watch::Receiver<Epoch> {
        let epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        // After the end a receiver without a sender tells the follower so.
        epochs.as_ref().map_or_else(|| watch::channel(self.newest().epoch()).1, watch::Sender::subscribe)
    }

    /// Takes a worker's snapshots of a complete epoch; publishes when all workers' are there.
    /// `oldest` is the epoch from which on times are still told apart.
    pub fn submit(&self, worker: usize, epoch: Epoch, oldest: Epoch, books: &Arc<Books>, snapshots: Snapshots) {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = gathering.parts.entry(epoch).or_default();
        parts.push((worker, snapshots));
        if parts.len() < self.workers {
            return;
        }
        let mut parts = gathering.parts.remove(&epoch).unwrap_or_default();
        parts.sort_by_key(|(worker, _)| *worker);
        let parts = parts.into_iter().map(|(_, snapshots)| snapshots).collect();
        let moment = Moment::after(&self.newest(), epoch, oldest, books.clone(), parts);
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(moment);
        if let Some(epochs) = &*self.epochs.lock().unwrap_or_else(PoisonError::into_inner) {
            epochs.send_replace(epoch);
        }
        self.changed.notify_all();
    }

    /// Why nothing will be published any more, if that is so.
    pub fn stopped(&self) -> Option<Stopped> {
        let gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        gathering.stopped.clone().map(Stopped)
    }

    /// Whether nothing will be published any more.
    pub fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }

    /// Says that nothing will be published any more.
    pub fn stop(&self, why: &str) {
        self.has_stopped.store(true, Ordering::Relaxed);
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        gathering.stopped.get_or_insert_with(|| why.to_owned());
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.changed.notify_all();
    }

    /// Waits until `epoch` is published.
    pub fn wait(&self, epoch: Epoch) -> Result<Arc<Moment>, Stopped> {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let newest = self.newest();
            if newest.epoch() >= epoch {
                return Ok(newest);
            }
            if let Some(why) = &gathering.stopped {
                return Err(Stopped(why.clone()));
            }
            gathering = self.changed.wait(gathering).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
