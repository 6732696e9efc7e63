//! The answers being sent, so that one can be stopped from another call.
//!
//! Clients that just go away need none of this: their stream is dropped with their connection.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use prost::bytes::Bytes;
use tokio::sync::Notify;
use tonic::Status;

use super::encode::Messages;
use crate::error::Error;

/// The answers being sent, by their tickets.
#[derive(Clone, Default)]
pub struct Running {
    by_ticket: Arc<Mutex<HashMap<Bytes, Arc<Notify>>>>,
}

/// Forgets an answer when it ends, however it ends.
struct Entry {
    running: Running,
    ticket: Bytes,
    stop: Arc<Notify>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut by_ticket = self.running.by_ticket.lock().unwrap_or_else(PoisonError::into_inner);
        // The same ticket may be read twice; only the one registered is removed.
        if by_ticket.get(&self.ticket).is_some_and(|stop| Arc::ptr_eq(stop, &self.stop)) {
            by_ticket.remove(&self.ticket);
        }
    }
}

impl Running {
    /// The same messages, until [`Running::cancel`] is called for their ticket.
    pub fn cancellable(&self, ticket: Bytes, messages: Messages) -> Messages {
        let stop = Arc::new(Notify::new());
        let mut by_ticket = self.by_ticket.lock().unwrap_or_else(PoisonError::into_inner);
        by_ticket.insert(ticket.clone(), stop.clone());
        drop(by_ticket);
        let entry = Entry { running: self.clone(), ticket, stop };
        let next = |state: Option<(Messages, Entry)>| async {
            let (mut messages, entry) = state?;
            tokio::select! {
                message = AssertUnwindSafe(messages.next()).catch_unwind() => match message {
                    Ok(message) => message.map(|message| (message, Some((messages, entry)))),
                    Err(_) => Some((Err(fault()), None)),
                },
                () = entry.stop.notified() => Some((Err(Status::from(Error::Cancelled)), None)),
            }
        };
        stream::unfold(Some((messages, entry)), next).boxed()
    }

    /// Stops the answer to `ticket`; false if none is being sent.
    pub fn cancel(&self, ticket: &Bytes) -> bool {
        let by_ticket = self.by_ticket.lock().unwrap_or_else(PoisonError::into_inner);
        by_ticket.get(ticket).inspect(|stop| stop.notify_one()).is_some()
    }
}

/// What a caller is told whose request panicked; without it the whole connection would end.
pub fn fault() -> Status {
    tracing::error!("a request panicked");
    Status::internal("this request met a fault of the server: write it in another way")
}
