//! The attributes that every event has, checked: who it is, when it was, and which statement.

use std::borrow::Cow;

use trueup_model::grain::Micros;

use super::envelope::Envelope;
use crate::fault::Fault;
use crate::limits::{ID_BYTES_MAX, SOURCE_BYTES_MAX, check_name, shown};
use crate::time_text::instant;
use crate::value::{Value, broken};

/// The attributes that are read, each by its place.
pub(super) const ATTRIBUTES: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "revision", "retract"];
pub(super) const SPEC_VERSION: usize = 0;
pub(super) const ID: usize = 1;
pub(super) const SOURCE: usize = 2;
pub(super) const TYPE: usize = 3;
pub(super) const SUBJECT: usize = 4;
pub(super) const TIME: usize = 5;
pub(super) const REVISION: usize = 6;
pub(super) const RETRACT: usize = 7;

/// Who an event is.
pub(super) struct Names<'a> {
    pub source: Cow<'a, str>,
    pub id: Cow<'a, str>,
    pub event_type: Cow<'a, str>,
    pub subject: Cow<'a, str>,
}

/// Which statement about the event this is.
pub(super) struct Statement {
    pub occurred_at: Micros,
    pub revision: u32,
    pub retract: bool,
}

impl<'a> Envelope<'a> {
    /// The names, if all are there and fit to be kept.
    pub fn names(&self) -> Result<Names<'a>, Fault> {
        self.check_form()?;
        let names = Names {
            id: self.required(ID)?,
            source: self.required(SOURCE)?,
            event_type: self.required(TYPE)?,
            subject: self.required(SUBJECT)?,
        };
        check_name("id", &names.id, ID_BYTES_MAX)?;
        check_name("source", &names.source, SOURCE_BYTES_MAX)?;
        check_name("subject", &names.subject, ID_BYTES_MAX)?;
        Ok(names)
    }

    /// The statement. A retraction without a time has time 0, since none is needed.
    pub fn statement(&self) -> Result<Statement, Fault> {
        let retract = self.retract()?;
        let occurred_at = match self.text(TIME)? {
            Some(time) => instant("time", &time)?,
            None if retract => 0,
            None => return Err(missing(TIME)),
        };
        Ok(Statement { occurred_at, revision: self.revision()?, retract })
    }

    fn check_form(&self) -> Result<(), Fault> {
        if let Some(attribute) = self.repeated {
            return Err(Fault::unreadable(format!("`{attribute}` is there twice; send it once")));
        }
        match self.text(SPEC_VERSION)?.as_deref() {
            None | Some("1.0") => Ok(()),
            Some(version) => {
                let shown = shown(version);
                Err(Fault::unreadable(format!("`specversion` is {shown}; send CloudEvents 1.0")))
            }
        }
    }

    fn required(&self, attribute: usize) -> Result<Cow<'a, str>, Fault> {
        self.text(attribute)?.ok_or_else(|| missing(attribute))
    }

    fn text(&self, attribute: usize) -> Result<Option<Cow<'a, str>>, Fault> {
        let name = ATTRIBUTES[attribute];
        let found = match Value::of_json(self.attributes[attribute]) {
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
        let value = Value::of_json(self.attributes[REVISION]);
        let parsed = match &value {
            Value::Absent => Some(0),
            Value::Text(text) => text.parse().ok(),
            Value::Word(word) => word.parse().ok(),
            Value::Broken(_) | Value::Nested(_) => None,
        };
        parsed.ok_or_else(|| {
            let shown = shown(self.attributes[REVISION]);
            Fault::out_of_range(format!("`revision` is {shown}; write a whole number from 0 to {}", u32::MAX))
        })
    }

    fn retract(&self) -> Result<bool, Fault> {
        match Value::of_json(self.attributes[RETRACT]) {
            Value::Absent | Value::Word("false") => Ok(false),
            Value::Word("true") => Ok(true),
            // Protocols that carry extensions as headers know only texts.
            Value::Text(text) if text == "false" => Ok(false),
            Value::Text(text) if text == "true" => Ok(true),
            _ => {
                let shown = shown(self.attributes[RETRACT]);
                Err(Fault::out_of_range(format!("`retract` is {shown}; write true or false")))
            }
        }
    }
}

fn missing(attribute: usize) -> Fault {
    let name = ATTRIBUTES[attribute];
    Fault::missing(format!("`{name}` is missing; every usage event needs id, source, type, subject and time"))
}
