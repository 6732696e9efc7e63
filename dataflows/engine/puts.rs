//! Usage events that are put over Flight, on their way from the sink that hears them to the intake.
//!
//! Sinks know no connectors and connectors no Flight, so here is the joint: messages go one way as
//! they came, answers and refusals the other.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use prost::bytes::Bytes;
use trueup_connectors::arrow_events::ipc::IpcError;
use trueup_connectors::arrow_put::{ArrowPut, PutError};
use trueup_connectors::intake::Intake;
use trueup_sinks::receiving::{Next, NotTaken, Receiver, Receiving};

/// Takes what is put, as events of one tenant.
pub struct Puts {
    intake: Arc<dyn Intake>,
    tenant: String,
}

impl Puts {
    /// The way of what is put to `intake`.
    pub fn new(intake: Arc<dyn Intake>, tenant: &str) -> Puts {
        Puts { intake, tenant: tenant.to_owned() }
    }
}

impl fmt::Debug for Puts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Puts").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Receiver for Puts {
    fn begin(&self) -> Box<dyn Receiving> {
        Box::new(Put(ArrowPut::new(self.intake.clone(), &self.tenant)))
    }
}

/// A stream that is being put.
struct Put(ArrowPut);

impl Receiving for Put {
    fn take(self: Box<Self>, header: Bytes, body: Bytes) -> BoxFuture<'static, Result<Next, NotTaken>> {
        async move {
            let (stream, answer) = self.0.take(header, body).await.map_err(not_taken)?;
            Ok(Next { stream: Box::new(Put(stream)), answer: answer.map(|answer| answer.to_string()) })
        }
        .boxed()
    }
}

fn not_taken(error: PutError) -> NotTaken {
    let told = error.to_string();
    match error {
        PutError::Message { error: IpcError::TooLarge(_), .. } => NotTaken::TooLarge(told),
        PutError::Full { .. } => NotTaken::Full(told),
        PutError::Message { .. } | PutError::Columns { .. } | PutError::Unreadable { .. } => NotTaken::Unreadable(told),
        PutError::Changing | PutError::Unable(_) => NotTaken::Later(told),
        PutError::Stopped(_) => NotTaken::Stopped(told),
    }
}
