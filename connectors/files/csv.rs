//! CSV files whose first line names the columns, read by a mapping.
//!
//! Law: every line below the header is one row or one refusal. Cells may be quoted, but a quoted
//! cell ends on its line: one quote too many then spoils one line, and not the rest of the file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::mem::take;
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, Terminator};
use serde_json::{Map, json};
use trueup_model::grain::Micros;
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, EventBatchBuilder, Head};

use super::chunks::{Chunk, Chunks};
use super::csv_mapping::{CsvMapping, Field, IdField, TimeFormat};
use super::ordered::{EventBatches, in_order};
use super::{ReadError, Reading};
use crate::cloud_events::attributes::{retract, revision};
use crate::columns::{Columns, RowBuffers, emptied};
use crate::fault::{Fault, Sender};
use crate::limits::{ID_BYTES_MAX, SOURCE_BYTES_MAX, check_event, check_name, shown};
use crate::time_text::{instant, utc_instant};
use crate::value::Value;

/// Reads the rows of `input` on `threads` threads as events of `tenant`; `file` is its name, for
/// messages. Positions are `line N`, the header being line 1.
///
/// Fails at once if the file does not have the columns that the mapping names.
pub fn read_csv(
    input: impl Read + Send + 'static,
    mapping: &CsvMapping,
    layouts: &Arc<Layouts>,
    tenant: &str,
    file: &str,
    threads: usize,
) -> Result<EventBatches, ReadError> {
    read_rows_after(input, 0, mapping, &Reading { layouts, tenant, file, threads })
}

/// Reads the rows below this line, as [`read_csv`] does.
pub(super) fn read_rows_after(
    input: impl Read + Send + 'static,
    line: u64,
    mapping: &CsvMapping,
    reading: &Reading<'_>,
) -> Result<EventBatches, ReadError> {
    let Reading { layouts, tenant, file, threads } = *reading;
    let cannot = |error| ReadError::Io { file: file.to_owned(), read_to: "line 0".to_owned(), error };
    let mut chunks = Chunks::new(input);
    let header = chunks.take_line().map_err(cannot)?;
    let mut row_reader = RowReader::new(&header, mapping, layouts, tenant, file)?;
    chunks.skip_to(line).map_err(cannot)?;
    let parse = move |chunk: &Chunk| Ok(row_reader.read_chunk(chunk));
    Ok(in_order(chunks.of_file(file.to_owned()), line, threads, parse))
}

/// Where a text of an event comes from.
#[derive(Clone, Debug)]
enum Origin {
    Cell(usize),
    Constant(String),
    Numbered(String),
}

/// What every row of a file has in common.
#[derive(Debug)]
struct RowPlan {
    tenant: String,
    file: String,
    generation: u64,
    delimiter: u8,
    width: usize,
    source: String,
    id: Origin,
    event_type: Origin,
    subject: Origin,
    time: usize,
    time_format: TimeFormat,
    revision: Option<usize>,
    retract: Option<usize>,
    by_type: BTreeMap<String, TypePlan>,
    /// The properties that the mapping names, each with its cell.
    data: Vec<(String, usize)>,
}

/// What to read of the rows of one event type.
#[derive(Debug)]
struct TypePlan {
    columns: Columns,
    /// For each slot its cell; none where the mapping does not name the property.
    cells: Vec<Option<usize>>,
}

/// Reads rows, keeping its memory from row to row.
#[derive(Clone, Debug)]
struct RowReader {
    plan: Arc<RowPlan>,
    cells: Cells,
    id: String,
    values: Vec<Value<'static>>,
    buffers: RowBuffers,
}

impl RowReader {
    fn new(
        header: &[u8],
        mapping: &CsvMapping,
        layouts: &Layouts,
        tenant: &str,
        file: &str,
    ) -> Result<RowReader, ReadError> {
        let delimiter = mapping.delimiter.byte();
        let header = header.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(header);
        let mut cells = Cells::default();
        let no_header = |fault: Fault| ReadError::NoHeader { file: file.to_owned(), detail: fault.detail };
        cells.read(header, delimiter).map_err(no_header)?;
        let names: Vec<&str> = cells.iter().collect();
        let plan = RowPlan::new(&names, mapping, layouts, tenant, file)?;
        Ok(RowReader {
            plan: Arc::new(plan),
            cells: Cells::default(),
            id: String::new(),
            values: Vec::new(),
            buffers: RowBuffers::default(),
        })
    }

