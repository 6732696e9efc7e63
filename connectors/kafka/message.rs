//! From messages to events: a CloudEvent in structured mode, a list or lines of them, or one in the
//! binary mode, whose attributes are headers with `ce_` in front.
//!
//! Law: every event of a message becomes exactly one row or exactly one refusal; a message in which
//! there is none, or too many that cannot be read, is one refusal.

use std::collections::HashMap;
use std::fmt;

use rdkafka::message::{Headers, Message};
use serde_json::{Map, Value};
use trueup_model::usage::{EventBatch, EventBatchBuilder};

use crate::cloud_events::EventReader;
use crate::cloud_events::form::{ATTRIBUTES, Kind, joined, read_lines};
use crate::fault::{Fault, Sender};
use crate::limits::{EVENT_BYTES_MAX, REFUSED_MAX};

use super::place::partition_name;

/// Where a message is, in words.
struct At<'m, M>(&'m M);

impl<M: Message> fmt::Display for At<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}, offset {}", self.0.topic(), self.0.partition(), self.0.offset())
    }
}

/// Reads messages in their order, as far as what is refused of them stays within bounds: a batch for
/// each partition, and how many were read, at least one if there is one.
pub(super) fn read_messages<M: Message>(reader: &mut EventReader, messages: &[M]) -> (Vec<EventBatch>, usize) {
    let mut parts = Parts::default();
    let mut refused = 0;
    for (place, message) in messages.iter().enumerate() {
        let builder = parts.of(reader, message);
        let before = builder.refused().len();
        read_message(reader, message, builder);
        refused += builder.refused().len() - before;
        if refused > REFUSED_MAX {
            return match place {
                0 => (vec![refused_whole(reader, message, builder)], 1),
                // Those before it were within bounds, and it begins the next batch.
                _ => read_messages(reader, &messages[..place]),
            };
        }
    }
    (parts.finish(), messages.len())
}

/// A batch with nothing but the refusal of a message of which too much would have to be kept.
fn refused_whole<M: Message>(reader: &EventReader, message: &M, read: &EventBatchBuilder) -> EventBatch {
    let first = read.refused().first().map_or("", |refused| &refused.detail);
    let fault = Fault::unreadable(format!(
        "more than {REFUSED_MAX} events of this message cannot be read, so none was taken; the first of them: {first}"
    ));
    let mut builder = batch_of(reader, message);
    refuse(reader, fault, message, &mut builder);
    builder.finish()
}

/// An empty batch for what comes by the partition of a message.
fn batch_of<M: Message>(reader: &EventReader, message: &M) -> EventBatchBuilder {
    reader.batch().of_partition(&partition_name(message.topic(), message.partition()))
}

