//! What belongs to a checkpoint: written last, so that a checkpoint is whole or not there.
//!
//! A manifest is a small file of two lines: the SHA-256 of the second, and the second, in JSON.

use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trueup_model::fact::Epoch;

use crate::journal::disk::Disk;
use crate::journal::hexadecimal;

/// What belongs to a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What wrote it: the form of the files, and the code whose results they hold.
    pub fingerprint: String,
    /// The last epoch that is in it.
    pub epoch: Epoch,
    /// The seal of that epoch's entry: it belongs to this journal and to no other.
    pub seal: String,
    /// How many usage rows the journal has up to there.
    pub rows: u64,
    /// How many inputs stand in quarantine there.
    pub quarantined: u64,
    /// How much of the outline is its own.
    pub outline_bytes: u64,
    /// What each worker had.
    pub shares: Vec<Share>,
}

/// What one worker had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The files of its arrangements, in the order of the engine's.
    pub arrangements: Vec<Part>,
    /// Its runs of rows, newest first.
    pub runs: Vec<Part>,
}

/// A file, and how many records are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// How many records.
    pub records: u64,
}

const NEW: &str = "checkpoint.new";

impl Share {
    /// Its files.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.arrangements.iter().chain(&self.runs)
    }
}

impl Manifest {
    /// What the names of manifests begin with.
    pub const PREFIX: &str = "checkpoint-";

    /// Writes it, durably, with all names of files that were written before.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let text = serde_json::to_string(self)?;
        match disk.remove(NEW) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = disk.create(NEW)?;
        file.write_at(0, format!("{}\n{text}\n", digest(&text)).as_bytes())?;
        file.sync()?;
        // The names of the parts are durable before the manifest has its own.
        disk.sync_folder()?;
        disk.rename(NEW, &self.file())?;
        disk.sync_folder()
    }

    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}{:020}", Self::PREFIX, self.epoch)
    }

    /// All files that belong to it, itself and the outline aside.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().flat_map(Share::parts).map(|part| part.file.as_str())
    }

    /// The manifests on a disk, newest first; with those that cannot be read, each by its name.
    pub fn all(disk: &dyn Disk) -> io::Result<Vec<Result<Manifest, String>>> {
        let mut names: Vec<String> = disk.list()?.into_iter().filter(|name| name.starts_with(Self::PREFIX)).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names.into_iter().map(|name| Manifest::read(disk, &name).ok_or(name)).collect())
    }

    fn read(disk: &dyn Disk, name: &str) -> Option<Manifest> {
        let mut file = disk.open(name).ok()?;
        let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (sum, text) = text.split_once('\n')?;
        let text = text.strip_suffix('\n')?;
        let manifest: Manifest = (digest(text) == sum).then(|| serde_json::from_str(text).ok())??;
        (manifest.file() == name).then_some(manifest)
    }
}

fn digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated_disk::SimulatedDisk;

    fn manifest(epoch: Epoch) -> Manifest {
        let part = |file: &str| Part { file: file.to_owned(), records: 3 };
        let share = Share { arrangements: vec![part("a"), part("b")], runs: vec![part("c")] };
        let (fingerprint, seal) = ("1".to_owned(), "ab".to_owned());
        Manifest { fingerprint, epoch, seal, rows: 7, quarantined: 2, outline_bytes: 9, shares: vec![share] }
    }

    #[test]
    fn manifests_are_found_newest_first_and_whole_or_not_at_all() {
        let disk = SimulatedDisk::new(1);
        [9, 100, 11].iter().for_each(|&epoch| manifest(epoch).write(&disk).expect("the disk is good"));
        let found = Manifest::all(&disk).expect("the disk is good");
        assert_eq!(found, [100, 11, 9].map(|epoch| Ok(manifest(epoch))));
        assert_eq!(manifest(1).parts().collect::<Vec<_>>(), ["a", "b", "c"]);
        let name = manifest(100).file();
        let whole = disk.contents(&name).expect("it was written");
        for offset in 0..whole.len() {
            disk.tamper(&name, |bytes| bytes[offset] ^= 1);
            assert_eq!(Manifest::all(&disk).expect("the disk is good")[0], Err(name.clone()), "offset {offset}");
            disk.tamper(&name, |bytes| bytes[offset] ^= 1);
            disk.tamper(&name, |bytes| bytes.truncate(offset));
            assert_eq!(Manifest::all(&disk).expect("the disk is good")[0], Err(name.clone()), "cut at {offset}");
            disk.tamper(&name, |bytes| bytes.clone_from(&whole));
        }
    }
}
