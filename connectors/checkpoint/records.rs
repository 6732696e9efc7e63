//! Records of a kind in a file, one behind another.
//!
//! Law: what is read is what was written, all of it, or an error. They are in postcard's form, which
//! is stable, and in pages, so that what is not whole shows.

use std::io::{self, ErrorKind};
use std::marker::PhantomData;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pages::{self, CONTENTS, PAGE, PageWriter, seed, word};
use crate::journal::disk::{Disk, ReadAt};

/// Pages that are read at once.
const AT_ONCE: u64 = 64;
/// What the first page has: how many records there are, and how many bytes of them.
const HEAD: usize = 16;

/// Records that are being written; none until that is finished.
pub struct RecordWriter {
    pages: PageWriter,
    /// What is not in a page yet.
    bytes: Vec<u8>,
    count: u64,
    /// How many bytes are in pages.
    length: u64,
}

impl RecordWriter {
    /// Begins in a new file.
    pub fn create(disk: &dyn Disk, name: &str) -> io::Result<RecordWriter> {
        let pages = PageWriter::new(disk.create(name)?, seed(name));
        Ok(RecordWriter { pages, bytes: Vec::with_capacity(2 * PAGE), count: 0, length: 0 })
    }

    /// Writes a record behind the others.
    pub fn put(&mut self, record: &impl Serialize) -> io::Result<()> {
        postcard::serialize_with_flavor(record, Behind(&mut self.bytes)).map_err(io::Error::other)?;
        self.count += 1;
        while self.bytes.len() >= CONTENTS {
            self.pages.put(&self.bytes[..CONTENTS])?;
            self.bytes.drain(..CONTENTS);
            self.length += CONTENTS as u64;
        }
        Ok(())
    }

    /// Makes them durable, but for the name of their file. Returns how many there are.
    pub fn finish(mut self) -> io::Result<u64> {
        let length = self.length + self.bytes.len() as u64;
        self.pages.put_all(&self.bytes)?;
        self.pages.put(&[self.count.to_le_bytes(), length.to_le_bytes()].concat())?;
        self.pages.finish()?.sync()?;
        Ok(self.count)
    }
}

/// Bytes behind those that are there: the library's own way to extend a vector calls a function for each byte.
struct Behind<'a>(&'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads the records of a file, some pages at a time; ends after the first error.
pub fn read<T: DeserializeOwned>(disk: &dyn Disk, name: &str) -> io::Result<Records<T>> {
    let mut file: Box<dyn ReadAt> = disk.open(name)?;
    let pages = (file.length()? / PAGE as u64).checked_sub(1).ok_or(ErrorKind::UnexpectedEof)?;
    let end = pages::read(&mut *file, seed(name), pages, 1)?;
    let (left, length) = (word(&end[..8]), word(&end[8..HEAD]));
    if length.div_ceil(CONTENTS as u64) != pages {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is shorter or longer than its last page says"));
    }
    Ok(Records { file, seed: seed(name), page: 0, pages, bytes: Vec::new(), at: 0, left, record: PhantomData })
}

/// The records of a file.
pub struct Records<T> {
    file: Box<dyn ReadAt>,
    seed: u32,
    page: u64,
    pages: u64,
    bytes: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    left: u64,
    record: PhantomData<T>,
}

impl<T> Records<T> {
    /// Reads on; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let count = AT_ONCE.min(self.pages - self.page);
        if count == 0 {
            return Ok(false);
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend(pages::read(&mut *self.file, self.seed, self.page, count as usize)?);
        self.page += count;
        Ok(true)
    }
}

impl<T: DeserializeOwned> Iterator for Records<T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        while self.left > 0 {
            match postcard::take_from_bytes(&self.bytes[self.at..]) {
                Ok((record, rest)) => {
                    self.at = self.bytes.len() - rest.len();
                    self.left -= 1;
                    return Some(Ok(record));
                }
                Err(error) => match self.more() {
                    Ok(true) => {}
                    failed => {
                        self.left = 0;
                        return Some(Err(failed.err().unwrap_or_else(|| io::Error::other(error))));
                    }
                },
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

    type Record = (u32, String, i128, Option<i64>);

    fn write<T: Serialize>(disk: &SimulatedDisk, name: &str, records: &[T]) -> u64 {
        let mut writer = RecordWriter::create(disk, name).expect("it is new");
        records.iter().for_each(|record| writer.put(record).expect("the disk is good"));
        writer.finish().expect("the disk is good")
    }

    fn records(count: u32) -> Vec<Record> {
        (0..count).map(|number| (number, "x".repeat(number as usize % 90), -(1 << (number % 120)), None)).collect()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for count in [0, 1, 50, 20_000] {
            let (disk, records) = (SimulatedDisk::new(1), records(count));
            assert_eq!(write(&disk, "records", &records), u64::from(count));
            let found: io::Result<Vec<Record>> = read(&disk, "records").expect("it is there").collect();
            assert!(found.expect("it is whole") == records, "{count} records");
        }
        // One that is longer than a page, and than many.
        let (disk, long) = (SimulatedDisk::new(1), vec!["y".repeat(1_000_000), "z".repeat(5_000)]);
        write(&disk, "long", &long);
        let found: io::Result<Vec<String>> = read(&disk, "long").expect("it is there").collect();
        assert!(found.expect("it is whole") == long);
    }

    #[test]
    fn what_is_not_whole_shows() {
        let disk = SimulatedDisk::new(1);
        write(&disk, "records", &records(2_000));
        let whole = disk.contents("records").expect("it was written");
        let check = |change: &dyn Fn(&mut Vec<u8>)| {
            disk.tamper("records", |bytes| change(bytes));
            let found = read(&disk, "records").and_then(|records| records.collect::<io::Result<Vec<Record>>>());
            assert!(found.is_err());
            disk.tamper("records", |bytes| bytes.clone_from(&whole));
        };
        (0..whole.len()).step_by(401).for_each(|offset| check(&|bytes| bytes[offset] ^= 1));
        (0..whole.len() / PAGE).for_each(|pages| check(&|bytes| bytes.truncate(pages * PAGE)));
    }
}
