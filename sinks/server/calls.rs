//! Tells a connection which calls are under way on it, and when something of an answer goes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

use super::asked::{Question, Room};
use super::lines::{Call, Line};

/// A service, as one connection has it.
#[derive(Clone)]
pub(super) struct Calls<S> {
    pub service: S,
    pub line: Arc<Line>,
    /// The room for what is asked.
    pub room: Room,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = self.line.call();
        let asking = call.clone();
        let room = self.room.clone();
        let answer = self.service.call(request.map(|body| Body::new(Question::new(body, asking, room))));
        async move {
            let answer = answer.await?;
            call.asked();
            Ok(answer.map(|body| Body::new(Answer { body, call })))
        }
        .boxed()
    }
}

/// An answer of which its connection hears.
struct Answer {
    body: Body,
    call: Arc<Call>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.call.goes();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
