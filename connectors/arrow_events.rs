//! Usage events as columns of Arrow.
//!
//! Law: every row becomes exactly one event or exactly one refusal. What a column means is in
//! [`meaning`](self::meaning), in short: the attributes of CloudEvents by their names, and each
//! property that a meter reads by its own or behind `data.`. Quantities are whole numbers, decimals
//! or texts; nothing passes through a float. What an event may hold is in the crate's README.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::{Map, Value};
use thiserror::Error;
use trueup_model::layout::{EventLayout, Layouts};
use trueup_model::usage::{EventBatch, EventBatchBuilder, Head};

use crate::cloud_events::attributes::{
    ID, NAMES, RETRACT, REVISION, SOURCE, SPEC_VERSION, SUBJECT, TIME, TYPE, missing, spec_version,
};
use crate::cloud_events::unknown_type;
use crate::columns::{Slot, slots};
use crate::fault::{Fault, Sender};
use crate::limits::{ID_BYTES_MAX, SOURCE_BYTES_MAX, check_name};
use crate::schemas::Compiled;

mod column;
mod exact;
pub mod ipc;
mod meaning;
mod payload;
pub(crate) mod table;
pub mod whole;

use column::Column;
use meaning::Meaning;
use payload::Payloads;
use table::{Named, Table};

/// The attributes that every event has.
const REQUIRED: [usize; 4] = [ID, SOURCE, TYPE, SUBJECT];

/// Why no row of a table can be an event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ColumnsError {
    /// A column that every event needs is not there.
    #[error(
        "there is no column `{column}`; every usage event needs id, source, type, subject and time, here are {found}"
    )]
    Missing {
        /// Its name.
        column: &'static str,
        /// The columns there are.
        found: String,
    },
    /// An attribute is in a column of another kind.
    #[error("the column `{column}` holds {kind}; give it as {wanted}")]
    Kind {
        /// Its name.
        column: &'static str,
        /// What it holds.
        kind: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// An attribute is there twice.
    #[error("the column `{column}` is there twice; send it once")]
    Twice {
        /// Its name.
        column: &'static str,
    },
}

/// Reads columns as events of one tenant, by the layouts of one generation.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{RecordBatch, StringArray, ArrayRef};
/// # use trueup_connectors::ArrowEvents;
/// # use trueup_model::layout::Layouts;
/// let column = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
/// let names = [("id", "1"), ("source", "/a"), ("type", "call"), ("subject", "ed"), ("time", "2026-06-01T00:00:00Z")];
/// let batch = RecordBatch::try_from_iter(names.map(|(name, text)| (name, column(text)))).unwrap();
/// let events = ArrowEvents::new(Arc::new(Layouts::default()), "default", "calls.arrow");
/// let batch = events.read_batch(&batch, |row| format!("row {row}")).unwrap();
/// assert_eq!(batch.refused[0].detail, "no meter reads events of type `call`; define one, or correct `type`");
/// ```
#[derive(Clone, Debug)]
pub struct ArrowEvents {
    layouts: Arc<Layouts>,
    tenant: String,
    source_name: String,
}

impl ArrowEvents {
    /// A reader for what `tenant` sends by the way called `source_name`: a file, a stream.
    pub fn new(layouts: Arc<Layouts>, tenant: &str, source_name: &str) -> ArrowEvents {
        ArrowEvents { layouts, tenant: tenant.to_owned(), source_name: source_name.to_owned() }
    }

    /// The name of the way in.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// Reads every row; `position` says where a row is, counted from 1, and is asked for refusals
    /// only. Fails if no row could be an event.
    pub fn read_batch<D: Display>(
        &self,
        batch: &RecordBatch,
        position: impl Fn(usize) -> D,
    ) -> Result<EventBatch, ColumnsError> {
        self.read_table(&Table::of(batch), position, usize::MAX)
    }

    /// Reads the rows of a table; no more of them once more than so many are refused.
    pub(crate) fn read_table<D: Display>(
        &self,
        table: &Table,
        position: impl Fn(usize) -> D,
        refused_max: usize,
    ) -> Result<EventBatch, ColumnsError> {
        let mut builder = EventBatchBuilder::new(&self.tenant, &self.source_name, self.layouts.generation);
        self.add_rows(table, position, refused_max, &mut builder)?;
        Ok(builder.finish())
    }

