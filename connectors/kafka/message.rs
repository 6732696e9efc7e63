//! From messages to events: a CloudEvent in structured mode, a list or lines of them, one in the binary
//! mode, whose attributes are headers with `ce_` in front, or a stream of Arrow, whose rows are events.
//!
//! Law: every event of a message becomes exactly one row or exactly one refusal; a message in which
//! there is none, or too many that cannot be read, is one refusal. All of a message is in one batch.

use std::fmt;
use std::sync::Arc;

use rdkafka::message::{Headers, Message};
use serde_json::{Map, Value};
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, EventBatchBuilder};

use crate::arrow_events::ArrowEvents;
use crate::arrow_events::whole::{ROWS_MAX, StreamError};
use crate::cloud_events::EventReader;
use crate::cloud_events::form::{ATTRIBUTES, Kind, joined, read_lines};
use crate::fault::{Fault, Sender};
use crate::limits::{EVENT_BYTES_MAX, REFUSED_MAX};

use super::Format;
use super::parts::{Parts, batch_of};

/// Reads the messages of a source by the layouts of one generation.
pub struct MessageReader {
    events: EventReader,
    columns: ArrowEvents,
    format: Format,
}

impl MessageReader {
    /// A reader of what `tenant` sends by the way called `source`; what does not say how it is
    /// written is of this format.
    pub fn new(layouts: Arc<Layouts>, tenant: &str, source: &str, format: Format) -> MessageReader {
        let columns = ArrowEvents::new(layouts.clone(), tenant, source);
        MessageReader { events: EventReader::new(layouts, tenant, source), columns, format }
    }

    /// What a message holds that says nothing of it.
    fn unsaid(&self) -> Kind {
        match self.format {
            Format::Json => Kind::Unsaid,
            Format::Arrow => Kind::Columns,
        }
    }
}

/// Where a message is, in words.
struct At<'m, M>(&'m M);

impl<M: Message> fmt::Display for At<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}, offset {}", self.0.topic(), self.0.partition(), self.0.offset())
    }
}

