//! What a sender is answered.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use trueup_model::fact::Epoch;

use super::BODY_BYTES_MAX;
use crate::backfills::BackfillError;
use crate::intake::{HandInError, Taken};
use crate::limits::{BATCH_BYTES_MAX, REFUSED_MAX};

/// How many of the events that were set aside an answer names one by one.
const NAMED_MAX: usize = 1_000;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the token is missing or wrong: send the header `authorization: Bearer TOKEN`")]
    Unknown,
    #[error(
        "`content-type` is `{0}`: send application/cloudevents+json, application/cloudevents-batch+json or \
         application/x-ndjson, or application/json with the attributes as `ce-` headers"
    )]
    Kind(String),
    #[error("`content-encoding` is `{0}`: send gzip, zstd, or no compression")]
    Encoding(String),
    #[error("the body cannot be decompressed ({0}): compress it again")]
    Compression(String),
    #[error("the header `ce-{0}` is there twice or is no text: send it once, percent-encoded")]
    Header(&'static str),
    #[error(
        "the header `ce-{0}` is not encoded as CloudEvents have it: percent-encode its UTF-8 once, and in it also \
         each percent sign (%25) and each quote (%22)"
    )]
    HeaderEncoding(&'static str),
    #[error("the body has more than {BODY_BYTES_MAX} bytes, or would when decompressed: send it in parts")]
    TooLarge,
    #[error("a list of events has at most {BATCH_BYTES_MAX} bytes: send it in parts, or an event to a line")]
    ListTooLarge,
    #[error("with the attributes as headers the body must be one JSON value, which it is not: {0}")]
    Data(String),
    #[error("there is no event in the body: send at least one")]
    Empty,
    #[error("there is nothing at `{0}`: events go to `POST /v1/events`")]
    Nowhere(String),
    #[error("`{0}` is not answered here: send events by POST; the header `allow` says what else is answered")]
    Method(String),
    #[error("{0}")]
    Declarations(String),
    #[error("{0}")]
    Selection(String),
    #[error("{0}")]
    Terms(String),
    #[error("{0}")]
    Backfill(String),
    #[error("this server has no journal, and so no staged backfills: ask the one that has")]
    NoBackfills,
    #[error("nothing was set aside as {0}: the quarantine view shows what was")]
    NotSetAside(String),
    #[error("this server keeps no quarantine: ask the one that took the events")]
    NoQuarantine,
    #[error("more than {REFUSED_MAX} events cannot be read, so none was taken; the first of them: {0}")]
    Unreadable(String),
    #[error("the body did not come in time: send it faster, or in parts")]
    Slow,
    #[error("the body broke off: send it again")]
    Broken,
    #[error("too much is under way: send it again in a second")]
    Busy,
    #[error("the catalog is being changed: send it again in a second")]
    Changing,
    #[error("{0}")]
    Unable(String),
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Full(String),
    #[error("{0}: send it again when the server is back")]
    Stopped(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::Kind(_) | Refusal::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Compression(_)
            | Refusal::Header(_)
            | Refusal::HeaderEncoding(_)
            | Refusal::Data(_)
            | Refusal::Empty
            | Refusal::Unreadable(_)
            | Refusal::Declarations(_)
            | Refusal::Selection(_)
            | Refusal::Terms(_)
            | Refusal::Broken => StatusCode::BAD_REQUEST,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Nowhere(_) | Refusal::NotSetAside(_) | Refusal::NoQuarantine | Refusal::NoBackfills => {
                StatusCode::NOT_FOUND
            }
            Refusal::Backfill(_) => StatusCode::CONFLICT,
            Refusal::TooLarge | Refusal::ListTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Busy | Refusal::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Changing | Refusal::Unable(_) | Refusal::NotYet(_) | Refusal::Stopped(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl From<HandInError> for Refusal {
    fn from(error: HandInError) -> Refusal {
        match error {
            HandInError::Stale => Refusal::Changing,
            HandInError::Unable(why) => Refusal::Unable(why),
            HandInError::Full(why) => Refusal::Full(why),
            HandInError::Stopped(why) => Refusal::Stopped(why),
        }
    }
}

impl From<BackfillError> for Refusal {
    fn from(error: BackfillError) -> Refusal {
        match error {
            BackfillError::Refused(why) => Refusal::Backfill(why),
            BackfillError::NotNow(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.to_string()}).to_string();
        let mut response = (self.status(), [(CONTENT_TYPE, "application/json")], body).into_response();
        let header = match self {
            Refusal::Unknown => Some((WWW_AUTHENTICATE, "Bearer")),
            Refusal::Busy | Refusal::Changing | Refusal::Unable(_) | Refusal::NotYet(_) | Refusal::Stopped(_) => {
                Some((RETRY_AFTER, "1"))
            }
            // Somebody has to do something first.
            Refusal::Full(_) => Some((RETRY_AFTER, "60")),
            _ => None,
        };
        response.headers_mut().extend(header.map(|(name, value)| (name, value.parse().expect("it is a header"))));
        response
    }
}

/// The answer to what was asked.
pub(super) fn asked(answer: &Value) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

/// The answer when declarations were taken.
pub(super) fn declared(epoch: Epoch, declared: usize) -> Response {
    asked(&json!({"epoch": epoch, "declared": declared}))
}

/// The answer when a request was taken: how many events passed, and what was set aside and why. It
/// is 422 if none passed.
pub(super) fn taken(taken: &Taken) -> Response {
    let body = taken.told(NAMED_MAX);
    let is_nothing = taken.events == 0 && !taken.refused.is_empty();
    let status = if is_nothing { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
