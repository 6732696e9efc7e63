//! A journal of 64 KiB, cut at every byte: the whole entries before it come back, none else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use trueup_connectors::journal::Journal;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;

use crate::samples::small;
use crate::{open, segments};

const BYTES: usize = 64 << 10;

#[test]
fn whatever_byte_the_tail_is_torn_at_all_whole_entries_are_there() {
    // All of it is one sync, so nothing says that any of it was durable.
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk, 1 << 20).expect("nothing fails");
    let (mut ends, mut written) = (vec![0], Vec::new());
    while ends[ends.len() - 1] < BYTES {
        let entry = small(written.len() as u64 + 1, 7);
        journal.append(entry.clone()).expect("nothing fails");
        written.push(entry);
        ends.push(disk.contents(&segments(&disk)[0]).map_or(0, |bytes| bytes.len()));
    }
    journal.sync().expect("nothing fails");
    let name = &segments(&disk)[0];
    let whole = disk.contents(name).expect("it is there");
    let generation = disk.contents("generation").expect("it is there");

    let next = AtomicUsize::new(0);
    let check = |length: usize| {
        let torn = SimulatedDisk::new(length as u64);
        torn.tamper("generation", |bytes| bytes.clone_from(&generation));
        torn.tamper(name, |bytes| bytes.extend_from_slice(&whole[..length]));
        let (journal, opened) = open(&torn, 1 << 20).expect("a torn tail is no damage");
        let count = ends.partition_point(|end| *end <= length) - 1;
        assert_eq!(journal.last(), count as u64, "torn at byte {length}");
        assert_eq!(opened.cut.is_some(), ends[count] != length, "torn at byte {length}");
        assert_eq!(torn.contents(name).map(|bytes| bytes.len()), Some(ends[count]));
        // Reading all of them at every byte would take minutes and show no more.
        let from = if length.is_multiple_of(1_021) { 0 } else { count as u64 };
        let read: Result<Vec<_>, _> = journal.entries(from).collect();
        let start = (from as usize).saturating_sub(1);
        assert_eq!(read.expect("what is left is whole"), written[start..count], "torn at byte {length}");
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(length) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n <= whole.len()) {
                    check(length);
                }
            });
        }
    });
    println!("torn at each of {} bytes", whole.len());
    assert!(whole.len() >= BYTES);
}
