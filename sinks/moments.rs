//! Finds the moment a reader means: the newest, one named by epoch, or one held by a transaction.
//!
//! Law: asking for an epoch gives the views exactly as of that epoch or an error, never a near
//! one. A moment is held by its readers and for a short while after a ticket named it; an older
//! one, while the engine still knows its changes, is computed back from the newest.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::error::Error;
use crate::limits::Limits;
use crate::past::Past;
use crate::reading::{Epoch, Publication, Reading};

/// The moments that can be read.
pub struct Moments {
    publication: Arc<dyn Publication>,
    limits: Limits,
    held: Mutex<Held>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Held {
    recent: VecDeque<Recent>,
    leases: BTreeMap<u64, Lease>,
    leases_given: u64,
    /// Leases that ended because nobody used them, the latest of them.
    idled: BTreeSet<u64>,
}

struct Recent {
    since: Instant,
    reading: Arc<dyn Reading>,
}

struct Lease {
    used: Instant,
    reading: Arc<dyn Reading>,
}

impl Moments {
    /// The moments of what `publication` publishes.
    pub fn new(publication: Arc<dyn Publication>, limits: Limits) -> Moments {
        Moments { publication, limits, held: Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// The newest moment, held for a while so that a ticket naming it will find it.
    pub fn newest(&self) -> Arc<dyn Reading> {
        let reading = self.publication.newest();
        self.held().remember(reading.clone(), &self.limits);
        reading
    }

    /// The newest moment, not held: for those who keep it themselves.
    pub fn newest_unheld(&self) -> Arc<dyn Reading> {
        self.publication.newest()
    }

    /// Follows the newest epoch.
    pub fn epochs(&self) -> watch::Receiver<Epoch> {
        self.publication.epochs()
    }

    /// Ends every stream that waits for a newer moment, because the server stops.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until [`Moments::close`] is called.
    pub async fn until_closed(&self) {
        // An error means that the sender is gone, which it cannot be while we are here.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The moment of `epoch`; computing one back costs a scan of each view that is read.
    pub fn at(&self, epoch: Epoch) -> Result<Arc<dyn Reading>, Error> {
        if let Some(reading) = self.held().find(epoch) {
            return Ok(reading);
        }
        let newest = self.publication.newest();
        match epoch.cmp(&newest.epoch()) {
            Ordering::Equal => Ok(newest),
            Ordering::Greater => Err(Error::Ahead { epoch, newest: newest.epoch() }),
            Ordering::Less if epoch < newest.oldest() => Err(Error::Forgotten { epoch, oldest: newest.oldest() }),
            Ordering::Less => Ok(Arc::new(Past::new(newest, epoch))),
        }
    }

    /// Waits until `epoch` is published, so that a writer reads what it wrote.
    pub async fn wait_for(&self, epoch: Epoch) -> Result<(), Error> {
        let mut epochs = self.epochs();
        let published = async {
            while self.publication.newest().epoch() < epoch {
                epochs.changed().await.map_err(|_| Error::Stopped)?;
            }
            Ok(())
        };
        match tokio::time::timeout(self.limits.wait_max, published).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Ahead { epoch, newest: self.publication.newest().epoch() }),
        }
    }

    /// Holds the newest moment until it is released or was not used for long; gives its number.
    pub fn lease(&self) -> Result<u64, Error> {
        let reading = self.publication.newest();
        let mut held = self.held();
        held.forget_idle(&self.limits);
        if held.leases.len() >= self.limits.transactions_max {
            let most = self.limits.transactions_max;
            return Err(Error::Limit(format!("{most} transactions are open already: end some and try again")));
        }
        held.leases_given += 1;
        let number = held.leases_given;
        held.leases.insert(number, Lease { used: Instant::now(), reading });
        Ok(number)
    }

    /// The moment that was leased under this number.
    pub fn leased(&self, number: u64) -> Result<Arc<dyn Reading>, Error> {
        let mut held = self.held();
        held.forget_idle(&self.limits);
        let lease = held.leases.get_mut(&number).ok_or(Error::Expired("transaction"))?;
        lease.used = Instant::now();
        Ok(lease.reading.clone())
    }

    /// Lets go of a leased moment; letting go twice does no harm.
    pub fn release(&self, number: u64) {
        let mut held = self.held();
        held.leases.remove(&number);
        held.idled.remove(&number);
    }

    /// Whether a lease was released by its owner, and not lost for want of use.
    pub fn released(&self, number: u64) -> bool {
        let mut held = self.held();
        held.forget_idle(&self.limits);
        !held.leases.contains_key(&number) && !held.idled.contains(&number)
    }

    /// Lets go of moments that no ticket or transaction was asked for lately; the server does so
    /// every now and then, so that an idle one holds none.
    pub fn forget_idle(&self) {
        let mut held = self.held();
        held.forget_idle(&self.limits);
        held.forget_old(&self.limits);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing can panic half way through a change, so a poisoned lock holds whole data.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn remember(&mut self, reading: Arc<dyn Reading>, limits: &Limits) {
        self.forget_old(limits);
        self.recent.retain(|recent| recent.reading.epoch() != reading.epoch());
        self.recent.push_back(Recent { since: Instant::now(), reading });
        while self.recent.len() > limits.moments_max {
            self.recent.pop_front();
        }
    }

    fn forget_old(&mut self, limits: &Limits) {
        let now = Instant::now();
        self.recent.retain(|recent| now.duration_since(recent.since) < limits.moment_age_max);
    }

    fn find(&self, epoch: Epoch) -> Option<Arc<dyn Reading>> {
        let recent = self.recent.iter().map(|recent| &recent.reading);
        let leased = self.leases.values().map(|lease| &lease.reading);
        recent.chain(leased).find(|reading| reading.epoch() == epoch).cloned()
    }

    fn forget_idle(&mut self, limits: &Limits) {
        let now = Instant::now();
        let idle = |lease: &Lease| now.duration_since(lease.used) >= limits.transaction_idle_max;
        self.idled.extend(self.leases.iter().filter(|(_, lease)| idle(lease)).map(|(number, _)| *number));
        self.leases.retain(|_, lease| !idle(lease));
        while self.idled.len() > limits.transactions_max {
            self.idled.pop_first();
        }
    }
}
