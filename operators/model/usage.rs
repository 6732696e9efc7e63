//! Usage events on the way in: rows of fixed size with their texts in tables beside them.
//!
//! Two forms share the rows. An `EventBatch` comes from a connector: its rows name subjects,
//! properties and texts by their place in the batch's own tables. A `UsageBatch` has passed the
//! door: the same rows, naming them by the ids of the engine's dictionary. Turning one into the
//! other costs a look-up per *different* text, not per event.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::arrival::{Arrival, Origin};
use crate::grain::Micros;
use crate::identity::Identity;
use crate::layout::EventLayout;

/// In place of the value of a column that is read on: the event did not have it, or nothing that could be read.
/// No value of an event is nearly as great.
pub const MISSING: i128 = i128::MIN;

/// One event, in 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Who it is.
    pub identity: Identity,
    /// When it was used.
    pub occurred_at: Micros,
    /// Its value, where it has one that fits; else where its values begin in the batch's `wide`.
    pub value: i64,
    /// Who used it: an id of the dictionary, or a place in the batch's table.
    pub subject: u32,
    /// Its type and dimensions: an id of the dictionary, or a place in the batch's table.
    pub properties: u32,
    /// Which statement of the event this is.
    pub revision: u32,
    /// What it says.
    pub says: Says,
    /// How many values lie in the batch's `wide`; zero if `value` is the value.
    pub wide: u16,
}

impl UsageRow {
    /// Whether it says that the event happened, and so counts as long as it stands.
    pub fn asserts(&self) -> bool {
        self.says == Says::Assertion
    }

    /// Of two rows of one identity the one of the greater rank stands.
    pub fn rank(&self) -> (u32, Says) {
        (self.revision, self.says)
    }
}

/// What a row says of its event; at one revision the greater stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Says {
    /// Nothing, at revision 0: whoever had said something has taken it back as if it had never been said. So
    /// whatever is said next stands.
    Nothing,
    /// That it happened.
    Assertion,
    /// That it is taken back.
    Retraction,
}

impl Says {
    /// What a statement says that takes the event back, or does not.
    pub fn of(retract: bool) -> Says {
        if retract { Says::Retraction } else { Says::Assertion }
    }
}

/// An event's type and the values of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PropertySet {
    /// CloudEvents `type`.
    pub event_type: Arc<str>,
    /// A value for each dimension of the layout; none where the event has none.
    pub dimensions: Box<[Option<Box<str>>]>,
}

/// Sources and ids as they were sent, row by row, for whoever has to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentIds {
    bytes: String,
    ends: Vec<(u32, u32)>,
}

impl SentIds {
    /// Remembers the source and id of the next row.
    pub fn push(&mut self, source: &str, id: &str) {
        self.bytes.push_str(source);
        let middle = self.bytes.len() as u32;
        self.bytes.push_str(id);
        self.ends.push((middle, self.bytes.len() as u32));
    }

    /// The source and id of a row; none where the source sent only identities.
    pub fn get(&self, row: usize) -> Option<(&str, &str)> {
        let (middle, end) = *self.ends.get(row)?;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some((&self.bytes[start as usize..middle as usize], &self.bytes[middle as usize..end as usize]))
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Events as a connector hands them over.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    /// Which way in, as its refusals and the ledger name it.
    pub source: String,
    /// Which part of it, such as a partition of a topic; empty where it has no parts.
    pub partition: String,
    /// The generation of layouts by which they were read.
    pub generation: u64,
    /// The events, in the order of the source.
    pub rows: Vec<UsageRow>,
    /// Values that do not fit into a row, all columns of a row together.
    pub wide: Vec<i128>,
    /// The different subjects.
    pub subjects: Vec<Box<str>>,
    /// The different types with dimensions.
    pub properties: Vec<PropertySet>,
    /// The different texts of text columns; a row's value is a place in here.
    pub texts: Vec<Box<str>>,
    /// Sources and ids as sent: one per row, or none at all.
    pub ids: SentIds,
    /// What could not be read.
    pub refused: Vec<Refused>,
}

impl EventBatch {
    /// Whether its events were read by layouts that are not those of now.
    pub fn is_stale(&self, generation: u64) -> bool {
        !self.rows.is_empty() && self.generation != generation
    }
}

/// Events that have passed the door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBatch {
    /// The number of its first row among all rows ever accepted.
    pub first_row: u64,
    /// When it was accepted, by the billing clock.
    pub received_at: Micros,
    /// By which way it came.
    pub origin: Arc<Origin>,
    /// The events.
    pub rows: Vec<UsageRow>,
    /// Values that do not fit into a row.
    pub wide: Vec<i128>,
    /// Sources and ids as sent: one per row, or none at all.
    pub ids: SentIds,
}

impl UsageBatch {
    /// By which way and in which hour it came.
    pub fn arrival(&self) -> Arrival {
        Arrival::at(self.origin.clone(), self.received_at)
    }

