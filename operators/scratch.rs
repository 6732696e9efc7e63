//! Where rows lie that are neither in memory nor put away yet.

use std::io;

/// A file for rows that are not put away yet. It need not outlive the process.
pub trait Scratch: Send + Sync {
    /// How many bytes are written at once, unless there is a row of more.
    fn chunk_bytes(&self) -> usize;

    /// Writes bytes where none were written before. Says whether it took them: what it did not take stays
    /// in memory.
    fn write(&self, offset: u64, bytes: &[u8]) -> bool;

    /// Fills `bytes` with what was written from an offset on.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Says why rows that were written cannot be read, and stops the engine by a panic: without them
    /// nobody knows what counts.
    fn lost(&self, error: &io::Error) -> !;
}

/// The scratch of an engine that has no disk: it takes nothing.
pub struct NoScratch;

impl Scratch for NoScratch {
    fn chunk_bytes(&self) -> usize {
        1 << 14
    }

    fn write(&self, _offset: u64, _bytes: &[u8]) -> bool {
        false
    }

    fn read(&self, _offset: u64, _bytes: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn lost(&self, error: &io::Error) -> ! {
        panic!("rows that are in memory cannot be read: {error}")
    }
}

#[cfg(test)]
pub(crate) mod memory {
    //! A scratch in memory.

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone)]
    pub struct MemoryScratch {
        chunk_bytes: usize,
        /// It does not take what is given to it every second time.
        is_often_full: bool,
        /// How often it was given something, and what it took.
        taken: Arc<Mutex<(usize, Vec<u8>)>>,
    }

    impl MemoryScratch {
        pub fn new(chunk_bytes: usize, is_often_full: bool) -> MemoryScratch {
            MemoryScratch { chunk_bytes, is_often_full, taken: Arc::default() }
        }

        /// Changes a byte of what it took.
        pub fn tamper(&self, offset: usize) {
            self.taken.lock().expect("nobody panicked").1[offset] ^= 4;
        }
    }

    impl Scratch for MemoryScratch {
        fn chunk_bytes(&self) -> usize {
            self.chunk_bytes
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> bool {
            let (given, taken) = &mut *self.taken.lock().expect("nobody panicked");
            *given += 1;
            if self.is_often_full && given.is_multiple_of(2) {
                return false;
            }
            let end = offset as usize + bytes.len();
            taken.resize(taken.len().max(end), 0);
            taken[offset as usize..end].copy_from_slice(bytes);
            true
        }

        fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            let taken = self.taken.lock().expect("nobody panicked");
            let from = taken.1.get(offset as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(from.get(..bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }

        fn lost(&self, error: &io::Error) -> ! {
            panic!("lost: {error}")
        }
    }
}
