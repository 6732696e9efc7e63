//! The outline of the journal: its entries without their usage, which is all that books are made of.
//!
//! Law: the entries that are read are those that were written, in their order. The file only grows; a
//! checkpoint says how much of it is its own, and whatever lies behind that is cut off before more
//! is written.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use trueup_model::fact::{Entry, Epoch, Fact};

use crate::journal::body;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::header::{Header, Kind, digest};

/// Before each entry: bytes of its body, epoch, clock, facts, names, checksum of all that.
const HEAD: usize = 36;

/// Adds an entry to an outline that is being gathered. Entries that only bring names or positions
/// become one: nothing in the books tells them apart.
pub fn gather(outline: &mut Vec<Entry>, entry: &Entry) {
    let is_outlined = |fact: &&Fact| match fact {
        Fact::Usage(_) | Fact::Refused(_) => false,
        Fact::Catalog(_) | Fact::Issued(_) | Fact::Declared(_) | Fact::Replayed(_) | Fact::Backfill(_) => true,
    };
    let facts: Vec<Fact> = entry.facts.iter().filter(is_outlined).cloned().collect();
    match outline.last_mut() {
        Some(last) if facts.is_empty() && last.facts.is_empty() => {
            (last.epoch, last.clock) = (entry.epoch, entry.clock);
            last.offsets.extend(entry.offsets.clone());
            last.names.subjects.extend_from_slice(&entry.names.subjects);
            last.names.property_sets.extend_from_slice(&entry.names.property_sets);
            last.names.texts.extend_from_slice(&entry.names.texts);
        }
        _ => outline.push(Entry { facts, ..entry_without_facts(entry) }),
    }
}

fn entry_without_facts(entry: &Entry) -> Entry {
    let Entry { epoch, clock, offsets, names, facts: _ } = entry;
    Entry { epoch: *epoch, clock: *clock, offsets: offsets.clone(), names: names.clone(), facts: Vec::new() }
}

/// The file of an outline.
pub struct OutlineFile {
    file: Box<dyn DiskFile>,
    length: u64,
}

impl OutlineFile {
    /// An outline's file as long as the last checkpoint knows it; a new one if there is none.
    pub fn open(disk: &dyn Disk, name: &str, length: u64) -> io::Result<OutlineFile> {
        let mut file = match disk.open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => disk.create(name)?,
            found => found?,
        };
        if file.length()? < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        file.truncate(length)?;
        Ok(OutlineFile { file, length })
    }

    /// Adds entries, durably; returns how long the file is with them.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<u64> {
        let mut bytes = Vec::new();
        for entry in entries {
            let start = bytes.len();
            bytes.resize(start + HEAD, 0);
            body::write(entry, &mut bytes).map_err(io::Error::other)?;
            let length = (bytes.len() - start - HEAD) as u64;
            let mut head = Vec::with_capacity(HEAD);
            [length, entry.epoch, entry.clock as u64]
                .iter()
                .for_each(|word| head.extend_from_slice(&word.to_le_bytes()));
            let counts = [entry.facts.len() as u32, entry.names.len() as u32];
            counts.iter().for_each(|count| head.extend_from_slice(&count.to_le_bytes()));
            let sum = checksum(&head, &bytes[start + HEAD..]);
            head.extend_from_slice(&sum.to_le_bytes());
            bytes[start..start + HEAD].copy_from_slice(&head);
        }
        self.file.write_at(self.length, &bytes)?;
        self.file.sync()?;
        self.length += bytes.len() as u64;
        Ok(self.length)
    }
}

/// Reads the first `length` bytes of an outline.
pub fn read(disk: &dyn Disk, name: &str, length: u64) -> io::Result<Vec<Arc<Entry>>> {
    let mut file = disk.open(name)?;
    // No memory is asked for by a length that the file does not have.
    if file.length()? < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_at(0, &mut bytes)?;
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(Arc::new(next(&mut rest)?));
    }
    Ok(entries)
}

fn next(rest: &mut &[u8]) -> io::Result<Entry> {
    let wrong = || io::Error::new(ErrorKind::InvalidData, "an entry of the outline is not whole");
    let (head, behind) = rest.split_at_checked(HEAD).ok_or_else(wrong)?;
    let word = |at: usize, bytes: usize| {
        head[at..at + bytes].iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
    };
    let length = usize::try_from(word(0, 8)).map_err(io::Error::other)?;
    let (body, behind) = behind.split_at_checked(length).ok_or_else(wrong)?;
    if u64::from(checksum(&head[..HEAD - 4], body)) != word(HEAD - 4, 4) {
        return Err(wrong());
    }
    *rest = behind;
    let header = Header {
        kind: Kind::Entry,
        epoch: word(8, 8) as Epoch,
        clock: word(16, 8) as i64,
        durable: 0,
        body: length as u64,
        arrow: 0,
        rows: 0,
        facts: word(24, 4) as u32,
        names: word(28, 4) as u32,
        before: digest(&[]),
        digest: digest(&[]),
    };
    body::read(&header, body).map_err(|why| io::Error::new(ErrorKind::InvalidData, why))
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(body);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

    #[test]
    fn a_length_that_the_file_does_not_have_is_an_error() {
        let disk = SimulatedDisk::new(1);
        let mut file = OutlineFile::open(&disk, "outline", 0).expect("the disk is good");
        let length = file.append(&[Entry { epoch: 1, ..Entry::default() }]).expect("the disk is good");
        assert_eq!(read(&disk, "outline", length).expect("it is whole").len(), 1);
        for length in [length + 1, u64::MAX] {
            let error = read(&disk, "outline", length).expect_err("so much is not there");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
