//! Takes usage events over HTTP: `POST /v1/events`.
//!
//! Law: an answer in the 200s means that every event it counts is in the journal; 422 means that
//! all was set aside. After any other answer, or none, a sender sends the same again: whatever was
//! taken nonetheless counts once.
//!
//! ```text
//!   request ── token ── room ── body ── decompress ── read ── hand in ── answer
//!              401      429     408     413 415       batch   503        200, 422
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use trueup_model::usage::EventBatch;

mod answer;
mod body;
mod form;

use answer::Refusal;
use form::Form;

use crate::intake::{HandInError, Intake, Taken};

/// The most bytes of a body, once it is decompressed.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bodies of more bytes are read beside the threads that answer.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How long a request waits for room before it is sent away.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
/// How long the body of a request may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long requests under way have when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often a request is read, as the catalog may change meanwhile.
const READINGS_MAX: usize = 5;
/// Room is counted in pieces of so many bytes.
const PIECE_BYTES: usize = 1 << 10;

/// How to take events in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What senders must know, if anything.
    pub token: Option<String>,
    /// Whose events they are.
    pub tenant: String,
    /// How many bytes of bodies may be under way at once; other senders are told to come later.
    pub bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options { address, token: None, tenant: "default".to_owned(), bytes_max: 256 << 20 }
    }
}

/// A server that listens.
pub struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

/// Listens; returns once the address is bound.
pub async fn start(intake: Arc<dyn Intake>, options: Options) -> io::Result<HttpServer> {
    let listener = TcpListener::bind(options.address).await?;
    let address = listener.local_addr()?;
    let pieces = (options.bytes_max / PIECE_BYTES).max(BODY_BYTES_MAX / PIECE_BYTES);
    let desk = Desk {
        intake,
        token: options.token.map(|token| Sha256::digest(token).into()),
        tenant: options.tenant,
        room: Semaphore::new(pieces),
    };
    let router = Router::new().route("/v1/events", post(take)).with_state(Arc::new(desk));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        // A dropped sender stops the server too: nobody is left who could.
        let _ = stopped.await;
    });
    Ok(HttpServer { address, stop, task: tokio::spawn(server.into_future()) })
}

impl HttpServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new requests; those under way have a few seconds.
    pub async fn stop(mut self) {
        let _ = self.stop.send(());
        if timeout(STOP_PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn take(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    match desk.take(request).await {
        Ok(taken) => answer::taken(&taken).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// What every request needs.
struct Desk {
    intake: Arc<dyn Intake>,
    /// The digest of the token: comparing digests tells nothing of how far a guess was right.
    token: Option<[u8; 32]>,
    tenant: String,
    room: Semaphore,
}

impl Desk {
    async fn take(&self, request: Request) -> Result<Taken, Refusal> {
        self.check_token(request.headers())?;
        let form = Form::of(request.headers())?;
        let _room = self.room_for(request.headers()).await?;
        let (head, body) = request.into_parts();
        let bytes = timeout(BODY_PATIENCE, to_bytes(body, BODY_BYTES_MAX)).await;
        let bytes = bytes.map_err(|_| Refusal::Slow)?.map_err(|error| body::failed(&error))?;
        let bytes = if body::is_compressed(&head.headers) { inflated(head.headers, bytes).await? } else { bytes };
        self.hand_in(form, bytes).await
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let is_known = given.is_some_and(|(_, given)| <[u8; 32]>::from(Sha256::digest(given)) == *token);
        if is_known { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// Room for the body: what it says to be long, or else the most it may be.
    async fn room_for(&self, headers: &HeaderMap) -> Result<SemaphorePermit<'_>, Refusal> {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let is_compressed = body::is_compressed(headers);
        let bytes = length.filter(|_| !is_compressed).unwrap_or(BODY_BYTES_MAX);
        if bytes > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).expect("a body has fewer pieces");
        let room = timeout(ROOM_PATIENCE, self.room.acquire_many(pieces)).await;
        room.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Busy)
    }

    /// Reads the events and hands them in; reads them again if the catalog changed meanwhile.
    async fn hand_in(&self, form: Form, bytes: Bytes) -> Result<Taken, Refusal> {
        for _ in 0..READINGS_MAX {
            let batch = self.read(form.clone(), bytes.clone()).await?;
            match self.intake.hand_in(batch).await {
                Ok(taken) => return Ok(taken),
                Err(HandInError::Stale) => {}
                Err(HandInError::Unable(why)) => return Err(Refusal::Unable(why)),
                Err(HandInError::Stopped(why)) => return Err(Refusal::Stopped(why)),
            }
        }
        Err(Refusal::Changing)
    }

    async fn read(&self, form: Form, bytes: Bytes) -> Result<EventBatch, Refusal> {
        let (layouts, tenant) = (self.intake.layouts(), self.tenant.clone());
        let is_small = bytes.len() <= SMALL_BYTES_MAX;
        let read = move || form.read(layouts, &tenant, &bytes);
        if is_small { read() } else { spawn_blocking(read).await.expect("reading events never panics") }
    }
}

/// Decompresses a body beside the threads that answer: it takes as long as it becomes large.
async fn inflated(headers: HeaderMap, bytes: Bytes) -> Result<Bytes, Refusal> {
    spawn_blocking(move || body::plain(&headers, bytes)).await.expect("decompressing never panics")
}
