//! Usage events that a client puts: handed on message by message, and answered batch by batch.
//!
//! Laws: one answer for each batch, when it is durable, in their order; the next message is not
//! taken before. So whoever puts faster than events can be taken waits, by the stream itself. A
//! client that reads its answers late does not hold itself up, up to a bound.

use std::sync::Arc;

use arrow_flight::{FlightData, PutResult};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tonic::Status;

use super::safely;
use crate::error::Error;
use crate::limits::Limits;
use crate::receiving::{Receiver, Receiving};

/// Where usage events are put.
pub const EVENTS: &str = "events";

/// How many answers may wait for a client before it has to read them.
const ANSWERS_MAX: usize = 1_024;
/// How many batches are read and made durable at once, whoever puts them: each may be large.
const BATCHES_MAX: usize = 8;

/// The way in for events.
pub struct PutEvents {
    receiver: Arc<dyn Receiver>,
    limits: Limits,
    streams: Arc<Semaphore>,
    batches: Arc<Semaphore>,
}

impl PutEvents {
    /// A way in to `receiver`.
    pub fn new(receiver: Arc<dyn Receiver>, limits: Limits) -> PutEvents {
        let streams = Arc::new(Semaphore::new(limits.puts_max));
        PutEvents { receiver, limits, streams, batches: Arc::new(Semaphore::new(BATCHES_MAX)) }
    }

    /// Takes a stream; the answers come as its batches are durable.
    pub async fn take(
        &self,
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    ) -> Result<BoxStream<'static, Result<PutResult, Status>>, Error> {
        let turn = self.turn().await?;
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let (stream, batches) = (self.receiver.begin(), self.batches.clone());
        tokio::spawn(async move {
            let outcome = safely(hand_on(stream, batches, messages, &answers)).await;
            drop(turn);
            if let Err(status) = outcome {
                // A client that is gone needs no answer.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(stream::unfold(answered, |mut answered| async { Some((answered.recv().await?, answered)) }).boxed())
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        let waited = timeout(self.limits.wait_max, self.streams.clone().acquire_owned()).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            let most = self.limits.puts_max;
            Error::Limit(format!("{most} streams are being put, which is the most at once: try again later"))
        })
    }
}

/// Hands messages on until there are no more, or nobody waits for the answers.
async fn hand_on(
    mut stream: Box<dyn Receiving>,
    batches: Arc<Semaphore>,
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
    answers: &mpsc::Sender<Result<PutResult, Status>>,
) -> Result<(), Error> {
    while let Some(message) = messages.next().await {
        // The client broke off, or sent more than a message may have.
        let message = message.map_err(|status| Error::NotUnderstood(status.message().to_owned()))?;
        if message.data_header.is_empty() {
            // Metadata alone.
            continue;
        }
        let turn = batches.acquire().await.map_err(|_| Error::Stopped)?;
        let next = stream.take(message.data_header, message.data_body).await?;
        drop(turn);
        stream = next.stream;
        let Some(answer) = next.answer else { continue };
        if answers.send(Ok(PutResult { app_metadata: answer.into() })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
