//! Hands something to the server of a configuration: over HTTP where it runs, else into its journal.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use trueup::engine::Engine;

use super::failure::Failure;
use super::remote::block_on;
use super::resume::resume;
use crate::config::Config;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long where it has a journal to read meanwhile.
const LONG_PATIENCE: Duration = Duration::from_secs(3_600);

/// Whoever takes what is handed in.
pub enum WayIn {
    /// The server runs, and takes requests here.
    Server(Server),
    /// It does not; an engine stands on what its journal holds.
    Journal(Box<Engine>),
}

/// A server that listens.
pub struct Server {
    address: SocketAddr,
    token: Option<String>,
}

/// Finds the server of a configuration, or starts an engine on its journal.
pub fn open(path: &Path) -> Result<(WayIn, Config), Failure> {
    let config = Config::read(path).map_err(Failure::Input)?;
    if let Some(address) = config.http
        && answers(address)?
    {
        return Ok((WayIn::Server(Server { address, token: config.token.clone() }), config));
    }
    if config.journal.is_none() {
        let shown = path.display();
        return Err(Failure::Input(format!(
            "`{shown}` names no journal, and no server answers at its `http`: start the server, or add a journal"
        )));
    }
    Ok((WayIn::Journal(Box::new(resume(&config)?)), config))
}

/// Finds the server of a configuration, where nobody else can answer.
pub fn server(path: &Path) -> Result<Server, Failure> {
    let config = Config::read(path).map_err(Failure::Input)?;
    let shown = path.display();
    let Some(address) = config.http else {
        return Err(Failure::Input(format!("`{shown}` names no `http`, where a server could be asked: add it")));
    };
    match answers(address)? {
        true => Ok(Server { address, token: config.token }),
        false => Err(Failure::Engine(format!("no server answers at {address}, the `http` of `{shown}`: start it"))),
    }
}

/// Whether somebody listens there.
pub fn answers(address: SocketAddr) -> Result<bool, Failure> {
    block_on(async { Ok(TcpStream::connect(address).await.is_ok()) })
}

impl Server {
    /// Posts JSON; the answer, if the server did what was asked.
    pub fn post(&self, path: &str, json: Vec<u8>) -> Result<Value, Failure> {
        self.ask(Request::post(path), json, PATIENCE)
    }

    /// The same, where the answer takes as long as reading the journal.
    pub fn post_patiently(&self, path: &str, json: Vec<u8>) -> Result<Value, Failure> {
        self.ask(Request::post(path), json, LONG_PATIENCE)
    }

    /// Gets JSON.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Request::get(path), Vec::new(), PATIENCE)
    }

    fn ask(&self, request: Builder, json: Vec<u8>, patience: Duration) -> Result<Value, Failure> {
        let (status, body) =
            block_on(async { timeout(patience, self.send(request, json)).await.map_err(|_| self.silent(patience))? })?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let why = answer["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Later(why)),
            _ => Err(Failure::Input(why)),
        }
    }

    async fn send(&self, request: Builder, json: Vec<u8>) -> Result<(StatusCode, Bytes), Failure> {
        let lost = |error: hyper::Error| Failure::engine(&error);
        let stream = TcpStream::connect(self.address).await.map_err(|error| Failure::engine(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // It ends with the request; what goes wrong on it, the request says.
        tokio::spawn(connection);
        let mut request = request.header(HOST, self.address.to_string()).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(Bytes::from(json)))
            .map_err(|_| Failure::Input("the token has characters that no header can carry".to_owned()))?;
        let answer = sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await.map_err(lost)?.to_bytes()))
    }

    fn silent(&self, patience: Duration) -> Failure {
        let (address, seconds) = (self.address, patience.as_secs());
        Failure::Engine(format!("the server at {address} did not answer within {seconds} seconds: ask again"))
    }
}
