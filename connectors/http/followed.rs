//! Tells a connection how far its request is: that its body has come, and that its answer has gone. And who is on
//! a spare place is asked to come again, unless it asks whether the server lives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http_body::{Frame, SizeHint};

use super::answer::Refusal;
use super::hall::{LIVEZ, READYZ};
use super::listener::Bounded;
use super::places::Line;

/// The line that a request came over.
#[derive(Clone)]
pub(super) struct Over(Arc<Line>);

impl Connected<IncomingStream<'_, Bounded>> for Over {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Over {
        Over(stream.io().line().clone())
    }
}

/// Answers a request, and tells its line how far it is.
pub(super) async fn followed(ConnectInfo(Over(line)): ConnectInfo<Over>, request: Request, next: Next) -> Response {
    line.asks();
    let body = line.clone();
    let request = request.map(|whole| Body::new(Followed { body: whole, line: body, at_end: Line::asked }));
    let mut response = match line.is_spare() && ![LIVEZ, READYZ].contains(&request.uri().path()) {
        true => Refusal::Busy.into_response(),
        false => next.run(request).await,
    };
    if line.is_spare() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Body::new(Followed { body, line, at_end: Line::answered }))
}

/// A body of which its line hears when nobody needs it any more.
struct Followed {
    body: Body,
    line: Arc<Line>,
    at_end: fn(&Line),
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        (self.at_end)(&self.line);
    }
}
