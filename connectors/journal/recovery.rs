//! Opening: what of the segments is the journal, and whether its end was torn off.
//!
//! Law: whatever was durable once is given out again, or the opening fails and changes nothing.
//! All headers are read, so the chain is known to be whole from the first entry to the last;
//! bodies are read of the last segment alone, since only there can a write be unfinished.
//!
//! What is not whole in the last segment was torn off by a crash if nothing says that it was ever
//! durable. That is said by entries written after it was (each notes what was durable when it was
//! written), and by a mark: of the last opening, checkpoint or stop.

use std::fmt;
use std::io;

use trueup_model::fact::Epoch;

use super::JournalError;
use super::disk::{Disk, ReadAt};
use super::generation::Mark;
use super::header::{Found, Header, LENGTH, STEP, SegmentId};
use super::segment::{Next, Segment, SegmentReader, Trouble};

/// How much is written again at once.
const CHUNK: u64 = 1 << 20;

/// What was found at an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How often the journal was opened until now.
    pub generation: u64,
    /// The last entry; 0 where there is none.
    pub last: Epoch,
    /// How many segments hold entries.
    pub segments: usize,
    /// What was cut off.
    pub cut: Option<Cut>,
}

/// The end of a segment that was not whole and was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub segment: String,
    /// From where on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What was wrong there.
    pub why: String,
}

impl fmt::Display for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the journal was opened for the {}. time and ends with entry {}", self.generation, self.last)?;
        match &self.cut {
            None => Ok(()),
            Some(cut) => write!(out, "; what was not whole behind it, {} bytes, was cut off: {cut}", cut.bytes),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at offset {}: {}", self.segment, self.offset, self.why)
    }
}

/// The files that are segments of the journal, in order.
///
/// A file that begins where a later generation already had begun another is none of them: it was
/// left by a process that had been replaced, and nothing in it was acknowledged.
pub(crate) fn segment_ids(disk: &dyn Disk) -> io::Result<Vec<SegmentId>> {
    let mut ids: Vec<SegmentId> = disk.list()?.iter().filter_map(|name| SegmentId::of(name)).collect();
    ids.sort_by_key(|id| (id.first, std::cmp::Reverse(id.generation)));
    let mut newest = 0;
    ids.retain(|id| {
        let is_stray = id.generation < newest;
        newest = newest.max(id.generation);
        !is_stray
    });
    Ok(ids)
}

/// Goes through all segments; gives what each holds and what of the last is to be cut off. What
/// there was behind the last is missed only if `may_be_shorter` does not say otherwise.
pub(crate) fn scan(
    disk: &dyn Disk,
    ids: &[SegmentId],
    mark: Mark,
    may_be_shorter: bool,
) -> Result<(Vec<Segment>, Option<Cut>), JournalError> {
    let (mut segments, mut cut) = (Vec::with_capacity(ids.len()), None);
    let mut before = Segment::empty(SegmentId { first: 1, generation: 0 }, i64::MIN, Mark::START.seal);
    for (place, &id) in ids.iter().enumerate() {
        if id.first != before.last + 1 {
            let why = format!("it begins with entry {}, and entry {} is nowhere", id.first, before.last + 1);
            return Err(JournalError::Damaged { file: id.name(), offset: 0, why });
        }
        let told = |source| JournalError::disk("read", source);
        let file: Box<dyn ReadAt> = disk.open(&id.name()).map_err(told)?;
        let mut reader = SegmentReader::new(file, Segment::empty(id, before.clock, before.seal)).map_err(told)?;
        match ids.get(place + 1) {
            Some(next) => pass_sealed(&mut reader, next.first, mark)?,
            None => cut = pass_last(&mut reader, mark, may_be_shorter)?,
        }
        before = reader.done;
        segments.push(reader.done);
    }
    if before.last < mark.epoch {
        return Err(JournalError::Missing { last: before.last, known: mark.epoch });
    }
    Ok((segments, cut))
}

