//! How large a statement is to plan, told before it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use crate::error::Error;
use crate::limits::Limits;

/// Refuses statements that are small to write and large to plan, since what WITH names is put in wherever it is named.
pub fn admit(statement: &Statement, limits: &Limits) -> Result<(), Error> {
    let statement = match statement {
        Statement::Statement(statement) => statement,
        Statement::Explain(explain) => return admit(&explain.statement, limits),
        // Whatever else there is, is refused as it is planned.
        _ => return Ok(()),
    };
    let mut sizes = Sizes { named: HashMap::new(), parts: HashMap::new(), open: vec![0], most: limits.plan_nodes_max };
    match Visit::visit(&**statement, &mut sizes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let most = limits.plan_nodes_max;
            Err(Error::Limit(format!("the statement has more than {most} steps, the most that are run")))
        }
    }
}

/// How many queries a statement is made of, with those that WITH names wherever they are named.
struct Sizes {
    /// By name.
    named: HashMap<String, usize>,
    /// The name of each query that WITH names, by where it lies.
    parts: HashMap<*const Query, String>,
    /// Of the queries that are looked at.
    open: Vec<usize>,
    most: usize,
}

impl Visitor for Sizes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for part in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.parts.insert(&raw const *part.query, part.alias.name.value.to_lowercase());
        }
        self.open.push(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let size = self.named.get(&relation.to_string().replace('"', "").to_lowercase()).copied().unwrap_or(1);
        self.add(size)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let size = self.open.pop().unwrap_or_default();
        match self.parts.remove(&(&raw const *query)) {
            Some(name) => {
                self.named.insert(name, size);
                ControlFlow::Continue(())
            }
            None => self.add(size),
        }
    }
}

impl Sizes {
    fn add(&mut self, size: usize) -> ControlFlow<()> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(size);
        if *open > self.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
