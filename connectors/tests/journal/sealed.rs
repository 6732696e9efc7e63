//! Segments that never change again: listed, checked alone, and brought back.

use std::sync::Arc;

use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, Settings, verify_segment};

use crate::samples::small;
use crate::{entries, journal_of, open, segments};

#[test]
fn sealed_segments_are_checked_alone_linked_by_their_seals_and_brought_back() {
    let written: Vec<_> = (1..=30).map(|epoch| small(epoch, 6)).collect();
    let disk = SimulatedDisk::new(1);
    let journal = journal_of(&disk, 3_000, &written);
    let sealed = journal.sealed();
    assert_eq!(sealed.len() + 1, segments(&disk).len());
    assert!(sealed.windows(2).all(|two| two[0].seal == two[1].before && two[0].last + 1 == two[1].first));

    let copy = SimulatedDisk::new(2);
    for segment in &sealed {
        let contents = disk.contents(&segment.name).expect("it is there");
        let entries = &contents[..segment.bytes as usize];
        assert_eq!(verify_segment(&segment.name, entries).expect("it is whole"), *segment);
        assert_eq!(verify_segment(&segment.name, &contents).expect("with its end mark too"), *segment);
        assert!(verify_segment(&sealed[0].name, entries).is_err() || segment.first == 1);
        assert!(verify_segment("somewhere/else.journal", entries).is_err());
        for byte in (0..entries.len()).step_by(37) {
            let mut damaged = entries.to_vec();
            damaged[byte] ^= 4;
            let error = verify_segment(&segment.name, &damaged).expect_err("a byte is wrong").to_string();
            assert!(error.starts_with(&format!("{} is damaged at offset ", segment.name)), "{error}");
        }
        copy.tamper(&segment.name, |bytes| bytes.extend_from_slice(&contents));
    }

    let settings = Settings { segment_bytes: 3_000, accept_rollback: true };
    let (restored, _) = FileJournal::open_on(Arc::new(copy.clone()), settings).expect("all was brought back");
    let last = sealed[sealed.len() - 1].last;
    assert_eq!(restored.last(), last);
    assert_eq!(entries(&restored).expect("nothing fails"), written[..last as usize]);
    drop(restored);
    assert_eq!(open(&copy, 3_000).expect("from now on it is like any other").1.last, last);
}

#[test]
fn a_journal_without_segments_or_with_one_has_sealed_none() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(journal_of(&disk, 3_000, &[]).sealed(), []);
    assert_eq!(journal_of(&disk, 3_000, &[small(1, 1)]).sealed(), []);
}
