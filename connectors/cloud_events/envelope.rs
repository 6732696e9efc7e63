//! One pass over an event's JSON: attributes and properties are found and kept as the text they
//! are written in, everything else is stepped over without being built.
//!
//! `data` is read in the same pass if `type` came before it, and otherwise when the type is
//! known. Memory and stack do not grow with how deeply the rest is nested.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::head::{ATTRIBUTES, TYPE};
use crate::columns::Columns;
use crate::fault::Fault;
use crate::value::Value;

/// What was found of an event, as pieces of its text.
pub(super) struct Envelope<'a> {
    /// Each attribute as JSON text; empty where it is not there.
    pub attributes: [&'a str; ATTRIBUTES.len()],
    /// An attribute that is there more than once.
    pub repeated: Option<&'static str>,
    /// What is known of `data`.
    pub data: Data<'a>,
    values: Vec<Value<'a>>,
}

/// What is known of `data`.
#[derive(Clone, Copy)]
pub(super) enum Data<'a> {
    /// It is not there, or null.
    Absent,
    /// It is there as JSON text, since its columns were not known yet.
    Later(&'a str),
    /// Its properties are in the slots.
    Read(Found),
}

/// How reading the properties went.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// Every property that is wanted is there at most once.
    Properties,
    /// The property of this slot is there more than once.
    Repeated(usize),
    /// It is no object.
    NoObject,
    /// It is null.
    Null,
}

impl<'a> Envelope<'a> {
    /// An envelope with nothing in it yet.
    pub fn new(values: Vec<Value<'a>>) -> Envelope<'a> {
        Envelope { attributes: [""; ATTRIBUTES.len()], repeated: None, data: Data::Absent, values }
    }

    /// Finds what is in `json`. What was found before an error stays.
    pub fn read(&mut self, json: &'a str, columns: &BTreeMap<String, Columns>) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(json);
        json.deserialize_map(EnvelopeVisitor { envelope: self, columns })?;
        json.end()
    }

    /// Makes sure that the properties are in the slots of `columns`.
    pub fn read_data(&mut self, columns: &Columns) -> Result<(), Fault> {
        let found = match self.data {
            Data::Absent => return Err(self.no_data()),
            Data::Read(found) => found,
            Data::Later(json) => {
                let seed = DataSeed { columns, values: &mut self.values };
                let found = seed.deserialize(&mut serde_json::Deserializer::from_str(json));
                found.map_err(|error| super::not_json(&error))?
            }
        };
        match found {
            Found::Properties => Ok(()),
            Found::Null => Err(self.no_data()),
            Found::NoObject => Err(Fault::unreadable("`data` is no object; send properties by name, such as {\"tokens\": 12}")),
            Found::Repeated(slot) => Err(repeated_property(&columns.properties()[slot])),
        }
    }

    /// The values in the slots.
    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The slots, for the next event.
    pub fn into_values(self) -> Vec<Value<'a>> {
        self.values
    }

    /// An attribute that is a text, for showing.
    pub fn readable(&self, attribute: usize) -> Option<Cow<'a, str>> {
        match Value::of_json(self.attributes[attribute]) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The fault of an event without `data`.
    pub fn no_data(&self) -> Fault {
        Fault::missing("`data` is missing; send the event's properties in it, as a JSON object (`data_base64` is not read)")
    }

    fn set(&mut self, attribute: usize, json: &'a str) {
        if !self.attributes[attribute].is_empty() {
            self.repeated = Some(ATTRIBUTES[attribute]);
        }
        self.attributes[attribute] = json;
    }

    /// The columns of the event's type, if it has come and is plainly written.
    fn columns<'c>(&self, columns: &'c BTreeMap<String, Columns>) -> Option<&'c Columns> {
        let event_type = self.attributes[TYPE].strip_prefix('"')?.strip_suffix('"')?;
        columns.get(event_type)
    }
}

struct EnvelopeVisitor<'e, 'a> {
    envelope: &'e mut Envelope<'a>,
    columns: &'e BTreeMap<String, Columns>,
}

