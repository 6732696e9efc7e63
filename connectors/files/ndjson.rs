//! Files with one CloudEvent, or one batch of them, to a line.

use std::io::Read;

use trueup_model::usage::EventBatch;

use super::ReadError;
use super::chunks::{Chunk, Chunks};
use super::ordered::{EventBatches, in_order};
use crate::cloud_events::EventReader;

/// Reads the lines of `input` on `threads` threads, as `reader` would one after the other.
///
/// Blank lines are passed over. Positions are `line N`, counted from 1. Holds a few chunks of
/// about 1 MiB for each thread.
///
/// ```
/// # use std::sync::Arc;
/// # use trueup_connectors::{EventReader, read_ndjson};
/// # use trueup_model::layout::Layouts;
/// let reader = EventReader::new(Arc::new(Layouts::default()), "default", "events.ndjson");
/// let lines: &[u8] = b"{}\n\nnot JSON\n";
/// let batches: Result<Vec<_>, _> = read_ndjson(lines, &reader, 2).collect();
/// assert_eq!(batches.unwrap()[0].refused[1].position, "line 3");
/// ```
pub fn read_ndjson(input: impl Read + Send + 'static, reader: &EventReader, threads: usize) -> EventBatches {
    read_chunks(Chunks::new(input), 0, reader, threads)
}

/// Reads the lines after this one, as [`read_ndjson`] does.
pub(super) fn read_lines_after(
    input: impl Read + Send + 'static,
    line: u64,
    reader: &EventReader,
    threads: usize,
) -> Result<EventBatches, ReadError> {
    let mut chunks = Chunks::new(input);
    let cannot = |error| ReadError::Io { file: reader.source_name().to_owned(), read_to: "line 0".to_owned(), error };
    chunks.skip_to(line).map_err(cannot)?;
    Ok(read_chunks(chunks, line, reader, threads))
}

fn read_chunks(
    chunks: Chunks<impl Read + Send + 'static>,
    read_to: u64,
    reader: &EventReader,
    threads: usize,
) -> EventBatches {
    let mut own_reader = reader.clone();
    let parse = move |chunk: &Chunk| Ok(parse(&mut own_reader, chunk));
    in_order(chunks.of_file(reader.source_name().to_owned()), read_to, threads, parse)
}

fn parse(reader: &mut EventReader, chunk: &Chunk) -> EventBatch {
    let mut batch = reader.batch();
    for (number, line) in chunk.lines() {
        reader.read_line(line, format_args!("line {number}"), &mut batch);
    }
    batch.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trueup_model::layout::{EventLayout, Layouts};

    use super::*;

    fn reader() -> EventReader {
        let layout =
            EventLayout { event_type: "call".into(), numbers: Vec::new(), texts: Vec::new(), dimensions: Vec::new() };
        let by_type = [("call".to_owned(), Arc::new(layout))].into();
        EventReader::new(Arc::new(Layouts { generation: 1, by_type, ..Layouts::default() }), "default", "calls.ndjson")
    }

    fn event(number: usize) -> String {
        format!(
            r#"{{"id":"call-{number}","source":"/gateway","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{}}}}"#
        )
    }

    #[test]
    fn batches_come_in_the_order_of_the_file_with_any_number_of_threads() {
        let lines: Vec<String> = (1..=50_000).map(|n| if n % 1000 == 0 { "?".into() } else { event(n) }).collect();
        let input = lines.join("\n");
        for threads in [0, 1, 2, 5] {
            let batches = read_ndjson(std::io::Cursor::new(input.clone()), &reader(), threads);
            let batches: Vec<EventBatch> = batches.map(|batch| batch.expect("memory can be read")).collect();
            assert!(batches.len() > 3);
            let ids = batches.iter().flat_map(|batch| (0..batch.rows.len()).filter_map(|row| batch.ids.get(row)));
            let expected = (1..=50_000).filter(|n| n % 1000 != 0).map(|n| format!("call-{n}"));
            assert!(ids.map(|(_, id)| id.to_owned()).eq(expected));
            let refused = batches.iter().flat_map(|batch| &batch.refused).map(|refused| refused.position.clone());
            assert!(refused.eq((1..=50).map(|thousand| format!("line {thousand}000"))));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_one_read() {
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(5 << 20));
        let input = [event(1), long, event(3)].join("\n");
        let batches = read_ndjson(std::io::Cursor::new(input), &reader(), 2);
        let batches: Vec<EventBatch> = batches.map(|batch| batch.expect("memory can be read")).collect();
        let refused: Vec<_> = batches.iter().flat_map(|batch| &batch.refused).collect();
        assert_eq!(batches.iter().map(|batch| batch.rows.len()).sum::<usize>(), 2);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].position, "line 2");
        assert!(refused[0].detail.contains("more than 65536 bytes"), "{}", refused[0].detail);
        assert_eq!(refused[0].payload.as_ref().map(String::len), Some(1024));
    }

    #[test]
    fn a_file_that_breaks_off_says_where() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        let mut batches = read_ndjson(Broken, &reader(), 2);
        let error = batches.next().expect("there is an answer").expect_err("it is an error");
        assert_eq!(
            error.to_string(),
            "`calls.ndjson` cannot be read beyond line 0; check the file, then read it again, nothing counts twice"
        );
        assert!(batches.next().is_none());
    }

    #[test]
    fn dropping_the_batches_stops_the_reading() {
        let endless = std::io::repeat(b'\n');
        drop(read_ndjson(endless, &reader(), 2));
    }
}
