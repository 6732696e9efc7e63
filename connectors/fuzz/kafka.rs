//! Messages of Kafka: a value, and headers that say its form or hold the attributes.
//!
//! An input is a byte for the layouts, then headers, `name: value`, one to a line, a blank line, and the
//! value; without a blank line there is no value. Law: a message is never lost without a word: it gives as
//! many rows and refusals as its value has events, and one refusal if that is none. Whole events are
//! read as they are from a file; attributes that are headers say what the same attributes say in JSON.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use trueup_connectors::EventReader;
use trueup_connectors::kafka::rdkafka::Timestamp;
use trueup_connectors::kafka::rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use trueup_connectors::kafka::{Format, MessageReader, read_messages};
use trueup_fuzz::said::said;
use trueup_fuzz::{choice, layouts, records};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

const ATTRIBUTES: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "revision", "retract"];

struct Sent<'a> {
    headers: Vec<(&'a str, Option<&'a [u8]>)>,
    value: Option<&'a [u8]>,
}

impl<'a> Sent<'a> {
    fn of(bytes: &'a [u8]) -> Sent<'a> {
        let end = bytes.windows(2).position(|window| window == b"\n\n");
        let (head, value) = end.map_or((bytes, None), |end| (&bytes[..end], Some(&bytes[end + 2..])));
        let header = |line: &'a [u8]| {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) =
                colon.map_or((line, None), |colon| (&line[..colon], Some(line[colon + 1..].trim_ascii())));
            // The client below cannot name a header with these.
            std::str::from_utf8(name).ok().filter(|name| !name.contains('\0')).map(|name| (name, value))
        };
        Sent { headers: head.split(|byte| *byte == b'\n').filter_map(header).collect(), value }
    }

    fn message(&self) -> OwnedMessage {
        let add =
            |headers: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| headers.insert(Header { key, value: *value });
        let headers = (!self.headers.is_empty()).then(|| self.headers.iter().fold(OwnedHeaders::new(), add));
        let (topic, value) = ("calls".to_owned(), self.value.map(<[u8]>::to_vec));
        OwnedMessage::new(value, None, topic, Timestamp::NotAvailable, 3, 512, headers)
    }

    fn is_binary(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "ce_id")
    }

    /// The event in JSON that attributes as headers stand for; none where there is none, or a header is twice.
    fn event(&self) -> Option<String> {
        let mut attributes = Map::new();
        for (name, value) in &self.headers {
            let Some(name) = name.strip_prefix("ce_").filter(|name| ATTRIBUTES.contains(name)) else { continue };
            let text = std::str::from_utf8((*value)?).ok()?;
            if attributes.insert(name.to_owned(), Value::from(text)).is_some() {
                return None;
            }
        }
        let mut event: Vec<String> =
            attributes.iter().map(|(name, text)| format!("{}:{text}", Value::from(name.as_str()))).collect();
        let value = self.value.unwrap_or_default();
        if !value.trim_ascii().is_empty() {
            let data: &RawValue = serde_json::from_slice(value).ok()?;
            event.push(format!("\"data\":{}", data.get().replace(['\n', '\r'], " ")));
        }
        Some(format!("{{{}}}", event.join(",")))
    }
}

fn read(layouts: &Arc<Layouts>, sent: &Sent<'_>) -> EventBatch {
    let mut reader = MessageReader::new(layouts.clone(), "default", "kafka", Format::Json);
    let (batches, read) = read_messages(&mut reader, &[sent.message()]);
    assert_eq!((batches.len(), read), (1, 1));
    batches.into_iter().next().unwrap_or_default()
}

/// How many events a value holds if it is read as a whole.
fn events(value: &[u8]) -> usize {
    let text = std::str::from_utf8(value).unwrap_or_default();
    serde_json::from_str::<Vec<IgnoredAny>>(text).map_or(1, |events| events.len().max(1))
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let (layouts, sent) = (layouts(choice), Sent::of(bytes));
    let mut reader = EventReader::new(layouts.clone(), "default", "kafka").of_partition("calls/3");
    let batch = read(&layouts, &sent);
    assert!(records(&batch) > 0, "a message is not passed over");
    let is_said = sent.headers.iter().any(|(name, _)| *name == "content-type");
    if sent.is_binary() && !is_said {
        assert_eq!(records(&batch), 1);
        if let Some(event) = sent.event() {
            let mut line = reader.batch();
            reader.read_line(event.as_bytes(), "a line", &mut line);
            assert_eq!(said(&batch, &layouts), said(&line.finish(), &layouts));
        }
    } else if let (Some(value), false) = (sent.value, is_said) {
        assert_eq!(records(&batch), events(value));
        let mut body = reader.batch();
        reader.read_body(value, "a body", &mut body);
        assert_eq!(said(&batch, &layouts), said(&body.finish(), &layouts));
    }
});
