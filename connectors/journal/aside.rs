//! A disk on top of another that is only read: what is written stays in memory.
//!
//! So a journal that a server is writing can be opened beside it, for previews and proofs, which leave
//! no trace. Law: nothing reaches the disk below; there are the files that were there at the beginning;
//! and each is as it was when it was first opened, however it grows since.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, ReadAt};

/// The most bytes of a file that is opened at once.
const SMALL: u64 = 1024;

/// A disk that is only read, with changes in memory.
pub struct Aside<D> {
    below: D,
    /// What was there at the beginning.
    names: BTreeSet<String>,
    /// What was opened or changed, by name; none: it was removed.
    files: Mutex<BTreeMap<String, Option<Shared>>>,
}

type Shared = Arc<Mutex<Kept>>;

/// A file: some bytes of one below, and bytes in memory behind them.
struct Kept {
    below: Option<Box<dyn ReadAt>>,
    /// How many of the bytes below count.
    length: u64,
    above: Vec<u8>,
}

impl<D: Disk> Aside<D> {
    /// A disk as it is now, of which the files can be many and only the last one grows.
    pub fn of(below: D) -> io::Result<Aside<D>> {
        let mut aside = Aside { below, names: BTreeSet::new(), files: Mutex::default() };
        // What small files say is true of the others from then on, so they are opened first.
        for name in aside.below.list()? {
            let length = aside.below.open(&name).and_then(|mut file| file.length());
            if length.is_ok_and(|length| length <= SMALL) {
                aside.hold_if_there(name);
            }
        }
        // The last one is opened before another follows it: else it would tell of one that is not seen.
        loop {
            let mut listed = aside.below.list()?;
            listed.sort_unstable();
            // What is no file, such as a folder, cannot be opened.
            let mut others = listed.iter().rev().filter(|name| !aside.names.contains(*name));
            let _ = others.find(|name| aside.hold(name).is_ok());
            let mut after = aside.below.list()?;
            after.sort_unstable();
            if listed == after {
                aside.names.extend(listed);
                return Ok(aside);
            }
        }
    }

    /// A disk as it is now, of which the files are few, and may be gone soon: all are opened at once.
    pub fn all_of(below: D) -> io::Result<Aside<D>> {
        let mut aside = Aside { below, names: BTreeSet::new(), files: Mutex::default() };
        for name in aside.below.list()? {
            aside.hold_if_there(name);
        }
        Ok(aside)
    }

