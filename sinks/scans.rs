//! Reading rows on threads that may wait, so many at once and no more.
//!
//! Law: nobody who answers is held up by rows that are still to be found, and no reader, however slow, takes more
//! than a thread and a few batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::error::Error;
use crate::limits::Limits;
use crate::reading::Batches;

/// Batches that wait for a slow reader.
const BATCHES_AHEAD: usize = 2;

/// What is found. It ends with an error if that failed: rows that end too early would look like all there are.
pub type Found = mpsc::Receiver<Result<RecordBatch, Error>>;

/// Turns to read; copies share them.
#[derive(Clone)]
pub struct Scans {
    turns: Arc<Semaphore>,
    limits: Limits,
}

impl Scans {
    /// As many as the limits allow.
    pub fn new(limits: &Limits) -> Scans {
        Scans { turns: Arc::new(Semaphore::new(limits.scans_max)), limits: limits.clone() }
    }

    /// What `find` finds, a few batches ahead of its reader; it ends when that goes away. Waits for a turn, and fails
    /// if none comes.
    pub async fn read(&self, find: impl FnOnce() -> Batches + Send + 'static) -> Result<Found, Error> {
        let waited = timeout(self.limits.wait_max, self.turns.clone().acquire_owned()).await;
        let turn = waited.ok().and_then(Result::ok).ok_or_else(|| {
            let most = self.limits.scans_max;
            Error::Limit(format!("{most} views are being read, which is the most at once: try again later"))
        })?;
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let found = catch_unwind(AssertUnwindSafe(|| {
                let mut batches = find();
                while let Some(batch) = batches.next()
                    && sender.blocking_send(Ok(batch)).is_ok()
                {}
            }));
            if found.is_err() {
                // The reader may have gone; then nobody is to be told.
                let _ = sender.blocking_send(Err(Error::Stopped));
            }
        });
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    fn empty() -> RecordBatch {
        RecordBatch::new_empty(Arc::new(Schema::empty()))
    }

    #[tokio::test]
    async fn what_fails_does_not_look_as_if_it_were_all() {
        let fails = std::iter::repeat_with(empty).take(3).chain(std::iter::once_with(|| panic!("it cannot be read")));
        let mut found = Scans::new(&Limits::default()).read(|| Box::new(fails)).await.unwrap();
        for _ in 0..3 {
            assert!(found.recv().await.is_some_and(|batch| batch.is_ok()));
        }
        assert!(matches!(found.recv().await, Some(Err(Error::Stopped))));
    }

    #[tokio::test]
    async fn a_turn_is_given_back_when_the_reader_goes() {
        let limits = Limits { scans_max: 1, wait_max: std::time::Duration::from_millis(50), ..Limits::default() };
        let scans = Scans::new(&limits);
        let endless = || -> Batches { Box::new(std::iter::repeat_with(empty)) };
        let found = scans.read(endless).await.unwrap();
        assert!(matches!(scans.read(endless).await, Err(Error::Limit(_))));
        drop(found);
        let scans = Scans { limits: Limits::default(), ..scans };
        assert!(scans.read(endless).await.is_ok());
    }
}
