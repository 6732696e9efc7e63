//! What the journal asks of a disk: files in one folder, and when they are durable.
//!
//! Law: what a file's `sync` that returned without an error covers, and the names that stood when
//! `sync_folder` returned without an error, outlive a power cut; of all else nobody knows what will
//! be found. Two disks keep it: a [`Folder`], and a
//! [`SimulatedDisk`](super::simulated_disk::SimulatedDisk) that takes every liberty this leaves.

use std::any::Any;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
#[cfg(not(unix))]
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files in one folder.
pub trait Disk: Send + Sync {
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file; an error of kind `AlreadyExists` where there is one of this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to read and to write.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in one step, and drops the file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; an error of kind `NotFound` where there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are. Takes no file descriptor.
    fn sync_folder(&self) -> io::Result<()>;

    /// Takes the lock of this name until what is given back is dropped; none if another has it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Any + Send>>>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// Bytes that can be read at any offset.
pub trait ReadAt: Send {
    /// How many bytes there are.
    fn length(&mut self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on; an error if there are not so many.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

/// A file.
pub trait DiskFile: ReadAt {
    /// Writes all of `bytes` at `offset`. After an error nobody knows how much of it was written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off all that lies behind `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes the contents and the length durable. After an error nobody knows what is, and asking
    /// again does not tell.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether it has a name still: nobody has removed it, or put another in its place. Takes no file
    /// descriptor.
    fn has_name(&mut self) -> io::Result<bool>;
}

/// Puts a file on a disk, durably, in the place of what has its name. Until it is whole it is called `unfinished`; what
/// was left of that name goes.
pub(crate) fn put(disk: &dyn Disk, unfinished: &str, name: &str, contents: &[u8]) -> io::Result<Box<dyn DiskFile>> {
    match disk.remove(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = disk.create(unfinished)?;
    file.write_at(0, contents)?;
    file.sync()?;
    disk.rename(unfinished, name)?;
    disk.sync_folder()?;
    Ok(file)
}

/// Whether an error says that there is no room left, which can change while the process runs.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether an error says that no more files can be open at once (EMFILE, ENFILE), which can change while
/// the process runs. Their numbers are the same on every Unix; the library has no name for them.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// A folder of the machine.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// The folder itself, held so that it can be synced when nothing can be opened. Only Unix has folders
    /// that can be; elsewhere names are durable with their files.
    itself: Option<Arc<File>>,
}

impl Folder {
    /// The folder of this path, made if it is not there, durably.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Folder> {
        let path = std::path::absolute(path)?;
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(|above| !above.is_dir()).map(Path::to_path_buf).collect();
        fs::create_dir_all(&path)?;
        // Each new folder is a new name in the one above.
        for above in missing.iter().filter_map(|new| new.parent()) {
            Folder::there(above.to_path_buf())?.sync_folder()?;
        }
        Folder::there(path)
    }

    /// A folder that is there.
    fn there(path: PathBuf) -> io::Result<Folder> {
        let itself = if cfg!(unix) { Some(Arc::new(File::open(&path)?)) } else { None };
        Ok(Folder { path, itself })
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().read(true).write(true).create_new(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        match File::options().read(true).write(true).open(&path) {
            // Whoever only reads may: a snapshot can be verified.
            Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                Ok(Box::new(File::open(&path)?))
            }
            opened => Ok(Box::new(opened?)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.itself.as_ref().map_or(Ok(()), |itself| itself.sync_all())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Any + Send>>> {
        let file = File::options().write(true).create(true).truncate(false).open(self.path.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl ReadAt for File {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.read_exact(bytes)
    }
}

impl DiskFile for File {
    #[cfg(unix)]
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(unix)]
    fn has_name(&mut self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.metadata()?.nlink() > 0)
    }

    #[cfg(not(unix))]
    fn has_name(&mut self) -> io::Result<bool> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl ReadAt for &[u8] {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let rest = self.get(start..).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(rest.get(..bytes.len()).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
