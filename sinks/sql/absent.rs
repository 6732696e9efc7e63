//! Stands in for SQL in a build without it: every statement is refused with the reason.
//!
//! Views, changes and catalogs are still read by path and by catalog commands.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::limits::Limits;
use crate::reading::Reading;

/// The catalog that holds the views.
pub const CATALOG: &str = "trueup";
/// The schema that holds the views.
pub const SCHEMA: &str = "public";

/// Rows of a result, as they come.
pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// Refuses statements.
pub struct Sql;

/// A statement that was understood and is allowed; there are none.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The columns of its result, as sent.
    pub schema: SchemaRef,
    /// Its parameters, in order.
    pub parameters: SchemaRef,
}

impl Sql {
    /// No SQL.
    pub fn new(_limits: Limits) -> Sql {
        Sql
    }

    /// Refuses `text`.
    pub async fn plan(&self, _text: &str) -> Result<Arc<Statement>, Error> {
        Err(absent())
    }

    /// Refuses to run.
    pub async fn run(&self, _statement: &Statement, _reading: Arc<dyn Reading>) -> Result<Rows, Error> {
        Err(absent())
    }
}

impl Statement {
    /// Refuses to bind.
    pub fn bound(&self, _values: &RecordBatch) -> Result<Statement, Error> {
        Err(absent())
    }
}

fn absent() -> Error {
    Error::Unsupported("SQL was left out of this build, so a query".into())
}
