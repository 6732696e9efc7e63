//! `sum` that is exact or an error: whole numbers and decimals never wrap around.
//!
//! Law: the result is the mathematical sum, or the statement fails because it does not fit.
//! The library's own sum wraps silently, which would show a wrong amount of money. Other types,
//! and DISTINCT, are left to it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature};

/// The aggregate function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactSum(Sum);

impl ExactSum {
    /// The function, under the name of the one it replaces.
    pub fn new() -> ExactSum {
        ExactSum(Sum::new())
    }
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.0.state_fields(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match ours(&arguments) {
            true => Ok(Box::new(Total::of(arguments.return_type().clone()))),
            false => self.0.accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match ours(&arguments) {
            true => Ok(Box::new(Total::of(arguments.return_type().clone()))),
            false => self.0.create_sliding_accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.0.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match ours(&arguments) {
            true => Ok(Box::new(Totals { kind: arguments.return_type().clone(), sums: Vec::new() })),
            false => self.0.create_groups_accumulator(arguments),
        }
    }
}

fn ours(arguments: &AccumulatorArgs) -> bool {
    let exact = matches!(arguments.return_type(), DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..));
    exact && !arguments.is_distinct
}

/// One running sum, and how many values are in it: without any, the sum is empty.
#[derive(Debug)]
struct Total {
    kind: DataType,
    sum: i128,
    values: usize,
}

impl Total {
    fn of(kind: DataType) -> Total {
        Total { kind, sum: 0, values: 0 }
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in units(&values[0]).into_iter().flatten() {
            self.sum = self.sum.checked_add(value).ok_or_else(too_large)?;
            self.values += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in units(&values[0]).into_iter().flatten() {
            self.sum = self.sum.checked_sub(value).ok_or_else(too_large)?;
            self.values -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.values > 0).then_some(self.sum);
        ScalarValue::try_from_array(&array(&self.kind, &[sum])?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// A running sum for each group.
struct Totals {
    kind: DataType,
    sums: Vec<Option<i128>>,
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_total: usize,
    ) -> Result<()> {
        self.sums.resize(groups_total, None);
        for (place, value) in kept(&values[0], filter).into_iter().enumerate() {
            let Some(value) = value else { continue };
            let sum = &mut self.sums[groups[place]];
            *sum = Some(sum.unwrap_or(0).checked_add(value).ok_or_else(too_large)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], groups_total: usize) -> Result<()> {
        self.update_batch(states, groups, None, groups_total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        array(&self.kind, &emit.take_needed(&mut self.sums))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        Ok(vec![array(&self.kind, &kept(&values[0], filter))?])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i128>>()
    }
}

/// The values, without those that `filter` leaves out.
fn kept(values: &ArrayRef, filter: Option<&BooleanArray>) -> Vec<Option<i128>> {
    let kept = |place: usize| filter.is_none_or(|filter| filter.is_valid(place) && filter.value(place));
    units(values).into_iter().enumerate().map(|(place, value)| value.filter(|_| kept(place))).collect()
}

fn units(values: &ArrayRef) -> Vec<Option<i128>> {
    match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().iter().map(|value| value.map(i128::from)).collect(),
        DataType::UInt64 => values.as_primitive::<UInt64Type>().iter().map(|value| value.map(i128::from)).collect(),
        DataType::Decimal128(..) => values.as_primitive::<Decimal128Type>().iter().collect(),
        other => unreachable!("a sum of {other} is left to the library"),
    }
}

fn array(kind: &DataType, sums: &[Option<i128>]) -> Result<ArrayRef> {
    match kind {
        DataType::Int64 => {
            let sums = sums.iter().map(|sum| sum.map(i64::try_from).transpose());
            Ok(Arc::new(sums.collect::<std::result::Result<Int64Array, _>>().map_err(|_| too_large())?))
        }
        DataType::UInt64 => {
            let sums = sums.iter().map(|sum| sum.map(u64::try_from).transpose());
            Ok(Arc::new(sums.collect::<std::result::Result<UInt64Array, _>>().map_err(|_| too_large())?))
        }
        DataType::Decimal128(precision, scale) => {
            let sums = Decimal128Array::from(sums.to_vec()).with_precision_and_scale(*precision, *scale)?;
            sums.validate_decimal_precision(*precision).map_err(|_| too_large())?;
            Ok(Arc::new(sums))
        }
        other => unreachable!("a sum of {other} is left to the library"),
    }
}

fn too_large() -> datafusion::error::DataFusionError {
    exec_datafusion_err!("the sum is too large for its type: cast the column to a wider one, or sum fewer rows")
}
