//! An engine with its ways in and out open in this process, and those who use them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_flight::FlightDescriptor;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tonic::Status;
use tonic::transport::Channel;
use trueup::engine::Engine;
use trueup::engine::intake::Gatherer;
use trueup::engine::puts::Puts;
use trueup_connectors::http::{self, HttpServer};
use trueup_connectors::intake::Intake;
use trueup_sinks::server::{self, Options, Server};

/// Servers in front of an engine.
pub struct Ways {
    pub http: HttpServer,
    pub flight: Server,
}

impl Ways {
    pub async fn into(engine: &Arc<Engine>) -> Ways {
        let intake: Arc<dyn Intake> = Arc::new(Gatherer::start(engine.clone()));
        let http = http::start(intake.clone(), http::Options::default()).await.expect("a port is free");
        Ways { http, flight: serve(engine, intake).await }
    }

    pub async fn stop(self) {
        self.http.stop().await;
        self.flight.stop().await;
    }
}

/// Serves the views over Flight, and takes what is put.
pub async fn serve(engine: &Engine, intake: Arc<dyn Intake>) -> Server {
    let receiver = Some(Arc::new(Puts::new(intake, "default")) as _);
    server::start(engine.published(), Options { receiver, ..Options::default() }).await.expect("a port is free")
}

/// Posts lines of JSON; gives the status and the answer.
pub fn post(address: SocketAddr, lines: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        lines.len()
    );
    stream.write_all((head + lines).as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    (status, serde_json::from_str(body).expect("it is JSON"))
}

async fn client(address: SocketAddr) -> FlightServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{address}")).expect("it is an address");
    FlightServiceClient::new(channel.connect().await.expect("the server listens"))
}

/// Puts batches; gives what is answered to each, or the error at the end.
pub async fn put(address: SocketAddr, batches: Vec<RecordBatch>) -> Vec<Result<Value, Status>> {
    let mut client = client(address).await;
    let descriptor = FlightDescriptor::new_path(vec!["events".to_owned()]);
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    let encoder = encoder.with_max_flight_data_size(64 << 20);
    let messages: Vec<_> = encoder
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .expect("the batches can be written");
    let answers = client.do_put(stream::iter(messages)).await.expect("the put is taken up").into_inner();
    let read = |answer: arrow_flight::PutResult| serde_json::from_slice(&answer.app_metadata).expect("it is JSON");
    answers.map(|answer| answer.map(read)).collect().await
}

/// How many rows a view has for whoever reads it over Flight.
pub async fn rows(address: SocketAddr, view: &str) -> usize {
    let mut client = client(address).await;
    let descriptor = FlightDescriptor::new_path(vec![view.to_owned()]);
    let info = client.get_flight_info(descriptor).await.expect("the view is there").into_inner();
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).expect("there is a ticket");
    let messages = client.do_get(ticket).await.expect("it can be read").into_inner();
    let batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect("it comes whole");
    batches.iter().map(RecordBatch::num_rows).sum()
}
