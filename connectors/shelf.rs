//! The shelf beside a journal, on which batches of files are staged: under a name, as they were then.
//!
//! Law: under a name there is what was staged last, whole, or what was staged before it, whole, or nothing;
//! also if the power goes or the disk is full in the middle. What has changed since is not given out.
//!
//! ```text
//!   NAME.toml                   the manifest: scope, and each file with its length and SHA-256; renamed last
//!   NAME~0001-SHA256.ndjson     a copy, by its contents, so that a new one never stands on an old one
//! ```

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trueup_model::backfill::Scope;

use crate::journal::disk::{Disk, DiskFile};
use crate::journal::hexadecimal;

/// The longest name.
pub const NAME_MAX: usize = 64;
/// What follows the name of a batch in the names of its files; no name has it.
const MARK: char = '~';
const CHUNK_BYTES: usize = 1 << 16;

/// Where batches are staged. Clones are the same shelf.
#[derive(Clone)]
pub struct Shelf {
    disk: Arc<dyn Disk>,
}

/// A file that is to be staged.
pub struct Given<'a> {
    /// What it is called.
    pub name: String,
    /// Its contents.
    pub contents: &'a mut dyn Read,
    /// How it is read, where that is not known by its name.
    pub mapping: Option<&'a mut dyn Read>,
}

/// A batch that was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    manifest: Manifest,
    digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    scope: Option<Scope>,
    #[serde(default)]
    file: Vec<StagedFile>,
}

/// A file of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedFile {
    /// What it was called.
    pub given: String,
    /// Its copy.
    pub copy: Copied,
    /// The copy of how it is read, if that was given.
    pub mapping: Option<Copied>,
}

/// A file on the shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// Its name there.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// Of its contents, in hexadecimal digits.
    pub sha256: String,
}

/// Why nothing was staged, or what was staged cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// It is no name.
    #[error(
        "`{0}` cannot be the name of a backfill: begin with a letter or a digit, and go on with those, `-`, `_` and \
         `.`, {NAME_MAX} characters at most"
    )]
    Name(String),
    /// There is one of this name.
    #[error("backfill '{0}' is staged already: give another name, or --again to stage it in its place")]
    Taken(String),
    /// Somebody else stages something.
    #[error("another process stages a backfill in {0}: try again when it is done")]
    Locked(String),
    /// There is none of this name.
    #[error("no backfill '{name}' is staged in `{place}`: stage it with `trueup backfill stage {name} FILE...`")]
    Absent {
        /// Its name.
        name: String,
        /// Where none is.
        place: String,
    },
    /// What is there is not what was staged.
    #[error("`{file}` in `{place}` is not as it was when backfill '{name}' was staged: stage and preview it again")]
    Changed {
        /// The name of the batch.
        name: String,
        /// The file.
        file: String,
        /// Where it is.
        place: String,
    },
    /// What is to be staged cannot be read.
    #[error("`{name}` cannot be read; check its name and its rights")]
    Unreadable {
        /// The file.
        name: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The disk does not do it.
    #[error("what is staged in `{place}` cannot be {doing}; check its rights and the room on the disk")]
    Disk {
        /// Where.
        place: String,
        /// What it was to do.
        doing: &'static str,
        /// What it says.
        #[source]
        error: io::Error,
    },
}

/// Whether something can be the name of a batch: it is that of a file on any machine, and of nothing hidden.
pub fn check_name(name: &str) -> Result<(), ShelfError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins_well && name.len() <= NAME_MAX && name.chars().all(is_good) {
        true => Ok(()),
        false => Err(ShelfError::Name(name.to_owned())),
    }
}

impl Shelf {
    /// The shelf on this disk.
    pub fn on(disk: Arc<dyn Disk>) -> Shelf {
        Shelf { disk }
    }

    /// Stages files under a name, in place of what was staged under it if `again`.
    pub fn stage(
        &self,
        name: &str,
        files: Vec<Given<'_>>,
        scope: Option<Scope>,
        again: bool,
    ) -> Result<Staged, ShelfError> {
        check_name(name)?;
        let lock = self.disk.lock("lock").map_err(|error| self.cannot_write(error))?;
        let _lock = lock.ok_or_else(|| ShelfError::Locked(self.disk.place()))?;
        let before = match self.manifest(name) {
            Ok(_) if !again => return Err(ShelfError::Taken(name.to_owned())),
            Ok((manifest, _)) => Some(manifest),
            Err(ShelfError::Absent { .. }) => None,
            // What is damaged is of no use to anybody.
            Err(ShelfError::Changed { .. }) if again => None,
            Err(error) => return Err(error),
        };
        // What was left half-way the last time, so that there is room.
        self.tidy(name, before.iter());
        let put = self.copy_all(name, files, scope).and_then(|manifest| {
            self.put(&manifest)?;
            Ok(manifest)
        });
        match put {
            Ok(manifest) => self.tidy(name, [&manifest]),
            Err(error) => {
                self.tidy_after(name, before.as_ref());
                return Err(error);
            }
        }
        self.find(name)
    }