    /// The value of a row in a column of its layout; it may be [`MISSING`].
    pub fn value(&self, row: &UsageRow, column: usize) -> i128 {
        if row.wide == 0 { i128::from(row.value) } else { self.wide_values(row)[column] }
    }

    /// Whether two rows, each in its own batch, say the same.
    pub fn same_content(&self, row: &UsageRow, other: &UsageBatch, other_row: &UsageRow) -> bool {
        row.subject == other_row.subject
            && row.properties == other_row.properties
            && row.occurred_at == other_row.occurred_at
            && row.wide == other_row.wide
            && (row.wide != 0 || row.value == other_row.value)
            && self.wide_values(row) == other.wide_values(other_row)
    }

    /// A digest of what a row says, to tell two contradicting rows apart.
    pub fn content_digest(&self, row: &UsageRow) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        (row.subject, row.properties, row.occurred_at, row.wide).hash(&mut hasher);
        let narrow = [i128::from(row.value)];
        let values = if row.wide == 0 { &narrow } else { self.wide_values(row) };
        values.hash(&mut hasher);
        hasher.finish()
    }

    /// The values of a row that do not fit into it; none if its value is its value.
    pub fn wide_values(&self, row: &UsageRow) -> &[i128] {
        if row.wide == 0 {
            return &[];
        }
        &self.wide[row.value as usize..][..usize::from(row.wide)]
    }
}

/// Why an input was set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is not a CloudEvent, or not even JSON, CSV or Arrow.
    #[default]
    Unreadable,
    /// A required attribute or property is missing.
    Missing,
    /// A value is not of its kind or outside what can be kept.
    OutOfRange,
    /// No meter reads this type of event.
    UnknownType,
    /// It says to have happened in the future, or too long ago.
    TimeOutOfRange,
    /// Another event with this identity and revision says something else.
    Conflict,
    /// There are more combinations of dimensions than may be kept apart.
    TooManyDimensions,
    /// It breaks the schema of its type.
    BreaksSchema,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 8] = [
        Reason::Unreadable,
        Reason::Missing,
        Reason::OutOfRange,
        Reason::UnknownType,
        Reason::TimeOutOfRange,
        Reason::Conflict,
        Reason::TooManyDimensions,
        Reason::BreaksSchema,
    ];

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Its name in the quarantine view.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Unreadable => "unreadable",
            Reason::Missing => "missing",
            Reason::OutOfRange => "out_of_range",
            Reason::UnknownType => "unknown_type",
            Reason::TimeOutOfRange => "time_out_of_range",
            Reason::Conflict => "conflict",
            Reason::TooManyDimensions => "too_many_dimensions",
            Reason::BreaksSchema => "breaks_schema",
        }
    }
}

/// An input that was set aside, with all that helps to mend it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refused {
    /// Which way in: a file's name, a topic, an address.
    pub source: String,
    /// Which part of it, such as a partition; empty where it has no parts.
    #[serde(default)]
    pub partition: String,
    /// Where in it: `line 17`, `row 3 of batch 2`.
    pub position: String,
    /// CloudEvents `source`, where it could be read.
    pub event_source: Option<String>,
    /// CloudEvents `id`, where it could be read.
    pub event_id: Option<String>,
    /// Why, by kind.
    pub reason: Reason,
    /// Why, in a sentence that names the thing and the remedy.
    pub detail: String,
    /// The input itself as JSON, if it is `whole`; else its beginning.
    pub payload: Option<String>,
    /// Whether the payload is all of it, so that it can be read again.
    #[serde(default)]
    pub whole: bool,
}

/// The most bytes of a payload that a view shows.
const SHOWN_BYTES_MAX: usize = 1024;

impl Refused {
    /// As much of its payload as a view shows.
    pub fn payload_shown(&self) -> Option<&str> {
        self.payload.as_ref().map(|payload| &payload[..payload.floor_char_boundary(SHOWN_BYTES_MAX)])
    }

    /// The same without its payload: what a sender is told.
    pub fn without_payload(&self) -> Refused {
        let (source, partition, position) = (self.source.clone(), self.partition.clone(), self.position.clone());
        let (event_source, event_id) = (self.event_source.clone(), self.event_id.clone());
        let (reason, detail, payload, whole) = (self.reason, self.detail.clone(), None, false);
        Refused { source, partition, position, event_source, event_id, reason, detail, payload, whole }
    }

    /// By which way it came.
    pub fn origin(&self) -> Arc<Origin> {
        Arc::new(Origin { source: self.source.clone(), partition: self.partition.clone() })
    }
}

/// Fills an `EventBatch`, giving each different text its place.
pub struct EventBatchBuilder {
    tenant: String,
    batch: EventBatch,
    subjects: Places,
    properties: Places,
    texts: Places,
}

/// The parts of an event that every layout has.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// CloudEvents `source`.
    pub source: &'a str,
    /// CloudEvents `id`.
    pub id: &'a str,
    /// CloudEvents `subject`.
    pub subject: &'a str,
    /// CloudEvents `time`.
    pub occurred_at: Micros,
    /// Which statement of the event.
    pub revision: u32,
    /// Whether it takes the event back.
    pub retract: bool,
}

