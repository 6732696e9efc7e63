//! Where a process can be ended: before each call to a disk, in the middle of a write, and wherever else
//! somebody says so.
//!
//! What a call leaves is what is there before the next one. A point's name tells the call and what kind of file
//! it is for. Nobody lists them: a point is what was passed, so that one cannot be forgotten.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use trueup_connectors::journal::Folder;
use trueup_connectors::journal::disk::{Disk, DiskFile, ReadAt};

/// The points that were passed, and the one that is the last.
pub struct Points {
    passed: Mutex<BTreeMap<String, u64>>,
    /// At which point the process ends, and at which hit.
    last: (String, u64),
}

impl Points {
    /// Points of which one is the last, at one of its hits.
    pub fn up_to(point: &str, hit: u64) -> Points {
        Points { passed: Mutex::default(), last: (point.to_owned(), hit) }
    }

    /// Passes a point, or ends here.
    pub fn pass(&self, point: &str) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let hits = passed.entry(point.to_owned()).or_default();
        *hits += 1;
        if (point, *hits) == (&self.last.0, self.last.1) {
            std::process::abort();
        }
    }

    /// What was passed, and how often.
    pub fn passed(&self) -> BTreeMap<String, u64> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn call(&self, call: &str, of: &str) {
        self.pass(&format!("{call} of {of}"));
    }
}

/// A folder whose calls are points.
pub struct Passing {
    pub folder: Folder,
    pub points: Arc<Points>,
    /// What it is the folder of.
    pub name: &'static str,
}

/// What kind of file has this name.
fn kind(name: &str) -> &str {
    let stem = name.split('-').next().unwrap_or(name);
    if name.ends_with(".journal") { "a segment" } else { stem }
}

impl Passing {
    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(PassingFile { file, points: self.points.clone(), kind: kind(name).to_owned() })
    }
}

impl Disk for Passing {
    fn list(&self) -> io::Result<Vec<String>> {
        self.points.call("list", self.name);
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.points.call("create", kind(name));
        Ok(self.file(name, self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.points.call("open", kind(name));
        Ok(self.file(name, self.folder.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.points.call("rename", kind(from));
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.points.call("remove", kind(name));
        self.folder.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.points.call("sync of the folder", self.name);
        self.folder.sync_folder()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Any + Send>>> {
        self.points.call("lock", self.name);
        self.folder.lock(name)
    }

    fn place(&self) -> String {
        self.folder.place()
    }
}

/// A file whose calls are points.
struct PassingFile {
    file: Box<dyn DiskFile>,
    points: Arc<Points>,
    kind: String,
}

impl ReadAt for PassingFile {
    fn length(&mut self) -> io::Result<u64> {
        self.points.call("length", &self.kind);
        self.file.length()
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.points.call("read", &self.kind);
        self.file.read_at(offset, bytes)
    }
}

impl DiskFile for PassingFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        self.points.call("write", &self.kind);
        self.file.write_at(offset, first)?;
        self.points.call("half of a write", &self.kind);
        self.file.write_at(offset + first.len() as u64, rest)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.points.call("truncate", &self.kind);
        self.file.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.points.call("sync", &self.kind);
        self.file.sync()
    }

    /// Changes nothing, and is asked only where no descriptor is left.
    fn has_name(&mut self) -> io::Result<bool> {
        self.file.has_name()
    }
}
