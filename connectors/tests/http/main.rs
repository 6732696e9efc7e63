//! Events over HTTP, as a sender sees it: what is taken, what is not, and what is answered.

mod slow;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;
use trueup_connectors::backfills::{BackfillError, Backfills, Terms};
use trueup_connectors::http::{BODY_BYTES_MAX, HttpServer, Options, Patience, listen, start};
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::quarantine::{Quarantine, Replayed, Selection, SetAside};
use trueup_model::fact::{Declaration, Epoch, InputId};
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::{EventBatch, Refused};

/// Takes everything, and remembers it.
#[derive(Default)]
struct Fake {
    taken: Mutex<Vec<EventBatch>>,
    declared: Mutex<Vec<Declaration>>,
    /// How often it says that the catalog has changed.
    stale: AtomicU64,
    has_stopped: bool,
    is_full: bool,
    /// Answers only as often as there is leave to.
    leave: Option<Arc<Semaphore>>,
}

impl Intake for Fake {
    fn layouts(&self) -> Arc<Layouts> {
        let numbers = vec![NumberColumn { property: "tokens".into(), scale: 0 }];
        let layout = EventLayout { event_type: "call".into(), numbers, texts: vec![], dimensions: vec![] };
        Arc::new(Layouts {
            generation: 1,
            by_type: [("call".to_owned(), Arc::new(layout))].into(),
            ..Layouts::default()
        })
    }

    fn read_to(&self, _source: &str) -> Option<String> {
        None
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        _read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        let [batch] = <[EventBatch; 1]>::try_from(parts).expect("this way in has no parts");
        async move {
            if let Some(leave) = &self.leave {
                leave.acquire().await.expect("it is never closed").forget();
            }
            if self.is_full && !batch.refused.is_empty() {
                return Err(HandInError::Full("9 inputs stand in quarantine".to_owned()));
            }
            if self.has_stopped {
                return Err(HandInError::Stopped("the disk is full".to_owned()));
            }
            if self.stale.load(Ordering::Relaxed) > 0 {
                self.stale.fetch_sub(1, Ordering::Relaxed);
                return Err(HandInError::Stale);
            }
            let refused = batch.refused.iter().cloned().map(Arc::new).collect();
            let events = batch.rows.len() as u64;
            self.taken.lock().unwrap().push(batch);
            Ok(Taken { epoch: 7, events, refused })
        }
        .boxed()
    }

    fn quarantine(&self) -> Option<&dyn Quarantine> {
        Some(self)
    }

    fn declare(&self, declarations: Vec<Declaration>) -> BoxFuture<'_, Result<Epoch, HandInError>> {
        self.declared.lock().unwrap().extend(declarations);
        async { if self.has_stopped { Err(HandInError::Stopped("the disk is full".to_owned())) } else { Ok(8) } }
            .boxed()
    }
}

impl Quarantine for Fake {
    fn show(&self, input: InputId) -> BoxFuture<'_, Result<Option<SetAside>, HandInError>> {
        let payload = Some("{}".to_owned());
        let refused = Refused { source: "http".to_owned(), payload, whole: true, ..Refused::default() };
        let shown = SetAside { input, received_at: 0, refused, replayed_at: Some(9), is_accepted: false };
        async move { Ok((input.epoch == 7).then_some(shown)) }.boxed()
    }

    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Replayed, HandInError>> {
        let accepted = selection.inputs.len() as u64;
        async move { Ok(Replayed { epoch: Some(9), accepted, still: 2, unreadable: 1 }) }.boxed()
    }
}

/// For bodies under way.
const ROOM_BYTES: usize = 2 * BODY_BYTES_MAX;

/// A server, for as long as it is held.
struct Running {
    runtime: tokio::runtime::Runtime,
    server: Option<HttpServer>,
    fake: Arc<Fake>,
}

