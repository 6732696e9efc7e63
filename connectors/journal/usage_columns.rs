//! Usage rows as columns: Arrow IPC streams, which any Arrow reader can read once cut out.
//!
//! A batch is one stream of its rows and, where values lie beside them, one of those. Values are
//! `Decimal128(38, 0)`, which holds every `i128` as it is. Sources are dictionary-encoded, since a
//! batch comes from few.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use trueup_model::identity::Identity;
use trueup_model::usage::{Says, SentIds, UsageBatch, UsageRow};

use crate::arrow_events::ipc::messages::Messages;
use crate::arrow_events::ipc::{Decoder, Limits};
use crate::arrow_events::table::{Content, Table};

/// Rows whose senders gave only identities.
static ROWS: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(row_fields())));

/// Rows with their sources and ids as sent.
static SENT_ROWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = row_fields();
    let source = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    fields.push(Field::new("source", source, false));
    fields.push(Field::new("id", DataType::Utf8, false));
    Arc::new(Schema::new(fields))
});

/// Values that do not fit into their rows.
static VALUES: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("value", DataType::Decimal128(38, 0), false)])));

/// Whether a row takes its event back; null where it says nothing.
const RETRACT: &str = "retract";

fn row_fields() -> Vec<Field> {
    let columns = [
        ("identity", DataType::FixedSizeBinary(16)),
        ("occurred_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("value", DataType::Int64),
        ("subject", DataType::UInt32),
        ("properties", DataType::UInt32),
        ("revision", DataType::UInt32),
        (RETRACT, DataType::Boolean),
        ("wide", DataType::UInt16),
    ];
    columns.into_iter().map(|(name, kind)| Field::new(name, kind, name == RETRACT)).collect()
}

/// Writes the rows of a batch as one stream.
pub(crate) fn write_rows(batch: &UsageBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let rows = &batch.rows;
    let identities: Vec<u8> = rows.iter().flat_map(|row| row.identity.0).flat_map(u64::to_le_bytes).collect();
    let occurred_at: TimestampMicrosecondArray = rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>().into();
    let retract: BooleanArray = rows.iter().map(|row| retracts(row.says)).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(identities), None)?),
        Arc::new(occurred_at.with_timezone("UTC")),
        numbers::<Int64Type>(rows, |row| row.value),
        numbers::<UInt32Type>(rows, |row| row.subject),
        numbers::<UInt32Type>(rows, |row| row.properties),
        numbers::<UInt32Type>(rows, |row| row.revision),
        Arc::new(retract),
        numbers::<UInt16Type>(rows, |row| row.wide),
    ];
    if batch.ids.is_empty() {
        return write_stream(&ROWS, columns, out);
    }
    let sent: Vec<(&str, &str)> = (0..).map_while(|row| batch.ids.get(row)).collect();
    if sent.len() != rows.len() {
        return Err(ArrowError::InvalidArgumentError(format!("{} sent ids for {} rows", sent.len(), rows.len())));
    }
    let mut sources = StringDictionaryBuilder::<Int32Type>::new();
    for (source, _) in &sent {
        sources.append(source)?;
    }
    columns.push(Arc::new(sources.finish()));
    columns.push(Arc::new(StringArray::from_iter_values(sent.iter().map(|(_, id)| id))));
    write_stream(&SENT_ROWS, columns, out)
}

/// Writes values as one stream.
pub(crate) fn write_values(values: &[i128], out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let column = Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, 0)?;
    write_stream(&VALUES, vec![Arc::new(column)], out)
}

fn retracts(says: Says) -> Option<bool> {
    match says {
        Says::Nothing => None,
        Says::Assertion => Some(false),
        Says::Retraction => Some(true),
    }
}

fn numbers<T: ArrowPrimitiveType>(rows: &[UsageRow], number: impl Fn(&UsageRow) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(rows.iter().map(number)))
}

