//! What is staged is there as a whole or not at all, whatever the disk does, and is given out as it was.

use std::io::{self, Read};
use std::sync::Arc;

use trueup_connectors::journal::disk::Disk;
use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::shelf::{Given, Shelf, ShelfError, Staged, check_name};
use trueup_model::backfill::{Scope, Whose};

fn shelf(disk: &SimulatedDisk) -> Shelf {
    Shelf::on(Arc::new(disk.clone()))
}

/// Stages files of these contents, the last of them with a mapping.
fn stage(shelf: &Shelf, name: &str, contents: &[&str], again: bool) -> Result<Staged, ShelfError> {
    let mut contents: Vec<&[u8]> = contents.iter().map(|text| text.as_bytes()).collect();
    let (mut mapping, last) = (&b"id = 1"[..], contents.len());
    let mut mapping = Some(&mut mapping as &mut dyn Read);
    let files = contents.iter_mut().zip(1..).map(|(contents, place)| {
        let mapping = if place == last { mapping.take() } else { None };
        Given { name: format!("somewhere/{place}.csv"), contents, mapping }
    });
    let files = files.collect();
    let whose = Whose::Subject("acme".to_owned());
    shelf.stage(name, files, Some(Scope { whose, meter: "calls".to_owned(), from: 1, to: 2 }), again)
}

const LONG: &str = "more than a sector of a disk, so that a part of it may be lost; ";

/// What is staged first and what in its place: of two files the one stays and the other does not.
fn first_and_second() -> [Vec<String>; 2] {
    let long = |text: &str| format!("{text}{}", LONG.repeat(20));
    [vec!["the same".to_owned(), long("first")], vec!["the same".to_owned(), long("second"), "third".to_owned()]]
}

fn stage_these(shelf: &Shelf, contents: &[String]) -> Result<Staged, ShelfError> {
    let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
    stage(shelf, "june", &contents, true)
}

#[test]
fn what_was_staged_is_found() {
    let disk = SimulatedDisk::new(1);
    let shelf = shelf(&disk);
    let staged = stage(&shelf, "june", &["one", "two"], false).expect("the disk is good");
    assert_eq!((staged.name(), staged.files().len()), ("june", 2));
    assert_eq!(staged.files()[0].given, "somewhere/1.csv");
    assert!(staged.files()[0].copy.file.ends_with(".csv"), "its kind is told by its name still");
    assert_eq!(staged.files().iter().map(|file| file.mapping.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(shelf.find("june").expect("it is there"), staged);
    stage(&shelf, "july", &["one", "two"], false).expect("the disk is good");
    assert_eq!(shelf.names().expect("the disk is good"), ["july", "june"]);
    assert_ne!(shelf.find("july").expect("it is there").digest(), staged.digest(), "its name is a part of it");
}

#[test]
fn a_name_is_taken_unless_it_is_to_be_staged_again() {
    let disk = SimulatedDisk::new(1);
    let shelf = shelf(&disk);
    stage(&shelf, "june", &["one"], false).expect("the disk is good");
    assert!(matches!(stage(&shelf, "june", &["two"], false), Err(ShelfError::Taken(_))));
    stage(&shelf, "june", &["two", "three"], true).expect("it may be staged again");
    let copies = disk.list().expect("the disk is good").into_iter().filter(|file| file.contains('~')).count();
    assert_eq!(copies, 3, "of what was staged before nothing is kept");
    for name in ["", ".june", "a/b", "a~b", "ä", &"n".repeat(65)] {
        assert!(matches!(check_name(name), Err(ShelfError::Name(_))), "{name}");
    }
    assert!(matches!(shelf.find("may"), Err(ShelfError::Absent { .. })));
}

#[test]
fn what_has_changed_since_is_not_given_out() {
    let disk = SimulatedDisk::new(1);
    let shelf = shelf(&disk);
    let staged = stage(&shelf, "june", &["one"], false).expect("the disk is good");
    let files = [&*staged.files()[0].copy.file, &staged.files()[0].mapping.as_ref().expect("it has one").file];
    for file in files {
        disk.tamper(file, |bytes| bytes[0] ^= 1);
        assert!(matches!(shelf.find("june"), Err(ShelfError::Changed { .. })), "{file}");
        assert!(matches!(shelf.check(&staged), Err(ShelfError::Changed { .. })), "{file}");
        disk.tamper(file, |bytes| bytes[0] ^= 1);
    }
    shelf.find("june").expect("it is as it was");
    // A manifest that names what is not its own would read anything there is.
    disk.tamper("june.toml", |bytes| {
        let text = String::from_utf8(bytes.clone()).expect("it is a text");
        *bytes = text.replace("june~0001", "../july~0001").into_bytes();
    });
    assert!(matches!(shelf.find("june"), Err(ShelfError::Changed { .. })));
    stage(&shelf, "june", &["one"], true).expect("what is damaged can be staged again");
    disk.remove(&staged.files()[0].copy.file).expect("it is there");
    assert!(matches!(shelf.find("june"), Err(ShelfError::Changed { .. })));
}

/// Breaks off in the middle.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.0.min(bytes.len());
        self.0 -= read;
        if read == 0 { Err(io::Error::other("the file broke off")) } else { Ok(read) }
    }
}

