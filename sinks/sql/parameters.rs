//! Parameters of a statement: `?` becomes `$1`, `$2` and so on, each gets a type, values are cast.
//!
//! Drivers send `?` and whatever type their language has; a value is cast to the type that the
//! statement wants, so that text binds to a decimal and milliseconds to a timestamp.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;

use crate::error::Error;
use crate::wire;

/// The text with each `?` outside of quotes and comments numbered.
pub fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut number = 0;
    for (part, quoted) in crate::quoting::parts(text) {
        if quoted {
            out.push_str(part);
            continue;
        }
        for (place, piece) in part.split('?').enumerate() {
            if place > 0 {
                number += 1;
                out.push_str(&format!("${number}"));
            }
            out.push_str(piece);
        }
    }
    out
}

/// The parameters of `plan`, in order, as drivers are told of them.
pub fn of(plan: &LogicalPlan) -> Result<SchemaRef, Error> {
    let types = plan.get_parameter_types().map_err(super::refused)?;
    let mut found = Vec::with_capacity(types.len());
    for (name, kind) in types {
        let number: usize = name.trim_start_matches('$').parse().map_err(|_| unnumbered(&name))?;
        found.push((number, name, kind.unwrap_or(DataType::Utf8)));
    }
    found.sort_by_key(|(number, ..)| *number);
    if found.iter().enumerate().any(|(place, (number, ..))| *number != place + 1) {
        return Err(Error::Sql("parameters are numbered from $1 without gaps".into()));
    }
    let fields = found.into_iter().map(|(_, name, kind)| Field::new(name, bindable(kind), true));
    Ok(wire::sent_schema(&Schema::new(fields.collect::<Vec<_>>())))
}

/// The values of the only row of `values`, in the types of `parameters`.
pub fn values(parameters: &SchemaRef, values: &RecordBatch) -> Result<ParamValues, Error> {
    let wanted = parameters.fields().len();
    if values.num_rows() != 1 || values.num_columns() != wanted {
        return Err(Error::NotUnderstood(format!(
            "the statement has {wanted} parameters, but {} rows of {} values were bound: bind one row",
            values.num_rows(),
            values.num_columns()
        )));
    }
    let columns = parameters.fields().iter().zip(values.columns());
    let scalars = columns.map(|(field, column)| {
        let column = cast(column, &kept(field.data_type(), column.data_type()))?;
        ScalarValue::try_from_array(&column, 0).map_err(super::refused)
    });
    Ok(ParamValues::from(scalars.collect::<Result<Vec<_>, Error>>()?))
}

// A parameter told of as text may have had no type at all, and then the value's own serves.
fn kept(told: &DataType, sent: &DataType) -> DataType {
    match told {
        DataType::Utf8 => {
            wire::sent_schema(&Schema::new(vec![Field::new("", sent.clone(), true)])).field(0).data_type().clone()
        }
        told => told.clone(),
    }
}

// The Java driver writes milliseconds into a timestamp parameter of any unit, unscaled.
fn bindable(kind: DataType) -> DataType {
    match kind {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.map(|_| Arc::from("UTC"))),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        other => other,
    }
}

fn unnumbered(name: &str) -> Error {
    Error::Sql(format!("parameter {name} has no number: write ? or $1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_are_numbered_unless_quoted() {
        let text = "SELECT '?', \"a?\" -- ?\n FROM t WHERE a = ? AND /* ? */ b IN (?, ?)";
        let want = "SELECT '?', \"a?\" -- ?\n FROM t WHERE a = $1 AND /* ? */ b IN ($2, $3)";
        assert_eq!(numbered(text), want);
    }
}
