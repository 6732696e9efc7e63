//! Hostile columns: whatever a stream, or a file of Arrow or Parquet, says, the answer is events, refusals or an
//! error with a sentence that helps; nothing panics, and nothing is allocated by a forged length.
//!
//! The cases are in `hostile_arrow/`, whose first file says how they are written.

mod arrow_made;
mod cases;
mod shown;

use std::fs::File;
use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;
use trueup_connectors::ArrowEvents;
use trueup_connectors::arrow_put::ArrowPut;
use trueup_connectors::files::arrow::read_arrow;
use trueup_connectors::files::parquet::read_parquet;
use trueup_connectors::files::{EventBatches, Reading};
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use arrow_made::{Made, Message};
use shown::{layouts, shown};

/// Takes everything, and remembers it.
#[derive(Default)]
struct Fake(Mutex<Vec<EventBatch>>);

impl Intake for Fake {
    fn layouts(&self) -> Arc<Layouts> {
        layouts()
    }

    fn read_to(&self, _source: &str) -> Option<String> {
        None
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        _read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        let [batch] = <[EventBatch; 1]>::try_from(parts).expect("this way in has no parts");
        let refused = batch.refused.iter().cloned().map(Arc::new).collect();
        let events = batch.rows.len() as u64;
        self.0.lock().unwrap().push(batch);
        async move { Ok(Taken { epoch: 7, events, refused }) }.boxed()
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts").block_on(work)
}

/// What a client that puts these messages is answered.
fn put(messages: &[Message]) -> String {
    let fake = Arc::new(Fake::default());
    let answers = block_on(async {
        let mut stream = ArrowPut::new(fake.clone(), "default");
        let mut answers = Vec::new();
        for Message { header, body } in messages {
            match stream.take(Bytes::copy_from_slice(header), Bytes::copy_from_slice(body)).await {
                Ok((next, None)) => stream = next,
                Ok((next, Some(answer))) => {
                    stream = next;
                    answers.push(format!("answer: {} taken, {} set aside", answer["taken"], answer["set_aside"]));
                }
                Err(error) => {
                    answers.push(format!("error: {error}"));
                    break;
                }
            }
        }
        answers
    });
    let batches = fake.0.lock().unwrap();
    batches.iter().map(shown).filter(|shown| !shown.is_empty()).chain(answers).collect::<Vec<_>>().join("\n")
}

/// What is read of an Arrow file with these bytes.
fn arrow(bytes: Vec<u8>, after: u64) -> String {
    let layouts = layouts();
    let reading = Reading { layouts: &layouts, tenant: "default", file: "calls.arrow", threads: 2 };
    told(read_arrow(Cursor::new(bytes), after, &reading))
}

/// What is read of a Parquet file with these bytes.
fn parquet(bytes: &[u8], after: u64) -> String {
    let layouts = layouts();
    let reading = Reading { layouts: &layouts, tenant: "default", file: "calls.parquet", threads: 2 };
    told(read_parquet(held(bytes), after, &reading))
}

/// What is read of a stream, or of a file, that came at once.
fn whole(bytes: &[u8]) -> String {
    let events = ArrowEvents::new(layouts(), "default", "kafka/kafka");
    events
        .read_whole(bytes, |row| format!("row {row}"))
        .map_or_else(|error| format!("error: {error}"), |batch| shown(&batch))
}

/// A file without a name that holds these bytes.
fn held(bytes: &[u8]) -> File {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("trueup-hostile-{}-{number}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file can be made");
    std::fs::remove_file(&path).expect("a file can be removed");
    file.write_all(bytes).expect("a file can be written");
    file
}

fn told(batches: EventBatches) -> String {
    let batches = batches.map(|batch| match batch {
        Ok(batch) => shown(&batch),
        Err(error) => format!("error: {error}"),
    });
    batches.collect::<Vec<_>>().join("\n")
}

#[test]
fn hostile_columns_get_the_answers_in_the_files() {
    let count = cases::check("hostile_arrow", |input| match Made::of(input) {
        Made::Put(messages) => put(&messages),
        Made::Whole(bytes) => whole(&bytes),
        Made::File { bytes, after, is_parquet: true } => parquet(&bytes, after),
        Made::File { bytes, after, .. } => arrow(bytes, after),
    });
    println!("{count} hostile streams and files of columns, each with its answer");
    assert!(count >= 180, "only {count} cases are left");
}

/// A stream of two kinds of columns, as a client writes it.
const SOUND: &str = "call 3\ntokens decimal128(12,3) [1250, 7, null]\nmodel dictionary(int8,utf8) [\"m\", null, \"n\"]";

proptest! {
    #[test]
    fn a_stream_with_any_bytes_changed_is_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        compressed in prop::sample::select(vec!["", "\n! compress zstd", "\n! compress lz4"]),
    ) {
        let Made::Put(mut messages) = Made::of(&format!("{SOUND}{compressed}")) else { panic!("it is put") };
        for (place, byte) in changes {
            let message = messages.len() - 1;
            let Message { header, body } = &mut messages[message];
            let place = place.index(header.len() + body.len());
            match place.checked_sub(header.len()) {
                None => header[place] = byte,
                Some(place) => body[place] = byte,
            }
        }
        put(&messages);
    }

    #[test]
    fn a_whole_stream_with_any_bytes_changed_or_cut_is_read_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
        form in prop::sample::select(vec!["whole", "whole file"]),
        compressed in prop::sample::select(vec!["", "\n! compress zstd", "\n! compress lz4"]),
    ) {
        let compressed = if form == "whole" { format!("{compressed}\n! again rows") } else { String::new() };
        let Made::Whole(mut bytes) = Made::of(&format!("as {form}\n{SOUND}{compressed}")) else { panic!("it is whole") };
        let rows = if form == "whole" { 6 } else { 3 };
        if changes.is_empty() && !is_cut {
            prop_assert_eq!(whole(&bytes).lines().count(), rows);
        }
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        whole(&bytes);
    }

    #[test]
    fn a_file_with_any_bytes_changed_or_cut_is_read_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
        form in prop::sample::select(vec!["file", "parquet", "parquet_snappy", "parquet_zstd", "parquet_v2"]),
    ) {
        let made = Made::of(&format!("as {form}\n{SOUND}"));
        let Made::File { mut bytes, is_parquet, .. } = made else { panic!("it is a file") };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if is_parquet { parquet(&bytes, 0) } else { arrow(bytes, 0) };
    }
}
