//! Requests, by the router and without a socket: content types, encodings, attributes as headers, bodies.
//!
//! An input is a byte for the path and the layouts, then as in HTTP headers, one to a line, a blank line,
//! and the body. Law: the answer is one of those that the README of the connectors lists, in JSON; what it
//! says was taken, set aside, declared or read again is what was handed in, and with an error nothing is.

#![no_main]

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;
use trueup_connectors::http::{Options, router};
use trueup_fuzz::choice;
use trueup_fuzz::intake::Counting;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime starts"));

const PATHS: [&str; 3] = ["/v1/events", "/v1/declarations", "/v1/quarantine/replay"];

fn request(path: &str, bytes: &[u8]) -> Request<Body> {
    let end = bytes.windows(2).position(|window| window == b"\n\n");
    let (head, body) = end.map_or((&b""[..], bytes), |end| (&bytes[..end], &bytes[end + 2..]));
    let mut request = Request::post(path).body(Body::from(body.to_vec())).expect("it is a request");
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    request
}

/// How many things the answer of a status in the 200s or 422 counts.
fn counted(path: &str, status: u16, answer: &Value) -> usize {
    let count = |name: &str| answer[name].as_u64().expect("it is counted") as usize;
    match (path, status) {
        ("/v1/events", 200 | 422) => {
            assert_eq!(count("taken") == 0, status == 422);
            count("taken") + count("set_aside")
        }
        ("/v1/declarations", 200) => count("declared"),
        ("/v1/quarantine/replay", 200) => count("accepted"),
        _ => panic!("nothing is wrong here that a {status} would tell: {answer}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let (intake, path) = (Counting::by(choice), PATHS[usize::from(choice >> 2) % PATHS.len()]);
    let mut router = router(intake.clone(), &Options::default());
    let (status, body) = RUNTIME.block_on(async {
        let answer = router.call(request(path, bytes)).await.expect("there is always an answer");
        let (head, body) = answer.into_parts();
        (head.status.as_u16(), body.collect().await.expect("it is in memory").to_bytes())
    });
    let answer: Value = serde_json::from_slice(&body).expect("an answer is JSON");
    let handed_in = intake.handed_in();
    match status {
        400 | 413 | 415 => {
            assert_eq!(handed_in, 0);
            assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()));
        }
        _ => {
            assert_eq!(counted(path, status, &answer), handed_in);
            assert!(handed_in > 0);
        }
    }
});