impl Running {
    fn new(fake: Fake, token: Option<&str>) -> Running {
        let token = token.map(str::to_owned);
        Running::with(fake, Options { token, bytes_max: ROOM_BYTES, ..Options::default() })
    }

    fn with(fake: Fake, options: Options) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fake = Arc::new(fake);
        let server = runtime.block_on(start(fake.clone(), options)).unwrap();
        Running { runtime, server: Some(server), fake }
    }

    fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address()
    }

    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let length = body.len().to_string();
        post(self.address(), &[headers, &[("content-length", &length)]].concat(), body)
    }

    /// The status, how many events were taken, and how many were set aside.
    fn outcome(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, u64, u64) {
        let (status, answer) = self.post(headers, body);
        let number = |key: &str| answer[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {answer}"));
        (status, number("taken"), number("set_aside"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().stop());
    }
}

/// Sends events as they are, and reads the answer.
fn post(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    post_to("/v1/events", address, headers, body)
}

fn post_to(path: &str, address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    ask("POST", path, address, headers, body)
}

fn ask(method: &str, path: &str, address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{lines}\r\n");
    // A server that has answered need not read on.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let promised = headers.iter().find(|(name, _)| *name == "content-length").map(|(_, length)| length.parse());
    if promised.is_some_and(|promised| promised != Ok(body.len())) {
        // Nothing more will come of what was promised. Whoever promised nothing keeps the line open: a
        // server that is told of its end before it has answered takes the asker to be gone.
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}")))
}

const ONE: (&str, &str) = ("content-type", "application/cloudevents+json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

fn event(id: &str, tokens: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":{tokens}}}}}"#
    )
}

#[test]
fn events_come_in_every_form() {
    let running = Running::new(Fake::default(), None);
    assert_eq!(running.outcome(&[ONE], event("1", "1").as_bytes()), (200, 1, 0));
    let batch = format!("[{},{}]", event("2", "1"), event("3", "1"));
    let kind = ("content-type", "application/cloudevents-batch+json; charset=utf-8");
    assert_eq!(running.outcome(&[kind], batch.as_bytes()), (200, 2, 0));
    let lines = format!("{}\r\n\n{}\n", event("4", "1"), event("5", "1"));
    assert_eq!(running.outcome(&[LINES], lines.as_bytes()), (200, 2, 0));
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "6"),
        ("ce-source", "/caf%C3%A9"),
        ("ce-type", "call"),
        ("ce-subject", "acme"),
        ("ce-time", "2026-06-01T00:00:00Z"),
        ("ce-revision", "3"),
    ];
    assert_eq!(running.outcome(&binary, b"{\"tokens\":\n 6}"), (200, 1, 0));
    let taken = running.fake.taken.lock().unwrap();
    let last = taken.last().unwrap();
    assert_eq!((last.rows[0].value, last.rows[0].revision), (6, 3));
    assert_eq!(last.ids.get(0), Some(("/café", "6")));
}

#[test]
fn attributes_that_are_not_encoded_are_refused_and_not_guessed() {
    let running = Running::new(Fake::default(), None);
    let post = |source: &'static str| {
        let headers = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "6"),
            ("ce-source", source),
            ("ce-type", "call"),
            ("ce-subject", "acme"),
            ("ce-time", "2026-06-01T00:00:00Z"),
        ];
        running.post(&headers, b"{\"tokens\": 6}")
    };
    for source in ["/100%", "/caf%C3", "/%zz", "/caf%c3%28", "/\"quoted", "\"/quoted"] {
        let (status, answer) = post(source);
        assert_eq!(status, 400, "{source}: {answer}");
        let sentence = answer["error"].as_str().unwrap();
        assert!(sentence.starts_with("the header `ce-source` is not encoded"), "{sentence}");
    }
    assert!(running.fake.taken.lock().unwrap().is_empty());
    for (source, read) in [("/100%25", "/100%"), ("\"/a \\\"b\\\"\"", "/a \"b\""), ("/%61", "/a")] {
        assert_eq!(post(source).0, 200, "{source}");
        assert_eq!(running.fake.taken.lock().unwrap().last().unwrap().ids.get(0), Some((read, "6")));
    }
    // What is decoded may still be no name.
    let (status, answer) = post("/%00");
    assert_eq!((status, &answer["set_aside"]), (422, &1.into()));
}

