//! One process at a time: the lock keeps a second one out, and where locks do not hold, the
//! generation keeps the first one from acknowledging anything more.

use std::sync::{Arc, Mutex};

use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{Journal, JournalError};

use crate::samples::small;
use crate::{entries, open};

#[test]
fn a_second_process_is_refused_until_the_first_is_gone() {
    let disk = SimulatedDisk::new(1);
    let (first, opened) = open(&disk, 10_000).expect("it is the first");
    assert_eq!(opened.generation, 1);
    let error = open(&disk, 10_000).err().expect("the first is there");
    assert!(matches!(error, JournalError::Locked { .. }));
    drop(first);
    assert_eq!(open(&disk, 10_000).expect("the first is gone").1.generation, 2);
}

/// Two processes on one disk whose locks do not hold.
fn without_locks(test: impl Fn(&SimulatedDisk)) {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        disk.ignore_locks();
        test(&disk);
    }
}

#[test]
fn a_process_that_was_replaced_acknowledges_nothing_and_harms_nothing() {
    without_locks(|disk| {
        let (mut old, _) = open(disk, 10_000).expect("nothing fails");
        old.append(small(1, 1)).expect("nothing fails");
        old.sync().expect("nobody has replaced it");
        old.append(small(2, 1)).expect("nothing fails");
        let (mut new, opened) = open(disk, 10_000).expect("nothing fails");
        assert_eq!(opened.last, 2, "what was written is taken over, though it was not acknowledged");
        // Both go on from here; only one may say so.
        old.append(small(3, 1)).expect("it does not know yet");
        new.append(small(3, 2)).expect("nothing fails");
        old.append(small(4, 1)).expect("it does not know yet");
        let error = old.sync().expect_err("it was replaced");
        assert!(matches!(error, JournalError::Fenced { ours: 1, found: 2 }), "{error}");
        assert!(matches!(old.append(small(5, 1)), Err(JournalError::Failed)));
        new.sync().expect("nobody has replaced it");
        let expected = [small(1, 1), small(2, 1), small(3, 2)];
        assert_eq!(entries(&new).expect("nothing fails"), expected);
        drop((old, new));
        let (journal, _) = open(&disk.after_power_cut(), 10_000).expect("what the old one left is no damage");
        assert_eq!(entries(&journal).expect("nothing fails"), expected);
    });
}

#[test]
fn a_process_that_was_replaced_is_told_so_without_a_descriptor() {
    without_locks(|disk| {
        let (mut old, _) = open(disk, 10_000).expect("nothing fails");
        old.append(small(1, 1)).expect("nothing fails");
        disk.fail_after(1, Failure::NoDescriptor);
        old.sync().expect("nobody has replaced it");
        old.append(small(2, 1)).expect("nothing fails");
        let (_new, _) = open(disk, 10_000).expect("nothing fails");
        // The first call makes its entries durable, the second would open what fences it.
        disk.fail_after(1, Failure::NoDescriptor);
        assert!(matches!(old.sync(), Err(JournalError::Fenced { ours: 1, found: 2 })));
        assert!(matches!(old.append(small(3, 1)), Err(JournalError::Failed)));
    });
}

#[test]
fn a_segment_that_a_replaced_process_began_is_not_part_of_the_journal() {
    without_locks(|disk| {
        let (mut old, _) = open(disk, 1).expect("nothing fails");
        old.append(small(1, 1)).expect("nothing fails");
        old.sync().expect("nobody has replaced it");
        let (mut new, _) = open(disk, 1).expect("nothing fails");
        // Segments have one entry. The old one begins another, and finds out at the next.
        old.append(small(2, 1)).expect("it does not know yet");
        assert!(matches!(old.append(small(3, 1)), Err(JournalError::Fenced { ours: 1, found: 2 })));
        for epoch in 2..=4 {
            new.append(small(epoch, 2)).expect("nothing fails");
            new.sync().expect("nobody has replaced it");
        }
        drop((old, new));
        let (journal, _) = open(&disk.after_power_cut(), 1).expect("what the old one left is no damage");
        let expected = [small(1, 1), small(2, 2), small(3, 2), small(4, 2)];
        assert_eq!(entries(&journal).expect("nothing fails"), expected);
    });
}

#[test]
fn what_is_acknowledged_while_another_process_opens_is_in_what_it_opens() {
    for before in 0..3 {
        for call in 0.. {
            let disk = SimulatedDisk::new(call);
            disk.ignore_locks();
            // Each entry has a segment of its own, so the old process begins one while the new one opens.
            let (mut old, _) = open(&disk, 1).expect("nothing fails");
            for epoch in 1..=before {
                old.append(small(epoch, 1)).expect("nothing fails");
                old.sync().expect("nobody has replaced it");
            }
            let acknowledged = Arc::new(Mutex::new(None));
            let told = acknowledged.clone();
            disk.meanwhile(call, move || {
                let sent = old.append(small(before + 1, 1)).and_then(|()| old.sync());
                *told.lock().expect("nobody panics") = Some(sent.is_ok());
            });
            let (mut new, _) = open(&disk, 1).unwrap_or_else(|error| panic!("call {call}: {error}"));
            let Some(is_acknowledged) = *acknowledged.lock().expect("nobody panics") else { break };
            let next = new.last() + 1;
            new.append(small(next, 2)).expect("nothing fails");
            new.sync().expect("nobody has replaced it");
            drop(new);
            let (journal, _) = open(&disk.after_power_cut(), 1).expect("nothing is damaged");
            let held = entries(&journal).expect("nothing fails");
            assert!(!is_acknowledged || held.contains(&small(before + 1, 1)), "{before} before, call {call}");
        }
    }
}
