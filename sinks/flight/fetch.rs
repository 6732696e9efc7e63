//! Gives what a ticket says: rows of a view, a result, changes, or a catalog answer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, StreamExt};
use prost::bytes::Bytes;

use super::catalog;
use super::encode::{Messages, messages};
use super::offer::{Desk, bound, command_name, parsed};
use super::ticket::{Ask, Follow, Query, TICKET, Ticket, view_named};
use crate::error::Error;
use crate::reading::{Epoch, Reading, Scan};
use crate::subscribe::{Piece, follow};
use crate::wire;

/// The messages that `ticket` is good for.
pub async fn fetch(desk: &Desk, ticket: Ticket) -> Result<Messages, Error> {
    match ticket.ask.ok_or(Error::Foreign(TICKET))? {
        Ask::View(name) => rows_of_view(desk, &name, ticket.epoch).await,
        Ask::Query(query) => result(desk, query, ticket.epoch).await,
        Ask::Follow(asked) => changes(desk, asked, ticket.epoch).await,
        Ask::Command(command) => catalog_answer(&command),
    }
}

/// What each message of rows as of an epoch says in its metadata.
pub fn epoch_metadata(epoch: Epoch) -> Bytes {
    format!("{{\"epoch\":{epoch}}}").into()
}

async fn rows_of_view(desk: &Desk, name: &str, epoch: Option<Epoch>) -> Result<Messages, Error> {
    let view = view_named(name)?;
    let reading = moment(desk, epoch)?;
    let metadata = epoch_metadata(reading.epoch());
    let schema = wire::sent_schema(&view.schema());
    let sent = schema.clone();
    let mut receiver = desk.scans.read(move || reading.scan(view, &Scan::default())).await?;
    let batches = stream::poll_fn(move |context| receiver.poll_recv(context));
    let rows = batches.flat_map(move |batch| stream::iter(cut(&sent, &metadata, batch)));
    Ok(messages(&schema, rows))
}

async fn result(desk: &Desk, query: Query, epoch: Option<Epoch>) -> Result<Messages, Error> {
    let statement = desk.sql.plan(&query.text).await?;
    let statement = bound(&statement, query.values.as_ref())?;
    let reading = moment(desk, epoch)?;
    let metadata = epoch_metadata(reading.epoch());
    let schema = statement.schema.clone();
    let rows = desk.sql.run(&statement, reading).await?;
    let rows = rows.flat_map(move |batch| stream::iter(cut(&schema, &metadata, batch)));
    Ok(messages(&statement.schema, rows))
}

async fn changes(desk: &Desk, asked: Follow, epoch: Option<Epoch>) -> Result<Messages, Error> {
    let request = asked.request(epoch)?;
    let schema = follow::schema(&request, &desk.sql).await?;
    let pieces = follow::follow(request, desk.moments.clone(), desk.sql.clone(), &desk.scans, &desk.limits).await?;
    let pieces = pieces.map(|piece| piece.map(|Piece { rows, progress }| (rows, Bytes::from(progress.bytes()))));
    Ok(messages(&schema, pieces))
}

fn catalog_answer(command: &Bytes) -> Result<Messages, Error> {
    let command = parsed(command)?;
    let name = command_name(command.type_url());
    let answer = catalog::answer(command)?.ok_or(Error::Unsupported(name))?;
    // One message, whatever its size: the Java driver mixes up the columns of tables in two.
    Ok(messages(&answer.schema(), stream::iter([Ok((answer, Bytes::new()))])))
}

fn moment(desk: &Desk, epoch: Option<Epoch>) -> Result<Arc<dyn Reading>, Error> {
    match epoch {
        Some(epoch) => desk.moments.at(epoch),
        None => Ok(desk.moments.newest_unheld()),
    }
}

/// A batch and what is said of it, or why there is none.
type Sent = Result<(RecordBatch, Bytes), Error>;

/// Cuts a batch into messages of a size that every client takes.
fn cut(schema: &SchemaRef, metadata: &Bytes, batch: Result<RecordBatch, Error>) -> Vec<Sent> {
    let rows = batch.and_then(|batch| Ok(wire::sent_rows(schema, &batch)?));
    match rows {
        Ok(rows) => wire::pieces(&rows).into_iter().map(|rows| Ok((rows, metadata.clone()))).collect(),
        Err(error) => vec![Err(error)],
    }
}
