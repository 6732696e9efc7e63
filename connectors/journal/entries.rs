//! Reading back: entries one at a time, each checked before it is given out.

use std::collections::VecDeque;
use std::sync::Arc;

use trueup_model::fact::{Entry, Epoch};

use super::JournalError;
use super::disk::Disk;
use super::header::Hash;
use super::segment::{self, Next, Segment, SegmentReader, Trouble};

/// The entries of a journal from an epoch on, up to the last there was when it was asked. Holds
/// one entry at a time; ends after the first error.
pub struct Entries {
    disk: Arc<dyn Disk>,
    from: Epoch,
    segments: VecDeque<Segment>,
    reader: Option<SegmentReader<'static>>,
    failed: Option<JournalError>,
}

impl Entries {
    pub(super) fn new(disk: Arc<dyn Disk>, segments: &[Segment], from: Epoch) -> Entries {
        let after = segments.partition_point(|segment| segment.last < from);
        let segments = segments[after..].iter().copied().collect();
        Entries { disk, from, segments, reader: None, failed: None }
    }

    /// Passes what lies before an epoch, without reading it.
    pub(super) fn pass_to(&mut self, from: Epoch) {
        self.from = self.from.max(from);
        while self.segments.front().is_some_and(|segment| segment.last < self.from) {
            self.segments.pop_front();
            self.reader = None;
        }
    }

    /// Nothing but an error.
    pub(super) fn failed(disk: Arc<dyn Disk>, error: JournalError) -> Entries {
        Entries { disk, from: 0, segments: VecDeque::new(), reader: None, failed: Some(error) }
    }

    fn read(&mut self) -> Result<Option<Entry>, JournalError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let Some(segment) = self.segments.front() else { return Ok(None) };
                    let reader = segment::open(&*self.disk, segment);
                    let reader = reader.map_err(|source| JournalError::disk("read", source))?;
                    self.reader.insert(reader)
                }
            };
            match reader.next() {
                Ok(Next::Entry(header, seal)) if header.epoch < self.from => reader.pass(&header, seal),
                Ok(Next::Entry(header, seal)) => {
                    let entry = reader.entry(&header).map_err(|trouble| reader.error(trouble))?;
                    reader.pass(&header, seal);
                    return Ok(Some(entry));
                }
                Ok(Next::End | Next::Nothing) => {
                    let missing = self.segments.front().is_some_and(|segment| reader.done.last < segment.last);
                    if missing {
                        let why = format!("entry {} has vanished since the journal was opened", reader.done.last + 1);
                        return Err(reader.error(Trouble::Wrong(why)));
                    }
                    self.reader = None;
                    self.segments.pop_front();
                }
                Err(trouble) => return Err(reader.error(trouble)),
            }
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Arc<Entry>, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.read();
        if entry.is_err() {
            (self.reader, self.segments) = (None, VecDeque::new());
        }
        entry.transpose().map(|entry| entry.map(Arc::new))
    }
}

/// The seal of an entry, if it is in one of these segments.
pub(super) fn seal_of(disk: &dyn Disk, segments: &[Segment], epoch: Epoch) -> Result<Option<Hash>, JournalError> {
    let place = segments.partition_point(|segment| segment.last < epoch);
    let Some(segment) = segments.get(place) else { return Ok(None) };
    let mut reader = segment::open(disk, segment).map_err(|source| JournalError::disk("read", source))?;
    loop {
        match reader.next() {
            Ok(Next::Entry(header, seal)) if header.epoch == epoch => return Ok(Some(seal)),
            Ok(Next::Entry(header, seal)) => reader.pass(&header, seal),
            Ok(Next::End | Next::Nothing) => return Ok(None),
            Err(trouble) => return Err(reader.error(trouble)),
        }
    }
}
