//! The stream of a subscription, driven by its reader.
//!
//! Nothing is computed until the reader asks for the next piece; then whatever is newest is
//! compared with what the reader has. So a slow reader gets fewer, larger steps, and the only
//! thing kept for it is the moment it is at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::columns;
use super::metadata::Progress;
use super::request::{End, Request};
use super::source::{Delta, Known, Source};
use crate::error::Error;
use crate::limits::Limits;
use crate::moments::Moments;
use crate::reading::{Epoch, Reading};
use crate::scans::{Found, Scans};
use crate::sql::Sql;
use crate::wire;

/// One message of a subscription.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Rows and marks, in the columns of the subscription.
    pub rows: RecordBatch,
    /// How far they bring the reader.
    pub progress: Progress,
}

/// The schema of the subscription that `request` asks for; fails if its query is refused.
pub async fn schema(request: &Request, sql: &Arc<Sql>) -> Result<SchemaRef, Error> {
    Ok(columns::schema(&Source::new(&request.target, sql).await?.schema()))
}

/// Follows what `request` asks for. Ends only where it says so, or with an error.
pub async fn follow(
    request: Request,
    moments: Arc<Moments>,
    sql: Arc<Sql>,
    scans: &Scans,
    limits: &Limits,
) -> Result<BoxStream<'static, Result<Piece, Error>>, Error> {
    let following = Following::begin(request, moments, sql, scans, limits).await?;
    Ok(stream::unfold(Some(following), step).boxed())
}

async fn step(following: Option<Following>) -> Option<(Result<Piece, Error>, Option<Following>)> {
    let mut following = following?;
    match following.next().await {
        Ok(Some(piece)) => Some((Ok(piece), Some(following))),
        Ok(None) => None,
        Err(error) => Some((Err(error), None)),
    }
}

async fn first_moment(moments: &Moments, as_of: Option<Epoch>) -> Result<Arc<dyn Reading>, Error> {
    let Some(epoch) = as_of else { return Ok(moments.newest_unheld()) };
    moments.wait_for(epoch).await?;
    moments.at(epoch)
}

struct Following {
    source: Source,
    schema: SchemaRef,
    moments: Arc<Moments>,
    epochs: watch::Receiver<Epoch>,
    limits: Limits,
    marks: bool,
    last: Option<Epoch>,
    /// The rest of the snapshot, while one is being sent.
    snapshot: Option<Found>,
    /// Every change up to and with this epoch is sent or waits in `ready`.
    done: Epoch,
    /// The last epoch that the reader was told it has whole.
    told: Epoch,
    known: Known,
    ready: VecDeque<Piece>,
    sent_at: Instant,
    compared_at: Instant,
    stopped: bool,
}

impl Following {
    async fn begin(
        request: Request,
        moments: Arc<Moments>,
        sql: Arc<Sql>,
        scans: &Scans,
        limits: &Limits,
    ) -> Result<Following, Error> {
        let source = Source::new(&request.target, &sql).await?;
        let schema = columns::schema(&source.schema());
        // Followed from before the first look, so that nothing published between is missed.
        let epochs = moments.epochs();
        let first = first_moment(&moments, request.as_of).await?;
        let last = match request.up_to {
            End::Never => None,
            End::Now => Some(moments.newest_unheld().epoch()),
            End::At(epoch) => Some(epoch),
        };
        let (done, known) = (first.epoch(), source.known(first).await?);
        let snapshot = match request.snapshot {
            true => Some(scans.read(source.contents(&known)).await?),
            false => None,
        };
        let now = Instant::now();
        let mut following = Following {
            source,
            schema,
            moments,
            epochs,
            limits: limits.clone(),
            marks: request.progress,
            last,
            snapshot,
            done,
            told: done,
            known,
            ready: VecDeque::new(),
            sent_at: now,
            compared_at: now,
            stopped: false,
        };
        if following.snapshot.is_none() {
            // Some drivers block a whole connection until a first message has come.
            following.mark(done, false)?;
        }
        Ok(following)
    }