    fn read_chunk(&mut self, chunk: &Chunk) -> EventBatch {
        let mut builder = EventBatchBuilder::new(&self.plan.tenant, &self.plan.file, self.plan.generation);
        for (number, line) in chunk.lines() {
            if let Err(fault) = self.read_row(number, line, &mut builder) {
                let sender =
                    Sender { source: Some(&self.plan.source), id: Some(&*self.id).filter(|id| !id.is_empty()) };
                // Once it has its id, its cells are known to be whole; then it is kept as an event, which can
                // be read again without the file.
                let event = sender.id.map(|id| self.plan.event(id, &self.cells));
                let payload = event.as_deref().map_or(line, str::as_bytes);
                builder.refuse(fault.at(&self.plan.file, format_args!("line {number}"), sender, payload));
            }
        }
        builder.finish()
    }

    fn read_row(&mut self, number: u64, line: &[u8], builder: &mut EventBatchBuilder) -> Result<(), Fault> {
        let plan = &*self.plan;
        self.id.clear();
        self.cells.read(line, plan.delimiter)?;
        plan.check_width(&self.cells)?;
        plan.write_id(number, &self.cells, &mut self.id);
        let event_type = plan.event_type.text(&self.cells);
        let type_plan = plan.by_type.get(event_type).ok_or_else(|| unknown_type(event_type))?;
        let head = plan.head(&self.id, &self.cells)?;
        if let Some(schema) = type_plan.columns.schema().filter(|_| !head.retract) {
            schema.check(plan.data(&self.cells).into(), type_plan.columns.asked())?;
        }
        let mut values: Vec<Value<'_>> = emptied(take(&mut self.values));
        values.extend(type_plan.cells.iter().map(|cell| cell.map_or(Value::Absent, |cell| self.cells.value(cell))));
        let outcome = self.buffers.push(head, &type_plan.columns, &values, builder);
        self.values = emptied(values);
        outcome
    }
}

impl RowPlan {
    fn new(
        names: &[&str],
        mapping: &CsvMapping,
        layouts: &Layouts,
        tenant: &str,
        file: &str,
    ) -> Result<RowPlan, ReadError> {
        let cell = |column: &String| {
            let mut places = (0..names.len()).filter(|place| names[*place] == column.as_str());
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (None, _) => {
                    Err(ReadError::NoColumn { file: file.to_owned(), column: column.clone(), found: names.join(", ") })
                }
                (Some(_), Some(_)) => Err(ReadError::NoHeader {
                    file: file.to_owned(),
                    detail: format!("it names column '{column}' twice, and which is meant nobody knows: name it once"),
                }),
            }
        };
        let origin = |field: &Field| match field {
            Field::Column(column) => cell(column).map(Origin::Cell),
            Field::Constant(text) => Ok(Origin::Constant(text.clone())),
        };
        let data = mapping.data.iter().map(|(property, column)| Ok((property.as_str(), cell(column)?)));
        let data: BTreeMap<&str, usize> = data.collect::<Result<_, ReadError>>()?;
        let by_type = Columns::by_type(layouts).into_iter().map(|(name, columns)| {
            let cells = columns.properties().iter().map(|property| data.get(&**property).copied()).collect();
            (name, TypePlan { columns, cells })
        });
        Ok(RowPlan {
            tenant: tenant.to_owned(),
            file: file.to_owned(),
            generation: layouts.generation,
            delimiter: mapping.delimiter.byte(),
            width: names.len(),
            source: mapping.source.clone(),
            id: match &mapping.id {
                IdField::Column(column) => Origin::Cell(cell(column)?),
                IdField::Numbered(prefix) => Origin::Numbered(prefix.clone()),
            },
            event_type: origin(&mapping.event_type)?,
            subject: origin(&mapping.subject)?,
            time: cell(&mapping.time.column)?,
            time_format: mapping.time.format,
            revision: mapping.revision.as_ref().map(cell).transpose()?,
            retract: mapping.retract.as_ref().map(cell).transpose()?,
            by_type: by_type.collect(),
            data: data.iter().map(|(property, cell)| ((*property).to_owned(), *cell)).collect(),
        })
    }

    /// The properties that the mapping names, each with its cell as a text.
    fn data(&self, cells: &Cells) -> Map<String, serde_json::Value> {
        let filled = self.data.iter().filter(|(_, cell)| !cells.get(*cell).is_empty());
        filled.map(|(property, cell)| (property.clone(), cells.get(*cell).into())).collect()
    }

    /// A row as a CloudEvent in JSON, with all the properties that the mapping names.
    fn event(&self, id: &str, cells: &Cells) -> String {
        let filled = |cell: usize| Some(cells.get(cell)).filter(|text| !text.is_empty());
        let mut event = json!({
            "id": id,
            "source": self.source,
            "type": self.event_type.text(cells),
            "subject": self.subject.text(cells),
            "data": self.data(cells),
        });
        let time = filled(self.time).map(|time| match self.time_format {
            TimeFormat::Iso => time.to_owned(),
            TimeFormat::Utc => format!("{}Z", time.replacen(' ', "T", 1)),
        });
        let others = [
            ("time", time),
            ("revision", self.revision.and_then(filled).map(str::to_owned)),
            ("retract", self.retract.and_then(filled).map(str::to_owned)),
        ];
        for (attribute, text) in others {
            if let Some(text) = text {
                event[attribute] = text.into();
            }
        }
        event.to_string()
    }

    fn check_width(&self, cells: &Cells) -> Result<(), Fault> {
        let (found, width) = (cells.len(), self.width);
        if found == width {
            return Ok(());
        }
        Err(Fault::unreadable(format!(
            "the row has {found} cells and the header {width}; put cells that contain the delimiter in quotes"
        )))
    }

    fn write_id(&self, line: u64, cells: &Cells, id: &mut String) {
        match &self.id {
            Origin::Numbered(prefix) => {
                let row = line - 1;
                write!(id, "{prefix}-{row:06}").expect("a string takes any text");
            }
            origin => id.push_str(origin.text(cells)),
        }
    }

    fn head<'a>(&'a self, id: &'a str, cells: &'a Cells) -> Result<Head<'a>, Fault> {
        let subject = self.subject.text(cells);
        check_name("id", id, ID_BYTES_MAX)?;
        check_name("source", &self.source, SOURCE_BYTES_MAX)?;
        check_name("subject", subject, ID_BYTES_MAX)?;
        let retract = filled(cells, self.retract).map_or(Ok(false), retract)?;
        Ok(Head {
            source: &self.source,
            id,
            subject,
            occurred_at: self.occurred_at(cells.get(self.time), retract)?,
            revision: filled(cells, self.revision).map_or(Ok(0), revision)?,
            retract,
        })
    }

    fn occurred_at(&self, time: &str, retract: bool) -> Result<Micros, Fault> {
        match (time, self.time_format) {
            ("", _) if retract => Ok(0),
            ("", _) => Err(Fault::missing("`time` is empty; every usage event needs one")),
            (time, TimeFormat::Iso) => instant("time", time),
            (time, TimeFormat::Utc) => utc_instant("time", time),
        }
    }
}

