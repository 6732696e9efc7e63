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

/// What was found of `data`.
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
        if let Some(json) = self.json.take() {
            let slots = self.slots_for(columns);
            let visitor = Wanted { columns, slots };
            object(json)?.deserialize_map(visitor).map_err(|error| not_json(&error))?;
        }
        if !self.slots.are_read {
            return Err(no_data());
        }
        match self.slots.repeated {
            None => Ok(&self.slots.values),
            Some(slot) => Err(repeated(&columns.properties()[slot])),
        }
    }

    /// All properties, each as its text.
    pub fn all(&self) -> Result<BTreeMap<String, String>, Fault> {
        let json = self.json.ok_or_else(no_data)?;
        object(json)?.deserialize_map(All).map_err(|error| not_json(&error))?
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

/// A reader of `json`, if that is an object.
fn object(json: &str) -> Result<serde_json::Deserializer<serde_json::de::StrRead<'_>>, Fault> {
    match json.as_bytes().first() {
        Some(b'{') => Ok(serde_json::Deserializer::from_str(json)),
        Some(b'n') | None => Err(no_data()),
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

fn no_data() -> Fault {
    Fault::missing("`data` is missing; send the event's properties in it, as a JSON object (`data_base64` is not read)")
}

fn repeated(property: &str) -> Fault {
    Fault::unreadable(format!("`data.{property}` is there twice; send it once"))
}
