//! A disk in memory that fails as disks do, by a seed: for the tests of whoever keeps a journal.
//!
//! It keeps two states apart: what programs see, and what is durable. At a power cut each write
//! that was not synced is kept or lost sector by sector, in any order, and so is each change of a
//! name; where a file grew and its contents were lost there are zeros, or whatever was there. A
//! failed sync keeps some of what it covered, forgets the rest and goes on showing it: what
//! kernels do, and why a sync is never tried again.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile, ReadAt};

/// What a disk writes as a whole or not at all.
const SECTOR: u64 = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk reports an error (EIO).
    Broken,
    /// There is no room left (ENOSPC). Only calls that need room fail so; others succeed.
    Full,
    /// No more files can be open (EMFILE). Only calls that open one fail so; others succeed.
    NoDescriptor,
}

/// A disk in memory. A clone is the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seed: u64,
    calls: u64,
    failure: Option<(u64, Failure)>,
    /// What another process does before a call.
    meanwhile: Option<(u64, Box<dyn FnOnce() + Send>)>,
    off_at: Option<u64>,
    ignores_locks: bool,
    is_locked: bool,
    files: Vec<Contents>,
    /// The names that programs see, and those that are durable, each with its file.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced: each sets and removes some in one step.
    renamings: Vec<Vec<(String, Option<usize>)>>,
}

#[derive(Clone, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What happened since the file was synced.
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// What kind of call is made: which failures it can have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Look,
    Opens,
    Creates,
    NeedsRoom,
    Other,
}

impl Call {
    /// The error of a call of this kind, if it can fail so.
    fn error(self, failure: Failure) -> Option<io::Error> {
        match (failure, self) {
            (Failure::Broken, _) => Some(io::Error::other("simulated input/output error")),
            (Failure::Full, Call::NeedsRoom | Call::Creates) => {
                Some(io::Error::new(ErrorKind::StorageFull, "simulated full disk"))
            }
            // EMFILE.
            (Failure::NoDescriptor, Call::Opens | Call::Creates) => Some(io::Error::from_raw_os_error(24)),
            (Failure::Full | Failure::NoDescriptor, _) => None,
        }
    }
}

impl SimulatedDisk {
    /// An empty disk whose luck follows from `seed`.
    pub fn new(seed: u64) -> SimulatedDisk {
        let disk = SimulatedDisk::default();
        disk.state().seed = seed;
        disk
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets the call after the next `calls` fail, once.
    pub fn fail_after(&self, calls: u64, failure: Failure) {
        let mut state = self.state();
        state.failure = Some((state.calls + calls, failure));
    }

    /// Lets something else happen between the next `calls` calls and the one after them.
    pub fn meanwhile(&self, calls: u64, act: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.meanwhile = Some((state.calls + calls, Box::new(act)));
    }

    /// Lets every call after the next `calls` fail: the power is off.
    pub fn power_off_after(&self, calls: u64) {
        let mut state = self.state();
        state.off_at = Some(state.calls + calls);
    }

    /// The disk as it is found after a power cut now.
    pub fn after_power_cut(&self) -> SimulatedDisk {
        let mut state = self.state();
        let mut luck = Luck(state.seed);
        let mut names = state.durable_names.clone();
        for change in state.renamings.clone() {
            if luck.one_in(2) {
                apply(&mut names, change);
            }
        }
        let survive = |contents: &Contents, luck: &mut Luck| {
            // Some cuts lose everything, some nothing, most some of it.
            let odds = luck.below(5);
            let durable = contents.after_power_cut(odds, luck);
            Contents { seen: durable.clone(), durable, changes: Vec::new() }
        };
        let files = state.files.iter().map(|contents| survive(contents, &mut luck)).collect();
        state.seed = luck.next();
        let after = State { seed: luck.next(), files, names: names.clone(), durable_names: names, ..State::default() };
        SimulatedDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// The disk as another process finds it after this one was killed: all that was written is
    /// seen, but no more durable than it was.
    pub fn after_kill(&self) -> SimulatedDisk {
        let state = self.state();
        let after = State {
            seed: Luck(state.seed).next(),
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            renamings: state.renamings.clone(),
            ..State::default()
        };
        SimulatedDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// Changes a file behind everybody's back, durably; makes it where it is not there.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names.get(name).copied().unwrap_or_else(|| {
            state.files.push(Contents::default());
            let file = state.files.len() - 1;
            apply(&mut state.names, vec![(name.to_owned(), Some(file))]);
            apply(&mut state.durable_names, vec![(name.to_owned(), Some(file))]);
            file
        });
        let contents = &mut state.files[file];
        change(&mut contents.seen);
        *contents = Contents {
            durable: contents.seen.clone(),
            seen: std::mem::take(&mut contents.seen),
            ..Contents::default()
        };
    }

