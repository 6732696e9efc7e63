//! When a server is killed, and what the kill came in the middle of, as the folder of its journal tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often it is looked whether the moment has come, at most: whoever waits in vain kills all the same.
const LOOKS_MAX: u32 = 6_000;

/// What a kill waits for.
#[derive(Clone, Copy)]
pub enum Aim {
    /// Nothing.
    None,
    /// The journal is opened.
    Opening,
    /// The files of a checkpoint are being written.
    Checkpoint,
    /// A segment is being begun.
    Segment,
}

/// What is in the folder of a journal.
pub struct Left {
    journal: PathBuf,
    /// It says how often the journal was opened.
    generation: Option<Vec<u8>>,
    empty_segments: BTreeSet<String>,
    /// The epochs of checkpoints that have files and no manifest.
    checkpoints: BTreeSet<String>,
}

impl Left {
    pub fn there(journal: &Path) -> Left {
        Left {
            journal: journal.to_path_buf(),
            generation: fs::read(journal.join("generation")).ok(),
            empty_segments: empty_segments(journal),
            checkpoints: checkpoints_begun(journal),
        }
    }

    /// Waits until what is aimed at is to be seen, and was not there.
    pub fn wait_for(&self, aim: Aim) {
        let has_come = || match aim {
            Aim::None => true,
            Aim::Opening => self.is_opened(),
            Aim::Checkpoint => self.is_in_checkpoint(),
            Aim::Segment => self.is_in_segment(),
        };
        for _ in 0..LOOKS_MAX {
            if has_come() {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Whether the journal has been opened since.
    pub fn is_opened(&self) -> bool {
        fs::read(self.journal.join("generation")).ok() != self.generation
    }

    /// Whether a checkpoint has been begun since, and is not whole.
    pub fn is_in_checkpoint(&self) -> bool {
        !checkpoints_begun(&self.journal).is_subset(&self.checkpoints)
    }

    /// Whether there is a new segment, and nothing in it.
    pub fn is_in_segment(&self) -> bool {
        !empty_segments(&self.journal).is_subset(&self.empty_segments)
    }
}

/// Names in a folder; none if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn empty_segments(journal: &Path) -> BTreeSet<String> {
    let is_empty = |name: &String| fs::metadata(journal.join(name)).is_ok_and(|file| file.len() == 0);
    names(journal).into_iter().filter(|name| name.ends_with(".journal") && is_empty(name)).collect()
}

fn checkpoints_begun(journal: &Path) -> BTreeSet<String> {
    let names = names(&journal.join("checkpoints"));
    let epoch = |name: &str, prefix: &str| name.strip_prefix(prefix)?.split('-').next().map(str::to_owned);
    let whole: BTreeSet<String> = names.iter().filter_map(|name| epoch(name, "checkpoint-")).collect();
    let begun = names.iter().filter_map(|name| epoch(name, "arrangement-"));
    begun.filter(|epoch| whole.last().is_none_or(|newest| epoch > newest)).collect()
}
