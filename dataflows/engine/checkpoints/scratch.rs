//! The file of one worker's rows that are not put away yet: made when it is needed, removed when nobody
//! reads it any more.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trueup_connectors::journal::disk::{Disk, DiskFile};
use trueup_operators::scratch::Scratch;

use super::Settings;
use crate::engine::publication::Published;

/// What the names of these files begin with.
const SCRATCH: &str = "scratch-";

/// A file of rows.
pub struct ScratchFile {
    disk: Arc<dyn Disk>,
    name: String,
    chunk_bytes: usize,
    file: Mutex<Option<Box<dyn DiskFile>>>,
    /// Whether it was told that the disk does not take everything: once, since it is tried for each chunk.
    is_told: AtomicBool,
    published: Arc<Published>,
}

impl ScratchFile {
    /// The file for rows that a worker puts away together. No two of one engine have the same number.
    pub fn new(settings: &Settings, worker: usize, number: u64, published: Arc<Published>) -> ScratchFile {
        let (disk, chunk_bytes) = (settings.disk.clone(), settings.scratch_bytes);
        let (file, is_told) = (Mutex::default(), AtomicBool::new(false));
        ScratchFile { disk, name: format!("{SCRATCH}{worker}-{number}"), chunk_bytes, file, is_told, published }
    }

    fn file(&self) -> MutexGuard<'_, Option<Box<dyn DiskFile>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = &mut *self.file();
        let file = match file {
            Some(file) => file,
            None => file.insert(self.disk.create(&self.name)?),
        };
        file.write_at(offset, bytes)
    }
}

impl Scratch for ScratchFile {
    fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let written = self.put(offset, bytes);
        if let Err(error) = &written
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(file = self.name, %error, "rows that came lately stay in memory: they cannot be written");
        }
        written.is_ok()
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = &mut *self.file();
        file.as_mut().ok_or(io::ErrorKind::NotFound)?.read_at(offset, bytes)
    }

    fn lost(&self, error: &io::Error) -> ! {
        let why = format!(
            "{} of the checkpoints cannot be read: {error}; see whether the disk is sound and start again: what is in \
             it is read anew from the journal",
            self.name
        );
        self.published.stop(&why);
        panic!("{why}")
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if let Some(file) = self.file().take() {
            drop(file);
            if let Err(error) = self.disk.remove(&self.name) {
                tracing::warn!(file = self.name, %error, "a file that nobody needs cannot be removed");
            }
        }
    }
}

/// Removes what an engine left that was killed.
pub fn tidy(disk: &dyn Disk) -> io::Result<()> {
    disk.list()?.iter().filter(|name| name.starts_with(SCRATCH)).try_for_each(|name| disk.remove(name))
}
