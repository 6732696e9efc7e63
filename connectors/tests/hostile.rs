//! Hostile events: whatever comes, each is one row or one refusal with a sentence that helps.
//!
//! The cases are in `hostile/`. In their inputs, `<<100 x>>` stands for a hundred times `x`, and
//! `<<byte ff>>` for a byte that is no text.

mod cases;
mod shown;

use proptest::prelude::*;
use trueup_connectors::{EventReader, usage_event};
use trueup_model::usage::EventBatch;

use shown::{layouts, shown};

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

#[test]
fn hostile_events_get_the_answers_in_the_files() {
    let count = cases::check("hostile", |input| shown(&read(&written_out(input))));
    println!("{count} hostile events, each with its answer");
    assert!(count >= 165, "only {count} cases are left");
}

#[test]
fn what_was_kept_whole_is_refused_again_when_it_is_read_alone() {
    let event =
        r#"{"id":"1","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{"tokens":1}}"#;
    let lines = ["[", "{", "[]", "[{}]", "[[]]", "[[EVENT]]", "[[EVENT,EVENT],{}]", " [ [EVENT, 1]]", "EVENT EVENT"];
    for line in lines.map(|line| line.replace("EVENT", event)) {
        let batch = read(line.as_bytes());
        for refused in batch.refused.iter().filter(|refused| refused.whole) {
            let again = read(refused.payload.as_deref().unwrap_or_default().as_bytes());
            let details: Vec<_> = again.refused.iter().map(|again| &again.detail).collect();
            assert!(again.rows.is_empty() && details == [&refused.detail], "{line} and then {again:?}");
        }
    }
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
            let bytes_max = if refused.whole { 64 * 1024 } else { 1024 };
            prop_assert!(refused.payload.as_ref().is_some_and(|payload| payload.len() <= bytes_max));
        }
    }

    #[test]
    fn the_rich_reader_takes_what_the_fast_one_takes(line in event_like()) {
        let batch = read(&line);
        if let ([row], [b'{', ..]) = (&*batch.rows, &*line) {
            let event = usage_event(&line).expect("the fast reader took it");
            prop_assert_eq!(batch.ids.get(0), Some((event.source.as_str(), event.id.as_str())));
            let stated = (event.occurred_at, event.revision, event.retract);
            prop_assert_eq!((row.occurred_at, row.revision, !row.asserts()), stated);
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