    /// The same into a batch that is being filled. After an error nothing was added to it.
    pub(crate) fn add_rows<D: Display>(
        &self,
        table: &Table,
        position: impl Fn(usize) -> D,
        refused_max: usize,
        builder: &mut EventBatchBuilder,
    ) -> Result<(), ColumnsError> {
        let columns = Columns::of(table, &self.layouts)?;
        let mut rows_read = Rows { columns: &columns, row_buffers: Buffers::default(), last: None };
        let mut payloads = None;
        for row in 0..table.rows {
            if let Err(fault) = rows_read.read(row, builder) {
                let sender =
                    Sender { source: columns.attribute(SOURCE).text(row), id: columns.attribute(ID).text(row) };
                let payload = payloads.get_or_insert_with(|| Payloads::of(table)).of_row(row);
                builder.refuse(fault.at_record(&self.source_name, position(row + 1), sender, payload.as_bytes()));
                if builder.refused().len() > refused_max {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether anything is read of a column of this name.
    pub(crate) fn reads(&self, column: &str) -> bool {
        match Meaning::of(column) {
            Meaning::Attribute(_) => true,
            // A schema may ask anything of any property.
            Meaning::Property(property) => {
                !self.layouts.schemas.is_empty() || self.layouts.by_type.values().any(|layout| layout.reads(property))
            }
        }
    }
}

/// The columns of a table by what they mean.
struct Columns<'a> {
    attributes: [Column<'a>; NAMES.len()],
    by_type: BTreeMap<&'a str, TypeColumns<'a>>,
    properties: Vec<Column<'a>>,
    /// The place of each property that has a column.
    places: BTreeMap<&'a str, usize>,
}

/// What is read of the rows of one type: columns by their place among the properties.
struct TypeColumns<'a> {
    layout: &'a EventLayout,
    /// What of it meters ask for today.
    asked: &'a EventLayout,
    /// What its events must keep to, if anything.
    schema: Option<Arc<Compiled>>,
    numbers: Vec<Slot>,
    texts: Vec<Slot>,
    dimensions: Vec<Slot>,
}

/// The place of a column that is not there.
const ABSENT: usize = 0;

impl<'a> Columns<'a> {
    fn of(table: &'a Table, layouts: &'a Layouts) -> Result<Columns<'a>, ColumnsError> {
        let mut attributes = [const { None }; NAMES.len()];
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut properties = vec![Column::ABSENT];
        for named in &table.columns {
            match Meaning::of(&named.name) {
                Meaning::Attribute(attribute) => {
                    let before = attributes[attribute].replace(attribute_column(attribute, named)?);
                    if before.is_some() {
                        return Err(ColumnsError::Twice { column: NAMES[attribute] });
                    }
                }
                Meaning::Property(property) => match places.get(property) {
                    Some(place) => properties[*place] = Column::twice(),
                    None => {
                        places.insert(property, properties.len());
                        properties.push(Column::of(named));
                    }
                },
            }
        }
        let is_there = |attribute: usize| attributes[attribute].is_some();
        // A table of nothing but retractions needs no time.
        let needed = REQUIRED.into_iter().chain((!is_there(RETRACT)).then_some(TIME));
        if let Some(attribute) = needed.into_iter().find(|attribute| !is_there(*attribute)) {
            return Err(ColumnsError::Missing { column: NAMES[attribute], found: table.names() });
        }
        let by_type = layouts.by_type.iter().map(|(name, layout)| {
            let schema = layouts.schemas.get(name).map(Compiled::of);
            (&**name, TypeColumns { schema, ..TypeColumns::of(layout, layouts.asked_of(layout), &places) })
        });
        let by_type = by_type.collect();
        Ok(Columns {
            attributes: attributes.map(|column| column.unwrap_or(Column::ABSENT)),
            by_type,
            properties,
            places,
        })
    }

    /// The properties of a row, as a schema sees them.
    fn data(&self, row: usize) -> Map<String, Value> {
        let value =
            |(property, place): (&&str, &usize)| Some(((*property).to_owned(), self.properties[*place].json(row)?));
        self.places.iter().filter_map(value).collect()
    }

    fn attribute(&self, attribute: usize) -> &Column<'a> {
        &self.attributes[attribute]
    }
}

/// The column of an attribute, if it is of a kind that the attribute has.
fn attribute_column(attribute: usize, named: &Named) -> Result<Column<'_>, ColumnsError> {
    let column = Column::of(named);
    let (is_fit, wanted) = match attribute {
        TIME => (column.has_instants(), "timestamps with a zone, or texts such as 2026-06-01T08:30:00Z"),
        REVISION => (column.has_revisions(), "whole numbers"),
        RETRACT => (column.has_truths(), "truth values"),
        _ => (column.has_texts(), "texts"),
    };
    match is_fit {
        true => Ok(column),
        false => Err(ColumnsError::Kind { column: NAMES[attribute], kind: column.kind().to_owned(), wanted }),
    }
}

impl<'a> TypeColumns<'a> {
    fn of(layout: &'a EventLayout, asked: &'a EventLayout, places: &BTreeMap<&str, usize>) -> TypeColumns<'a> {
        let place = |property: &str| places.get(property).copied().unwrap_or(ABSENT);
        let [numbers, texts, dimensions] = slots(layout, asked, place);
        TypeColumns { layout, asked, schema: None, numbers, texts, dimensions }
    }
}

