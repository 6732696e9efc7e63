//! From the values of an event to the columns of its layout.
//!
//! A layout is compiled once into slots, one for each different property that it reads. A reader
//! fills the slots in whatever order the properties come, and `push` turns them into a row.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use trueup_model::layout::{EventLayout, Layouts};
use trueup_model::usage::{EventBatchBuilder, Head};

use crate::fault::Fault;
use crate::schemas::Compiled;
use crate::value::{Value, missing_property};

/// What to read of the events of one type.
#[derive(Debug)]
pub(crate) struct Columns {
    layout: Arc<EventLayout>,
    /// What events must keep to, if anything.
    schema: Option<Arc<Compiled>>,
    /// The property of each slot.
    properties: Vec<Box<str>>,
    /// For each number column, its slot.
    numbers: Vec<usize>,
    /// For each text column, its slot.
    texts: Vec<usize>,
    /// For each dimension, its slot.
    dimensions: Vec<usize>,
}

impl Columns {
    /// The slots of every layout, with the schemas of their types.
    pub fn by_type(layouts: &Layouts) -> BTreeMap<String, Columns> {
        let columns = |(name, layout): (&String, &Arc<EventLayout>)| {
            let schema = layouts.schemas.get(name).map(Compiled::of);
            (name.clone(), Columns { schema, ..Columns::of(layout) })
        };
        layouts.by_type.iter().map(columns).collect()
    }

    /// The schema of its events, if there is one.
    pub fn schema(&self) -> Option<&Compiled> {
        self.schema.as_deref()
    }

    /// The layout.
    pub fn layout(&self) -> &EventLayout {
        &self.layout
    }

    /// The same, for events that were held against their schema before.
    pub fn without_schema(self) -> Columns {
        Columns { schema: None, ..self }
    }

    /// The slots of a layout.
    pub fn of(layout: &Arc<EventLayout>) -> Columns {
        let mut properties: Vec<Box<str>> = Vec::new();
        let mut slot = |property: &str| {
            properties.iter().position(|known| **known == *property).unwrap_or_else(|| {
                properties.push(property.into());
                properties.len() - 1
            })
        };
        let numbers = layout.numbers.iter().map(|column| slot(&column.property)).collect();
        let texts = layout.texts.iter().map(|property| slot(property)).collect();
        let dimensions = layout.dimensions.iter().map(|property| slot(property)).collect();
        Columns { layout: Arc::clone(layout), schema: None, properties, numbers, texts, dimensions }
    }

    /// The property of each slot.
    pub fn properties(&self) -> &[Box<str>] {
        &self.properties
    }

    /// The slot of a property, if the layout reads it.
    pub fn slot(&self, property: &str) -> Option<usize> {
        self.properties.iter().position(|known| **known == *property)
    }
}

/// Memory that is used again for each event.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowBuffers {
    numbers: Vec<i128>,
    texts: Vec<&'static str>,
    dimensions: Vec<Option<&'static str>>,
}

impl RowBuffers {
    /// Pushes an event whose properties are in `values`, slot by slot. A retraction has no
    /// values, whatever was sent with it.
    pub fn push(
        &mut self,
        head: Head<'_>,
        columns: &Columns,
        values: &[Value<'_>],
        builder: &mut EventBatchBuilder,
    ) -> Result<(), Fault> {
        if head.retract {
            return self.push_retraction(head, columns, builder);
        }
        let property = |slot: usize| &*columns.properties[slot];
        self.numbers.clear();
        for (slot, column) in columns.numbers.iter().zip(&columns.layout.numbers) {
            self.numbers.push(values[*slot].number(property(*slot), column.scale)?);
        }
        let mut texts = emptied(take(&mut self.texts));
        for slot in &columns.texts {
            let text = values[*slot].text(property(*slot))?;
            texts.push(text.ok_or_else(|| missing_property(property(*slot)))?);
        }
        let mut dimensions = emptied(take(&mut self.dimensions));
        for slot in &columns.dimensions {
            dimensions.push(values[*slot].text(property(*slot))?);
        }
        builder.push(head, &columns.layout, &self.numbers, &texts, &dimensions);
        self.texts = emptied(texts);
        self.dimensions = emptied(dimensions);
        Ok(())
    }

    fn push_retraction(
        &mut self,
        head: Head<'_>,
        columns: &Columns,
        builder: &mut EventBatchBuilder,
    ) -> Result<(), Fault> {
        self.numbers.clear();
        self.numbers.resize(columns.numbers.len(), 0);
        self.texts.clear();
        self.texts.resize(columns.texts.len(), "");
        self.dimensions.clear();
        self.dimensions.resize(columns.dimensions.len(), None);
        builder.push(head, &columns.layout, &self.numbers, &self.texts, &self.dimensions);
        Ok(())
    }
}

/// The same vector without what was in it, for things of another lifetime. Collecting in place
/// keeps the allocation, which a new vector for each event would not.
pub(crate) fn emptied<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    vector.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}
