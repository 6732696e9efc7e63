//! Folders that are watched: files of events that appear in them are read.
//!
//! Laws: what was read of a file, and how far, enter the journal in the same epoch, so whoever starts
//! again goes on behind the last record that is there, also in the middle of a file. A file that was
//! written since it was read is read again from its beginning, and nothing counts twice. What cannot be
//! read goes to the quarantine with file and line; a folder or file that the system will not give is
//! said, and tried again.
//!
//! A file is whole when two looks in a row find it with the same length and time of writing. So it is
//! best moved into the folder by a rename; one that is written in place is taken when nothing was
//! written for as long as is between two looks. Names that begin with a point, or end other than event
//! files do, are passed over: write under such a name and rename.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, Reason, Refused};

use crate::files::progress::{self, Mark, Progress};

use crate::board::{Board, Phase, Standing};
use crate::fault::with_causes;
use crate::files::csv_mapping::CsvMapping;
use crate::files::{EventBatches, Format, ReadError, Reading, read_file};
use crate::intake::{HandInError, Intake, Position};

/// How to read CSV files of a folder stands in its file of this name.
pub const MAPPING_FILE: &str = "mapping.toml";

/// How long a piece of a file is waited for when watching is to stop, and how often is looked whether it has come.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folders.
    pub folders: Vec<PathBuf>,
    /// Whose events they hold.
    pub tenant: String,
    /// Where each folder writes how it stands.
    pub board: Board,
    /// How long to wait between two looks.
    pub pause: Duration,
    /// On how many threads a file is read.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        let (tenant, board) = ("default".to_owned(), Board::default());
        Options { folders: Vec::new(), tenant, board, pause: Duration::from_secs(2), threads: 2 }
    }
}

/// Folders that are being watched.
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Watches, on a thread of its own; to be called within a tokio runtime, on which is waited for the
/// intake.
pub fn start(intake: Arc<dyn Intake>, options: Options) -> Watch {
    let (stop, stopped) = channel();
    let watcher = Watcher {
        intake,
        runtime: Handle::current(),
        stopped,
        seen: BTreeMap::new(),
        done: BTreeMap::new(),
        told: BTreeMap::new(),
        options,
    };
    let thread = thread::Builder::new().name("watch".to_owned());
    Watch { stop, thread: thread.spawn(move || watcher.run()).expect("a thread can be started") }
}

impl Watch {
    /// Stops after the piece of a file that is being read; the next start goes on behind it. A piece that does not
    /// come is not waited for.
    pub async fn stop(self) {
        drop(self.stop);
        let ended = async {
            while !self.thread.is_finished() {
                sleep(LOOK).await;
            }
        };
        if timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("a watched file is still being read, and is not waited for: the next start goes on with it");
        }
    }
}

/// Looks at folders again and again.
struct Watcher {
    intake: Arc<dyn Intake>,
    runtime: Handle,
    stopped: Receiver<()>,
    options: Options,
    /// How each file was found at the last look.
    seen: BTreeMap<PathBuf, Mark>,
    /// How each file was when it was read to its end.
    done: BTreeMap<PathBuf, Progress>,
    /// What was said last of each file and folder, so that it is said once.
    told: BTreeMap<PathBuf, String>,
}

/// Why reading goes no further now.
enum Halt {
    /// Nobody takes events any more, or nobody watches.
    End,
    /// This file, at the next look, for this reason.
    Later(String),
}