impl EventBatchBuilder {
    /// An empty batch of a tenant that comes in by `source`, to be read by layouts of `generation`.
    pub fn new(tenant: &str, source: &str, generation: u64) -> EventBatchBuilder {
        EventBatchBuilder {
            tenant: tenant.to_owned(),
            batch: EventBatch { source: source.to_owned(), generation, ..EventBatch::default() },
            subjects: Places::default(),
            properties: Places::default(),
            texts: Places::default(),
        }
    }

    /// The same for what comes in by one part of its source.
    pub fn of_partition(mut self, partition: &str) -> EventBatchBuilder {
        partition.clone_into(&mut self.batch.partition);
        self
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.batch.rows.len()
    }

    /// Whether it has neither rows nor refusals.
    pub fn is_empty(&self) -> bool {
        self.batch.rows.is_empty() && self.batch.refused.is_empty()
    }

    /// Adds an event whose values were read by `layout`: its numbers, its texts and its
    /// dimensions, each in the layout's order. A number that is not there is [`MISSING`].
    pub fn push(
        &mut self,
        head: Head<'_>,
        layout: &EventLayout,
        numbers: &[i128],
        texts: &[Option<&str>],
        dimensions: &[Option<&str>],
    ) {
        debug_assert_eq!((numbers.len(), texts.len()), (layout.numbers.len(), layout.texts.len()));
        let subject = self.subject(head.subject);
        let properties = self.property_set(layout, dimensions);
        let (value, wide) = self.values(numbers, texts);
        self.batch.ids.push(head.source, head.id);
        self.batch.rows.push(UsageRow {
            identity: Identity::of(&self.tenant, head.source, head.id),
            occurred_at: head.occurred_at,
            value,
            subject,
            properties,
            revision: head.revision,
            says: Says::of(head.retract),
            wide,
        });
    }

    /// What could not be read so far.
    pub fn refused(&self) -> &[Refused] {
        &self.batch.refused
    }

    /// Adds an input of this batch's partition that could not be read.
    pub fn refuse(&mut self, refused: Refused) {
        self.batch.refused.push(Refused { partition: self.batch.partition.clone(), ..refused });
    }

    /// The batch.
    pub fn finish(self) -> EventBatch {
        self.batch
    }

    fn subject(&mut self, subject: &str) -> u32 {
        self.subjects.place_text(&mut self.batch.subjects, subject)
    }

    fn text(&mut self, text: Option<&str>) -> i128 {
        text.map_or(MISSING, |text| i128::from(self.texts.place_text(&mut self.batch.texts, text)))
    }

    fn property_set(&mut self, layout: &EventLayout, dimensions: &[Option<&str>]) -> u32 {
        let event_type = layout.event_type.as_str();
        let is_same = |set: &PropertySet| {
            *set.event_type == *event_type && set.dimensions.iter().map(Option::as_deref).eq(dimensions.iter().copied())
        };
        let make = || PropertySet {
            event_type: event_type.into(),
            dimensions: dimensions.iter().map(|value| value.map(Box::from)).collect(),
        };
        self.properties.place(&mut self.batch.properties, &(event_type, dimensions), is_same, make)
    }

    fn values(&mut self, numbers: &[i128], texts: &[Option<&str>]) -> (i64, u16) {
        if let ([number], []) = (numbers, texts)
            && let Ok(narrow) = i64::try_from(*number)
        {
            return (narrow, 0);
        }
        if let ([], [text @ Some(_)]) = (numbers, texts) {
            return (self.text(*text) as i64, 0);
        }
        if numbers.is_empty() && texts.is_empty() {
            return (0, 0);
        }
        let start = self.batch.wide.len() as i64;
        self.batch.wide.extend_from_slice(numbers);
        for text in texts {
            let text = self.text(*text);
            self.batch.wide.push(text);
        }
        (start, (numbers.len() + texts.len()) as u16)
    }
}

/// Where each different entry of a table stands, found by hash without a copy of the entry.
#[derive(Default)]
struct Places {
    places: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
}

impl Places {
    fn place_text(&mut self, table: &mut Vec<Box<str>>, text: &str) -> u32 {
        self.place(table, &text, |entry| **entry == *text, || text.into())
    }

    fn place<E, K: Hash>(
        &mut self,
        table: &mut Vec<E>,
        key: &K,
        is_same: impl Fn(&E) -> bool,
        make: impl FnOnce() -> E,
    ) -> u32 {
        let hash = self.hasher.hash_one(key);
        let found = self.places.find(hash, |&(other, place)| other == hash && is_same(&table[place as usize]));
        if let Some(&(_, place)) = found {
            return place;
        }
        let place = table.len() as u32;
        table.push(make());
        self.places.insert_unique(hash, (hash, place), |&(hash, _)| hash);
        place
    }
}
