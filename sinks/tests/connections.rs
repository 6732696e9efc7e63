//! Who is connected, and who makes room: however many there are, whoever asks is answered.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures::future::{join_all, select_all};
use futures::stream;
use trueup_sinks::limits::Limits;
use trueup_sinks::server::Server;

use crate::fake::{Fake, ledger};
use crate::support::{Client, connect, info, open, path, serve_within};

/// How HTTP/2 begins: its preface, and settings that say nothing.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// So many connections, of which none is left alone, and none is idle for too long.
fn at_most(connections_max: usize) -> Limits {
    Limits { connections_max, connection_peace: Duration::ZERO, ..Limits::default() }
}

/// A ping that is answered by the same bytes.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0there?!?";

/// A connection that says nothing; what takes far too long on it fails.
fn silent(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether it is ended, which is waited for.
async fn is_ended(mut stream: TcpStream) -> bool {
    let read = tokio::task::spawn_blocking(move || stream.read_to_end(&mut Vec::new()));
    !read.await.unwrap().is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// A connection that has been taken up, and asks nothing.
fn idle(server: &Server) -> TcpStream {
    let mut stream = silent(server);
    stream.write_all(HELLO).unwrap();
    assert!(is_answered(&mut stream), "nobody takes it up");
    stream
}

/// Whether a ping is answered.
fn is_answered(stream: &mut TcpStream) -> bool {
    let (mut heard, mut bytes) = (Vec::new(), [0; 512]);
    let mut is_there = stream.write_all(PING).is_ok();
    while is_there && !heard.windows(8).any(|eight| eight == &PING[9..]) {
        let read = stream.read(&mut bytes).unwrap_or(0);
        heard.extend_from_slice(&bytes[..read]);
        is_there = read > 0;
    }
    is_there
}

/// Asks until the answer comes. A client whose connection ends while it asks may have to ask again; what
/// the server itself refuses is no end of a connection.
async fn ask(client: &mut Client) {
    while let Err(status) = info(client, path(&["quotas"])).await {
        assert!(status.source().is_some(), "{status}");
    }
}

async fn new_client(server: &Server) -> Client {
    Client::new(connect(server).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_calls_is_ended_and_its_client_comes_back() {
    let limits = Limits { connection_idle_max: Duration::from_millis(50), ..Limits::default() };
    let (server, mut client) = serve_within(&Fake::new(), limits).await;
    let mut greeting = silent(&server);
    greeting.write_all(HELLO).unwrap();
    assert!(is_ended(greeting).await);
    assert!(is_ended(silent(&server)).await);
    for _ in 0..3 {
        ask(&mut client).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_idle_the_longest_makes_room() {
    let fake = Fake::new();
    let (server, mut first) = serve_within(&fake, at_most(3)).await;
    ask(&mut first).await;
    let (older, mut newer) = (idle(&server), idle(&server));
    // It is idle for less long by now.
    ask(&mut first).await;
    ask(&mut new_client(&server).await).await;
    assert!(is_ended(older).await);
    assert!(is_answered(&mut newer), "one was enough");
    ask(&mut first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_idle_connections_keeps_nobody_out() {
    let (server, mut first) = serve_within(&Fake::new(), at_most(4)).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = silent(&server);
        stream.write_all(HELLO).unwrap();
        idle.push(stream);
    }
    let clients = (0..10).map(async |_| {
        let mut client = new_client(&server).await;
        ask(&mut client).await;
        client
    });
    let mut clients = join_all(clients).await;
    // Each was asked to leave meanwhile, or had not called, and comes back.
    ask(&mut first).await;
    for client in &mut clients {
        ask(client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_place_gets_it_when_another_leaves() {
    let (server, _first) = serve_within(&Fake::new(), at_most(1)).await;
    // Each is answered before the next one comes and takes its place.
    let taken_up: Vec<_> = (0..40).map(|_| idle(&server)).collect();
    drop(taken_up);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_keeps_its_place() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 1, 1)]);
    let (server, mut follower) = serve_within(&fake, at_most(2)).await;
    let mut changes = open(&mut follower, path(&["changes", "ledger"])).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut other = new_client(&server).await;
        ask(&mut other).await;
        others.push(other);
        fake.publish([ledger("counted", 1, 1)]);
        assert!(changes.message().await.unwrap().is_some(), "it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_never_finished_keep_nobody_out() {
    let limits = Limits { connection_ask_max: Duration::from_millis(50), ..at_most(2) };
    let (server, mut first) = serve_within(&Fake::new(), limits).await;
    ask(&mut first).await;
    let mut unfinished = Vec::new();
    for _ in 0..3 {
        let mut client = new_client(&server).await;
        unfinished.push(tokio::spawn(async move { client.do_put(stream::pending()).await.map(drop) }));
    }
    ask(&mut new_client(&server).await).await;
    let (ended, _, _) = select_all(unfinished).await;
    assert!(ended.unwrap().is_err(), "it was never asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_keeps_nobody_out() {
    let fake = Fake::new();
    fake.publish([ledger("counted", 1, 1)]);
    let limits = Limits { connection_stall_max: Duration::from_millis(50), ..at_most(1) };
    let (server, mut follower) = serve_within(&fake, limits).await;
    let mut changes = open(&mut follower, path(&["changes", "ledger"])).await.unwrap();
    ask(&mut new_client(&server).await).await;
    let ended = loop {
        match changes.message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "it is no end of its own: {ended:?}");
    // Its reader comes back, and goes on from where it was.
    ask(&mut follower).await;
    assert!(open(&mut follower, path(&["changes", "ledger", "1"])).await.is_ok());
}