/// Reads messages in their order, as far as their rows, and what is refused of them, stay within
/// bounds: a batch for each partition, and how many were read, at least one if there is one.
pub fn read_messages<M: Message>(reader: &mut MessageReader, messages: &[M]) -> (Vec<EventBatch>, usize) {
    let mut parts = Parts::default();
    let (mut rows, mut refused) = (0, 0);
    for (place, message) in messages.iter().enumerate() {
        let builder = parts.of(&reader.events, message);
        let before = (builder.len(), builder.refused().len());
        read_message(reader, message, builder);
        rows += builder.len() - before.0;
        refused += builder.refused().len() - before.1;
        if refused > REFUSED_MAX {
            return match place {
                0 => (vec![refused_whole(&reader.events, message, builder)], 1),
                // Those before it were within bounds, and it begins the next batch.
                _ => read_messages(reader, &messages[..place]),
            };
        }
        // Columns may be short and hold many rows.
        if rows >= ROWS_MAX {
            return (parts.finish(), place + 1);
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

fn read_message<M: Message>(reader: &mut MessageReader, message: &M, builder: &mut EventBatchBuilder) {
    let headers = message.headers();
    let read = match headers {
        None => read_body(reader, message, Kind::Unsaid, builder),
        Some(headers) => match kind(headers) {
            Kind::Json | Kind::Unsaid | Kind::Other if header(headers, "ce_id").is_some() => {
                read_binary(&mut reader.events, message, headers, builder)
            }
            kind => read_body(reader, message, kind, builder),
        },
    };
    if let Err(fault) = read {
        refuse(&reader.events, fault, message, builder);
    }
}

/// Reads a message whose value holds whole events.
fn read_body<M: Message>(
    reader: &mut MessageReader,
    message: &M,
    kind: Kind,
    builder: &mut EventBatchBuilder,
) -> Result<(), Fault> {
    let Some(body) = message.payload() else {
        return Err(Fault::missing("the message has no value; send events in it, or leave the message out"));
    };
    let kind = if kind == Kind::Unsaid { reader.unsaid() } else { kind };
    match kind {
        Kind::Columns => {
            let position = |row| format!("{}, row {row}", At(message));
            reader.columns.add_whole(body, position, REFUSED_MAX, builder).map_err(columns_fault)
        }
        Kind::Lines if body.trim_ascii().is_empty() => Err(Fault::missing("there is no event in the message")),
        Kind::Lines => {
            read_lines(&mut reader.events, body, &format!("{}, ", At(message)), builder);
            Ok(())
        }
        // Lists may be longer than an event; a value of another kind is no JSON, and is told so.
        Kind::Whole | Kind::Json | Kind::Unsaid | Kind::Other => {
            reader.events.read_body(body, At(message), builder);
            Ok(())
        }
    }
}

/// Why none of a message of columns is taken.
fn columns_fault(error: StreamError) -> Fault {
    match error {
        StreamError::Empty => Fault::missing(error.to_string()),
        _ => Fault::unreadable(error.to_string()),
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
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::writer::StreamWriter;
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use trueup_model::layout::{EventLayout, NumberColumn};

    use super::*;

    fn message(value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> OwnedMessage {
        let add =
            |headers: OwnedHeaders, (key, value): &(&str, &[u8])| headers.insert(Header { key, value: Some(*value) });
        let headers = (!headers.is_empty()).then(|| headers.iter().fold(OwnedHeaders::new(), add));
        OwnedMessage::new(value.map(<[u8]>::to_vec), None, "calls".to_owned(), Timestamp::NotAvailable, 3, 512, headers)
    }

    fn reader(format: Format) -> MessageReader {
        let numbers = vec![NumberColumn { property: "tokens".into(), scale: 0 }];
        let layout = EventLayout { event_type: "call".into(), numbers, texts: vec![], dimensions: vec![] };
        let layouts =
            Layouts { generation: 1, by_type: [("call".to_owned(), Arc::new(layout))].into(), ..Layouts::default() };
        MessageReader::new(Arc::new(layouts), "default", "kafka", format)
    }

    fn read(message: &OwnedMessage) -> EventBatch {
        let (mut parts, _) = read_messages(&mut reader(Format::Json), std::slice::from_ref(message));
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

    /// A stream of so many batches of events, the last without its tokens.
    fn stream(batches: usize, rows: usize) -> Vec<u8> {
        let text = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
        let ids = StringArray::from_iter_values((0..rows).map(|row| row.to_string()));
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(ids))];
        columns
            .extend([("source", "/a"), ("type", "call"), ("subject", "acme")].map(|(name, same)| (name, text(same))));
        columns.push(("time", text("2026-06-01T00:00:00Z")));
        let tokens = Int64Array::from_iter((1..=rows).map(|row| (row < rows).then_some(7)));
        columns.push(("tokens", Arc::new(tokens)));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        (0..batches).for_each(|_| writer.write(&batch).unwrap());
        writer.into_inner().unwrap()
    }

    const COLUMNS: (&str, &[u8]) = ("content-type", b"application/vnd.apache.arrow.stream");

    /// The rows, and what was refused where, of a message by itself.
    fn outcome(format: Format, message: &OwnedMessage) -> (usize, Vec<(String, String)>) {
        let (parts, _) = read_messages(&mut reader(format), std::slice::from_ref(message));
        let [part] = &parts[..] else { panic!("it is of one partition") };
        assert!(part.refused.iter().all(|refused| refused.source == "kafka" && refused.partition == "calls/3"));
        let refused = part.refused.iter().map(|refused| (refused.position.clone(), refused.detail.clone()));
        (part.rows.len(), refused.collect())
    }

    #[test]
    fn a_message_may_be_columns() {
        let value = stream(2, 3);
        let (rows, refused) = outcome(Format::Json, &message(Some(&value), &[COLUMNS]));
        let positions: Vec<&str> = refused.iter().map(|(position, _)| &**position).collect();
        let at = "topic calls, partition 3, offset 512";
        assert_eq!((rows, positions), (4, vec![&*format!("{at}, row 3"), &*format!("{at}, row 6")]));
        // What a source is told of its messages holds where they say nothing.
        assert_eq!(outcome(Format::Arrow, &message(Some(&value), &[])).0, 4);
        assert_eq!(outcome(Format::Arrow, &message(Some(&value), &[("trace", b"1")])).0, 4);
        let json = [("content-type", &b"application/cloudevents+json"[..])];
        assert_eq!(outcome(Format::Arrow, &message(Some(event("1").as_bytes()), &json)).0, 1);
        assert_eq!(outcome(Format::Arrow, &message(Some(b"{\"tokens\": 7}"), &BINARY)).0, 1);
        assert_eq!(outcome(Format::Json, &message(Some(&value), &[])).0, 0);
    }

    #[test]
    fn columns_are_taken_as_a_whole_or_refused_as_one() {
        let mut broken = stream(2, 3);
        broken.truncate(broken.len() - 16);
        let refused = |value: &[u8]| {
            let (rows, refused) = outcome(Format::Json, &message(Some(value), &[COLUMNS]));
            assert_eq!((rows, refused.len()), (0, 1));
            assert_eq!(refused[0].0, "topic calls, partition 3, offset 512");
            refused[0].1.clone()
        };
        assert!(refused(&broken).contains("it breaks off"));
        assert!(refused(&stream(2, 3).repeat(2)).contains("behind the end of the stream"));
        assert!(refused(&stream(0, 3)).starts_with("there is no row"));
        assert!(refused(event("1").as_bytes()).starts_with("this is no whole Arrow message"));
        assert!(refused(b"").starts_with("this is no whole Arrow message"));
        assert!(outcome(Format::Arrow, &message(None, &[])).1[0].1.starts_with("the message has no value"));
    }

    #[test]
    fn columns_that_are_many_rows_end_a_batch() {
        let many = stream(1, ROWS_MAX / 2 + 1);
        let messages = [many.clone(), many.clone(), many].map(|value| message(Some(&value), &[COLUMNS]));
        let (parts, read) = read_messages(&mut reader(Format::Json), &messages);
        assert_eq!((parts.len(), parts[0].rows.len(), read), (1, ROWS_MAX, 2));
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
        let (parts, read) = read_messages(&mut reader(Format::Json), &messages);
        assert_eq!((shown(&parts), read), (good.to_vec(), 6));
        // What is refused is bounded over all of them together.
        messages.extend([at(1, 0, &bad), at(2, 0, &bad)]);
        let (parts, read) = read_messages(&mut reader(Format::Json), &messages);
        assert_eq!((shown(&parts)[..2].to_vec(), parts[2].refused.len(), read), (good.to_vec(), 25_001, 7));
        let worse = at(2, 1, &format!("[{}1]", "1,".repeat(45_000)));
        let (parts, read) = read_messages(&mut reader(Format::Json), &[worse, at(2, 2, &event("1"))]);
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
