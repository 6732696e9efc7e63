//! The properties of an event, of which only those are kept that a layout reads.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::Key;
use super::not_json;
use crate::columns::Columns;
use crate::fault::Fault;
use crate::value::{Taken, Value};

/// What was found of `data`; an event without it has no properties.
#[derive(Debug)]
pub(super) struct Data<'a> {
    /// It as JSON text; none where it is not there, or its properties have been found.
    json: Option<&'a str>,
    /// The properties, if they have been found.
    slots: Slots<'a>,
}

impl<'a> Data<'a> {
    /// Nothing; `memory` is used for the properties.
    pub fn new(memory: Vec<Value<'a>>) -> Data<'a> {
        Data { json: None, slots: Slots { values: memory, ..Slots::default() } }
    }

    /// Forgets what was found.
    pub fn forget(&mut self) {
        self.json = None;
        self.slots.empty(0);
    }

    /// Remembers it as a whole.
    pub fn put_json(&mut self, json: &'a str) {
        self.json = Some(json);
    }

    /// Empty slots for the properties that `columns` read.
    pub fn slots_for(&mut self, columns: &Columns) -> &mut Slots<'a> {
        self.slots.empty(columns.properties().len());
        self.slots.are_read = true;
        &mut self.slots
    }

    /// The properties that `columns` read, slot by slot. If they had been found in passing,
    /// it was for the same columns.
    pub fn values(&mut self, columns: &Columns) -> Result<&[Value<'a>], Fault> {
        let json = self.json.take();
        if json.is_some() || !self.slots.are_read {
            let slots = self.slots_for(columns);
            if let Some(mut object) = json.map(object).transpose()?.flatten() {
                object.deserialize_map(Wanted { columns, slots }).map_err(|error| not_json(&error))?;
            }
        }
        match self.slots.repeated {
            None => Ok(&self.slots.values),
            Some(slot) => Err(repeated(&columns.properties()[slot])),
        }
    }

    /// All properties, each as its text.
    pub fn all(&self) -> Result<BTreeMap<String, String>, Fault> {
        match self.json.map(object).transpose()?.flatten() {
            Some(mut object) => object.deserialize_map(All).map_err(|error| not_json(&error))?,
            None => Ok(BTreeMap::new()),
        }
    }

    /// The memory, for the next event.
    pub fn into_memory(self) -> Vec<Value<'a>> {
        self.slots.values
    }
}

/// A value for each property that is wanted.
#[derive(Debug, Default)]
pub(super) struct Slots<'a> {
    values: Vec<Value<'a>>,
    taken: Taken,
    repeated: Option<usize>,
    are_read: bool,
}

impl<'a> Slots<'a> {
    fn empty(&mut self, length: usize) {
        self.values.clear();
        self.values.resize(length, Value::Absent);
        (self.taken, self.repeated, self.are_read) = (Taken::default(), None, false);
    }

    /// Fills a slot.
    #[inline]
    pub fn put(&mut self, slot: usize, value: Value<'a>) {
        if self.taken.again(slot) {
            self.repeated = Some(slot);
        }
        self.values[slot] = value;
    }
}

type Reader<'a> = serde_json::Deserializer<serde_json::de::StrRead<'a>>;

/// A reader of `json`, which is an object; none if it is null, which says as little as leaving
/// it out.
fn object(json: &str) -> Result<Option<Reader<'_>>, Fault> {
    match json.as_bytes().first() {
        Some(b'{') => Ok(Some(serde_json::Deserializer::from_str(json))),
        Some(b'n') | None => Ok(None),
        Some(_) => Err(Fault::unreadable("`data` is no object; send properties by name, such as {\"tokens\": 12}")),
    }
}

/// Puts the properties that are wanted into their slots.
struct Wanted<'s, 'a> {
    columns: &'s Columns,
    slots: &'s mut Slots<'a>,
}

impl<'a> Visitor<'a> for Wanted<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(slot) = map.next_key_seed(Key(|key: &str| self.columns.slot(key)))? {
            match slot {
                Some(slot) => self.slots.put(slot, Value::of_json(map.next_value::<&RawValue>()?.get())),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Keeps every property as text, for people and the oracle.
struct All;

impl<'a> Visitor<'a> for All {
    type Value = Result<BTreeMap<String, String>, Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut properties, mut fault) = (BTreeMap::new(), None);
        while let Some((name, json)) = map.next_entry::<String, &RawValue>()? {
            if properties.contains_key(&name) {
                fault = Some(repeated(&name));
            }
            properties.insert(name, Value::of_json(json.get()).written());
        }
        let there = properties.into_iter().filter_map(|(name, text)| Some((name, text?)));
        Ok(fault.map_or_else(|| Ok(there.collect()), Err))
    }
}

fn repeated(property: &str) -> Fault {
    Fault::unreadable(format!("`data.{property}` is there twice; send it once"))
}
