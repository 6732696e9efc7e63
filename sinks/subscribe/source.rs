//! What is followed, seen as two questions: its rows at a moment, and its changes since one.
//!
//! A view answers changes from the engine's history while that reaches back far enough. A query,
//! and a view whose reader fell behind, answer by the difference of two whole contents.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::TryStreamExt;

use super::columns::signed;
use super::request::Target;
use crate::error::Error;
use crate::multiset::Multiset;
use crate::reading::{Batches, Change, Epoch, Reading, Scan};
use crate::sql::{Sql, Statement};
use crate::view::View;

/// Changes of a whole number of epochs are sent together up to about this many rows.
const ROWS_TOGETHER: usize = 8192;

/// What is followed, and how to ask for it.
pub enum Source {
    View(View),
    Query { sql: Arc<Sql>, statement: Arc<Statement> },
}

/// What the reader has, kept to tell the next difference from.
pub enum Known {
    Moment(Arc<dyn Reading>),
    Result(Vec<RecordBatch>),
}

/// Rows that came or went at the end of a step.
pub struct Delta {
    /// The last epoch that this brings the reader to.
    pub through: Epoch,
    pub times: Int64Array,
    pub diffs: Int64Array,
    pub rows: RecordBatch,
}

impl Source {
    /// Plans what `target` needs.
    pub async fn new(target: &Target, sql: &Arc<Sql>) -> Result<Source, Error> {
        match target {
            Target::View(view) => Ok(Source::View(*view)),
            Target::Query(text) => Ok(Source::Query { sql: sql.clone(), statement: sql.plan(text).await? }),
        }
    }

    /// The columns that are followed.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Source::View(view) => view.schema(),
            Source::Query { statement, .. } => statement.schema.clone(),
        }
    }

    /// All that a reader has who was sent the contents as of `reading`.
    pub async fn known(&self, reading: Arc<dyn Reading>) -> Result<Known, Error> {
        match self {
            Source::View(_) => Ok(Known::Moment(reading)),
            Source::Query { sql, statement } => {
                Ok(Known::Result(sql.run(statement, reading).await?.try_collect().await?))
            }
        }
    }

    /// Finds the rows that a reader has, on a thread that may wait.
    pub fn contents(&self, known: &Known) -> impl FnOnce() -> Batches + Send + use<> {
        let found: Box<dyn FnOnce() -> Batches + Send> = match (self, known) {
            (Source::View(view), Known::Moment(reading)) => {
                let (view, reading) = (*view, reading.clone());
                Box::new(move || reading.scan(view, &Scan::default()))
            }
            (_, Known::Result(batches)) => {
                let batches = batches.clone();
                Box::new(move || Box::new(batches.into_iter()))
            }
            (Source::Query { .. }, Known::Moment(_)) => unreachable!("a query is known by its result"),
        };
        found
    }

    /// What leads from `known`, which is as of `after`, to `target`.
    pub async fn changes(
        &self,
        known: &Known,
        after: Epoch,
        target: &Arc<dyn Reading>,
    ) -> Result<(Vec<Delta>, Known), Error> {
        if let Source::View(view) = *self {
            let target = target.clone();
            let work = tokio::task::spawn_blocking({
                let target = target.clone();
                move || target.changes(view, after)
            });
            if let Ok(changes) = work.await.map_err(|_| Error::Stopped)? {
                return Ok((together(view, changes)?, Known::Moment(target)));
            }
        }
        let next = self.known(target.clone()).await?;
        let (schema, old, new) = (self.schema(), self.contents(known), self.contents(&next));
        let through = target.epoch();
        let work = tokio::task::spawn_blocking(move || difference(schema, old(), new(), through));
        let delta = work.await.map_err(|_| Error::Stopped)??;
        Ok((Vec::from_iter(delta), next))
    }
}

fn difference(
    schema: SchemaRef,
    old: impl Iterator<Item = RecordBatch>,
    new: impl Iterator<Item = RecordBatch>,
    through: Epoch,
) -> Result<Option<Delta>, ArrowError> {
    let mut rows = Multiset::new(schema)?;
    for batch in old {
        rows.add(batch, |_| -1)?;
    }
    for batch in new {
        rows.add(batch, |_| 1)?;
    }
    let (rows, diffs) = rows.finish()?;
    let times = Int64Array::from(vec![signed(through); rows.num_rows()]);
    Ok((rows.num_rows() > 0).then_some(Delta { through, times, diffs, rows }))
}

/// Small changes of several epochs in one delta, each row with its own time.
fn together(view: View, changes: Vec<Change>) -> Result<Vec<Delta>, ArrowError> {
    let mut deltas = Vec::new();
    let mut waiting: Vec<Change> = Vec::new();
    let mut rows = 0;
    for change in changes.into_iter().filter(|change| change.rows.num_rows() > 0) {
        rows += change.rows.num_rows();
        waiting.push(change);
        if rows >= ROWS_TOGETHER {
            deltas.extend(joined(view, &waiting)?);
            waiting.clear();
            rows = 0;
        }
    }
    deltas.extend(joined(view, &waiting)?);
    Ok(deltas)
}

fn joined(view: View, changes: &[Change]) -> Result<Option<Delta>, ArrowError> {
    let Some(last) = changes.last() else { return Ok(None) };
    let times = changes.iter().flat_map(|change| std::iter::repeat_n(signed(change.epoch), change.rows.num_rows()));
    let diffs = changes.iter().flat_map(|change| change.diffs.values().iter().copied());
    let rows = concat_batches(&view.schema(), changes.iter().map(|change| &change.rows))?;
    Ok(Some(Delta { through: last.epoch, times: times.collect(), diffs: diffs.collect(), rows }))
}
