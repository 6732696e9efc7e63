//! Stands before the Flight service as long as there is nothing to show, and lets calls through from then on.
//!
//! Law: no call is answered from a moment that was not handed in. One that comes before is answered
//! UNAVAILABLE, with what is still to be done, so that its caller comes back instead of finding nobody.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::flight::Flight;
use crate::moments::Moments;

type Flights = FlightServiceServer<Flight>;

/// The way to the service, which may be closed still. Clones are the same gate.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<OnceLock<Open>>,
    /// Why it is closed.
    not_yet: watch::Receiver<String>,
}

/// What is behind it.
struct Open {
    flights: Flights,
    moments: Arc<Moments>,
}

impl Gate {
    /// A gate that is closed, and says why.
    pub fn closed(not_yet: watch::Receiver<String>) -> Gate {
        Gate { open: Arc::default(), not_yet }
    }

    /// Lets calls through from now on.
    pub fn open(&self, flights: Flights, moments: Arc<Moments>) {
        self.open.get_or_init(|| Open { flights, moments });
    }

    /// What the service reads from, once it is open.
    pub fn moments(&self) -> Option<&Moments> {
        self.open.get().map(|open| &*open.moments)
    }
}

impl Service<http::Request<Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.open.get() {
            Some(open) => open.flights.clone().call(request),
            None => ready(Ok(Status::unavailable(self.not_yet.borrow().clone()).into_http())).boxed(),
        }
    }
}