    /// A batch that was staged, its files as they were then.
    pub fn find(&self, name: &str) -> Result<Staged, ShelfError> {
        check_name(name)?;
        let (manifest, digest) = self.manifest(name)?;
        let staged = Staged { manifest, digest };
        self.check(&staged)?;
        Ok(staged)
    }

    /// Whether the files of a batch are as they were.
    pub fn check(&self, staged: &Staged) -> Result<(), ShelfError> {
        for copied in staged.manifest.copies() {
            let changed = || self.changed(&staged.manifest.name, &copied.file);
            let contents = match self.disk.open(&copied.file) {
                Ok(file) => Contents { file, at: 0 },
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(changed()),
                Err(error) => return Err(self.cannot_read(error)),
            };
            let mut digest = Digesting::default();
            digest.follow(contents, |_, _| Ok(())).map_err(|error| self.cannot_read(error.into_inner()))?;
            if digest.end() != (copied.bytes, copied.sha256.clone()) {
                return Err(changed());
            }
        }
        Ok(())
    }

    /// The names of all that was staged, in their order.
    pub fn names(&self) -> Result<Vec<String>, ShelfError> {
        let listed = self.disk.list().map_err(|error| self.cannot_read(error))?;
        let named = listed.iter().filter_map(|file| file.strip_suffix(".toml"));
        let mut names: Vec<String> = named.filter(|name| check_name(name).is_ok()).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn manifest(&self, name: &str) -> Result<(Manifest, String), ShelfError> {
        let file = manifest_of(name);
        let mut text = Vec::new();
        let opened = self.disk.open(&file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => ShelfError::Absent { name: name.to_owned(), place: self.disk.place() },
            _ => self.cannot_read(error),
        })?;
        Contents { file: opened, at: 0 }.read_to_end(&mut text).map_err(|error| self.cannot_read(error))?;
        let read = str::from_utf8(&text).ok().and_then(|text| toml::from_str::<Manifest>(text).ok());
        let is_own =
            |manifest: &Manifest| manifest.name == name && manifest.copies().all(|copied| is_of(name, &copied.file));
        let manifest = read.filter(is_own).ok_or_else(|| self.changed(name, &file))?;
        Ok((manifest, hexadecimal(&Sha256::digest(&text))))
    }

    fn copy_all(&self, name: &str, files: Vec<Given<'_>>, scope: Option<Scope>) -> Result<Manifest, ShelfError> {
        let mut file = Vec::with_capacity(files.len());
        for (given, place) in files.into_iter().zip(1..) {
            let ending = Path::new(&given.name).extension().map(|ending| ending.to_string_lossy());
            let ending = ending.filter(|ending| ending.chars().all(|c| c.is_ascii_alphanumeric()));
            let ending = ending.map_or(String::new(), |ending| format!(".{ending}"));
            let copy = |contents, ending: &str| self.copy(name, place, &given.name, contents, ending);
            let copied = copy(given.contents, &ending)?;
            let mapping = given.mapping.map(|mapping| copy(mapping, ".toml")).transpose()?;
            file.push(StagedFile { given: given.name, copy: copied, mapping });
        }
        Ok(Manifest { name: name.to_owned(), scope, file })
    }

    /// Copies a file, durably but for its name.
    fn copy(
        &self,
        name: &str,
        place: usize,
        given: &str,
        contents: &mut dyn Read,
        ending: &str,
    ) -> Result<Copied, ShelfError> {
        let unfinished = format!("{name}{MARK}{place:04}-unfinished");
        let mut file = self.disk.create(&unfinished).map_err(|error| self.cannot_write(error))?;
        let mut digest = Digesting::default();
        let copied = digest.follow(contents, |offset, bytes| file.write_at(offset, bytes));
        copied.map_err(|error| match error {
            Broken::Reading(error) => ShelfError::Unreadable { name: given.to_owned(), error },
            Broken::Writing(error) => self.cannot_write(error),
        })?;
        file.sync().map_err(|error| self.cannot_write(error))?;
        drop(file);
        let (bytes, sha256) = digest.end();
        let file = format!("{name}{MARK}{place:04}-{sha256}{ending}");
        self.disk.rename(&unfinished, &file).map_err(|error| self.cannot_write(error))?;
        Ok(Copied { file, bytes, sha256 })
    }

