//! What is read is what was written: any entry, any number of them, from any epoch on.

use std::sync::Arc;

use proptest::prelude::*;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{Journal, JournalError};
use trueup_model::fact::{Entry, Fact};
use trueup_model::usage::UsageBatch;

use crate::samples::{any_entry, small};
use crate::{entries, journal_of, open};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_entries_come_back_as_they_were(
        mut written in prop::collection::vec(any_entry(), 1..5),
        segment_bytes in 1_u64..20_000,
    ) {
        written.sort_by_key(|entry| entry.clock);
        for (epoch, entry) in (1..).zip(&mut written) {
            entry.epoch = epoch;
        }
        let written: Vec<Arc<Entry>> = written.into_iter().map(Arc::new).collect();
        let disk = SimulatedDisk::new(1);
        let journal = journal_of(&disk, segment_bytes, &written);
        prop_assert_eq!(&entries(&journal).expect("nothing fails"), &written);
        drop(journal);
        let (journal, opened) = open(&disk.after_power_cut(), segment_bytes).expect("nothing fails");
        prop_assert_eq!(opened.last, written.len() as u64);
        prop_assert_eq!(&entries(&journal).expect("nothing fails"), &written);
    }
}

#[test]
fn entries_are_given_from_any_epoch_on() {
    let written: Vec<_> = (1..=40).map(|epoch| small(epoch, 3)).collect();
    let disk = SimulatedDisk::new(1);
    let journal = journal_of(&disk, 3_000, &written);
    assert!(journal.sealed().len() > 5);
    for from in 0..=42 {
        let read: Result<Vec<_>, _> = journal.entries(from).collect();
        let start = (from.saturating_sub(1) as usize).min(written.len());
        assert_eq!(read.expect("nothing fails"), written[start..], "from {from}");
    }
}

#[test]
fn a_reader_ends_where_the_journal_ended_when_it_was_asked_for() {
    let disk = SimulatedDisk::new(1);
    let mut journal = journal_of(&disk, 700, &[small(1, 1), small(2, 1)]);
    let reader = journal.reader(0);
    journal.append(small(3, 1)).expect("nothing fails");
    assert_eq!(reader.count(), 2);
    assert_eq!(entries(&journal).expect("nothing fails").len(), 3, "an entry is read before it is durable");
}

#[test]
fn what_does_not_follow_or_cannot_be_read_again_is_refused_and_changes_nothing() {
    let disk = SimulatedDisk::new(1);
    let mut journal = journal_of(&disk, 10_000, &[small(1, 1)]);
    let mut usage = UsageBatch::default();
    usage.ids.push("/gateway", "call-1");
    let unfit = Entry { facts: vec![Fact::Usage(Arc::new(usage))], ..(*small(2, 1)).clone() };
    let early = Entry { clock: 0, ..(*small(2, 1)).clone() };
    let refusals = [(*small(3, 1)).clone(), (*small(1, 1)).clone(), early, unfit].map(|entry| {
        let error = journal.append(Arc::new(entry)).expect_err("it is refused");
        assert!(!matches!(error, JournalError::Failed | JournalError::Disk { .. }), "{error}");
        error.to_string()
    });
    assert_eq!(refusals[0], "entry 3 cannot follow entry 1; number it 2");
    assert!(refusals[3].contains("1 sent ids for 0 rows"), "{}", refusals[3]);
    journal.append(small(2, 1)).expect("this one follows");
    assert_eq!(entries(&journal).expect("nothing fails"), [small(1, 1), small(2, 1)]);
}

#[test]
fn a_journal_that_is_opened_again_goes_on_where_it_ended() {
    let disk = SimulatedDisk::new(1);
    drop(journal_of(&disk, 10_000, &[small(1, 1), small(2, 1)]));
    // The second time, the last segment that is there may hold nothing.
    disk.tamper("00000000000000000003-000001.journal", Vec::clear);
    let (mut journal, opened) = open(&disk, 10_000).expect("nothing fails");
    assert_eq!((opened.generation, opened.last, opened.segments), (2, 2, 1));
    let early = Entry { clock: small(2, 1).clock - 1, ..(*small(3, 1)).clone() };
    assert!(matches!(journal.append(Arc::new(early)), Err(JournalError::ClockWentBack { epoch: 3 })));
    assert!(matches!(journal.append(small(2, 1)), Err(JournalError::Gap { last: 2, found: 2 })));
    journal.append(small(3, 1)).expect("it follows");
    journal.sync().expect("nothing fails");
    drop(journal);
    let (journal, _) = open(&disk, 10_000).expect("the empty segment is no part of the journal");
    assert_eq!(entries(&journal).expect("nothing fails"), [small(1, 1), small(2, 1), small(3, 1)]);
}
