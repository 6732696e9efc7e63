//! The generation: how often the journal was opened, and how far it was whole the last time.
//!
//! It stands in a small file of its own, replaced in one step at each opening, before anything
//! else is read. A process whose number is not there any more has been replaced: what it wrote is
//! not acknowledged, and what its successor read is all that it acknowledged.

use std::fmt::Write;
use std::io::{self, ErrorKind};

use sha2::{Digest, Sha256};
use trueup_model::fact::Epoch;

use super::JournalError;
use super::disk::{Disk, DiskFile, put};
use super::header::{Hash, NOTHING};

/// The file, and what it is called until it is whole.
const FILE: &str = "generation";
const NEW_FILE: &str = "generation.new";
/// The same of a moment since, written now and then: how far the journal reached at least.
const MARK_FILE: &str = "mark";
const NEW_MARK_FILE: &str = "mark.new";

/// How far the journal was known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub epoch: Epoch,
    pub seal: Hash,
}

impl Mark {
    /// What is known of a journal that is not there yet.
    pub const START: Mark = Mark { epoch: 0, seal: NOTHING };
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub number: u64,
    pub mark: Mark,
}

impl Generation {
    /// What is on the disk; none if there was never one.
    pub fn read(disk: &dyn Disk) -> Result<Option<Generation>, JournalError> {
        Generation::in_file(disk, FILE)
    }

    /// What was marked since; none if nothing was.
    pub fn read_mark(disk: &dyn Disk) -> Result<Option<Mark>, JournalError> {
        Ok(Generation::in_file(disk, MARK_FILE)?.map(|generation| generation.mark))
    }

    fn in_file(disk: &dyn Disk, name: &str) -> Result<Option<Generation>, JournalError> {
        let told = |source| JournalError::disk("read", source);
        let mut file = match disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(error)),
        };
        let length = file.length().map_err(told)?;
        // It has some 200 bytes; more of it need not be read to see that it is not one.
        let mut bytes = vec![0; length.min(1024) as usize];
        file.read_at(0, &mut bytes).map_err(told)?;
        let why = "it does not say which generation of the journal this is".to_owned();
        Generation::of(&bytes).map(Some).ok_or(JournalError::Damaged { file: name.to_owned(), offset: 0, why })
    }

    /// Puts it on the disk, durably, in the place of what is there. The file that is given loses its name
    /// when somebody else does the same.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<Box<dyn DiskFile>> {
        self.put(disk, NEW_FILE, FILE)
    }

    /// The same as a mark. It fences nobody: a process that was replaced and writes one late says nothing
    /// but what was durable.
    pub fn write_mark(&self, disk: &dyn Disk) -> io::Result<()> {
        self.put(disk, NEW_MARK_FILE, MARK_FILE).map(drop)
    }

    fn put(&self, disk: &dyn Disk, new: &str, name: &str) -> io::Result<Box<dyn DiskFile>> {
        put(disk, new, name, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mark = &self.mark;
        let mut text = format!("generation {}\nepoch {}\nseal {}\n", self.number, mark.epoch, hexadecimal(&mark.seal));
        let check: Hash = Sha256::digest(&text).into();
        text.push_str(&format!("check {}\n", hexadecimal(&check)));
        text
    }

    /// What a text says, if it is one of ours to the last byte.
    fn of(bytes: &[u8]) -> Option<Generation> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut values = text.lines().map(|line| line.split_once(' ').map_or("", |(_, value)| value));
        let number = values.next()?.parse().ok()?;
        let epoch = values.next()?.parse().ok()?;
        let seal = hash_of(values.next()?)?;
        let generation = Generation { number, mark: Mark { epoch, seal } };
        (generation.text() == text).then_some(generation)
    }
}

/// Bytes as people and files show them.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash_of(text: &str) -> Option<Hash> {
    let mut hash = NOTHING;
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_as_written_and_not_with_any_bit_changed() {
        let generation = Generation { number: 12, mark: Mark { epoch: 345, seal: [0xA7; 32] } };
        let text = generation.text();
        assert_eq!(Generation::of(text.as_bytes()), Some(generation));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Generation::of(&bytes), None, "bit {bit}");
        }
    }
}