impl Watcher {
    fn run(mut self) {
        while !self.options.folders.is_empty() {
            for folder in self.options.folders.clone() {
                let outcome = self.look(&folder);
                self.stand(&folder, matches!(outcome, Err(Halt::End)));
                if let Err(Halt::End) = outcome {
                    return;
                }
            }
            match self.stopped.recv_timeout(self.options.pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes onto the board how a folder stands.
    fn stand(&self, folder: &Path, has_ended: bool) {
        const SHOWN_MAX: usize = 10;
        let is_here = |path: &Path| path == folder || path.parent() == Some(folder);
        let told = self.told.iter().filter(|(path, _)| is_here(path)).take(SHOWN_MAX);
        let told: Vec<String> = told.map(|(path, what)| format!("{}: {what}", path.display())).collect();
        let phase = match (has_ended, told.is_empty()) {
            (true, _) => Phase::Ended,
            (false, true) => Phase::Reading,
            (false, false) => Phase::Waiting,
        };
        let why = (!told.is_empty()).then(|| told.join("; "));
        self.options.board.stands(&folder.display().to_string(), Standing { why, ..phase.into() });
    }

    /// Writes onto the board which file of its folder is being read.
    fn stand_reading(&self, path: &Path) {
        let Some(folder) = path.parent() else { return };
        let why = Some(format!("{} is being read", path.display()));
        self.options.board.stands(&folder.display().to_string(), Standing { why, ..Phase::Reading.into() });
    }

    /// Reads what is whole and new in a folder, in the order of the names.
    fn look(&mut self, folder: &Path) -> Result<(), Halt> {
        let files = match event_files(folder) {
            Ok(files) => files,
            Err(error) => {
                let what =
                    format!("the watched folder cannot be read: {error}; check that it is there, and its rights");
                self.tell(folder, what);
                return Ok(());
            }
        };
        self.tell_again(folder);
        self.seen.retain(|path, _| path.parent() != Some(folder) || files.contains_key(path));
        self.done.retain(|path, _| path.parent() != Some(folder) || files.contains_key(path));
        self.told.retain(|path, _| path.parent() != Some(folder) || files.contains_key(path));
        for (path, mark) in files {
            let is_whole = self.seen.insert(path.clone(), mark) == Some(mark);
            if !is_whole {
                continue;
            }
            match self.read_if_new(&path, mark) {
                Ok(()) => self.tell_again(&path),
                Err(Halt::Later(why)) => self.tell(&path, why),
                Err(Halt::End) => return Err(Halt::End),
            }
        }
        Ok(())
    }

    /// Reads a file behind what was read of it, if it was not read to its end.
    fn read_if_new(&mut self, path: &Path, mark: Mark) -> Result<(), Halt> {
        let Some(format) = Format::of(path) else { return Ok(()) };
        let name = name(path)?;
        let mapping = if format == Format::Csv { Some(mapping_beside(path)?) } else { None };
        let (mapping, mapped_by) = mapping.map_or((None, None), |(mapping, digest)| (Some(mapping), Some(digest)));
        let layouts = self.intake.layouts();
        let begun = Progress { mark, generation: layouts.generation, mapped_by, read_to: Some(0) };
        if self.done.get(path).is_some_and(|done| done.is_of(&begun)) {
            return Ok(());
        }
        let before = begun.or_as_written(self.intake.read_to(&name));
        if let Some(after) = before.read_to {
            self.stand_reading(path);
            let reading =
                Reading { layouts: &layouts, tenant: &self.options.tenant, file: &name, threads: self.options.threads };
            let batches = read_file(path, format, mapping.as_ref(), after, &reading);
            self.take(&name, format, before, batches, &layouts)?;
        }
        self.done.insert(path.to_owned(), Progress { read_to: None, ..before });
        Ok(())
    }

    /// Hands the batches of a file in, each with how far the file is read by it.
    fn take(
        &self,
        name: &str,
        format: Format,
        mut progress: Progress,
        batches: Result<EventBatches, ReadError>,
        layouts: &Layouts,
    ) -> Result<(), Halt> {
        let empty = || EventBatch { source: name.to_owned(), generation: layouts.generation, ..EventBatch::default() };
        let mut last = empty();
        let mut events = 0;
        let outcome = batches.and_then(|mut batches| {
            while let Some(batch) = batches.next() {
                progress.read_to = Some(batches.read_to());
                match batch.map(|batch| self.hand_in(name, batch, progress))? {
                    Ok(taken) => events += taken,
                    Err(halt) => return Ok(Err(halt)),
                }
            }
            Ok(Ok(()))
        });
        match outcome {
            Ok(halted) => halted?,
            Err(error) if can_pass(&error) => return Err(Halt::Later(with_causes(&error))),
            Err(error) => last.refused.push(refusal(name, format, progress, &error)),
        }
        let refused = last.refused.len();
        self.hand_in(name, last, Progress { read_to: None, ..progress })?;
        tracing::info!(file = name, events, is_damaged = refused > 0, "read");
        Ok(())
    }

    fn hand_in(&self, name: &str, batch: EventBatch, progress: Progress) -> Result<u64, Halt> {
        if matches!(self.stopped.try_recv(), Ok(()) | Err(std::sync::mpsc::TryRecvError::Disconnected)) {
            return Err(Halt::End);
        }
        let position = Position { source: name.to_owned(), at: progress.to_string() };
        match self.runtime.block_on(self.intake.hand_in(batch, vec![position])) {
            Ok(taken) => Ok(taken.events),
            Err(HandInError::Stale) => {
                Err(Halt::Later("the catalog changed while it was read: it is read again".to_owned()))
            }
            Err(HandInError::Unable(why) | HandInError::Full(why)) => Err(Halt::Later(why)),
            Err(HandInError::Stopped(why)) => {
                tracing::error!(file = name, why, "nothing is read from watched folders any more");
                Err(Halt::End)
            }
        }
    }

    /// Says what is wrong with a file or folder, once.
    fn tell(&mut self, path: &Path, what: String) {
        if self.told.get(path) != Some(&what) {
            tracing::warn!(path = %path.display(), "{what}; it is tried again");
            self.told.insert(path.to_owned(), what);
        }
    }

    /// Says that nothing is wrong any more, if something was.
    fn tell_again(&mut self, path: &Path) {
        if self.told.remove(path).is_some() {
            tracing::info!(path = %path.display(), "it can be read again");
        }
    }
}

/// The files of a folder that are named as event files are, and how they are now.
fn event_files(folder: &Path) -> io::Result<BTreeMap<PathBuf, Mark>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || Format::of(&path).is_none() {
            continue;
        }
        // A file that is gone since, or that nobody may look at, is none.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            files.insert(path, Mark::of(&metadata));
        }
    }
    Ok(files)
}

