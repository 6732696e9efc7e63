//! Power cuts at any call, with unsynced writes lost, torn and reordered: all that was synced is
//! there, and nothing that was not appended. `TRUEUP_TRIALS` sets how many; none: 2,000.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use trueup_connectors::journal::simulated_disk::{Failure, SimulatedDisk};
use trueup_connectors::journal::{Journal, JournalError};
use trueup_model::fact::Entry;

use crate::samples::small;
use crate::{entries, open};

/// Lives of a journal that each end in a power cut, a kill or a failed call.
struct Trial {
    seed: u64,
    disk: SimulatedDisk,
    /// What the journal must hold: certain up to `synced`, and possible behind it.
    appended: Vec<Arc<Entry>>,
    synced: usize,
}

/// What happened in a trial, to see that trials are worth their name.
#[derive(Default)]
struct Seen {
    cuts: AtomicU64,
    lost: AtomicU64,
    failed_syncs: AtomicU64,
    refused: AtomicU64,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        Trial { seed, disk: SimulatedDisk::new(seed), appended: Vec::new(), synced: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % bound
    }

    /// Lets a call fail before long: once, or with all that follow. On the way there may be a call for
    /// which there is no descriptor.
    fn prepare_failure(&mut self, calls: u64) {
        let calls = self.below(calls);
        match self.below(4) {
            0 => self.disk.fail_after(calls, Failure::Broken),
            1 => {
                let on_the_way = self.below(calls + 1);
                self.disk.fail_after(on_the_way, Failure::NoDescriptor);
                self.disk.power_off_after(calls);
            }
            _ => self.disk.power_off_after(calls),
        }
    }

    /// Opens the journal and works with it until something fails, in opening or later.
    fn live(&mut self, segment_bytes: u64, seen: &Seen) {
        let fails_early = self.below(4) == 0;
        if fails_early {
            self.prepare_failure(60);
        }
        let Ok((mut journal, opened)) = open(&self.disk, segment_bytes) else { return };
        seen.cuts.fetch_add(u64::from(opened.cut.is_some()), Ordering::Relaxed);
        self.check_opened(&entries(&journal), seen);
        if !fails_early {
            self.prepare_failure(60);
        }
        for _ in 0..40 {
            let entry = small(journal.last() + 1, self.seed);
            self.appended.truncate(journal.last() as usize);
            self.appended.push(entry.clone());
            let mut appended = journal.append(entry.clone());
            if matches!(appended, Err(JournalError::NoDescriptor { .. })) {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                appended = journal.append(entry);
            }
            if appended.is_err() {
                return;
            }
            if self.below(3) == 0 {
                if journal.sync().is_err() {
                    seen.failed_syncs.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                self.synced = self.appended.len();
            }
        }
    }

    /// What is given out is what was appended, with all that was synced; from now on it is synced.
    fn check_opened(&mut self, read: &Result<Vec<Arc<Entry>>, JournalError>, seen: &Seen) {
        // With the power off, or a call failing, nothing is said; else all must be there.
        let Ok(read) = read else { return };
        assert!(read.len() >= self.synced, "{} of {} synced entries are there", read.len(), self.synced);
        assert!(read.len() <= self.appended.len(), "there are entries that nobody appended");
        assert_eq!(*read, self.appended[..read.len()]);
        seen.lost.fetch_add((self.appended.len() - read.len()) as u64, Ordering::Relaxed);
        self.appended.truncate(read.len());
        self.synced = read.len();
    }

    fn run(mut self, seen: &Seen) {
        let segment_bytes = 1_000 + self.below(8_000);
        for _ in 0..1 + self.below(4) {
            self.live(segment_bytes, seen);
            self.disk = if self.below(3) == 0 { self.disk.after_kill() } else { self.disk.after_power_cut() };
        }
        let (journal, _) = open(&self.disk, segment_bytes).expect("what a power cut leaves is no damage");
        let read = entries(&journal);
        assert!(read.is_ok(), "{read:?}");
        self.check_opened(&read, seen);
        drop(journal);
        // What was given out once stays, whatever the disk had lost before.
        let (journal, _) = open(&self.disk.after_power_cut(), segment_bytes).expect("nothing fails");
        assert_eq!(entries(&journal).expect("nothing fails"), self.appended);
    }
}

#[test]
fn after_any_power_cut_all_that_was_synced_is_there_and_nothing_foreign() {
    let trials = std::env::var("TRUEUP_TRIALS").map_or(2_000, |text| text.parse().expect("TRUEUP_TRIALS is a number"));
    let (next, seen) = (AtomicU64::new(0), Seen::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < trials) {
                    let trial = std::panic::AssertUnwindSafe(|| Trial::new(seed).run(&seen));
                    if let Err(panic) = std::panic::catch_unwind(trial) {
                        eprintln!("the trial with seed {seed} failed");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
    let counts = [&seen.cuts, &seen.lost, &seen.failed_syncs, &seen.refused];
    let [cuts, lost, failed, refused] = counts.map(|count| count.load(Ordering::Relaxed));
    println!(
        "{trials} trials: {cuts} torn tails, {lost} unsynced entries lost, {failed} failed syncs, \
         {refused} entries refused for want of a descriptor"
    );
    assert!(cuts > trials / 20 && lost > trials / 20 && failed > trials / 20, "the trials are too kind");
    assert!(refused > trials / 200, "{refused} entries were refused");
}