#[test]
fn what_cannot_be_read_whole_is_not_staged() {
    let disk = SimulatedDisk::new(1);
    let shelf = shelf(&disk);
    let mut broken = Broken(100_000);
    let files = vec![Given { name: "1.ndjson".to_owned(), contents: &mut broken, mapping: None }];
    let error = shelf.stage("june", files, None, false).expect_err("it broke off");
    assert!(matches!(error, ShelfError::Unreadable { .. }), "{error}");
    assert!(matches!(shelf.find("june"), Err(ShelfError::Absent { .. })));
    assert_eq!(disk.list().expect("the disk is good"), Vec::<String>::new(), "nothing is left of it");
}

#[test]
fn the_power_may_go_while_something_is_staged() {
    let [first, second] = first_and_second();
    let fresh = |seed| {
        let disk = SimulatedDisk::new(seed);
        let digest = stage_these(&shelf(&disk), &first).expect("the disk is good").digest().to_owned();
        (disk, digest)
    };
    let (disk, _) = fresh(0);
    let begun = disk.calls();
    let expected = stage_these(&shelf(&disk), &second).expect("the disk is good").digest().to_owned();
    let calls = disk.calls() - begun;
    let mut seen = [0, 0];
    for (call, seed) in (0..calls).flat_map(|call| (0..8).map(move |seed| (call, seed))) {
        let (mut disk, before) = fresh(1 + seed);
        disk.power_off_after(call);
        let is_staged = stage_these(&shelf(&disk), &second).is_ok();
        disk = if seed == 0 { disk.after_kill() } else { disk.after_power_cut() };
        let found = shelf(&disk).find("june").unwrap_or_else(|error| panic!("call {call}, seed {seed}: {error}"));
        let is_second = found.digest() == expected;
        assert!(is_second || found.digest() == before, "call {call}, seed {seed}: one or the other");
        assert!(is_second || !is_staged, "call {call}, seed {seed}: what was acknowledged is there");
        seen[usize::from(is_second)] += 1;
        let again = stage_these(&shelf(&disk), &second).expect("it can be staged again");
        assert_eq!(again.digest(), expected);
        let copies = disk.list().expect("the disk is good").into_iter().filter(|file| file.contains('~')).count();
        assert_eq!(copies, 4, "call {call}, seed {seed}: what was left half-way is gone");
    }
    assert!(seen.iter().all(|seen| *seen > 0), "the power went before and after: {seen:?}");
}

#[test]
fn the_first_of_a_name_is_there_as_a_whole_or_not_at_all() {
    let [first, _] = first_and_second();
    let disk = SimulatedDisk::new(0);
    let expected = stage_these(&shelf(&disk), &first).expect("the disk is good");
    for (call, seed) in (0..disk.calls()).flat_map(|call| (1..6).map(move |seed| (call, seed))) {
        let disk = SimulatedDisk::new(seed);
        disk.power_off_after(call);
        let is_staged = stage_these(&shelf(&disk), &first).is_ok();
        match shelf(&disk.after_power_cut()).find("june") {
            Ok(found) => assert_eq!(found, expected),
            Err(ShelfError::Absent { .. }) => assert!(!is_staged, "call {call}: what was acknowledged is there"),
            Err(error) => panic!("call {call}, seed {seed}: {error}"),
        }
    }
}

#[test]
fn a_full_or_broken_disk_leaves_what_was_staged_before() {
    let [first, second] = first_and_second();
    let disk = SimulatedDisk::new(1);
    stage_these(&shelf(&disk), &first).expect("the disk is good");
    let begun = disk.calls();
    stage_these(&shelf(&disk), &second).expect("the disk is good");
    let calls = disk.calls() - begun;
    for failure in [Failure::Full, Failure::Broken] {
        let mut failed = 0;
        for call in 0..calls {
            let disk = SimulatedDisk::new(1);
            let before = stage_these(&shelf(&disk), &first).expect("the disk is good");
            disk.fail_after(call, failure);
            let staged = stage_these(&shelf(&disk), &second);
            // Later calls find the disk well again.
            let found = shelf(&disk).find("june").unwrap_or_else(|error| panic!("{failure:?}, call {call}: {error}"));
            match &staged {
                Ok(staged) => assert_eq!(found, *staged, "{failure:?}, call {call}"),
                Err(error) => {
                    let why = error.to_string();
                    assert!(
                        why.contains("check its rights and the room on the disk"),
                        "{failure:?}, call {call}: {why}"
                    );
                    failed += 1;
                }
            }
            let is_one = found == before || stage_these(&shelf(&disk), &second).is_ok_and(|second| second == found);
            assert!(is_one, "{failure:?}, call {call}: one or the other");
            stage_these(&shelf(&disk), &second).expect("it can be staged now");
        }
        assert!(failed > 3, "{failure:?}: {failed}");
    }
}

#[test]
fn two_do_not_stage_at_once() {
    let disk = SimulatedDisk::new(1);
    let held = disk.lock("lock").expect("the disk is good");
    assert!(held.is_some());
    assert!(matches!(stage(&shelf(&disk), "june", &["one"], false), Err(ShelfError::Locked(_))));
    drop(held);
    stage(&shelf(&disk), "june", &["one"], false).expect("nobody else does");
}
