//! Segments that will never change again, to be copied away and brought back.
//!
//! A copy is checked by itself, wherever it lies, and says where it belongs: the seal before its
//! first entry is that of the last entry of the segment before. How copies travel is for `copies` to
//! say.

use trueup_model::fact::Epoch;

use super::JournalError;
use super::header::{Hash, NOTHING, SegmentId};
use super::segment::{Next, Segment, SegmentReader};

/// A segment that another one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// The name of its file; it must keep it, for it is checked by it.
    pub name: String,
    /// Its first entry.
    pub first: Epoch,
    /// Its last entry.
    pub last: Epoch,
    /// How many bytes of the file are its entries; what lies behind them need not be copied.
    pub bytes: u64,
    /// The seal of the entry before its first; zeros where that is the first of all.
    pub before: Hash,
    /// The seal of its last entry: it stands for the whole journal up to there.
    pub seal: Hash,
}

impl From<&Segment> for SealedSegment {
    fn from(segment: &Segment) -> SealedSegment {
        SealedSegment {
            name: segment.id.name(),
            first: segment.id.first,
            last: segment.last,
            bytes: segment.end,
            before: segment.before,
            seal: segment.seal,
        }
    }
}

/// Checks a sealed segment by itself, every entry to its last bit: `name` is that of its file,
/// `contents` are its bytes, or the first [`bytes`](SealedSegment::bytes) of them.
///
/// Whether it belongs between its neighbours is for the caller to see, by
/// [`before`](SealedSegment::before) and [`seal`](SealedSegment::seal).
pub fn verify_segment(name: &str, contents: &[u8]) -> Result<SealedSegment, JournalError> {
    let damaged = |why: &str| JournalError::Damaged { file: name.to_owned(), offset: 0, why: why.to_owned() };
    let id = SegmentId::of(name).ok_or_else(|| damaged("this is not the name of a segment"))?;
    let start = Segment::empty(id, i64::MIN, NOTHING);
    let reader = SegmentReader::unlinked(Box::new(contents), start);
    let mut reader = reader.map_err(|source| JournalError::disk("read", source))?;
    loop {
        match reader.next() {
            Ok(Next::Entry(header, seal)) => {
                reader.entry(&header).map_err(|trouble| reader.error(trouble))?;
                reader.pass(&header, seal);
            }
            Ok(Next::End | Next::Nothing) if reader.done.is_empty() => return Err(damaged("it has no entries")),
            Ok(Next::End | Next::Nothing) => return Ok(SealedSegment::from(&reader.done)),
            Err(trouble) => return Err(reader.error(trouble)),
        }
    }
}