#[test]
fn what_is_set_aside_is_named_with_its_reason() {
    let running = Running::new(Fake::default(), None);
    let lines = format!("{}\nno json\n{}", event("1", "1"), event("2", "1.5"));
    let (status, answer) = running.post(&[LINES], lines.as_bytes());
    assert_eq!((status, &answer["taken"], &answer["set_aside"]), (200, &1.into(), &2.into()));
    assert_eq!(answer["refused"][0]["position"], "line 2");
    assert_eq!(answer["refused"][0]["reason"], "unreadable");
    assert_eq!(answer["refused"][1]["id"], "2");
    assert_eq!(answer["refused"][1]["reason"], "out_of_range");
    assert_eq!(running.outcome(&[ONE], b"no json"), (422, 0, 1));
    assert_eq!(running.outcome(&[ONE], b""), (422, 0, 1));
}

#[test]
fn compressed_bodies_are_taken_within_bounds() {
    let running = Running::new(Fake::default(), None);
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |plain: &[u8]| zstd::encode_all(plain, 3).unwrap();
    let good = event("1", "1").into_bytes();
    let bomb = vec![b' '; BODY_BYTES_MAX + 1];
    assert_eq!(running.outcome(&[ONE, ("content-encoding", "gzip")], &gzip(&good)), (200, 1, 0));
    assert_eq!(running.outcome(&[ONE, ("content-encoding", "zstd")], &zstd(&good)), (200, 1, 0));
    assert_eq!(running.post(&[ONE, ("content-encoding", "gzip")], &gzip(&bomb)).0, 413);
    assert_eq!(running.post(&[ONE, ("content-encoding", "zstd")], &zstd(&bomb)).0, 413);
    assert_eq!(running.post(&[ONE, ("content-encoding", "gzip")], &good).0, 400);
    assert_eq!(running.post(&[ONE, ("content-encoding", "zstd")], &good).0, 400);
    assert_eq!(running.post(&[ONE, ("content-encoding", "br")], &good).0, 415);
    assert_eq!(running.fake.taken.lock().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_taken_is_told_so() {
    let running = Running::new(Fake::default(), None);
    let body = event("1", "1");
    assert_eq!(running.post(&[("content-type", "application/x-www-form-urlencoded")], body.as_bytes()).0, 415);
    assert_eq!(running.post(&[], body.as_bytes()).0, 415);
    let too_long = (BODY_BYTES_MAX + 1).to_string();
    assert_eq!(post(running.address(), &[ONE, ("content-length", &too_long)], b"").0, 413);
    assert_eq!(post(running.address(), &[ONE, ("content-length", "100")], b"{").0, 400);
    assert!(running.fake.taken.lock().unwrap().is_empty());
}

#[test]
fn a_token_is_asked_for() {
    let running = Running::new(Fake::default(), Some("s3cret"));
    let body = event("1", "1");
    for (value, status) in [("Bearer s3cret", 200), ("bearer s3cret", 200), ("Bearer s3cre", 401), ("s3cret", 401)] {
        assert_eq!(running.post(&[ONE, ("authorization", value)], body.as_bytes()).0, status, "{value}");
    }
    assert_eq!(running.post(&[ONE], body.as_bytes()).0, 401);
}

#[test]
fn events_are_read_again_when_the_catalog_changes() {
    let running = Running::new(Fake { stale: AtomicU64::new(2), ..Fake::default() }, None);
    assert_eq!(running.outcome(&[ONE], event("1", "1").as_bytes()), (200, 1, 0));
    let running = Running::new(Fake { stale: AtomicU64::new(1000), ..Fake::default() }, None);
    assert_eq!(running.post(&[ONE], event("1", "1").as_bytes()).0, 503);
}

#[test]
fn what_has_no_room_in_quarantine_is_sent_again_later() {
    let running = Running::new(Fake { is_full: true, ..Fake::default() }, None);
    let (status, answer) = running.post(&[ONE], b"no event");
    assert_eq!((status, &answer["error"]), (429, &"9 inputs stand in quarantine".into()));
    assert_eq!(running.outcome(&[ONE], event("1", "1").as_bytes()), (200, 1, 0));
}

#[test]
fn an_engine_that_stopped_says_so() {
    let running = Running::new(Fake { has_stopped: true, ..Fake::default() }, None);
    let (status, answer) = running.post(&[ONE], event("1", "1").as_bytes());
    assert_eq!((status, &answer["error"]), (503, &"the disk is full: send it again when the server is back".into()));
}

#[test]
fn who_comes_before_the_desk_is_open_is_told_why() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (words, not_yet) = tokio::sync::watch::channel("1 of 3 epochs".to_owned());
    let waiting = runtime.block_on(listen(Options::default().address, 10, Patience::default(), not_yet)).unwrap();
    let address = waiting.address();
    let ask = |method, path| self::ask(method, path, address, &[("content-length", "0")], b"");
    let told = |words: &str| (503, serde_json::json!({"error": words}));
    for (method, path) in [("POST", "/v1/events"), ("GET", "/v1/sources"), ("GET", "/readyz")] {
        assert_eq!(ask(method, path), told("1 of 3 epochs"), "{path}");
    }
    words.send_replace("2 of 3 epochs".to_owned());
    assert_eq!(ask("GET", "/readyz"), told("2 of 3 epochs"));
    assert_eq!(ask("GET", "/livez").0, 200, "it is to be left alive");
    let options = Options { token: Some("secret".to_owned()), ..Options::default() };
    let server = runtime.block_on(async { waiting.open(Arc::new(Fake::default()), &options) });
    assert_eq!(ask("GET", "/readyz").0, 200, "whoever looks after it has no token");
    assert_eq!(ask("GET", "/v1/sources").0, 401);
    runtime.block_on(server.stop());
}

#[test]
fn what_producers_sent_is_declared() {
    let running = Running::new(Fake::default(), Some("s3cret"));
    let declare = |headers: &[(&str, &str)], body: &str| {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &*length)]].concat();
        post_to("/v1/declarations", running.address(), &headers, body.as_bytes())
    };
    let token = ("authorization", "Bearer s3cret");
    let said = r#"{"source": "calls", "partition": "3", "hour": "2026-06-01T08:00:00Z", "events": 12}"#;
    assert_eq!(declare(&[], said).0, 401);
    assert_eq!(declare(&[token], said), (200, serde_json::json!({"epoch": 8, "declared": 1})));
    assert_eq!(declare(&[token], &format!("[{said}, {said}]")), (200, serde_json::json!({"epoch": 8, "declared": 2})));
    let (status, answer) = declare(&[token], &said.replace(":00:00Z", ":10:00Z"));
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("declaration 1: `hour` is"), "{answer}");
    assert_eq!(running.fake.declared.lock().unwrap().len(), 3);
    let stopped = Running::new(Fake { has_stopped: true, ..Fake::default() }, None);
    let length = said.len().to_string();
    let (status, _) = post_to("/v1/declarations", stopped.address(), &[("content-length", &length)], said.as_bytes());
    assert_eq!(status, 503);
}

