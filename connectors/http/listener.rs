//! A listener with a bound on its connections, each of which is waited for only so long.
//!
//! Each connection costs a file descriptor, and a process without any left cannot even reach its
//! journal. So only so many are taken up, and who is waited for the longest makes room
//! ([`places`](super::places)). Within a request the head has a time of its own; the body, and an answer
//! that is to be read, have a pace.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, sleep};

use super::pace::{Least, Pace};
use super::places::{Line, Place, Places, Stand};
use crate::journal::disk::is_out_of_descriptors;

/// How many may wait to be taken up; others are told by the system that nobody hears them.
const WAITING_MAX: u32 = 1024;
/// How long a listener waits that can take up nobody.
const PAUSE: Duration = Duration::from_millis(100);

/// How long senders and readers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first byte of the next request.
    pub between: Duration,
    /// For the head of a request, from its first byte on.
    pub head: Duration,
    /// For the body of a request in all.
    pub body: Duration,
    /// How fast a body must come at least, and an answer be read.
    pub pace: Least,
    /// How long a connection is left alone, though others wait for its place.
    pub peace: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            between: Duration::from_secs(60),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            pace: Least { bytes: 32 << 10, within: Duration::from_secs(10) },
            peace: Duration::from_millis(250),
        }
    }
}

/// Takes up only so many connections at once.
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Places>,
    patience: Patience,
    has_told: bool,
}

impl Bounded {
    /// So many connections at an address, each of which is waited for so long.
    pub fn bind(address: SocketAddr, connections_max: usize, patience: Patience) -> io::Result<Bounded> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if cfg!(unix) {
            // So that a server can be started again at once; elsewhere it means another thing.
            socket.set_reuseaddr(true)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(WAITING_MAX)?;
        Ok(Bounded { listener, places: Places::new(connections_max, patience.peace), patience, has_told: false })
    }

    /// The next that wants to be taken up.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(next) => return next,
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Lets a moment pass if nobody can be taken up now; it is told once.
    async fn pause(&mut self, error: &io::Error) {
        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
            // It was that one's own doing.
            return;
        }
        let is_out = is_out_of_descriptors(error);
        if !std::mem::replace(&mut self.has_told, true) {
            let remedy = match is_out {
                true => "raise the limit on open files (`ulimit -n`)",
                false => "see what the system lacks",
            };
            tracing::error!(%error, remedy, "connections over HTTP cannot be taken up now, and wait");
        }
        if is_out {
            self.places.make_room();
        }
        sleep(PAUSE).await;
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Only when somebody is there somebody else need make room.
        let (stream, address) = self.next().await;
        let place = self.places.take().await;
        (Connection::new(stream, place, self.patience), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that has a place.
pub(super) struct Connection {
    stream: TcpStream,
    place: Place,
    patience: Patience,
    /// Wakes when the next request has been waited for long enough.
    silence: Pin<Box<Sleep>>,
    /// How fast an answer is read, while it cannot be written at once.
    reading: Option<Pace>,
    /// Wakes when it is read too slowly.
    unread: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(stream: TcpStream, place: Place, patience: Patience) -> Connection {
        let waits = || Box::pin(sleep(patience.between));
        Connection { stream, place, patience, silence: waits(), reading: None, unread: waits() }
    }

    /// How it stands.
    pub fn line(&self) -> &Arc<Line> {
        self.place.line()
    }

    /// Until when the next bytes of a request are waited for. A body has its pace elsewhere, where its
    /// sender can be told.
    fn patient_until(&self) -> Option<Instant> {
        match self.line().stands() {
            (Stand::Between, since) => Some(since + self.patience.between),
            (Stand::Head, since) => Some(since + self.patience.head),
            (Stand::Body | Stand::Whole, _) => None,
        }
    }

    /// Ready once `sleep` is over, which is to be at `until`.
    fn poll_over(sleep: &mut Pin<Box<Sleep>>, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(context)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line().gives_way(context) {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                self.line().heard();
            }
            return Poll::Ready(read);
        }
        let Some(until) = self.patient_until() else { return Poll::Pending };
        ready!(Connection::poll_over(&mut self.silence, until, context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            if let (Some(reading), Ok(bytes)) = (&mut self.reading, &written) {
                reading.went(*bytes);
            }
            return Poll::Ready(written);
        }
        let least = self.patience.pace;
        let until = self.reading.get_or_insert_with(|| Pace::of(least)).until();
        ready!(Connection::poll_over(&mut self.unread, until, context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All of it has been taken.
        self.reading = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
