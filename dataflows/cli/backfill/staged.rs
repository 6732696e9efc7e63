//! Batches that were staged: copies of the files as they were given, with a digest of each.
//!
//! Law: what is read of a batch has the digests that it had when it was staged, or it is not read.
//!
//! ```text
//! <journal>/backfills/june/
//!     manifest.toml      name, scope, and of each file its digest; the digest of this is the batch's
//!     0001-calls.csv     as given
//!     0001-mapping.toml  how to read it
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trueup::engine::Engine;
use trueup_connectors::files::Format;
use trueup_model::arrival::Origin;
use trueup_model::backfill::{Scope, origin};
use trueup_model::usage::EventBatch;

use crate::cli::failure::Failure;
use crate::cli::loading::{EventFiles, Mappings, cannot_read, format, open, spread};
use crate::cli::words;

/// The most events of a batch: they are in memory at once, about 300 bytes each, since they enter as one
/// epoch.
const EVENTS_MAX: usize = 10_000_000;
/// The longest name.
const NAME_MAX: usize = 64;
const MANIFEST: &str = "manifest.toml";

/// Where batches are staged.
#[derive(Clone)]
pub struct Shelf(PathBuf);

/// A batch that was staged.
pub struct Staged {
    folder: PathBuf,
    manifest: Manifest,
    digest: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    scope: Option<Scope>,
    #[serde(default)]
    file: Vec<StagedFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StagedFile {
    /// What it was called.
    given: String,
    copy: Copied,
    /// How it is read, if it is CSV.
    mapping: Option<Copied>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    file: String,
    bytes: u64,
    sha256: String,
}

impl Shelf {
    /// The staged batches of a journal.
    pub fn of(journal: &Path) -> Shelf {
        Shelf(journal.join("backfills"))
    }

    /// Stages files under a name.
    pub fn stage(&self, name: &str, files: &EventFiles, scope: Option<Scope>, again: bool) -> Result<Staged, Failure> {
        check_name(name)?;
        let folder = self.0.join(name);
        if folder.exists() && !again {
            return Err(Failure::Input(format!(
                "backfill '{name}' is staged already: give another name, or --again to stage it in its place"
            )));
        }
        let paths = spread(&files.events)?;
        // Told now, and not when it is to be applied.
        let mappings = Mappings::read(&files.mapping, &paths)?;
        let unfinished = self.0.join(format!(".{name}.new"));
        let staged = fill(&unfinished, name, &paths, &files.mapping, &mappings, scope);
        // What is half there is of no use, and the next attempt removes it as well.
        staged.inspect_err(|_| drop(fs::remove_dir_all(&unfinished)))?;
        let put = || -> io::Result<()> {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::rename(&unfinished, &folder)?;
            sync_folder(&self.0)
        };
        put().map_err(|error| cannot_write(&folder, &error))?;
        self.find(name)
    }

    /// A batch that was staged, its files as they were then.
    pub fn find(&self, name: &str) -> Result<Staged, Failure> {
        check_name(name)?;
        let folder = self.0.join(name);
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Input(format!(
                "no backfill '{name}' is staged in `{}`: stage it with `trueup backfill stage {name} FILE...`",
                self.0.display()
            )),
            _ => cannot_read(&path, &error),
        })?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| {
            let error = error.to_string();
            Failure::Input(format!("`{}` is damaged ({}): stage the batch again", path.display(), error.trim_end()))
        })?;
        let is_plain = |copied: &Copied| Path::new(&copied.file).file_name() == Some(copied.file.as_ref());
        let mut copies = manifest.file.iter().flat_map(|file| std::iter::once(&file.copy).chain(&file.mapping));
        if manifest.name != name || !copies.all(is_plain) {
            return Err(Failure::Input(format!(
                "`{}` is not what was staged as '{name}': stage the batch again",
                path.display()
            )));
        }
        let staged = Staged { folder, manifest, digest: hex(&Sha256::digest(text.as_bytes())) };
        staged.check()?;
        Ok(staged)
    }

    /// The names of all that was staged, in their order.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| cannot_read(&self.0, &error))?,
        };
        let mut names: Vec<String> =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
        names.retain(|name| check_name(name).is_ok());
        names.sort();
        Ok(names)
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

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.manifest.file.len()
    }

    /// Reads its events, by the layouts of now.
    pub fn read(&self, engine: &Engine) -> Result<Vec<EventBatch>, Failure> {
        let inside = |copied: &Copied| self.folder.join(&copied.file);
        let paths: Vec<PathBuf> = self.manifest.file.iter().map(|file| inside(&file.copy)).collect();
        let mapped: Vec<PathBuf> =
            self.manifest.file.iter().filter_map(|file| file.mapping.as_ref().map(inside)).collect();
        let mappings = Mappings::read(&mapped, &paths)?;
        let (mut batches, mut events) = (Vec::new(), 0);
        for path in &paths {
            for batch in open(engine, path, &mappings)? {
                let mut batch = batch.map_err(|error| Failure::input(&error))?;
                belongs(self.name(), path, &mut batch);
                events += batch.rows.len() + batch.refused.len();
                if events > EVENTS_MAX {
                    return Err(Failure::Input(format!(
                        "backfill '{}' has more than {} events, which is too many for one epoch: stage it in parts, each \
                         under a name of its own",
                        self.name(),
                        words::count(EVENTS_MAX as i128)
                    )));
                }
                batches.push(batch);
            }
        }
        // It was checked when it was found, and may have been staged again since.
        self.check()?;
        Ok(batches)
    }

    /// Whether its files are as they were.
    fn check(&self) -> Result<(), Failure> {
        let copies = self.manifest.file.iter().flat_map(|file| std::iter::once(&file.copy).chain(&file.mapping));
        for copied in copies {
            let path = self.folder.join(&copied.file);
            let found = digest(&path, &mut io::sink()).map_err(|error| cannot_read(&path, &error))?;
            if found != (copied.bytes, copied.sha256.clone()) {
                return Err(Failure::Input(format!(
                    "`{}` is not as it was when backfill '{}' was staged: stage and preview it again",
                    path.display(),
                    self.name()
                )));
            }
        }
        Ok(())
    }
}

