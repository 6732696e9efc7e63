//! From the values of an event to the columns of its layout.
//!
//! A layout is compiled once into slots, one for each different property that it reads. A reader
//! fills the slots in whatever order the properties come, and `push` turns them into a row.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use trueup_model::layout::{EventLayout, Layouts};
use trueup_model::usage::{EventBatchBuilder, Head, MISSING};

use crate::fault::Fault;
use crate::schemas::Compiled;
use crate::value::{Value, missing_property};

/// What to read of the events of one type.
#[derive(Debug)]
pub(crate) struct Columns {
    layout: Arc<EventLayout>,
    /// What of it meters ask for today.
    asked: Arc<EventLayout>,
    /// What events must keep to, if anything.
    schema: Option<Arc<Compiled>>,
    /// The property of each slot.
    properties: Vec<Box<str>>,
    /// For each number column, its slot.
    numbers: Vec<Slot>,
    /// For each text column, its slot.
    texts: Vec<Slot>,
    /// For each dimension, its slot.
    dimensions: Vec<Slot>,
}

/// Where the value of a column is to be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Its place.
    pub place: usize,
    /// Whether some meter asks for its value now; otherwise that is read on, and need not be there, nor be fit to be
    /// read.
    pub is_asked: bool,
}

impl Slot {
    /// The number that was read; missing, where nobody asks for it and it could not be.
    pub fn number(self, read: Result<i128, Fault>) -> Result<i128, Fault> {
        self.accept(read, MISSING)
    }

    /// The text that was read of a property, likewise.
    pub fn text<T>(self, read: Result<Option<T>, Fault>, property: &str) -> Result<Option<T>, Fault> {
        self.accept(read.and_then(|text| text.ok_or_else(|| missing_property(property)).map(Some)), None)
    }

    /// The dimension that was read; none also where nobody asks for it and it could not be.
    pub fn dimension<T>(self, read: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
        self.accept(read, None)
    }

    fn accept<V>(self, read: Result<V, Fault>, otherwise: V) -> Result<V, Fault> {
        if self.is_asked { read } else { Ok(read.unwrap_or(otherwise)) }
    }
}

impl Columns {
    /// The slots of every layout, with the schemas of their types.
    pub fn by_type(layouts: &Layouts) -> BTreeMap<String, Columns> {
        let columns = |(name, layout): (&String, &Arc<EventLayout>)| {
            let schema = layouts.schemas.get(name).map(Compiled::of);
            (name.clone(), Columns { schema, ..Columns::of(layout, layouts.asked_of(layout)) })
        };
        layouts.by_type.iter().map(columns).collect()
    }

    /// The schema of its events, if there is one.
    pub fn schema(&self) -> Option<&Compiled> {
        self.schema.as_deref()
    }

    /// What meters ask for today.
    pub fn asked(&self) -> &EventLayout {
        &self.asked
    }

    /// The same, for events that were held against their schema before.
    pub fn without_schema(self) -> Columns {
        Columns { schema: None, ..self }
    }

