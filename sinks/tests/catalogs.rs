//! What drivers ask before the first query: catalogs, tables, keys, types, options.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementSubstraitPlan,
    ProstMessageExt, SqlInfo,
};
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightDescriptor};
use futures::StreamExt;
use prost::Message;
use tonic::{Code, Request};
use trueup_sinks::view::View;

use crate::fake::Fake;
use crate::support::{info, lines, path, read, serve, statement, ticket};

fn command(command: impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

#[tokio::test]
async fn tables_are_listed_whatever_a_tool_calls_them() {
    let (_server, mut client) = serve(&Fake::new()).await;
    let asked = |types: &[&str], pattern: Option<&str>| CommandGetTables {
        table_types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        table_name_filter_pattern: pattern.map(str::to_owned),
        include_schema: true,
        ..CommandGetTables::default()
    };
    for (types, pattern, count) in [
        (&[][..], None, View::ALL.len()),
        (&["TABLE", "VIEW"], None, View::ALL.len()),
        (&["BASE TABLE"], None, View::ALL.len()),
        (&["table"], Some("usage%"), 4),
        (&["VIEW"], None, 0),
        (&[], Some("nothing"), 0),
    ] {
        let (_, batches) = read(&mut client, command(asked(types, pattern))).await.unwrap();
        assert_eq!(batches.len(), 1, "one message, or the Java driver mixes up columns");
        assert_eq!(batches[0].num_rows(), count, "{types:?} {pattern:?}");
    }
    let schemas = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
    assert_eq!(lines(&read(&mut client, command(schemas)).await.unwrap().1), ["trueup|public"]);
}

#[tokio::test]
async fn keys_are_those_of_the_views() {
    let (_server, mut client) = serve(&Fake::new()).await;
    let asked = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "issued_lines".into() };
    let (_, batches) = read(&mut client, command(asked)).await.unwrap();
    let want =
        ["trueup|public|issued_lines|invoice|1|issued_lines_key", "trueup|public|issued_lines|line|2|issued_lines_key"];
    assert_eq!(lines(&batches), want);
    let table = || "usage".to_owned();
    for descriptor in [
        command(CommandGetImportedKeys { catalog: None, db_schema: None, table: table() }),
        command(CommandGetExportedKeys { catalog: None, db_schema: None, table: table() }),
        command(CommandGetCrossReference {
            pk_table: table(),
            fk_table: table(),
            ..CommandGetCrossReference::default()
        }),
    ] {
        let (schema, batches) = read(&mut client, descriptor).await.unwrap();
        assert_eq!((schema.fields().len(), lines(&batches).len()), (13, 0));
    }
}

#[tokio::test]
async fn the_table_of_facts_is_whole() {
    let (_server, mut client) = serve(&Fake::new()).await;
    let (_, batches) = read(&mut client, command(CommandGetSqlInfo { info: Vec::new() })).await.unwrap();
    let told: BTreeSet<u32> = batches[0].column(0).as_primitive::<UInt32Type>().values().iter().copied().collect();
    let missing: Vec<_> =
        (0..=576).filter(|id| SqlInfo::try_from(*id).is_ok() && !told.contains(&(*id as u32))).collect();
    // The versions of Substrait, of which there is none.
    assert_eq!(missing, [6, 7]);
    let one = CommandGetSqlInfo { info: vec![SqlInfo::FlightSqlServerReadOnly as u32] };
    assert_eq!(lines(&read(&mut client, command(one)).await.unwrap().1).len(), 1);
    let types = read(&mut client, command(CommandGetXdbcTypeInfo { data_type: None })).await.unwrap().1;
    assert_eq!(lines(&types).len(), 9);
}

#[tokio::test]
async fn what_is_not_offered_is_named() {
    let (_server, mut client) = serve(&Fake::new()).await;
    let refused = info(&mut client, command(CommandStatementSubstraitPlan::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("CommandStatementSubstraitPlan"), "{refused:?}");
    let action = Action { r#type: "BeginSavepoint".into(), body: Default::default() };
    let refused = client.do_action(action).await.unwrap_err();
    assert!(refused.code() == Code::Unimplemented && refused.message().contains("BeginSavepoint"), "{refused:?}");
    let refused = info(&mut client, FlightDescriptor::new_cmd("hello")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn flights_and_actions_are_listed_and_schemas_told() {
    let (_server, mut client) = serve(&Fake::new()).await;
    let flights = client.list_flights(arrow_flight::Criteria::default()).await.unwrap().into_inner();
    assert_eq!(flights.map(Result::unwrap).count().await, 2 * View::ALL.len());
    let actions: Vec<_> = client.list_actions(Empty {}).await.unwrap().into_inner().map(Result::unwrap).collect().await;
    assert!(actions.iter().any(|action| action.r#type == "CreatePreparedStatement"));
    let schema = client.get_schema(path(&["ledger"])).await.unwrap().into_inner();
    let schema = arrow::datatypes::Schema::try_from(&schema).unwrap();
    assert_eq!(schema.field(0).name(), "state");
    let poll = client.poll_flight_info(statement("SELECT 1")).await.unwrap().into_inner();
    assert!(poll.info.is_some() && poll.flight_descriptor.is_none(), "an answer is complete at once");
}

#[tokio::test]
async fn a_stream_can_be_cancelled_from_another_call() {
    let fake = Fake::new();
    let (_server, mut client) = serve(&fake).await;
    let described = info(&mut client, path(&["changes", "ledger"])).await.unwrap();
    let mut stream = client.do_get(Request::new(ticket(&described))).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let mut cancel = async |info| {
        let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
        let action = Action { r#type: "CancelFlightInfo".into(), body: body.into() };
        let reply = client.do_action(action).await.unwrap().into_inner().next().await.unwrap().unwrap();
        CancelFlightInfoResult::decode(reply.body).unwrap().status()
    };
    assert_eq!(cancel(described.clone()).await, CancelStatus::Cancelled);
    let last = loop {
        match stream.next().await.unwrap() {
            Ok(_) => continue,
            Err(status) => break status,
        }
    };
    assert_eq!(last.code(), Code::Cancelled);
    drop(stream);
    assert_eq!(cancel(described).await, CancelStatus::NotCancellable);
}