/// The batches that messages are read into, one for each partition: the ledger tells them apart.
struct Parts<'m> {
    builders: Vec<EventBatchBuilder>,
    places: HashMap<(&'m str, i32), usize>,
    /// The partition of the message before, and its place: messages of a partition come in runs.
    last: Option<((&'m str, i32), usize)>,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Parts { builders: Vec::new(), places: HashMap::new(), last: None }
    }
}

impl<'m> Parts<'m> {
    /// The batch that a message belongs to.
    fn of<M: Message>(&mut self, reader: &EventReader, message: &'m M) -> &mut EventBatchBuilder {
        let partition = (message.topic(), message.partition());
        let place = match self.last {
            Some((last, place)) if last == partition => place,
            _ => *self.places.entry(partition).or_insert_with(|| {
                self.builders.push(batch_of(reader, message));
                self.builders.len() - 1
            }),
        };
        self.last = Some((partition, place));
        &mut self.builders[place]
    }

    fn finish(self) -> Vec<EventBatch> {
        self.builders.into_iter().map(EventBatchBuilder::finish).collect()
    }
}

/// Reads one message, whoever it comes from.
pub fn read_message<M: Message>(reader: &mut EventReader, message: &M, builder: &mut EventBatchBuilder) {
    let headers = message.headers();
    let read = match headers {
        None => read_body(reader, message, Kind::Unsaid, builder),
        Some(headers) => match kind(headers) {
            Kind::Json | Kind::Unsaid | Kind::Other if header(headers, "ce_id").is_some() => {
                read_binary(reader, message, headers, builder)
            }
            kind => read_body(reader, message, kind, builder),
        },
    };
    if let Err(fault) = read {
        refuse(reader, fault, message, builder);
    }
}

/// Reads a message whose value holds whole events.
fn read_body<M: Message>(
    reader: &mut EventReader,
    message: &M,
    kind: Kind,
    builder: &mut EventBatchBuilder,
) -> Result<(), Fault> {
    let Some(body) = message.payload() else {
        return Err(Fault::missing("the message has no value; send a CloudEvent in JSON, or leave the message out"));
    };
    match kind {
        Kind::Lines if body.trim_ascii().is_empty() => Err(Fault::missing("there is no event in the message")),
        Kind::Lines => {
            read_lines(reader, body, &format!("{}, ", At(message)), builder);
            Ok(())
        }
        // Lists may be longer than an event; a value of another kind is no JSON, and is told so.
        Kind::Whole | Kind::Json | Kind::Unsaid | Kind::Other => {
            reader.read_body(body, At(message), builder);
            Ok(())
        }
    }
}

/// Reads a message whose value is `data` alone.
fn read_binary<M: Message>(
    reader: &mut EventReader,
    message: &M,
    headers: &impl Headers,
    builder: &mut EventBatchBuilder,
) -> Result<(), Fault> {
    let data = message.payload().unwrap_or_default();
    if data.len() > EVENT_BYTES_MAX {
        return Err(Fault::unreadable(format!(
            "the value has more than {EVENT_BYTES_MAX} bytes; send its properties without attachments"
        )));
    }
    let event = joined(&attributes(headers)?, data).map_err(|error| {
        Fault::unreadable(format!(
            "with the attributes as headers the value must be one JSON value, and is not: {error}"
        ))
    })?;
    reader.read_line(&event, At(message), builder);
    Ok(())
}

/// The attributes among the headers.
fn attributes(headers: &impl Headers) -> Result<Map<String, Value>, Fault> {
    let mut attributes = Map::new();
    for header in headers.iter() {
        let Some(name) = header.key.strip_prefix("ce_").filter(|name| ATTRIBUTES.contains(name)) else { continue };
        let text = header.value.and_then(|value| std::str::from_utf8(value).ok());
        let is_new = text.is_some_and(|text| attributes.insert(name.to_owned(), text.into()).is_none());
        if !is_new {
            let fault = format!("the header `ce_{name}` is there twice or is no text: send it once, in UTF-8");
            return Err(Fault::unreadable(fault));
        }
    }
    Ok(attributes)
}

fn kind(headers: &impl Headers) -> Kind {
    let content_type = header(headers, "content-type").and_then(|value| std::str::from_utf8(value).ok());
    Kind::of(content_type.unwrap_or_default())
}

/// The value of a header, if it is there; of several, the first.
fn header<'h>(headers: &'h impl Headers, name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.key == name).map(|header| header.value.unwrap_or_default())
}

