//! Copies of sealed segments: in another folder, or in a bucket.
//!
//! Law: a copy is made once and never changed, and is whole to its last bit and durable when it has its name, or
//! an error says so. What is brought back is a chain from the first entry on; where a link is missing it ends with
//! an error and leaves an empty folder.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use thiserror::Error;
use tokio::task::spawn_blocking;
use trueup_model::fact::Epoch;
use url::Url;

use super::JournalError;
use super::disk::{Disk, Folder, put};
use super::header::{LENGTH, NOTHING};
use super::sealed::{SealedSegment, verify_segment};

/// Why copies were not made or brought back.
#[derive(Debug, Error)]
pub enum CopyError {
    /// There are no copies to be had at such a place.
    #[error(
        "`{place}` is no place for copies: {why}; give a folder, or s3://bucket/folder where trueup was built with it"
    )]
    Place {
        /// Where they were to be.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store failed.
    #[error("the copies in `{place}` cannot be used: {source}")]
    Store {
        /// Where they are.
        place: String,
        /// What it said.
        source: object_store::Error,
    },
    /// A segment is not what it should be.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is a copy of that name with other contents.
    #[error(
        "the copy of {name} in `{place}` has {found} bytes, and should have {expected}: if it is of another journal, \
         give each a place of its own; if it was cut short, remove it, and it is made again"
    )]
    Other {
        /// The segment.
        name: String,
        /// Where the copies are.
        place: String,
        /// How long the copy is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// There is a copy of that name of another journal.
    #[error("the copy of {name} in `{place}` is of another journal: give each journal a place of its own")]
    Foreign {
        /// The segment.
        name: String,
        /// Where the copies are.
        place: String,
    },
    /// There is no copy at all.
    #[error("there are no copies in `{place}`: give the place that the server has as `copies`")]
    Nothing {
        /// Where they were looked for.
        place: String,
    },
    /// A copy is missing between others, or before the first.
    #[error("{name} does not follow entry {last}: bring the copy of what lies between back into `{place}`")]
    Missing {
        /// The segment that was found.
        name: String,
        /// The last entry before it.
        last: Epoch,
        /// Where the copies are.
        place: String,
    },
    /// There is a journal where one was to be brought back.
    #[error("there is a journal in `{folder}` already: give an empty folder")]
    NotEmpty {
        /// The folder.
        folder: String,
    },
}

/// A place where copies lie.
#[derive(Clone)]
pub struct Copies {
    store: Arc<dyn ObjectStore>,
    below: Path,
    place: String,
    /// The folder, if it is one: there we write ourselves, since the store syncs nothing.
    folder: Option<PathBuf>,
}

/// What was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// How many segments.
    pub segments: usize,
    /// The last entry.
    pub last: Epoch,
}

