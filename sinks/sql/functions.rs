//! Which functions SQL offers: the library's, without those that can grow rows or texts at will.
//!
//! The memory pool sees sorts, joins and groups, but not what a function allocates, so one
//! call of `repeat` could take all there is. `sum` is replaced by one that never wraps around.

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::as_of::AsOfFunction;
use super::sum::ExactSum;

const SCALARS_WITHHELD: [&str; 6] = ["repeat", "lpad", "rpad", "replace", "regexp_replace", "overlay"];
const AGGREGATES_WITHHELD: [&str; 2] = ["string_agg", "array_agg"];
const TABLES_WITHHELD: [&str; 2] = ["generate_series", "range"];

/// Takes away what is dangerous and adds what is ours.
pub fn restrict(state: &mut SessionState) {
    for name in SCALARS_WITHHELD {
        state.deregister_udf(name).expect("functions can be taken away");
    }
    for name in AGGREGATES_WITHHELD {
        state.deregister_udaf(name).expect("functions can be taken away");
    }
    for name in TABLES_WITHHELD {
        state.deregister_udtf(name).expect("functions can be taken away");
    }
    let as_of = ScalarUDF::new_from_impl(AsOfFunction::new());
    state.register_udf(Arc::new(as_of)).expect("functions can be added");
    let sum = AggregateUDF::new_from_impl(ExactSum::new());
    state.register_udaf(Arc::new(sum)).expect("functions can be replaced");
}
