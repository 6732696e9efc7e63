//! What clients send in a stream: values for a prepared statement, or usage events for whoever takes
//! them. All else would be a change of what is only shown here.

use arrow_flight::sql::{Command, DoPutPreparedStatementResult};
use arrow_flight::{FlightData, PutResult};
use futures::future::ready;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use prost::Message;
use tonic::Status;

use super::actions::sealed_handle;
use super::bind;
use super::offer::{Desk, command_name, parsed};
use super::put_events::{EVENTS, PutEvents};
use super::ticket::{HANDLE, Query};
use crate::error::Error;

/// What is answered to what is put.
pub type Answers = BoxStream<'static, Result<PutResult, Status>>;

/// Answers what is put; the first message says what it is.
pub async fn put(
    desk: &Desk,
    events: Option<&PutEvents>,
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
) -> Result<Answers, Error> {
    let first =
        messages.next().await.transpose().map_err(|status| Error::NotUnderstood(status.message().to_owned()))?;
    let first = first.ok_or_else(|| Error::NotUnderstood("nothing was sent".into()))?;
    let descriptor = first.flight_descriptor.clone().unwrap_or_default();
    let messages = stream::once(ready(Ok(first))).chain(messages);
    if descriptor.cmd.is_empty() {
        let events = events.ok_or_else(|| Error::Unsupported("a put".into()))?;
        return match &descriptor.path[..] {
            [only] if only == EVENTS => events.take(messages).await,
            path => Err(Error::NotUnderstood(format!(
                "nothing is put at the path {path:?}: put usage events at [\"{EVENTS}\"]"
            ))),
        };
    }
    match parsed(&descriptor.cmd)? {
        Command::CommandPreparedStatementQuery(asked) => {
            let result = bound(desk, &asked.prepared_statement_handle, messages).await?;
            Ok(stream::iter([Ok(result)]).boxed())
        }
        Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
            Err(Error::ReadOnly("an update".into()))
        }
        Command::CommandStatementIngest(_) => Err(Error::ReadOnly("a bulk load into a table".into())),
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
