//! In which form a body holds events: as its content type says.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use super::answer::Refusal;
use crate::cloud_events::EventReader;
use crate::cloud_events::form::{ATTRIBUTES, Kind, joined, read_lines};
use crate::limits::{BATCH_BYTES_MAX, REFUSED_MAX};

/// The name of this way in.
const NAME: &str = "http";

/// In which form a body holds events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One CloudEvent, or a list of them.
    Whole,
    /// A CloudEvent, or a list of them, to a line.
    Lines,
    /// `data` alone; the attributes, here as members of a JSON object, came as headers.
    Binary(Map<String, Value>),
}

impl Form {
    /// The form that the headers announce.
    pub fn of(headers: &HeaderMap) -> Result<Form, Refusal> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match Kind::of(content_type) {
            Kind::Json | Kind::Unsaid if headers.contains_key("ce-id") => binary(headers).map(Form::Binary),
            Kind::Whole | Kind::Json => Ok(Form::Whole),
            Kind::Lines => Ok(Form::Lines),
            // Columns are put over Flight, which answers batch by batch.
            Kind::Columns | Kind::Unsaid | Kind::Other => Err(Refusal::Kind(content_type.to_owned())),
        }
    }

    /// Reads the events of a body; none are taken of one with too many that cannot be read, as each
    /// of them is kept with its reason.
    pub fn read(&self, layouts: Arc<Layouts>, tenant: &str, body: &[u8]) -> Result<EventBatch, Refusal> {
        let mut reader = EventReader::new(layouts, tenant, NAME);
        let mut builder = reader.batch();
        match self {
            Form::Whole if body.len() > BATCH_BYTES_MAX => return Err(Refusal::ListTooLarge),
            Form::Whole => reader.read_body(body, "the body", &mut builder),
            Form::Lines => read_lines(&mut reader, body, "", &mut builder),
            Form::Binary(attributes) => {
                let event = joined(attributes, body).map_err(|error| Refusal::Data(error.to_string()))?;
                reader.read_line(&event, "the request", &mut builder);
            }
        }
        let batch = builder.finish();
        match batch.refused.first() {
            Some(first) if batch.refused.len() > REFUSED_MAX => Err(Refusal::Unreadable(first.detail.clone())),
            None if batch.rows.is_empty() => Err(Refusal::Empty),
            _ => Ok(batch),
        }
    }
}

/// The attributes among the headers.
fn binary(headers: &HeaderMap) -> Result<Map<String, Value>, Refusal> {
    let mut attributes = Map::new();
    for name in ATTRIBUTES {
        let mut values = headers.get_all(format!("ce-{name}")).iter();
        let (Some(value), others) = (values.next(), values.next()) else { continue };
        let text = value.to_str().ok().filter(|_| others.is_none()).ok_or(Refusal::Header(name))?;
        let text = decoded(text).ok_or(Refusal::HeaderEncoding(name))?;
        attributes.insert(name.to_owned(), Value::from(text));
    }
    Ok(attributes)
}

/// The text that a header stands for, by the HTTP binding of CloudEvents (3.1.3.2): what is in double
/// quotes is taken out of them, and then `%xy` is a byte. The binding has a percent sign and a quote
/// encoded themselves, so one that means nothing is a mistake of the sender, and not a guess of ours.
fn decoded(value: &str) -> Option<String> {
    let text = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if value.contains('"') => return None,
        None => value.to_owned(),
    };
    let is_byte = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let is_encoded = text.split('%').skip(1).all(is_byte);
    is_encoded.then(|| percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)).flatten()
}

/// What stands behind a first quote, up to the last one; a backslash stands for what follows it.
fn unquoted(quoted: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), quoted.chars());
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(text),
            '\\' => text.push(rest.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("it is a header"));
        }
        headers
    }

    #[test]
    fn the_content_type_says_the_form() {
        let form = |kind| Form::of(&headers(&[("content-type", kind)]));
        assert_eq!(form("application/cloudevents+json; charset=utf-8"), Ok(Form::Whole));
        assert_eq!(form("Application/JSON"), Ok(Form::Whole));
        assert_eq!(form("application/x-ndjson"), Ok(Form::Lines));
        assert_eq!(form("text/csv"), Err(Refusal::Kind("text/csv".to_owned())));
        assert_eq!(Form::of(&headers(&[])), Err(Refusal::Kind(String::new())));
    }

    #[test]
    fn headers_become_attributes() {
        let headers = headers(&[
            ("content-type", "application/json"),
            ("ce-id", "call-1"),
            ("ce-source", "/caf%C3%A9"),
            ("ce-revision", "2"),
        ]);
        let Ok(Form::Binary(attributes)) = Form::of(&headers) else { panic!("it is binary mode") };
        let said = |name: &str| attributes[name].as_str().unwrap();
        assert_eq!((said("id"), said("source"), said("revision")), ("call-1", "/café", "2"));
    }

    #[test]
    fn a_header_is_decoded_once_or_refused() {
        for (value, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%63%61%6c%6C", "call"),
            ("100%25", "100%"),
            ("%2541", "%41"),
            ("a%22b", "a\"b"),
            ("a b", "a b"),
            ("\"a b\"", "a b"),
            ("\"a\\\"\\\\%2Fb\"", "a\"\\/b"),
            ("\"\"", ""),
            ("", ""),
        ] {
            assert_eq!(decoded(value).as_deref(), Some(text), "{value}");
        }
        for value in [
            "%",
            "a%",
            "a%4",
            "%4g",
            "%g4",
            "%%20",
            "100%",
            "% 20",
            "%+1",
            "%u0041",
            "%C0%A0",
            "%ff",
            "%ED%A0%80",
            "%E2%82",
            "a\"b",
            "a\"",
            "\"",
            "\"a",
            "\"a\"b",
            "\"a\"\"b\"",
            "\"a\\\"",
            "\"%\"",
            "\"%2\"2",
        ] {
            assert_eq!(decoded(value), None, "{value}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let headers = headers(&[("ce-id", "1"), ("ce-id", "2")]);
        assert_eq!(Form::of(&headers), Err(Refusal::Header("id")));
    }
}
