//! A value as its sender wrote it. Numbers stay text until a column says how many places it
//! keeps, so no digit passes through a float.

use std::borrow::Cow;

use trueup_model::decimal;

use crate::fault::Fault;
use crate::limits::{check_quantity, check_text, shown};

/// One value of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A text without its quotes and escapes.
    Text(Cow<'a, str>),
    /// A number or a truth value, as written.
    Word(&'a str),
    /// A text whose escapes stand for no characters.
    Broken(&'a str),
    /// Several values, as written: a list or an object.
    Nested(&'a str),
}

impl<'a> Value<'a> {
    /// The value that a whole JSON text stands for.
    pub fn of_json(json: &'a str) -> Value<'a> {
        match json.as_bytes() {
            [b'"', .., b'"'] => Value::of_json_text(json),
            [b'[' | b'{', ..] => Value::Nested(json),
            [] | [b'n', ..] => Value::Absent,
            _ => Value::Word(json),
        }
    }

    fn of_json_text(json: &'a str) -> Value<'a> {
        let inside = &json[1..json.len() - 1];
        if !inside.contains('\\') {
            return Value::Text(Cow::Borrowed(inside));
        }
        match serde_json::from_str(json) {
            Ok(text) => Value::Text(Cow::Owned(text)),
            Err(_) => Value::Broken(json),
        }
    }

    /// The value as it was written, a text without its quotes; none where it is absent.
    pub fn written(self) -> Option<String> {
        match self {
            Value::Absent => None,
            Value::Text(text) => Some(text.into_owned()),
            Value::Word(json) | Value::Broken(json) | Value::Nested(json) => Some(json.to_owned()),
        }
    }

    /// The value as an exact count of 10^-`scale`.
    pub fn number(&self, property: &str, scale: u32) -> Result<i128, Fault> {
        let text = match self {
            Value::Absent => return Err(missing_property(property)),
            Value::Text(text) => text,
            Value::Word(text @ ("true" | "false")) | Value::Nested(text) | Value::Broken(text) => {
                let shown = shown(text);
                return Err(Fault::out_of_range(format!(
                    "`data.{property}` is {shown}, which is no number; write it like 12.5 or \"12.5\""
                )));
            }
            Value::Word(text) => *text,
        };
        let quantity = decimal::parse(text, scale).map_err(|error| {
            let shown = shown(text);
            Fault::out_of_range(format!("`data.{property}` is {shown}: {error}"))
        })?;
        check_quantity(property, quantity, scale)?;
        Ok(quantity)
    }

    /// The value as a text; none where it is absent.
    pub fn text(&self, property: &str) -> Result<Option<&str>, Fault> {
        let text: &str = match self {
            Value::Absent => return Ok(None),
            Value::Text(text) => text,
            Value::Word(text) => text,
            Value::Broken(json) => return Err(broken(&format!("data.{property}"), json)),
            Value::Nested(_) => {
                return Err(Fault::out_of_range(format!(
                    "`data.{property}` is a list or an object; give one text, number or truth value"
                )));
            }
        };
        check_text(property, text)?;
        Ok(Some(text))
    }
}

/// Which of some numbered places have been filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    first: u64,
    others: Vec<usize>,
}

impl Taken {
    /// Fills a place; whether it had been filled before.
    #[inline]
    pub fn again(&mut self, place: usize) -> bool {
        match 1u64.checked_shl(place as u32) {
            Some(bit) => {
                let was_taken = self.first & bit != 0;
                self.first |= bit;
                was_taken
            }
            None => {
                let was_taken = self.others.contains(&place);
                self.others.push(place);
                was_taken
            }
        }
    }
}

/// The fault of a property that a meter reads and an event does not have.
pub(crate) fn missing_property(property: &str) -> Fault {
    Fault::missing(format!("`data.{property}` is missing, and a meter reads it; send it with every event of this type"))
}

/// The fault of a JSON text that names half a character.
pub(crate) fn broken(name: &str, json: &str) -> Fault {
    let shown = shown(json);
    Fault::unreadable(format!("`{name}` is {shown}, whose escapes are not all characters; send it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_whether_quoted_or_not() {
        for json in ["123456789012345.67890123", "\"123456789012345.67890123\"", "\"\\u003123456789012345.67890123\""] {
            assert_eq!(Value::of_json(json).number("tokens", 8), Ok(12_345_678_901_234_567_890_123), "{json}");
        }
        assert!(Value::of_json("0.123").number("tokens", 2).is_err());
        assert!(Value::of_json("true").number("tokens", 2).is_err());
        assert!(Value::of_json("null").number("tokens", 2).is_err());
    }

    #[test]
    fn dimensions_are_texts_as_written() {
        assert_eq!(Value::of_json("1.0").text("size"), Ok(Some("1.0")));
        assert_eq!(Value::of_json("true").text("cached"), Ok(Some("true")));
        assert_eq!(Value::of_json("null").text("cached"), Ok(None));
        assert_eq!(Value::of_json("\"a\\u0062\"").text("name"), Ok(Some("ab")));
        assert!(Value::of_json("\"\\ud800\"").text("name").is_err());
        assert!(Value::of_json("[1]").text("name").is_err());
    }
}
