//! What producers say to have sent: how many inputs, by which way, for which hour.
//!
//! The count is of inputs as they were sent, one that was sent again among them: it is held against
//! what was received in that hour of the billing clock. The last that is said of an hour holds.
//!
//! ```json
//! {"source": "kafka/gateway", "partition": "calls/3", "hour": "2026-06-01T08:00:00Z", "events": 1200}
//! ```

use serde::Deserialize;
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::fact::Declaration;

use crate::fault::Fault;
use crate::limits::{SOURCE_BYTES_MAX, check_name, shown};
use crate::time_text::instant;

/// The most declarations that are taken at once.
pub const DECLARATIONS_MAX: usize = 10_000;
/// The most inputs that an hour may be said to have.
const EVENTS_MAX: u64 = 1_000_000_000_000_000;

/// A declaration as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: String,
    #[serde(default)]
    partition: String,
    hour: String,
    events: u64,
}

/// Reads one declaration, or a list of them; all or none. An error is a sentence for the sender.
///
/// ```
/// use trueup_connectors::declarations::read_declarations;
/// let said = br#"{"source": "calls", "hour": "2026-06-01T08:00:00Z", "events": 12}"#;
/// assert_eq!(read_declarations(said).unwrap()[0].events, 12);
/// let said = br#"{"source": "calls", "hour": "2026-06-01T08:30:00Z", "events": 12}"#;
/// let why = read_declarations(said).unwrap_err();
/// assert!(why.starts_with("declaration 1: `hour` is `2026-06-01T08:30:00Z`, within an hour"));
/// ```
pub fn read_declarations(json: &[u8]) -> Result<Vec<Declaration>, String> {
    let written: Vec<Written> = match json.trim_ascii_start().starts_with(b"[") {
        true => serde_json::from_slice(json).map_err(|error| unreadable(&error))?,
        false => vec![serde_json::from_slice(json).map_err(|error| unreadable(&error))?],
    };
    match written.len() {
        0 => return Err("there is no declaration in the list: give one at least".to_owned()),
        1..=DECLARATIONS_MAX => {}
        count => return Err(format!("{count} declarations are too many: send at most {DECLARATIONS_MAX} at once")),
    }
    let declarations = (1..).zip(written).map(|(number, written)| {
        written.declaration().map_err(|fault| format!("declaration {number}: {}", fault.detail))
    });
    declarations.collect()
}

fn unreadable(error: &serde_json::Error) -> String {
    format!(
        "the declarations cannot be read ({error}): send \
         {{\"source\": \"kafka/gateway\", \"partition\": \"calls/3\", \"hour\": \"2026-06-01T08:00:00Z\", \"events\": 1200}}, \
         or a list of such"
    )
}

impl Written {
    fn declaration(self) -> Result<Declaration, Fault> {
        let Written { source, partition, hour, events } = self;
        check_name("source", &source, SOURCE_BYTES_MAX)?;
        if !partition.is_empty() {
            check_name("partition", &partition, SOURCE_BYTES_MAX)?;
        }
        if events > EVENTS_MAX {
            return Err(Fault::out_of_range(format!("`events` is beyond {EVENTS_MAX}: check the count")));
        }
        let at = instant("hour", &hour)?;
        let arrival = Arrival::at(Origin { source, partition }.into(), at);
        match arrival.hour == at {
            true => Ok(Declaration { arrival, events }),
            false => Err(Fault::out_of_range(format!(
                "`hour` is {}, within an hour: give the instant at which it begins in UTC",
                shown(&hour)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_read_keeps_the_others_out() {
        let good = r#"{"source": "calls", "partition": "3", "hour": "2026-06-01T10:00:00+02:00", "events": 0}"#;
        let read = read_declarations(format!("[{good}, {good}]").as_bytes()).unwrap();
        assert_eq!(read, [read[0].clone(), read[0].clone()]);
        assert_eq!((&*read[0].arrival.origin.partition, read[0].arrival.hour), ("3", 1_780_300_800_000_000));
        let bad = [
            ("", "EOF"),
            ("[]", "no declaration"),
            (r#"{"source": "calls", "hour": "2026-06-01T08:00:00Z", "events": -1}"#, "-1"),
            (r#"{"source": "calls", "hour": "2026-06-01T08:00:00Z", "events": 1.0}"#, "floating"),
            (r#"{"source": "calls", "hour": "2026-06-01T08:00:00Z", "events": 1000000000000001}"#, "beyond"),
            (r#"{"source": "", "hour": "2026-06-01T08:00:00Z", "events": 1}"#, "`source` is empty"),
            (r#"{"source": "a\n", "hour": "2026-06-01T08:00:00Z", "events": 1}"#, "control characters"),
            (
                r#"{"source": "calls", "partition": 3, "hour": "2026-06-01T08:00:00Z", "events": 1}"#,
                "expected a string",
            ),
            (r#"{"source": "calls", "hour": "yesterday", "events": 1}"#, "no instant"),
            (r#"{"source": "calls", "hour": "2026-06-01T08:00:00Z", "events": 1, "count": 1}"#, "unknown field"),
        ];
        for (bad, why) in bad {
            for json in [bad.to_owned(), format!("[{good}, {bad}]")] {
                if !bad.starts_with('{') && json.starts_with("[{") {
                    continue;
                }
                let error = read_declarations(json.as_bytes()).unwrap_err();
                assert!(error.contains(why), "{json}: {error}");
            }
        }
        let many = format!("[{}]", vec![good; DECLARATIONS_MAX + 1].join(","));
        assert!(read_declarations(many.as_bytes()).unwrap_err().contains("too many"));
    }
}