/// Reads rows, keeping its memory from row to row.
struct Rows<'c, 'a> {
    columns: &'c Columns<'a>,
    row_buffers: Buffers<'c>,
    /// The type of the row before: rows of a type mostly come together.
    last: Option<(&'c str, &'c TypeColumns<'a>)>,
}

#[derive(Default)]
struct Buffers<'c> {
    numbers: Vec<i128>,
    texts: Vec<Option<Cow<'c, str>>>,
    dimensions: Vec<Option<Cow<'c, str>>>,
}

impl<'c, 'a> Rows<'c, 'a> {
    fn read(&mut self, row: usize, builder: &mut EventBatchBuilder) -> Result<(), Fault> {
        let columns = self.columns;
        let text = |attribute: usize| columns.attribute(attribute).required(row, attribute);
        spec_version(columns.attribute(SPEC_VERSION).text(row))?;
        let (id, source, event_type, subject) = (text(ID)?, text(SOURCE)?, text(TYPE)?, text(SUBJECT)?);
        check_name("id", id, ID_BYTES_MAX)?;
        check_name("source", source, SOURCE_BYTES_MAX)?;
        check_name("subject", subject, ID_BYTES_MAX)?;
        let type_columns = self.type_columns(event_type)?;
        let retract = columns.attribute(RETRACT).retract(row)?;
        let occurred_at = match columns.attribute(TIME).instant(row)? {
            Some(time) => time,
            None if retract => 0,
            None => return Err(missing(TIME)),
        };
        let revision = columns.attribute(REVISION).revision(row)?;
        if let Some(schema) = type_columns.schema.as_ref().filter(|_| !retract) {
            schema.check(columns.data(row).into(), type_columns.asked)?;
        }
        self.row_buffers.fill(columns, type_columns, row, retract)?;
        let head = Head { source, id, subject, occurred_at, revision, retract };
        self.row_buffers.push(head, type_columns.layout, builder);
        Ok(())
    }

    fn type_columns(&mut self, event_type: &'c str) -> Result<&'c TypeColumns<'a>, Fault> {
        if let Some((last, type_columns)) = self.last.filter(|(last, _)| *last == event_type) {
            self.last = Some((last, type_columns));
            return Ok(type_columns);
        }
        let type_columns = self.columns.by_type.get(event_type).ok_or_else(|| unknown_type(event_type))?;
        self.last = Some((event_type, type_columns));
        Ok(type_columns)
    }
}

impl<'c> Buffers<'c> {
    /// Reads the properties of a row. A retraction has none, whatever was sent with it.
    fn fill(
        &mut self,
        columns: &'c Columns<'_>,
        of_type: &TypeColumns<'_>,
        row: usize,
        retract: bool,
    ) -> Result<(), Fault> {
        self.numbers.clear();
        self.texts.clear();
        self.dimensions.clear();
        if retract {
            self.numbers.resize(of_type.numbers.len(), 0);
            self.texts.resize(of_type.texts.len(), Some(Cow::Borrowed("")));
            self.dimensions.resize(of_type.dimensions.len(), None);
            return Ok(());
        }
        let column = |slot: &Slot| &columns.properties[slot.place];
        let layout = of_type.layout;
        for (slot, number) in of_type.numbers.iter().zip(&layout.numbers) {
            self.numbers.push(slot.number(column(slot).quantity(row, &number.property, number.scale))?);
        }
        for (slot, property) in of_type.texts.iter().zip(&layout.texts) {
            self.texts.push(slot.text(column(slot).kept(row, property), property)?);
        }
        for (slot, property) in of_type.dimensions.iter().zip(&layout.dimensions) {
            self.dimensions.push(slot.dimension(column(slot).kept(row, property))?);
        }
        Ok(())
    }

    fn push(&self, head: Head<'_>, layout: &EventLayout, builder: &mut EventBatchBuilder) {
        // Few columns are usual, and for those nothing is allocated.
        const FEW: usize = 8;
        if self.texts.len() <= FEW && self.dimensions.len() <= FEW {
            let (mut texts, mut dimensions) = ([None; FEW], [None; FEW]);
            texts.iter_mut().zip(&self.texts).for_each(|(to, text)| *to = text.as_deref());
            dimensions.iter_mut().zip(&self.dimensions).for_each(|(to, text)| *to = text.as_deref());
            let (texts, dimensions) = (&texts[..self.texts.len()], &dimensions[..self.dimensions.len()]);
            return builder.push(head, layout, &self.numbers, texts, dimensions);
        }
        let texts: Vec<Option<&str>> = self.texts.iter().map(|text| text.as_deref()).collect();
        let dimensions: Vec<Option<&str>> = self.dimensions.iter().map(|text| text.as_deref()).collect();
        builder.push(head, layout, &self.numbers, &texts, &dimensions);
    }
}
