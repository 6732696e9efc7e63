//! The journal in a folder: entries outlive the process, the power and a successor.
//!
//! Law: an entry is acknowledged (`sync` returned) only when it is durable and nobody has taken
//! the journal over; after any error but a refusal nothing is written any more.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use trueup_model::fact::{Entry, Epoch};
use trueup_model::grain::Micros;

use super::disk::{Disk, DiskFile, Folder, is_full, is_out_of_descriptors};
use super::entries::{self, Entries};
use super::generation::{Generation, Mark};
use super::header::{Hash, Header, Kind, LENGTH, SegmentId, digest};
use super::recovery::{Cut, Opened, mend, scan, segment_ids};
use super::sealed::SealedSegment;
use super::segment::Segment;
use super::{Journal, JournalError, ReadBack, body, follows};

/// How a journal is kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a segment becomes, in bytes; an entry that is longer has one of its own.
    pub segment_bytes: u64,
    /// Takes what is in the folder for the whole journal, though it is known that there was more,
    /// or nothing is known: for segments that were brought back from a copy.
    pub accept_rollback: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { segment_bytes: 64 << 20, accept_rollback: false }
    }
}

/// How large the room is in which entries are written, from one to the next.
const BUFFER_BYTES: usize = 4 << 20;

/// A journal of segments in a folder.
pub struct FileJournal {
    disk: Arc<dyn Disk>,
    settings: Settings,
    generation: u64,
    segments: Vec<Segment>,
    /// The segments as far as they are durable, for whoever reads beside.
    shared: Arc<RwLock<Vec<Segment>>>,
    /// The file of the last segment, once this process has begun it.
    active: Option<Box<dyn DiskFile>>,
    last: Epoch,
    clock: Micros,
    seal: Hash,
    durable: Epoch,
    has_failed: bool,
    bytes: Vec<u8>,
    /// The file of the generation, as this process wrote it.
    fence: Box<dyn DiskFile>,
    _lock: Box<dyn Any + Send>,
}

impl FileJournal {
    /// Opens the journal in a folder, or makes one there. Costs as much as reading all headers,
    /// and reading and writing the last segment.
    pub fn open(folder: &Path, settings: Settings) -> Result<(FileJournal, Opened), JournalError> {
        let place = || folder.display().to_string();
        let folder = Folder::new(folder).map_err(|source| JournalError::opening(place(), source))?;
        FileJournal::open_on(Arc::new(folder), settings)
    }