    /// The slots of a layout, of which this part is asked for.
    pub fn of(layout: &Arc<EventLayout>, asked: &Arc<EventLayout>) -> Columns {
        let mut properties: Vec<Box<str>> = Vec::new();
        let mut slot = |property: &str| {
            properties.iter().position(|known| **known == *property).unwrap_or_else(|| {
                properties.push(property.into());
                properties.len() - 1
            })
        };
        let [numbers, texts, dimensions] = slots(layout, asked, &mut slot);
        let (layout, asked) = (layout.clone(), asked.clone());
        Columns { layout, asked, schema: None, properties, numbers, texts, dimensions }
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
    texts: Vec<Option<&'static str>>,
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
        let property = |slot: Slot| &*columns.properties[slot.place];
        self.numbers.clear();
        for (slot, column) in columns.numbers.iter().zip(&columns.layout.numbers) {
            self.numbers.push(slot.number(values[slot.place].number(property(*slot), column.scale))?);
        }
        let mut texts = emptied(take(&mut self.texts));
        for slot in &columns.texts {
            texts.push(slot.text(values[slot.place].text(property(*slot)), property(*slot))?);
        }
        let mut dimensions = emptied(take(&mut self.dimensions));
        for slot in &columns.dimensions {
            dimensions.push(slot.dimension(values[slot.place].text(property(*slot)))?);
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
        self.texts.resize(columns.texts.len(), Some(""));
        self.dimensions.clear();
        self.dimensions.resize(columns.dimensions.len(), None);
        builder.push(head, &columns.layout, &self.numbers, &self.texts, &self.dimensions);
        Ok(())
    }
}

/// For each number, text and dimension of a layout, of which this part is asked for, its slot.
pub(crate) fn slots(layout: &EventLayout, asked: &EventLayout, mut place: impl FnMut(&str) -> usize) -> [Vec<Slot>; 3] {
    let mut slot = |property: &str, is_asked: bool| Slot { place: place(property), is_asked };
    let numbers = layout.numbers.iter().map(|column| slot(&column.property, asked.numbers.contains(column))).collect();
    let texts = layout.texts.iter().map(|text| slot(text, asked.texts.contains(text))).collect();
    let dimensions = layout.dimensions.iter().map(|name| slot(name, asked.dimensions.contains(name))).collect();
    [numbers, texts, dimensions]
}

/// The same vector without what was in it, for things of another lifetime. Collecting in place
/// keeps the allocation, which a new vector for each event would not.
pub(crate) fn emptied<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    vector.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use trueup_model::layout::NumberColumn;
    use trueup_model::usage::{EventBatch, Reason};

    use super::*;
    use crate::limits::TEXT_BYTES_MAX;
    use crate::{ArrowEvents, EventReader, read_csv};

    /// Properties of the first kind are asked for, those of the second read on.
    fn layouts() -> Arc<Layouts> {
        let layout = |asked: &[&str]| {
            let names = |kind: &str| asked.iter().map(|asked| format!("{asked}_{kind}")).collect();
            let numbers: Vec<String> = names("number");
            let numbers = numbers.into_iter().map(|property| NumberColumn { property, scale: 1 }).collect();
            let event_type = "call".to_owned();
            Arc::new(EventLayout { event_type, numbers, texts: names("text"), dimensions: names("dimension") })
        };
        let by = |layout| [("call".to_owned(), layout)].into();
        Arc::new(Layouts {
            by_type: by(layout(&["asked", "once"])),
            asked: by(layout(&["asked"])),
            ..Layouts::default()
        })
    }

    const PROPERTIES: [&str; 6] =
        ["asked_number", "asked_text", "asked_dimension", "once_number", "once_text", "once_dimension"];
    /// Too long to be kept.
    const LONG: &str = match str::from_utf8(&[b'a'; TEXT_BYTES_MAX + 1]) {
        Ok(text) => text,
        Err(_) => "",
    };
    /// Their values, event by event.
    const EVENTS: [[Option<&str>; 6]; 5] = [
        [Some("1"), Some("ann"), Some("eu"), Some("1.5"), Some("bob"), Some("us")],
        [Some("1"), Some("ann"), None, None, None, None],
        [Some("1"), Some("ann"), Some("eu"), Some("1.55"), Some(LONG), Some(LONG)],
        [None, Some("ann"), None, Some("1.5"), None, None],
        [Some("1"), Some(LONG), None, Some("1.5"), None, None],
    ];

