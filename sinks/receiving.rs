//! What a sink may hand on: Arrow messages that a client puts, to whoever takes them.
//!
//! Nothing is known here of what is in them. Headers and bodies are handed on as they came, unread,
//! since reading what strangers claim is a matter of whoever takes it.

use std::fmt;

use futures::future::BoxFuture;
use prost::bytes::Bytes;

/// Somebody who takes what is put.
pub trait Receiver: fmt::Debug + Send + Sync + 'static {
    /// Takes up a stream of which nothing has come yet.
    fn begin(&self) -> Box<dyn Receiving>;
}

/// A stream that is being put.
pub trait Receiving: Send {
    /// Takes a message: the header and the body of Arrow IPC. If it is a batch of rows, the answer, in
    /// JSON, comes when what it counts is durable; a message before that, such as the schema, has none.
    /// After an error the stream is at its end.
    fn take(self: Box<Self>, header: Bytes, body: Bytes) -> BoxFuture<'static, Result<Next, NotTaken>>;
}

/// A message was taken.
pub struct Next {
    /// The stream, for the next message.
    pub stream: Box<dyn Receiving>,
    /// What the client is answered.
    pub answer: Option<String>,
}

/// Why a message was not taken. It is safe to put the same again: nothing counts twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It cannot be read, whoever puts it again.
    #[error("{0}")]
    Unreadable(String),
    /// It is larger than what may be put.
    #[error("{0}")]
    TooLarge(String),
    /// What would be set aside of it has no room, until somebody makes some.
    #[error("{0}")]
    Full(String),
    /// There is no room for it now.
    #[error("{0}")]
    Later(String),
    /// Nobody takes it any more.
    #[error("{0}")]
    Stopped(String),
}
