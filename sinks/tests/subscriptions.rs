//! Followed views and queries: at every mark, what was received is what there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::FlightDescriptor;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use futures::{StreamExt, TryStreamExt};
use tonic::{Code, Status};
use trueup_sinks::limits::Limits;
use trueup_sinks::subscribe::Progress;
use trueup_sinks::view::View;

use crate::fake::{Fake, Update, Value, ledger, usage};
use crate::support::{Client, lines, open, path, serve, serve_within, statement};

/// Reads a subscription and adds up what it is sent.
struct Follower {
    messages: FlightDataDecoder,
    /// How often each row is there, by its text.
    sums: BTreeMap<String, i64>,
    /// The last epoch known to be whole.
    resume: Option<u64>,
}

impl Follower {
    async fn open(client: &mut Client, descriptor: FlightDescriptor) -> Result<Follower, Status> {
        let messages = open(client, descriptor).await?;
        let messages = messages.inspect_ok(|message| {
            assert!(!message.data_header.is_empty(), "metadata alone");
            assert!(message.data_body.len() < 4 << 20, "too large for Go clients of some age");
        });
        Ok(Follower {
            messages: FlightDataDecoder::new(messages.map_err(Into::into)),
            sums: BTreeMap::new(),
            resume: None,
        })
    }

    /// The next message with rows or marks; nothing at the end.
    async fn next(&mut self) -> Result<Option<(RecordBatch, Progress)>, Status> {
        while let Some(message) = self.messages.next().await {
            let message = message.map_err(Status::from)?;
            let DecodedPayload::RecordBatch(batch) = message.payload else { continue };
            let progress: Progress = serde_json::from_slice(&message.inner.app_metadata).unwrap();
            self.add(&batch, progress);
            return Ok(Some((batch, progress)));
        }
        Ok(None)
    }

    /// Reads until `epoch` is whole.
    async fn until(&mut self, epoch: u64) {
        while self.resume.is_none_or(|resume| resume < epoch) {
            self.next().await.unwrap().expect("it goes on");
        }
    }

    /// Reads to the end.
    async fn rest(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch, progress: Progress) {
        let times = batch.column(0).as_primitive::<Int64Type>();
        let marks = batch.column(1).as_boolean();
        let diffs = batch.column(2).as_primitive::<Int64Type>();
        let texts = lines(&[batch.project(&(3..batch.num_columns()).collect::<Vec<_>>()).unwrap()]);
        for (row, text) in texts.into_iter().enumerate() {
            if marks.value(row) {
                assert!(diffs.is_null(row), "a mark has only a time");
                assert_eq!(Some(times.value(row) as u64), progress.resume, "the mark says what the metadata says");
                continue;
            }
            assert!(progress.snapshot || (progress.lower..progress.upper).contains(&(times.value(row) as u64)));
            *self.sums.entry(text).or_insert(0) += diffs.value(row);
        }
        self.sums.retain(|_, sum| *sum != 0);
        assert!(
            progress.resume.is_none_or(|epoch| self.resume.is_none_or(|before| before <= epoch)),
            "it never goes back"
        );
        self.resume = progress.resume.or(self.resume);
    }

    fn rows(&self) -> Vec<String> {
        assert!(self.sums.values().all(|sum| *sum == 1), "{:?}", self.sums);
        self.sums.keys().cloned().collect()
    }
}

fn ledger_at(fake: &Fake, epoch: u64) -> Vec<String> {
    let text = |row: Vec<Value>| match &row[..] {
        [Value::Text(state), Value::Integer(events)] => format!("{state}|{events}"),
        other => panic!("no row of the ledger: {other:?}"),
    };
    let mut rows: Vec<_> = fake.rows_at(View::Ledger, epoch).into_iter().map(text).collect();
    rows.sort();
    rows
}

/// Updates that keep the ledger a set; which ones depends on `turn` only.
fn turned(fake: &Fake, turn: u64) -> Vec<Update> {
    let state = format!("state-{}", turn.wrapping_mul(2_654_435_761) % 7);
    let newest = trueup_sinks::reading::Publication::newest(fake).epoch();
    let old = fake.rows_at(View::Ledger, newest).into_iter().filter(|row| row[0] == Value::Text(state.clone()));
    let mut updates: Vec<_> = old.map(|row| (View::Ledger, row, -1)).collect();
    if !turn.is_multiple_of(3) {
        updates.push(ledger(&state, turn as i64, 1));
    }
    updates
}

