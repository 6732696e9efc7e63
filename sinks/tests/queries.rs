//! SQL: right answers, of one moment, in types that every client reads.

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::FlightData;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt,
};
use futures::StreamExt;
use prost::Message;
use std::sync::Arc;
use tonic::Code;
use trueup_sinks::view::View;

use crate::fake::{Fake, ledger, usage};
use crate::support::{Client, info, lines, open, path, read, select, serve, sql_client, statement};

async fn some_usage() -> (Arc<Fake>, trueup_sinks::server::Server, Client) {
    let fake = Fake::new();
    fake.publish((0..24).map(|hour| usage("acme", hour, 10 + hour, 1)));
    fake.publish((0..24).map(|hour| usage("zeta", hour, 1, 1)));
    let (server, client) = serve(&fake).await;
    (fake, server, client)
}

#[tokio::test]
async fn sums_are_exact_and_as_of_names_the_epoch() {
    let (fake, _server, mut client) = some_usage().await;
    let text =
        "SELECT customer, sum(quantity), count(*), as_of() FROM usage_hourly GROUP BY customer ORDER BY customer";
    let want = ["acme|516.000000000000|24|2", "zeta|24.000000000000|24|2"];
    assert_eq!(select(&mut client, text).await.unwrap(), want);
    fake.publish([usage("zeta", 3, 1, -1), usage("zeta", 3, 4, 1)]);
    assert_eq!(select(&mut client, text).await.unwrap()[1], "zeta|27.000000000000|24|3");
}

#[tokio::test]
async fn a_customer_is_read_by_a_short_scan_and_still_filtered() {
    let (_fake, _server, mut client) = some_usage().await;
    let text = "SELECT count(*) FROM usage_hourly WHERE customer = 'acme' AND quantity > 30";
    assert_eq!(select(&mut client, text).await.unwrap(), ["3"]);
    let text = "SELECT count(*) FROM usage_hourly WHERE 'nobody' = customer";
    assert_eq!(select(&mut client, text).await.unwrap(), ["0"]);
    let text = "SELECT window_start FROM usage_hourly WHERE customer = 'zeta' ORDER BY window_start LIMIT 1 OFFSET 2";
    assert_eq!(select(&mut client, text).await.unwrap(), ["1970-01-01T02:00:00Z"]);
}

#[tokio::test]
async fn what_is_described_is_exactly_what_is_sent() {
    let (_fake, _server, mut client) = some_usage().await;
    let mut asked: Vec<_> = View::ALL.iter().map(|view| path(&[view.name()])).collect();
    asked.extend(View::ALL.iter().map(|view| statement(&format!("SELECT * FROM {}", view.name()))));
    asked.extend([
        statement("SELECT CAST(events AS VARCHAR) AS text, 'a' AS b, NULL AS n, now() AS t FROM usage_hourly"),
        statement("SELECT arrow_cast(customer, 'Dictionary(Int32, Utf8)') AS d FROM usage_hourly"),
        statement("SELECT arrow_cast(events, 'UInt64') AS u, arrow_cast(customer, 'LargeUtf8') FROM usage_hourly"),
        statement("SELECT a.customer, b.events FROM usage_hourly a LEFT JOIN ledger b ON a.meter = b.state"),
        statement("SELECT customer, avg(quantity), min(window_start) FROM usage_hourly GROUP BY ROLLUP(customer)"),
        statement("SELECT table_name, column_name FROM information_schema.columns"),
        statement("EXPLAIN SELECT * FROM usage"),
        statement("SHOW TABLES"),
    ]);
    for descriptor in asked {
        let described: Schema = info(&mut client, descriptor.clone()).await.unwrap().try_into().unwrap();
        let (sent, batches) = read(&mut client, descriptor.clone()).await.unwrap();
        assert_eq!(&described, sent.as_ref(), "{descriptor}");
        for field in described.fields() {
            assert!(plain(field.data_type()), "{descriptor}: {field:?}");
        }
        for batch in batches {
            assert_eq!(batch.schema(), sent, "{descriptor}");
        }
    }
}

