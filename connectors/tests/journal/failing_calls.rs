//! Every call to the disk, failing once, with an error or for want of room or descriptors: what was
//! acknowledged stays, want is survived where it can be, and no sync is tried again.

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{Journal, JournalError};

use crate::samples::{larger, small};
use crate::{entries, journal_of, open};

const SEGMENT_BYTES: u64 = 2_500;
const ENTRIES: u64 = 12;

/// How a run with one failing call went.
struct Run {
    /// How many entries were acknowledged.
    acknowledged: u64,
    /// Whether an entry was refused for want of something, and taken when it was sent again.
    was_refused: bool,
    error: Option<JournalError>,
}

/// Opens, appends and syncs until the first error that is no refusal.
fn run(disk: &SimulatedDisk) -> Run {
    let mut run = Run { acknowledged: 0, was_refused: false, error: None };
    let mut journal = match open(disk, SEGMENT_BYTES) {
        Ok((journal, _)) => journal,
        Err(error) => return Run { error: Some(error), ..run },
    };
    for epoch in journal.last() + 1..=ENTRIES {
        let mut result = journal.append(small(epoch, 5));
        if matches!(result, Err(JournalError::Full { .. } | JournalError::NoDescriptor { .. })) {
            run.was_refused = true;
            result = journal.append(small(epoch, 5));
        }
        if let Err(error) = result.and_then(|()| if epoch % 2 == 0 { journal.sync() } else { Ok(()) }) {
            check_is_dead(journal, epoch);
            return Run { error: Some(error), ..run };
        }
        run.acknowledged = epoch - epoch % 2;
    }
    run
}

/// After a failure nothing works, and says what to do.
fn check_is_dead(mut journal: trueup_connectors::FileJournal, epoch: u64) {
    let answers = [
        journal.append(small(epoch, 5)).expect_err("it has failed"),
        journal.sync().expect_err("it has failed"),
        entries(&journal).expect_err("it has failed"),
    ];
    for answer in answers {
        let sentence = answer.to_string();
        assert!(sentence.contains("the process must end, and be restarted"), "{sentence}");
    }
}

/// A disk on which another process left so many entries.
fn disk_with(entries: u64, seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let before: Vec<_> = (1..=entries).map(|epoch| small(epoch, 5)).collect();
    drop(journal_of(&disk, SEGMENT_BYTES, &before));
    disk
}

/// How many calls an opening makes, and a run in all.
fn calls_of_a_run(before: u64) -> (u64, u64) {
    let disk = disk_with(before, 1);
    let began = disk.calls();
    drop(open(&disk, SEGMENT_BYTES).expect("nothing fails"));
    let opened = disk.calls() - began;
    let disk = disk_with(before, 1);
    let began = disk.calls();
    let run = run(&disk);
    assert!(run.error.is_none() && run.acknowledged == ENTRIES);
    (opened, disk.calls() - began)
}

/// What came of the runs in which one call failed.
#[derive(Debug, Default)]
struct Outcome {
    calls: u64,
    /// How many went on all the same, and how many after a refusal.
    went_on: u64,
    refused: u64,
    /// How many ended though the journal had been opened, and how many of those at a sync.
    ended_later: u64,
    ended_at_sync: u64,
}

/// Lets each call fail, on an empty disk and on one that has a journal.
fn fail_each_call(failure: Failure) -> Outcome {
    let mut outcome = Outcome::default();
    let calls = [0, 3].into_iter().flat_map(|before| {
        let (opened, calls) = calls_of_a_run(before);
        (0..calls).map(move |call| (before, call, call < opened))
    });
    for (before, call, is_opening) in calls {
        let disk = disk_with(before, call);
        disk.fail_after(call, failure);
        let first = run(&disk);
        outcome.refused += u64::from(first.was_refused);
        outcome.went_on += u64::from(first.error.is_none());
        outcome.ended_later += u64::from(first.error.is_some() && !is_opening);
        let at_sync = matches!(first.error, Some(JournalError::Disk { doing: "sync", .. }));
        outcome.ended_at_sync += u64::from(at_sync && !is_opening);
        for survivor in [disk.after_kill(), disk.after_power_cut()] {
            let (journal, _) = open(&survivor, SEGMENT_BYTES).unwrap_or_else(|error| panic!("call {call}: {error}"));
            assert!(journal.last() >= first.acknowledged, "call {call}");
            let expected: Vec<Arc<_>> = (1..=journal.last()).map(|epoch| small(epoch, 5)).collect();
            assert_eq!(entries(&journal).expect("it was restarted"), expected, "call {call}");
            drop(journal);
            let again = run(&survivor);
            assert!(again.error.is_none(), "call {call}: {:?}", again.error);
        }
        outcome.calls += 1;
    }
    println!("{failure:?}: {outcome:?}");
    outcome
}

