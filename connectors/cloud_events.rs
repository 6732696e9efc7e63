//! CloudEvents 1.0 in JSON, one event or one batch to a line.
//!
//! Law: every event becomes exactly one row or exactly one refusal, whatever its bytes. Quantities
//! are read from the digits as sent. Only the properties that a meter reads are looked at; all
//! others are stepped over. What an event may hold is in the crate's README.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::mem::take;
use std::sync::Arc;

use serde_json::value::RawValue;
use trueup_model::event::UsageEvent;
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatchBuilder, Head};

use crate::columns::{Columns, RowBuffers, emptied};
use crate::fault::{Fault, Sender};
use crate::limits::{BATCH_BYTES_MAX, REFUSED_MAX, check_event, cut, shown};
use crate::value::Value;

pub(crate) mod attributes;
mod data;
mod envelope;
pub(crate) mod form;
mod plain;

use envelope::Envelope;

/// The most bytes of what the reader of JSON says that are repeated in a sentence.
const SAID_BYTES_MAX: usize = 200;

/// Reads events of one tenant by the layouts of one generation.
///
/// It keeps its memory from event to event and allocates nothing for an ordinary one.
///
/// ```
/// # use std::sync::Arc;
/// # use trueup_connectors::EventReader;
/// # use trueup_model::layout::Layouts;
/// let mut reader = EventReader::new(Arc::new(Layouts::default()), "default", "events.ndjson");
/// let mut batch = reader.batch();
/// reader.read_line(b"{\"id\": 17}", "line 1", &mut batch);
/// let batch = batch.finish();
/// assert_eq!(batch.refused[0].detail, "`id` is a number; write it as a text, in quotes");
/// ```
#[derive(Clone, Debug)]
pub struct EventReader {
    layouts: Arc<Layouts>,
    tenant: String,
    source_name: String,
    partition: String,
    columns: Arc<BTreeMap<String, Columns>>,
    values: Vec<Value<'static>>,
    buffers: RowBuffers,
}

impl EventReader {
    /// A reader for what `tenant` sends by the way called `source_name`: a file, a topic.
    pub fn new(layouts: Arc<Layouts>, tenant: &str, source_name: &str) -> EventReader {
        EventReader {
            columns: Arc::new(Columns::by_type(&layouts)),
            layouts,
            tenant: tenant.to_owned(),
            source_name: source_name.to_owned(),
            partition: String::new(),
            values: Vec::new(),
            buffers: RowBuffers::default(),
        }
    }

    /// The same reader for what comes in by one part of the source, such as a partition.
    pub fn of_partition(mut self, partition: &str) -> EventReader {
        partition.clone_into(&mut self.partition);
        self
    }

    /// The same reader for events that were read before, and held against their schema then.
    pub fn without_schemas(mut self) -> EventReader {
        let columns = Columns::by_type(&self.layouts).into_iter();
        self.columns = Arc::new(columns.map(|(name, columns)| (name, columns.without_schema())).collect());
        self
    }

    /// The name of the way in.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// An empty batch for what this reader reads.
    pub fn batch(&self) -> EventBatchBuilder {
        EventBatchBuilder::new(&self.tenant, &self.source_name, self.layouts.generation).of_partition(&self.partition)
    }

    /// Reads a line: one event, or a batch of them in brackets. The batch grows by one row or
    /// refusal for each event; `position` is written out only for a refusal.
    ///
    /// A line of more than [`EVENT_BYTES_MAX`](crate::limits::EVENT_BYTES_MAX) bytes is one
    /// refusal. So is a batch that is not JSON to its end: none of its events is then taken.
    pub fn read_line(&mut self, line: &[u8], position: impl Display, builder: &mut EventBatchBuilder) {
        match check_event(line).and_then(|()| utf8(line)) {
            Ok(text) if is_batch(text) => self.read_events(text, &position, builder),
            Ok(text) => self.read_event(text, &position, builder),
            Err(fault) => self.refuse(fault, &position, line, builder),
        }
    }

    /// Reads a body that came as a whole: one event, or a batch of up to
    /// [`BATCH_BYTES_MAX`] bytes. Otherwise as [`read_line`](EventReader::read_line).
    pub fn read_body(&mut self, body: &[u8], position: impl Display, builder: &mut EventBatchBuilder) {
        let too_long =
            || Fault::unreadable(format!("the batch has more than {BATCH_BYTES_MAX} bytes; send it in parts"));
        let checked = if body.len() > BATCH_BYTES_MAX { Err(too_long()) } else { utf8(body) };
        match checked {
            Ok(text) if is_batch(text) => self.read_events(text, &position, builder),
            Ok(text) => self.read_event_within_limits(text, &position, builder),
            Err(fault) => self.refuse(fault, &position, body, builder),
        }
    }

