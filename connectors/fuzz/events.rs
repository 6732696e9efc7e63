//! Events in JSON: a line, a body that came as a whole, or lines.
//!
//! Law: rows and refusals are as many as events; a list says what its events say one by one; a reader
//! forgets one line before the next; what was refused and kept whole is refused again, with the same
//! sentence; what this reader and the one for people take, both take with the same statement.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use trueup_connectors::{EventReader, usage_event};
use trueup_fuzz::said::said;
use trueup_fuzz::{choice, layouts, records};
use trueup_model::usage::EventBatch;

/// How many events bytes hold: as many as a list has, and else one.
fn events(bytes: &[u8]) -> usize {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    serde_json::from_str::<Vec<IgnoredAny>>(text).map_or(1, |events| events.len().max(1))
}

/// What is kept whole can be read again as a line, and by the same rules it is refused again.
fn check_kept(reader: &mut EventReader, batch: &EventBatch) {
    for refused in batch.refused.iter().filter(|refused| refused.whole) {
        let mut again = reader.batch();
        reader.read_line(refused.payload.as_deref().unwrap_or_default().as_bytes(), &refused.position, &mut again);
        let again = again.finish();
        assert!(again.rows.is_empty() && again.refused == [refused.clone()], "{refused:?} and then {again:?}");
    }
}

fn check_rich(line: &[u8], batch: &EventBatch) {
    if let ([row], [b'{', ..]) = (&*batch.rows, line) {
        // It reads all properties, and refuses an event for one that no layout has.
        let Ok(event) = usage_event(line) else { return };
        assert_eq!(batch.ids.get(0), Some((event.source.as_str(), event.id.as_str())));
        let stated = (event.occurred_at, event.revision, event.retract);
        assert_eq!((row.occurred_at, row.revision, !row.asserts()), stated);
    }
}

/// The events of a list one by one, if it is one. A list within it is read as an event, which it is not.
fn one_by_one(reader: &mut EventReader, bytes: &[u8]) -> Option<EventBatch> {
    let events: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
    let is_list = |event: &&RawValue| event.get().starts_with('[');
    if events.is_empty() || events.iter().any(is_list) {
        return None;
    }
    let mut batch = reader.batch();
    events.iter().for_each(|event| reader.read_body(event.get().as_bytes(), "alone", &mut batch));
    Some(batch.finish())
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    let layouts = layouts(choice >> 2);
    let new = || EventReader::new(layouts.clone(), "default", "fuzz");
    let mut reader = new();
    match choice % 4 {
        0 => {
            let mut batch = reader.batch();
            reader.read_line(bytes, "line 1", &mut batch);
            let batch = batch.finish();
            assert_eq!(records(&batch), events(bytes));
            check_kept(&mut reader, &batch);
            check_rich(bytes, &batch);
        }
        1 => {
            let mut batch = reader.batch();
            reader.read_body(bytes, "the body", &mut batch);
            let batch = batch.finish();
            assert_eq!(records(&batch), events(bytes));
            check_kept(&mut reader, &batch);
            if let Some(alone) = one_by_one(&mut reader, bytes) {
                assert_eq!(said(&batch, &layouts), said(&alone, &layouts));
            }
        }
        // One reader for all lines, and a new one for each, give the same.
        _ => {
            for line in bytes.split(|byte| *byte == b'\n').take(16) {
                let (mut batch, mut fresh) = (reader.batch(), reader.batch());
                reader.read_line(line, "a line", &mut batch);
                new().read_line(line, "a line", &mut fresh);
                let (batch, fresh) = (batch.finish(), fresh.finish());
                assert_eq!(records(&batch), events(line));
                assert_eq!(said(&batch, &layouts), said(&fresh, &layouts), "something of a line before is left");
            }
        }
    }
});
