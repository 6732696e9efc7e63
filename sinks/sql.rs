//! Read-only SQL over the views, by DataFusion.
//!
//! Law: a statement reads one moment, so all views in it agree, and `as_of()` names its epoch.
//! It can change nothing, and takes no more time, memory or rows than [`Limits`] allow. Plans
//! do not depend on the moment and are kept by text, since drivers ask for one several times.

mod admit;
mod as_of;
mod functions;
mod nesting;
mod parameters;
mod plans;
mod running;
mod sizes;
mod sum;
mod table;

use std::sync::Arc;
use std::thread::Builder;

use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::temporal_conversions::as_datetime;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::error::{Error, view_names};
use crate::limits::Limits;
use crate::reading::Reading;
use crate::view::View;
use crate::wire;

/// The catalog that holds the views.
pub const CATALOG: &str = "trueup";
/// The schema that holds the views.
pub const SCHEMA: &str = "public";

/// Reserved, not used: only what a statement nests is touched.
const PLANNING_STACK_BYTES: usize = 64 << 20;

/// Rows of a result, as they come.
pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// Plans and runs statements.
pub struct Sql {
    state: SessionState,
    plans: plans::Plans,
    turns: Arc<Semaphore>,
    limits: Limits,
}

/// A statement that was understood and is allowed.
#[derive(Clone, Debug)]
pub struct Statement {
    plan: LogicalPlan,
    /// The columns of its result, as sent.
    pub schema: SchemaRef,
    /// Its parameters, in order.
    pub parameters: SchemaRef,
}

impl Sql {
    /// SQL over all views, within `limits`.
    pub fn new(limits: Limits) -> Sql {
        let turns = Arc::new(Semaphore::new(limits.statements_max));
        Sql { state: state(), plans: plans::Plans::default(), turns, limits }
    }

    /// Understands `text`; `?` and `$1` both stand for parameters.
    pub async fn plan(&self, text: &str) -> Result<Arc<Statement>, Error> {
        if let Some(known) = self.plans.get(text) {
            return Ok(known);
        }
        admit::text(text, &self.limits)?;
        let numbered = parameters::numbered(text);
        let (state, limits) = (self.state.clone(), self.limits.clone());
        let statement = with_deep_stack(move || understood(&state, &numbered, &limits)).await?;
        let statement = Arc::new(statement);
        self.plans.put(text, statement.clone());
        Ok(statement)
    }

    /// Runs `statement` over the views of `reading`.
    pub async fn run(&self, statement: &Statement, reading: Arc<dyn Reading>) -> Result<Rows, Error> {
        if !statement.parameters.fields().is_empty() {
            let wanted = statement.parameters.fields().len();
            return Err(Error::NotUnderstood(format!("the statement has {wanted} parameters: bind a value to each")));
        }
        let turn = self.turn().await?;
        let state = self.state_for(reading)?;
        let plan = state.create_physical_plan(&statement.plan).await.map_err(refused)?;
        let plan = running::interruptible(plan).map_err(refused)?;
        let stream = execute_stream(plan, state.task_ctx()).map_err(refused)?;
        Ok(running::guarded(stream, statement.schema.clone(), turn, &self.limits))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        let turn = timeout(self.limits.wait_max, self.turns.clone().acquire_owned()).await;
        let most = self.limits.statements_max;
        let busy = |_| Error::Limit(format!("{most} statements are running already: try again later"));
        Ok(turn.map_err(busy)?.expect("turns are never closed"))
    }

    fn state_for(&self, reading: Arc<dyn Reading>) -> Result<SessionState, Error> {
        let clock = as_datetime::<TimestampMicrosecondType>(reading.clock_micros()).map(|time| time.and_utc());
        let mut config = self.state.config().clone();
        config.options_mut().extensions.insert(as_of::AsOf(reading.epoch()));
        let config = config.with_extension(Arc::new(table::Pinned(reading)));
        let builder = SessionStateBuilder::new_from_existing(self.state.clone()).with_config(config);
        let mut state = builder.with_runtime_env(self.runtime()?).build();
        state.mark_start_execution();
        // `now()` is the billing clock of the moment, so that the same moment gives the same result.
        state.execution_props_mut().query_execution_start_time = clock;
        Ok(state)
    }

    // Each statement has a pool of its own, so that none can starve another, and never spills.
    fn runtime(&self) -> Result<Arc<RuntimeEnv>, Error> {
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(self.limits.memory_bytes_max)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(refused)
    }
}

impl Statement {
    fn new(plan: LogicalPlan) -> Result<Statement, Error> {
        let parameters = parameters::of(&plan)?;
        let schema = wire::sent_schema(plan.schema().as_arrow());
        Ok(Statement { plan, schema, parameters })
    }

    /// The statement with the values of the only row of `values` for its parameters.
    pub fn bound(&self, values: &RecordBatch) -> Result<Statement, Error> {
        let values = parameters::values(&self.parameters, values)?;
        let plan = self.plan.clone().with_param_values(values).map_err(refused)?;
        Statement::new(plan)
    }
}

fn understood(state: &SessionState, text: &str, limits: &Limits) -> Result<Statement, Error> {
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(text, &dialect).map_err(refused)?;
    sizes::admit(&statement, limits)?;
    // Nothing in it waits: the views are all known beforehand.
    let plan = Handle::current().block_on(state.statement_to_plan(statement)).map_err(refused)?;
    admit::plan(&plan, limits)?;
    Statement::new(plan)
}

/// Runs `work` on a thread of its own with a stack for what may nest deeply before it is refused.
async fn with_deep_stack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, answer) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        let _runtime = runtime.enter();
        // Nobody waits for the answer of a request that was given up.
        let _ = sender.send(work());
    };
    let thread = Builder::new().name("plan".into()).stack_size(PLANNING_STACK_BYTES).spawn(work);
    thread.map_err(|error| Error::Limit(format!("no thread can be had to plan the statement: {error}")))?;
    answer
        .await
        .map_err(|_| Error::Sql("the statement met a fault of the query planner: write it in another way".into()))?
}

fn state() -> SessionState {
    let mut state = SessionStateBuilder::new().with_config(config()).with_default_features().build();
    functions::restrict(&mut state);
    let schema = MemorySchemaProvider::new();
    for view in View::ALL {
        let table = Arc::new(table::ViewTable::new(view));
        schema.register_table(view.name().to_owned(), table).expect("no two views share a name");
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema)).expect("a new catalog takes a schema");
    state.catalog_list().register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    state
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        // One statement, one thread: a reader cannot take the cores from the engine, and the
        // order of a view's key survives.
        .with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    // `quantity > 0.1` would otherwise compare floats.
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".into());
    // A recursion has no bound that could be checked before it runs.
    options.execution.enable_recursive_ctes = false;
    config
}

fn refused(error: DataFusionError) -> Error {
    let root = error.find_root();
    let text = root.strip_backtrace();
    match root {
        DataFusionError::ResourcesExhausted(_) => Error::Limit(format!("the statement needs too much memory: {text}")),
        // The planner names only what it was asked for.
        DataFusionError::Plan(why) if why.starts_with("table '") && why.ends_with("not found") => {
            Error::Sql(format!("{text}; there are {}", view_names()))
        }
        _ => Error::Sql(text),
    }
}
