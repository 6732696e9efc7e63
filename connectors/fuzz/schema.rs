//! JSON Schemas, and events that are held against them.
//!
//! An input is a schema and lines of `data`, with a line of four dashes between them. Law: a schema is taken,
//! or refused with a sentence; one that is refused holds up every event of its type; of one that is taken,
//! an event is decided the same way twice, as a line and as a part of a list.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use trueup_connectors::EventReader;
use trueup_connectors::schemas::check_schema;
use trueup_fuzz::said::said;
use trueup_fuzz::{layouts, records};
use trueup_model::catalog::EventSchema;
use trueup_model::layout::Layouts;
use trueup_model::usage::Reason;

const DATA_MAX: usize = 8;

fuzz_target!(|text: &str| {
    let (schema, data) = text.split_once("\n----\n").unwrap_or((text, "{\"tokens\":1}"));
    let schema = EventSchema { event_type: "call".to_owned(), version: 1, text: schema.into() };
    let checked = check_schema(&schema);
    if let Err(why) = &checked {
        assert!((1..=4096).contains(&why.len()), "a refusal is a sentence");
    }
    let schemas = [("call".to_owned(), Arc::new(schema))].into();
    let layouts = Arc::new(Layouts { schemas, ..(*layouts(0)).clone() });
    let mut reader = EventReader::new(layouts.clone(), "default", "fuzz");
    let event = |data: &str| {
        format!(
            r#"{{"id":"1","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{data}}}"#
        )
    };
    let events: Vec<String> = data.lines().take(DATA_MAX).map(event).collect();
    let mut one_by_one = reader.batch();
    events.iter().for_each(|event| reader.read_line(event.as_bytes(), "a line", &mut one_by_one));
    let one_by_one = one_by_one.finish();
    assert!(checked.is_ok() || one_by_one.rows.is_empty(), "a schema that cannot be used lets nothing pass");
    if checked.is_err() {
        let of_schema = |reason| matches!(reason, Reason::BreaksSchema | Reason::Unreadable);
        assert!(one_by_one.refused.iter().all(|refused| of_schema(refused.reason)), "{:?}", one_by_one.refused);
    }
    let is_json = |event: &String| serde_json::from_str::<serde::de::IgnoredAny>(event).is_ok();
    if !events.is_empty() && events.iter().all(is_json) {
        let mut list = reader.batch();
        reader.read_body(format!("[{}]", events.join(",")).as_bytes(), "a list", &mut list);
        let list = list.finish();
        assert_eq!(records(&list), events.len());
        assert_eq!(said(&list, &layouts), said(&one_by_one, &layouts));
    }
});
