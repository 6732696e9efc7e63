//! The attributes that every event has: who it is, when it was, and which statement.

use trueup_model::grain::Micros;

use crate::fault::{Fault, Sender};
use crate::limits::{ID_BYTES_MAX, SOURCE_BYTES_MAX, check_name, shown};
use crate::time_text::instant;
use crate::value::{Taken, Value, broken};

/// The attributes that are read, each by its place.
pub(crate) const NAMES: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "revision", "retract"];
pub(crate) const SPEC_VERSION: usize = 0;
pub(crate) const ID: usize = 1;
pub(crate) const SOURCE: usize = 2;
pub(crate) const TYPE: usize = 3;
pub(crate) const SUBJECT: usize = 4;
pub(crate) const TIME: usize = 5;
pub(crate) const REVISION: usize = 6;
pub(crate) const RETRACT: usize = 7;
/// Not an attribute, but it too may be there only once.
const DATA: usize = 8;

/// The place of an attribute, if it is one that is read. Written as a match, which the compiler
/// turns into a comparison of words.
#[inline]
pub(crate) fn named(key: &str) -> Option<usize> {
    Some(match key {
        "specversion" => SPEC_VERSION,
        "id" => ID,
        "source" => SOURCE,
        "type" => TYPE,
        "subject" => SUBJECT,
        "time" => TIME,
        "revision" => REVISION,
        "retract" => RETRACT,
        _ => return None,
    })
}

/// What was found of the attributes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Attributes<'a> {
    values: [Value<'a>; NAMES.len()],
    taken: Taken,
    repeated: Option<&'static str>,
}

/// Who an event is.
pub(super) struct Names<'a> {
    pub source: &'a str,
    pub id: &'a str,
    pub event_type: &'a str,
    pub subject: &'a str,
}

/// Which statement about the event this is.
pub(super) struct Statement {
    pub occurred_at: Micros,
    pub revision: u32,
    pub retract: bool,
}

impl<'a> Attributes<'a> {
    /// Remembers an attribute.
    #[inline]
    pub fn put(&mut self, attribute: usize, value: Value<'a>) {
        if self.taken.again(attribute) {
            self.repeated = Some(NAMES[attribute]);
        }
        self.values[attribute] = value;
    }

    /// Remembers that there is `data`.
    #[inline]
    pub fn put_data(&mut self) {
        if self.taken.again(DATA) {
            self.repeated = Some("data");
        }
    }

    /// The type, if it has been found and is a text.
    pub fn event_type(&self) -> Option<&str> {
        readable(&self.values[TYPE])
    }

    /// Who sent the event, as far as that was found.
    pub fn sender(&self) -> Sender<'_> {
        Sender { source: readable(&self.values[SOURCE]), id: readable(&self.values[ID]) }
    }

    /// The names, if all are there and fit to be kept.
    pub fn names(&self) -> Result<Names<'_>, Fault> {
        self.check_form()?;
        let names = Names {
            id: self.required(ID)?,
            source: self.required(SOURCE)?,
            event_type: self.required(TYPE)?,
            subject: self.required(SUBJECT)?,
        };
        check_name("id", names.id, ID_BYTES_MAX)?;
        check_name("source", names.source, SOURCE_BYTES_MAX)?;
        check_name("subject", names.subject, ID_BYTES_MAX)?;
        Ok(names)
    }

    /// The statement. A retraction without a time has time 0, since none is needed.
    pub fn statement(&self) -> Result<Statement, Fault> {
        let retract = self.retract()?;
        let occurred_at = match self.text(TIME)? {
            Some(time) => instant("time", time)?,
            None if retract => 0,
            None => return Err(missing(TIME)),
        };
        Ok(Statement { occurred_at, revision: self.revision()?, retract })
    }

    fn check_form(&self) -> Result<(), Fault> {
        if let Some(name) = self.repeated {
            return Err(Fault::unreadable(format!("`{name}` is there twice; send it once")));
        }
        spec_version(self.text(SPEC_VERSION)?)
    }

    fn required(&self, attribute: usize) -> Result<&str, Fault> {
        self.text(attribute)?.ok_or_else(|| missing(attribute))
    }

    fn text(&self, attribute: usize) -> Result<Option<&str>, Fault> {
        let name = NAMES[attribute];
        let found = match &self.values[attribute] {
            Value::Absent => return Ok(None),
            Value::Text(text) => return Ok(Some(text)),
            Value::Broken(json) => return Err(broken(name, json)),
            Value::Word("true" | "false") => "a truth value",
            Value::Word(_) => "a number",
            Value::Nested(_) => "a list or an object",
        };
        Err(Fault::unreadable(format!("`{name}` is {found}; write it as a text, in quotes")))
    }

    fn revision(&self) -> Result<u32, Fault> {
        let written = match &self.values[REVISION] {
            Value::Absent => return Ok(0),
            Value::Text(text) => text,
            Value::Word(json) | Value::Broken(json) | Value::Nested(json) => *json,
        };
        revision(written)
    }

    fn retract(&self) -> Result<bool, Fault> {
        let written = match &self.values[RETRACT] {
            Value::Absent => return Ok(false),
            // Protocols that carry extensions as headers know only texts.
            Value::Text(text) => text,
            Value::Word(json) | Value::Broken(json) | Value::Nested(json) => *json,
        };
        retract(written)
    }
}

/// Checks which CloudEvents it says to be.
pub(crate) fn spec_version(written: Option<&str>) -> Result<(), Fault> {
    match written {
        None | Some("1.0") => Ok(()),
        Some(version) => {
            let shown = shown(version);
            Err(Fault::unreadable(format!("`specversion` is {shown}; send CloudEvents 1.0")))
        }
    }
}

/// Reads a revision.
pub(crate) fn revision(written: &str) -> Result<u32, Fault> {
    let is_number = written.bytes().all(|byte| byte.is_ascii_digit());
    written.parse().ok().filter(|_| is_number).ok_or_else(|| {
        let shown = shown(written);
        Fault::out_of_range(format!("`revision` is {shown}; write a whole number from 0 to {}", u32::MAX))
    })
}

/// Reads whether an event is a retraction.
pub(crate) fn retract(written: &str) -> Result<bool, Fault> {
    match written {
        "false" => Ok(false),
        "true" => Ok(true),
        _ => {
            let shown = shown(written);
            Err(Fault::out_of_range(format!("`retract` is {shown}; write true or false")))
        }
    }
}

fn readable<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The fault of an attribute that every event has and this one does not.
pub(crate) fn missing(attribute: usize) -> Fault {
    let name = NAMES[attribute];
    Fault::missing(format!("`{name}` is missing; every usage event needs id, source, type, subject and time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_agree() {
        for (place, name) in NAMES.iter().enumerate() {
            assert_eq!(named(name), Some(place));
        }
        assert_eq!(named("Id"), None);
    }
}
