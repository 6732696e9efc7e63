//! The body of a batch: its buffers, held against the bytes that are there, and the columns in them.

use std::collections::HashMap;

use arrow_array::{ArrayRef, make_array, new_empty_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_ipc::{CompressionType, FieldNode, RecordBatch};
use arrow_schema::DataType;

use super::inflate::inflate;
use super::shape::{Kind, Shape};
use super::{IpcError, Limits, one_line};
use crate::arrow_events::meaning::{NEST, nested};
use crate::arrow_events::table::{Content, Named, Table};

type Dictionaries = HashMap<i64, ArrayRef>;

/// A batch that is being read, column after column.
pub(super) struct Body<'a> {
    rows: usize,
    bytes: &'a Buffer,
    codec: Option<CompressionType>,
    nodes: Vec<FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    views: Vec<i64>,
    next: Next,
    /// How many bytes may still come out of compressed buffers.
    budget: &'a mut usize,
    bytes_max: usize,
}

/// The first of each that no column has taken.
#[derive(Default)]
struct Next {
    node: usize,
    buffer: usize,
    view: usize,
}

/// What of a column is the same for all kinds.
struct Own {
    rows: usize,
    nulls: Option<NullBuffer>,
    buffers: Vec<Buffer>,
}

impl<'a> Body<'a> {
    /// The body of a batch, of whose compressed buffers no more comes than `budget`.
    pub fn of(
        batch: RecordBatch<'_>,
        bytes: &'a Buffer,
        limits: Limits,
        budget: &'a mut usize,
    ) -> Result<Body<'a>, IpcError> {
        let rows = usize::try_from(batch.length())
            .map_err(|_| IpcError::damaged(format!("a batch claims to have {} rows", batch.length())))?;
        if rows > limits.rows_max {
            return Err(IpcError::TooLarge(format!(
                "a batch has {rows} rows and may have {}: send it in parts",
                limits.rows_max
            )));
        }
        Ok(Body {
            rows,
            bytes,
            codec: batch.compression().map(|compression| compression.codec()),
            nodes: batch.nodes().into_iter().flatten().copied().collect(),
            buffers: batch.buffers().into_iter().flatten().copied().collect(),
            views: batch.variadicBufferCounts().into_iter().flatten().collect(),
            next: Next::default(),
            budget,
            bytes_max: limits.bytes_max,
        })
    }

    /// The columns that are wanted.
    pub fn table(
        mut self,
        shapes: &[Shape],
        dictionaries: &Dictionaries,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Table, IpcError> {
        let mut columns = Vec::new();
        for shape in shapes {
            match &shape.kind {
                Kind::Struct if shape.name == NEST => {
                    let around = self.own(shape, self.rows)?.nulls;
                    for child in &shape.children {
                        let name = nested(&child.name);
                        if let Some(content) = self.wanted(child, dictionaries, wanted(&name))? {
                            columns.push(Named { name, content, around: around.clone() });
                        }
                    }
                }
                _ => {
                    if let Some(content) = self.wanted(shape, dictionaries, wanted(&shape.name))? {
                        columns.push(Named { name: shape.name.clone(), content, around: None });
                    }
                }
            }
        }
        Ok(Table { rows: self.rows, columns })
    }

    /// The values of a dictionary; none if they are of a kind that no event has.
    pub fn dictionary(mut self, values: &Shape) -> Result<Option<ArrayRef>, IpcError> {
        match &values.kind {
            Kind::Values(data_type) => {
                let own = self.own(values, self.rows)?;
                self.array(data_type, own).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn wanted(
        &mut self,
        shape: &Shape,
        dictionaries: &Dictionaries,
        is_wanted: bool,
    ) -> Result<Option<Content>, IpcError> {
        match is_wanted {
            true => self.content(shape, dictionaries).map(Some),
            false => self.skip(shape).map(|()| None),
        }
    }

    fn content(&mut self, shape: &Shape, dictionaries: &Dictionaries) -> Result<Content, IpcError> {
        match &shape.kind {
            Kind::Values(data_type) => {
                let own = self.own(shape, self.rows)?;
                self.array(data_type, own).map(Content::Values)
            }
            Kind::Bytes(width) => {
                let own = self.own(shape, self.rows)?;
                self.array(&DataType::FixedSizeBinary(*width), own).map(Content::Values)
            }
            Kind::Dictionary { id, keys, values } => {
                let Kind::Values(value_type) = &values.kind else {
                    self.skip(shape)?;
                    return Ok(Content::Foreign(format!("dictionaries of {}", foreign(&values.kind))));
                };
                let own = self.own(shape, self.rows)?;
                let is_empty = own.nulls.as_ref().map_or(0, NullBuffer::null_count) == own.rows;
                let values = match dictionaries.get(id) {
                    Some(values) => values.clone(),
                    // A dictionary may be left out if nobody points into it.
                    None if is_empty => new_empty_array(value_type),
                    None => return Err(IpcError::damaged(format!("dictionary {id} did not come"))),
                };
                self.dictionary_array(keys, value_type, own, values).map(Content::Values)
            }
            kind @ (Kind::Struct | Kind::Foreign(_)) => {
                self.skip(shape)?;
                Ok(Content::Foreign(foreign(kind).to_owned()))
            }
        }
    }

    /// The node and the buffers of a column, which has to have so many rows.
    fn own(&mut self, shape: &Shape, rows: usize) -> Result<Own, IpcError> {
        let node = self.take_node()?;
        let (length, null_count) = (node.length(), node.null_count());
        if usize::try_from(length) != Ok(rows) {
            return Err(IpcError::damaged(format!("a column has {length} rows and its batch {rows}")));
        }
        if !(0..=length).contains(&null_count) {
            return Err(IpcError::damaged(format!("{null_count} of {length} rows are empty")));
        }
        let count = self.buffer_count(shape)?;
        let mut buffers = (0..count).map(|_| self.take_buffer()).collect::<Result<Vec<_>, _>>()?;
        if buffers.is_empty() {
            return Ok(Own { rows, nulls: None, buffers });
        }
        let validity = buffers.remove(0);
        let nulls = match null_count {
            0 => None,
            _ => {
                at_least(&validity, rows.div_ceil(8))?;
                Some(NullBuffer::new(BooleanBuffer::new(validity, 0, rows)))
            }
        };
        Ok(Own { rows, nulls, buffers })
    }

    fn array(&self, data_type: &DataType, mut own: Own) -> Result<ArrayRef, IpcError> {
        fit(data_type, &mut own, self.bytes_max)?;
        let data = ArrayData::builder(data_type.clone()).len(own.rows).nulls(own.nulls).buffers(own.buffers);
        // Builds with every check; only the alignment is mended.
        let data = data.align_buffers(true).build().map_err(|error| IpcError::damaged(one_line(&error.to_string())))?;
        Ok(make_array(data))
    }

    fn dictionary_array(
        &self,
        keys: &DataType,
        value_type: &DataType,
        mut own: Own,
        values: ArrayRef,
    ) -> Result<ArrayRef, IpcError> {
        fit(keys, &mut own, self.bytes_max)?;
        let data_type = DataType::Dictionary(Box::new(keys.clone()), Box::new(value_type.clone()));
        let data = ArrayData::builder(data_type).len(own.rows).nulls(own.nulls).buffers(own.buffers);
        let data = data.add_child_data(values.to_data()).align_buffers(true).build();
        data.map(make_array).map_err(|error| IpcError::damaged(one_line(&error.to_string())))
    }

    /// Steps over a column and those within it.
    fn skip(&mut self, shape: &Shape) -> Result<(), IpcError> {
        self.take_node()?;
        self.next.buffer += self.buffer_count(shape)?;
        if self.next.buffer > self.buffers.len() {
            return Err(too_few("buffers"));
        }
        shape.children.iter().try_for_each(|child| self.skip(child))
    }

    fn buffer_count(&mut self, shape: &Shape) -> Result<usize, IpcError> {
        if !shape.has_views {
            return Ok(shape.buffers);
        }
        let views = *self.views.get(self.next.view).ok_or_else(|| too_few("counts of buffers"))?;
        self.next.view += 1;
        let views = usize::try_from(views).ok().filter(|views| *views <= self.buffers.len());
        views.map(|views| shape.buffers + views).ok_or_else(|| too_few("buffers"))
    }

    fn take_node(&mut self) -> Result<FieldNode, IpcError> {
        let node = self.nodes.get(self.next.node).copied().ok_or_else(|| too_few("columns"))?;
        self.next.node += 1;
        Ok(node)
    }

    fn take_buffer(&mut self) -> Result<Buffer, IpcError> {
        let place = self.buffers.get(self.next.buffer).copied().ok_or_else(|| too_few("buffers"))?;
        self.next.buffer += 1;
        if place.length() == 0 {
            return Ok(Buffer::default());
        }
        let (offset, length) = (usize::try_from(place.offset()), usize::try_from(place.length()));
        let (Ok(offset), Ok(length)) = (offset, length) else {
            return Err(outside(place, self.bytes.len()));
        };
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes.len() => {}
            _ => return Err(outside(place, self.bytes.len())),
        }
        let buffer = self.bytes.slice_with_length(offset, length);
        match self.codec {
            Some(codec) => inflate(&buffer, codec, self.budget),
            None => Ok(buffer),
        }
    }
}

fn foreign(kind: &Kind) -> &'static str {
    match kind {
        Kind::Foreign(name) => name,
        Kind::Bytes(_) => "bytes",
        Kind::Struct => "structs",
        Kind::Dictionary { .. } => "dictionaries",
        Kind::Values(_) => "values",
    }
}

fn too_few(what: &str) -> IpcError {
    IpcError::damaged(format!("a batch has fewer {what} than the schema says"))
}

fn outside(place: arrow_ipc::Buffer, bytes: usize) -> IpcError {
    let (length, offset) = (place.length(), place.offset());
    IpcError::damaged(format!("a buffer has {length} bytes from byte {offset} on, and there are {bytes}"))
}

fn at_least(buffer: &Buffer, bytes: usize) -> Result<(), IpcError> {
    match buffer.len() {
        length if length >= bytes => Ok(()),
        length => Err(IpcError::damaged(format!("a buffer has {length} bytes, and its rows need {bytes}"))),
    }
}

/// Cuts the first buffer of a column to what its rows need, if there is as much. Of views it is also
/// held against the limit how much they show in all, as each of them may show the same.
fn fit(data_type: &DataType, own: &mut Own, bytes_max: usize) -> Result<(), IpcError> {
    const VIEW_BYTES: usize = 16;
    let (rows, Some(first)) = (own.rows, own.buffers.first_mut()) else { return Ok(()) };
    let bytes = match data_type {
        DataType::Boolean => rows.div_ceil(8),
        // Without rows there need not even be the first offset.
        DataType::Utf8 | DataType::LargeUtf8 if rows == 0 => 0,
        DataType::Utf8 => (rows + 1) * 4,
        DataType::LargeUtf8 => (rows + 1) * 8,
        DataType::Utf8View => rows * VIEW_BYTES,
        DataType::FixedSizeBinary(width) => rows.saturating_mul(*width as usize),
        other => rows * other.primitive_width().unwrap_or_default(),
    };
    at_least(first, bytes)?;
    *first = first.slice_with_length(0, bytes);
    if *data_type == DataType::Utf8View {
        let lengths =
            first.chunks_exact(VIEW_BYTES).map(|view| u32::from_le_bytes([view[0], view[1], view[2], view[3]]));
        let shown: u64 = lengths.map(u64::from).sum();
        if shown > bytes_max as u64 {
            return Err(IpcError::TooLarge(format!(
                "the texts of a column have {shown} bytes and may have {bytes_max}: send fewer rows at a time"
            )));
        }
    }
    Ok(())
}