    /// The same on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<(FileJournal, Opened), JournalError> {
        let told = |source| JournalError::opening(disk.place(), source);
        let lock = disk.lock("lock").map_err(told)?;
        let lock = lock.ok_or_else(|| JournalError::Locked { place: disk.place() })?;
        let ids = segment_ids(&*disk).map_err(told)?;
        let known = known(&*disk, &ids, settings)?;
        let generation = next_generation(&ids, known)?;
        Generation { number: generation, ..known }.write(&*disk).map_err(told)?;
        // Whoever had it before is fenced from here on, so what is read now is all it can have
        // acknowledged.
        let marked = if settings.accept_rollback { None } else { Generation::read_mark(&*disk)? };
        let known =
            Generation { mark: marked.filter(|mark| mark.epoch > known.mark.epoch).unwrap_or(known.mark), ..known };
        let (mut segments, cut) = scan_all(&*disk, known.mark, settings.accept_rollback)?;
        let (mut mark, mut clock) = (Mark::START, Micros::MIN);
        if let Some(last) = segments.last() {
            (mark, clock) = (Mark { epoch: last.last, seal: last.seal }, last.clock);
            if cut.is_some() || mark != known.mark {
                mend(&*disk, last).map_err(told)?;
            }
        }
        let whole = Generation { number: generation, mark };
        let fence = whole.write(&*disk).map_err(told)?;
        if settings.accept_rollback {
            // What was marked before may be what is given up.
            whole.write_mark(&*disk).map_err(told)?;
        }
        segments.retain(|segment| !segment.is_empty());
        let opened = Opened { generation, last: mark.epoch, segments: segments.len(), cut };
        let journal = FileJournal {
            disk,
            settings,
            generation,
            shared: Arc::new(RwLock::new(segments.clone())),
            segments,
            active: None,
            last: mark.epoch,
            clock,
            seal: mark.seal,
            durable: mark.epoch,
            has_failed: false,
            bytes: Vec::new(),
            fence,
            _lock: lock,
        };
        Ok((journal, opened))
    }

    /// The entries from an epoch on, for whoever reads while the journal is written: it borrows
    /// nothing, and ends with what is the last entry now.
    pub fn reader(&self, from: Epoch) -> Entries {
        match self.has_failed {
            true => Entries::failed(self.disk.clone(), JournalError::Failed),
            false => Entries::new(self.disk.clone(), &self.segments, from),
        }
    }

    /// Shows what is durable to whoever reads beside.
    fn share(&self) {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        // All but the last stay as they are.
        let same = shared.len().saturating_sub(1);
        shared.truncate(same);
        shared.extend_from_slice(&self.segments[same..]);
    }

    fn fail(&mut self, doing: &'static str, source: io::Error) -> JournalError {
        self.has_failed = true;
        JournalError::Disk { doing, source }
    }

    fn check_alive(&self) -> Result<(), JournalError> {
        if self.has_failed { Err(JournalError::Failed) } else { Ok(()) }
    }

    /// Writes an entry: room for its header, then its body, is what `bytes` hold.
    fn write(&mut self, header: &Header, bytes: &mut [u8]) -> Result<(), JournalError> {
        let length = bytes.len() as u64;
        let is_room = |segment: &Segment| segment.is_empty() || segment.end + length <= self.settings.segment_bytes;
        if self.active.is_none() || !self.segments.last().is_some_and(is_room) {
            self.begin_segment(header.epoch)?;
        }
        let (Some(segment), Some(file)) = (self.segments.last_mut(), &mut self.active) else {
            unreachable!("a segment was begun");
        };
        let (sealed, seal) = header.sealed(segment.id, segment.end);
        bytes[..LENGTH].copy_from_slice(&sealed);
        if let Err(source) = file.write_at(segment.end, bytes) {
            // Without what was written of it, the segment ends as it did, and can go on later.
            if is_full(&source) && file.truncate(segment.end).is_ok() {
                return Err(JournalError::Full { epoch: header.epoch, source });
            }
            return Err(self.fail("write", source));
        }
        segment.end += length;
        (segment.last, segment.clock, segment.seal) = (header.epoch, header.clock, seal);
        (self.last, self.clock, self.seal) = (header.epoch, header.clock, seal);
        Ok(())
    }

    /// Begins a segment, so that from now on the one before never changes again.
    fn begin_segment(&mut self, first: Epoch) -> Result<(), JournalError> {
        if let Some(file) = &mut self.active
            && self.durable < self.last
        {
            file.sync().map_err(|source| self.fail("sync", source))?;
            self.check_fence()?;
            self.durable = self.last;
            self.share();
        }
        // All that takes a descriptor comes before anything is changed.
        let mut reopened = self.reopened().map_err(|source| self.refuse(first, source))?;
        let id = SegmentId { first, generation: self.generation };
        let file = self.disk.create(&id.name()).map_err(|source| self.refuse(first, source))?;
        self.disk.sync_folder().map_err(|source| self.fail("sync", source))?;
        if let (Some(segment), Some(before)) = (self.segments.last(), self.active.as_mut().or(reopened.as_mut())) {
            match before.write_at(segment.end, &end_mark(segment)) {
                Ok(()) => before.sync().map_err(|source| self.fail("sync", source))?,
                Err(source) if is_full(&source) && before.truncate(segment.end).is_ok() => {
                    return Err(self.take_back(id, source));
                }
                Err(source) => return Err(self.fail("write", source)),
            }
        }
        self.active = Some(file);
        self.segments.push(Segment::empty(id, self.clock, self.seal));
        Ok(())
    }

    /// Removes a segment that was begun, since there is no room to end the one before it, which can go on later.
    fn take_back(&mut self, id: SegmentId, source: io::Error) -> JournalError {
        // Durably: behind a segment of that name nobody would look for more entries of the one before.
        match self.disk.remove(&id.name()).and_then(|()| self.disk.sync_folder()) {
            Ok(()) => JournalError::Full { epoch: id.first, source },
            Err(source) => self.fail("sync", source),
        }
    }

    /// The last segment's file, if another process began it.
    fn reopened(&self) -> io::Result<Option<Box<dyn DiskFile>>> {
        match (&self.active, self.segments.last()) {
            (None, Some(segment)) => self.disk.open(&segment.id.name()).map(Some),
            (Some(_), _) | (None, None) => Ok(None),
        }
    }

    /// A refusal of an entry, where the journal is as it was and can go on later.
    fn refuse(&mut self, epoch: Epoch, source: io::Error) -> JournalError {
        match source {
            source if is_full(&source) => JournalError::Full { epoch, source },
            source if is_out_of_descriptors(&source) => JournalError::disk("write", source),
            source => self.fail("write", source),
        }
    }

    /// Whether nobody has taken the journal over.
    fn check_fence(&mut self) -> Result<(), JournalError> {
        let found = match Generation::read(&*self.disk) {
            Ok(found) => found.map_or(0, |generation| generation.number),
            // The entries are durable, so an answer is owed, and there is one without a descriptor. To read
            // is better where it can be done: disks of a network are sure to ask their server then.
            Err(JournalError::NoDescriptor { .. }) => {
                let is_ours = self.fence.has_name().map_err(|source| self.fail("read", source))?;
                // Which one took over is not known, but one did.
                if is_ours { self.generation } else { self.generation + 1 }
            }
            Err(error) => {
                self.has_failed = true;
                return Err(error);
            }
        };
        if found == self.generation {
            return Ok(());
        }
        self.has_failed = true;
        Err(JournalError::Fenced { ours: self.generation, found })
    }
}

