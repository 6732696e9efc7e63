//! Pages: what a file of derived data is read by, each with a checksum that knows its place.
//!
//! Law: a page that is read is the page that was written at that place of that file, or an error.

use std::io::{self, ErrorKind};

use crate::journal::disk::{DiskFile, ReadAt};

/// Bytes of a page on the disk.
pub const PAGE: usize = 4_096;
/// How many of them are contents; the rest is the checksum.
pub const CONTENTS: usize = PAGE - 4;

/// How much is written at once.
const BUFFER: usize = 256 * PAGE;
/// How much is written until it is synced. What a disk has to write all at once, the syncs of the journal wait for.
const UNSYNCED_MAX: u64 = 16 << 20;

/// Writes pages one behind another.
pub struct PageWriter {
    file: Box<dyn DiskFile>,
    /// What the checksums of this file begin with, so that a page of another file is none of it.
    seed: u32,
    written: u64,
    synced: u64,
    buffer: Vec<u8>,
}

impl PageWriter {
    /// Writes from the beginning of a file.
    pub fn new(file: Box<dyn DiskFile>, seed: u32) -> PageWriter {
        PageWriter { file, seed, written: 0, synced: 0, buffer: Vec::with_capacity(BUFFER) }
    }

    /// The number of the next page.
    pub fn next(&self) -> u64 {
        (self.written + self.buffer.len() as u64) / PAGE as u64
    }

    /// Writes a page; what is not given of it is zeros.
    pub fn put(&mut self, contents: &[u8]) -> io::Result<()> {
        debug_assert!(contents.len() <= CONTENTS);
        let page = self.next();
        let start = self.buffer.len();
        self.buffer.extend_from_slice(contents);
        self.buffer.resize(start + CONTENTS, 0);
        let sum = checksum(self.seed, page, &self.buffer[start..]);
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    /// Writes what there is of `bytes` as pages, the last of them filled up.
    pub fn put_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(CONTENTS).try_for_each(|contents| self.put(contents))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.synced >= UNSYNCED_MAX {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Writes what is left, and gives the file: to make it durable, and its name, is for the caller.
    pub fn finish(mut self) -> io::Result<Box<dyn DiskFile>> {
        self.flush()?;
        Ok(self.file)
    }
}

/// Reads `count` pages from `page` on: their contents, one behind another.
pub fn read(file: &mut dyn ReadAt, seed: u32, page: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    read_into(file, seed, page, count, &mut contents)?;
    Ok(contents)
}

/// The same, in place of what was in `contents`.
pub fn read_into(file: &mut dyn ReadAt, seed: u32, page: u64, count: usize, contents: &mut Vec<u8>) -> io::Result<()> {
    contents.resize(count * PAGE, 0);
    file.read_at(page * PAGE as u64, contents)?;
    for place in 0..count {
        let (here, sum) = contents[place * PAGE..][..PAGE].split_at(CONTENTS);
        if checksum(seed, page + place as u64, here).to_le_bytes() != *sum {
            return Err(damaged(page + place as u64));
        }
        contents.copy_within(place * PAGE..place * PAGE + CONTENTS, place * CONTENTS);
    }
    contents.truncate(count * CONTENTS);
    Ok(())
}

/// What the checksums of a file begin with: pages of one file are not those of another.
pub fn seed(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// The number in up to eight bytes, the least significant first.
pub fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
}

fn damaged(page: u64) -> io::Error {
    let offset = page * PAGE as u64;
    io::Error::new(ErrorKind::InvalidData, format!("what is there at offset {offset} is not what was written"))
}

fn checksum(seed: u32, page: u64, contents: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(seed ^ page as u32);
    sum.update(contents);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A file of which only is known how much of it is not synced, and how much that was at most.
    #[derive(Default)]
    struct Watched {
        unsynced: u64,
        most: Arc<AtomicU64>,
    }

    impl ReadAt for Watched {
        fn length(&mut self) -> io::Result<u64> {
            Err(ErrorKind::Unsupported.into())
        }

        fn read_at(&mut self, _offset: u64, _bytes: &mut [u8]) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }
    }

    impl DiskFile for Watched {
        fn write_at(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.unsynced += bytes.len() as u64;
            self.most.fetch_max(self.unsynced, Ordering::Relaxed);
            Ok(())
        }

        fn truncate(&mut self, _length: u64) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.unsynced = 0;
            Ok(())
        }

        fn has_name(&mut self) -> io::Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn a_large_file_is_synced_bit_by_bit() {
        let file = Watched::default();
        let most = file.most.clone();
        let mut pages = PageWriter::new(Box::new(file), 7);
        for page in 0..20_000_u32 {
            pages.put(&page.to_le_bytes()).expect("the disk is good");
        }
        pages.finish().expect("the disk is good");
        assert_eq!(most.load(Ordering::Relaxed), UNSYNCED_MAX);
    }
}