#[test]
fn who_asks_in_the_wrong_place_is_told_where_to_ask() {
    let running = Running::new(Fake::default(), Some("s3cret"));
    let ask = |method: &str, path: &str| ask(method, path, running.address(), &[], b"");
    let (status, told) = ask("POST", "/v1/event");
    let sentence = "there is nothing at `POST /v1/event`: events go to `POST /v1/events`";
    assert_eq!((status, told), (404, serde_json::json!({ "error": sentence })));
    let (status, told) = ask("GET", "/v1/events");
    let sentence =
        "`GET /v1/events` is not answered here: send events by POST; the header `allow` says what else is answered";
    assert_eq!((status, told), (405, serde_json::json!({ "error": sentence })));
    let (_, told) = ask("GET", &format!("/{}", "x".repeat(5_000)));
    assert!(told["error"].as_str().is_some_and(|error| error.len() < 300));
}

#[test]
fn how_sources_stand_is_told_to_whoever_may_know() {
    let running = Running::new(Fake::default(), Some("s3cret"));
    let get = |headers: &[(&str, &str)]| ask("GET", "/v1/sources", running.address(), headers, b"");
    assert_eq!(get(&[]).0, 401);
    assert_eq!(get(&[("authorization", "Bearer s3cret")]), (200, serde_json::json!({"sources": []})));
}

