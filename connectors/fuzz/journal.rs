//! A journal whose files were changed.
//!
//! An input is a byte that says how, and edits of six bytes and some: a file, what is done to it, a
//! place and a length or values. Law: what the journal then gives back is the beginning of what was
//! written, or an error; and where it gives back all it opened with, it can be written on.
//!
//! With the lowest bit set, the changed files are sealed again, as nobody does who damages them by
//! accident: then anything may be read, but nothing panics and memory stays within bounds.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, JournalError, Settings, verify_segment};
use trueup_fuzz::choice;
use trueup_fuzz::samples::{ENTRIES, SETTINGS, entry, journal};
use trueup_model::fact::Entry;

static DISKS: LazyLock<[SimulatedDisk; 2]> = LazyLock::new(|| [journal(false), journal(true)]);
static WRITTEN: LazyLock<Vec<Arc<Entry>>> = LazyLock::new(|| (1..=ENTRIES + 1).map(entry).collect());

const HEADER: usize = 192;
const SEALED: usize = 160;

/// The next byte, or zero.
fn byte(rest: &mut &[u8]) -> usize {
    rest.split_off_first().map_or(0, |byte| usize::from(*byte))
}

/// Makes the next edit.
fn edit(disk: &SimulatedDisk, names: &[String], rest: &mut &[u8]) {
    let name = &names[byte(rest) % names.len()];
    let (what, place, length) = (byte(rest), byte(rest) | byte(rest) << 8, byte(rest));
    let value = byte(rest) as u8;
    let other = &names[length % names.len()];
    match what % 9 {
        0 => disk.tamper(name, |bytes| bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= value)),
        1 => disk.tamper(name, |bytes| bytes.truncate(place)),
        2 => disk.tamper(name, |bytes| {
            let place = place.min(bytes.len());
            bytes.splice(place..place, std::iter::repeat_n(value, length * 8));
        }),
        3 => disk.tamper(name, |bytes| {
            let place = place.min(bytes.len());
            bytes.drain(place..bytes.len().min(place + length * 8));
        }),
        4 => {
            let contents = disk.contents(other).unwrap_or_default();
            disk.tamper(name, |bytes| *bytes = contents);
        }
        5 => disk.lose(name),
        6 => {
            let generation = if value == u8::MAX { u64::MAX } else { u64::from(value) };
            disk.tamper(&format!("{place:020}-{generation:06}.journal"), |bytes| bytes.resize(length, value));
        }
        // Bytes of the input in the place of others, at a field of the header if it is one.
        7 => {
            let new: Vec<u8> = (0..length % 17).map(|_| byte(rest) as u8).collect();
            disk.tamper(name, |bytes| {
                bytes.iter_mut().skip(place).zip(new).for_each(|(byte, new)| *byte = new);
            });
        }
        _ => disk.tamper(name, |bytes| {
            let digit = bytes.iter_mut().filter(|byte| byte.is_ascii_digit()).nth(place);
            digit.into_iter().for_each(|digit| *digit = b'0' + value % 10);
        }),
    }
}

/// Seals a segment again, entry by entry; returns the seal of the last.
fn seal(name: &str, bytes: &mut [u8], before: [u8; 32]) -> [u8; 32] {
    let (mut offset, mut last) = (0, before);
    let id = name.trim_end_matches(".journal").split('-').map(|number| number.parse::<u64>().unwrap_or(0));
    let id: Vec<u64> = id.collect();
    while let Some(rest) = bytes.get_mut(offset..).filter(|rest| rest.len() >= HEADER) {
        let (header, behind) = rest.split_at_mut(HEADER);
        if !header.starts_with(b"trueup") {
            break;
        }
        let length = u64::from_le_bytes(header[32..40].try_into().expect("eight bytes"));
        let body = usize::try_from(length).ok().and_then(|length| behind.get(..length));
        header[96..128].copy_from_slice(&last);
        header[128..160].copy_from_slice(&Sha256::digest(body.unwrap_or_default()));
        let mut sum = Sha256::new();
        id.iter().chain([&(offset as u64)]).for_each(|number| sum.update(number.to_le_bytes()));
        sum.update(&header[..SEALED]);
        last = sum.finalize().into();
        header[SEALED..].copy_from_slice(&last);
        let Some(body) = body else { break };
        offset += HEADER + body.len();
    }
    last
}

fn seal_all(disk: &SimulatedDisk) {
    let mut before = [0; 32];
    for name in segments(disk) {
        disk.tamper(&name, |bytes| before = seal(&name, bytes, before));
    }
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.ends_with(".journal"));
    names.sort();
    names
}

fn entries(journal: &FileJournal) -> Result<Vec<Arc<Entry>>, JournalError> {
    journal.entries(0).collect()
}

/// What is read is the beginning of what was written.
fn check(disk: &SimulatedDisk, opened: Result<FileJournal, JournalError>) {
    let Ok(mut journal) = opened else { return };
    let given: Vec<_> = journal.entries(0).map_while(Result::ok).collect();
    assert!(WRITTEN[..ENTRIES as usize].starts_with(&given), "an entry was given out that was not written");
    let Ok(given) = entries(&journal) else { return };
    assert_eq!(given.len() as u64, journal.last());
    // It can be written on, and what is written then is there as well.
    let next = entry(journal.last() + 1);
    journal.append(next.clone()).and_then(|()| journal.sync()).expect("it follows, and nothing fails");
    drop(journal);
    let (journal, opened) = FileJournal::open_on(Arc::new(disk.clone()), SETTINGS).expect("it was mended");
    let again = entries(&journal).expect("it was mended");
    assert!(opened.cut.is_none() && again[..given.len()] == given && again[given.len()..] == [next]);
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut rest)) = choice(input) else { return };
    let disk = DISKS[usize::from(choice >> 1 & 1)].after_kill();
    let mut names = segments(&disk);
    names.push("generation".to_owned());
    for _ in 0..12 {
        if rest.is_empty() {
            break;
        }
        edit(&disk, &names, &mut rest);
    }
    let is_sealed_again = choice & 1 == 1;
    if is_sealed_again {
        seal_all(&disk);
    }
    if choice & 4 != 0 {
        // What goes to a copy of the journal is looked at by itself.
        for name in segments(&disk) {
            let contents = disk.contents(&name).expect("it is there");
            let _ = verify_segment(&name, &contents);
        }
    }
    let settings = Settings { accept_rollback: is_sealed_again, ..SETTINGS };
    let opened = FileJournal::open_on(Arc::new(disk.clone()), settings).map(|(journal, _)| journal);
    match is_sealed_again {
        true => drop(opened.map(|journal| entries(&journal).map_or(0, |entries| entries.len()))),
        false => check(&disk, opened),
    }
});