    fn of_json() -> EventBatch {
        let lines = EVENTS.iter().enumerate().map(|(id, values)| {
            let there = PROPERTIES.iter().zip(values).filter_map(|(name, value)| Some((*name, (*value)?)));
            let data: BTreeMap<&str, &str> = there.collect();
            let event = serde_json::json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "call",
                "subject": "acme", "time": "2026-06-01T08:00:00Z", "data": data});
            event.to_string()
        });
        let mut reader = EventReader::new(layouts(), "default", "calls");
        let mut builder = reader.batch();
        lines.for_each(|line| reader.read_line(line.as_bytes(), "line", &mut builder));
        builder.finish()
    }

    fn of_columns() -> EventBatch {
        let same = |text: &'static str| vec![Some(text); EVENTS.len()];
        let ids = ["0", "1", "2", "3", "4"].map(Some).to_vec();
        let attributes = [("id", ids), ("source", same("/s")), ("type", same("call")), ("subject", same("acme"))];
        let attributes = attributes.into_iter().chain([("time", same("2026-06-01T08:00:00Z"))]);
        let property = |(place, name)| (name, EVENTS.iter().map(|values| values[place]).collect());
        let columns = attributes.chain(PROPERTIES.into_iter().enumerate().map(property));
        let columns = columns.map(|(name, texts)| (name, Arc::new(StringArray::from(texts)) as ArrayRef));
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
        ArrowEvents::new(layouts(), "default", "calls").read_batch(&batch.unwrap(), |row| row.to_string()).unwrap()
    }

    fn of_csv() -> EventBatch {
        let data: String = PROPERTIES.iter().map(|name| format!("{name} = '{name}'\n")).collect();
        let mapping = "event_type = {constant = 'call'}\nid = {column = 'id'}\nsource = '/s'\n\
                       subject = {constant = 'acme'}\ntime = {column = 'at'}\n[data]\n";
        let mapping = toml::from_str(&format!("{mapping}{data}")).unwrap();
        let row = |(id, values): (usize, &[Option<&str>; 6])| {
            let cells = values.map(|value| value.map(|value| format!("\"{value}\"")).unwrap_or_default());
            format!("{id},2026-06-01T08:00:00Z,{}\n", cells.join(","))
        };
        let rows: String = EVENTS.iter().enumerate().map(row).collect();
        let file = format!("id,at,{}\n{rows}", PROPERTIES.join(","));
        let mut batches = read_csv(std::io::Cursor::new(file), &mapping, &layouts(), "default", "calls", 1).unwrap();
        batches.next().unwrap().unwrap()
    }

    /// What is known of each event that was taken.
    fn known(batch: &EventBatch) -> Vec<Vec<Option<String>>> {
        let row = |row: &trueup_model::usage::UsageRow| {
            let values = &batch.wide[row.value as usize..][..usize::from(row.wide)];
            let value = |place: usize| Some(values[place]).filter(|value| *value != MISSING);
            let text = |place: usize| value(place).map(|text| batch.texts[text as usize].to_string());
            let numbers = [0, 1].map(|place| value(place).map(|number| number.to_string()));
            let dimensions = batch.properties[row.properties as usize].dimensions.iter();
            let dimensions = dimensions.map(|value| value.as_deref().map(str::to_owned));
            numbers.into_iter().chain([2, 3].map(text)).chain(dimensions).collect()
        };
        batch.rows.iter().map(row).collect()
    }

    #[test]
    fn what_is_read_on_need_not_be_there() {
        let some = |texts: [&str; 6]| texts.map(|text| (!text.is_empty()).then(|| text.to_owned())).to_vec();
        let expected = [
            some(["10", "15", "ann", "bob", "eu", "us"]),
            some(["10", "", "ann", "", "", ""]),
            some(["10", "", "ann", "", "eu", ""]),
        ];
        for (way, batch) in [("JSON", of_json()), ("columns", of_columns()), ("CSV", of_csv())] {
            assert_eq!(known(&batch), expected, "{way}");
            let reasons: Vec<Reason> = batch.refused.iter().map(|refused| refused.reason).collect();
            assert_eq!(reasons, [Reason::Missing, Reason::OutOfRange], "{way}: {:?}", batch.refused);
        }
    }
}
