//! Usage by subject, meter and dimensions, in windows.

use std::collections::BTreeMap;

use super::cell::{Cell, Row, integer, optional, text};
use super::days::{HOUR, Tiling};
use super::measure;
use super::reading::{Reading, Readings};

/// The rows of `usage`, `usage_hourly` or `usage_daily`.
pub(super) fn rows(view: &str, readings: &Readings<'_>) -> Vec<Row> {
    let utc = Tiling::days("UTC");
    let window = |reading: &Reading<'_>| match view {
        "usage" => (reading.grain, reading.grain + reading.grain_length),
        "usage_hourly" => {
            let hour = reading.occurred_at - reading.occurred_at.rem_euclid(HOUR);
            (hour, hour + HOUR)
        }
        _ => {
            let days = reading.customer.map_or(&utc, |customer| &readings.days[customer.id.as_str()]);
            days.around(reading.occurred_at)
        }
    };
    let mut groups: BTreeMap<_, Vec<&Reading<'_>>> = BTreeMap::new();
    for reading in &readings.all {
        let key = (reading.subject, &reading.meter.name, &reading.dimensions, window(reading));
        groups.entry(key).or_default().push(reading);
    }
    groups.values().map(|group| row(group, window(group[0]))).collect()
}

fn row(group: &[&Reading<'_>], (start, end): (i64, i64)) -> Row {
    let one = group[0];
    vec![
        text(one.subject),
        text(&one.meter.name),
        text(dimensions(one)),
        Cell::Time(start),
        Cell::Time(end),
        optional(one.customer.map(|customer| customer.id.as_str())),
        Cell::Decimal(measure::quantity(group)),
        integer(group.len() as i64),
    ]
}

/// The dimensions that a reading has, as a JSON object in the order of the meter.
fn dimensions(reading: &Reading<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let member = |name: &String| {
        let value = reading.dimensions.get(name.as_str())?;
        Some(format!("{}:{}", quoted(name), quoted(value)))
    };
    let members: Vec<String> = reading.meter.dimensions.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(","))
}
