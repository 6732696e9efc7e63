//! A server over a fake engine, a client of it, and rows as text.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use trueup_sinks::limits::Limits;
use trueup_sinks::server::{self, Options, Server};

use crate::fake::Fake;

/// A client that speaks plain Flight, so that a test sees what is on the wire.
pub type Client = FlightServiceClient<Channel>;

/// A server over `fake` with the default limits, and a client of it.
pub async fn serve(fake: &Arc<Fake>) -> (Server, Client) {
    serve_with(fake, Options::default()).await
}

/// A server over `fake` within `limits`, and a client of it.
pub async fn serve_within(fake: &Arc<Fake>, limits: Limits) -> (Server, Client) {
    serve_with(fake, Options { limits, ..Options::default() }).await
}

/// A server over `fake`, and a client of it.
pub async fn serve_with(fake: &Arc<Fake>, options: Options) -> (Server, Client) {
    let server = server::start(fake.clone(), options).await.unwrap();
    let client = FlightServiceClient::new(connect(&server).await);
    (server, client)
}

/// A connection to `server`.
pub async fn connect(server: &Server) -> Channel {
    let address = format!("http://{}", server.address());
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

/// A Flight SQL client of `server`.
pub async fn sql_client(server: &Server) -> FlightSqlServiceClient<Channel> {
    FlightSqlServiceClient::new(connect(server).await)
}

/// A descriptor of this path.
pub fn path(parts: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// A descriptor of this statement.
pub fn statement(text: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: text.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// What the server says of `descriptor`.
pub async fn info(client: &mut Client, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    Ok(client.get_flight_info(descriptor).await?.into_inner())
}

/// The only ticket of `info`.
pub fn ticket(info: &FlightInfo) -> Ticket {
    assert_eq!(info.endpoint.len(), 1);
    info.endpoint[0].ticket.clone().unwrap()
}

/// The messages for `descriptor`, as they come over the wire.
pub async fn open(client: &mut Client, descriptor: FlightDescriptor) -> Result<Streaming<FlightData>, Status> {
    let info = info(client, descriptor).await?;
    Ok(client.do_get(Request::new(ticket(&info))).await?.into_inner())
}

/// The columns and rows for `descriptor`.
pub async fn read(client: &mut Client, descriptor: FlightDescriptor) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
    let messages = open(client, descriptor).await?;
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
    let mut all = Vec::new();
    while let Some(batch) = batches.next().await {
        all.push(batch.map_err(Status::from)?);
    }
    Ok((batches.schema().cloned().expect("a schema is always sent"), all))
}

/// The rows for `text` as text.
pub async fn select(client: &mut Client, text: &str) -> Result<Vec<String>, Status> {
    let (_, batches) = read(client, statement(text)).await?;
    Ok(lines(&batches))
}

/// Each row as text, its values set apart by a bar.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| line(batch, row))).collect()
}

fn line(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default();
    let value = |column| ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
    batch.columns().iter().map(|column| value(column.as_ref())).collect::<Vec<_>>().join("|")
}
