//! In which form bytes hold CloudEvents, and what the binary mode makes of attributes that travel
//! beside the data: shared by all ways in that have headers.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::EventReader;
use crate::limits::REFUSED_MAX;
use trueup_model::usage::EventBatchBuilder;

/// The attributes that the binary mode carries as headers, behind a prefix.
pub(crate) const ATTRIBUTES: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "revision", "retract"];

/// What a content type says about the events of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One CloudEvent, or a list of them.
    Whole,
    /// A CloudEvent, or a list of them, to a line.
    Lines,
    /// JSON, which may be either, or `data` alone if the attributes came as headers.
    Json,
    /// A stream of Arrow, whose rows are events.
    Columns,
    /// It says nothing.
    Unsaid,
    /// Something else.
    Other,
}

impl Kind {
    /// The kind that a content type names, whatever its parameters.
    pub fn of(content_type: &str) -> Kind {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/cloudevents+json" | "application/cloudevents-batch+json" => Kind::Whole,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Kind::Lines,
            "application/json" => Kind::Json,
            "application/vnd.apache.arrow.stream" | "application/vnd.apache.arrow.file" => Kind::Columns,
            "" => Kind::Unsaid,
            _ => Kind::Other,
        }
    }
}

/// An event as JSON from attributes that came as headers, and `data`, which must be one JSON value:
/// anything else could bring attributes of its own.
pub(crate) fn joined(attributes: &Map<String, Value>, data: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut event = Value::from(attributes.clone()).to_string().into_bytes();
    if data.trim_ascii().is_empty() {
        return Ok(event);
    }
    let data: &RawValue = serde_json::from_slice(data)?;
    event.pop();
    if !attributes.is_empty() {
        event.push(b',');
    }
    event.extend_from_slice(b"\"data\":");
    // An event is a line; line ends between the tokens of a value are only space.
    event.extend(data.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    event.push(b'}');
    Ok(event)
}

/// Reads an event to a line, until more than [`REFUSED_MAX`] of the batch are refused; `before` is
/// written in front of a line's number.
pub(crate) fn read_lines(reader: &mut EventReader, body: &[u8], before: &str, builder: &mut EventBatchBuilder) {
    let lines = (1..).zip(body.split(|byte| *byte == b'\n'));
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        reader.read_line(line, format_args!("{before}line {number}"), builder);
        if builder.refused().len() > REFUSED_MAX {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_the_kind() {
        assert_eq!(Kind::of("application/cloudevents+json; charset=utf-8"), Kind::Whole);
        assert_eq!(Kind::of("Application/JSON"), Kind::Json);
        assert_eq!(Kind::of("application/x-ndjson"), Kind::Lines);
        assert_eq!(Kind::of("application/vnd.apache.arrow.stream"), Kind::Columns);
        assert_eq!(Kind::of("text/csv"), Kind::Other);
        assert_eq!(Kind::of(" "), Kind::Unsaid);
    }

    #[test]
    fn attributes_and_data_become_an_event() {
        let attributes = Map::from_iter([("id".to_owned(), "1".into()), ("source".to_owned(), "/café".into())]);
        let event = |data: &[u8]| String::from_utf8(joined(&attributes, data).unwrap()).unwrap();
        assert_eq!(event(b" {\"tokens\":\n12}\n"), r#"{"id":"1","source":"/café","data":{"tokens": 12}}"#);
        assert_eq!(event(b" "), r#"{"id":"1","source":"/café"}"#);
    }

    #[test]
    fn data_brings_no_attributes() {
        let attributes = Map::from_iter([("id".to_owned(), Value::from("1"))]);
        for data in [r#"{"tokens":7},"retract":"true""#, "{} {}", "{", "{\"a\":\"x\ny\"}", "\u{feff}{}"] {
            assert!(joined(&attributes, data.as_bytes()).is_err(), "{data}");
        }
    }
}
