//! Says which statements may run: only those that read, of a bounded size.
//!
//! Checked before anything is computed. What a statement may cost while it runs is bounded in
//! `running.rs`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SQLOptions;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::nesting;
use crate::error::Error;
use crate::limits::Limits;

/// How deep a type may be: whoever gets it walks through it with little stack.
const TYPES_DEEP_MAX: usize = 32;

/// Refuses texts that are too long to be planned safely: planning takes stack for each level,
/// and a stack that overflows would end the process.
pub fn text(text: &str, limits: &Limits) -> Result<(), Error> {
    if text.len() > limits.sql_bytes_max {
        let (bytes, most) = (text.len(), limits.sql_bytes_max);
        return Err(Error::Limit(format!("the statement has {bytes} bytes, at most {most} are planned")));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().map_err(|error| Error::Sql(error.to_string()))?;
    nesting::admit(&tokens)?;
    let words = tokens.iter().filter(|token| nests(token)).count();
    match words > limits.sql_words_max {
        true => {
            let most = limits.sql_words_max;
            Err(Error::Limit(format!("the statement has {words} words and signs, at most {most} are planned")))
        }
        false => Ok(()),
    }
}

fn nests(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_)
    )
}

/// Refuses plans that would change something, or have too many nodes.
pub fn plan(plan: &LogicalPlan, limits: &Limits) -> Result<(), Error> {
    let mut nodes = 0;
    let mut refusal = None;
    let (mut deep, mut deep_types) = (false, false);
    plan.apply_with_subqueries(|node| {
        nodes += 1;
        refusal = refusal.take().or_else(|| refusal_of(node));
        let mut types = node.schema().fields().iter().map(|field| field.data_type());
        deep_types |= types.any(|kind| deeper_type(kind, TYPES_DEEP_MAX));
        node.apply_expressions(|expression| {
            deep |= deeper(expression, limits.depth_max);
            expression.apply(|part| {
                deep_types |= match part {
                    Expr::Cast(cast) => deeper_type(cast.field.data_type(), TYPES_DEEP_MAX),
                    Expr::TryCast(cast) => deeper_type(cast.field.data_type(), TYPES_DEEP_MAX),
                    Expr::Literal(value, _) => deeper_type(&value.data_type(), TYPES_DEEP_MAX),
                    _ => false,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(super::refused)?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    if nodes > limits.plan_nodes_max {
        let most = limits.plan_nodes_max;
        return Err(Error::Limit(format!("the statement has {nodes} steps, at most {most} are run")));
    }
    if deep || deeper_plan(plan, limits.depth_max) {
        let most = limits.depth_max;
        return Err(Error::Limit(format!(
            "the statement nests deeper than {most}: write IN instead of many OR, fewer joins and unions"
        )));
    }
    if deep_types {
        return Err(Error::Limit(format!("the statement has a type that nests deeper than {TYPES_DEEP_MAX}")));
    }
    // A second opinion, kept by those who know of verbs that come later.
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(plan).map_err(super::refused)
}

/// Whether a type nests deeper than `most`.
fn deeper_type(kind: &DataType, most: usize) -> bool {
    let Some(rest) = most.checked_sub(1) else { return true };
    let inside = |field: &Arc<Field>| deeper_type(field.data_type(), rest);
    match kind {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => inside(field),
        DataType::Struct(fields) => fields.iter().any(inside),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| inside(field)),
        DataType::Dictionary(key, value) => deeper_type(key, rest) || deeper_type(value, rest),
        DataType::RunEndEncoded(ends, values) => inside(ends) || inside(values),
        _ => false,
    }
}

fn deeper_plan(plan: &LogicalPlan, most: usize) -> bool {
    most == 0 || plan.inputs().into_iter().any(|input| deeper_plan(input, most - 1))
}

/// Whether `expression` nests deeper than `most`; evaluation takes stack for each level too.
fn deeper(expression: &Expr, most: usize) -> bool {
    let Some(rest) = most.checked_sub(1) else { return true };
    let mut found = false;
    let looked = expression.apply_children(|child| {
        found |= deeper(child, rest);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || looked.is_err()
}

fn refusal_of(node: &LogicalPlan) -> Option<Error> {
    match node {
        LogicalPlan::Dml(dml) => Some(Error::ReadOnly(dml.op.to_string().to_uppercase())),
        LogicalPlan::Ddl(ddl) => Some(Error::ReadOnly(ddl.name().to_string())),
        LogicalPlan::Copy(_) => Some(Error::ReadOnly("COPY".into())),
        LogicalPlan::Statement(statement) => Some(Error::Unsupported(format!("the statement {}", statement.name()))),
        _ => None,
    }
}
