//! What is found of an event in one pass over its JSON.
//!
//! Attributes are kept as values, `data` as JSON text or, if it was plainly written, as the
//! properties that are wanted. Everything else is stepped over without being built: neither
//! memory nor stack grows with how deeply it is nested.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::{self, Attributes};
use super::data::Data;
use crate::columns::Columns;
use crate::value::Value;

/// What was found of an event, as pieces of its text.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub attributes: Attributes<'a>,
    pub data: Data<'a>,
}

impl<'a> Envelope<'a> {
    /// An envelope with nothing in it yet; `memory` is used for properties.
    pub fn new(memory: Vec<Value<'a>>) -> Envelope<'a> {
        Envelope { attributes: Attributes::default(), data: Data::new(memory) }
    }

    /// Finds what is in `json`. What was found before an error stays.
    pub fn read(&mut self, json: &'a str, columns: &BTreeMap<String, Columns>) -> serde_json::Result<()> {
        match self.read_plain(json, columns) {
            Some(()) => Ok(()),
            None => self.read_any(json),
        }
    }

    /// Finds what is in `json`, however it is written.
    pub fn read_any(&mut self, json: &'a str) -> serde_json::Result<()> {
        self.attributes = Attributes::default();
        self.data.forget();
        let mut json = serde_json::Deserializer::from_str(json);
        json.deserialize_map(EnvelopeVisitor(self))?;
        json.end()
    }
}

struct EnvelopeVisitor<'e, 'a>(&'e mut Envelope<'a>);

impl<'a> Visitor<'a> for EnvelopeVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Envelope { attributes, data } = self.0;
        while let Some(member) = map.next_key_seed(Key(Member::named))? {
            if let Member::Other = member {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let json = map.next_value::<&RawValue>()?.get();
            match member {
                Member::Attribute(attribute) => attributes.put(attribute, Value::of_json(json)),
                Member::Data => {
                    attributes.put_data();
                    data.put_json(json);
                }
                Member::Other => {}
            }
        }
        Ok(())
    }
}

/// What a key of the envelope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// One of the attributes that are read.
    Attribute(usize),
    /// The properties.
    Data,
    /// Something that is not read.
    Other,
}

impl Member {
    #[inline]
    pub fn named(key: &str) -> Member {
        match key {
            "data" => Member::Data,
            key => attributes::named(key).map_or(Member::Other, Member::Attribute),
        }
    }
}

/// Reads a key without keeping it.
pub(super) struct Key<F>(pub F);

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
