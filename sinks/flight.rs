//! Views over Arrow Flight and Flight SQL: one service that answers every call itself.
//!
//! Laws: what FlightInfo says of columns is exactly what DoGet sends; every message after the
//! schema has rows; a ticket or handle says everything, is signed, and holds no memory here.
//!
//! ```text
//!  descriptor ──► offer ──► ticket ──► fetch ──► messages
//!  (path, SQL,    chooses   signed,    reads     schema, then
//!   command)      columns   pinned     views     rows with metadata
//!                 and epoch to epoch   or SQL
//! ```

mod access;
mod actions;
mod bind;
mod catalog;
mod descriptor;
mod encode;
mod fetch;
pub mod headers;
mod offer;
mod put;
mod put_events;
mod running;
mod seal;
mod sessions;
mod sql_info;
mod ticket;
mod types;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, Result as ActionResult, SchemaAsIpc, SchemaResult, Ticket as FlightTicket,
};
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::error::Error;
use crate::limits::Limits;
use crate::moments::Moments;
use crate::receiving::Receiver;
use crate::view::View;

/// The service.
pub struct Flight {
    desk: offer::Desk,
    access: access::Access,
    running: running::Running,
    events: Option<put_events::PutEvents>,
}

impl Flight {
    /// A service over `moments`, for anybody or only for who knows `token`; usage events are put to
    /// `receiver`, if there is one.
    pub fn new(
        moments: Arc<Moments>,
        limits: Limits,
        token: Option<String>,
        receiver: Option<Arc<dyn Receiver>>,
    ) -> Flight {
        Flight {
            events: receiver.map(|receiver| put_events::PutEvents::new(receiver, limits.clone())),
            desk: offer::Desk::new(moments, limits),
            access: access::Access::new(token),
            running: running::Running::default(),
        }
    }

    async fn info(&self, descriptor: FlightDescriptor, headers: &MetadataMap) -> Result<FlightInfo, Error> {
        let offer = self.desk.offer(&descriptor, headers).await?;
        let ticket = FlightTicket { ticket: self.desk.seal.seal(ticket::TICKET, &offer.ticket) };
        let info = FlightInfo::new()
            .try_with_schema(&offer.schema)?
            .with_descriptor(descriptor)
            // One endpoint: drivers read several at once and mix up the order.
            .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
            .with_app_metadata(fetch::epoch_metadata(offer.epoch));
        Ok(info)
    }

    async fn listed(&self, headers: &MetadataMap) -> Result<Vec<FlightInfo>, Error> {
        let mut list = Vec::new();
        for view in View::ALL {
            for path in [vec![view.name()], vec!["changes", view.name()]] {
                let path = path.into_iter().map(str::to_owned).collect();
                list.push(self.info(FlightDescriptor::new_path(path), headers).await?);
            }
        }
        Ok(list)
    }
}

/// Runs `work`; a panic becomes an error of this one call, since it would end the connection.
async fn safely<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome.map_err(Status::from),
        Err(_) => Err(running::fault()),
    }
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = encode::Messages;
    type DoPutStream = put::Answers;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<ActionResult, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let token = self.access.login(request.metadata())?;
        let reply = HandshakeResponse { protocol_version: 0, payload: token.to_owned().into() };
        let mut response = Response::new(stream::iter([Ok(reply)]).boxed());
        let bearer = format!("Bearer {token}").parse().map_err(|_| Status::internal("the token is not plain text"))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.access.check(request.metadata())?;
        let list = safely(self.listed(request.metadata())).await?;
        Ok(Response::new(stream::iter(list.into_iter().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.access.check(request.metadata())?;
        let (headers, _, descriptor) = request.into_parts();
        Ok(Response::new(safely(self.info(descriptor, &headers)).await?))
    }

    // Nothing takes long enough to poll for: what is offered can be fetched.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.access.check(request.metadata())?;
        let (headers, _, descriptor) = request.into_parts();
        let info = safely(self.info(descriptor, &headers)).await?;
        Ok(Response::new(PollInfo {
            info: Some(info),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: None,
        }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.access.check(request.metadata())?;
        let (headers, _, descriptor) = request.into_parts();
        let offer = safely(self.desk.offer(&descriptor, &headers)).await?;
        let schema = SchemaResult::try_from(SchemaAsIpc::new(&offer.schema, &IpcWriteOptions::default()));
        Ok(Response::new(schema.map_err(|error| Status::from(Error::Arrow(error)))?))
    }

    async fn do_get(&self, request: Request<FlightTicket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.access.check(request.metadata())?;
        let sealed = request.into_inner().ticket;
        let ticket = self.desk.ticket(&sealed)?;
        let messages = safely(fetch::fetch(&self.desk, ticket)).await?;
        Ok(Response::new(self.running.cancellable(sealed, messages)))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.access.check(request.metadata())?;
        Ok(Response::new(safely(put::put(&self.desk, self.events.as_ref(), request.into_inner())).await?))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.access.check(request.metadata())?;
        let what = "DoExchange: follow changes by a DoGet of [\"changes\", view], for it";
        Err(Error::Unsupported(what.into()).into())
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.access.check(request.metadata())?;
        let body = safely(actions::act(&self.desk, &self.running, request.into_inner())).await?;
        let results = body.map(|body| Ok(ActionResult { body: body.into() }));
        Ok(Response::new(stream::iter(results).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.access.check(request.metadata())?;
        Ok(Response::new(stream::iter(actions::list().into_iter().map(Ok)).boxed()))
    }
}
