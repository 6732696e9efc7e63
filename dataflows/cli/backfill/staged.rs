//! Files of events on the shelf beside a journal: put there from where they lie, and read by the layouts
//! of now.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trueup::engine::Engine;
use trueup::engine::door::BACKFILL_EVENTS_MAX as EVENTS_MAX;
use trueup::engine::nearest::hint;
use trueup_connectors::files::Format;
use trueup_connectors::journal::Folder;
use trueup_connectors::shelf::{self, Copied, Given, ShelfError, Staged, StagedFile};
use trueup_model::arrival::Origin;
use trueup_model::backfill::{Scope, origin};
use trueup_model::usage::{EventBatch, Refused};

use crate::cli::failure::Failure;
use crate::cli::loading::{EventFiles, Mappings, cannot_read, format, open, spread};
use crate::cli::words;

/// The most bytes that the events of a batch may take: they are in memory at once, since they enter as one epoch.
const BYTES_MAX: usize = EVENTS_MAX * EVENT_BYTES;
/// What an event takes about, and its refusal beside what was kept of it.
const EVENT_BYTES: usize = 300;

/// Where batches are staged.
#[derive(Clone)]
pub struct Shelf {
    shelf: shelf::Shelf,
    folder: PathBuf,
}

impl Shelf {
    /// The staged batches of a journal.
    pub fn of(journal: &Path) -> Result<Shelf, Failure> {
        let folder = journal.join("backfills");
        let disk = Folder::new(&folder).map_err(|error| cannot_read(&folder, &error))?;
        Ok(Shelf { shelf: shelf::Shelf::on(Arc::new(disk)), folder })
    }

    /// Stages files under a name.
    pub fn stage(&self, name: &str, files: &EventFiles, scope: Option<Scope>, again: bool) -> Result<Staged, Failure> {
        let paths = spread(&files.events)?;
        // Told now, and not when it is to be applied.
        let mappings = Mappings::read(&files.mapping, &paths)?;
        let mut given_mappings = files.mapping.iter();
        let for_all = if given_mappings.len() == 1 { given_mappings.next() } else { None };
        let mut lying = Vec::with_capacity(paths.len());
        for path in &paths {
            let mapping = if format(path) == Format::Csv {
                mappings.of(path)?;
                for_all.or_else(|| given_mappings.next())
            } else {
                None
            };
            lying.push((path.display().to_string(), Lying::at(path), mapping.map(|path| Lying::at(path))));
        }
        let given = lying.iter_mut().map(|(name, contents, mapping)| Given {
            name: name.clone(),
            contents,
            mapping: mapping.as_mut().map(|mapping| mapping as _),
        });
        Ok(self.shelf.stage(name, given.collect(), scope, again)?)
    }

    /// A batch that was staged, its files as they were then.
    pub fn find(&self, name: &str) -> Result<Staged, Failure> {
        self.shelf.find(name).map_err(|error| match error {
            ShelfError::Absent { .. } => {
                let names = self.shelf.names().unwrap_or_default();
                let hint = hint(name, names.iter().map(String::as_str), "`trueup backfill list` has all there are");
                Failure::Input(format!("{error}; {hint}"))
            }
            other => other.into(),
        })
    }

    /// The names of all that was staged, in their order.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        Ok(self.shelf.names()?)
    }

    /// Reads the events of a batch, by the layouts of now.
    pub fn read(&self, engine: &Engine, staged: &Staged) -> Result<Vec<EventBatch>, Failure> {
        let inside = |copied: &Copied| self.folder.join(&copied.file);
        let paths: Vec<PathBuf> = staged.files().iter().map(|file| inside(&file.copy)).collect();
        let mapped: Vec<PathBuf> = staged.files().iter().filter_map(|file| file.mapping.as_ref().map(inside)).collect();
        let mappings = Mappings::read(&mapped, &paths)?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for (file, path) in staged.files().iter().zip(&paths) {
            for batch in open(engine, path, &mappings, 0)? {
                let mut batch = batch.map_err(|error| Failure::input(&error))?;
                belongs(staged.name(), file, &mut batch);
                bytes += weight(&batch);
                if bytes > BYTES_MAX {
                    return Err(too_many(staged.name()));
                }
                batches.push(batch);
            }
        }
        // It was checked when it was found, and may have been staged again since.
        self.shelf.check(staged)?;
        Ok(batches)
    }
}

/// How many bytes a batch takes about.
fn weight(batch: &EventBatch) -> usize {
    let kept = |refused: &Refused| refused.payload.as_ref().map_or(0, String::len) + refused.detail.len();
    (batch.rows.len() + batch.refused.len()) * EVENT_BYTES + batch.refused.iter().map(kept).sum::<usize>()
}

fn too_many(name: &str) -> Failure {
    Failure::Input(format!(
        "backfill '{name}' has more than {} events, or too much that cannot be read, for one epoch: stage it in parts, \
         each under a name of its own",
        words::count(EVENTS_MAX as i128)
    ))
}

/// Names the backfill as the way by which a batch comes in, and leaves the file to its positions.
fn belongs(name: &str, file: &StagedFile, batch: &mut EventBatch) {
    let Origin { source, partition } = &*origin(name);
    let file = Path::new(&file.given).file_name().unwrap_or_default().to_string_lossy();
    (batch.source, batch.partition) = (source.clone(), partition.clone());
    for refused in &mut batch.refused {
        (refused.source, refused.partition) = (source.clone(), partition.clone());
        refused.position = format!("{} of {file}", refused.position);
    }
}

/// A file that is opened when it is read, as there may be more of them than can be open at once.
enum Lying {
    Closed(PathBuf),
    Open(File),
    Ended,
}

impl Lying {
    fn at(path: &Path) -> Lying {
        Lying::Closed(path.to_path_buf())
    }
}

impl Read for Lying {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Lying::Closed(path) = self {
            *self = Lying::Open(File::open(path)?);
        }
        let Lying::Open(file) = self else { return Ok(0) };
        let read = file.read(bytes)?;
        if read == 0 && !bytes.is_empty() {
            *self = Lying::Ended;
        }
        Ok(read)
    }
}
