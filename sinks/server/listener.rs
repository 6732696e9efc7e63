//! Takes connections up, as many as may be, and serves each on its own, so that each can be ended by
//! itself: politely (GOAWAY, and what is under way is answered), or at once.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use super::asked::Room;
use super::calls::Calls;
use super::lines::{Line, Lines, Place, see_off};

/// How many may wait to be taken up; others are told by the system that nobody hears them.
const WAITING_MAX: u32 = 1024;
/// How long a listener waits that can take up nobody.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at an address.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if cfg!(unix) {
        // So that a server can be started again at once; elsewhere it means another thing.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// Serves whoever connects until told to stop, and then asks all to leave.
pub(super) async fn serve<S>(
    mut incoming: TcpIncoming,
    builder: Server,
    service: S,
    lines: Arc<Lines>,
    stopped: impl Future<Output = ()>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (mut serving, mut stopped, mut has_told) = (JoinSet::new(), pin!(stopped), false);
    let room = Room::new(lines.limits());
    'listening: loop {
        // It may hold one that waits for a place, and is not to be dropped because another leaves.
        let mut next = pin!(next(&mut incoming, &lines, &mut has_told));
        let (stream, place) = loop {
            tokio::select! {
                () = &mut stopped => break 'listening,
                arrived = &mut next => break arrived,
                Some(_) = serving.join_next() => {}
            }
        };
        let calls = Calls { service: service.clone(), line: place.line().clone(), room: room.clone() };
        serving.spawn(serve_one(stream, place, builder.clone(), calls, lines.clone()));
    }
    drop(incoming);
    lines.leave();
    while serving.join_next().await.is_some() {}
}

/// The next that wants to be taken up, and its place.
async fn next(incoming: &mut TcpIncoming, lines: &Arc<Lines>, has_told: &mut bool) -> (TcpStream, Place) {
    loop {
        match incoming.next().await {
            // Only when somebody is there somebody else need make room.
            Some(Ok(stream)) => return (stream, lines.take().await),
            Some(Err(error)) => pause(&error, lines, has_told).await,
            None => sleep(PAUSE).await,
        }
    }
}

/// Lets a moment pass if nobody can be taken up now; it is told once.
async fn pause(error: &io::Error, lines: &Lines, has_told: &mut bool) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        // It was that one's own doing.
        return;
    }
    // EMFILE and ENFILE, which have the same numbers on every Unix.
    let is_out = cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24));
    if is_out {
        lines.make_room();
    }
    if !std::mem::replace(has_told, true) {
        let remedy = match is_out {
            true => "raise the limit on open files (`ulimit -n`)",
            false => "see what the system lacks",
        };
        tracing::error!(%error, remedy, "connections over Flight cannot be taken up now, and wait");
    }
    sleep(PAUSE).await;
}

/// Serves a connection to its end.
async fn serve_one<S>(stream: TcpStream, place: Place, builder: Server, calls: Calls<S>, lines: Arc<Lines>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let line = place.line().clone();
    let (open, ended) = oneshot::channel();
    let connection = Connection { stream, place, _open: open };
    let goes = async {
        tokio::select! {
            () = line.asked_to_leave() => {}
            // It has left by itself.
            _ = ended => {}
        }
    };
    let one = stream::iter([Ok::<_, Infallible>(connection)]).chain(stream::pending());
    let mut served = pin!(builder.serve_with_incoming_shutdown(calls, one, goes));
    tokio::select! {
        _ = &mut served => return,
        () = see_off(&lines, &line) => {}
    }
    // How a connection ended is nothing to anybody.
    let _ = served.await;
}

/// A connection that has a place.
struct Connection {
    stream: TcpStream,
    place: Place,
    /// Dropped with the connection, which tells of its end.
    _open: oneshot::Sender<Infallible>,
}

impl Connection {
    fn line(&self) -> &Line {
        self.place.line()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line().is_cut(context) {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.line().is_cut(context) {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
