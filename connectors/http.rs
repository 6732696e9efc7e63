//! Takes usage events over HTTP: `POST /v1/events`. What producers say to have sent comes by
//! `POST /v1/declarations`; what was set aside is shown and read again under `/v1/quarantine`; what was
//! staged is applied and taken back under `/v1/backfills`; how the sources stand that read by themselves
//! is told by `GET /v1/sources`; whether the server can be asked yet, by `GET /readyz`.
//!
//! Law: an answer in the 200s means that every event it counts is in the journal; 422 means that
//! all was set aside. After any other answer, or none, a sender sends the same again: whatever was
//! taken nonetheless counts once.
//!
//! ```text
//!   request ── token ── form ── body, as room allows ── decompress ── read ── hand in ── answer
//!              401      415     408 413 429             400 413       batch  429 503     200, 422
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use trueup_model::fact::Epoch;
use trueup_model::usage::EventBatch;

mod answer;
mod backfills;
mod body;
mod followed;
mod form;
mod hall;
mod listener;
mod pace;
mod places;
mod quarantine;

use answer::Refusal;
use body::{Held, Room};
use form::Form;
use hall::{Hall, Open};
use listener::Bounded;
pub use listener::Patience;
pub use pace::Least;

use crate::backfills::Backfills;
use crate::board::Board;
use crate::declarations::read_declarations;
use crate::intake::{HandInError, Intake, Taken};

/// The most bytes of a body, once it is decompressed.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bodies of more bytes are read beside the threads that answer.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How long requests under way have when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How much of a path that leads nowhere is told.
const PATH_SHOWN_MAX: usize = 100;
/// How often a request is read, as the catalog may change meanwhile.
const READINGS_MAX: usize = 5;

/// How to take events in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What senders must know, if anything.
    pub token: Option<String>,
    /// Whose events they are.
    pub tenant: String,
    /// How the sources stand that read by themselves.
    pub board: Board,
    /// How many bytes of bodies may be under way at once; other senders are told to come later.
    pub bytes_max: usize,
    /// How many connections are taken up at once. Each costs a file descriptor. When all are taken, the
    /// one that is waited for the longest makes room.
    pub connections_max: usize,
    /// How long they are waited for.
    pub patience: Patience,
    /// The batches that are staged, if there is a place for them.
    pub backfills: Option<Arc<dyn Backfills>>,
}

impl Default for Options {
    fn default() -> Options {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options {
            address,
            token: None,
            tenant: "default".to_owned(),
            bytes_max: 256 << 20,
            connections_max: 512,
            patience: Patience::default(),
            board: Board::default(),
            backfills: None,
        }
    }
}

/// A server that listens.
pub struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

/// A server that listens and cannot be asked yet: each request is answered 503. It stops when it is
/// dropped.
pub struct Waiting {
    server: HttpServer,
    hall: Hall,
}

/// What answers requests, without a socket: for whoever serves it otherwise, or asks it directly.
pub fn router(intake: Arc<dyn Intake>, options: &Options) -> Router {
    let (_, not_yet) = watch::channel(String::new());
    let hall = Hall::closed(not_yet);
    hall.open(Desk::of(intake, options));
    routes().with_state(hall)
}

fn routes() -> Router<Hall> {
    Router::new()
        .route(hall::LIVEZ, get(hall::lives))
        .route(hall::READYZ, get(hall::is_ready))
        .route("/v1/events", post(take))
        .route("/v1/declarations", post(declare))
        .route("/v1/sources", get(sources))
        .route("/v1/backfills/{name}/apply", post(backfills::apply))
        .route("/v1/backfills/{name}/revert", post(backfills::revert))
        .route("/v1/quarantine/replay", post(quarantine::replay))
        .route("/v1/quarantine/{epoch}/{place}", get(quarantine::show))
        .fallback(|request: Request| async move { Refusal::Nowhere(shown(&request)) })
        .method_not_allowed_fallback(|request: Request| async move { Refusal::Method(shown(&request)) })
}

/// Method and path of a request, as far as they are short enough for a sentence.
fn shown(request: &Request) -> String {
    let whole = format!("{} {}", request.method(), request.uri().path());
    whole.chars().take(PATH_SHOWN_MAX).collect()
}

/// Listens; returns once the address is bound.
pub async fn start(intake: Arc<dyn Intake>, options: Options) -> io::Result<HttpServer> {
    let (_, not_yet) = watch::channel(String::new());
    let waiting = listen(options.address, options.connections_max, options.patience, not_yet).await?;
    Ok(waiting.open(intake, &options))
}

