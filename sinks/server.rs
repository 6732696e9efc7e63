//! Listens on an address and serves the views until told to stop.
//!
//! It may listen before there is anything to show; callers are then told so, and not refused.
//! Plain text, so on loopback unless an address says otherwise. Stopping is gentle: streams end
//! with UNAVAILABLE, so that their readers come back, and calls under way are answered. How many may be
//! connected, and who makes room, is for `lines`.

mod asked;
mod calls;
mod lines;
mod listener;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;

use crate::flight::Flight;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::moments::Moments;
use crate::reading::Publication;
use crate::receiving::Receiver;
use lines::Lines;

/// A batch of 64 MiB and what is around it.
const RECEIVED_BYTES_MAX: usize = 66 << 20;
const KEEPALIVE: Duration = Duration::from_secs(20);
const TIDY_EVERY: Duration = Duration::from_secs(10);
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What callers must know, if anything.
    pub token: Option<String>,
    /// The bounds of what they may ask.
    pub limits: Limits,
    /// Who takes usage events that are put; without anybody such a call is refused.
    pub receiver: Option<Arc<dyn Receiver>>,
}

impl Default for Options {
    fn default() -> Options {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options { address, token: None, limits: Limits::default(), receiver: None }
    }
}

/// A server that listens.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    lines: Arc<Lines>,
}

/// A server that listens and has nothing to show yet: each call is answered UNAVAILABLE. It stops when
/// it is dropped.
pub struct Waiting {
    server: Server,
    gate: Gate,
}

/// Listens and serves what `publication` publishes; returns once the address is bound.
pub async fn start(publication: Arc<dyn Publication>, options: Options) -> std::io::Result<Server> {
    let (_, not_yet) = watch::channel(String::new());
    Ok(listen(options.address, &options.limits, not_yet).await?.show(publication, options))
}

/// Listens to as many connections as `limits` say, and tells whoever calls what `not_yet` says; returns
/// once the address is bound.
pub async fn listen(
    address: SocketAddr,
    limits: &Limits,
    not_yet: watch::Receiver<String>,
) -> std::io::Result<Waiting> {
    let incoming = TcpIncoming::from(listener::listen(address)?)
        // Each call would wait 40 ms for more bytes otherwise; the server's own switch does not
        // reach a listener that is handed in.
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE));
    let address = incoming.local_addr()?;
    let gate = Gate::closed(not_yet);
    let lines = Lines::new(limits.clone());
    let (stop, stopped) = oneshot::channel();
    let builder = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE));
    let stopped = tidy_until(stopped, gate.clone());
    let task = tokio::spawn(listener::serve(incoming, builder, gate.clone(), lines.clone(), stopped));
    Ok(Waiting { server: Server { address, stop: Some(stop), task, lines }, gate })
}

impl Waiting {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Serves what `publication` publishes from now on. Of the options, the address is not asked, nor
    /// what bounds connections.
    pub fn show(self, publication: Arc<dyn Publication>, options: Options) -> Server {
        let moments = Arc::new(Moments::new(publication, options.limits.clone()));
        let flight = Flight::new(moments.clone(), options.limits, options.token, options.receiver);
        let service = FlightServiceServer::new(flight).max_decoding_message_size(RECEIVED_BYTES_MAX);
        self.gate.open(service, moments);
        self.server
    }
}

/// Lets go of old moments until told to stop, and then ends the streams that wait for new ones.
async fn tidy_until(mut stopped: oneshot::Receiver<()>, gate: Gate) {
    // A dropped sender stops the server too: nobody is left who could.
    while timeout(TIDY_EVERY, &mut stopped).await.is_err() {
        gate.moments().into_iter().for_each(Moments::forget_idle);
    }
    gate.moments().into_iter().for_each(Moments::close);
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new calls, streams end, calls under way have a few seconds.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if timeout(STOP_PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
            self.lines.cut();
        }
    }
}