#[tokio::test]
async fn at_every_mark_the_sum_is_the_view() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 5, 1), ledger("waiting", 1, 1)]);
    let (_server, mut client) = serve(&fake).await;
    for descriptor in
        [path(&["changes", "ledger"]), statement("SUBSCRIBE ledger"), statement("SUBSCRIBE (SELECT * FROM ledger)")]
    {
        let mut follower = Follower::open(&mut client, descriptor).await.unwrap();
        for turn in 0..60 {
            let epoch = fake.publish(turned(&fake, turn));
            if turn % 5 == 0 {
                follower.until(epoch).await;
            } else if turn % 2 == 0 {
                tokio::task::yield_now().await;
            }
            if let Some(resume) = follower.resume {
                assert_eq!(follower.rows(), ledger_at(&fake, resume));
            }
        }
    }
}

#[tokio::test]
async fn a_query_is_followed_as_a_multiset() {
    let fake = Fake::new();
    fake.publish([usage("acme", 0, 1, 1), usage("acme", 1, 1, 1), usage("zeta", 0, 5, 1)]);
    let (_server, mut client) = serve(&fake).await;
    let text = "SUBSCRIBE (SELECT customer, sum(quantity) AS total FROM usage_hourly GROUP BY customer)";
    let mut follower = Follower::open(&mut client, statement(text)).await.unwrap();
    follower.until(1).await;
    assert_eq!(follower.rows(), ["acme|2.000000000000", "zeta|5.000000000000"]);
    let epoch = fake.publish([usage("zeta", 0, 5, -1), usage("zeta", 0, 7, 1)]);
    follower.until(epoch).await;
    assert_eq!(follower.rows(), ["acme|2.000000000000", "zeta|7.000000000000"]);
    let mut equal =
        Follower::open(&mut client, statement("SUBSCRIBE (SELECT events FROM usage_hourly)")).await.unwrap();
    equal.until(epoch).await;
    assert_eq!(equal.sums, BTreeMap::from([("1".to_owned(), 3)]));
}

#[tokio::test]
async fn a_reader_who_comes_back_misses_nothing_and_gets_nothing_twice() {
    comes_back(|_| ()).await;
    comes_back(Fake::give_together).await;
}

async fn comes_back(prepare: fn(&Fake)) {
    let fake = Fake::new();
    for turn in 0..30 {
        fake.publish(turned(&fake, turn));
    }
    prepare(&fake);
    let (_server, mut client) = serve(&fake).await;
    let mut first = Follower::open(&mut client, statement("SUBSCRIBE ledger AS OF 11 UP TO 17")).await.unwrap();
    first.rest().await.unwrap();
    assert_eq!((first.resume, first.rows()), (Some(17), ledger_at(&fake, 17)));
    for descriptor in [
        path(&["changes", "ledger", "17"]),
        statement("SUBSCRIBE ledger AS OF 17 WITH (SNAPSHOT = false, PROGRESS = false)"),
        statement("SUBSCRIBE (SELECT * FROM ledger) AS OF 17 WITH (SNAPSHOT = false)"),
    ] {
        let mut second = Follower::open(&mut client, descriptor).await.unwrap();
        second.sums = first.sums.clone();
        second.until(30).await;
        assert_eq!(second.rows(), ledger_at(&fake, 30));
    }
}

#[tokio::test]
async fn up_to_now_ends_with_what_was_newest() {
    let fake = Fake::new();
    for turn in 0..10 {
        fake.publish(turned(&fake, turn));
    }
    let (_server, mut client) = serve(&fake).await;
    let described =
        crate::support::info(&mut client, statement("SUBSCRIBE ledger AS OF 4 UP TO NOW WITH (SNAPSHOT = false)"));
    let described = described.await.unwrap();
    fake.publish(turned(&fake, 99));
    let messages = client.do_get(crate::support::ticket(&described)).await.unwrap().into_inner();
    let messages = FlightDataDecoder::new(messages.map_err(Into::into));
    let mut follower = Follower { messages, sums: BTreeMap::new(), resume: None };
    follower.sums.extend(ledger_at(&fake, 4).into_iter().map(|row| (row, 1)));
    follower.rest().await.unwrap();
    assert_eq!((follower.resume, follower.rows()), (Some(10), ledger_at(&fake, 10)));
}

