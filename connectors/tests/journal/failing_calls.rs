//! Every call to the disk, failing once, with an error or for want of room: what was
//! acknowledged stays, a full disk is survived where it can be, and no sync is tried again.

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{Journal, JournalError};

use crate::samples::small;
use crate::{entries, open};

const SEGMENT_BYTES: u64 = 2_500;
const ENTRIES: u64 = 12;

/// How a run with one failing call went.
struct Run {
    /// How many entries were acknowledged.
    acknowledged: u64,
    /// Whether an entry was refused for want of room, and taken when it was sent again.
    was_full: bool,
    error: Option<JournalError>,
}

/// Opens, appends and syncs until the first error that is no refusal.
fn run(disk: &SimulatedDisk) -> Run {
    let mut run = Run { acknowledged: 0, was_full: false, error: None };
    let mut journal = match open(disk, SEGMENT_BYTES) {
        Ok((journal, _)) => journal,
        Err(error) => return Run { error: Some(error), ..run },
    };
    for epoch in journal.last() + 1..=ENTRIES {
        let mut result = journal.append(small(epoch, 5));
        if matches!(result, Err(JournalError::Full { .. })) {
            run.was_full = true;
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

fn calls_of_a_run() -> u64 {
    let disk = SimulatedDisk::new(1);
    let run = run(&disk);
    assert!(run.error.is_none() && run.acknowledged == ENTRIES);
    disk.calls()
}

/// Lets each call fail; gives how often a run went on all the same, and how often it was refused.
fn fail_each_call(failure: Failure) -> (u64, u64, u64) {
    let (mut calls, mut went_on, mut refused) = (0, 0, 0);
    for call in 0..calls_of_a_run() {
        let disk = SimulatedDisk::new(call);
        disk.fail_after(call, failure);
        let first = run(&disk);
        refused += u64::from(first.was_full);
        went_on += u64::from(first.error.is_none());
        for survivor in [disk.after_kill(), disk.after_power_cut()] {
            let (journal, _) = open(&survivor, SEGMENT_BYTES).unwrap_or_else(|error| panic!("call {call}: {error}"));
            assert!(journal.last() >= first.acknowledged, "call {call}");
            let expected: Vec<Arc<_>> = (1..=journal.last()).map(|epoch| small(epoch, 5)).collect();
            assert_eq!(entries(&journal).expect("it was restarted"), expected, "call {call}");
            drop(journal);
            let again = run(&survivor);
            assert!(again.error.is_none(), "call {call}: {:?}", again.error);
        }
        calls += 1;
    }
    println!("{failure:?} at each of {calls} calls: {went_on} runs went on, {refused} after a refusal");
    (calls, went_on, refused)
}

#[test]
fn an_error_at_any_call_ends_the_process_and_costs_nothing_that_was_acknowledged() {
    let (calls, went_on, refused) = fail_each_call(Failure::Broken);
    assert!(calls > 60, "{calls} calls were tried");
    // One removes what is not there; no other call is without consequence.
    assert_eq!((went_on, refused), (0, 0));
}

#[test]
fn a_full_disk_at_any_call_refuses_the_entry_or_ends_the_process() {
    let (calls, went_on, refused) = fail_each_call(Failure::Full);
    assert!(refused >= ENTRIES, "{refused} of {calls} calls were refusals");
    assert!(went_on > refused, "reading needs no room");
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