/// Listens, and tells whoever asks what `not_yet` says; returns once the address is bound.
pub async fn listen(
    address: SocketAddr,
    connections_max: usize,
    patience: Patience,
    not_yet: watch::Receiver<String>,
) -> io::Result<Waiting> {
    let listener = Bounded::bind(address, connections_max, patience)?;
    let address = listener.local_addr()?;
    let hall = Hall::closed(not_yet);
    let router = routes().with_state(hall.clone()).layer(from_fn(followed::followed));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<followed::Over>());
    let server = server.with_graceful_shutdown(async {
        // A dropped sender stops the server too: nobody is left who could.
        let _ = stopped.await;
    });
    Ok(Waiting { server: HttpServer { address, stop, task: tokio::spawn(server.into_future()) }, hall })
}

impl Waiting {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Answers from now on. Of the options, the address and the connections are not asked, and of the
    /// patience only that for bodies.
    pub fn open(self, intake: Arc<dyn Intake>, options: &Options) -> HttpServer {
        self.hall.open(Desk::of(intake, options));
        self.server
    }
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

async fn take(Open(desk): Open, request: Request) -> Response {
    match desk.take(request).await {
        Ok(taken) => answer::taken(&taken).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn declare(Open(desk): Open, request: Request) -> Response {
    match desk.declare(request).await {
        Ok((epoch, declared)) => answer::declared(epoch, declared).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn sources(Open(desk): Open, headers: HeaderMap) -> Response {
    match desk.check_token(&headers) {
        Ok(()) => answer::asked(&desk.board.told()),
        Err(refusal) => refusal.into_response(),
    }
}

/// What every request needs.
struct Desk {
    intake: Arc<dyn Intake>,
    /// The digest of the token: comparing digests tells nothing of how far a guess was right.
    token: Option<[u8; 32]>,
    tenant: String,
    board: Board,
    room: Room,
    patience: Patience,
    backfills: Option<Arc<dyn Backfills>>,
}

impl Desk {
    fn of(intake: Arc<dyn Intake>, options: &Options) -> Desk {
        Desk {
            intake,
            token: options.token.as_ref().map(|token| Sha256::digest(token).into()),
            tenant: options.tenant.clone(),
            room: Room::new(options.bytes_max),
            patience: options.patience,
            board: options.board.clone(),
            backfills: options.backfills.clone(),
        }
    }

    async fn take(&self, request: Request) -> Result<Taken, Refusal> {
        self.check_token(request.headers())?;
        let form = Form::of(request.headers())?;
        let mut held = self.room.hold();
        let bytes = self.receive(request, &mut held).await?;
        self.hand_in(form, bytes).await
    }

    /// Takes what producers say to have sent; tells how many declarations there were, and their epoch.
    async fn declare(&self, request: Request) -> Result<(Epoch, usize), Refusal> {
        self.check_token(request.headers())?;
        let mut held = self.room.hold();
        let bytes = self.receive(request, &mut held).await?;
        let read = spawn_blocking(move || read_declarations(&bytes)).await.expect("reading never panics");
        let declarations = read.map_err(Refusal::Declarations)?;
        let declared = declarations.len();
        let epoch = self.intake.declare(declarations).await.map_err(Refusal::from)?;
        Ok((epoch, declared))
    }

    /// The body of a request, without compression.
    async fn receive(&self, request: Request, held: &mut Held<'_>) -> Result<Bytes, Refusal> {
        let (head, body) = request.into_parts();
        let received = body::receive(body, held, self.patience.pace);
        let bytes = timeout(self.patience.body, received).await.map_err(|_| Refusal::Slow)??;
        if !body::is_compressed(&head.headers) {
            return Ok(bytes);
        }
        held.grow_to(BODY_BYTES_MAX).await?;
        inflated(head.headers, bytes).await
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let is_known = given.is_some_and(|(_, given)| <[u8; 32]>::from(Sha256::digest(given)) == *token);
        if is_known { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// Reads the events and hands them in; reads them again if the catalog changed meanwhile.
    async fn hand_in(&self, form: Form, bytes: Bytes) -> Result<Taken, Refusal> {
        for _ in 0..READINGS_MAX {
            let batch = self.read(form.clone(), bytes.clone()).await?;
            match self.intake.hand_in(batch, Vec::new()).await {
                Ok(taken) => return Ok(taken),
                Err(HandInError::Stale) => {}
                Err(error) => return Err(error.into()),
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