    /// Opens a file to read it later as it is now. One that is gone by now was nothing to read.
    fn hold_if_there(&mut self, name: String) {
        if self.hold(&name).is_ok() {
            self.names.insert(name);
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Option<Shared>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> io::Result<Shared> {
        if let Some(known) = self.files().get(name) {
            return known.clone().ok_or_else(|| ErrorKind::NotFound.into());
        }
        if self.names.contains(name) { self.hold(name) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn hold(&self, name: &str) -> io::Result<Shared> {
        let mut below: Box<dyn ReadAt> = self.below.open(name)?;
        let length = below.length()?;
        let file = Arc::new(Mutex::new(Kept { below: Some(below), length, above: Vec::new() }));
        // Whoever was first has opened it for all.
        let held = self.files().entry(name.to_owned()).or_insert(Some(file)).clone();
        held.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl<D: Disk> Disk for Aside<D> {
    fn list(&self) -> io::Result<Vec<String>> {
        let files = self.files();
        let added = files.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| name);
        let left = self.names.iter().filter(|name| !files.contains_key(*name));
        Ok(left.chain(added).cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if self.find(name).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(Mutex::new(Kept { below: None, length: 0, above: Vec::new() }));
        self.files().insert(name.to_owned(), Some(file.clone()));
        Ok(Box::new(Opened(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Opened(self.find(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = self.files();
        files.insert(from.to_owned(), None);
        files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut files = self.files();
        // Below it may be gone already, which is nobody's concern here.
        let is_there = files.get(name).map_or_else(|| self.names.contains(name), Option::is_some);
        files.insert(name.to_owned(), None);
        if is_there { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whoever writes below has its own lock, and is not in the way.
    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Any + Send>>> {
        Ok(Some(Box::new(())))
    }

    fn place(&self) -> String {
        self.below.place()
    }
}

struct Opened(Shared);

impl Opened {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn end(&self) -> u64 {
        self.length + self.above.len() as u64
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.end());
        end.ok_or(ErrorKind::UnexpectedEof)?;
        let (low, high) = bytes.split_at_mut(bytes.len().min(self.length.saturating_sub(offset) as usize));
        if let Some(below) = self.below.as_mut().filter(|_| !low.is_empty()) {
            below.read_at(offset, low)?;
        }
        let first = (offset + low.len() as u64).saturating_sub(self.length) as usize;
        high.copy_from_slice(&self.above[first..][..high.len()]);
        Ok(())
    }

    /// Takes what lies from `offset` on into memory.
    fn lift(&mut self, offset: u64) -> io::Result<()> {
        if offset >= self.length {
            return Ok(());
        }
        let mut lifted = vec![0; (self.end() - offset) as usize];
        self.read(offset, &mut lifted)?;
        (self.length, self.above) = (offset, lifted);
        Ok(())
    }
}

impl ReadAt for Opened {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.kept().end())
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.kept().read(offset, bytes)
    }
}

impl DiskFile for Opened {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        kept.lift(offset)?;
        let first = (offset - kept.length) as usize;
        let end = first + bytes.len();
        if kept.above.len() < end {
            kept.above.resize(end, 0);
        }
        kept.above[first..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut kept = self.kept();
        if length < kept.length {
            (kept.length, kept.above) = (length, Vec::new());
        } else {
            let rest = (length - kept.length) as usize;
            kept.above.truncate(rest);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Nobody else can put another in its place.
    fn has_name(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

    /// One thing done to a file of this name.
    #[derive(Clone, Debug)]
    enum Done {
        Create,
        Write(u64, Vec<u8>),
        Truncate(u64),
        Rename(&'static str),
        Remove,
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn anything() -> impl Strategy<Value = (&'static str, Done)> {
        let write = (0..12u64, proptest::collection::vec(any::<u8>(), 1..6));
        let done = prop_oneof![
            Just(Done::Create),
            write.prop_map(|(offset, bytes)| Done::Write(offset, bytes)),
            (0..12u64).prop_map(Done::Truncate),
            proptest::sample::select(&NAMES[..]).prop_map(Done::Rename),
            Just(Done::Remove),
        ];
        (proptest::sample::select(&NAMES[..]), done)
    }

    fn do_it(disk: &dyn Disk, name: &str, done: &Done) -> bool {
        match done {
            Done::Create => disk.create(name).is_ok(),
            Done::Write(offset, bytes) => disk
                .open(name)
                .and_then(|mut file| {
                    // Behind the end nobody writes.
                    let offset = file.length()?.min(*offset);
                    file.write_at(offset, bytes)
                })
                .is_ok(),
            Done::Truncate(length) => disk
                .open(name)
                .and_then(|mut file| {
                    let length = file.length()?.min(*length);
                    file.truncate(length)
                })
                .is_ok(),
            Done::Rename(to) => *to != name && disk.rename(name, to).is_ok(),
            Done::Remove => disk.remove(name).is_ok(),
        }
    }

    /// What is there: each file with its bytes.
    fn there(disk: &dyn Disk) -> BTreeMap<String, Vec<u8>> {
        let read = |name: String| {
            let mut file = disk.open(&name).expect("it is listed");
            let mut bytes = vec![0; file.length().expect("it has a length") as usize];
            file.read_at(0, &mut bytes).expect("it can be read");
            (name, bytes)
        };
        disk.list().expect("it can be listed").into_iter().map(read).collect()
    }

    proptest! {
        #[test]
        fn it_is_as_a_disk_of_its_own_and_leaves_the_one_below(
            before in proptest::collection::vec(anything(), 0..12),
            after in proptest::collection::vec(anything(), 0..24),
            all in any::<bool>(),
        ) {
            let (below, other) = (SimulatedDisk::new(1), SimulatedDisk::new(1));
            for (name, done) in &before {
                prop_assert_eq!(do_it(&below, name, done), do_it(&other, name, done));
            }
            let kept = there(&below);
            let make = if all { Aside::all_of } else { Aside::of };
            let aside = make(below.clone()).expect("it can be listed");
            for (name, done) in &after {
                prop_assert_eq!(do_it(&aside, name, done), do_it(&other, name, done), "{} {:?}", name, done);
                prop_assert_eq!(there(&aside), there(&other));
            }
            prop_assert_eq!(there(&below), kept);
        }
    }

    #[test]
    fn a_file_is_as_it_was_when_it_was_opened() {
        let below = SimulatedDisk::new(1);
        below.create("a").expect("it is new").write_at(0, b"one").expect("there is room");
        let aside = Aside::of(below.clone()).expect("it can be listed");
        aside.open("a").expect("it is there");
        below.open("a").expect("it is there").write_at(3, b", two").expect("there is room");
        below.create("b").expect("it is new");
        assert_eq!(there(&aside)["a"], b"one");
        assert_eq!(there(&aside).len(), 1);
        let aside = Aside::all_of(below.clone()).expect("it can be listed");
        below.remove("b").expect("it is there");
        assert_eq!(there(&aside).len(), 2, "what is gone below can be read on");
        aside.remove("b").expect("it was there");
        assert_eq!(there(&below)["a"], b"one, two");
    }
}
