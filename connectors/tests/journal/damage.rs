//! Files lost, cut, swapped, repeated, put back from another time: the opening stops, or reading
//! does, and the sentence names the place.

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, JournalError, Settings};
use trueup_model::fact::Entry;

use crate::samples::small;
use crate::{entries, journal_of, open, segments};

const SEGMENT_BYTES: u64 = 2_000;

fn written() -> Vec<Arc<Entry>> {
    (1..=20).map(|epoch| small(epoch, 9)).collect()
}

/// A disk with a journal of some segments, written by one process.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    drop(journal_of(&disk, SEGMENT_BYTES, &written()));
    assert!(segments(&disk).len() > 4);
    disk
}

fn answer(disk: &SimulatedDisk) -> String {
    match open(disk, SEGMENT_BYTES) {
        Err(error) => error.to_string(),
        Ok((journal, opened)) => match entries(&journal) {
            Err(error) => error.to_string(),
            Ok(read) => {
                assert_eq!(read, written()[..read.len()]);
                format!("ends with {} ({:?})", read.len(), opened.cut)
            }
        },
    }
}

#[test]
fn an_end_that_was_marked_and_is_gone_stops_the_opening() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk, SEGMENT_BYTES).expect("it is new");
    let entries = written();
    entries.iter().for_each(|entry| journal.append(entry.clone()).expect("it follows"));
    journal.mark().expect("nothing fails");
    drop(journal);
    // Of a copy: an opening would know the end too.
    let whole = answer(&disk.after_kill());
    assert_eq!(whole, "ends with 20 (None)");
    let last = segments(&disk).pop().expect("there are some");
    let end = disk.contents(&last).expect("it is there").len();
    // Cut between entries or within one, or empty: nothing else tells that something was there.
    for length in (0..end).step_by(32) {
        let cut = disk.after_kill();
        cut.tamper(&last, |bytes| bytes.truncate(length));
        let said = answer(&cut);
        let is_missed = said.contains("damaged at offset") || said.contains("but had entry 20 before");
        assert!(is_missed || said == whole, "{length} bytes: {said}");
        let settings = Settings { accept_rollback: true, ..Settings::default() };
        let (_, opened) = FileJournal::open_on(Arc::new(cut.clone()), settings).expect("what is left is a journal");
        let settings = Settings::default();
        let (_, again) = FileJournal::open_on(Arc::new(cut), settings).expect("and stays one");
        assert_eq!(opened.last, again.last);
    }
}

#[test]
fn a_segment_that_is_missing_stops_the_opening() {
    let names = segments(&disk());
    for name in &names {
        let disk = disk();
        disk.lose(name);
        let answer = answer(&disk);
        assert!(answer.contains("missing") || answer.contains("is nowhere"), "{name}: {answer}");
        assert!(answer.contains("damaged at offset"), "{name}: {answer}");
    }
}

#[test]
fn a_segment_cut_anywhere_but_at_the_end_of_the_journal_stops_the_opening() {
    let disk = disk();
    let names = segments(&disk);
    let (_, sealed) = names.split_last().expect("there are some");
    for name in sealed {
        let end = disk.contents(name).expect("it is there").len() - 192;
        for length in (0..end).step_by(61) {
            let cut = disk.after_kill();
            cut.tamper(name, |bytes| bytes.truncate(length));
            let answer = answer(&cut);
            assert!(answer.contains(name) && answer.contains("damaged at offset"), "{name} at {length}: {answer}");
        }
    }
}

#[test]
fn segments_of_other_journals_and_of_other_places_are_not_taken() {
    let other = SimulatedDisk::new(1);
    let entries: Vec<_> = (1..=20).map(|epoch| small(epoch, 10)).collect();
    drop(journal_of(&other, SEGMENT_BYTES, &entries));
    let (names, strangers) = (segments(&disk()), segments(&other));
    for name in &names {
        for stranger in strangers.iter().filter(|stranger| *stranger == name) {
            let disk = disk();
            disk.tamper(name, |bytes| *bytes = other.contents(stranger).expect("it is there"));
            assert!(answer(&disk).contains("damaged at offset"), "{name}");
        }
        for other_name in names.iter().filter(|other| *other != name) {
            let disk = disk();
            let bytes_of_other = disk.contents(other_name).expect("it is there");
            disk.tamper(name, |bytes| *bytes = bytes_of_other);
            let answer = answer(&disk);
            // The last segment was never opened again, so nothing says that it was ever durable.
            assert!(answer.contains("damaged at offset") || Some(name) == names.last(), "{name}: {answer}");
        }
    }
}