#[test]
fn an_error_at_any_call_ends_the_process_and_costs_nothing_that_was_acknowledged() {
    let outcome = fail_each_call(Failure::Broken);
    assert!(outcome.calls > 120, "{outcome:?}");
    // One removes what is not there; no other call is without consequence.
    assert_eq!((outcome.went_on, outcome.refused), (0, 0));
}

#[test]
fn a_full_disk_at_any_call_refuses_the_entry_or_ends_the_process() {
    let outcome = fail_each_call(Failure::Full);
    assert!(outcome.refused >= ENTRIES, "{outcome:?}");
    assert!(outcome.went_on > outcome.refused, "reading needs no room: {outcome:?}");
    // What a sync that failed has lost, nobody knows.
    assert_eq!(outcome.ended_later, outcome.ended_at_sync, "{outcome:?}");
}

#[test]
fn a_segment_that_cannot_be_ended_for_want_of_room_goes_on() {
    let mut refused = 0;
    for (seed, calls) in (0..40).flat_map(|seed| (0..4).map(move |calls| (seed, calls))) {
        let disk = SimulatedDisk::new(seed);
        let (mut journal, _) = open(&disk, SEGMENT_BYTES).expect("nothing fails");
        journal.append(small(1, 1)).and_then(|()| journal.sync()).expect("nothing fails");
        disk.fail_after(calls, Failure::Full);
        // It would begin a segment; the one after it fits into the first.
        let Err(JournalError::Full { .. }) = journal.append(larger(2)) else { continue };
        refused += 1;
        journal.append(small(2, 1)).and_then(|()| journal.sync()).expect("there is room again");
        drop(journal);
        for survivor in [disk.after_kill(), disk.after_power_cut()] {
            let (journal, _) = open(&survivor, SEGMENT_BYTES).expect("nothing is damaged");
            assert_eq!(
                entries(&journal).expect("nothing fails"),
                [small(1, 1), small(2, 1)],
                "seed {seed}, call {calls}"
            );
        }
    }
    assert_eq!(refused, 2 * 40, "a segment is neither begun nor ended");
}

#[test]
fn a_process_without_descriptors_refuses_the_entry_and_goes_on() {
    let outcome = fail_each_call(Failure::NoDescriptor);
    assert!(outcome.refused >= 8, "a segment cannot be begun: {outcome:?}");
    assert!(outcome.went_on > outcome.refused + ENTRIES, "the fence is passed without one: {outcome:?}");
    assert_eq!(outcome.ended_later, 0, "{outcome:?}");
}

#[test]
fn entries_that_cannot_be_read_for_want_of_a_descriptor_can_be_read_later() {
    let disk = disk_with(3, 1);
    let (mut journal, _) = open(&disk, SEGMENT_BYTES).expect("nothing fails");
    disk.fail_after(0, Failure::NoDescriptor);
    let error = entries(&journal).expect_err("a file is to be opened");
    assert!(!error.is_final(), "{error}");
    assert_eq!(entries(&journal).expect("now it can be").len(), 3);
    disk.fail_after(1, Failure::NoDescriptor);
    let error = journal.mark().expect_err("a file is to be made");
    assert!(!error.is_final(), "{error}");
    journal.mark().expect("now it can be");
}

#[test]
fn a_disk_on_which_a_journal_cannot_be_opened_says_what_to_do() {
    let remedies = [
        (Failure::Full, "as the disk is full: make room and start again"),
        (Failure::Broken, "as the disk failed: see whether it is sound and start again"),
        (Failure::NoDescriptor, "raise the limit (`ulimit -n`), and try again"),
    ];
    for (failure, remedy) in remedies {
        let mut told = 0;
        for call in 0.. {
            let disk = disk_with(3, call);
            let begun = disk.calls();
            disk.fail_after(call, failure);
            let opened = open(&disk, SEGMENT_BYTES);
            if let Err(error) = &opened {
                let sentence = error.to_string();
                assert!(sentence.contains(remedy) || sentence.contains("when it was to read"), "{call}: {sentence}");
                told += usize::from(sentence.contains(remedy));
            } else if disk.calls() - begun <= call {
                break;
            }
            drop(opened);
            let (journal, _) = open(&disk, SEGMENT_BYTES).expect("now it can be");
            assert_eq!(entries(&journal).expect("nothing fails").len(), 3, "call {call}");
        }
        assert!(told > 3, "{failure:?}: {told}");
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimulatedDisk::new(3);
    let (mut journal, _) = open(&disk, 1 << 20).expect("nothing fails");
    journal.append(small(1, 1)).expect("nothing fails");
    disk.fail_after(0, Failure::Broken);
    assert!(matches!(journal.sync(), Err(JournalError::Disk { doing: "sync", .. })));
    let calls = disk.calls();
    assert!(matches!(journal.sync(), Err(JournalError::Failed)));
    assert_eq!(disk.calls(), calls, "the disk was asked again");
}