/// Names the backfill as the way by which a batch comes in, and leaves the file to its positions.
fn belongs(name: &str, path: &Path, batch: &mut EventBatch) {
    let Origin { source, partition } = &*origin(name);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    (batch.source, batch.partition) = (source.clone(), partition.clone());
    for refused in &mut batch.refused {
        (refused.source, refused.partition) = (source.clone(), partition.clone());
        refused.position = format!("{} of {file}", refused.position);
    }
}

/// Copies files and their mappings into a new folder, durably, and writes the manifest last.
fn fill(
    folder: &Path,
    name: &str,
    paths: &[PathBuf],
    given_mappings: &[PathBuf],
    mappings: &Mappings,
    scope: Option<Scope>,
) -> Result<(), Failure> {
    let begun = || -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)
    };
    begun().map_err(|error| cannot_write(folder, &error))?;
    let mut given_mappings = given_mappings.iter();
    let for_all = if given_mappings.len() == 1 { given_mappings.next() } else { None };
    let mut file = Vec::new();
    for (path, place) in paths.iter().zip(1..) {
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = copy(path, folder, format!("{place:04}-{last}"))?;
        let mapping = if format(path) == Format::Csv {
            mappings.of(path)?;
            let mapping = for_all.or_else(|| given_mappings.next());
            mapping.map(|mapping| self::copy(mapping, folder, format!("{place:04}-mapping.toml"))).transpose()?
        } else {
            None
        };
        file.push(StagedFile { given: path.display().to_string(), copy, mapping });
    }
    let manifest = Manifest { name: name.to_owned(), scope, file };
    let text = toml::to_string(&manifest).map_err(|error| Failure::engine(&error))?;
    let written = || -> io::Result<()> {
        let mut file = File::create(folder.join(MANIFEST))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_folder(folder)
    };
    written().map_err(|error| cannot_write(folder, &error))
}

fn copy(from: &Path, folder: &Path, name: String) -> Result<Copied, Failure> {
    let to = folder.join(&name);
    let mut file = File::create(&to).map_err(|error| cannot_write(&to, &error))?;
    let (bytes, sha256) = digest(from, &mut file).map_err(|error| cannot_read(from, &error))?;
    file.sync_all().map_err(|error| cannot_write(&to, &error))?;
    Ok(Copied { file: name, bytes, sha256 })
}

/// The length and digest of a file, which is copied on the way.
fn digest(path: &Path, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&hasher.finalize()))),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name is that of a folder on any machine, and of nothing hidden.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins_well && name.len() <= NAME_MAX && name.chars().all(is_good) {
        true => Ok(()),
        false => Err(Failure::Input(format!(
            "`{name}` cannot be the name of a backfill: begin with a letter or a digit, and go on with those, `-`, `_` and \
             `.`, {NAME_MAX} characters at most"
        ))),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Engine(format!(
        "`{}` cannot be written: {error}; check its rights and the room on the disk",
        path.display()
    ))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix has folders that can be synced; elsewhere names are durable with their files.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
