//! A segment: entries one after another in one file, each naming the one before.
//!
//! A reader goes from entry to entry and checks each link: place, number, seal of the entry
//! before, and the body where it is asked for. Where it stops tells how far the segment is whole.

use std::io;

use trueup_model::fact::{Entry, Epoch};
use trueup_model::grain::Micros;

use super::JournalError;
use super::body;
use super::disk::{Disk, ReadAt};
use super::header::{Found, Hash, Header, Kind, LENGTH, SegmentId, digest};

/// What a segment holds, as far as it was read or written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub id: SegmentId,
    /// The seal of the entry before its first.
    pub before: Hash,
    /// Its last entry, with its clock and its seal; those of the entry before where it has none.
    pub last: Epoch,
    pub clock: Micros,
    pub seal: Hash,
    /// How many bytes its entries take.
    pub end: u64,
}

impl Segment {
    /// A segment without entries, that follows what ends so.
    pub fn empty(id: SegmentId, clock: Micros, before: Hash) -> Segment {
        Segment { id, before, last: id.first - 1, clock, seal: before, end: 0 }
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }
}

/// What stands at the reader's place.
pub(crate) enum Next {
    /// An entry that follows, with its seal.
    Entry(Header, Hash),
    /// The mark that another segment follows.
    End,
    /// The end of the file.
    Nothing,
}

/// Why the reader cannot go on.
pub(crate) enum Trouble {
    /// The disk does not let it.
    Disk(io::Error),
    /// What is there may be what is left of a write that was not finished.
    Torn(String),
    /// What is there was written whole, and is wrong.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Disk(error)
    }
}

/// Goes through a segment.
pub(crate) struct SegmentReader<'a> {
    file: Box<dyn ReadAt + 'a>,
    length: u64,
    /// What was gone through.
    pub done: Segment,
    /// Whether the seal before the first entry is known; a segment alone cannot know it.
    is_linked: bool,
}

impl<'a> SegmentReader<'a> {
    /// A reader of a segment that begins as `start` says.
    pub fn new(mut file: Box<dyn ReadAt + 'a>, start: Segment) -> io::Result<SegmentReader<'a>> {
        let length = file.length()?;
        Ok(SegmentReader { file, length, done: start, is_linked: true })
    }

    /// A reader of a segment by itself.
    pub fn unlinked(file: Box<dyn ReadAt + 'a>, start: Segment) -> io::Result<SegmentReader<'a>> {
        let reader = SegmentReader::new(file, start)?;
        Ok(SegmentReader { is_linked: false, ..reader })
    }

    /// What stands at the place it has come to.
    pub fn next(&mut self) -> Result<Next, Trouble> {
        let (offset, rest) = (self.done.end, self.length.saturating_sub(self.done.end));
        if rest == 0 {
            return Ok(Next::Nothing);
        }
        if rest < LENGTH as u64 {
            return Err(Trouble::Torn(format!("a header has {LENGTH} bytes, and only {rest} are there")));
        }
        let mut bytes = [0; LENGTH];
        self.file.read_at(offset, &mut bytes)?;
        let (header, seal) = match Header::read(&bytes, self.done.id, offset) {
            Found::Sealed(header, seal) => (header, seal),
            Found::OtherVersion(version) => {
                return Err(Trouble::Wrong(format!(
                    "it is written in version {version} of the format, which this program does not know"
                )));
            }
            Found::Nothing => return Err(Trouble::Torn("there is no header that was sealed for this place".into())),
        };
        if self.done.is_empty() && !self.is_linked {
            (self.done.before, self.done.seal) = (header.before, header.before);
        }
        let expected = self.done.last + 1;
        if header.epoch != expected {
            return Err(Trouble::Wrong(format!("there is entry {} where entry {expected} should be", header.epoch)));
        }
        if header.before != self.done.seal {
            return Err(Trouble::Wrong(format!("entry {expected} follows another entry than the one before it here")));
        }
        if header.kind == Kind::End {
            return Ok(Next::End);
        }
        if header.span() > rest {
            return Err(Trouble::Torn(format!(
                "entry {expected} has {} bytes, and only {rest} are there",
                header.span()
            )));
        }
        Ok(Next::Entry(header, seal))
    }

    /// The body of the entry at its place.
    pub fn body(&mut self, header: &Header) -> Result<Vec<u8>, Trouble> {
        let too_long = || Trouble::Wrong(format!("entry {} is longer than memory", header.epoch));
        let mut body = vec![0; usize::try_from(header.body).map_err(|_| too_long())?];
        self.file.read_at(self.done.end + LENGTH as u64, &mut body)?;
        if digest(&body) == header.digest {
            return Ok(body);
        }
        Err(Trouble::Torn(format!("the body of entry {} is not the one it was written with", header.epoch)))
    }

    /// The entry at its place, read.
    pub fn entry(&mut self, header: &Header) -> Result<Entry, Trouble> {
        let body = self.body(header)?;
        let told = |why| Trouble::Wrong(format!("entry {} is whole, but {why}", header.epoch));
        body::read(header, &body).map_err(told)
    }

    /// Goes on behind the entry at its place.
    pub fn pass(&mut self, header: &Header, seal: Hash) {
        self.done.last = header.epoch;
        self.done.clock = header.clock;
        self.done.seal = seal;
        self.done.end += header.span();
    }

    /// The bytes from its place to the end of the file.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length - self.done.end).map_err(io::Error::other)?];
        self.file.read_at(self.done.end, &mut bytes)?;
        Ok(bytes)
    }

    /// Trouble at its place, for people.
    pub fn error(&self, trouble: Trouble) -> JournalError {
        let (file, offset) = (self.done.id.name(), self.done.end);
        match trouble {
            Trouble::Disk(source) => JournalError::disk("read", source),
            Trouble::Torn(why) | Trouble::Wrong(why) => JournalError::Damaged { file, offset, why },
        }
    }
}

/// Opens a segment to read it as far as it is known.
pub(crate) fn open(disk: &dyn Disk, segment: &Segment) -> io::Result<SegmentReader<'static>> {
    let file: Box<dyn ReadAt> = disk.open(&segment.id.name())?;
    let start = Segment { last: segment.id.first - 1, seal: segment.before, end: 0, ..*segment };
    let mut reader = SegmentReader::new(file, start)?;
    reader.length = reader.length.min(segment.end);
    Ok(reader)
}
