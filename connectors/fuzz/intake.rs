//! Takes everything that is handed in, and counts it: what stands behind HTTP and Flight when they are fuzzed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, FutureExt};
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::quarantine::{Quarantine, Replayed, Selection, SetAside};
use trueup_model::fact::{Declaration, Epoch, InputId};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use crate::{layouts, records};

/// Takes everything.
#[derive(Default)]
pub struct Counting {
    choice: u8,
    records: AtomicUsize,
}

impl Counting {
    /// One that reads by these layouts.
    pub fn by(choice: u8) -> Arc<Counting> {
        Arc::new(Counting { choice, records: AtomicUsize::new(0) })
    }

    /// How many records were handed in since the last time.
    pub fn handed_in(&self) -> usize {
        self.records.swap(0, Ordering::Relaxed)
    }
}

impl Intake for Counting {
    fn layouts(&self) -> Arc<Layouts> {
        layouts(self.choice)
    }

    fn read_to(&self, _source: &str) -> Option<String> {
        None
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        _read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        self.records.fetch_add(parts.iter().map(records).sum(), Ordering::Relaxed);
        let events = parts.iter().map(|batch| batch.rows.len() as u64).sum();
        let refused = parts.iter().flat_map(|batch| &batch.refused).cloned().map(Arc::new).collect();
        async move { Ok(Taken { epoch: 7, events, refused }) }.boxed()
    }

    fn declare(&self, declarations: Vec<Declaration>) -> BoxFuture<'_, Result<Epoch, HandInError>> {
        self.records.fetch_add(declarations.len(), Ordering::Relaxed);
        async move { Ok(7) }.boxed()
    }

    fn quarantine(&self) -> Option<&dyn Quarantine> {
        Some(self)
    }
}

impl Quarantine for Counting {
    fn show(&self, _input: InputId) -> BoxFuture<'_, Result<Option<SetAside>, HandInError>> {
        async move { Ok(None) }.boxed()
    }

    /// A selection counts as one more than the inputs it names, since none named are all.
    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Replayed, HandInError>> {
        let accepted = selection.inputs.len() + 1;
        self.records.fetch_add(accepted, Ordering::Relaxed);
        async move { Ok(Replayed { accepted: accepted as u64, ..Replayed::default() }) }.boxed()
    }
}
