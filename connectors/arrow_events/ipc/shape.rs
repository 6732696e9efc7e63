//! What a schema says of each column: its kind, and how many buffers it has in a batch.
//!
//! A column of a kind that no event has is known by its name and stepped over.

use std::sync::Arc;

use arrow_ipc::{DateUnit, Endianness, Field, Precision, Schema, Type, UnionMode};
use arrow_schema::{DataType, TimeUnit};

use super::IpcError;

/// The deepest that columns may lie in one another.
const DEPTH_MAX: usize = 16;
/// The most columns, those within others counted.
const COLUMNS_MAX: usize = 4_096;

/// A column of a schema.
#[derive(Debug)]
pub(super) struct Shape {
    pub name: String,
    pub kind: Kind,
    /// How many buffers it has itself; one that has views has as many more as the batch says.
    pub buffers: usize,
    pub has_views: bool,
    pub children: Vec<Shape>,
}

/// What a column holds.
#[derive(Debug)]
pub(super) enum Kind {
    /// Values of a kind that events have, or floats and times without a zone, of which it is told
    /// that they are none.
    Values(DataType),
    /// Places in a dictionary.
    Dictionary { id: i64, keys: DataType, values: Box<Shape> },
    /// So many bytes in each row: no event has them, but the rows of the journal.
    Bytes(i32),
    /// A value of each child.
    Struct,
    /// Anything else, by its name.
    Foreign(&'static str),
}

/// The columns of a schema.
pub(super) fn of_schema(schema: Schema<'_>) -> Result<Vec<Shape>, IpcError> {
    if schema.endianness() != Endianness::Little {
        return Err(IpcError::OutOfPlace("the numbers are big-endian: write them little-endian"));
    }
    let fields = schema.fields().ok_or_else(|| IpcError::damaged("its schema has no list of columns"))?;
    let mut count = 0;
    fields.iter().map(|field| of_field(field, 0, &mut count)).collect()
}

/// The shape of the values of a dictionary.
pub(super) fn dictionary(shapes: &[Shape], id: i64) -> Option<&Shape> {
    shapes.iter().find_map(|shape| match &shape.kind {
        Kind::Dictionary { id: own, values, .. } if *own == id => Some(&**values),
        Kind::Dictionary { values, .. } => dictionary(std::slice::from_ref(values), id),
        _ => dictionary(&shape.children, id),
    })
}

fn of_field(field: Field<'_>, depth: usize, count: &mut usize) -> Result<Shape, IpcError> {
    *count += 1;
    if depth > DEPTH_MAX || *count > COLUMNS_MAX {
        return Err(IpcError::TooLarge(format!(
            "the schema has more than {COLUMNS_MAX} columns, or some that lie more than {DEPTH_MAX} deep: leave out \
             what no meter reads"
        )));
    }
    let name = field.name().unwrap_or_default().to_owned();
    let children = field.children().into_iter().flatten();
    let children = children.map(|child| of_field(child, depth + 1, count)).collect::<Result<Vec<_>, _>>()?;
    let (kind, buffers, has_views) = own(field).ok_or_else(|| {
        let shown = crate::limits::shown(&name);
        IpcError::damaged(format!("its schema says of the column {shown} what no column is"))
    })?;
    let Some(encoding) = field.dictionary() else { return Ok(Shape { name, kind, buffers, has_views, children }) };
    let keys = match encoding.indexType() {
        // The format's default.
        None => Some(DataType::Int32),
        Some(keys) => integer(keys.bitWidth(), keys.is_signed()),
    };
    let keys = keys.ok_or_else(|| IpcError::damaged("its schema has a dictionary without proper keys"))?;
    let values = Box::new(Shape { name: String::new(), kind, buffers, has_views, children });
    let kind = Kind::Dictionary { id: encoding.id(), keys, values };
    Ok(Shape { name, kind, buffers: 2, has_views: false, children: Vec::new() })
}

/// What a field is by itself, how many buffers it has, and whether it has views.
fn own(field: Field<'_>) -> Option<(Kind, usize, bool)> {
    let values = |data_type| Some((Kind::Values(data_type), 2, false));
    let foreign = |name, buffers| Some((Kind::Foreign(name), buffers, false));
    match field.type_type() {
        Type::Null => Some((Kind::Values(DataType::Null), 0, false)),
        Type::Int => {
            let int = field.type_as_int()?;
            values(integer(int.bitWidth(), int.is_signed())?)
        }
        Type::FloatingPoint => values(match field.type_as_floating_point()?.precision() {
            Precision::HALF => DataType::Float16,
            Precision::SINGLE => DataType::Float32,
            Precision::DOUBLE => DataType::Float64,
            _ => return None,
        }),
        Type::Bool => values(DataType::Boolean),
        Type::Decimal => values(decimal(field)?),
        Type::Timestamp => {
            let timestamp = field.type_as_timestamp()?;
            let zone = timestamp.timezone().filter(|zone| !zone.is_empty()).map(Arc::from);
            values(DataType::Timestamp(time_unit(timestamp.unit())?, zone))
        }
        Type::Utf8 => Some((Kind::Values(DataType::Utf8), 3, false)),
        Type::LargeUtf8 => Some((Kind::Values(DataType::LargeUtf8), 3, false)),
        Type::Utf8View => Some((Kind::Values(DataType::Utf8View), 2, true)),
        Type::Struct_ => Some((Kind::Struct, 1, false)),
        Type::Binary | Type::LargeBinary => foreign("bytes", 3),
        Type::BinaryView => Some((Kind::Foreign("bytes"), 2, true)),
        Type::FixedSizeBinary => match field.type_as_fixed_size_binary()?.byteWidth() {
            width @ 1.. => Some((Kind::Bytes(width), 2, false)),
            _ => foreign("bytes", 2),
        },
        Type::Date => match field.type_as_date()?.unit() {
            DateUnit::DAY | DateUnit::MILLISECOND => foreign("dates", 2),
            _ => None,
        },
        Type::Time | Type::Duration | Type::Interval => foreign("times or durations", 2),
        Type::List | Type::LargeList | Type::Map => foreign("lists or maps", 2),
        Type::FixedSizeList => foreign("lists", 1),
        Type::ListView | Type::LargeListView => foreign("lists", 3),
        Type::RunEndEncoded => foreign("runs", 0),
        Type::Union => match field.type_as_union()?.mode() {
            UnionMode::Dense => foreign("unions", 2),
            UnionMode::Sparse => foreign("unions", 1),
            _ => None,
        },
        _ => None,
    }
}

fn integer(bits: i32, is_signed: bool) -> Option<DataType> {
    Some(match (bits, is_signed) {
        (8, true) => DataType::Int8,
        (16, true) => DataType::Int16,
        (32, true) => DataType::Int32,
        (64, true) => DataType::Int64,
        (8, false) => DataType::UInt8,
        (16, false) => DataType::UInt16,
        (32, false) => DataType::UInt32,
        (64, false) => DataType::UInt64,
        _ => return None,
    })
}

fn decimal(field: Field<'_>) -> Option<DataType> {
    let decimal = field.type_as_decimal()?;
    let (precision, places) = (u8::try_from(decimal.precision()).ok()?, i8::try_from(decimal.scale()).ok()?);
    let (data_type, precision_max) = match decimal.bitWidth() {
        32 => (DataType::Decimal32(precision, places), 9),
        64 => (DataType::Decimal64(precision, places), 18),
        128 => (DataType::Decimal128(precision, places), 38),
        256 => (DataType::Decimal256(precision, places), 76),
        _ => return None,
    };
    let is_sound = (1..=precision_max).contains(&precision) && places.unsigned_abs() <= precision_max;
    is_sound.then_some(data_type)
}

fn time_unit(unit: arrow_ipc::TimeUnit) -> Option<TimeUnit> {
    Some(match unit {
        arrow_ipc::TimeUnit::SECOND => TimeUnit::Second,
        arrow_ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
        arrow_ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
        arrow_ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
        _ => return None,
    })
}
