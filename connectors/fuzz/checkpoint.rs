//! The files of a checkpoint, with sums that are right: whatever wrote them, reading them never panics, and
//! never allocates by a length that the file does not have.
//!
//! An input is a byte for the kind of file, and the file: a manifest without its sum, an outline, or
//! pages without their sums, the last one first. Sums that are wrong are tried by unit tests: a file with one
//! wrong is refused.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use trueup_connectors::checkpoint::row_run::{RowRun, merge};
use trueup_connectors::checkpoint::{Manifest, outline, records};
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_fuzz::choice;
use trueup_fuzz::samples::identity;
use trueup_model::identity::Identity;

const NAME: &str = "file";
const CONTENTS: usize = 4_092;
const FOOTER: usize = 48;
const HEAD: usize = 36;

fn disk_with(name: &str, contents: Vec<u8>) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    disk.tamper(name, |bytes| *bytes = contents);
    disk
}

fn manifest(text: &[u8]) {
    let sum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = [sum.as_bytes(), b"\n", text, b"\n"].concat();
    let epoch = serde_json::from_slice::<Manifest>(text).map_or(7, |manifest| manifest.epoch);
    let name = format!("{}{epoch:020}", Manifest::PREFIX);
    let disk = disk_with(&name, file);
    disk.tamper(NAME, |bytes| bytes.resize(64, 0));
    for manifest in Manifest::all(&disk).expect("the disk is good").into_iter().flatten() {
        // What it says of the outline is more than there is, or the outline is none.
        assert!(manifest.outline_bytes == 0 || outline::read(&disk, NAME, manifest.outline_bytes).is_err());
        manifest.write(&disk).expect("the disk is good");
        assert_eq!(Manifest::all(&disk).expect("the disk is good"), [Ok(manifest)]);
    }
}

fn outline(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let mut offset = 0;
    while let Some(rest) = file.get_mut(offset..).filter(|rest| rest.len() >= HEAD) {
        let (head, behind) = rest.split_at_mut(HEAD);
        let length = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let Some(body) = usize::try_from(length).ok().and_then(|length| behind.get(..length)) else { break };
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head[..HEAD - 4]);
        sum.update(body);
        head[HEAD - 4..].copy_from_slice(&sum.finalize().to_le_bytes());
        offset += HEAD + body.len();
    }
    let length = file.len() as u64;
    let disk = disk_with(NAME, file);
    let Ok(entries) = outline::read(&disk, NAME, length) else { return };
    // What was read can be written, and is then the same.
    let mut copy = outline::OutlineFile::open(&disk, "copy", 0).expect("the disk is good");
    let entries: Vec<_> = entries.iter().map(|entry| (**entry).clone()).collect();
    if let Ok(length) = copy.append(&entries) {
        let again = outline::read(&disk, "copy", length).expect("it was just written");
        assert!(again.iter().map(|entry| &**entry).eq(&entries));
    }
}

/// A file of pages: the first bytes are those of the last page.
fn pages(bytes: &[u8]) -> SimulatedDisk {
    let (footer, contents) = bytes.split_at(bytes.len().min(FOOTER));
    let mut file = Vec::new();
    let seed = crc32fast::hash(NAME.as_bytes());
    for (number, page) in contents.chunks(CONTENTS).chain([footer]).enumerate() {
        let start = file.len();
        file.extend_from_slice(page);
        file.resize(start + CONTENTS, 0);
        let mut sum = crc32fast::Hasher::new_with_initial(seed ^ number as u32);
        sum.update(&file[start..]);
        file.extend_from_slice(&sum.finalize().to_le_bytes());
    }
    disk_with(NAME, file)
}

fn records(bytes: &[u8]) {
    type Record = (u32, String, i128, Option<i64>, Vec<(bool, Box<str>)>);
    let disk = pages(bytes);
    let Ok(found) = records::read::<Record>(&disk, NAME) else { return };
    let found: Vec<_> = found.map_while(Result::ok).collect();
    assert!(found.len() <= bytes.len() + CONTENTS, "a record has some bytes");
}

fn run(bytes: &[u8]) {
    let disk = pages(bytes);
    let Ok(run) = RowRun::open(&disk, NAME) else { return };
    for sought in [identity(3), identity(16), Identity([0, 0]), Identity([u64::MAX, u64::MAX])] {
        if run.may_hold(&sought) {
            let _ = run.find(&sought);
        }
    }
    let scanned = run.scan().take_while(Result::is_ok).count();
    assert!(scanned as u64 <= run.rows());
    let is_whole = scanned as u64 == run.rows();
    let run = Arc::new(run);
    let merged = merge(&disk, "merged", run.rows().min(1_000), &[run.clone(), run], |_| true);
    assert!(merged.is_err() || is_whole, "a row that cannot be read is in no run");
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = choice(input) else { return };
    match choice % 4 {
        0 => manifest(bytes),
        1 => outline(bytes),
        2 => records(bytes),
        _ => run(bytes),
    }
});