impl Copies {
    /// Copies in a folder, or at an address such as `s3://bucket/folder`. What a bucket needs to know
    /// is taken from the environment, by the names that its own tools use: `AWS_ACCESS_KEY_ID`,
    /// `AWS_REGION`, `AWS_ENDPOINT` and so on.
    pub fn at(place: &str) -> Result<Copies, CopyError> {
        let wrong = |why: String| CopyError::Place { place: place.to_owned(), why };
        let url = match place.contains("://") {
            true => Url::parse(place).map_err(|error| wrong(error.to_string()))?,
            false => {
                let folder = std::path::absolute(place).map_err(|error| wrong(error.to_string()))?;
                Url::from_directory_path(folder).map_err(|()| wrong("it is no path".to_owned()))?
            }
        };
        let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, below) = object_store::parse_url_opts(&url, settings).map_err(|error| wrong(error.to_string()))?;
        let folder = if url.scheme() == "file" { url.to_file_path().ok() } else { None };
        Ok(Copies { store: store.into(), below, place: place.to_owned(), folder })
    }

    /// Copies the segments of a journal's folder of which there is no copy; tells how many.
    pub async fn add(&self, folder: &FilePath, sealed: &[SealedSegment]) -> Result<usize, CopyError> {
        let there = self.list().await?;
        // Each begins with the seal of all before it, so the newest tells of the others.
        let is_there = |segment: &&SealedSegment| there.iter().any(|(name, _)| *name == segment.name);
        if let Some(newest) = sealed.iter().rev().find(is_there) {
            self.check_ours(folder, newest).await?;
        }
        let mut copied = 0;
        for segment in sealed {
            match there.iter().find(|(name, _)| *name == segment.name) {
                Some((_, bytes)) if *bytes == segment.bytes => {}
                Some((_, bytes)) => return Err(self.other(segment, *bytes)),
                None => {
                    self.copy(folder, segment).await?;
                    copied += 1;
                }
            }
        }
        Ok(copied)
    }

    /// Refuses the copy of a segment that begins otherwise.
    async fn check_ours(&self, folder: &FilePath, segment: &SealedSegment) -> Result<(), CopyError> {
        let ours = read(folder, segment, LENGTH.min(segment.bytes as usize))?;
        let from = self.below.clone().join(segment.name.as_str());
        let copy = self.store.get_range(&from, 0..ours.len() as u64).await.map_err(|error| self.failed(error))?;
        if copy == ours {
            return Ok(());
        }
        Err(CopyError::Foreign { name: segment.name.clone(), place: self.place.clone() })
    }

    async fn copy(&self, folder: &FilePath, segment: &SealedSegment) -> Result<(), CopyError> {
        let (folder, wanted) = (folder.to_owned(), segment.clone());
        let contents = beside(move || read_sound(&folder, &wanted)).await?;
        if let Some(folder) = self.folder.clone() {
            let name = segment.name.clone();
            return beside(move || put_copy(&Folder::new(folder)?, &name, &contents)).await.map_err(|error| {
                self.failed(object_store::Error::Generic { store: "folder", source: Box::new(error) })
            });
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let to = self.below.clone().join(segment.name.as_str());
        match self.store.put_opts(&to, contents.into(), options).await {
            // Somebody else copies the same.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Brings all copies back into an empty folder, each checked to its last bit. Before it is used, the
    /// journal there must be opened once with [`accept_rollback`](super::Settings::accept_rollback).
    pub async fn restore(&self, folder: &FilePath) -> Result<Restored, CopyError> {
        let told = |source| JournalError::disk("write", source);
        let disk = Folder::new(folder).map_err(told)?;
        if disk.list().map_err(told)?.iter().any(|name| name.ends_with(".journal")) {
            return Err(CopyError::NotEmpty { folder: folder.display().to_string() });
        }
        let mut written = Vec::new();
        let restored = self.bring_back(&disk, &mut written).await;
        if restored.is_err() {
            // Half a journal must not be taken for one.
            written.iter().for_each(|name: &String| drop(disk.remove(name)));
        }
        restored
    }

    async fn bring_back(&self, disk: &Folder, written: &mut Vec<String>) -> Result<Restored, CopyError> {
        let told = |source| JournalError::disk("write", source);
        let (mut last, mut seal) = (0, NOTHING);
        for (name, _) in self.list().await? {
            let from = self.below.clone().join(name.as_str());
            let copy = self.store.get(&from).await.map_err(|error| self.failed(error))?;
            let contents = copy.bytes().await.map_err(|error| self.failed(error))?;
            let segment = verify_segment(&name, &contents)?;
            if segment.first != last + 1 || segment.before != seal {
                return Err(CopyError::Missing { name, last, place: self.place.clone() });
            }
            let mut file = disk.create(&name).map_err(told)?;
            written.push(name);
            file.write_at(0, &contents).and_then(|()| file.sync()).map_err(told)?;
            (last, seal) = (segment.last, segment.seal);
        }
        if written.is_empty() {
            return Err(CopyError::Nothing { place: self.place.clone() });
        }
        disk.sync_folder().map_err(told)?;
        Ok(Restored { segments: written.len(), last })
    }

    /// The copies that are there, with their lengths, in the order of their entries.
    async fn list(&self) -> Result<Vec<(String, u64)>, CopyError> {
        // Not those in folders below, which are another journal's.
        let found = self.store.list_with_delimiter(Some(&self.below)).await.map_err(|error| self.failed(error))?;
        let copies =
            found.objects.into_iter().filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta.size)));
        let mut copies: Vec<(String, u64)> = copies.filter(|(name, _)| name.ends_with(".journal")).collect();
        copies.sort_unstable();
        Ok(copies)
    }

    fn failed(&self, source: object_store::Error) -> CopyError {
        CopyError::Store { place: self.place.clone(), source }
    }

    fn other(&self, segment: &SealedSegment, found: u64) -> CopyError {
        let (name, place) = (segment.name.clone(), self.place.clone());
        CopyError::Other { name, place, found, expected: segment.bytes }
    }
}

/// Does what takes its time beside the threads that answer.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// The contents of a segment, if they are what was sealed.
fn read_sound(folder: &FilePath, segment: &SealedSegment) -> Result<Vec<u8>, JournalError> {
    let contents = read(folder, segment, segment.bytes as usize)?;
    if verify_segment(&segment.name, &contents)? == *segment {
        return Ok(contents);
    }
    let (file, why) = (segment.name.clone(), "it is not what it was when it was sealed".to_owned());
    Err(JournalError::Damaged { file, offset: 0, why })
}

/// Puts a copy on a disk, which has its name when it is whole and durable.
fn put_copy(disk: &dyn Disk, name: &str, contents: &[u8]) -> io::Result<()> {
    put(disk, &format!("{name}.new"), name, contents).map(drop)
}

/// The first bytes of the entries of a segment, as they lie in the journal's folder.
fn read(folder: &FilePath, segment: &SealedSegment, bytes: usize) -> Result<Vec<u8>, JournalError> {
    let told = |source| JournalError::disk("read", source);
    let disk = Folder::new(folder).map_err(told)?;
    let mut contents = vec![0; bytes];
    disk.open(&segment.name).and_then(|mut file| file.read_at(0, &mut contents)).map_err(told)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

    #[test]
    fn a_copy_has_its_name_when_it_is_whole_and_durable() {
        let contents: Vec<u8> = (0..5_000_u32).map(|byte| byte as u8).collect();
        for (seed, calls) in (0..40).flat_map(|seed| (0..7).map(move |calls| (seed, calls))) {
            let disk = SimulatedDisk::new(seed);
            disk.power_off_after(calls);
            let is_done = put_copy(&disk, "copy", &contents).is_ok();
            assert_eq!(is_done, calls > 5, "it takes six calls");
            let cut = disk.after_power_cut();
            let found = cut.contents("copy");
            assert!(found.as_ref().map_or(!is_done, |found| *found == contents), "seed {seed}, call {calls}");
            // What was left of it is in nobody's way.
            put_copy(&cut, "copy", &contents).expect("nothing fails");
            assert_eq!(cut.after_power_cut().contents("copy").as_ref(), Some(&contents));
        }
    }
}
