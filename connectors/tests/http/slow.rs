//! Senders and readers that are slow, over real sockets: each is waited for so long and no longer, and
//! none keeps others out. What is waited for in a test has little time, and all else has an hour.

use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use trueup_connectors::http::{BODY_BYTES_MAX, Least, Options, Patience};

use crate::{Fake, ONE, Running, event};

const FOREVER: Duration = Duration::from_secs(3600);
const AT_ONCE: Duration = Duration::from_millis(50);
/// Waits for everybody, and leaves nobody alone.
const PATIENT: Patience = Patience {
    between: FOREVER,
    head: FOREVER,
    body: FOREVER,
    pace: Least { bytes: 1 << 20, within: FOREVER },
    peace: Duration::ZERO,
};

impl Running {
    fn patient(patience: Patience, connections_max: usize) -> Running {
        Running::with(Fake::default(), Options { patience, connections_max, ..Options::default() })
    }

    /// A connection; what takes far too long on it fails.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

/// Sends a byte every now and then until the connection is ended; what is answered.
fn trickle(mut stream: TcpStream, byte: u8) -> String {
    let mut other = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        while other.write_all(&[byte]).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let answer = rest(&mut stream);
    sender.join().unwrap();
    answer
}

/// What comes until the connection is ended.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(!ended.is_err_and(|error| matches!(error.kind(), WouldBlock | TimedOut)), "it is not ended");
    String::from_utf8(answer).unwrap()
}

/// Asks over a connection that stays, and reads the head of the answer and what came with it.
fn ask_over(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

const SOURCES: &str = "GET /v1/sources HTTP/1.1\r\nhost: test\r\n\r\n";

/// The head of a request whose body the server has begun to wait for.
fn begun(stream: &mut TcpStream, length: usize) {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    assert!(ask_over(stream, &head).starts_with("HTTP/1.1 100 "));
}

#[test]
fn a_connection_that_asks_nothing_is_ended() {
    let running = Running::patient(Patience { between: Duration::from_millis(300), ..PATIENT }, 8);
    assert_eq!(rest(&mut running.connect()), "");
    let mut asking = running.connect();
    asking.write_all(SOURCES.as_bytes()).unwrap();
    assert!(rest(&mut asking).starts_with("HTTP/1.1 200 "), "it is answered, and asks nothing more");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let running = Running::patient(Patience { head: AT_ONCE, ..PATIENT }, 8);
    let mut stream = running.connect();
    stream.write_all(b"GET /v1/sources HTTP/1.1\r\nx: ").unwrap();
    assert_eq!(trickle(stream, b'a'), "");
}

#[test]
fn a_body_that_comes_byte_by_byte_is_refused() {
    let pace = Least { bytes: 1 << 20, within: AT_ONCE };
    let running = Running::patient(Patience { pace, ..PATIENT }, 8);
    let mut stream = running.connect();
    begun(&mut stream, BODY_BYTES_MAX);
    let answer = trickle(stream, b' ');
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not come in time"), "{answer}");
}

#[test]
fn answers_that_nobody_reads_are_not_kept() {
    let pace = Least { bytes: 1 << 20, within: Duration::from_millis(500) };
    let running = Running::patient(Patience { pace, ..PATIENT }, 8);
    let mut stream = running.connect();
    let lines = "x\n".repeat(2_000);
    let head = "POST /v1/events HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-ndjson\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{lines}", lines.len());
    let refused = (0..10_000).find_map(|_| stream.write_all(request.as_bytes()).err()).expect("it is ended");
    assert!(!matches!(refused.kind(), WouldBlock | TimedOut), "{refused}");
}

#[test]
fn whoever_is_idle_the_longest_makes_room_for_the_next() {
    let running = Running::patient(PATIENT, 2);
    let (mut first, mut second) = (running.connect(), running.connect());
    assert_eq!(running.post(&[ONE], event("1", "1").as_bytes()).0, 200);
    assert_eq!(rest(&mut first), "");
    assert!(ask_over(&mut second, SOURCES).starts_with("HTTP/1.1 200 "), "one was enough");
}

#[test]
fn slow_requests_keep_nobody_out() {
    let running = Running::patient(PATIENT, 2);
    let (mut slow, mut idle) = (running.connect(), running.connect());
    begun(&mut slow, 2);
    assert!(ask_over(&mut idle, SOURCES).starts_with("HTTP/1.1 200 "));
    // Whoever is idle goes first, though it has let nobody wait for as long.
    assert_eq!(running.post(&[ONE], event("1", "1").as_bytes()).0, 200);
    assert_eq!(rest(&mut idle), "");
    let mut other = running.connect();
    begun(&mut other, 2);
    assert_eq!(running.post(&[ONE], event("2", "1").as_bytes()).0, 200);
    assert!(rest(&mut slow).contains("the body broke off: send it again"));
    assert!(ask_over(&mut other, "{}").starts_with("HTTP/1.1 422 "), "it had begun later");
}

#[test]
fn whoever_asks_whether_it_lives_is_answered_though_all_others_wait() {
    let leave = Arc::new(Semaphore::new(0));
    let fake = Fake { leave: Some(leave.clone()), ..Fake::default() };
    let patience = Patience { peace: FOREVER, ..PATIENT };
    let running = Running::with(fake, Options { patience, connections_max: 2, ..Options::default() });
    let event = event("1", "1");
    let post = format!(
        "POST /v1/events HTTP/1.1\r\nhost: test\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{event}",
        ONE.1,
        event.len()
    );
    let mut waiting = [running.connect(), running.connect()];
    waiting.iter_mut().for_each(|stream| stream.write_all(post.as_bytes()).unwrap());
    for _ in 0..10 {
        let mut probe = running.connect();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        assert!(rest(&mut probe).starts_with("HTTP/1.1 200 "), "and its place is free again");
    }
    let mut other = running.connect();
    other.write_all(post.as_bytes()).unwrap();
    let answer = rest(&mut other);
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
    leave.add_permits(2);
    for stream in &mut waiting {
        assert!(ask_over(stream, "").starts_with("HTTP/1.1 200 "));
    }
}