impl Origin {
    fn text<'a>(&'a self, cells: &'a Cells) -> &'a str {
        match self {
            Origin::Cell(cell) => cells.get(*cell),
            Origin::Constant(text) | Origin::Numbered(text) => text,
        }
    }
}

/// The cells of a row, without their quotes.
#[derive(Clone, Debug, Default)]
struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    /// Cuts a line into its cells.
    fn read(&mut self, line: &[u8], delimiter: u8) -> Result<(), Fault> {
        check_event(line)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !memchr::memchr_iter(b'"', line).count().is_multiple_of(2) {
            return Err(Fault::unreadable(
                "a quote is opened and not closed; close it on its line, and double quotes within a cell",
            ));
        }
        if memchr::memchr(b'\r', line).is_some() && memchr::memchr(b'"', line).is_none() {
            return Err(Fault::unreadable("a carriage return stands within the line; end lines with LF or CR LF"));
        }
        let mut bytes = take(&mut self.text).into_bytes();
        // No cell is longer than its line, and every cell but the last ends at a byte of it.
        bytes.resize(line.len(), 0);
        self.ends.resize(line.len() + 1, 0);
        let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        let (written, cells) = read_record(&mut reader, line, &mut bytes, &mut self.ends);
        bytes.truncate(written);
        self.ends.truncate(cells);
        self.text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Fault::unreadable(format!("byte {at} of the cells is not UTF-8; save the file as UTF-8"))
        })?;
        Ok(())
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, cell: usize) -> &str {
        let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[cell]]
    }

    fn value(&self, cell: usize) -> Value<'_> {
        match self.get(cell) {
            "" => Value::Absent,
            text => Value::Text(text.into()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|cell| self.get(cell))
    }
}

/// Reads the one record of a line; how many bytes and cells it has.
fn read_record(reader: &mut Reader, mut line: &[u8], bytes: &mut [u8], ends: &mut [usize]) -> (usize, usize) {
    let (mut written, mut cells) = (0, 0);
    loop {
        let (result, read, bytes_more, cells_more) =
            reader.read_record(line, &mut bytes[written..], &mut ends[cells..]);
        written += bytes_more;
        cells += cells_more;
        line = &line[read..];
        // An empty input tells the reader that the record is at its end.
        if result != ReadRecordResult::InputEmpty {
            return (written, cells);
        }
    }
}

/// A cell that may be missing or empty.
fn filled(cells: &Cells, cell: Option<usize>) -> Option<&str> {
    cell.map(|cell| cells.get(cell)).filter(|text| !text.is_empty())
}

fn unknown_type(event_type: &str) -> Fault {
    let shown = shown(event_type);
    Fault::unknown_type(format!("no meter reads events of type {shown}; define one, or correct the mapping"))
}
