//! Arrays from the name of their kind and values in JSON.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, ListBuilder, StringBuilder};
use arrow_array::types::{
    ArrowDictionaryKeyType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, DictionaryArray, Float64Array,
    LargeStringArray, NullArray, PrimitiveArray, StringArray, StringViewArray,
};
use arrow_buffer::i256;
use serde_json::Value;

/// An array of this kind.
pub fn array(kind: &str, values: &[Value]) -> ArrayRef {
    let (name, parameters) = kind.split_once('(').unwrap_or((kind, ""));
    let parameters = parameters.strip_suffix(')').unwrap_or(parameters);
    let texts = || values.iter().map(Value::as_str);
    match name {
        "null" => Arc::new(NullArray::new(values.len())),
        "utf8" => Arc::new(texts().collect::<StringArray>()),
        "large_utf8" => Arc::new(texts().collect::<LargeStringArray>()),
        "utf8_view" => Arc::new(texts().collect::<StringViewArray>()),
        "binary" => Arc::new(texts().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()),
        "bool" => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        "float64" => Arc::new(values.iter().map(Value::as_f64).collect::<Float64Array>()),
        "date32" => Arc::new(values.iter().map(|value| Some(value.as_i64()? as i32)).collect::<Date32Array>()),
        "list" => list(values),
        "nothing" => nothing(values.len()),
        "int8" => whole::<Int8Type>(values),
        "int16" => whole::<Int16Type>(values),
        "int32" => whole::<Int32Type>(values),
        "int64" => whole::<Int64Type>(values),
        "uint8" => whole::<UInt8Type>(values),
        "uint16" => whole::<UInt16Type>(values),
        "uint32" => whole::<UInt32Type>(values),
        "uint64" => whole::<UInt64Type>(values),
        "timestamp" => timestamp(parameters, values),
        "dictionary" => {
            let (keys, of) = parameters.split_once(',').expect("keys and values have kinds");
            dictionary(keys, of, values)
        }
        _ => decimal(name, parameters, values),
    }
}

fn number(value: &Value) -> Option<i128> {
    (!value.is_null()).then(|| value.to_string().trim_matches('"').parse().expect("a whole number"))
}

fn whole<T: ArrowPrimitiveType>(values: &[Value]) -> ArrayRef
where
    T::Native: TryFrom<i128>,
{
    let native = |value| T::Native::try_from(value).unwrap_or_else(|_| panic!("{value} fits the column"));
    Arc::new(values.iter().map(|value| number(value).map(native)).collect::<PrimitiveArray<T>>())
}

fn timestamp(parameters: &str, values: &[Value]) -> ArrayRef {
    let (unit, zone) = parameters.split_once(',').unwrap_or((parameters, ""));
    let zone = (!zone.is_empty()).then(|| zone.to_owned());
    fn of<T: arrow_array::types::ArrowTimestampType>(values: &[Value], zone: Option<String>) -> ArrayRef {
        let values = values.iter().map(Value::as_i64).collect::<PrimitiveArray<T>>();
        Arc::new(values.with_timezone_opt(zone))
    }
    match unit {
        "s" => of::<TimestampSecondType>(values, zone),
        "ms" => of::<TimestampMillisecondType>(values, zone),
        "us" => of::<TimestampMicrosecondType>(values, zone),
        "ns" => of::<TimestampNanosecondType>(values, zone),
        unit => panic!("{unit} is no unit"),
    }
}

fn decimal(name: &str, parameters: &str, values: &[Value]) -> ArrayRef {
    let (precision, places) = parameters.split_once(',').expect("a decimal has a precision and places");
    let (precision, places) = (precision.parse().expect("a precision"), places.trim().parse().expect("places"));
    fn of<T: DecimalType>(values: impl Iterator<Item = Option<T::Native>>, precision: u8, places: i8) -> ArrayRef {
        let array = values.collect::<PrimitiveArray<T>>();
        Arc::new(array.with_precision_and_scale(precision, places).expect("it is a decimal"))
    }
    let wide = |value: &Value| {
        let text = (!value.is_null()).then(|| value.to_string())?;
        Some(i256::from_string(text.trim_matches('"')).expect("a whole number"))
    };
    match name {
        "decimal32" => of::<Decimal32Type>(values.iter().map(|v| Some(number(v)? as i32)), precision, places),
        "decimal64" => of::<Decimal64Type>(values.iter().map(|v| Some(number(v)? as i64)), precision, places),
        "decimal128" => of::<Decimal128Type>(values.iter().map(number), precision, places),
        "decimal256" => of::<Decimal256Type>(values.iter().map(wide), precision, places),
        name => panic!("{name} is no kind of column"),
    }
}

/// A dictionary of the different values, in their order.
fn dictionary(keys: &str, of: &str, values: &[Value]) -> ArrayRef {
    let mut different: Vec<Value> = Vec::new();
    let places: Vec<Value> = values
        .iter()
        .map(|value| {
            if value.is_null() {
                return Value::Null;
            }
            let known = different.iter().position(|known| known == value);
            known
                .unwrap_or_else(|| {
                    different.push(value.clone());
                    different.len() - 1
                })
                .into()
        })
        .collect();
    let (keys, values) = (array(keys, &places), array(of, &different));
    fn with<K: ArrowDictionaryKeyType>(keys: &ArrayRef, values: ArrayRef) -> Option<ArrayRef> {
        let keys = keys.as_any().downcast_ref::<PrimitiveArray<K>>()?.clone();
        Some(Arc::new(DictionaryArray::<K>::try_new(keys, values).expect("keys are places")))
    }
    let made = with::<Int8Type>(&keys, values.clone())
        .or_else(|| with::<UInt8Type>(&keys, values.clone()))
        .or_else(|| with::<UInt16Type>(&keys, values.clone()))
        .or_else(|| with::<Int32Type>(&keys, values.clone()))
        .or_else(|| with::<Int64Type>(&keys, values));
    made.expect("keys are whole numbers")
}

fn list(values: &[Value]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for value in values {
        builder.values().append_option(value.as_str());
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// Values of no bytes.
fn nothing(rows: usize) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(0);
    (0..rows).for_each(|_| builder.append_value([]).expect("nothing is zero bytes"));
    Arc::new(builder.finish())
}
