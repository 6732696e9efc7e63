//! A view as a table of SQL: scans whichever moment the running statement is pinned to.
//!
//! Law: columns and rows are those of the view at that moment, in the order of its key. A
//! condition `customer = '..'` is handed to the reading, which may answer it by a short read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;

use crate::reading::{Reading, Scan};
use crate::view::View;

/// The moment that a statement reads, carried in its session.
pub struct Pinned(pub Arc<dyn Reading>);

/// The table of one view.
#[derive(Debug)]
pub struct ViewTable {
    view: View,
    schema: SchemaRef,
}

impl ViewTable {
    /// The table of `view`.
    pub fn new(view: View) -> ViewTable {
        ViewTable { view, schema: view.schema() }
    }
}

#[tonic::async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = Scan { customer: filters.iter().find_map(customer_wanted), rows_max: limit };
        let part = Arc::new(ViewScan { view: self.view, schema: self.schema.clone(), scan });
        let plan = StreamingTableExec::try_new(self.schema.clone(), vec![part], projection, [], false, limit)?;
        Ok(Arc::new(plan))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match customer_wanted(filter) {
            // Inexact keeps the filter above the scan too: the reading only narrows.
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// The customer, where `filter` is `customer = '..'` either way round.
fn customer_wanted(filter: &Expr) -> Option<String> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(ScalarValue::Utf8(Some(value)), _))
        | (Expr::Literal(ScalarValue::Utf8(Some(value)), _), Expr::Column(column))
            if column.name == "customer" =>
        {
            Some(value.clone())
        }
        _ => None,
    }
}

#[derive(Debug)]
struct ViewScan {
    view: View,
    schema: SchemaRef,
    scan: Scan,
}

impl PartitionStream for ViewScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pinned = context.session_config().get_extension::<Pinned>();
        let Pinned(reading) = pinned.as_deref().expect("every statement is pinned before it runs");
        let batches = reading.clone().scan(self.view, &self.scan);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(batches.map(Ok))))
    }
}
