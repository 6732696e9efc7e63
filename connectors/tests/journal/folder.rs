//! The same in a real folder.

use std::path::PathBuf;

use trueup_connectors::journal::disk::Disk;
use trueup_connectors::journal::{FileJournal, Folder, Journal, JournalError, Settings};

use crate::entries;
use crate::samples::small;

/// A folder of its own for a test, gone at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("trueup-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_journal_in_a_folder_outlives_its_process_and_has_one_holder() {
    let scratch = Scratch::new("holder");
    let folder = scratch.0.join("deep").join("down");
    let settings = Settings { segment_bytes: 4_000, ..Settings::default() };
    let written: Vec<_> = (1..=30).map(|epoch| small(epoch, 8)).collect();
    for (life, part) in written.chunks(7).enumerate() {
        let (mut journal, opened) = FileJournal::open(&folder, settings).expect("the folder is free");
        assert_eq!((opened.generation, opened.last), (life as u64 + 1, life as u64 * 7));
        let error = FileJournal::open(&folder, settings).err().expect("it is held");
        assert!(matches!(&error, JournalError::Locked { place } if place.contains("deep")), "{error}");
        for entry in part {
            journal.append(entry.clone()).expect("nothing fails");
        }
        journal.sync().expect("nothing fails");
    }
    let (journal, _) = FileJournal::open(&folder, settings).expect("the folder is free");
    assert_eq!(entries(&journal).expect("nothing fails"), written);
    assert!(journal.sealed().len() > 3);
}

#[test]
fn a_torn_tail_in_a_folder_is_cut_off_and_told() {
    let scratch = Scratch::new("torn");
    let open = || FileJournal::open(&scratch.0, Settings::default());
    let (mut journal, _) = open().expect("the folder is free");
    journal.append(small(1, 1)).expect("nothing fails");
    journal.append(small(2, 1)).expect("nothing fails");
    journal.sync().expect("nothing fails");
    drop(journal);
    let segment = scratch.0.join("00000000000000000001-000001.journal");
    let bytes = std::fs::read(&segment).expect("it is there");
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).expect("it can be written");
    let (journal, opened) = open().expect("a torn tail is no damage");
    assert_eq!(entries(&journal).expect("nothing fails"), [small(1, 1)]);
    let told = opened.to_string();
    assert!(told.contains("ends with entry 1; what was not whole") && told.contains("only"), "{told}");
}

#[test]
fn a_file_is_told_when_another_takes_its_name() {
    let scratch = Scratch::new("names");
    let folder = Folder::new(&scratch.0).expect("the folder is free");
    let mut ours = folder.create("a").expect("it is new");
    let mut theirs = folder.create("b").expect("it is new");
    assert!(ours.has_name().expect("it is open") && theirs.has_name().expect("it is open"));
    folder.rename("b", "a").expect("both are there");
    assert!(!ours.has_name().expect("it is open") && theirs.has_name().expect("it is open"));
    folder.remove("a").expect("it is there");
    assert!(!theirs.has_name().expect("it is open"));
}