impl Journal for FileJournal {
    fn append(&mut self, entry: Arc<Entry>) -> Result<(), JournalError> {
        self.check_alive()?;
        follows(&entry, self.last, self.clock)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.resize(LENGTH, 0);
        let division = body::write(&entry, &mut bytes);
        let division = division.map_err(|error| JournalError::Unfit { epoch: entry.epoch, why: error.to_string() })?;
        let header = Header {
            kind: Kind::Entry,
            epoch: entry.epoch,
            clock: entry.clock,
            durable: self.durable,
            body: (bytes.len() - LENGTH) as u64,
            arrow: division.arrow,
            rows: division.rows,
            facts: entry.facts.len() as u32,
            names: entry.names.len() as u32,
            before: self.seal,
            digest: digest(&bytes[LENGTH..]),
        };
        let written = self.write(&header, &mut bytes);
        // What one large entry needed is given back.
        bytes.clear();
        bytes.shrink_to(BUFFER_BYTES);
        self.bytes = bytes;
        written
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.check_alive()?;
        if self.durable == self.last {
            return Ok(());
        }
        if let Some(file) = &mut self.active {
            file.sync().map_err(|source| self.fail("sync", source))?;
        }
        self.check_fence()?;
        self.durable = self.last;
        self.share();
        Ok(())
    }

    fn mark(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        let whole = Generation { number: self.generation, mark: Mark { epoch: self.last, seal: self.seal } };
        whole.write_mark(&*self.disk).map_err(|source| JournalError::disk("mark", source))
    }

    fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        Box::new(self.reader(from))
    }

    fn read_back(&self) -> ReadBack {
        ReadBack::of_disk(self.disk.clone(), &self.shared)
    }

    fn last(&self) -> Epoch {
        self.last
    }

    fn sealed(&self) -> Vec<SealedSegment> {
        // All but the last.
        let (_, sealed) = self.segments.split_last().unzip();
        sealed.unwrap_or_default().iter().map(SealedSegment::from).collect()
    }

    fn seal_of(&self, epoch: Epoch) -> Result<Option<Hash>, JournalError> {
        match epoch == self.last && epoch > 0 {
            true => Ok(Some(self.seal)),
            false => entries::seal_of(&*self.disk, &self.segments, epoch),
        }
    }
}

/// The mark that a segment has ended, so that the loss of the next one would show. It is written only when the
/// next one's name is durable.
fn end_mark(segment: &Segment) -> [u8; LENGTH] {
    let header = Header {
        kind: Kind::End,
        epoch: segment.last + 1,
        clock: segment.clock,
        durable: segment.last,
        body: 0,
        arrow: 0,
        rows: 0,
        facts: 0,
        names: 0,
        before: segment.seal,
        digest: digest(&[]),
    };
    header.sealed(segment.id, segment.end).0
}

/// Goes through all segments that are there now. Whoever was fenced may begin one more before it knows: then
/// once again.
fn scan_all(disk: &dyn Disk, mark: Mark, may_be_shorter: bool) -> Result<(Vec<Segment>, Option<Cut>), JournalError> {
    let list = || segment_ids(disk).map_err(|source| JournalError::opening(disk.place(), source));
    let mut ids = list()?;
    loop {
        let error = match scan(disk, &ids, mark, may_be_shorter) {
            Ok(scanned) => return Ok(scanned),
            Err(error) => error,
        };
        let now = list()?;
        if now == ids {
            return Err(error);
        }
        ids = now;
    }
}

/// The number of this opening; an error where no opening can have the one before it.
fn next_generation(ids: &[SegmentId], known: Generation) -> Result<u64, JournalError> {
    known.number.checked_add(1).ok_or_else(|| {
        let named = ids.iter().find(|id| id.generation == known.number).map(|id| id.name());
        let file = named.unwrap_or_else(|| "generation".to_owned());
        let why = format!("it says to be of generation {}, and no journal was opened so often", known.number);
        JournalError::Damaged { file, offset: 0, why }
    })
}

/// What is known of the journal before it is read.
fn known(disk: &dyn Disk, ids: &[SegmentId], settings: Settings) -> Result<Generation, JournalError> {
    let newest = ids.iter().max_by_key(|id| id.generation);
    let newest_number = newest.map_or(0, |id| id.generation);
    let found = Generation::read(disk);
    if settings.accept_rollback {
        let number = found.ok().flatten().map_or(0, |generation| generation.number);
        return Ok(Generation { number: number.max(newest_number), mark: Mark::START });
    }
    match (found?, newest) {
        (Some(found), Some(newest)) if found.number < newest_number => {
            let why = format!("it says to be of generation {newest_number}, and there were only {}", found.number);
            Err(JournalError::Damaged { file: newest.name(), offset: 0, why })
        }
        (Some(found), _) => Ok(found),
        (None, None) => Ok(Generation { number: 0, mark: Mark::START }),
        (None, Some(_)) => {
            let why = "it is missing, though there are segments (if they were brought back from a copy, say so)";
            let why = why.to_owned();
            Err(JournalError::Damaged { file: "generation".to_owned(), offset: 0, why })
        }
    }
}
