//! The same events as lines of JSON and as columns of Arrow.
//!
//! An input is a byte for the layouts and the kind of columns, and lines of cells with tabs between them:
//! id, source, type, subject, time, revision, retract, then a property for each name of `PROPERTIES`. A
//! cell of one hyphen is left out. Law: both ways take the same events, with the same values, and refuse
//! the others for the same reason, told of the same sender.

#![no_main]

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use trueup_connectors::{ArrowEvents, EventReader};
use trueup_fuzz::said::{Said, said};
use trueup_fuzz::{choice, layouts, records};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

const ATTRIBUTES: [&str; 7] = ["id", "source", "type", "subject", "time", "revision", "retract"];
const PROPERTIES: [&str; 9] = ["tokens", "model", "user", "bytes", "hours", "cached", "time", "id", "region"];
const COLUMNS: usize = ATTRIBUTES.len() + PROPERTIES.len();
const ROWS_MAX: usize = 24;

/// The cells of a line; one that is not there is left out too.
fn cells(line: &str) -> Vec<Option<&str>> {
    let mut cells: Vec<_> = line.split('\t').map(|cell| (cell != "-").then_some(cell)).collect();
    cells.resize(COLUMNS, None);
    cells
}

fn event(cells: &[Option<&str>]) -> Value {
    let object = |names: &[&str], cells: &[Option<&str>]| {
        let members = names.iter().zip(cells).filter_map(|(name, cell)| Some(((*name).to_owned(), (*cell)?.into())));
        members.collect::<Map<String, Value>>()
    };
    let (attributes, properties) = cells.split_at(ATTRIBUTES.len());
    let mut event = object(&ATTRIBUTES, attributes);
    event.insert("data".to_owned(), object(&PROPERTIES, properties).into());
    event.into()
}

/// The name of a column.
fn name(column: usize) -> String {
    match column.checked_sub(ATTRIBUTES.len()) {
        None => ATTRIBUTES[column].to_owned(),
        Some(property) => format!("data.{}", PROPERTIES[property]),
    }
}

/// Texts in a column of one of the kinds that there are.
fn column(kind: u8, cells: &[Option<&str>]) -> ArrayRef {
    let cells = cells.iter().copied();
    match kind % 4 {
        0 => Arc::new(cells.collect::<StringArray>()),
        1 => Arc::new(cells.collect::<LargeStringArray>()),
        2 => Arc::new(cells.collect::<StringViewArray>()),
        _ => Arc::new(cells.collect::<DictionaryArray<Int32Type>>()),
    }
}

fn table(kind: u8, lines: &[Vec<Option<&str>>]) -> RecordBatch {
    let columns = (0..COLUMNS).map(|place| {
        let cells: Vec<_> = lines.iter().map(|line| line[place]).collect();
        (name(place), column(kind.wrapping_add(place as u8), &cells), true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).expect("its columns are equally long")
}

/// What was taken, and why and of whom the rest was not. Sentences may differ where the form does.
type Answer = (Vec<Said>, Vec<(&'static str, Option<String>, Option<String>)>);

fn answer(batch: &EventBatch, layouts: &Layouts) -> Answer {
    let (events, refused) = said(batch, layouts);
    let refused = refused.into_iter().map(|refused| (refused.reason.name(), refused.event_source, refused.event_id));
    (events, refused.collect())
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<_> = text.split('\n').take(ROWS_MAX).map(cells).collect();
    let layouts = layouts(choice);
    let mut reader = EventReader::new(layouts.clone(), "default", "fuzz");
    let mut batch = reader.batch();
    for line in &lines {
        reader.read_line(event(line).to_string().as_bytes(), "a line", &mut batch);
    }
    let columns = ArrowEvents::new(layouts.clone(), "default", "fuzz");
    let from_columns = columns.read_batch(&table(choice >> 2, &lines), |row| row).expect("its columns are of events");
    let from_lines = batch.finish();
    assert_eq!((records(&from_lines), records(&from_columns)), (lines.len(), lines.len()));
    assert_eq!(answer(&from_lines, &layouts), answer(&from_columns, &layouts));
});