#[test]
fn what_was_set_aside_is_shown_and_read_again() {
    let running = Running::new(Fake::default(), Some("s3cret"));
    let token = ("authorization", "Bearer s3cret");
    let show = |headers: &[(&str, &str)], input: &str| {
        ask("GET", &format!("/v1/quarantine/{input}"), running.address(), headers, b"")
    };
    let (status, shown) = show(&[token], "7/3");
    assert_eq!((status, &shown["input"], &shown["whole"]), (200, &"7/3".into(), &true.into()));
    assert_eq!((&shown["state"], &shown["reason"]), (&"set_aside".into(), &"unreadable".into()));
    assert_eq!(show(&[], "7/3").0, 401);
    assert_eq!(show(&[token], "8/3").0, 404);
    assert_eq!(show(&[token], "8/three").0, 400);
    let replay = |body: &str| {
        let length = body.len().to_string();
        let headers = [token, ("content-length", &*length)];
        post_to("/v1/quarantine/replay", running.address(), &headers, body.as_bytes())
    };
    let (status, replayed) = replay(r#"{"inputs": ["7/3", "7/4"]}"#);
    assert_eq!(status, 200);
    assert_eq!(replayed, serde_json::json!({"epoch": 9, "accepted": 2, "still_set_aside": 2, "unreadable": 1}));
    for wrong in ["", "[]", r#"{"inputs": ["7"]}"#, r#"{"reason": "boring"}"#, r#"{"all": true}"#] {
        assert_eq!(replay(wrong).0, 400, "{wrong}");
    }
}

/// A shelf with one batch, `june`, that is applied once.
#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Terms>>);

impl Backfills for Shelf {
    fn apply(&self, name: String, terms: Terms) -> BoxFuture<'_, Result<Value, BackfillError>> {
        let mut applied = self.0.lock().unwrap();
        let is_new = name == "june" && applied.is_empty();
        applied.push(terms);
        Box::pin(async move {
            match is_new {
                true => Ok(serde_json::json!({"name": name, "epoch": 9})),
                false => Err(BackfillError::Refused(format!("backfill '{name}' was applied"))),
            }
        })
    }

    fn revert(&self, _name: String) -> BoxFuture<'_, Result<Value, BackfillError>> {
        Box::pin(async { Err(HandInError::Stopped("the disk is full".to_owned()).into()) })
    }
}

