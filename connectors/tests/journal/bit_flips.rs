//! Every bit of a small journal, flipped: it is found, with file and offset, or it is in what
//! nothing says was ever durable and is cut off. No wrong entry is ever given out.

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, JournalError, Opened};
use trueup_model::fact::Entry;

use crate::samples::small;
use crate::{entries, journal_of, open, segments};

const SEGMENT_BYTES: u64 = 2_600;

/// What became of a journal with a flipped bit.
#[derive(Default, Debug)]
struct Outcomes {
    stopped: u64,
    found_in_reading: u64,
    cut: u64,
    harmless: u64,
}

impl Outcomes {
    fn print(&self) {
        let bits = self.stopped + self.found_in_reading + self.cut + self.harmless;
        println!("{bits} bits flipped: {self:?}");
    }
}

fn flip_every_bit(disk: &SimulatedDisk, written: &[Arc<Entry>], segment_bytes: u64) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let names = segments(disk).into_iter().chain(["generation".to_owned()]);
    for name in names {
        for bit in 0..disk.contents(&name).expect("it is there").len() * 8 {
            let flipped = disk.after_kill();
            flipped.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            judge(disk, open(&flipped, segment_bytes), written, (&name, bit / 8), &mut outcomes);
        }
    }
    outcomes
}

fn judge(
    disk: &SimulatedDisk,
    opened: Result<(FileJournal, Opened), JournalError>,
    written: &[Arc<Entry>],
    (name, byte): (&str, usize),
    outcomes: &mut Outcomes,
) {
    let place = || format!("{name}, byte {byte}");
    match opened {
        Err(error) => {
            check_named(&error, disk, name, byte);
            outcomes.stopped += 1;
        }
        Ok((journal, opened)) => match entries(&journal) {
            Err(error) => {
                check_named(&error, disk, name, byte);
                outcomes.found_in_reading += 1;
            }
            Ok(read) => {
                assert_eq!(read, written[..read.len()], "{}", place());
                assert_eq!(opened.cut.is_none(), read.len() == written.len(), "{}", place());
                // Each was durable before the next was written, and the next one says so.
                assert!(read.len() + 1 >= written.len(), "{}: more than the last entry was cut off", place());
                outcomes.cut += u64::from(opened.cut.is_some());
                outcomes.harmless += u64::from(opened.cut.is_none());
            }
        },
    }
}

/// An error names the file and the beginning of the entry in which the bit lies.
fn check_named(error: &JournalError, disk: &SimulatedDisk, name: &str, byte: usize) {
    let JournalError::Damaged { file, offset, .. } = error else { panic!("{name}, byte {byte}: {error}") };
    let contents = disk.contents(name).expect("it is there");
    let offset = *offset as usize;
    // A header says at its byte 32 how long its body is.
    let body = contents[offset..][32..40].try_into().map(u64::from_le_bytes).expect("eight bytes");
    let span = if name == "generation" { contents.len() } else { 192 + body as usize };
    assert!(file == name && (offset..offset + span).contains(&byte), "{name}, byte {byte}: {error}");
}

#[test]
fn flips_in_acknowledged_entries_are_found_and_none_gives_a_wrong_entry() {
    let written: Vec<_> = (1..=6).map(|epoch| small(epoch, 2)).collect();
    let disk = SimulatedDisk::new(1);
    let journal = journal_of(&disk, SEGMENT_BYTES, &written);
    let sealed = journal.sealed();
    let is_varied = sealed.len() > 1 && sealed[sealed.len() - 1].last + 2 <= journal.last();
    assert!(is_varied, "there are some sealed segments, and several entries behind them");
    drop(journal);
    let outcomes = flip_every_bit(&disk, &written, SEGMENT_BYTES);
    outcomes.print();
    // The last entry alone can be taken for torn; only end marks are behind the last entry.
    let last = disk.contents(segments(&disk).last().expect("there are some")).expect("it is there").len();
    assert!(outcomes.cut <= last as u64 * 8 && outcomes.harmless <= 192 * 8 * (segments(&disk).len() as u64 - 1));
    assert!(outcomes.stopped > 0 && outcomes.found_in_reading > 0 && outcomes.cut > 0, "{outcomes:?}");
}

#[test]
fn once_a_journal_was_opened_with_its_entries_no_flip_is_taken_for_a_torn_tail() {
    let written: Vec<_> = (1..=4).map(|epoch| small(epoch, 4)).collect();
    let disk = SimulatedDisk::new(1);
    drop(journal_of(&disk, 1 << 20, &written));
    drop(open(&disk, 1 << 20).expect("nothing fails"));
    let outcomes = flip_every_bit(&disk, &written, 1 << 20);
    outcomes.print();
    assert_eq!((outcomes.cut, outcomes.harmless, outcomes.found_in_reading), (0, 0, 0), "{outcomes:?}");
}
