#![doc = include_str!("README.md")]

use std::sync::Arc;

use trueup_connectors::files::EventBatches;
use trueup_connectors::limits::{EVENT_BYTES_MAX, PAYLOAD_BYTES_MAX};
use trueup_connectors::{Place, ReadError};
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::EventBatch;

pub mod intake;
pub mod said;
pub mod samples;

/// The first byte of an input, which says how the rest is to be read, and the rest.
pub fn choice(input: &[u8]) -> Option<(u8, &[u8])> {
    input.split_first().map(|(choice, rest)| (*choice, rest))
}

/// Layouts to read events by: those of the hostile files, others that read the same events
/// differently, and none at all.
pub fn layouts(choice: u8) -> Arc<Layouts> {
    let layout = |event_type: &str, numbers: &[(&str, u32)], texts: &[&str], dimensions: &[&str]| {
        let number = |(property, scale): &(&str, u32)| NumberColumn { property: (*property).into(), scale: *scale };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let numbers = numbers.iter().map(number).collect();
        let layout =
            EventLayout { event_type: event_type.into(), numbers, texts: names(texts), dimensions: names(dimensions) };
        (event_type.to_owned(), Arc::new(layout))
    };
    let by_type = match choice % 4 {
        0 => vec![
            layout("call", &[("tokens", 3)], &[], &["model"]),
            layout("login", &[], &["user"], &[]),
            layout("disk", &[("bytes", 0), ("hours", 12)], &[], &["cached"]),
        ],
        // The same property as a number and as a dimension, and properties with the names of attributes.
        1 => vec![
            layout("call", &[("tokens", 0), ("time", 12)], &["model"], &["tokens", "id", "data.x"]),
            layout("", &[("tokens", 12)], &[], &[]),
            layout("disk", &[], &[], &[]),
        ],
        // Many columns.
        2 => vec![layout(
            "call",
            &[("tokens", 12), ("bytes", 6), ("hours", 1), ("a", 0), ("b", 0), ("c", 2)],
            &["user", "model"],
            &["cached", "region", "d", "e", "f"],
        )],
        _ => Vec::new(),
    };
    Arc::new(Layouts { generation: u64::from(choice), by_type: by_type.into_iter().collect(), ..Layouts::default() })
}

/// Holds a batch to what every batch keeps; returns how many records are in it.
///
/// # Panics
/// Where it does not.
pub fn records(batch: &EventBatch) -> usize {
    for row in &batch.rows {
        assert!((row.subject as usize) < batch.subjects.len(), "a row has a subject");
        assert!((row.properties as usize) < batch.properties.len(), "a row has properties");
        let wide = usize::from(row.wide);
        assert!(wide == 0 || row.value as usize + wide <= batch.wide.len(), "a row's values are there");
    }
    for row in 0..batch.rows.len() {
        let (source, id) = batch.ids.get(row).expect("a row has what was sent as its source and id");
        assert!((1..=256).contains(&source.len()) && (1..=128).contains(&id.len()), "names have their lengths");
    }
    for refused in &batch.refused {
        assert!(!refused.detail.is_empty() && !refused.position.is_empty(), "a refusal says where and why");
        assert!(refused.detail.len() <= 4096, "a refusal is a sentence: {}", refused.detail.len());
        let kept = refused.payload.as_ref().map_or(0, String::len);
        assert!(
            kept <= if refused.whole { EVENT_BYTES_MAX } else { PAYLOAD_BYTES_MAX },
            "no more is kept than is said"
        );
    }
    batch.rows.len() + batch.refused.len()
}

/// Reads a file to its end: how many records it has, and the error that ended it.
pub fn read_to_end(batches: EventBatches) -> (usize, Option<ReadError>) {
    let mut count = 0;
    for batch in batches {
        match batch {
            Ok(batch) => count += records(&batch),
            Err(error) => {
                assert!(error.to_string().len() <= 8192, "an error is a sentence");
                return (count, Some(error));
            }
        }
    }
    (count, None)
}

/// Holds a place in the catalog to its law: it names the file, and a line that the file has.
///
/// # Panics
/// Where it does not.
pub fn check_place(place: &Place, file: &str, text: &str) {
    assert_eq!(place.file, file);
    let line = place.line.expect("a place in a file has a line");
    assert!((1..=text.split('\n').count().max(1)).contains(&line), "line {line} of `{text}`");
}
