//! Where requests wait as long as nobody is at the desk: each is told why, with 503 and `retry-after`.
//!
//! `GET /livez` and `GET /readyz` are answered here, before and after, and ask for no token: whoever
//! looks after the process has none. A server that computes its journal again is alive and not ready.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::json;
use tokio::sync::watch;

use super::Desk;
use super::answer::{Refusal, asked};

/// Where whoever looks after the process asks.
pub(super) const LIVEZ: &str = "/livez";
pub(super) const READYZ: &str = "/readyz";

/// The way to the desk. Clones are the same hall.
#[derive(Clone)]
pub(super) struct Hall {
    desk: Arc<OnceLock<Arc<Desk>>>,
    /// Why nobody is there.
    not_yet: watch::Receiver<String>,
}

/// The desk, for a request that comes when it is open.
pub(super) struct Open(pub Arc<Desk>);

impl Hall {
    /// A hall whose desk is not open, and why.
    pub fn closed(not_yet: watch::Receiver<String>) -> Hall {
        Hall { desk: Arc::default(), not_yet }
    }

    /// Opens the desk.
    pub fn open(&self, desk: Desk) {
        self.desk.get_or_init(|| Arc::new(desk));
    }

    fn desk(&self) -> Result<Arc<Desk>, Refusal> {
        self.desk.get().cloned().ok_or_else(|| Refusal::NotYet(self.not_yet.borrow().clone()))
    }
}

impl FromRequestParts<Hall> for Open {
    type Rejection = Refusal;

    async fn from_request_parts(_: &mut Parts, hall: &Hall) -> Result<Open, Refusal> {
        hall.desk().map(Open)
    }
}

/// That the process answers.
pub(super) async fn lives() -> Response {
    asked(&json!({"live": true}))
}

/// Whether what is read is true by now.
pub(super) async fn is_ready(State(hall): State<Hall>) -> Result<Response, Refusal> {
    hall.desk().map(|_| asked(&json!({"ready": true})))
}