#[tokio::test]
async fn a_slow_reader_gets_one_consolidated_difference() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 0, 1), ledger("waiting", 3, 1)]);
    let (_server, mut client) = serve(&fake).await;
    let mut follower = Follower::open(&mut client, path(&["changes", "ledger"])).await.unwrap();
    follower.until(1).await;
    for events in 1..=200 {
        fake.publish([ledger("counted", events - 1, -1), ledger("counted", events, 1)]);
    }
    fake.forget(150);
    let (batch, progress) = follower.next().await.unwrap().unwrap();
    assert_eq!(progress, Progress { lower: 2, upper: 202, resume: Some(201), snapshot: false });
    assert_eq!(lines(&[batch]), ["201|false|-1|counted|0", "201|false|1|counted|200", "201|true|||"]);
    assert_eq!(follower.rows(), ledger_at(&fake, 201));
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_the_oldest_epoch() {
    let fake = Fake::new();
    for turn in 0..20 {
        fake.publish(turned(&fake, turn));
    }
    fake.forget(12);
    let (_server, mut client) = serve(&fake).await;
    for descriptor in [path(&["changes", "ledger", "11"]), statement("SUBSCRIBE ledger AS OF 11")] {
        let refused = Follower::open(&mut client, descriptor).await.err().unwrap();
        assert_eq!(refused.code(), Code::OutOfRange);
        assert!(refused.message().contains("12"), "{refused:?}");
    }
    assert!(Follower::open(&mut client, path(&["changes", "ledger", "12"])).await.is_ok());
}

#[tokio::test]
async fn a_quiet_stream_shows_signs_of_life() {
    let fake = Fake::new();
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let (_server, mut client) = serve_within(&fake, limits).await;
    let mut marked = Follower::open(&mut client, statement("SUBSCRIBE ledger")).await.unwrap();
    for _ in 0..5 {
        assert_eq!(lines(&[marked.next().await.unwrap().unwrap().0]), ["0|true|||"]);
    }
    let mut bare = Follower::open(&mut client, statement("SUBSCRIBE ledger WITH (PROGRESS = off)")).await.unwrap();
    for _ in 0..5 {
        assert_eq!(bare.next().await.unwrap().unwrap().0.num_rows(), 0);
    }
    fake.publish([usage("acme", 0, 1, 1)]);
    marked.until(1).await;
    bare.until(1).await;
}

#[tokio::test]
async fn the_end_of_the_engine_is_told_after_the_last_change() {
    let fake = Fake::new();
    let (_server, mut client) = serve(&fake).await;
    let mut follower = Follower::open(&mut client, path(&["changes", "ledger"])).await.unwrap();
    follower.until(0).await;
    fake.publish([ledger("counted", 1, 1)]);
    fake.stop();
    let end = follower.rest().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    assert_eq!(follower.rows(), ["counted|1"]);
}

#[tokio::test]
async fn stopping_the_server_ends_streams_so_that_readers_come_back() {
    let fake = Fake::new();
    let (server, mut client) = serve(&fake).await;
    let mut follower = Follower::open(&mut client, path(&["changes", "ledger"])).await.unwrap();
    follower.until(0).await;
    let stopping = tokio::spawn(server.stop());
    let end = follower.rest().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    tokio::time::timeout(Duration::from_secs(4), stopping).await.expect("it does not wait for readers").unwrap();
}

#[tokio::test]
async fn large_changes_come_in_pieces_and_only_the_last_completes_them() {
    let fake = Fake::new();
    fake.publish([]);
    let (_server, mut client) = serve(&fake).await;
    let mut follower = Follower::open(&mut client, path(&["changes", "usage_hourly"])).await.unwrap();
    follower.until(1).await;
    let long = "x".repeat(300);
    let names = (0..20_000).map(|hour| usage(&long, hour, 1, 1));
    let epoch = fake.publish(names);
    let mut messages = 0;
    while follower.resume != Some(epoch) {
        follower.next().await.unwrap().unwrap();
        messages += 1;
    }
    assert!(messages > 3, "{messages}");
    assert_eq!(follower.sums.len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_follow_at_their_own_pace() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 0, 1)]);
    let (_server, client) = serve(&fake).await;
    let fake_of = fake.clone();
    let reader = move |mut client: Client, fake: Arc<Fake>, pause: u64| async move {
        let mut follower = Follower::open(&mut client, path(&["changes", "ledger"])).await.unwrap();
        while follower.resume.is_none_or(|resume| resume < 101) {
            follower.next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if let Some(resume) = follower.resume {
                assert_eq!(follower.rows(), ledger_at(&fake, resume));
            }
        }
    };
    let readers: Vec<_> =
        (0..8).map(|pause| tokio::spawn(reader(client.clone(), fake_of.clone(), pause * 3))).collect();
    for events in 1..=100 {
        fake.publish([ledger("counted", events - 1, -1), ledger("counted", events, 1)]);
        fake.forget(u64::try_from(events).unwrap().saturating_sub(10));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(20), reader).await.unwrap().unwrap();
    }
}
