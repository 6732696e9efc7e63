//! Parses pieces of a file on several threads and hands the batches over in the order of the input.
//!
//! ```text
//!             ┌─ parse ─┐
//!   pieces ──►├─ parse ─┤──► batches, in order
//!     │       └─ parse ─┘      ▲
//!     └── a place in the line ─┘
//! ```
//!
//! For each piece its place in the line is taken before it is parsed, and the line is short:
//! that bounds the memory, and whoever falls behind makes the others wait.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use trueup_model::usage::EventBatch;

use super::ReadError;

/// Batches waiting, for each thread that parses.
const WAITING_PER_THREAD: usize = 2;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Piece<T> {
    /// What is in it.
    pub content: T,
    /// The number of its last record.
    pub last: u64,
}

type Parsed = Result<(EventBatch, u64), ReadError>;

/// A piece, and where its batch is waited for.
type Job<T> = (Piece<T>, SyncSender<Parsed>);

/// The batches of a file, in its order. Reading stops when this is dropped.
#[derive(Debug)]
pub struct EventBatches {
    line: Receiver<Receiver<Parsed>>,
    cutter: Option<JoinHandle<()>>,
    read_to: u64,
}

impl EventBatches {
    /// The number of the last record, a line or a row, of the batches that were given out.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Goes on with a panic that ended the cutting: a file that was not cut to its end must not look like
    /// one that ends there, or what is behind it would be lost in silence.
    fn end(&mut self) {
        if let Some(Err(panic)) = self.cutter.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
    }
}

impl Iterator for EventBatches {
    type Item = Result<EventBatch, ReadError>;

    fn next(&mut self) -> Option<Result<EventBatch, ReadError>> {
        let Ok(place) = self.line.recv() else {
            self.end();
            return None;
        };
        let parsed = place.recv().expect("a piece in the line is always parsed, since parsing never panics");
        Some(parsed.map(|(batch, last)| {
            self.read_to = last;
            batch
        }))
    }
}

/// Parses pieces, whose first record comes after `read_to`, on so many threads, each with its own
/// copy of `parse`.
pub(super) fn in_order<T, C, P>(pieces: C, read_to: u64, threads: usize, parse: P) -> EventBatches
where
    T: Send + 'static,
    C: Iterator<Item = Result<Piece<T>, ReadError>> + Send + 'static,
    P: FnMut(&T) -> Result<EventBatch, ReadError> + Clone + Send + 'static,
{
    let threads = threads.max(1);
    let (places, line) = sync_channel(threads * WAITING_PER_THREAD);
    let (jobs, work) = sync_channel(threads);
    let work = Arc::new(Mutex::new(work));
    for _ in 0..threads {
        let (work, parse) = (Arc::clone(&work), parse.clone());
        thread::spawn(move || parse_pieces(&work, parse));
    }
    let cutter = thread::spawn(move || cut_pieces(pieces, &places, &jobs));
    EventBatches { line, cutter: Some(cutter), read_to }
}

/// Ends at the end of the input, at an error, or when nobody waits any more.
fn cut_pieces<T>(
    pieces: impl Iterator<Item = Result<Piece<T>, ReadError>>,
    places: &SyncSender<Receiver<Parsed>>,
    jobs: &SyncSender<Job<T>>,
) {
    for piece in pieces {
        let (done, place) = sync_channel(1);
        if places.send(place).is_err() {
            return;
        }
        let is_handed_on = match piece {
            Ok(piece) => jobs.send((piece, done)).is_ok(),
            Err(error) => {
                drop(done.send(Err(error)));
                false
            }
        };
        if !is_handed_on {
            return;
        }
    }
}

fn parse_pieces<T>(work: &Mutex<Receiver<Job<T>>>, mut parse: impl FnMut(&T) -> Result<EventBatch, ReadError>) {
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((piece, done)) = next() {
        // Whoever waited may be gone, and then the batch is not needed.
        drop(done.send(parse(&piece.content).map(|batch| (batch, piece.last))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(pieces: impl Iterator<Item = u64> + Send + 'static) -> EventBatches {
        let pieces = pieces.map(|last| Ok(Piece { content: (), last }));
        in_order(pieces, 0, 2, |()| Ok(EventBatch::default()))
    }

    #[test]
    fn the_pieces_before_the_end_are_all_there() {
        let mut batches = batches(1..=9);
        assert_eq!(batches.by_ref().filter(Result::is_ok).count(), 9);
        assert!(batches.next().is_none() && batches.read_to() == 9);
    }

    #[test]
    #[should_panic(expected = "this cannot be cut")]
    fn a_file_that_was_not_cut_to_its_end_does_not_end() {
        batches((1..).inspect(|last| assert!(*last < 3, "this cannot be cut"))).for_each(drop);
    }
}
