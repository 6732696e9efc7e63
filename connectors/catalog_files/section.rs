//! A table of a catalog file while it is being read.
//!
//! Law: a key is asked for or it is a problem, so nothing that somebody wrote is passed over in
//! silence. Every problem names file, line, definition, key and remedy.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;
use trueup_model::decimal;
use trueup_model::meter::Filter;

use super::place::{Place, Problem};
use crate::limits::{ID_BYTES_MAX, check_name};

/// A file of the catalog.
#[derive(Clone, Copy, Debug)]
pub(super) struct CatalogFile<'f> {
    /// Its name, for messages.
    pub name: &'f str,
    /// What is in it.
    pub text: &'f str,
}

impl CatalogFile<'_> {
    /// The problem of a file that is no TOML.
    pub fn no_toml(&self, error: &toml::de::Error) -> Problem {
        let place = self.place(error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        Problem::new(place, format!("the file is not TOML: {message}"))
    }

    fn place(&self, byte: usize) -> Place {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        Place { file: self.name.to_owned(), line: Some(memchr::memchr_iter(b'\n', before).count() + 1) }
    }
}

/// A value with its place.
type Written<'f> = &'f Spanned<DeValue<'f>>;

/// A table, the thing that it defines, and the keys that have been asked for.
#[derive(Debug)]
pub(super) struct Section<'f> {
    file: &'f CatalogFile<'f>,
    table: &'f DeTable<'f>,
    starts_at: usize,
    what: String,
    asked: Vec<&'static str>,
}

