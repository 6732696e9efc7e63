//! Which moment a reader sees: its own writes, a past epoch, a transaction's.

use std::time::Duration;

use arrow_flight::FlightDescriptor;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, EndTransaction, ProstMessageExt};
use prost::Message;
use tonic::{Code, Request};
use trueup_sinks::limits::Limits;

use crate::fake::{Fake, ledger};
use crate::support::{lines, path, read, select, serve, serve_within, sql_client};

const TEXT: &str = "SELECT events FROM ledger";

fn counted(fake: &Fake, events: i64) -> u64 {
    fake.publish([ledger("counted", events - 1, -1), ledger("counted", events, 1)])
}

#[tokio::test]
async fn who_wrote_an_epoch_can_wait_for_it() {
    let fake = Fake::new();
    let limits = Limits { wait_max: Duration::from_millis(200), ..Limits::default() };
    let (_server, mut client) = serve_within(&fake, limits).await;
    let asked = |epoch: &str| {
        let mut request = Request::new(path(&["ledger"]));
        request.metadata_mut().insert("x-trueup-min-epoch", epoch.parse().unwrap());
        request
    };
    let early = client.get_flight_info(asked("1")).await.unwrap_err();
    assert_eq!(early.code(), Code::DeadlineExceeded, "{early:?}");
    let publisher = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        publisher.publish([ledger("counted", 1, 1)]);
    });
    let info = client.get_flight_info(asked("1")).await.unwrap().into_inner();
    assert_eq!(info.app_metadata, "{\"epoch\":1}");
    assert_eq!(client.get_flight_info(asked("soon")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn past_epochs_are_read_while_their_changes_are_known() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 1, 1)]);
    for events in 2..=9 {
        counted(&fake, events);
    }
    fake.forget(4);
    let limits = Limits { wait_max: Duration::from_millis(50), ..Limits::default() };
    let (_server, mut client) = serve_within(&fake, limits).await;
    assert_eq!(select(&mut client, "as of 4 SELECT events, as_of() FROM ledger").await.unwrap(), ["4|4"]);
    let snapshot = read(&mut client, path(&["snapshot", "ledger", "6"])).await.unwrap().1;
    assert_eq!(lines(&snapshot), ["counted|6"]);
    let mut request = Request::new(crate::support::statement(TEXT));
    request.metadata_mut().insert("as_of", "5".parse().unwrap());
    let info = client.get_flight_info(request).await.unwrap().into_inner();
    assert_eq!(info.app_metadata, "{\"epoch\":5}");
    let old = select(&mut client, "AS OF 3 SELECT events FROM ledger").await.unwrap_err();
    assert_eq!(old.code(), Code::OutOfRange);
    assert!(old.message().contains('4'), "the oldest is named: {old:?}");
    let ahead = select(&mut client, "AS OF 99 SELECT events FROM ledger").await.unwrap_err();
    assert_eq!(ahead.code(), Code::DeadlineExceeded);
}

/// What `TEXT` gives within a transaction.
async fn within(
    client: &mut FlightSqlServiceClient<tonic::transport::Channel>,
    transaction: &prost::bytes::Bytes,
) -> Result<Vec<String>, tonic::Status> {
    let command = CommandStatementQuery { query: TEXT.into(), transaction_id: Some(transaction.clone()) };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    read(client.inner_mut(), descriptor).await.map(|(_, batches)| lines(&batches))
}

#[tokio::test]
async fn a_transaction_reads_one_moment_until_it_ends() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 1, 1)]);
    let (server, mut plain) = serve(&fake).await;
    let mut client = sql_client(&server).await;
    let transaction = client.begin_transaction().await.unwrap();
    counted(&fake, 2);
    fake.forget(2);
    assert_eq!(within(&mut client, &transaction).await.unwrap(), ["1"]);
    assert_eq!(select(&mut plain, TEXT).await.unwrap(), ["2"]);
    client.end_transaction(transaction.clone(), EndTransaction::Commit).await.unwrap();
    let ended = within(&mut client, &transaction).await.unwrap_err();
    assert_eq!(ended.code(), Code::FailedPrecondition, "{ended:?}");
}

#[tokio::test]
async fn a_transaction_that_nobody_uses_lets_go() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 1, 1)]);
    let limits = Limits { transaction_idle_max: Duration::from_millis(30), transactions_max: 1, ..Limits::default() };
    let (server, _client) = serve_within(&fake, limits).await;
    let mut client = sql_client(&server).await;
    let first = client.begin_transaction().await.unwrap();
    assert!(client.begin_transaction().await.is_err(), "only one may be open");
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(within(&mut client, &first).await.unwrap_err().code(), Code::FailedPrecondition);
    client.begin_transaction().await.unwrap();
}
