//! Reads the values that a client binds to a prepared statement.
//!
//! Law: one row, in one uncompressed batch. A compressed buffer states its own unpacked length,
//! which a hostile client may set to anything and the decoder would try to allocate.

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt};
use prost::bytes::Bytes;
use tonic::Status;

use crate::error::Error;

/// The row of values in `messages`, as an IPC stream that a handle can carry.
pub async fn values(messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static) -> Result<Bytes, Error> {
    let checked = messages.map_err(FlightError::from).and_then(|message| async {
        plain(&message)?;
        Ok(message)
    });
    let mut batches = FlightRecordBatchStream::new_from_flight_data(checked.boxed());
    let mut row = None;
    while let Some(batch) = batches.next().await {
        let batch =
            batch.map_err(|error| Error::NotUnderstood(format!("the bound values are not understood: {error}")))?;
        if batch.num_rows() == 0 {
            continue;
        }
        if row.is_some() || batch.num_rows() > 1 {
            return Err(Error::NotUnderstood("a query is bound to one row of values at a time".into()));
        }
        row = Some(batch);
    }
    let row = row.ok_or_else(|| Error::NotUnderstood("no values were bound".into()))?;
    written(&row)
}

/// The row of values that a handle carries.
pub fn read(values: &Bytes) -> Result<RecordBatch, Error> {
    let mut batches = StreamReader::try_new(values.as_ref(), None)?;
    let row = batches.next().ok_or(Error::Foreign("prepared statement"))?;
    Ok(row?)
}

fn written(row: &RecordBatch) -> Result<Bytes, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
    writer.write(row)?;
    writer.finish()?;
    Ok(writer.into_inner()?.into())
}

fn plain(message: &FlightData) -> Result<(), FlightError> {
    if message.data_header.is_empty() {
        return Ok(());
    }
    let wrong = |what: &str| FlightError::from(Status::invalid_argument(what.to_owned()));
    let header = root_as_message(&message.data_header).map_err(|_| wrong("the message has no Arrow header"))?;
    let compressed = match header.header_type() {
        MessageHeader::RecordBatch => {
            header.header_as_record_batch().is_some_and(|batch| batch.compression().is_some())
        }
        MessageHeader::DictionaryBatch => true,
        _ => false,
    };
    match compressed {
        true => Err(wrong("compressed or dictionary-encoded values are not taken: send them plain")),
        false => Ok(()),
    }
}
