//! Bounds a statement while it runs: its rows, and the time it computes.
//!
//! Law: a result that would be longer or take longer than allowed ends with an error that says
//! so, never as if it were whole. Only time spent computing counts, so a slow reader is no fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use futures::stream::{self, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Rows;
use crate::error::Error;
use crate::limits::Limits;
use crate::wire;

struct Running {
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    rows_left: usize,
    busy_left: Duration,
    limits: Limits,
    /// Held until the statement ends, so that only so many run at once.
    _turn: OwnedSemaphorePermit,
}

/// The same plan, with a place at every step where it can be stopped: a join of small tables may
/// compute for hours without ever waiting for anything.
pub fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let wrapped = |step: Arc<dyn ExecutionPlan>| {
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(step)) as Arc<dyn ExecutionPlan>))
    };
    plan.transform_up(wrapped).map(|plan| plan.data)
}

/// The rows of `stream`, as sent under `schema`, within `limits`.
pub fn guarded(
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    turn: OwnedSemaphorePermit,
    limits: &Limits,
) -> Rows {
    let running = Running {
        stream,
        schema,
        rows_left: limits.rows_max,
        busy_left: limits.busy_max,
        limits: limits.clone(),
        _turn: turn,
    };
    stream::unfold(Some(running), step).boxed()
}

async fn step(running: Option<Running>) -> Option<(Result<RecordBatch, Error>, Option<Running>)> {
    let mut running = running?;
    match running.next().await {
        Ok(Some(batch)) => Some((Ok(batch), Some(running))),
        Ok(None) => None,
        Err(error) => Some((Err(error), None)),
    }
}

impl Running {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let begun = Instant::now();
        let next = timeout(self.busy_left, self.stream.next()).await;
        self.busy_left = self.busy_left.saturating_sub(begun.elapsed());
        match next {
            Err(_) => Err(self.too_long()),
            Ok(None) => Ok(None),
            Ok(Some(batch)) => self.counted(batch).map(Some),
        }
    }

    fn counted(&mut self, batch: Result<RecordBatch, DataFusionError>) -> Result<RecordBatch, Error> {
        let batch = batch.map_err(super::refused)?;
        self.rows_left = self.rows_left.checked_sub(batch.num_rows()).ok_or_else(|| self.too_many())?;
        Ok(wire::sent_rows(&self.schema, &batch)?)
    }

    fn too_long(&self) -> Error {
        let most = self.limits.busy_max.as_secs();
        Error::Limit(format!("the statement computed for more than {most} s: narrow it, or read the view by path"))
    }

    fn too_many(&self) -> Error {
        let most = self.limits.rows_max;
        Error::Limit(format!("the result has more than {most} rows: narrow it, or read the whole view by path"))
    }
}