    async fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.sent_at = Instant::now();
                return Ok(Some(piece));
            }
            if self.snapshot.is_some() {
                self.send_snapshot().await?;
            } else if self.last.is_some_and(|last| self.done >= last) {
                return Ok(None);
            } else if !self.send_changes().await? {
                self.wait().await?;
            }
        }
    }

    async fn send_snapshot(&mut self) -> Result<(), Error> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let Some(batch) = snapshot.recv().await else {
            self.snapshot = None;
            return self.mark(self.done, true);
        };
        let batch = batch?;
        let times = Int64Array::from(vec![columns::signed(self.done); batch.num_rows()]);
        let ones = Int64Array::from(vec![1; batch.num_rows()]);
        let rows = columns::rows(&self.schema, times, ones, &batch)?;
        let progress = Progress { lower: 0, upper: self.done + 1, resume: None, snapshot: true };
        self.ready.extend(wire::pieces(&rows).into_iter().map(|rows| Piece { rows, progress }));
        Ok(())
    }

    /// Makes what is new ready to be sent; false if there is nothing new to tell.
    async fn send_changes(&mut self) -> Result<bool, Error> {
        let target = self.target()?;
        if target.epoch() <= self.done {
            return Ok(false);
        }
        let (deltas, known) = self.source.changes(&self.known, self.done, &target).await?;
        self.known = known;
        self.compared_at = Instant::now();
        let Some((last, before)) = deltas.split_last() else {
            return self.pass(target.epoch());
        };
        for delta in before {
            self.send(delta, delta.through)?;
        }
        self.send(last, target.epoch())?;
        Ok(true)
    }

    /// The newest moment, or the last one asked for once that is past.
    fn target(&self) -> Result<Arc<dyn Reading>, Error> {
        let newest = self.moments.newest_unheld();
        match self.last {
            Some(last) if newest.epoch() > last => self.moments.at(last),
            _ => Ok(newest),
        }
    }

    /// Makes the rows of `delta` ready; with the last of them everything through `through` is sent.
    fn send(&mut self, delta: &Delta, through: Epoch) -> Result<(), Error> {
        let rows = columns::rows(&self.schema, delta.times.clone(), delta.diffs.clone(), &delta.rows)?;
        let part = Progress { lower: self.told + 1, upper: through + 1, resume: None, snapshot: false };
        let pieces = wire::pieces(&rows);
        self.ready.extend(pieces.into_iter().map(|rows| Piece { rows, progress: part }));
        let closing = self.ready.back_mut().expect("even no rows are one piece");
        closing.progress.resume = Some(through);
        if self.marks {
            let mark = columns::mark(&self.schema, through)?;
            closing.rows = concat_batches(&self.schema, [&closing.rows, &mark])?;
        }
        (self.done, self.told) = (through, through);
        Ok(())
    }

    /// Moves on over epochs that changed nothing; the reader is told at the end, or after a pause.
    fn pass(&mut self, through: Epoch) -> Result<bool, Error> {
        self.done = through;
        let ends = self.last.is_some_and(|last| through >= last);
        if ends {
            self.mark(through, false)?;
        }
        Ok(ends)
    }

    /// Makes a mark ready: a row, or a message without rows where marks are not wanted as rows.
    fn mark(&mut self, through: Epoch, snapshot: bool) -> Result<(), Error> {
        let lower = if snapshot { 0 } else { self.told + 1 };
        let progress = Progress { lower, upper: through + 1, resume: Some(through), snapshot };
        let rows = match self.marks {
            true => columns::mark(&self.schema, through)?,
            false => RecordBatch::new_empty(self.schema.clone()),
        };
        self.ready.push_back(Piece { rows, progress });
        self.told = through;
        Ok(())
    }

    /// Waits for a newer epoch, no longer than a reader may be left without a sign of life.
    async fn wait(&mut self) -> Result<(), Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        let silence = if self.done > self.told { self.limits.mark_pause } else { self.limits.heartbeat };
        let waited = tokio::select! {
            waited = timeout_at(self.sent_at + silence, self.epochs.changed()) => waited,
            () = self.moments.until_closed() => return Err(Error::Stopped),
        };
        match waited {
            Err(_) => self.mark(self.done, false)?,
            Ok(Ok(())) => self.pause().await,
            // What was published last is still sent before the end is told.
            Ok(Err(_)) => self.stopped = true,
        }
        Ok(())
    }

    // Views change by what the engine hands out; a query costs a run, so it has a pace.
    async fn pause(&mut self) {
        let pause = match self.source {
            Source::View(_) => Duration::ZERO,
            Source::Query { .. } => self.limits.rerun_pause,
        };
        sleep_until(self.compared_at + pause).await;
    }
}
