//! Usage events that are put, over a real connection: what is handed on, in which order, and what is
//! answered. Who takes them is a script here; what is in them is not looked at.

// A put needs little of the engine that others read.
#[allow(dead_code)]
mod fake;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementIngest, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use trueup_sinks::receiving::{Next, NotTaken, Receiver, Receiving};
use trueup_sinks::server::{self, Options, Server};

use fake::Fake;

/// Counts batches, and refuses the one with this number.
#[derive(Debug, Default)]
struct Counting {
    refused: usize,
    taken: Arc<AtomicUsize>,
}

struct Counted {
    refused: usize,
    batches: usize,
    taken: Arc<AtomicUsize>,
}

impl Receiver for Counting {
    fn begin(&self) -> Box<dyn Receiving> {
        Box::new(Counted { refused: self.refused, batches: 0, taken: self.taken.clone() })
    }
}

impl Receiving for Counted {
    fn take(mut self: Box<Self>, header: Bytes, _body: Bytes) -> BoxFuture<'static, Result<Next, NotTaken>> {
        async move {
            let message = root_as_message(&header).map_err(|_| NotTaken::Unreadable("this is no message".into()))?;
            if message.header_type() != MessageHeader::RecordBatch {
                return Ok(Next { stream: self, answer: None });
            }
            self.batches += 1;
            if self.batches == self.refused {
                return Err(NotTaken::Later("the disk is full".into()));
            }
            self.taken.fetch_add(1, Ordering::SeqCst);
            let answer = Some(format!(r#"{{"batch":{},"epoch":7}}"#, self.batches));
            Ok(Next { stream: self, answer })
        }
        .boxed()
    }
}

async fn serve(options: Options) -> (Server, FlightServiceClient<Channel>) {
    let server = server::start(Fake::new(), options).await.unwrap();
    let channel = Channel::from_shared(format!("http://{}", server.address())).unwrap().connect().await.unwrap();
    (server, FlightServiceClient::new(channel))
}

async fn serve_counting(refused: usize) -> (Server, FlightServiceClient<Channel>, Arc<AtomicUsize>) {
    let counting = Counting { refused, ..Counting::default() };
    let taken = counting.taken.clone();
    let (server, client) = serve(Options { receiver: Some(Arc::new(counting)), ..Options::default() }).await;
    (server, client, taken)
}

fn path(parts: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// A schema and so many batches, as a client writes them.
async fn messages(descriptor: FlightDescriptor, batches: usize) -> Vec<FlightData> {
    let batch = |number: usize| {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![number as i64])) as _)]).unwrap()
    };
    let batches: Vec<_> = (0..batches).map(|number| Ok(batch(number))).collect();
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    encoder.build(stream::iter(batches)).try_collect().await.unwrap()
}

/// What a client that puts these is answered.
async fn put(
    client: &mut FlightServiceClient<Channel>,
    messages: Vec<FlightData>,
) -> Result<Vec<Result<String, Status>>, Status> {
    let answers = client.do_put(stream::iter(messages)).await?.into_inner();
    let text = |answer: arrow_flight::PutResult| String::from_utf8(answer.app_metadata.to_vec()).unwrap();
    Ok(answers.map(|answer| answer.map(text)).collect().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_answered_in_order() {
    let (_server, mut client, taken) = serve_counting(0).await;
    let answers = put(&mut client, messages(path(&["events"]), 2_000).await).await.unwrap();
    assert_eq!(answers.len(), 2_000);
    for (answer, number) in answers.into_iter().zip(1..) {
        assert_eq!(answer.unwrap(), format!(r#"{{"batch":{number},"epoch":7}}"#));
    }
    assert_eq!(taken.load(Ordering::SeqCst), 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_not_taken_ends_the_stream() {
    let (_server, mut client, taken) = serve_counting(3).await;
    let answers = put(&mut client, messages(path(&["events"]), 5).await).await.unwrap();
    assert_eq!(answers.len(), 3);
    let error = answers[2].as_ref().unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "the disk is full"));
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_before_the_next_batch_is_sent() {
    let (_server, mut client, _) = serve_counting(0).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let sent = stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut all = messages(path(&["events"]), 2).await.into_iter();
    sender.send(all.next().unwrap()).await.unwrap();
    let mut answers = client.do_put(sent).await.unwrap().into_inner();
    for message in all {
        // Metadata alone is no batch.
        sender.send(FlightData { app_metadata: "note".into(), ..FlightData::default() }).await.unwrap();
        sender.send(message).await.unwrap();
        assert!(answers.message().await.unwrap().is_some());
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_put_of_events_is_refused() {
    let (_server, mut client, taken) = serve_counting(0).await;
    for parts in [&["usage"][..], &["events", "june"], &[]] {
        let error = put(&mut client, messages(path(parts), 1).await).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("put usage events at [\"events\"]"), "{}", error.message());
    }
    let ingest = CommandStatementIngest { table: "usage".into(), ..CommandStatementIngest::default() };
    let descriptor = FlightDescriptor::new_cmd(ingest.as_any().encode_to_vec());
    let error = put(&mut client, messages(descriptor, 1).await).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert!(error.message().contains("a bulk load into a table is refused"), "{}", error.message());
    assert!(error.message().contains("DoPut at the path [\"events\"]"), "{}", error.message());
    let error = put(&mut client, Vec::new()).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "nothing was sent"));
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

/// The stream is not closed under a client that still writes: it would hear of nothing but that.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_until_the_client_has_written() {
    let (_server, mut client, _) = serve_counting(0).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let sent = stream::poll_fn(move |context| receiver.poll_recv(context));
    let all = messages(path(&["usage"]), 5).await;
    let writes = tokio::spawn(async move {
        for message in all {
            sender.send(message).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, mpsc::error::SendError<FlightData>>(())
    });
    let error = client.do_put(sent).await.unwrap_err();
    assert!(error.message().contains("put usage events at [\"events\"]"), "{}", error.message());
    assert!(writes.await.unwrap().is_ok(), "the stream was closed while the client wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_what_is_put_without_a_token_or_a_receiver() {
    let options =
        Options { token: Some("s3cret".into()), receiver: Some(Arc::new(Counting::default())), ..Options::default() };
    let (_server, mut client) = serve(options).await;
    let messages = messages(path(&["events"]), 1).await;
    assert_eq!(put(&mut client, messages.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut request = Request::new(stream::iter(messages.clone()));
    request.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    let answers: Vec<_> = client.do_put(request).await.unwrap().into_inner().collect().await;
    assert!(matches!(&answers[..], [Ok(_)]));

    let (_server, mut client) = serve(Options::default()).await;
    assert_eq!(put(&mut client, messages).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_not_held_up_at_once() {
    let (_server, mut client, taken) = serve_counting(0).await;
    let answers = client.do_put(stream::iter(messages(path(&["events"]), 1_000).await)).await.unwrap();
    while taken.load(Ordering::SeqCst) < 1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(answers.into_inner().count().await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_puts_and_reads_its_answers() {
    let Ok(python) = std::env::var("TRUEUP_PYTHON") else {
        println!("skipped: TRUEUP_PYTHON names no Python with pyarrow and adbc_driver_flightsql");
        return;
    };
    let (server, _client, taken) = serve_counting(0).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/puts.py");
    let mut command = Command::new(python);
    command.arg(script).arg(server.address().to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("the interpreter starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(taken.load(Ordering::SeqCst), 3 + 50);
}
