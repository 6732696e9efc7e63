//! Streams and files of Arrow made from text, sound ones and forged ones.
//!
//! ```text
//! as file             a file; else a stream that is put, message by message. `as stream`, `as file after 2`,
//!                     `as parquet`, or with a compression, `as parquet_zstd`; `as whole`, a stream that comes
//!                     at once, and `as whole file`
//! call 2              two events of type `call` in the columns id, source, type, subject and time
//! - time              without this column
//! tokens int64 [1, 2] this column, or instead of the one of this name; values as JSON
//! data/model utf8 ["m", null]   a field of the column `data` of structs
//! ! buffer 3 length -1          and then this is forged
//! ```

mod arrays;
mod forge;
mod parquet;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_ipc::writer::{DictionaryTracker, FileWriter, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{Field, Schema};
use serde_json::Value;

use arrays::array;
use forge::forge;

/// A message as it goes over the wire.
#[derive(Clone)]
pub struct Message {
    pub header: Vec<u8>,
    pub body: Vec<u8>,
}

/// What a text says is made.
pub enum Made {
    /// Messages to be put.
    Put(Vec<Message>),
    /// A stream, or a file, that comes at once.
    Whole(Vec<u8>),
    /// A file to be read behind so many rows.
    File { bytes: Vec<u8>, after: u64, is_parquet: bool },
}

impl Made {
    /// Makes what the text says.
    pub fn of(text: &str) -> Made {
        let (mut columns, mut forged, mut form) = (Vec::new(), Vec::new(), "put");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(what) = line.strip_prefix("as ") {
                form = what;
            } else if let Some(what) = line.strip_prefix("! ") {
                forged.push(what);
            } else {
                add(&mut columns, line);
            }
        }
        let batch = batch(columns);
        let mut messages = messages(&batch);
        let after = form.split_once(" after ").map_or(0, |(_, rows)| rows.parse().expect("a number of rows"));
        if form == "put" {
            forged.iter().for_each(|what| forge(&mut messages, what));
            return Made::Put(messages);
        }
        let is_parquet = form.starts_with("parquet");
        let mut bytes = match form {
            _ if is_parquet => parquet::file(&batch, form),
            _ if form.starts_with("file") || form == "whole file" => file(&batch),
            _ => stream(&messages, &mut forged),
        };
        forged.iter().for_each(|what| forge_bytes(&mut bytes, what));
        if form.starts_with("whole") {
            return Made::Whole(bytes);
        }
        Made::File { bytes, after, is_parquet }
    }
}

/// Carries out a line that says which columns there are.
fn add(columns: &mut Vec<(String, ArrayRef)>, line: &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut put = |name: &str, kind: &str, values: &[Value]| {
        let column = (name.to_owned(), array(kind, values));
        match columns.iter_mut().find(|(known, _)| known == name) {
            Some(known) => *known = column,
            None => columns.push(column),
        }
    };
    match first {
        "-" => columns.retain(|(name, _)| name != rest),
        "twice" => {
            let column = columns.iter().find(|(name, _)| name == rest).expect("the column is there").clone();
            columns.push(column);
        }
        "call" => {
            let rows: usize = rest.parse().expect("a number of rows");
            let same = |text: &str| vec![Value::from(text); rows];
            put("id", "utf8", &(1..=rows).map(|row| Value::from(row.to_string())).collect::<Vec<_>>());
            put("source", "utf8", &same("/a"));
            put("type", "utf8", &same("call"));
            put("subject", "utf8", &same("acme"));
            put("time", "timestamp(us,UTC)", &vec![Value::from(1_780_272_000_000_000_i64); rows]);
        }
        name => {
            let (kind, values) = rest.split_once(' ').expect("a column has a kind and values");
            let values: Vec<Value> = serde_json::from_str(values).expect("values are a list in JSON");
            put(name, kind, &values);
        }
    }
}

/// The columns as a batch, those of `data/` in one of structs.
fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let (inside, mut outside): (Vec<_>, Vec<_>) = columns.into_iter().partition(|(name, _)| name.starts_with("data/"));
    if !inside.is_empty() {
        let fields = inside.into_iter().map(|(name, array)| {
            let field = Field::new(&name["data/".len()..], array.data_type().clone(), true);
            (Arc::new(field), array)
        });
        outside.push(("data".to_owned(), Arc::new(StructArray::from(fields.collect::<Vec<_>>()))));
    }
    let fields: Vec<Field> =
        outside.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    let arrays = outside.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).expect("columns of one length")
}

/// The messages of a stream of one batch.
fn messages(batch: &RecordBatch) -> Vec<Message> {
    let options = IpcWriteOptions::default();
    let generator = IpcDataGenerator::default();
    let mut tracker = DictionaryTracker::new(false);
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
    let (dictionaries, rows) = generator
        .encode(batch, &mut tracker, &options, &mut IpcWriteContext::default())
        .expect("the columns can be written");
    let all = [schema].into_iter().chain(dictionaries).chain([rows]);
    all.map(|data| Message { header: data.ipc_message, body: data.arrow_data }).collect()
}

/// A stream of these messages, forged before they are put together.
fn stream(messages: &[Message], forged: &mut Vec<&str>) -> Vec<u8> {
    let mut messages = messages.to_vec();
    let (of_bytes, of_messages): (Vec<&str>, Vec<&str>) =
        forged.iter().partition(|what| ["bytes", "word"].iter().any(|own| what.starts_with(own)));
    of_messages.iter().for_each(|what| forge(&mut messages, what));
    *forged = of_bytes;
    let mut bytes = Vec::new();
    for Message { header, body } in messages {
        bytes.extend_from_slice(&[0xff; 4]);
        let padded = header.len().next_multiple_of(8);
        bytes.extend_from_slice(&(padded as u32).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.resize(bytes.len() + padded - header.len(), 0);
        bytes.extend_from_slice(&body);
    }
    bytes
}

fn file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("memory can be written");
    writer.write(batch).expect("the columns can be written");
    writer.into_inner().expect("memory can be written")
}

/// Forges the bytes of a file: `bytes N cut`, `bytes N set FF`, `bytes to TEXT`, `word N set 17`, and
/// `end N set FF` from behind; `bytes end` is the mark at the end of a stream, `bytes again` the same
/// behind it; those of Parquet as `parquet.rs` tells.
fn forge_bytes(bytes: &mut Vec<u8>, what: &str) {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["bytes", count, "cut"] => bytes.truncate(bytes.len() - count.parse::<usize>().expect("a count")),
        ["bytes", place, "set", byte] => {
            bytes[place.parse::<usize>().expect("a place")] = u8::from_str_radix(byte, 16).expect("a byte");
        }
        ["bytes", "to", text] => *bytes = text.as_bytes().to_vec(),
        ["bytes", "none"] => bytes.clear(),
        ["bytes", "end"] => bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ["bytes", "again"] => bytes.extend_from_within(..),
        ["end", place, "set", byte] => {
            let place = bytes.len() - place.parse::<usize>().expect("a place");
            bytes[place] = u8::from_str_radix(byte, 16).expect("a byte");
        }
        ["page", ..] | ["footer", ..] => parquet::forge(bytes, &words),
        ["word", place, "set", value] => {
            let place: usize = place.parse().expect("a place");
            let value: i32 = value.parse().expect("a number");
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
        _ => panic!("nobody knows how to forge `{what}`"),
    }
}
