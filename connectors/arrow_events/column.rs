//! A column, seen as the values that events have: texts, exact numbers, instants, truth values.
//!
//! Which kind a column is of is found out once for all its rows. Floats are of no kind: what they
//! hold is not what was written.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use trueup_model::grain::Micros;

use super::exact::{Decimals, Integers};
use super::table::{Content, Named};
use crate::cloud_events::attributes::{missing, retract, revision};
use crate::fault::Fault;
use crate::limits::{TEXT_BYTES_MAX, check_text, cut};
use crate::time_text::instant;
use crate::value::{Value, missing_property};

/// In place of the key of a dictionary: there is no value.
const NO_KEY: u32 = u32::MAX;

/// A column of a table.
pub(super) struct Column<'a> {
    around: Option<&'a NullBuffer>,
    keys: Option<Vec<u32>>,
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

/// The values of a column, or those of its dictionary.
enum Values<'a> {
    Absent,
    Text(Texts<'a>),
    Integer(Integers<'a>),
    Decimal(Decimals<'a>),
    Truth(&'a BooleanArray),
    Instant(&'a [i64], TimeUnit),
    /// What it holds instead, and the remedy.
    Foreign {
        held: String,
        remedy: &'static str,
    },
}

enum Texts<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl Texts<'_> {
    fn get(&self, place: usize) -> &str {
        match self {
            Texts::Small(texts) => texts.value(place),
            Texts::Large(texts) => texts.value(place),
            Texts::View(texts) => texts.value(place),
        }
    }
}

impl<'a> Column<'a> {
    /// A column in which no row has a value.
    pub const ABSENT: Column<'static> = Column { around: None, keys: None, nulls: None, values: Values::Absent };

    /// The column of a table.
    pub fn of(named: &'a Named) -> Column<'a> {
        match &named.content {
            Content::Values(array) => Column { around: named.around.as_ref(), ..Column::of_array(array) },
            Content::Foreign(kind) => foreign(kind, OF_EVENTS),
        }
    }

    /// A property that is in two columns.
    pub fn twice() -> Column<'a> {
        foreign("which there are two", "; send it once")
    }

    fn of_array(array: &'a ArrayRef) -> Column<'a> {
        let DataType::Dictionary(_, kind) = array.data_type() else {
            return Column { around: None, keys: None, nulls: array.nulls(), values: Values::of(array) };
        };
        if matches!(**kind, DataType::Dictionary(..)) {
            return foreign("dictionaries of dictionaries", OF_EVENTS);
        }
        let values = array.as_any_dictionary().values();
        let keys = Some(keys(array));
        Column { around: None, keys, nulls: values.nulls(), values: Values::of(values) }
    }

    /// Where the value of a row is, if it has one.
    fn place(&self, row: usize) -> Option<usize> {
        if self.around.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let place = match &self.keys {
            _ if matches!(self.values, Values::Absent) => return None,
            None => row,
            Some(keys) => Some(keys[row]).filter(|key| *key != NO_KEY)? as usize,
        };
        (!self.nulls.is_some_and(|nulls| nulls.is_null(place))).then_some(place)
    }

    /// Whether it can hold texts.
    pub fn has_texts(&self) -> bool {
        matches!(self.values, Values::Absent | Values::Text(_))
    }

    /// Whether it can hold instants.
    pub fn has_instants(&self) -> bool {
        self.has_texts() || matches!(self.values, Values::Instant(..))
    }

    /// Whether it can hold revisions.
    pub fn has_revisions(&self) -> bool {
        self.has_texts() || matches!(self.values, Values::Integer(_))
    }

    /// Whether it can hold truth values.
    pub fn has_truths(&self) -> bool {
        self.has_texts() || matches!(self.values, Values::Truth(_))
    }

    /// The text of a row; none where there is none, or where the column holds no texts.
    pub fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) => Some(texts.get(self.place(row)?)),
            _ => None,
        }
    }

    /// The text of a row, which must have one.
    pub fn required(&self, row: usize, attribute: usize) -> Result<&str, Fault> {
        self.text(row).ok_or_else(|| missing(attribute))
    }

    /// The instant of a row; none where there is none.
    pub fn instant(&self, row: usize) -> Result<Option<Micros>, Fault> {
        let Some(place) = self.place(row) else { return Ok(None) };
        match &self.values {
            Values::Text(texts) => short("time", texts.get(place)).and_then(|text| instant("time", text)).map(Some),
            Values::Instant(instants, unit) => micros(instants[place], *unit).map(Some),
            _ => Ok(None),
        }
    }

    /// The revision of a row; 0 where there is none.
    pub fn revision(&self, row: usize) -> Result<u32, Fault> {
        let Some(place) = self.place(row) else { return Ok(0) };
        match &self.values {
            Values::Text(texts) => short("revision", texts.get(place)).and_then(revision),
            Values::Integer(integers) => {
                let written = integers.get(place);
                u32::try_from(written).or_else(|_| revision(&written.to_string()))
            }
            _ => Ok(0),
        }
    }

    /// Whether a row takes its event back.
    pub fn retract(&self, row: usize) -> Result<bool, Fault> {
        let Some(place) = self.place(row) else { return Ok(false) };
        match &self.values {
            Values::Text(texts) => retract(texts.get(place)),
            Values::Truth(truths) => Ok(truths.value(place)),
            _ => Ok(false),
        }
    }

    /// The quantity of a row as an exact count of 10^-`scale`.
    pub fn quantity(&self, row: usize, property: &str, scale: u32) -> Result<i128, Fault> {
        self.check_kind(property)?;
        let Some(place) = self.place(row) else { return Err(missing_property(property)) };
        match &self.values {
            Values::Text(texts) => {
                let text = texts.get(place);
                check_text(property, text)?;
                Value::Text(text.into()).number(property, scale)
            }
            Values::Integer(integers) => integers.quantity(place, property, scale),
            Values::Decimal(decimals) => decimals.quantity(place, property, scale),
            Values::Truth(_) | Values::Instant(..) | Values::Absent | Values::Foreign { .. } => {
                let written = self.written(row).unwrap_or_default();
                Value::Nested(&written).number(property, scale)
            }
        }
    }

    /// The value of a row as a text to be kept; none where there is none.
    pub fn kept(&self, row: usize, property: &str) -> Result<Option<Cow<'_, str>>, Fault> {
        self.check_kind(property)?;
        if let Values::Instant(..) = &self.values {
            let detail = format!("`data.{property}` is a column of instants; give them as texts");
            return Err(Fault::out_of_range(detail));
        }
        let written = self.written(row);
        written.as_deref().map_or(Ok(()), |text| check_text(property, text))?;
        Ok(written)
    }

    /// The value of a row as it would be written; none where there is none.
    pub fn written(&self, row: usize) -> Option<Cow<'_, str>> {
        let place = self.place(row)?;
        Some(match &self.values {
            Values::Text(texts) => Cow::Borrowed(texts.get(place)),
            Values::Integer(integers) => Cow::Owned(integers.get(place).to_string()),
            Values::Decimal(decimals) => Cow::Owned(decimals.written(place)),
            Values::Truth(truths) => Cow::Borrowed(if truths.value(place) { "true" } else { "false" }),
            Values::Instant(instants, unit) => Cow::Owned(format!("{} {}", instants[place], unit_name(*unit))),
            Values::Absent | Values::Foreign { .. } => return None,
        })
    }

    /// The value of a row as JSON has it, to be held against a schema; none where there is none.
    pub fn json(&self, row: usize) -> Option<serde_json::Value> {
        let written = self.written(row)?;
        let is_text = matches!(self.values, Values::Text(_) | Values::Instant(..));
        let plain = if is_text { None } else { serde_json::from_str(&written).ok() };
        Some(plain.unwrap_or_else(|| written.into_owned().into()))
    }

    fn check_kind(&self, property: &str) -> Result<(), Fault> {
        match &self.values {
            Values::Foreign { held, remedy } => {
                Err(Fault::out_of_range(format!("`data.{property}` is a column of {held}{remedy}")))
            }
            _ => Ok(()),
        }
    }

    /// The kind of what the column holds.
    pub fn kind(&self) -> &str {
        match &self.values {
            Values::Absent => "nothing",
            Values::Text(_) => "texts",
            Values::Integer(_) => "whole numbers",
            Values::Decimal(_) => "decimals",
            Values::Truth(_) => "truth values",
            Values::Instant(..) => "instants",
            Values::Foreign { held, .. } => held,
        }
    }
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef) -> Values<'a> {
        match array.data_type() {
            DataType::Null => Values::Absent,
            DataType::Utf8 => Values::Text(Texts::Small(array.as_string())),
            DataType::LargeUtf8 => Values::Text(Texts::Large(array.as_string())),
            DataType::Utf8View => Values::Text(Texts::View(array.as_string_view())),
            DataType::Int8 => Values::Integer(Integers::I8(slice::<Int8Type>(array))),
            DataType::Int16 => Values::Integer(Integers::I16(slice::<Int16Type>(array))),
            DataType::Int32 => Values::Integer(Integers::I32(slice::<Int32Type>(array))),
            DataType::Int64 => Values::Integer(Integers::I64(slice::<Int64Type>(array))),
            DataType::UInt8 => Values::Integer(Integers::U8(slice::<UInt8Type>(array))),
            DataType::UInt16 => Values::Integer(Integers::U16(slice::<UInt16Type>(array))),
            DataType::UInt32 => Values::Integer(Integers::U32(slice::<UInt32Type>(array))),
            DataType::UInt64 => Values::Integer(Integers::U64(slice::<UInt64Type>(array))),
            DataType::Decimal32(_, places) => Values::Decimal(Decimals::D32(slice::<Decimal32Type>(array), *places)),
            DataType::Decimal64(_, places) => Values::Decimal(Decimals::D64(slice::<Decimal64Type>(array), *places)),
            DataType::Decimal128(_, places) => Values::Decimal(Decimals::D128(slice::<Decimal128Type>(array), *places)),
            DataType::Decimal256(_, places) => Values::Decimal(Decimals::D256(slice::<Decimal256Type>(array), *places)),
            DataType::Boolean => Values::Truth(array.as_boolean()),
            DataType::Timestamp(unit, Some(_)) => Values::Instant(instants(array, *unit), *unit),
            DataType::Timestamp(_, None) => Values::Foreign {
                held: "timestamps without a zone".to_owned(),
                remedy: "; cast it to timestamps in UTC, or give texts with an offset",
            },
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Values::Foreign {
                held: array.data_type().to_string(),
                remedy: ", and floats are not exact; send decimals, whole numbers or texts",
            },
            DataType::FixedSizeBinary(_) => Values::Foreign { held: "bytes".to_owned(), remedy: OF_EVENTS },
            other => Values::Foreign { held: cut(&other.to_string(), 64).to_owned(), remedy: OF_EVENTS },
        }
    }
}