    /// Loses a file behind everybody's back, durably.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        apply(&mut state.names, vec![(name.to_owned(), None)]);
        apply(&mut state.durable_names, vec![(name.to_owned(), None)]);
    }

    /// Gives its lock to everybody, as some network file systems do.
    pub fn ignore_locks(&self) {
        self.state().ignores_locks = true;
    }

    /// What a file holds, as programs see it.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&file| state.files[file].seen.clone())
    }

    /// The names of all files, as programs see them.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of a simulated disk panics")
    }

    /// The state for a call, with the error by which it fails; with the power off nothing happens.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<io::Error>)> {
        let mut state = self.state();
        let now = state.calls;
        if let Some((_, act)) = state.meanwhile.take_if(|(at, _)| *at == now) {
            drop(state);
            act();
            state = self.state();
        }
        let number = state.calls;
        state.calls += 1;
        if state.off_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the power is off"));
        }
        let failure = state.failure.filter(|(at, _)| *at == number).map(|(_, failure)| failure);
        let error = failure.and_then(|failure| call.error(failure));
        Ok((state, error))
    }

    /// The same for calls that change nothing when they fail.
    fn call_whole(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let (state, error) = self.call(call)?;
        error.map_or(Ok(state), Err)
    }

    fn handle(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(Handle { disk: self.clone(), file })
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Vec<(String, Option<usize>)>) {
    for (name, file) in change {
        match file {
            Some(file) => names.insert(name, file),
            None => names.remove(&name),
        };
    }
}

impl State {
    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: Vec<(String, Option<usize>)>) {
        apply(&mut self.names, change.clone());
        self.renamings.push(change);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.call_whole(Call::Opens)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.call_whole(Call::Creates)?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.files.push(Contents::default());
        let file = state.files.len() - 1;
        state.change_names(vec![(name.to_owned(), Some(file))]);
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.call_whole(Call::Opens)?.file(name)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.call_whole(Call::NeedsRoom)?;
        let file = state.file(from)?;
        state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.call_whole(Call::Other)?;
        state.file(name)?;
        state.change_names(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let (mut state, error) = self.call(Call::NeedsRoom)?;
        let mut luck = Luck(state.seed);
        for change in std::mem::take(&mut state.renamings) {
            if error.is_none() || luck.one_in(2) {
                apply(&mut state.durable_names, change);
            }
        }
        state.seed = luck.next();
        error.map_or(Ok(()), Err)
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Any + Send>>> {
        let mut state = self.call_whole(Call::Opens)?;
        if std::mem::replace(&mut state.is_locked, true) && !state.ignores_locks {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock(self.clone()))))
    }

    fn place(&self) -> String {
        "a simulated disk".to_owned()
    }
}

/// Holds the lock of a disk.
struct Lock(SimulatedDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().is_locked = false;
    }
}

struct Handle {
    disk: SimulatedDisk,
    file: usize,
}

impl ReadAt for Handle {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.disk.call_whole(Call::Look)?.files[self.file].seen.len() as u64)
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.call_whole(Call::Look)?;
        (&mut state.files[self.file].seen.as_slice()).read_at(offset, bytes)
    }
}

