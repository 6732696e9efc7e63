//! What tickets, handles and transactions say; clients carry them sealed and need not read them.
//!
//! A ticket is whole in itself: what to read, as of which epoch, until when it is good. A handle
//! is a statement with its bound values.

use prost::{Message, Oneof};

use crate::error::Error;
use crate::reading::Epoch;
use crate::subscribe::{End, Request, Target};
use crate::view::View;

/// The purposes for which messages are sealed, as users read them in errors.
pub const TICKET: &str = "ticket";
/// A prepared statement's handle.
pub const HANDLE: &str = "prepared statement";
/// A transaction's identity.
pub const TRANSACTION: &str = "transaction";

/// What a DoGet is to give.
#[derive(Clone, PartialEq, Message)]
pub struct Ticket {
    /// What to read.
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4")]
    pub ask: Option<Ask>,
    /// As of which epoch; none is the newest when it is read.
    #[prost(uint64, optional, tag = "5")]
    pub epoch: Option<Epoch>,
    /// Until when it is good.
    #[prost(uint64, tag = "6")]
    pub expiry: u64,
    /// Tells tickets for the same thing apart, so that one can be cancelled.
    #[prost(uint64, tag = "7")]
    pub number: u64,
}

/// The kinds of things to read.
#[derive(Clone, PartialEq, Oneof)]
pub enum Ask {
    /// All rows of the view of this name.
    #[prost(string, tag = "1")]
    View(String),
    /// The result of a statement.
    #[prost(message, tag = "2")]
    Query(Query),
    /// Changes.
    #[prost(message, tag = "3")]
    Follow(Follow),
    /// The answer to a catalog command.
    #[prost(bytes = "bytes", tag = "4")]
    Command(prost::bytes::Bytes),
}

/// A statement and the values of its parameters.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Query {
    /// Its text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// One row of values as an Arrow IPC stream, if it has parameters.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub values: Option<prost::bytes::Bytes>,
}

/// A subscription.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Follow {
    /// The name of a view, or the text of a query.
    #[prost(string, tag = "1")]
    pub target: String,
    /// Which of the two.
    #[prost(bool, tag = "2")]
    pub is_query: bool,
    /// Where it ends, if it does.
    #[prost(uint64, optional, tag = "3")]
    pub up_to: Option<Epoch>,
    /// Whether contents come first.
    #[prost(bool, tag = "4")]
    pub snapshot: bool,
    /// Whether marks are rows.
    #[prost(bool, tag = "5")]
    pub progress: bool,
}

/// A prepared statement.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Handle {
    /// The statement.
    #[prost(message, optional, tag = "1")]
    pub query: Option<Query>,
    /// The transaction that it was prepared in.
    #[prost(uint64, optional, tag = "2")]
    pub transaction: Option<u64>,
    /// Until when it is good.
    #[prost(uint64, tag = "3")]
    pub expiry: u64,
}

impl Follow {
    /// The subscription as it is carried; `now` is where UP TO NOW ends.
    pub fn new(request: &Request, now: Epoch) -> Follow {
        let (target, is_query) = match &request.target {
            Target::View(view) => (view.name().to_owned(), false),
            Target::Query(text) => (text.clone(), true),
        };
        let up_to = match request.up_to {
            End::Never => None,
            End::Now => Some(now),
            End::At(epoch) => Some(epoch),
        };
        Follow { target, is_query, up_to, snapshot: request.snapshot, progress: request.progress }
    }

    /// The subscription that was carried, from `epoch` on.
    pub fn request(self, epoch: Option<Epoch>) -> Result<Request, Error> {
        let target = match self.is_query {
            true => Target::Query(self.target),
            false => Target::View(view_named(&self.target)?),
        };
        let up_to = self.up_to.map_or(End::Never, End::At);
        Ok(Request { target, as_of: epoch, up_to, snapshot: self.snapshot, progress: self.progress })
    }
}

/// The view of this name.
pub fn view_named(name: &str) -> Result<View, Error> {
    View::named(name).ok_or_else(|| Error::NoSuchView { name: name.to_owned() })
}