/// The remedy where a column is of no kind that events have.
const OF_EVENTS: &str = "; give texts, whole numbers, decimals or truth values";

/// A text that is read to its end. Many rows may share a long one, and each of them reads it.
fn short<'t>(attribute: &str, text: &'t str) -> Result<&'t str, Fault> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Ok(text),
        bytes => Err(Fault::out_of_range(format!("`{attribute}` has {bytes} bytes; write it in a few"))),
    }
}

fn foreign<'a>(held: &str, remedy: &'static str) -> Column<'a> {
    Column { around: None, keys: None, nulls: None, values: Values::Foreign { held: held.to_owned(), remedy } }
}

fn slice<T: ArrowPrimitiveType>(array: &ArrayRef) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

fn instants(array: &ArrayRef, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => slice::<TimestampSecondType>(array),
        TimeUnit::Millisecond => slice::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => slice::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => slice::<TimestampNanosecondType>(array),
    }
}

/// The place in the dictionary of each row.
fn keys(array: &ArrayRef) -> Vec<u32> {
    match array.as_any_dictionary().keys().data_type() {
        DataType::Int8 => keys_of::<Int8Type>(array),
        DataType::Int16 => keys_of::<Int16Type>(array),
        DataType::Int32 => keys_of::<Int32Type>(array),
        DataType::Int64 => keys_of::<Int64Type>(array),
        DataType::UInt8 => keys_of::<UInt8Type>(array),
        DataType::UInt16 => keys_of::<UInt16Type>(array),
        DataType::UInt32 => keys_of::<UInt32Type>(array),
        _ => keys_of::<UInt64Type>(array),
    }
}

/// Keys were checked against their dictionary when the array was made, and what comes within our
/// limits has no more values than a `u32` counts.
fn keys_of<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<u32> {
    let keys = array.as_any_dictionary().keys().as_primitive::<T>();
    let place = |key: T::Native| u32::try_from(key.as_usize()).unwrap_or(NO_KEY);
    match keys.nulls() {
        None => keys.values().iter().map(|key| place(*key)).collect(),
        Some(nulls) => nulls.iter().zip(keys.values()).map(|(is, key)| if is { place(*key) } else { NO_KEY }).collect(),
    }
}

/// Digits finer than a microsecond are cut off, towards the past.
fn micros(count: i64, unit: TimeUnit) -> Result<Micros, Fault> {
    let micros = match unit {
        TimeUnit::Second => count.checked_mul(1_000_000),
        TimeUnit::Millisecond => count.checked_mul(1_000),
        TimeUnit::Microsecond => Some(count),
        TimeUnit::Nanosecond => Some(count.div_euclid(1_000)),
    };
    micros.ok_or_else(|| {
        let unit = unit_name(unit);
        Fault::out_of_range(format!(
            "`time` is {count} {unit} from 1970 on, and no calendar goes there; check its unit"
        ))
    })
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}