impl DiskFile for Handle {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, error) = self.disk.call(Call::NeedsRoom)?;
        let mut luck = Luck(state.seed);
        let written = if error.is_some() { luck.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        state.seed = luck.next();
        state.files[self.file].change(Change::Write { offset, bytes: bytes[..written].to_vec() });
        error.map_or(Ok(()), Err)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.call_whole(Call::Other)?;
        state.files[self.file].change(Change::Truncate(length));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, error) = self.disk.call(Call::NeedsRoom)?;
        let mut luck = Luck(state.seed);
        let contents = &mut state.files[self.file];
        // What a failed sync loses stays lost, though programs go on seeing it.
        let odds = if error.is_some() { luck.below(4) } else { 4 };
        contents.durable = contents.after_power_cut(odds, &mut luck);
        contents.changes.clear();
        state.seed = luck.next();
        error.map_or(Ok(()), Err)
    }

    fn has_name(&mut self) -> io::Result<bool> {
        let state = self.disk.call_whole(Call::Look)?;
        Ok(state.names.values().any(|file| *file == self.file))
    }
}

impl Contents {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.changes.push(change);
    }

    /// What is durable if changes are kept, sector by sector, in `odds` of four cases.
    fn after_power_cut(&self, odds: u64, luck: &mut Luck) -> Vec<u8> {
        let mut durable = self.durable.clone();
        for change in &self.changes {
            match change {
                Change::Truncate(_) if luck.chance(odds) => change.apply(&mut durable),
                Change::Truncate(_) => {}
                Change::Write { .. } if odds >= 4 => change.apply(&mut durable),
                Change::Write { offset, bytes } => {
                    for (offset, bytes) in sectors(*offset, bytes) {
                        if luck.chance(odds) {
                            Change::Write { offset, bytes: bytes.to_vec() }.apply(&mut durable);
                        } else if luck.one_in(4) && durable.len() as u64 <= offset {
                            // The file grew, but what it grew by is old or nothing.
                            let old = if luck.one_in(2) { 0 } else { luck.next() as u8 };
                            Change::Write { offset, bytes: vec![old; bytes.len()] }.apply(&mut durable);
                        }
                    }
                }
            }
        }
        durable
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Change::Truncate(length) => contents.truncate(*length as usize),
            Change::Write { offset, bytes } => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[start..end].copy_from_slice(bytes);
            }
        }
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = offset + at as u64;
        let end = bytes.len().min(at + (SECTOR - start % SECTOR) as usize);
        let part = bytes.get(at..end).filter(|part| !part.is_empty())?;
        at = end;
        Some((start, part))
    })
}

/// Numbers that follow from a seed: SplitMix64.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// True in `odds` of four cases.
    fn chance(&mut self, odds: u64) -> bool {
        self.below(4) < odds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &SimulatedDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
        let mut file = disk.create(name).expect("it is new");
        file.write_at(0, bytes).expect("there is room");
        file
    }

    #[test]
    fn what_was_synced_is_there_after_a_power_cut_and_the_rest_is_in_doubt() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let mut file = write(&disk, "a", &[1; 1024]);
            file.sync().expect("nothing fails");
            disk.sync_folder().expect("nothing fails");
            file.write_at(512, &[2; 1024]).expect("nothing fails");
            let _unnamed = write(&disk, "b", &[3]);
            let after = disk.after_power_cut();
            let found = after.contents("a").expect("its name was synced");
            assert_eq!(found[..512], [1; 512]);
            match (found.get(512), found.get(1024)) {
                (Some(2), Some(2)) => kept += 1,
                (Some(1), None) => lost += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 10 && lost > 10 && torn > 10, "{kept} kept, {lost} lost, {torn} torn");
    }

    #[test]
    fn a_failed_sync_goes_on_showing_what_it_lost() {
        let mut lost = 0;
        for seed in 0..60 {
            let disk = SimulatedDisk::new(seed);
            let mut file = write(&disk, "a", &[1; 512]);
            disk.sync_folder().expect("nothing fails");
            disk.fail_after(0, Failure::Broken);
            file.sync().expect_err("this one fails");
            file.sync().expect("the next does not");
            assert_eq!(disk.contents("a"), Some(vec![1; 512]));
            lost += u64::from(disk.after_power_cut().contents("a") != Some(vec![1; 512]));
        }
        assert!(lost > 10, "{lost} of 60: who tries a sync again is told that all is well");
    }
}