fn plain(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8View | DataType::BinaryView | DataType::LargeUtf8 | DataType::LargeBinary => false,
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::ListView(_) | DataType::LargeList(_) => {
            false
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 | DataType::Float16 => false,
        DataType::Timestamp(_, Some(zone)) => zone.as_ref() == "UTC",
        _ => true,
    }
}

#[tokio::test]
async fn no_message_is_metadata_alone_and_no_rows_still_have_columns() {
    let (_fake, _server, mut client) = some_usage().await;
    for descriptor in [path(&["invoices"]), statement("SELECT * FROM charges"), path(&["usage_hourly"])] {
        let messages: Vec<_> = open(&mut client, descriptor).await.unwrap().collect().await;
        assert!(!messages.is_empty());
        for message in messages {
            assert!(!message.unwrap().data_header.is_empty(), "each message has an Arrow header");
        }
    }
}

#[tokio::test]
async fn every_message_says_its_epoch() {
    let (_fake, _server, mut client) = some_usage().await;
    for descriptor in [path(&["usage_hourly"]), statement("SELECT * FROM usage_hourly")] {
        assert_eq!(info(&mut client, descriptor.clone()).await.unwrap().app_metadata, "{\"epoch\":2}");
        let messages: Vec<FlightData> =
            open(&mut client, descriptor).await.unwrap().map(Result::unwrap).collect().await;
        assert!(messages[1..].iter().all(|message| message.app_metadata == "{\"epoch\":2}"));
    }
}

/// A handle, and how many parameters it was told to have.
async fn prepare(client: &mut Client, text: &str) -> (prost::bytes::Bytes, usize) {
    let asked = ActionCreatePreparedStatementRequest { query: text.into(), transaction_id: None };
    let action =
        arrow_flight::Action { r#type: "CreatePreparedStatement".into(), body: asked.as_any().encode_to_vec().into() };
    let body = client.do_action(action).await.unwrap().into_inner().next().await.unwrap().unwrap().body;
    let reply: ActionCreatePreparedStatementResult = Any::decode(body).unwrap().unpack().unwrap().unwrap();
    let parameters = Schema::try_from(arrow_flight::IpcMessage(reply.parameter_schema)).unwrap();
    (reply.prepared_statement_handle, parameters.fields().len())
}

async fn bind(
    client: &mut Client,
    handle: prost::bytes::Bytes,
    values: Vec<ArrayRef>,
) -> Result<prost::bytes::Bytes, tonic::Status> {
    let named = values.into_iter().enumerate().map(|(place, value)| (place.to_string(), value));
    let row = RecordBatch::try_from_iter(named).unwrap();
    let mut messages = arrow_flight::utils::batches_to_flight_data(&row.schema(), vec![row]).unwrap();
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    messages[0].flight_descriptor = Some(arrow_flight::FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    let reply = client.do_put(futures::stream::iter(messages)).await?.into_inner().next().await.unwrap()?;
    let reply = DoPutPreparedStatementResult::decode(reply.app_metadata).unwrap();
    Ok(reply.prepared_statement_handle.expect("the handle is always given"))
}

#[tokio::test]
async fn values_are_bound_to_question_marks_in_any_type_that_casts() {
    let (_fake, _server, mut client) = some_usage().await;
    let text = "SELECT count(*) FROM usage_hourly WHERE customer = ? AND quantity > ? AND meter <> '?'";
    let (handle, parameters) = prepare(&mut client, text).await;
    assert_eq!(parameters, 2);
    let ten = Decimal128Array::from(vec![300]).with_precision_and_scale(3, 1).unwrap();
    let thirty: [ArrayRef; 3] =
        [Arc::new(Int64Array::from(vec![30])), Arc::new(StringArray::from(vec!["30.0"])), Arc::new(ten)];
    for quantity in thirty {
        let values = vec![Arc::new(StringArray::from(vec!["acme"])) as ArrayRef, quantity];
        let bound = bind(&mut client, handle.clone(), values).await.unwrap();
        let command = CommandPreparedStatementQuery { prepared_statement_handle: bound };
        let descriptor = arrow_flight::FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        assert_eq!(lines(&read(&mut client, descriptor).await.unwrap().1), ["3"]);
    }
    let unbound = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(unbound.as_any().encode_to_vec());
    let refused = read(&mut client, descriptor).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let wrong = bind(&mut client, handle, vec![Arc::new(Int64Array::from(vec![1])) as ArrayRef]).await;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: wrong.unwrap() };
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    assert!(info(&mut client, descriptor).await.unwrap_err().message().contains("2 parameters"));
}

#[tokio::test]
async fn nothing_can_be_changed_and_the_reason_is_told() {
    let (_fake, server, mut client) = some_usage().await;
    for text in [
        "INSERT INTO ledger VALUES ('counted', 1)",
        "DELETE FROM ledger",
        "UPDATE ledger SET events = 0",
        "CREATE TABLE t (a INT)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE ledger",
        "COPY ledger TO '/tmp/out.csv'",
        "EXPLAIN ANALYZE INSERT INTO ledger VALUES ('counted', 1)",
        "SET datafusion.execution.batch_size = 1",
        "PREPARE p AS SELECT 1",
    ] {
        let refused = select(&mut client, text).await.unwrap_err();
        assert!(
            matches!(refused.code(), Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented),
            "{text}: {refused:?}"
        );
    }
    let mut client = sql_client(&server).await;
    let refused = client.execute_update("DELETE FROM ledger".into(), None).await.unwrap_err();
    assert!(refused.to_string().contains("read only"), "{refused}");
}

#[tokio::test]
async fn who_asks_for_an_unknown_table_is_told_which_there_are() {
    let (_fake, _server, mut client) = some_usage().await;
    let refused = select(&mut client, "SELECT * FROM quota").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("quota' not found; there are usage, "), "{}", refused.message());
}

