//! Takes a stream of Arrow messages in, as a client puts them: a schema, then batches of rows.
//!
//! Law: an answer to a batch means that what it counts is in the journal, and the next batch is not
//! read before. After an error, or none, a sender puts the same again: whatever was taken nonetheless
//! counts once. It knows nothing of the protocol that carries the messages.

use std::sync::Arc;

use arrow_buffer::Buffer;
use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;
use tokio::task::spawn_blocking;
use trueup_model::usage::EventBatch;

use crate::arrow_events::ipc::{Decoder, IpcError, Limits};
use crate::arrow_events::{ArrowEvents, ColumnsError};
use crate::intake::{HandInError, Intake};
use crate::limits::REFUSED_MAX;

/// The most bytes of a batch, also when it is decompressed.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// The most rows of a batch. Dictionaries let rows be short and events long, so bytes are not enough.
pub const BATCH_ROWS_MAX: usize = 1 << 18;
/// How many of the rows that were set aside an answer names one by one.
const NAMED_MAX: usize = 100;
/// How often a batch is read, as the catalog may change meanwhile.
const READINGS_MAX: usize = 5;
/// The name of this way in.
const NAME: &str = "flight";

/// Why a batch was not taken, and the stream ends.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PutError {
    /// The message is no Arrow message, or too large.
    #[error("batch {batch}: {error}")]
    Message {
        /// Which batch of the stream, from 1.
        batch: u64,
        /// What is wrong.
        error: IpcError,
    },
    /// Its columns are not those of events.
    #[error("batch {batch}: {error}")]
    Columns {
        /// Which batch of the stream, from 1.
        batch: u64,
        /// What is wrong.
        error: ColumnsError,
    },
    /// Too many rows are no events.
    #[error(
        "batch {batch}: more than {REFUSED_MAX} rows cannot be read, so none was taken; the first of them: {first}"
    )]
    Unreadable {
        /// Which batch of the stream, from 1.
        batch: u64,
        /// What is wrong with the first of them.
        first: String,
    },
    /// The catalog changes again and again.
    #[error("the catalog is being changed: put it again in a second")]
    Changing,
    /// There is no room for it.
    #[error("{0}")]
    Unable(String),
    /// There is no room for what would be set aside of it.
    #[error("batch {batch}: {why}")]
    Full {
        /// Which batch of the stream, from 1.
        batch: u64,
        /// What stands in the way, and what to do.
        why: String,
    },
    /// The engine is gone.
    #[error("{0}: put it again when the server is back")]
    Stopped(String),
}

/// A stream that is being put.
pub struct ArrowPut {
    intake: Arc<dyn Intake>,
    tenant: String,
    decoder: Decoder,
    /// How many batches came.
    batches: u64,
}

impl ArrowPut {
    /// A stream of events of `tenant`, of which nothing has come yet.
    pub fn new(intake: Arc<dyn Intake>, tenant: &str) -> ArrowPut {
        let limits = Limits { rows_max: BATCH_ROWS_MAX, bytes_max: BATCH_BYTES_MAX };
        ArrowPut { intake, tenant: tenant.to_owned(), decoder: Decoder::new(limits), batches: 0 }
    }

    /// Takes a message: its header and its body, as Arrow IPC has them. The answer to a batch comes
    /// when it is in the journal: number of the batch, epoch, counts and the first refusals, as JSON.
    /// A message without rows of its own has none.
    pub async fn take(self, header: Bytes, body: Bytes) -> Result<(ArrowPut, Option<Value>), PutError> {
        let mut stream = self;
        for _ in 0..READINGS_MAX {
            let read;
            (stream, read) = stream.read(header.clone(), body.clone()).await?;
            let Some(events) = read else { return Ok((stream, None)) };
            let batch = stream.batches + 1;
            match stream.intake.hand_in(events, Vec::new()).await {
                Ok(taken) => {
                    stream.batches = batch;
                    let mut answer = taken.told(NAMED_MAX);
                    answer["batch"] = batch.into();
                    return Ok((stream, Some(answer)));
                }
                Err(HandInError::Stale) => {}
                Err(HandInError::Unable(why)) => return Err(PutError::Unable(why)),
                Err(HandInError::Full(why)) => return Err(PutError::Full { batch, why }),
                Err(HandInError::Stopped(why)) => return Err(PutError::Stopped(why)),
            }
        }
        Err(PutError::Changing)
    }

    /// Reads a message beside the threads that answer: it takes as long as it is large.
    async fn read(mut self, header: Bytes, body: Bytes) -> Result<(ArrowPut, Option<EventBatch>), PutError> {
        let read = spawn_blocking(move || {
            let events = self.events(&header, body)?;
            Ok((self, events))
        });
        read.await.expect("reading columns never panics")
    }

    fn events(&mut self, header: &[u8], body: Bytes) -> Result<Option<EventBatch>, PutError> {
        let batch = self.batches + 1;
        let events = ArrowEvents::new(self.intake.layouts(), &self.tenant, NAME);
        let table = self.decoder.read(header, &Buffer::from(body), |column| events.reads(column));
        let Some(table) = table.map_err(|error| PutError::Message { batch, error })? else { return Ok(None) };
        let position = |row| format!("row {row} of batch {batch}");
        let read = events.read_table(&table, position, REFUSED_MAX);
        let read = read.map_err(|error| PutError::Columns { batch, error })?;
        match read.refused.first() {
            Some(first) if read.refused.len() > REFUSED_MAX => {
                Err(PutError::Unreadable { batch, first: first.detail.clone() })
            }
            _ => Ok(Some(read)),
        }
    }
}
