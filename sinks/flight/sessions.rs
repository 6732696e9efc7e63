//! Session options: a driver may name the catalog and schema, which there are one of each.
//!
//! The messages are those of the Flight protocol; our library does not have them yet. Nothing
//! is remembered, because nothing but the one catalog and schema can be set.

use std::collections::HashMap;

use prost::{Enumeration, Message, Oneof};

use crate::error::Error;
use crate::sql::{CATALOG, SCHEMA};

/// The value of an option.
#[derive(Clone, PartialEq, Message)]
pub struct SessionOptionValue {
    /// The value; none takes the option back.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4")]
    pub value: Option<OptionValue>,
}

/// The kinds of values.
#[derive(Clone, PartialEq, Oneof)]
pub enum OptionValue {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Truth.
    #[prost(bool, tag = "2")]
    Truth(bool),
    /// A whole number.
    #[prost(sfixed64, tag = "3")]
    Number(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Real(f64),
}

/// Options by name: what a client sets, and what it is told.
#[derive(Clone, PartialEq, Message)]
pub struct SessionOptions {
    /// The options.
    #[prost(map = "string, message", tag = "1")]
    pub options: HashMap<String, SessionOptionValue>,
}

/// Which options could not be set.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsResult {
    /// Why not, by name; empty if all were set.
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetError>,
}

/// Why an option could not be set.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SetError {
    /// The reason.
    #[prost(enumeration = "SetErrorValue", tag = "1")]
    pub value: i32,
}

/// The reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SetErrorValue {
    /// No reason.
    Unspecified = 0,
    /// There is no such option.
    InvalidName = 1,
    /// There is, but not with this value.
    InvalidValue = 2,
}

/// What became of a session.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CloseSessionResult {
    /// 1: it is closed.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Sets the options in `body`, or says which could not be set.
pub fn set(body: &[u8]) -> Result<SetSessionOptionsResult, Error> {
    let asked =
        SessionOptions::decode(body).map_err(|_| Error::NotUnderstood("the options are not understood".into()))?;
    let wrong = asked.options.iter().filter_map(|(name, value)| Some((name.clone(), refusal(name, value)?)));
    Ok(SetSessionOptionsResult { errors: wrong.collect() })
}

/// The options as they are.
pub fn get() -> SessionOptions {
    let text = |value: &str| SessionOptionValue { value: Some(OptionValue::Text(value.to_owned())) };
    SessionOptions { options: HashMap::from([("catalog".into(), text(CATALOG)), ("schema".into(), text(SCHEMA))]) }
}

/// Closes the session, of which nothing was kept.
pub fn close() -> CloseSessionResult {
    CloseSessionResult { status: 1 }
}

fn refusal(name: &str, value: &SessionOptionValue) -> Option<SetError> {
    let only = match name {
        "catalog" => CATALOG,
        "schema" => SCHEMA,
        _ => return Some(SetError { value: SetErrorValue::InvalidName.into() }),
    };
    match &value.value {
        None => None,
        Some(OptionValue::Text(text)) if text == only => None,
        Some(_) => Some(SetError { value: SetErrorValue::InvalidValue.into() }),
    }
}
