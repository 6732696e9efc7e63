//! The short way through an event that is plainly written, as nearly all are: no escapes, no
//! control characters, nothing nested but `data`, and `type` before `data`.
//!
//! Law: where it gives an answer, the long way finds the same. Where it gives none, that says
//! nothing about the event, and the long way decides. It reads twice as fast, since whole lines
//! are checked for escapes and control characters at once, and strings need only their end.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::envelope::{Envelope, Member};
use crate::columns::Columns;
use crate::value::Value;

impl<'a> Envelope<'a> {
    /// Finds what is in `json`, if it is plainly written. Otherwise it may leave pieces behind.
    pub fn read_plain(&mut self, json: &'a str, columns: &BTreeMap<String, Columns>) -> Option<()> {
        let json = json.trim_ascii_end();
        if !is_plain(json) {
            return None;
        }
        let Envelope { attributes, data } = self;
        let mut cursor = Cursor(json);
        cursor.members(|cursor, key| match Member::named(key) {
            Member::Attribute(attribute) => {
                attributes.put(attribute, cursor.scalar()?);
                Some(())
            }
            Member::Data => {
                let columns = columns_so_far(attributes, columns)?;
                attributes.put_data();
                let slots = data.slots_for(columns);
                cursor.members(|cursor, key| {
                    let value = cursor.scalar()?;
                    if let Some(slot) = columns.slot(key) {
                        slots.put(slot, value);
                    }
                    Some(())
                })
            }
            Member::Other => cursor.scalar().map(drop),
        })?;
        cursor.0.is_empty().then_some(())
    }
}

fn columns_so_far<'c>(attributes: &Attributes<'_>, columns: &'c BTreeMap<String, Columns>) -> Option<&'c Columns> {
    columns.get(attributes.event_type()?)
}

/// Whether every quote in the text begins or ends a string, and no string holds what JSON
/// would not have in it. One pass without branches.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(0, |found, byte| found | u8::from(byte < b' ') | u8::from(byte == b'\\')) == 0
}

/// What of a plain text is still to be read.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Reads an object; `member` is called after each key and its colon, and reads the value.
    #[inline]
    fn members(&mut self, mut member: impl FnMut(&mut Cursor<'a>, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            self.expect(b'"')?;
            let key = self.string_rest()?;
            self.expect(b':')?;
            member(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads a value that is neither list nor object.
    #[inline]
    fn scalar(&mut self) -> Option<Value<'a>> {
        if self.peek()? == b'"' {
            self.next()?;
            return self.string_rest().map(|text| Value::Text(Cow::Borrowed(text)));
        }
        let length = self.0.bytes().position(|byte| matches!(byte, b',' | b'}' | b' '))?;
        let (word, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        match word {
            "null" => Some(Value::Absent),
            "true" | "false" => Some(Value::Word(word)),
            _ => is_number(word.as_bytes()).then_some(Value::Word(word)),
        }
    }

    /// Reads a string whose first quote has been read.
    #[inline]
    fn string_rest(&mut self) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(quote_at(self.0.as_bytes())?)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// The next byte that is no space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.0.as_bytes().first()? {
                b' ' => self.0 = &self.0[1..],
                byte => return Some(byte),
            }
        }
    }

    /// Reads the next byte that is no space; none if it is not ASCII either.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.0 = self.0.get(1..)?;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

/// Where the first quote is. Strings are short, so eight bytes at a time beat a wider search
/// that has to be called.
#[inline]
fn quote_at(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    let (eights, rest) = bytes.as_chunks();
    for (number, eight) in eights.iter().enumerate() {
        // Where a byte is a quote, this is zero; taking one away then borrows into its high bit.
        let differs = u64::from_le_bytes(*eight) ^ QUOTES;
        let quotes = differs.wrapping_sub(ONES) & !differs & HIGHS;
        if quotes != 0 {
            return Some(number * 8 + quotes.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| *byte == b'"')?;
    Some(bytes.len() - rest.len() + found)
}

/// Whether this is a number as JSON has it: no plus, no zero in front, digits around the point.
fn is_number(word: &[u8]) -> bool {
    let digits = |word: &[u8]| word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    match &rest[whole..] {
        [] => true,
        // Exponents are rare enough for the long way.
        [b'.', fraction @ ..] => !fraction.is_empty() && digits(fraction) == fraction.len(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use trueup_model::layout::{EventLayout, NumberColumn};

    use super::*;

    fn columns() -> BTreeMap<String, Columns> {
        let layout = EventLayout {
            event_type: "call".into(),
            numbers: vec![NumberColumn { property: "tokens".into(), scale: 3 }],
            texts: Vec::new(),
            dimensions: vec!["model".into()],
        };
        let layout = Arc::new(layout);
        [("call".to_owned(), Columns::of(&layout, &layout))].into()
    }

    /// Whether the short way was taken; panics if it found anything else than the long way.
    fn agrees(json: &str) -> bool {
        let columns = columns();
        let (mut short, mut long) = (Envelope::new(Vec::new()), Envelope::new(Vec::new()));
        if short.read_plain(json, &columns).is_none() {
            return false;
        }
        long.read_any(json).expect("the short way takes only JSON");
        assert_eq!(short.attributes, long.attributes, "{json}");
        let wanted = &columns["call"];
        if short.attributes.names().is_ok_and(|names| names.event_type == "call") {
            assert_eq!(short.data.values(wanted), long.data.values(wanted), "{json}");
        }
        true
    }

    #[test]
    fn plain_events_go_the_short_way() {
        for json in [
            r#"{"id":"1","source":"/a","type":"call","subject":"acme","data":{"tokens":12.5,"model":"m"}}"#,
            r#" { "type" : "call" , "data" : { "tokens" : -0 , "x" : null } } "#,
            r#"{"type":"call","data":{}}"#,
            r#"{"id":"1","id":"2","type":"call","data":{"tokens":1,"tokens":2}}"#,
            r#"{"type":"call","data":{"tokens":1},"data":{}}"#,
            r#"{}"#,
        ] {
            assert!(agrees(json), "{json}");
        }
    }

    #[test]
    fn everything_else_goes_the_long_way() {
        for json in [
            r#"{"id":"\u0031"}"#,
            r#"{"data":{},"type":"call"}"#,
            r#"{"id":[1]}"#,
            r#"{"revision":1e2}"#,
            r#"{"id":"1"}}"#,
            r#"{"id":"1",}"#,
            r#"{"id":01}"#,
            r#"{"id":+1}"#,
            r#"{"id":1.}"#,
            r#"{"id":nul}"#,
            "{\"id\":\"a\tb\"}",
            "",
            "{",
        ] {
            assert!(!agrees(json), "{json}");
        }
    }

    proptest! {
        #[test]
        fn the_first_quote_is_found(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'#'), Just(b'!'), any::<u8>()], 0..40),
        ) {
            prop_assert_eq!(quote_at(&bytes), bytes.iter().position(|byte| *byte == b'"'));
        }

        #[test]
        fn both_ways_agree_on_texts_that_look_like_events(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", ",", ":", " ", "\t", "\"id\"", "\"type\"", "\"call\"", "\"data\"", "\"tokens\"",
                "\"model\"", "\"\\u0031\"", "\"é\"", "\"", "12", "-0.5", "01", "1e3", "true", "false", "null", "x",
                "{\"type\":\"call\",\"data\":{", "\"id\":\"1\",", "\"tokens\":7,", "\"model\":\"m\"}}", "}}",
            ]), 0..14)
        ) {
            agrees(&pieces.concat());
        }
    }
}
