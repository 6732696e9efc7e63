//! What clients send in a stream: values for a prepared statement, or usage events for whoever takes
//! them. All else would be a change of what is only shown here.
//!
//! Law: a refusal is heard. A client that still writes when the stream is closed may only learn that
//! it is closed (grpc-go's `Send` says `EOF`), so what it has to say is heard out first, up to a bound.

use std::time::Duration;

use arrow_flight::sql::{Command, DoPutPreparedStatementResult};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use futures::future::ready;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use prost::Message;
use prost::bytes::Bytes;
use tokio::time::timeout;
use tonic::Status;

use super::actions::sealed_handle;
use super::bind;
use super::offer::{Desk, command_name, parsed};
use super::put_events::{EVENTS, PutEvents};
use super::ticket::{HANDLE, Query};
use crate::error::Error;

/// What is answered to what is put.
pub type Answers = BoxStream<'static, Result<PutResult, Status>>;

/// How many messages of a refused put are heard out, and for how long.
const HEARD_MAX: usize = 64;
const HEARD_FOR: Duration = Duration::from_secs(1);

/// Where a put goes.
enum Destination<'a> {
    /// Usage events, to whoever takes them.
    Events(&'a PutEvents),
    /// Values, to the prepared statement with this handle.
    Statement(Bytes),
}

/// Answers what is put; the first message says what it is.
pub async fn put(
    desk: &Desk,
    events: Option<&PutEvents>,
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
) -> Result<Answers, Error> {
    let first =
        messages.next().await.transpose().map_err(|status| Error::NotUnderstood(status.message().to_owned()))?;
    let first = first.ok_or_else(|| Error::NotUnderstood("nothing was sent".into()))?;
    match destination(events, first.flight_descriptor.as_ref()) {
        Ok(Destination::Events(events)) => events.take(stream::once(ready(Ok(first))).chain(messages)).await,
        Ok(Destination::Statement(handle)) => {
            let result = bound(desk, &handle, stream::once(ready(Ok(first))).chain(messages)).await?;
            Ok(stream::iter([Ok(result)]).boxed())
        }
        Err(refusal) => {
            let _ = timeout(HEARD_FOR, messages.take(HEARD_MAX).for_each(|_| ready(()))).await;
            Err(refusal)
        }
    }
}

fn destination<'a>(
    events: Option<&'a PutEvents>,
    descriptor: Option<&FlightDescriptor>,
) -> Result<Destination<'a>, Error> {
    let (command, path) = descriptor.map_or((&[][..], &[][..]), |told| (&told.cmd[..], &told.path[..]));
    if command.is_empty() {
        let events = events.ok_or_else(|| Error::Unsupported("a put".into()))?;
        return match path {
            [only] if only == EVENTS => Ok(Destination::Events(events)),
            path => Err(Error::NotUnderstood(format!(
                "nothing is put at the path {path:?}: put usage events at [\"{EVENTS}\"]"
            ))),
        };
    }
    match parsed(command)? {
        Command::CommandPreparedStatementQuery(asked) => Ok(Destination::Statement(asked.prepared_statement_handle)),
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