    fn read_events(&mut self, text: &str, position: &dyn Display, builder: &mut EventBatchBuilder) {
        let events: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(events) => events,
            Err(error) => return self.refuse(not_json(&error), position, text.as_bytes(), builder),
        };
        if events.is_empty() {
            let fault = Fault::missing("the batch is empty; leave it out, or put events between its brackets");
            return self.refuse(fault, position, text.as_bytes(), builder);
        }
        for (number, event) in (1..).zip(events) {
            let position = format_args!("{position}, event {number}");
            self.read_event_within_limits(event.get(), &position, builder);
            if builder.refused().len() > REFUSED_MAX {
                // Whoever reads bodies takes none of it.
                return;
            }
        }
    }

    fn read_event_within_limits(&mut self, text: &str, position: &dyn Display, builder: &mut EventBatchBuilder) {
        match check_event(text.as_bytes()) {
            Ok(()) => self.read_event(text, position, builder),
            Err(fault) => self.refuse(fault, position, text.as_bytes(), builder),
        }
    }

    fn read_event(&mut self, text: &str, position: &dyn Display, builder: &mut EventBatchBuilder) {
        let mut envelope = Envelope::new(emptied(take(&mut self.values)));
        let outcome = envelope
            .read(text, &self.columns)
            .map_err(|error| not_json(&error))
            .and_then(|()| push(text, &mut envelope, &self.columns, &mut self.buffers, builder));
        if let Err(fault) = outcome {
            let (source, sender) = (&self.source_name, envelope.attributes.sender());
            builder.refuse(match is_batch(text) {
                // A list within a list is no event, and would be a list of them if it were read again alone.
                true => fault.at_record(source, position, sender, text.as_bytes()),
                false => fault.at(source, position, sender, text.as_bytes()),
            });
        }
        self.values = emptied(envelope.data.into_memory());
    }

    fn refuse(&self, fault: Fault, position: &dyn Display, line: &[u8], builder: &mut EventBatchBuilder) {
        builder.refuse(fault.at(&self.source_name, position, Sender::default(), line));
    }
}

/// Turns an event that is JSON into a row.
fn push(
    text: &str,
    envelope: &mut Envelope<'_>,
    columns: &BTreeMap<String, Columns>,
    buffers: &mut RowBuffers,
    builder: &mut EventBatchBuilder,
) -> Result<(), Fault> {
    let Envelope { attributes, data } = envelope;
    let names = attributes.names()?;
    let columns = columns.get(names.event_type).ok_or_else(|| unknown_type(names.event_type))?;
    let statement = attributes.statement()?;
    if let Some(schema) = columns.schema().filter(|_| !statement.retract) {
        schema.check_event(text, columns.asked())?;
    }
    let values = if statement.retract { &[] } else { data.values(columns)? };
    let head = Head {
        source: names.source,
        id: names.id,
        subject: names.subject,
        occurred_at: statement.occurred_at,
        revision: statement.revision,
        retract: statement.retract,
    };
    buffers.push(head, columns, values, builder)
}

/// Reads one event with all its properties, each as text, for people, tests and the oracle.
///
/// Lists and objects among the properties stay JSON text, and nulls are left out. It takes
/// what [`EventReader`] takes of every layout that the event fits.
pub fn usage_event(line: &[u8]) -> Result<UsageEvent, Fault> {
    check_event(line)?;
    let mut envelope = Envelope::new(Vec::new());
    envelope.read_any(utf8(line)?).map_err(|error| not_json(&error))?;
    let names = envelope.attributes.names()?;
    let statement = envelope.attributes.statement()?;
    let data = if statement.retract { BTreeMap::new() } else { envelope.data.all()? };
    Ok(UsageEvent {
        source: names.source.to_owned(),
        id: names.id.to_owned(),
        event_type: names.event_type.to_owned(),
        subject: names.subject.to_owned(),
        occurred_at: statement.occurred_at,
        revision: statement.revision,
        retract: statement.retract,
        data,
    })
}

fn is_batch(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

fn utf8(line: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        Fault::unreadable(format!("byte {at} is not UTF-8; JSON is always written in UTF-8"))
    })
}

fn not_json(error: &serde_json::Error) -> Fault {
    let (said, column) = (error.to_string(), error.column());
    // An event is a line: its place within itself is a byte.
    let (what, place) = match said.strip_suffix(&format!(" at line 1 column {column}")) {
        Some(what) => (what, format!(" at byte {column}")),
        None => (&*said, String::new()),
    };
    // It repeats a text that stands in the place of an event, however long that is.
    let (start, rest) = (cut(what, SAID_BYTES_MAX), if what.len() > SAID_BYTES_MAX { "…" } else { "" });
    Fault::unreadable(format!("not a CloudEvent in JSON: {start}{rest}{place}; send one JSON object for each event"))
}

pub(crate) fn unknown_type(event_type: &str) -> Fault {
    let shown = shown(event_type);
    Fault::unknown_type(format!("no meter reads events of type {shown}; define one, or correct `type`"))
}
