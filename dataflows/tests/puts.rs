//! Usage events put over Flight into a real engine: what is answered is in the journal and the views.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::{Value, json};
use tonic::Code;
use trueup::engine::clock::Clock;
use trueup::engine::door::Submission;
use trueup::engine::intake::Gatherer;
use trueup::engine::{Engine, Setup};
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_model::catalog::Catalog;
use trueup_sinks::server::Server;

use crate::ledger::ledger;
use crate::ways::{self, put};

const CATALOG: &str = "[[meter]]\nname = 'tokens'\nevent_type = 'call'\naggregation = 'sum'\nproperty = 'tokens'\n\
                       scale = 2\ndimensions = ['model']\n";
const NOW: i64 = 1_782_864_000_000_000; // 2026-07-01T00:00:00Z

fn engine() -> Arc<Engine> {
    let engine = Engine::start(Setup { workers: 2, clock: Clock::Told, ..Setup::default() });
    let changes = read_catalog_texts(&[("catalog.toml", CATALOG)], &Catalog::default()).expect("the catalog is good");
    let changes = changes.into_iter().map(|(change, _)| change).collect();
    engine.accept(vec![Submission::Clock(NOW), Submission::Catalog(changes)]).expect("the catalog is good");
    Arc::new(engine)
}

/// Events with these ids and hundredths of tokens, a second apart up to now.
fn batch(events: &[(&str, Option<i128>)]) -> RecordBatch {
    let same = |text: &str| Arc::new(StringArray::from(vec![text; events.len()])) as ArrayRef;
    let ids: StringArray = events.iter().map(|(id, _)| Some(*id)).collect();
    let times = (1..=events.len() as i64).map(|seconds| NOW - seconds * 1_000_000);
    let tokens = events.iter().map(|(_, tokens)| *tokens).collect::<Decimal128Array>();
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("source", same("/gateway")),
        ("type", same("call")),
        ("subject", same("acme")),
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("tokens", Arc::new(tokens.with_precision_and_scale(20, 2).expect("it is a decimal"))),
    ])
    .expect("the columns are of one length")
}

async fn serve(engine: &Arc<Engine>) -> Server {
    ways::serve(engine, Arc::new(Gatherer::start(engine.clone()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_counted_once_and_answered_by_its_epoch() {
    let engine = engine();
    let server = serve(&engine).await;
    let first = batch(&[("1", Some(150)), ("2", None), ("3", Some(25))]);
    let answers = put(server.address(), vec![first.clone(), first, batch(&[("4", Some(1))])]).await;
    let answers: Vec<Value> = answers.into_iter().collect::<Result<_, _>>().expect("all are taken");
    let numbers: Vec<_> = answers.iter().map(|answer| answer["batch"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    assert_eq!((&answers[0]["taken"], &answers[0]["set_aside"]), (&json!(2), &json!(1)));
    assert_eq!(
        answers[0]["refused"],
        json!([{"position": "row 2 of batch 1", "source": "/gateway", "id": "2", "reason": "missing",
            "detail": "`data.tokens` is missing, and a meter reads it; send it with every event of this type"}])
    );
    let epoch = answers[2]["epoch"].as_u64().expect("an answer has an epoch");
    tokio::task::block_in_place(|| engine.wait(epoch)).expect("the engine runs");
    assert_eq!(ledger(&engine), ["duplicate 2", "quarantined 2", "received 7", "waiting 3"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ends_its_stream_and_no_other() {
    let engine = engine();
    let server = serve(&engine).await;
    let without_subject = batch(&[("1", Some(1))]).project(&[0, 1, 2, 4, 5]).expect("the columns are there");
    let too_long = batch(&vec![("1", Some(1)); 300_000]);
    for (refused, code, why) in [
        (without_subject, Code::InvalidArgument, "batch 1: there is no column `subject`"),
        (too_long, Code::ResourceExhausted, "batch 1: a batch has 300000 rows and may have 262144: send it in parts"),
    ] {
        let answers = put(server.address(), vec![refused]).await;
        let error = answers.last().expect("there is an answer").as_ref().expect_err("it is refused");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().starts_with(why), "{error}");
    }
    let answers = put(server.address(), vec![batch(&[("2", Some(1))])]).await;
    assert_eq!(answers[0].as_ref().expect("it is taken")["taken"], json!(1));
    server.stop().await;
    engine.stop();
    let server = serve(&engine).await;
    let answers = put(server.address(), vec![batch(&[("3", Some(1))])]).await;
    assert_eq!(answers[0].as_ref().expect_err("nobody takes it").code(), Code::Unavailable);
}
