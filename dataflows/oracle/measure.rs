//! From readings to one quantity.

use std::collections::BTreeSet;

use num_bigint::BigInt;
use num_rational::BigRational;
use trueup_model::meter::Aggregation;
use trueup_model::money::RoundingMode;

use super::amount::{self, ONE};
use super::reading::{Reading, Value};

/// The quantity of a meter's readings, of which there is at least one, in units of 10^-12.
pub(super) fn quantity(readings: &[&Reading<'_>]) -> i128 {
    let meter = readings[0].meter;
    let numbers = || readings.iter().map(|reading| number(reading));
    match meter.aggregation {
        Aggregation::Count => whole(readings.len()),
        Aggregation::Sum => numbers().sum(),
        Aggregation::Min => numbers().min().expect("there is a reading"),
        Aggregation::Max => numbers().max().expect("there is a reading"),
        Aggregation::Average => {
            let sum = BigInt::from(numbers().sum::<i128>());
            let mean = BigRational::new(sum, BigInt::from(readings.len()));
            amount::rounded(&mean, 12 - meter.scale, RoundingMode::HalfEven)
        }
        Aggregation::Latest => {
            let latest = readings.iter().max_by_key(|reading| (reading.occurred_at, reading.value));
            number(latest.expect("there is a reading"))
        }
        Aggregation::UniqueCount => whole(readings.iter().map(|reading| reading.value).collect::<BTreeSet<_>>().len()),
    }
}

fn whole(count: usize) -> i128 {
    count as i128 * ONE
}

fn number(reading: &Reading<'_>) -> i128 {
    match reading.value {
        Value::Number(units) => units,
        Value::Once | Value::Text(_) => panic!("meter '{}' reads numbers", reading.meter.name),
    }
}
