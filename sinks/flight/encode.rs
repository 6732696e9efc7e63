//! Record batches as Flight messages.
//!
//! Law: the first message is the schema, so that even no rows have columns, and every message
//! after it has rows or an empty batch; a message of metadata alone would end the Go reader's
//! stream.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_flight::{FlightData, IpcMessage, SchemaAsIpc};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use prost::bytes::Bytes;
use tonic::Status;

use crate::error::Error;

/// The messages of an answer.
pub type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// The answer of `schema` and these batches, each with its metadata.
pub fn messages(
    schema: &SchemaRef,
    batches: impl Stream<Item = Result<(RecordBatch, Bytes), Error>> + Send + 'static,
) -> Messages {
    let first = FlightData::from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    let rest = batches.map(|batch| {
        let (rows, metadata) = batch?;
        Ok(message(&rows)?.with_app_metadata(metadata))
    });
    let rest = rest.map(|message: Result<FlightData, Error>| message.map_err(Status::from));
    stream::once(async { Ok(first) }).chain(rest).boxed()
}

fn message(rows: &RecordBatch) -> Result<FlightData, Error> {
    let mut dictionaries = DictionaryTracker::new(false);
    let options = IpcWriteOptions::default();
    let (_, data) = IpcDataGenerator::default().encode(rows, &mut dictionaries, &options, &mut Default::default())?;
    Ok(data.into())
}

/// The schema as FlightInfo and prepared statements carry it.
pub fn schema_bytes(schema: &Schema) -> Result<Bytes, ArrowError> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()))?;
    Ok(message.0)
}
