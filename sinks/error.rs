//! What can go wrong between a reader and a view, said to the reader.
//!
//! Each case is one sentence about the reader's world, with what to do about it, and one gRPC
//! code by which a program can tell the cases apart.

use arrow::error::ArrowError;
use tonic::{Code, Status};

use crate::reading::{ChangesError, Epoch};
use crate::receiving::NotTaken;
use crate::view::View;

/// Why a reader did not get what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is no view's.
    #[error("there is no view named \"{name}\", there are {}", view_names())]
    NoSuchView {
        /// The name as given.
        name: String,
    },
    /// A request that does not follow the contract.
    #[error("{0}")]
    NotUnderstood(String),
    /// SQL that cannot be planned or run.
    #[error("{0}")]
    Sql(String),
    /// An attempt to change something.
    #[error(
        "views are read only, {0} is refused: put usage events by DoPut at the path [\"events\"], post them over HTTP, \
         or read them from files; the catalog comes from its files"
    )]
    ReadOnly(String),
    /// A ticket, handle or transaction that this server did not give out.
    #[error("this {0} was not given out by this server, or was altered on its way: ask for a new one")]
    Foreign(&'static str),
    /// A ticket, handle or transaction given out too long ago.
    #[error("this {0} has expired: ask for a new one")]
    Expired(&'static str),
    /// Changes of a past that is partly forgotten.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// A moment that is no longer held.
    #[error(
        "epoch {epoch} can no longer be read, the oldest that can is {oldest}: ask without an epoch, and all rows come \
         anew, and then what changes"
    )]
    Forgotten {
        /// What was asked for.
        epoch: Epoch,
        /// The oldest moment that can still be read.
        oldest: Epoch,
    },
    /// A moment that has not been published, though it was waited for.
    #[error("epoch {epoch} is not published yet, the newest is {newest}: try again later")]
    Ahead {
        /// What was asked for.
        epoch: Epoch,
        /// The newest published moment.
        newest: Epoch,
    },
    /// A statement that wants more than it may have.
    #[error("{0}")]
    Limit(String),
    /// Something that was put and cannot be taken.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// A part of the protocol that is not offered.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// Missing or wrong credentials.
    #[error("{0}")]
    Credentials(&'static str),
    /// The engine has stopped.
    #[error("the engine has stopped: connect again and resume from the last epoch received")]
    Stopped,
    /// The reader or another connection gave up.
    #[error("cancelled on request")]
    Cancelled,
    /// A file that cannot be written.
    #[error("cannot write {path}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Record batches that cannot be converted.
    #[error("cannot convert the rows: {0}")]
    Arrow(#[from] ArrowError),
}

impl Error {
    /// The gRPC code that tells programs which case this is.
    pub fn code(&self) -> Code {
        match self {
            Error::NoSuchView { .. } => Code::NotFound,
            Error::NotUnderstood(_) | Error::Sql(_) => Code::InvalidArgument,
            Error::ReadOnly(_) | Error::Foreign(_) => Code::PermissionDenied,
            Error::Expired(_) => Code::FailedPrecondition,
            Error::Changes(_) | Error::Forgotten { .. } => Code::OutOfRange,
            Error::Ahead { .. } => Code::DeadlineExceeded,
            Error::Limit(_) | Error::NotTaken(NotTaken::TooLarge(_) | NotTaken::Full(_)) => Code::ResourceExhausted,
            Error::NotTaken(NotTaken::Unreadable(_)) => Code::InvalidArgument,
            Error::NotTaken(NotTaken::Later(_) | NotTaken::Stopped(_)) => Code::Unavailable,
            Error::Unsupported(_) => Code::Unimplemented,
            Error::Credentials(_) => Code::Unauthenticated,
            Error::Stopped => Code::Unavailable,
            Error::Cancelled => Code::Cancelled,
            Error::File { .. } | Error::Arrow(_) => Code::Internal,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

pub(crate) fn view_names() -> String {
    View::ALL.map(View::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_view_is_answered_with_the_views_there_are() {
        let status = Status::from(Error::NoSuchView { name: "useage".into() });
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("\"useage\"") && status.message().contains("usage_hourly"));
    }
}
