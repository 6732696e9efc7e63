//! What clients send in a stream: values for a prepared statement. All else would be a change.

use arrow_flight::sql::{Command, DoPutPreparedStatementResult};
use arrow_flight::{FlightData, PutResult};
use futures::stream::{self, Stream, StreamExt};
use prost::Message;
use tonic::Status;

use super::actions::sealed_handle;
use super::bind;
use super::offer::{Desk, command_name, parsed};
use super::ticket::{HANDLE, Query};
use crate::error::Error;

/// Answers what is put; the first message says what it is.
pub async fn put(
    desk: &Desk,
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
) -> Result<PutResult, Error> {
    let first =
        messages.next().await.transpose().map_err(|status| Error::NotUnderstood(status.message().to_owned()))?;
    let first = first.ok_or_else(|| Error::NotUnderstood("nothing was sent".into()))?;
    let command = first.flight_descriptor.as_ref().map(|descriptor| descriptor.cmd.clone()).unwrap_or_default();
    if command.is_empty() {
        return Err(Error::ReadOnly("a put by path".into()));
    }
    match parsed(&command)? {
        Command::CommandPreparedStatementQuery(asked) => {
            let messages = stream::once(async { Ok(first) }).chain(messages);
            bound(desk, &asked.prepared_statement_handle, messages).await
        }
        Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
            Err(Error::ReadOnly("an update".into()))
        }
        Command::CommandStatementIngest(_) => Err(Error::ReadOnly("a bulk load".into())),
        other => Err(Error::Unsupported(command_name(other.type_url()))),
    }
}

/// A new handle that carries the values. It is always given, since the Java driver would take
/// a missing one for an empty one.
async fn bound(
    desk: &Desk,
    handle: &[u8],
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
) -> Result<PutResult, Error> {
    let handle = desk.handle(handle)?;
    let text = handle.query.ok_or(Error::Foreign(HANDLE))?.text;
    let values = Some(bind::values(messages).await?);
    let prepared_statement_handle = Some(sealed_handle(desk, Query { text, values }, handle.transaction));
    let reply = DoPutPreparedStatementResult { prepared_statement_handle };
    Ok(PutResult { app_metadata: reply.encode_to_vec().into() })
}