#[test]
fn what_was_staged_is_applied_and_taken_back() {
    let ask = |running: &Running, path: &str, headers: &[(&str, &str)], body: &str| {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &*length)]].concat();
        post_to(&format!("/v1/backfills/{path}"), running.address(), &headers, body.as_bytes())
    };
    let nowhere = Running::new(Fake::default(), None);
    assert_eq!(ask(&nowhere, "june/apply", &[], "").0, 404);

    let shelf = Arc::new(Shelf::default());
    let (token, backfills) = (Some("s3cret".to_owned()), Some(shelf.clone() as Arc<dyn Backfills>));
    let running = Running::with(Fake::default(), Options { token, backfills, ..Options::default() });
    let token = ("authorization", "Bearer s3cret");
    assert_eq!(ask(&running, "june/apply", &[], "").0, 401);
    assert_eq!(ask(&running, "june/revert", &[], "").0, 401);
    assert_eq!(ask(&running, "june/apply", &[token], r#"{"force": true}"#).0, 400);
    let (status, done) = ask(&running, "june/apply", &[token], r#"{"digest": "00", "set_aside": true}"#);
    assert_eq!((status, done), (200, serde_json::json!({"name": "june", "epoch": 9})));
    assert_eq!(*shelf.0.lock().unwrap(), [Terms { digest: Some("00".to_owned()), set_aside: true }]);
    let (status, refused) = ask(&running, "june/apply", &[token], "");
    assert_eq!((status, &refused["error"]), (409, &"backfill 'june' was applied".into()));
    assert_eq!(ask(&running, "june/revert", &[token], "").0, 503);
}

#[test]
fn a_body_in_chunks_is_taken() {
    let running = Running::new(Fake::default(), None);
    let event = event("1", "1");
    let (one, other) = event.split_at(40);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    let body = [chunk(one), chunk(other), chunk("")].concat();
    let (status, answer) = post(running.address(), &[ONE, ("transfer-encoding", "chunked")], body.as_bytes());
    assert_eq!((status, &answer["taken"]), (200, &1.into()));
}

#[test]
fn slow_senders_hold_what_they_sent_and_no_more() {
    let running = Running::new(Fake::default(), None);
    let begin = |sent: usize| {
        let mut stream = TcpStream::connect(running.address()).unwrap();
        let head = "POST /v1/events HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
        stream.write_all(format!("{head}content-length: {BODY_BYTES_MAX}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&vec![b' '; sent]).unwrap();
        stream
    };
    // Many that have sent little are in nobody's way.
    let slow: Vec<TcpStream> = (0..50).map(|_| begin(1)).collect();
    assert_eq!(running.post(&[ONE], event("1", "1").as_bytes()).0, 200);
    drop(slow);
    // Once the room is full, others are told to come later.
    let full: Vec<TcpStream> = (0..ROOM_BYTES / BODY_BYTES_MAX).map(|_| begin(BODY_BYTES_MAX - 1)).collect();
    let answered = (0..1_000).find_map(|_| {
        let answer = running.post(&[ONE], event("1", "1").as_bytes());
        (answer.0 != 200).then_some(answer)
    });
    assert_eq!(answered.map(|(status, _)| status), Some(429));
    drop(full);
}

#[test]
fn a_connection_beyond_the_bound_waits_until_there_is_a_place() {
    let options = Options { connections_max: 2, ..Options::default() };
    let running = Running::with(Fake::default(), options);
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(running.address()).unwrap()).collect();
    let waiting = std::thread::spawn({
        let address = running.address();
        move || {
            let body = event("1", "1");
            post(address, &[ONE, ("content-length", &body.len().to_string())], body.as_bytes()).0
        }
    });
    drop(idle);
    assert_eq!(waiting.join().unwrap(), 200);
}

#[test]
fn a_body_of_nothing_but_mistakes_is_not_kept() {
    let running = Running::new(Fake::default(), None);
    let (status, answer) = running.post(&[LINES], "x\n".repeat(2_000_000).as_bytes());
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("more than 40000 events cannot be read"), "{answer}");
    let (status, answer) = running.post(&[ONE], format!("[{}1]", "1,".repeat(1_000_000)).as_bytes());
    assert_eq!(status, 400, "{answer}");
    assert_eq!(running.post(&[LINES], b"\n\n").0, 400);
    assert!(running.fake.taken.lock().unwrap().is_empty());
    let (_, answer) = running.post(&[LINES], "x\n".repeat(2_000).as_bytes());
    assert_eq!((&answer["set_aside"], answer["refused"].as_array().unwrap().len()), (&2_000.into(), 1_000));
}
