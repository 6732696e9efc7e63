//! Says which statements may run: only those that read, of a bounded size.
//!
//! Checked before anything is computed. What a statement may cost while it runs is bounded in
//! `running.rs`.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SQLOptions;

use crate::error::Error;
use crate::limits::Limits;

/// Refuses texts that are too long to be planned safely.
pub fn text(text: &str, limits: &Limits) -> Result<(), Error> {
    match text.len() > limits.sql_bytes_max {
        true => Err(Error::Limit(format!(
            "the statement has {} bytes, at most {} are planned",
            text.len(),
            limits.sql_bytes_max
        ))),
        false => Ok(()),
    }
}

/// Refuses plans that would change something, or have too many nodes.
pub fn plan(plan: &LogicalPlan, limits: &Limits) -> Result<(), Error> {
    let mut nodes = 0;
    let mut verb = None;
    plan.apply_with_subqueries(|node| {
        nodes += 1;
        verb = verb.take().or_else(|| changing(node));
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(super::refused)?;
    if let Some(verb) = verb {
        return Err(Error::ReadOnly(verb));
    }
    if nodes > limits.plan_nodes_max {
        let most = limits.plan_nodes_max;
        return Err(Error::Limit(format!("the statement has {nodes} steps, at most {most} are run")));
    }
    // A second opinion, kept by those who know of verbs that come later.
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(plan).map_err(super::refused)
}

fn changing(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::Dml(dml) => Some(dml.op.to_string().to_uppercase()),
        LogicalPlan::Ddl(ddl) => Some(ddl.name().to_string()),
        LogicalPlan::Copy(_) => Some("COPY".into()),
        LogicalPlan::Statement(statement) => Some(statement.name().to_string()),
        _ => None,
    }
}