#[test]
fn entries_moved_repeated_or_swapped_within_a_segment_are_found() {
    let disk = SimulatedDisk::new(1);
    let mut journal = journal_of(&disk, 1 << 20, &[]);
    let mut ends = vec![0];
    for entry in written() {
        journal.append(entry).expect("nothing fails");
        journal.sync().expect("nothing fails");
        ends.push(disk.contents(&segments(&disk)[0]).expect("it is there").len());
    }
    drop(journal);
    let name = &segments(&disk)[0];
    let whole = disk.contents(name).expect("it is there");
    let pieces: Vec<&[u8]> = ends.windows(2).map(|ends| &whole[ends[0]..ends[1]]).collect();
    for place in 0..pieces.len() - 1 {
        let (mut swapped, mut repeated, mut removed) = (pieces.clone(), pieces.clone(), pieces.clone());
        swapped.swap(place, place + 1);
        repeated.insert(place, pieces[place]);
        removed.remove(place);
        for wrong in [swapped, repeated, removed] {
            let disk = disk.after_kill();
            disk.tamper(name, |bytes| *bytes = wrong.concat());
            match open(&disk, 1 << 20) {
                Err(error) => assert!(matches!(error, JournalError::Damaged { .. }), "{error}"),
                // What is left is whole, though behind it nothing is where it was sealed.
                Ok((journal, opened)) => {
                    let read = entries(&journal).expect("what is left is whole");
                    assert!(read == written()[..read.len()] && opened.cut.is_some());
                }
            }
        }
    }
}

#[test]
fn a_journal_that_was_longer_is_not_opened_unless_one_says_so() {
    let disk = disk();
    drop(open(&disk, SEGMENT_BYTES).expect("nothing fails"));
    let names = segments(&disk);
    for name in &names[3..] {
        disk.lose(name);
    }
    // Without the end mark of the third, nothing but the generation knows of the others.
    disk.tamper(&names[2], |bytes| bytes.truncate(bytes.len() - 192));
    let error = open(&disk, SEGMENT_BYTES).err().expect("it was longer");
    assert!(matches!(error, JournalError::Missing { known: 20, .. }), "{error}");
    let settings = Settings { segment_bytes: SEGMENT_BYTES, accept_rollback: true };
    let (mut journal, opened) = FileJournal::open_on(Arc::new(disk.clone()), settings).expect("it was told to go on");
    let kept = entries(&journal).expect("nothing fails");
    assert!(!kept.is_empty() && kept == written()[..kept.len()]);
    journal.append(small(opened.last + 1, 3)).expect("nothing fails");
    journal.sync().expect("nothing fails");
    drop(journal);
    assert_eq!(open(&disk, SEGMENT_BYTES).expect("it is whole again").1.last, opened.last + 1);
}

#[test]
fn segments_without_a_generation_are_opened_only_as_a_copy_that_was_brought_back() {
    let disk = disk();
    disk.lose("generation");
    let error = open(&disk, SEGMENT_BYTES).err().expect("it is missing");
    assert!(error.to_string().starts_with("generation is damaged at offset 0: it is missing"), "{error}");
    let settings = Settings { segment_bytes: SEGMENT_BYTES, accept_rollback: true };
    let (journal, opened) = FileJournal::open_on(Arc::new(disk.clone()), settings).expect("it was told to go on");
    assert_eq!((journal.last(), opened.generation), (20, 2));
}

#[test]
fn a_file_that_no_generation_can_have_begun_stops_the_opening() {
    let disk = disk();
    disk.tamper("00000000000000000003-000099.journal", |bytes| bytes.push(1));
    assert!(answer(&disk).contains("it says to be of generation 99, and there were only 1"));
}

#[test]
fn a_file_of_a_generation_that_none_can_follow_stops_the_opening() {
    let disk = SimulatedDisk::new(1);
    let name = "00000000000000000001-18446744073709551615.journal";
    disk.tamper(name, |bytes| bytes.push(1));
    let settings = Settings { segment_bytes: SEGMENT_BYTES, accept_rollback: true };
    let error = FileJournal::open_on(Arc::new(disk), settings).err().expect("nothing can be written behind it");
    let why = "it says to be of generation 18446744073709551615, and no journal was opened so often";
    assert!(error.to_string().starts_with(&format!("{name} is damaged at offset 0: {why}")), "{error}");
}
