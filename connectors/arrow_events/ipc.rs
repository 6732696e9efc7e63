//! Messages of Arrow IPC, read by our own hand: a schema, dictionaries, rows.
//!
//! Law: whatever the bytes, the answer is a table or an error; nothing is allocated by a length
//! that was only claimed, and no more than the limits. The library's own reader trusts lengths and
//! panics at schemas that no writer writes, and one message must not end the process. So the headers
//! are read here, every length is held against the bytes that are there, and only then does the
//! library make arrays of the columns that are wanted, with its own checks of texts, offsets and
//! keys switched on.
//!
//! ```text
//!   header ── schema ──────► shapes: what each column is, how many buffers it has
//!          ── dictionary ──► values by their id ───────┐
//!          ── rows ────────► buffers within the body ──┴─► inflate, within limits ──► table
//! ```

use std::collections::HashMap;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_ipc::{DictionaryBatch, MessageHeader, root_as_message};
use thiserror::Error;

use super::table::Table;

mod batch;
mod inflate;
pub(crate) mod messages;
mod shape;

use batch::Body;
use shape::Shape;

/// The most bytes of a message's header. A column takes about a hundred.
pub(crate) const HEADER_BYTES_MAX: usize = 1 << 20;

/// The most rows for each byte of a batch, compressed or not. Events have ids of their own, which take
/// bytes; without any, a few of them could claim millions of rows, each to be refused by itself.
const ROWS_PER_BYTE_MAX: usize = 64;

/// How large a message may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most rows of a batch.
    pub rows_max: usize,
    /// The most bytes of a message's body, and of what it is when it is decompressed; and of all
    /// dictionaries together.
    pub bytes_max: usize,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IpcError {
    /// Its bytes are not what Arrow writes.
    #[error("this is no whole Arrow message: {0}; write it again, with an Arrow library")]
    Damaged(String),
    /// It is larger than anybody may send.
    #[error("{0}")]
    TooLarge(String),
    /// It does not belong where it came.
    #[error("{0}")]
    OutOfPlace(&'static str),
}

impl IpcError {
    fn damaged(what: impl Into<String>) -> IpcError {
        IpcError::Damaged(what.into())
    }
}

/// Reads messages one after the other.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// How many bytes may still come of what is compressed or put together, where all messages are
    /// one input; none where each has the limits to itself.
    left: Option<usize>,
    shapes: Option<Vec<Shape>>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, left: None, shapes: None, dictionaries: HashMap::new() }
    }

    /// The same for messages that came together: the bytes of the limits are for all of them, since
    /// a few of them, and whoever reads them waits for the last, could unpack to any size.
    pub fn of_one_input(limits: Limits) -> Decoder {
        Decoder { left: Some(limits.bytes_max), ..Decoder::new(limits) }
    }

    /// Reads a message; a table if it holds rows, with the columns that are wanted. The same rows
    /// may be read again.
    pub fn read(
        &mut self,
        header: &[u8],
        body: &Buffer,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Table>, IpcError> {
        let (header_bytes, body_bytes, bytes_max) = (header.len(), body.len(), self.limits.bytes_max);
        if header_bytes > HEADER_BYTES_MAX {
            return Err(IpcError::TooLarge(format!(
                "the header of a message has {header_bytes} bytes and may have {HEADER_BYTES_MAX}: send fewer columns"
            )));
        }
        if body_bytes > bytes_max {
            return Err(IpcError::TooLarge(format!(
                "a batch has {body_bytes} bytes and may have {bytes_max}: send fewer rows at a time"
            )));
        }
        let message = root_as_message(header).map_err(|error| IpcError::damaged(one_line(&error.to_string())))?;
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(no_content)?;
                if self.shapes.is_some() {
                    return Err(IpcError::OutOfPlace(
                        "the columns change in the middle of the stream: begin a new stream for other columns",
                    ));
                }
                self.shapes = Some(shape::of_schema(schema)?);
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch().ok_or_else(no_content)?;
                self.learn(dictionary, body)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(no_content)?;
                let shapes = self.shapes.as_deref().ok_or_else(no_schema)?;
                let rows_max = (header_bytes + body_bytes) * ROWS_PER_BYTE_MAX;
                let limits = Limits { rows_max: self.limits.rows_max.min(rows_max), ..self.limits };
                let mut budget = self.left.unwrap_or(limits.bytes_max);
                let table = Body::of(batch, body, limits, &mut budget)?.table(shapes, &self.dictionaries, &wanted)?;
                self.left = self.left.map(|_| budget);
                Ok(Some(table))
            }
            MessageHeader::NONE => Err(no_content()),
            _ => Err(IpcError::OutOfPlace("a message holds a tensor: send rows of columns")),
        }
    }

    /// Takes a dictionary, or what is to be added to one.
    fn learn(&mut self, dictionary: DictionaryBatch<'_>, body: &Buffer) -> Result<(), IpcError> {
        let id = dictionary.id();
        let shapes = self.shapes.as_deref().ok_or_else(no_schema)?;
        let batch = dictionary.data().ok_or_else(no_content)?;
        let Some(values) = shape::dictionary(shapes, id) else {
            return Err(IpcError::damaged(format!("dictionary {id} belongs to no column")));
        };
        let mut budget = self.left.unwrap_or(self.limits.bytes_max);
        let learned = Body::of(batch, body, self.limits, &mut budget)?.dictionary(values)?;
        self.left = self.left.map(|_| budget);
        // Of a kind that nobody reads.
        let Some(learned) = learned else { return Ok(()) };
        let known = self.dictionaries.remove(&id).filter(|_| dictionary.isDelta());
        let others: usize = self.dictionaries.values().map(|values| values.get_array_memory_size()).sum();
        let before = known.as_ref().map_or(0, |known| known.get_array_memory_size());
        if others + before + learned.get_array_memory_size() > 2 * self.limits.bytes_max {
            return Err(dictionaries_too_large(self.limits));
        }
        if let (Some(left), Some(_)) = (&mut self.left, &known) {
            // All of it is copied for whatever is added, however little that is.
            let copied = before + learned.get_array_memory_size();
            *left = left.checked_sub(copied).ok_or_else(|| dictionaries_too_large(self.limits))?;
        }
        let values = match known {
            Some(known) => arrow_select::concat::concat(&[&*known, &*learned])
                .map_err(|error| IpcError::damaged(one_line(&error.to_string())))?,
            None => learned,
        };
        self.dictionaries.insert(id, values);
        Ok(())
    }
}

fn dictionaries_too_large(limits: Limits) -> IpcError {
    let bytes_max = limits.bytes_max;
    IpcError::TooLarge(format!(
        "the dictionaries have more than {bytes_max} bytes: send plain texts, or begin a new stream"
    ))
}

fn no_schema() -> IpcError {
    IpcError::OutOfPlace("rows came before the schema: send the schema first")
}

fn no_content() -> IpcError {
    IpcError::damaged("its header has no content")
}

/// What a library says, on one line and of a bearable length.
pub(super) fn one_line(text: &str) -> String {
    crate::limits::cut(text.lines().next().unwrap_or_default(), 200).to_owned()
}