/// Goes through a segment that another one follows, by its headers.
fn pass_sealed(reader: &mut SegmentReader<'_>, until: Epoch, mark: Mark) -> Result<(), JournalError> {
    // What lies behind its last entry is the end mark, or was never acknowledged.
    while reader.done.last + 1 < until {
        match reader.next() {
            Ok(Next::Entry(header, seal)) => pass(reader, &header, seal, mark)?,
            Ok(Next::End | Next::Nothing) => {
                let (from, to) = (reader.done.last + 1, until - 1);
                return Err(reader.error(Trouble::Wrong(format!("entries {from} to {to} are missing"))));
            }
            Err(trouble) => return Err(reader.error(trouble)),
        }
    }
    Ok(())
}

/// Goes through the last segment, with its bodies, and says what is to be cut off.
fn pass_last(reader: &mut SegmentReader<'_>, mark: Mark, may_be_shorter: bool) -> Result<Option<Cut>, JournalError> {
    loop {
        let trouble = match reader.next() {
            Ok(Next::Nothing) => return Ok(None),
            Ok(Next::End) => {
                let why = format!("the segment that begins with entry {} is missing", reader.done.last + 1);
                if may_be_shorter { Trouble::Torn(why) } else { Trouble::Wrong(why) }
            }
            Ok(Next::Entry(header, seal)) => match reader.body(&header) {
                Ok(_) => {
                    pass(reader, &header, seal, mark)?;
                    continue;
                }
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        let Trouble::Torn(why) = trouble else { return Err(reader.error(trouble)) };
        let rest = reader.rest().map_err(|error| reader.error(error.into()))?;
        if let Some(witness) = witness(reader, &rest, mark) {
            return Err(reader.error(Trouble::Wrong(format!("{why}, and {witness} says that it was durable"))));
        }
        let (segment, offset, bytes) = (reader.done.id.name(), reader.done.end, rest.len() as u64);
        return Ok(Some(Cut { segment, offset, bytes, why }));
    }
}

/// Who says that the entry at the reader's place was durable once.
fn witness(reader: &SegmentReader<'_>, rest: &[u8], mark: Mark) -> Option<String> {
    let torn = reader.done.last + 1;
    if torn <= mark.epoch {
        return Some("a mark".to_owned());
    }
    let places = (STEP..rest.len()).step_by(STEP);
    places.filter_map(|at| Some((at, rest[at..].first_chunk::<LENGTH>()?))).find_map(|(at, bytes)| {
        match Header::read(bytes, reader.done.id, reader.done.end + at as u64) {
            Found::Sealed(header, _) if header.durable >= torn => Some(format!("entry {} behind it", header.epoch)),
            Found::OtherVersion(_) => Some("something newer behind it".to_owned()),
            Found::Sealed(..) | Found::Nothing => None,
        }
    })
}

fn pass(reader: &mut SegmentReader<'_>, header: &Header, seal: super::Hash, mark: Mark) -> Result<(), JournalError> {
    if header.epoch == mark.epoch && seal != mark.seal {
        let why = format!("entry {} is another one than at the last opening", header.epoch);
        return Err(reader.error(Trouble::Wrong(why)));
    }
    reader.pass(header, seal);
    Ok(())
}

/// Makes durable what was found in the last segment, and cuts off what is not whole.
///
/// It is written once more over itself: after a failed sync a kernel shows what the disk does not
/// have, and takes it for clean; only what is written anew is sure to get there.
pub(crate) fn mend(disk: &dyn Disk, last: &Segment) -> io::Result<()> {
    let mut file = disk.open(&last.id.name())?;
    file.truncate(last.end)?;
    let mut bytes = Vec::new();
    for offset in (0..last.end).step_by(CHUNK as usize) {
        bytes.resize(CHUNK.min(last.end - offset) as usize, 0);
        file.read_at(offset, &mut bytes)?;
        file.write_at(offset, &bytes)?;
    }
    file.sync()
}