    /// Puts a manifest in its place, in one step, once all that it names is durable.
    fn put(&self, manifest: &Manifest) -> Result<(), ShelfError> {
        let text = toml::to_string(manifest).expect("it has nothing that TOML lacks");
        let unfinished = format!("{}{MARK}manifest", manifest.name);
        let put = || -> io::Result<()> {
            let mut file = self.disk.create(&unfinished)?;
            file.write_at(0, text.as_bytes())?;
            file.sync()?;
            drop(file);
            self.disk.sync_folder()?;
            self.disk.rename(&unfinished, &manifest_of(&manifest.name))?;
            self.disk.sync_folder()
        };
        put().map_err(|error| self.cannot_write(error))
    }

    /// Tidies after a failure. The new manifest may be in its place, though nobody knows whether it stays
    /// there: then what either of them names is kept.
    fn tidy_after(&self, name: &str, before: Option<&Manifest>) {
        match self.manifest(name) {
            Ok((now, _)) => self.tidy(name, before.into_iter().chain([&now])),
            Err(ShelfError::Absent { .. }) => self.tidy(name, before),
            // The next one that is staged tidies.
            Err(_) => {}
        }
    }

    /// Removes the files of a batch that none of its manifests names. What stays is in nobody's way, and the
    /// next one that is staged removes it.
    fn tidy<'a>(&self, name: &str, manifests: impl IntoIterator<Item = &'a Manifest>) {
        let kept: BTreeSet<&str> = manifests.into_iter().flat_map(Manifest::copies).map(|copy| &*copy.file).collect();
        let listed = self.disk.list().unwrap_or_default();
        for file in listed.iter().filter(|file| is_of(name, file) && !kept.contains(file.as_str())) {
            if let Err(error) = self.disk.remove(file) {
                tracing::warn!(file, %error, "what is staged no more stays");
            }
        }
    }

    fn changed(&self, name: &str, file: &str) -> ShelfError {
        ShelfError::Changed { name: name.to_owned(), file: file.to_owned(), place: self.disk.place() }
    }

    fn cannot_read(&self, error: io::Error) -> ShelfError {
        ShelfError::Disk { place: self.disk.place(), doing: "read", error }
    }

    fn cannot_write(&self, error: io::Error) -> ShelfError {
        ShelfError::Disk { place: self.disk.place(), doing: "written", error }
    }
}

fn manifest_of(name: &str) -> String {
    format!("{name}.toml")
}

/// Whether a file is one of a batch of this name.
fn is_of(name: &str, file: &str) -> bool {
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(MARK)) && !file.contains(['/', '\\'])
}

impl Manifest {
    /// All copies that it names.
    fn copies(&self) -> impl Iterator<Item = &Copied> {
        self.file.iter().flat_map(|file| std::iter::once(&file.copy).chain(&file.mapping))
    }
}

impl Staged {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// What stands for all of it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// In place of what it stands, if of anything.
    pub fn scope(&self) -> Option<&Scope> {
        self.manifest.scope.as_ref()
    }

    /// Its files, in their order.
    pub fn files(&self) -> &[StagedFile] {
        &self.manifest.file
    }
}

/// The length and the digest of what passes.
#[derive(Default)]
struct Digesting {
    bytes: u64,
    hasher: Sha256,
}

/// On which side a copy broke off.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

impl Broken {
    fn into_inner(self) -> io::Error {
        let (Broken::Reading(error) | Broken::Writing(error)) = self;
        error
    }
}

impl Digesting {
    /// Reads to the end, and hands each piece on with its offset.
    fn follow(
        &mut self,
        mut from: impl Read,
        mut piece: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    piece(self.bytes, &buffer[..read]).map_err(Broken::Writing)?;
                    self.hasher.update(&buffer[..read]);
                    self.bytes += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::Reading(error)),
            }
        }
    }

    fn end(self) -> (u64, String) {
        (self.bytes, hexadecimal(&self.hasher.finalize()))
    }
}

/// A file of a disk, read from its beginning.
struct Contents {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Read for Contents {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.file.length()?.saturating_sub(self.at);
        let read = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.file.read_at(self.at, &mut bytes[..read])?;
        self.at += read as u64;
        Ok(read)
    }
}