impl<'f> Section<'f> {
    /// A file as a whole.
    pub fn top(file: &'f CatalogFile<'f>, table: &'f DeTable<'f>) -> Section<'f> {
        Section { file, table, starts_at: 0, what: "the catalog".to_owned(), asked: Vec::new() }
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.file.place(self.starts_at)
    }

    /// A problem with it as a whole.
    pub fn problem(&self, message: impl AsRef<str>) -> Problem {
        self.problem_at(self.starts_at, message)
    }

    /// A problem with the value of a key, or with the whole if the key is not there.
    pub fn problem_with(&self, key: &str, message: impl AsRef<str>) -> Problem {
        let at = self.get(key).map_or(self.starts_at, |value| value.span().start);
        self.problem_at(at, message)
    }

    fn problem_at(&self, byte: usize, message: impl AsRef<str>) -> Problem {
        Problem::new(self.file.place(byte), format!("{}: {}", self.what, message.as_ref()))
    }

    /// Says what messages call it from here on.
    pub fn call_it(&mut self, what: String) {
        self.what = what;
    }

    /// Its name, by which messages call it from here on.
    pub fn name(&mut self, kind: &str, key: &'static str) -> Result<String, Problem> {
        self.call_it(format!("a {kind}"));
        let name = self.text(key)?;
        let name = self.need(key, name, "every definition has one")?;
        check_name(key, name, ID_BYTES_MAX).map_err(|fault| self.problem_with(key, fault.detail))?;
        self.call_it(format!("{kind} '{name}'"));
        Ok(name.to_owned())
    }

    /// Adds a part to what messages call it: `plan 'pro', rate card 'calls'`.
    pub fn within(&mut self, outer: &Section<'_>, part: &str) {
        self.what = format!("{}, {part}", outer.what);
    }

    /// The value, which has to be there; `remedy` says what to write.
    pub fn need<T>(&self, key: &str, value: Option<T>, remedy: &str) -> Result<T, Problem> {
        value.ok_or_else(|| self.problem(format!("`{key}` is missing; {remedy}")))
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Result<Option<&'f str>, Problem> {
        match self.ask(key) {
            None => Ok(None),
            Some(value) => self.as_text(key, value).map(Some),
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(Some(*meant)),
            None => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(self.problem_with(key, format!("`{key}` is \"{text}\"; write one of {}", words.join(", "))))
            }
        }
    }

    /// Texts in a list, or a single one.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Problem> {
        match self.ask(key) {
            None => Ok(None),
            Some(value) => self.as_texts(key, value).map(Some),
        }
    }

    /// A decimal as a count of 10^-`places`: a text or an integer, never a float.
    pub fn decimal(&mut self, key: &'static str, places: u32) -> Result<Option<i128>, Problem> {
        let Some(value) = self.ask(key) else {
            return Ok(None);
        };
        let written = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().to_owned(),
            DeValue::Float(float) => {
                let float = float.as_str();
                let message =
                    format!("`{key}` is {float} without quotes, a float, and floats are not exact; write \"{float}\"");
                return Err(self.problem_with(key, message));
            }
            other => {
                return Err(self.wrong_kind(key, other, "a decimal in quotes, such as \"0.002\", or a whole number"));
            }
        };
        let parsed = decimal::parse(&written, places);
        parsed.map(Some).map_err(|error| self.problem_with(key, format!("`{key}` is \"{written}\": {error}")))
    }

    /// A whole number from 0 to `greatest`.
    pub fn whole(&mut self, key: &'static str, greatest: u32) -> Result<Option<u32>, Problem> {
        let Some(value) = self.ask(key) else {
            return Ok(None);
        };
        let number = match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => None,
        };
        match number.filter(|number| *number <= greatest) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong_kind(key, value.get_ref(), &format!("a whole number from 0 to {greatest}"))),
        }
    }

    /// A date, or a date with a time of day, with or without its offset from UTC.
    pub fn datetime(&mut self, key: &'static str) -> Result<Option<Datetime>, Problem> {
        let Some(value) = self.ask(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Datetime(datetime) if datetime.date.is_some() => Ok(Some(*datetime)),
            DeValue::String(text) => {
                Err(self.problem_with(key, format!("`{key}` is a text; write dates without quotes: {key} = {text}")))
            }
            other => Err(self.wrong_kind(key, other, "a date, such as 2026-07-01, or 2026-07-01T12:00:00Z")),
        }
    }

    /// For properties, the texts that each may have.
    pub fn filter(&mut self, key: &'static str) -> Result<Filter, Problem> {
        let Some(value) = self.ask(key) else {
            return Ok(Filter::new());
        };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_kind(
                key,
                value.get_ref(),
                "properties with their values, such as { region = [\"eu\", \"us\"] }",
            ));
        };
        let texts = table.iter().map(|(property, allowed)| {
            let texts: BTreeSet<String> = self.as_texts(property.get_ref(), allowed)?.into_iter().collect();
            Ok((property.get_ref().to_string(), texts))
        });
        texts.collect()
    }

    /// The tables under a key: a list of them, or a single one.
    pub fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'f>>, Problem> {
        let Some(value) = self.ask(key) else {
            return Ok(Vec::new());
        };
        match value.get_ref() {
            DeValue::Array(list) => list.iter().map(|value| self.as_section(key, value)).collect(),
            _ => Ok(vec![self.as_section(key, value)?]),
        }
    }

    /// Makes sure that every key has been asked for.
    pub fn finish(&self) -> Result<(), Problem> {
        let stranger = self.table.keys().find(|key| !self.asked.contains(&&**key.get_ref()));
        match stranger {
            None => Ok(()),
            Some(key) => {
                let (name, known) = (key.get_ref(), self.asked.join(", "));
                Err(self.problem_at(key.span().start, format!("`{name}` is no key of this; its keys are {known}")))
            }
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<Written<'f>> {
        self.asked.push(key);
        self.get(key)
    }

    fn get(&self, key: &str) -> Option<Written<'f>> {
        self.table.iter().find(|(name, _)| **name.get_ref() == *key).map(|(_, value)| value)
    }

    fn as_text(&self, key: &str, value: Written<'f>) -> Result<&'f str, Problem> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            other => {
                let message = format!("`{key}` is {}; write a text in quotes", kind(other));
                Err(self.problem_at(value.span().start, message))
            }
        }
    }

    fn as_texts(&self, key: &str, value: Written<'f>) -> Result<Vec<String>, Problem> {
        match value.get_ref() {
            DeValue::Array(list) => list.iter().map(|text| self.as_text(key, text).map(str::to_owned)).collect(),
            _ => Ok(vec![self.as_text(key, value)?.to_owned()]),
        }
    }

    fn as_section(&self, key: &str, value: Written<'f>) -> Result<Section<'f>, Problem> {
        let starts_at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => {
                Ok(Section { file: self.file, table, starts_at, what: String::new(), asked: Vec::new() })
            }
            other => {
                let message =
                    format!("`{key}` is {}; write a table, such as [[{key}]] or {key} = {{ ... }}", kind(other));
                Err(self.problem_at(starts_at, message))
            }
        }
    }

    fn wrong_kind(&self, key: &str, found: &DeValue<'_>, wanted: &str) -> Problem {
        self.problem_with(key, format!("`{key}` is {}; write {wanted}", kind(found)))
    }
}

/// What a value is, in words.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(integer) => format!("{integer}"),
        DeValue::Float(float) => format!("the float {}", float.as_str()),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::Datetime(datetime) => format!("the time {datetime}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
