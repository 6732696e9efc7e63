//! What was measured, its median over runs, and how it is written.

use serde_json::{Value, json};
use trueup_workload::machine::Machine;

use crate::plan::Subject;

/// One number that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

impl Measured {
    /// A number of this name.
    pub fn new(name: String, value: f64, unit: &str) -> Measured {
        Measured { name, value, unit: unit.to_owned() }
    }

    /// It as a line, from one process to another.
    pub fn to_line(&self) -> String {
        json!([self.name, self.value, self.unit]).to_string()
    }

    /// What such a line says.
    pub fn from_line(line: &str) -> Result<Measured, String> {
        let parts: (String, f64, String) = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        Ok(Measured { name: parts.0, value: parts.1, unit: parts.2 })
    }
}

/// For each number its median over the runs, which all measured the same numbers.
pub fn medians(runs: Vec<Vec<Measured>>) -> Vec<Measured> {
    let mut medians = runs.first().cloned().unwrap_or_default();
    for (place, median) in medians.iter_mut().enumerate() {
        let mut values: Vec<f64> = runs.iter().map(|run| run[place].value).collect();
        median.value = percentile(&mut values, 50);
    }
    medians
}

/// The value that so many of a hundred do not exceed.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// The line of a figure.
pub fn line(figure: &Measured, subject: &Subject, runs: usize, machine: &Machine) -> String {
    // Built by hand, so that the keys keep this order.
    let value = Value::from(rounded(figure.value));
    let (name, unit) = (Value::from(figure.name.as_str()), Value::from(figure.unit.as_str()));
    let (commit, machine) = (Value::from(machine.commit.as_str()), Value::from(machine.name.as_str()));
    let Subject { events, workers, epoch_events, .. } = subject;
    format!(
        "{{\"figure\":{name},\"value\":{value},\"unit\":{unit},\"events\":{events},\"workers\":{workers},\
         \"epoch_events\":{epoch_events},\"runs\":{runs},\"commit\":{commit},\"machine\":{machine}}}"
    )
}

/// A number for people.
pub fn show(value: f64) -> String {
    match value {
        _ if value >= 1000.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// Four places are more than any measurement is worth.
#[expect(clippy::float_arithmetic, reason = "measurements are no money")]
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