impl<'a> EnvelopeVisitor<'_, 'a> {
    fn data<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let envelope = &mut *self.envelope;
        if !matches!(envelope.data, Data::Absent) {
            envelope.repeated = Some("data");
        }
        envelope.data = match envelope.columns(self.columns) {
            Some(columns) => {
                let seed = DataSeed { columns, values: &mut envelope.values };
                Data::Read(map.next_value_seed(seed)?)
            }
            None => Data::Later(map.next_value::<&RawValue>()?.get()),
        };
        Ok(())
    }
}

impl<'a> Visitor<'a> for EnvelopeVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(key_of))? {
            match key {
                KeyOf::Attribute(attribute) => self.envelope.set(attribute, map.next_value::<&RawValue>()?.get()),
                KeyOf::Data => self.data(&mut map)?,
                KeyOf::Nothing => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// What a key of the envelope names.
enum KeyOf {
    Attribute(usize),
    Data,
    Nothing,
}

fn key_of(key: &str) -> KeyOf {
    match ATTRIBUTES.iter().position(|attribute| *attribute == key) {
        Some(attribute) => KeyOf::Attribute(attribute),
        None if key == "data" => KeyOf::Data,
        None => KeyOf::Nothing,
    }
}

/// Reads a key without keeping it.
struct Key<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<T, D::Error> {
        key.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name in quotes")
    }

    fn visit_str<E>(self, key: &str) -> Result<T, E> {
        Ok((self.0)(key))
    }
}

/// Puts the properties of `data` into the slots of its columns.
struct DataSeed<'s, 'a> {
    columns: &'s Columns,
    values: &'s mut Vec<Value<'a>>,
}

impl<'a> DeserializeSeed<'a> for DataSeed<'_, 'a> {
    type Value = Found;

    fn deserialize<D: Deserializer<'a>>(self, data: D) -> Result<Found, D::Error> {
        self.values.clear();
        self.values.resize(self.columns.properties().len(), Value::Absent);
        data.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for DataSeed<'_, 'a> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Found, A::Error> {
        // Which slots are taken: a null takes one too, though it leaves nothing there.
        let mut taken = Taken::default();
        let mut found = Found::Properties;
        while let Some(slot) = map.next_key_seed(Key(|key: &str| self.columns.slot(key)))? {
            let Some(slot) = slot else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if taken.again(slot) {
                found = Found::Repeated(slot);
            }
            self.values[slot] = Value::of_json(map.next_value::<&RawValue>()?.get());
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::NoObject)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::NoObject)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::NoObject)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::NoObject)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Ok(Found::NoObject)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Found, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::NoObject)
    }
}

/// Which slots have been filled.
#[derive(Default)]
struct Taken {
    first: u64,
    others: Vec<usize>,
}

impl Taken {
    /// Takes a slot; whether it had been taken before.
    fn again(&mut self, slot: usize) -> bool {
        match 1u64.checked_shl(slot as u32) {
            Some(bit) => {
                let taken = self.first & bit != 0;
                self.first |= bit;
                taken
            }
            None => {
                let taken = self.others.contains(&slot);
                self.others.push(slot);
                taken
            }
        }
    }
}

/// All properties of `data`, each as its text.
pub(super) fn all_properties(json: &str) -> Result<BTreeMap<String, String>, Fault> {
    let properties = serde_json::Deserializer::from_str(json).deserialize_map(AllProperties);
    properties.map_err(|error| super::not_json(&error))?
}

struct AllProperties;

impl<'a> Visitor<'a> for AllProperties {
    type Value = Result<BTreeMap<String, String>, Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut properties, mut fault) = (BTreeMap::new(), None);
        while let Some((name, json)) = map.next_entry::<String, &RawValue>()? {
            let text = match Value::of_json(json.get()) {
                Value::Absent => continue,
                Value::Text(text) => text.into_owned(),
                Value::Word(text) | Value::Nested(text) | Value::Broken(text) => text.to_owned(),
            };
            if properties.contains_key(&name) {
                fault.get_or_insert_with(|| repeated_property(&name));
            }
            properties.insert(name, text);
        }
        Ok(fault.map_or(Ok(properties), Err))
    }
}

fn repeated_property(property: &str) -> Fault {
    Fault::unreadable(format!("`data.{property}` is there twice; send it once"))
}
