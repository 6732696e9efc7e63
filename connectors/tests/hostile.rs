//! Hostile events: whatever comes, each is one row or one refusal with a sentence that helps.
//!
//! The cases are in `hostile/`. In their inputs, `<<100 x>>` stands for a hundred times `x`, and
//! `<<byte ff>>` for a byte that is no text.

mod cases;

use std::sync::Arc;

use proptest::prelude::*;
use trueup_connectors::{EventReader, usage_event};
use trueup_model::decimal;
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::{EventBatch, Refused};

fn layouts() -> Arc<Layouts> {
    let layout = |event_type: &str, numbers: &[(&str, u32)], texts: &[&str], dimensions: &[&str]| {
        let number = |(property, scale): &(&str, u32)| NumberColumn { property: (*property).into(), scale: *scale };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let layout = EventLayout {
            event_type: event_type.into(),
            numbers: numbers.iter().map(number).collect(),
            texts: names(texts),
            dimensions: names(dimensions),
        };
        (event_type.to_owned(), Arc::new(layout))
    };
    let by_type = [
        layout("call", &[("tokens", 3)], &[], &["model"]),
        layout("login", &[], &["user"], &[]),
        layout("disk", &[("bytes", 0), ("hours", 12)], &[], &["cached"]),
    ];
    Arc::new(Layouts { generation: 1, by_type: by_type.into() })
}

fn reader() -> EventReader {
    EventReader::new(layouts(), "default", "hostile")
}

fn read(line: &[u8]) -> EventBatch {
    let mut reader = reader();
    let mut batch = reader.batch();
    reader.read_line(line, "line 1", &mut batch);
    batch.finish()
}

/// An input with its abbreviations written out.
fn written_out(input: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut pieces = input.split("<<");
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let (abbreviation, rest) = piece.split_once(">>").expect("an abbreviation ends");
        let (first, what) = abbreviation.split_once(' ').expect("an abbreviation has two parts");
        match first {
            "byte" => bytes.push(u8::from_str_radix(what, 16).expect("a byte in hexadecimal")),
            count => bytes.extend(what.repeat(count.parse().expect("a count")).bytes()),
        }
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn shown(batch: &EventBatch) -> String {
    let rows = (0..batch.rows.len()).map(|row| shown_row(batch, row));
    let answers: Vec<String> = rows.chain(batch.refused.iter().map(shown_refusal)).collect();
    abbreviated(&answers.join("\n"))
}

/// A text in which a character many times over is written as in the inputs.
fn abbreviated(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let runs = characters.chunk_by(|one, next| one == next);
    runs.map(|run| if run.len() < 16 { run.iter().collect() } else { format!("<<{} {}>>", run.len(), run[0]) })
        .collect()
}

fn shown_row(batch: &EventBatch, row: usize) -> String {
    let (source, id) = batch.ids.get(row).expect("a row has a source and an id");
    let row = &batch.rows[row];
    let properties = &batch.properties[row.properties as usize];
    let layouts = layouts();
    let layout = layouts.of(&properties.event_type).expect("a row is read by a layout");
    let number = |column: usize| match row.wide > 0 {
        true => batch.wide[row.value as usize + column],
        false => i128::from(row.value),
    };
    let numbers = layout.numbers.iter().enumerate().map(|(column, NumberColumn { property, scale })| {
        format!("{property}={}", decimal::show(number(column), *scale))
    });
    let texts = layout.texts.iter().map(|text| format!("{text}={:?}", batch.texts[row.value as usize]));
    let dimensions = layout.dimensions.iter().zip(&properties.dimensions);
    let dimensions = dimensions.filter_map(|(name, value)| Some(format!("{name}={:?}", value.as_deref()?)));
    let values: Vec<String> = numbers.chain(texts).chain(dimensions).collect();
    let statement = if row.retract { "retracted" } else { "row" };
    let subject = &batch.subjects[row.subject as usize];
    format!(
        "{statement} {} {source} {id} of {subject} at {}, revision {}: {}",
        layout.event_type,
        row.occurred_at,
        row.revision,
        values.join(" ")
    )
}

fn shown_refusal(refused: &Refused) -> String {
    let name = |name: &Option<String>| name.as_ref().map_or("?".to_owned(), |name| name.escape_debug().to_string());
    format!(
        "{} {} {} at {}: {}",
        refused.reason.name(),
        name(&refused.event_source),
        name(&refused.event_id),
        refused.position,
        refused.detail
    )
}

#[test]
fn hostile_events_get_the_answers_in_the_files() {
    let count = cases::check("hostile", |input| shown(&read(&written_out(input))));
    assert!(count >= 60, "only {count} cases are left");
}

/// Pieces of events, so that random lines get past the first byte.
fn event_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\"id\":\"1\"", "\"source\":\"/a\"", "\"type\":\"call\"",
            "\"subject\":\"acme\"", "\"time\":\"2026-06-01T00:00:00Z\"", "\"time\":0", "\"data\":{\"tokens\":1.5}",
            "\"data\":{\"tokens\":1e99}", "\"data\":null", "\"retract\":true", "\"revision\":4294967296", "\"\\ud800\"",
            "{\"id\":\"1\",\"source\":\"/a\",\"type\":\"call\",\"subject\":\"acme\",\"time\":\"2026-06-01T00:00:00Z\",\"data\":{\"tokens\":1}}",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_line_is_one_row_or_one_refusal(
        line in prop_oneof![event_like(), prop::collection::vec(any::<u8>(), 0..80)],
    ) {
        let batch = read(&line);
        let events = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&line);
        let events = events.map_or(1, |events| events.len().max(1));
        prop_assert_eq!(batch.rows.len() + batch.refused.len(), events);
        prop_assert_eq!(batch.ids.is_empty(), batch.rows.is_empty());
        for refused in &batch.refused {
            prop_assert!(!refused.detail.is_empty());
            prop_assert!(refused.payload.as_ref().is_some_and(|payload| payload.len() <= 1024));
        }
    }

    #[test]
    fn the_rich_reader_takes_what_the_fast_one_takes(line in event_like()) {
        let batch = read(&line);
        if let ([row], [b'{', ..]) = (&*batch.rows, &*line) {
            let event = usage_event(&line).expect("the fast reader took it");
            prop_assert_eq!(batch.ids.get(0), Some((event.source.as_str(), event.id.as_str())));
            let stated = (event.occurred_at, event.revision, event.retract);
            prop_assert_eq!((row.occurred_at, row.revision, row.retract), stated);
        }
    }

    #[test]
    fn a_reader_forgets_one_line_before_the_next(lines in prop::collection::vec(event_like(), 1..6)) {
        let mut reader = reader();
        for line in &lines {
            let mut batch = reader.batch();
            reader.read_line(line, "line 1", &mut batch);
            prop_assert_eq!(shown(&batch.finish()), shown(&read(line)));
        }
    }
}