#[tokio::test]
async fn a_sum_that_does_not_fit_is_an_error_and_never_wraps() {
    let fake = Fake::new();
    fake.publish([ledger("counted", i64::MAX, 1), ledger("waiting", i64::MAX, 1)]);
    let (_server, mut client) = serve(&fake).await;
    for text in ["SELECT sum(events) FROM ledger", "SELECT sum(events) OVER () FROM ledger"] {
        let refused = select(&mut client, text).await.unwrap_err();
        assert!(refused.message().contains("too large"), "{refused:?}");
    }
    let text = "SELECT sum(events) FROM ledger GROUP BY state";
    assert_eq!(select(&mut client, text).await.unwrap().len(), 2);
    let wide = "SELECT sum(CAST(events AS DECIMAL(38, 0))) FROM ledger";
    assert_eq!(select(&mut client, wide).await.unwrap(), ["18446744073709551614"]);
    assert_eq!(select(&mut client, "SELECT sum(events) FROM ledger WHERE false").await.unwrap(), [""]);
}

#[tokio::test]
async fn decimals_never_pass_through_floats() {
    let fake = Fake::new();
    fake.publish([usage("acme", 0, 1, 1)]);
    let (_server, mut client) = serve(&fake).await;
    for (text, want) in [
        ("SELECT 0.1 + 0.2 = 0.3", "true"),
        ("SELECT quantity + 0.000000000001 FROM usage_hourly", "1.000000000001"),
        ("SELECT count(*) FROM usage_hourly WHERE quantity + 0.000000000001 > 1", "1"),
        ("SELECT count(*) FROM usage_hourly WHERE quantity < 1.000000000001", "1"),
        ("SELECT sum(quantity * 0.1) FROM usage_hourly", "0.1000000000000"),
        ("SELECT count(*) FROM usage_hourly WHERE quantity < '1.000000000001'", "1"),
        ("SELECT count(*) FROM usage_hourly WHERE quantity + 0.000000000001 <> '1.000000000001'", "0"),
    ] {
        assert_eq!(select(&mut client, text).await.unwrap(), [want], "{text}");
    }
}