/// The name by which the journal knows a file. One that is no text would be shown, and kept, as others are.
fn name(path: &Path) -> Result<String, Halt> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Halt::Later("its name, or that of its folder, is not UTF-8, and could be taken for another: rename it".into())
    })
}

/// The mapping beside a CSV file, and the digest of its text.
fn mapping_beside(path: &Path) -> Result<(CsvMapping, u64), Halt> {
    let beside = path.with_file_name(MAPPING_FILE);
    let shown = beside.display();
    let text = fs::read_to_string(&beside).map_err(|error| {
        Halt::Later(format!(
            "it is CSV and needs `{shown}`, which says which column is what, and which is not read: {error}"
        ))
    })?;
    let mapping: CsvMapping = toml::from_str(&text).map_err(|error| {
        let error = error.to_string();
        Halt::Later(format!("`{shown}` is no mapping: {}", error.trim_end()))
    })?;
    mapping.for_several().map_err(|why| Halt::Later(format!("`{shown}` is for all files of its folder: {why}")))?;
    Ok((mapping, progress::digest(&text)))
}

/// Whether the same may be read later: the system would not give it, and the file itself says nothing.
fn can_pass(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { .. } | ReadError::NoMapping { .. })
}

/// The refusal of what is left of a file.
fn refusal(name: &str, format: Format, progress: Progress, error: &ReadError) -> Refused {
    let (record, read) = (format.record(), progress.read_to.unwrap_or_default());
    Refused {
        source: name.to_owned(),
        position: format!("behind {record} {read}"),
        reason: Reason::Unreadable,
        detail: with_causes(error),
        ..Refused::default()
    }
}
