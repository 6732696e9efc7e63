//! Three real brokers with replicated topics, each of them killed and brought back under load.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::brokers::{Brokers, is_there};
use crate::fake::{Faults, Journal, Process, options, wait_until};
use crate::sending::{Admin, Sender, ids};

#[test]
fn a_cluster_that_loses_brokers_under_load_loses_nothing() {
    if !is_there("a_cluster_that_loses_brokers_under_load_loses_nothing") {
        return;
    }
    let cluster = Brokers::start("replicated", 3);
    let brokers = cluster.bootstrap();
    Admin::new(&brokers).create("calls", 6, 3);
    let journal = Journal::default();
    let (sent, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sender = Sender::with(&brokers, &[("acks", "all")]);
            while !is_over.load(Ordering::Relaxed) {
                let from = sent.load(Ordering::Relaxed);
                sender.send("calls", 6, from..from + 50);
                sent.store(from + 50, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut process = Process::start(&journal, options(&brokers, &["calls"]));
        for broker in 0..3 {
            let goes_on = || {
                let before = journal.events();
                wait_until("events come", || journal.events() > before + 3_000);
            };
            goes_on();
            cluster.kill(broker);
            goes_on();
            // The source is killed as well, while a broker is missing.
            process.faults.left.store(broker as i64, Ordering::Relaxed);
            process.faults.last_is_in.store(broker == 1, Ordering::Relaxed);
            process.dies();
            let faults = Faults { left: AtomicI64::new(-1), ..Faults::default() };
            process = Process::with(&journal, options(&brokers, &["calls"]), faults);
            goes_on();
            cluster.restart(broker);
            goes_on();
        }
        is_over.store(true, Ordering::Relaxed);
        sending.join().expect("all are sent");
        wait_until("all has come", || journal.events() as u64 >= 6 * sent.load(Ordering::Relaxed));
        process.stop();
    });
    journal.holds_once(ids("calls", 6, 0..sent.load(Ordering::Relaxed)));
}