fn refuse<M: Message>(reader: &EventReader, fault: Fault, message: &M, builder: &mut EventBatchBuilder) {
    let payload = message.payload().unwrap_or_default();
    builder.refuse(fault.at_record(reader.source_name(), At(message), Sender::default(), payload));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use trueup_model::layout::{EventLayout, Layouts, NumberColumn};

    use super::*;

    fn message(value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> OwnedMessage {
        let add =
            |headers: OwnedHeaders, (key, value): &(&str, &[u8])| headers.insert(Header { key, value: Some(*value) });
        let headers = (!headers.is_empty()).then(|| headers.iter().fold(OwnedHeaders::new(), add));
        OwnedMessage::new(value.map(<[u8]>::to_vec), None, "calls".to_owned(), Timestamp::NotAvailable, 3, 512, headers)
    }

    fn reader() -> EventReader {
        let numbers = vec![NumberColumn { property: "tokens".into(), scale: 0 }];
        let layout = EventLayout { event_type: "call".into(), numbers, texts: vec![], dimensions: vec![] };
        let layouts =
            Layouts { generation: 1, by_type: [("call".to_owned(), Arc::new(layout))].into(), ..Layouts::default() };
        EventReader::new(Arc::new(layouts), "default", "kafka")
    }

    fn read(message: &OwnedMessage) -> EventBatch {
        let (mut parts, _) = read_messages(&mut reader(), std::slice::from_ref(message));
        parts.pop().expect("there is a batch")
    }

    fn event(id: &str) -> String {
        format!(
            r#"{{"id":"{id}","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":7}}}}"#
        )
    }

    const BINARY: [(&str, &[u8]); 6] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", "/caf\u{e9}".as_bytes()),
        ("ce_type", b"call"),
        ("ce_subject", b"acme"),
        ("ce_time", b"2026-06-01T00:00:00Z"),
    ];

    #[test]
    fn messages_hold_events_in_every_form() {
        let rows = |value: &str, headers: &[(&str, &[u8])]| {
            let batch = read(&message(Some(value.as_bytes()), headers));
            assert!(batch.refused.is_empty(), "{:?}", batch.refused);
            batch.rows.len()
        };
        assert_eq!(rows(&event("1"), &[]), 1);
        assert_eq!(rows(&event("1"), &[("content-type", b"application/cloudevents+json; charset=UTF-8")]), 1);
        let list = format!("[{},{}]", event("1"), event("2"));
        assert_eq!(rows(&list, &[]), 2);
        assert_eq!(rows(&list, &[("content-type", b"application/cloudevents-batch+json")]), 2);
        let lines = format!("{}\n{}\n", event("1"), event("2"));
        assert_eq!(rows(&lines, &[("content-type", b"application/x-ndjson")]), 2);
        let batch = read(&message(Some(b"{\"tokens\": 7}"), &BINARY));
        assert_eq!((batch.rows[0].value, batch.ids.get(0)), (7, Some(("/café", "1"))));
        let with_type = [&BINARY[..], &[("content-type", b"application/json")]].concat();
        assert_eq!(rows("{\"tokens\": 7}", &with_type), 1);
    }

    /// A message of a partition of `calls`, at its place in it.
    fn at(partition: i32, offset: i64, value: &str) -> OwnedMessage {
        let value = Some(value.as_bytes().to_vec());
        OwnedMessage::new(value, None, "calls".to_owned(), Timestamp::NotAvailable, partition, offset, None)
    }

    #[test]
    fn each_partition_has_a_batch_of_its_own() {
        let bad = format!("[{}1]", "1,".repeat(25_000));
        let mut messages: Vec<OwnedMessage> = [(3, 0), (3, 1), (0, 0), (3, 2), (0, 1)]
            .map(|(partition, offset)| at(partition, offset, &event("1")))
            .into();
        messages.push(at(0, 2, "no json"));
        let shown = |parts: &[EventBatch]| {
            let shown = |part: &EventBatch| {
                assert!(part.refused.iter().all(|refused| refused.partition == part.partition));
                (part.partition.clone(), part.rows.len(), part.refused.len())
            };
            parts.iter().map(shown).collect::<Vec<_>>()
        };
        let good = [("calls/3".to_owned(), 3, 0), ("calls/0".to_owned(), 2, 1)];
        let (parts, read) = read_messages(&mut reader(), &messages);
        assert_eq!((shown(&parts), read), (good.to_vec(), 6));
        // What is refused is bounded over all of them together.
        messages.extend([at(1, 0, &bad), at(2, 0, &bad)]);
        let (parts, read) = read_messages(&mut reader(), &messages);
        assert_eq!((shown(&parts)[..2].to_vec(), parts[2].refused.len(), read), (good.to_vec(), 25_001, 7));
        let worse = at(2, 1, &format!("[{}1]", "1,".repeat(45_000)));
        let (parts, read) = read_messages(&mut reader(), &[worse, at(2, 2, &event("1"))]);
        assert_eq!((shown(&parts), read), (vec![("calls/2".to_owned(), 0, 1)], 1));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let refused = |value: Option<&[u8]>, headers: &[(&str, &[u8])]| {
            let batch = read(&message(value, headers));
            assert_eq!((batch.rows.len(), batch.refused.len()), (0, 1));
            batch.refused.into_iter().next().map(|refused| (refused.position, refused.detail)).unwrap()
        };
        let (position, detail) = refused(None, &[]);
        assert_eq!(position, "topic calls, partition 3, offset 512");
        assert!(detail.starts_with("the message has no value"), "{detail}");
        for value in [&b""[..], b" ", b"no json", b"\xff", b"[]"] {
            refused(Some(value), &[]);
        }
        refused(Some(b" \n\n"), &[("content-type", b"application/x-ndjson")]);
        let (position, _) = refused(Some(b"x"), &[("content-type", b"application/x-ndjson")]);
        assert_eq!(position, "topic calls, partition 3, offset 512, line 1");
        refused(Some(b"no json"), &BINARY);
        refused(Some(&[b' '; EVENT_BYTES_MAX + 1]), &BINARY);
        let (_, detail) = refused(Some(b"{}"), &[&BINARY[..], &[("ce_id", b"2")]].concat());
        assert!(detail.starts_with("the header `ce_id` is there twice"), "{detail}");
    }
}
