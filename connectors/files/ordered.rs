//! Parses chunks on several threads and hands the batches over in the order of the input.
//!
//! ```text
//!             ┌─ parse ─┐
//!   chunks ──►├─ parse ─┤──► batches, in order
//!     │       └─ parse ─┘      ▲
//!     └── a place in the line ─┘
//! ```
//!
//! For each chunk its place in the line is taken before it is parsed, and the line is short:
//! that bounds the memory, and whoever falls behind makes the others wait.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use trueup_model::usage::EventBatch;

use super::ReadError;
use super::chunks::{Chunk, Chunks};

/// Batches waiting, for each thread that parses.
const WAITING_PER_THREAD: usize = 2;

type Parsed = Result<EventBatch, ReadError>;

/// A chunk, and where its batch is waited for.
type Job = (Chunk, SyncSender<Parsed>);

/// The batches of a file, in its order. Reading stops when this is dropped.
#[derive(Debug)]
pub struct EventBatches {
    line: Receiver<Receiver<Parsed>>,
}

impl Iterator for EventBatches {
    type Item = Result<EventBatch, ReadError>;

    fn next(&mut self) -> Option<Parsed> {
        let place = self.line.recv().ok()?;
        Some(place.recv().expect("a chunk in the line is always parsed, since parsing never panics"))
    }
}

/// Parses the chunks of `file` on so many threads, each with its own copy of `parse`.
pub(super) fn in_order<R, P>(chunks: Chunks<R>, file: String, threads: usize, parse: P) -> EventBatches
where
    R: Read + Send + 'static,
    P: FnMut(&Chunk) -> EventBatch + Clone + Send + 'static,
{
    let threads = threads.max(1);
    let (places, line) = sync_channel(threads * WAITING_PER_THREAD);
    let (jobs, work) = sync_channel(threads);
    let work = Arc::new(Mutex::new(work));
    for _ in 0..threads {
        let (work, parse) = (Arc::clone(&work), parse.clone());
        thread::spawn(move || parse_chunks(&work, parse));
    }
    thread::spawn(move || cut_chunks(chunks, &file, &places, &jobs));
    EventBatches { line }
}

/// Ends at the end of the input, at an error, or when nobody waits any more.
fn cut_chunks<R: Read>(
    mut chunks: Chunks<R>,
    file: &str,
    places: &SyncSender<Receiver<Parsed>>,
    jobs: &SyncSender<Job>,
) {
    while let Some(chunk) = chunks.next() {
        let (done, place) = sync_channel(1);
        if places.send(place).is_err() {
            return;
        }
        let is_handed_on = match chunk {
            Ok(chunk) => jobs.send((chunk, done)).is_ok(),
            Err(error) => {
                let (file, line) = (file.to_owned(), chunks.next_line() - 1);
                drop(done.send(Err(ReadError::Io { file, line, error })));
                false
            }
        };
        if !is_handed_on {
            return;
        }
    }
}

fn parse_chunks(work: &Mutex<Receiver<Job>>, mut parse: impl FnMut(&Chunk) -> EventBatch) {
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((chunk, done)) = next() {
        // Whoever waited may be gone, and then the batch is not needed.
        drop(done.send(Ok(parse(&chunk))));
    }
}