fn write_stream(schema: &SchemaRef, columns: Vec<ArrayRef>, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let mut writer = StreamWriter::try_new(&mut *out, schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(out.flush()?)
}

/// Rows, and their sources and ids as sent, from a stream.
pub(crate) fn read_rows(stream: &[u8]) -> Result<(Vec<UsageRow>, SentIds), ArrowError> {
    let batch = read_stream(stream, &[&ROWS, &SENT_ROWS])?;
    let identities = batch.column(0).as_fixed_size_binary();
    let occurred_at = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
    let values = batch.column(2).as_primitive::<Int64Type>().values();
    let subjects = batch.column(3).as_primitive::<UInt32Type>().values();
    let properties = batch.column(4).as_primitive::<UInt32Type>().values();
    let revisions = batch.column(5).as_primitive::<UInt32Type>().values();
    let retract = batch.column(6).as_boolean();
    let wide = batch.column(7).as_primitive::<UInt16Type>().values();
    let row = |row| UsageRow {
        identity: identity(identities.value(row)),
        occurred_at: occurred_at[row],
        value: values[row],
        subject: subjects[row],
        properties: properties[row],
        revision: revisions[row],
        says: if retract.is_null(row) { Says::Nothing } else { Says::of(retract.value(row)) },
        wide: wide[row],
    };
    let rows = (0..batch.num_rows()).map(row).collect();
    let mut sent = SentIds::default();
    if batch.num_columns() == SENT_ROWS.fields().len() {
        let sources = batch.column(8).as_dictionary::<Int32Type>();
        let names = sources.values().as_string::<i32>();
        let ids = batch.column(9).as_string::<i32>();
        for (&key, id) in sources.keys().values().iter().zip(ids.iter()) {
            sent.push(names.value(key as usize), id.unwrap_or_default());
        }
    }
    Ok((rows, sent))
}

/// Values from a stream.
pub(crate) fn read_values(stream: &[u8]) -> Result<Vec<i128>, ArrowError> {
    let batch = read_stream(stream, &[&VALUES])?;
    Ok(batch.column(0).as_primitive::<Decimal128Type>().values().to_vec())
}

fn identity(bytes: &[u8]) -> Identity {
    let (high, low) = bytes.split_at(8);
    let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("a column of 16 bytes has halves of 8"));
    Identity([half(high), half(low)])
}

/// The one batch of a stream of one of these schemas.
///
/// It is read as what strangers send is: the library's own reader of streams believes lengths, and a
/// journal that somebody sealed again by hand must not end the process.
fn read_stream(stream: &[u8], schemas: &[&SchemaRef]) -> Result<RecordBatch, ArrowError> {
    let stranger = |what: &str| ArrowError::SchemaError(what.to_owned());
    let Table { rows, columns } = only_table(stream)?;
    let names = || columns.iter().map(|column| &column.name);
    let schema = schemas.iter().find(|schema| schema.fields().iter().map(|field| field.name()).eq(names()));
    let schema = SchemaRef::clone(schema.ok_or_else(|| stranger("its columns are not those of usage"))?);
    let arrays = columns.into_iter().map(|column| match column.content {
        Content::Values(array) => Ok(array),
        Content::Foreign(kind) => Err(stranger(&format!("its column `{}` holds {kind}", column.name))),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays.collect::<Result<_, _>>()?, &options)?;
    let has_nulls = |(field, column): (&FieldRef, &ArrayRef)| !field.is_nullable() && column.logical_null_count() > 0;
    match schema.fields().iter().zip(batch.columns()).any(has_nulls) {
        true => Err(stranger("it has nulls")),
        false => Ok(batch),
    }
}

fn only_table(stream: &[u8]) -> Result<Table, ArrowError> {
    let mut messages = Messages::new(stream, stream.len());
    // Dictionaries are counted with what their arrays take.
    let mut decoder = Decoder::new(Limits { rows_max: usize::MAX, bytes_max: 2 * stream.len() });
    let mut only = None;
    while let Some((header, body)) = messages.next().map_err(unreadable)? {
        let table = decoder.read(&header, &body, |_| true).map_err(unreadable)?;
        if only.is_some() && table.is_some() {
            return Err(unreadable("it has more than one batch"));
        }
        only = only.or(table);
    }
    only.ok_or_else(|| unreadable("it has no rows"))
}

fn unreadable(why: impl Display) -> ArrowError {
    ArrowError::IpcError(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> UsageBatch {
        let row = |number: u64| UsageRow {
            identity: Identity([number, !number]),
            occurred_at: -1,
            value: 7,
            subject: 1,
            properties: 2,
            revision: 3,
            says: [Says::Assertion, Says::Retraction, Says::Nothing][number as usize],
            wide: 0,
        };
        let mut batch = UsageBatch { rows: (0..3).map(row).collect(), ..UsageBatch::default() };
        ["a", "b", "a"].iter().for_each(|source| batch.ids.push(source, "call-1"));
        batch
    }

    #[test]
    fn a_stream_that_somebody_forged_is_read_or_refused() {
        let (mut stream, mut refused) = (Vec::new(), 0);
        write_rows(&batch(), &mut stream).unwrap();
        assert_eq!(read_rows(&stream).unwrap(), (batch().rows, batch().ids));
        for place in 0..stream.len() {
            for forged in [0, 1, 0x3f, 0x7f, 0x80, 0xff] {
                let before = std::mem::replace(&mut stream[place], forged);
                refused += usize::from(read_rows(&stream).is_err());
                stream[place] = before;
            }
            refused += usize::from(read_rows(&stream[..place]).is_err());
        }
        assert!(refused > stream.len(), "most of it is not arbitrary");
    }
}
