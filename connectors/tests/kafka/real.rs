//! The source against one real broker: what a mock has not, such as transactions, retention, and topics
//! that are deleted.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use trueup_connectors::kafka::{Halt, Options, Start, State};

use crate::brokers::{Brokers, is_there, shared};
use crate::fake::{Faults, Journal, Process, options, wait_until};
use crate::sending::{Admin, Sender, columns, id, ids};

#[test]
fn several_partitions_count_once_over_kills_and_restarts() {
    if !is_there("several_partitions_count_once_over_kills_and_restarts") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    admin.create("calls", 6, 1);
    admin.create("jobs", 3, 1);
    let (sender, journal) = (Sender::with(&brokers, &[("compression.type", "zstd")]), Journal::default());
    let read = || options(&brokers, &["calls", "jobs"]);
    let mut sent = 0;
    for trial in 0..20 {
        sender.send("calls", 6, sent..sent + 500);
        sender.send("jobs", 3, sent..sent + 500);
        sent += 500;
        let faults = Faults {
            left: AtomicI64::new(trial % 4),
            last_is_in: AtomicBool::new(trial % 2 == 0),
            stale: AtomicU64::new(u64::from(trial % 5 == 0)),
            ..Faults::default()
        };
        let process = Process::with(&journal, read(), faults);
        while !process.faults.is_shut.load(Ordering::Relaxed) {
            sender.send("calls", 6, sent..sent + 1);
            sender.send("jobs", 3, sent..sent + 1);
            sent += 1;
        }
        process.dies();
    }
    let process = Process::start(&journal, read());
    journal.wait_for(9 * sent as usize);
    process.stop();
    journal.holds_once([ids("calls", 6, 0..sent), ids("jobs", 3, 0..sent)].concat());
}

#[test]
fn columns_count_once_over_kills_and_restarts() {
    if !is_there("columns_count_once_over_kills_and_restarts") {
        return;
    }
    let brokers = shared().bootstrap();
    Admin::new(&brokers).create("columns", 3, 1);
    let (sender, journal) = (Sender::with(&brokers, &[("compression.type", "zstd")]), Journal::default());
    let mut sent = 0;
    for trial in 0..6 {
        // Between them are events in JSON.
        sender.send_columns("columns", 3, sent..sent + 1_000, 130);
        sender.send("columns", 3, sent + 1_000..sent + 1_010);
        sent += 1_010;
        let faults = Faults {
            left: AtomicI64::new(trial % 3),
            last_is_in: AtomicBool::new(trial % 2 == 0),
            stale: AtomicU64::new(u64::from(trial % 4 == 0)),
            ..Faults::default()
        };
        let process = Process::with(&journal, options(&brokers, &["columns"]), faults);
        while !process.faults.is_shut.load(Ordering::Relaxed) {
            sender.send_columns("columns", 3, sent..sent + 2, 2);
            sent += 2;
        }
        process.dies();
    }
    // Of a message that breaks off nothing is taken, and what comes behind it is read.
    let broken = columns(&[id("columns", 0, sent), id("columns", 0, sent + 1)]);
    let kind = [("content-type", "application/vnd.apache.arrow.stream")];
    sender.send_with("columns", &broken[..broken.len() - 16], &kind);
    let process = Process::start(&journal, options(&brokers, &["columns"]));
    journal.wait_for(3 * sent as usize);
    wait_until("it is set aside", || journal.kept().refused.len() == 1);
    sender.send_columns("columns", 3, sent..sent + 10, 10);
    journal.wait_for(3 * (sent as usize + 10));
    process.stop();
    journal.holds_once(ids("columns", 3, 0..sent + 10));
    let refused = &journal.kept().refused[0];
    assert!(refused.detail.contains("it breaks off") && refused.partition == "columns/0", "{refused:?}");
}

#[test]
fn what_a_producer_sends_twice_is_handed_in_twice_and_counts_by_its_id() {
    if !is_there("what_a_producer_sends_twice_is_handed_in_twice_and_counts_by_its_id") {
        return;
    }
    let brokers = shared().bootstrap();
    Admin::new(&brokers).create("twice", 1, 1);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    (0..2).for_each(|_| sender.send("twice", 1, 0..10));
    let process = Process::start(&journal, options(&brokers, &["twice"]));
    journal.wait_for(20);
    process.stop();
    // Which is which is for the engine to say: the connector leaves nothing out.
    assert_eq!(journal.kept().ids[10..], ids("twice", 1, 0..10));
}

#[test]
fn what_was_aborted_is_not_seen_and_its_marks_are_passed() {
    if !is_there("what_was_aborted_is_not_seen_and_its_marks_are_passed") {
        return;
    }
    let brokers = shared().bootstrap();
    Admin::new(&brokers).create("transacted", 2, 1);
    let (sender, journal) = (Sender::transactional(&brokers, "sender"), Journal::default());
    let mut expected = Vec::new();
    for round in 0..10 {
        let numbers = 20 * round..20 * (round + 1);
        let is_good = round % 3 != 1;
        sender.in_transaction(is_good, |sender| sender.send("transacted", 2, numbers.clone()));
        if is_good {
            expected.extend(ids("transacted", 2, numbers));
        }
    }
    // The last is aborted: what is behind the last event holds nothing for us.
    sender.in_transaction(false, |sender| sender.send("transacted", 2, 900..920));
    let process = Process::start(&journal, options(&brokers, &["transacted"]));
    journal.wait_for(expected.len());
    let read_to = || journal.kept().read_to.values().cloned().collect::<Vec<_>>();
    // 220 events and eleven marks.
    wait_until("the marks are passed", || read_to().iter().all(|place| place.starts_with("231 of ")));
    process.stop();
    journal.holds_once(expected);
    assert_eq!(read_to().len(), 2);
    let process = Process::start(&journal, options(&brokers, &["transacted"]));
    wait_until("it reads on", || process.state() == State::Reading);
    process.stop();
}

#[test]
fn a_topic_that_is_deleted_and_created_again_halts() {
    if !is_there("a_topic_that_is_deleted_and_created_again_halts") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    for (topic, is_running) in [("recreated", false), ("recreated-live", true)] {
        let named = |name: &str| Options { name: name.to_owned(), ..options(&brokers, &[topic]) };
        let events = journal.events();
        admin.create(topic, 2, 1);
        sender.send(topic, 2, 0..10);
        let process = Process::start(&journal, named(topic));
        journal.wait_for(events + 20);
        let process = if is_running {
            admin.delete(topic);
            wait_until("it misses the topic", || process.state().to_string().contains("is not there"));
            process
        } else {
            process.stop();
            admin.delete(topic);
            Process::start(&journal, named(topic))
        };
        wait_until("the topic is gone", || process.state().to_string().contains("is not there"));
        admin.create(topic, 2, 1);
        // More than was in the old one: offsets alone would show nothing.
        Sender::new(&brokers).send(topic, 2, 100..150);
        let said = process.halted();
        let State::Halted(Halt::Recreated { topic: named_topic, next, known, found, .. }) = process.state() else {
            panic!("{said}")
        };
        assert_eq!((named_topic.as_str(), next), (topic, 10));
        assert_ne!(known, found);
        assert_eq!(journal.events(), events + 20, "nothing of the new topic is taken");
        process.stop();
        let process = Process::start(&journal, named(topic));
        process.halted();
        process.stop();
        // The remedy: under another name the new topic is read from its beginning.
        let process = Process::start(&journal, named(&format!("{topic}-2")));
        journal.wait_for(events + 120);
        process.stop();
    }
}

#[test]
fn a_topic_that_is_created_again_at_once_halts_too() {
    if !is_there("a_topic_that_is_created_again_at_once_halts_too") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    let journal = Journal::default();
    admin.create("again", 1, 1);
    Sender::new(&brokers).send("again", 1, 0..10);
    let process = Process::start(&journal, options(&brokers, &["again"]));
    journal.wait_for(10);
    admin.delete("again");
    while admin.try_create("again", 1, 1).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It has offsets beyond those that were read before anybody looks.
    Sender::new(&brokers).send("again", 1, 100..150);
    let said = process.halted();
    assert!(matches!(process.state(), State::Halted(Halt::Recreated { .. })), "{said}");
    process.stop();
    // Nothing is lost for good, whatever was taken before it was seen.
    let again = Journal::default();
    let named = Options { name: "again".to_owned(), ..options(&brokers, &["again"]) };
    let process = Process::start(&again, named);
    again.wait_for(50);
    process.stop();
    again.holds_once(ids("again", 1, 100..150));
}

#[test]
fn messages_that_expired_before_they_were_read_halt() {
    if !is_there("messages_that_expired_before_they_were_read_halt") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    admin.create("expired", 2, 1);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send("expired", 2, 0..10);
    let process = Process::start(&journal, options(&brokers, &["expired"]));
    journal.wait_for(20);
    // What was read may go.
    admin.delete_records("expired", 0, 10);
    sender.send("expired", 2, 10..20);
    journal.wait_for(40);
    process.stop();
    sender.send("expired", 2, 20..30);
    admin.delete_records("expired", 1, 25);
    let process = Process::start(&journal, options(&brokers, &["expired"]));
    let said = process.halted();
    let expected = Halt::Expired { topic: "expired".to_owned(), partition: 1, next: 20, low: 25 };
    assert_eq!(process.state(), State::Halted(expected), "{said}");
    assert_eq!(journal.events(), 40, "nothing is taken of a source that halts");
}

#[test]
fn messages_that_expire_while_nobody_can_take_them_halt() {
    if !is_there("messages_that_expire_while_nobody_can_take_them_halt") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    admin.create("expiring", 1, 1);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    // So little is fetched ahead that much is left to expire.
    let mut options = options(&brokers, &["expiring"]);
    for (setting, value) in [("queued.min.messages", "10"), ("fetch.message.max.bytes", "2000")] {
        options.settings.insert(setting.to_owned(), value.to_owned());
    }
    let process = Process::start(&journal, options);
    wait_until("it has begun", || journal.kept().read_to.len() == 1);
    process.faults.is_shut.store(true, Ordering::Relaxed);
    sender.send("expiring", 1, 0..60_000);
    std::thread::sleep(Duration::from_millis(500));
    admin.delete_records("expiring", 0, 60_000);
    process.faults.is_shut.store(false, Ordering::Relaxed);
    let said = process.halted();
    let State::Halted(Halt::Expired { next, low, .. }) = process.state() else { panic!("{said}") };
    assert_eq!(low, 60_000);
    // What was fetched before is taken, and not one message behind it.
    wait_until("all that was fetched is in", || journal.events() as i64 == next);
    journal.holds_once(ids("expiring", 1, 0..next as u64));
}

/// Why a source with these settings waits, once the words are there that it is to say.
fn refused(brokers: &str, settings: &[(&str, &str)], words: &[&str]) {
    let settings = settings.iter().map(|(setting, value)| ((*setting).to_owned(), (*value).to_owned())).collect();
    let process = Process::start(&Journal::default(), Options { settings, ..options(brokers, &["secured"]) });
    let is_said = || words.iter().all(|words| process.state().to_string().contains(words));
    wait_until(&format!("it says {words:?}, and {}", process.state()), is_said);
    assert!(!process.state().to_string().contains("wrong"), "passwords are for nobody to see");
    process.stop();
}

#[test]
fn brokers_that_ask_for_encryption_and_a_password_are_read() {
    if !is_there("brokers_that_ask_for_encryption_and_a_password_are_read") {
        return;
    }
    let open = shared().bootstrap();
    Admin::new(&open).create("secured", 1, 1);
    Sender::new(&open).send("secured", 1, 0..10);
    let (secure, certificate) = shared().secure();
    let tls = [("security.protocol", "sasl_ssl"), ("ssl.ca.location", certificate.to_str().unwrap())];
    let plain = [("security.protocol", "sasl_plaintext")];
    let named =
        |mechanism, password| [("sasl.mechanism", mechanism), ("sasl.username", "trueup"), ("sasl.password", password)];
    let ways = [
        (&secure, &tls[..], "PLAIN"),
        (&secure, &tls[..], "SCRAM-SHA-512"),
        (&shared().with_password(), &plain[..], "SCRAM-SHA-512"),
    ];
    for (brokers, protocol, mechanism) in ways {
        let wrong = [protocol, &named(mechanism, "wrong")].concat();
        refused(brokers, &wrong, &["uthentication failed", "`sasl.username`", "`sasl.password`"]);
        let settings = [protocol, &named(mechanism, "s3cret")].concat();
        let settings = settings.iter().map(|(setting, value)| ((*setting).to_owned(), (*value).to_owned())).collect();
        let journal = Journal::default();
        let process = Process::start(&journal, Options { settings, ..options(brokers, &["secured"]) });
        journal.wait_for(10);
        process.stop();
        journal.holds_once(ids("secured", 1, 0..10));
    }
}

#[test]
fn what_keeps_a_source_out_is_said_with_its_setting() {
    if !is_there("what_keeps_a_source_out_is_said_with_its_setting") {
        return;
    }
    let (secure, _) = shared().secure();
    let with_password = shared().with_password();
    let named = [("sasl.username", "trueup"), ("sasl.password", "wrong")];
    let with = |more: &[(&'static str, &'static str)]| [&named[..], more].concat();
    // A certificate that nobody of those known here has signed.
    let unknown = with(&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512")]);
    refused(&secure, &unknown, &["certificate verify failed", "`ssl.ca.location`"]);
    let other = with(&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")]);
    refused(&with_password, &other, &["SCRAM-SHA-512", "`sasl.mechanism`"]);
    // Brokers that wait for a password say nothing to whoever brings none.
    refused(&with_password, &[], &["`security.protocol`"]);
}

#[test]
fn partitions_that_come_later_are_read_from_their_beginning() {
    if !is_there("partitions_that_come_later_are_read_from_their_beginning") {
        return;
    }
    let brokers = shared().bootstrap();
    let admin = Admin::new(&brokers);
    admin.create("growing", 1, 1);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send("growing", 1, 0..10);
    let from_now = || Options { start: Start::End, ..options(&brokers, &["growing"]) };
    let process = Process::start(&journal, from_now());
    wait_until("it has begun", || journal.kept().read_to.len() == 1);
    admin.grow("growing", 3);
    sender.send("growing", 1, 10..11);
    let sender = Sender::new(&brokers);
    wait_until("the brokers have them", || sender.knows("growing", 3));
    sender.send("growing", 3, 11..20);
    wait_until("they are in", || journal.events() >= 28);
    process.stop();
    admin.grow("growing", 4);
    let sender = Sender::new(&brokers);
    wait_until("the brokers have it", || sender.knows("growing", 4));
    sender.send("growing", 4, 20..30);
    let process = Process::start(&journal, from_now());
    journal.wait_for(28 + 40);
    process.stop();
    let fourth: Vec<String> = (20..30).map(|number| id("growing", 3, number)).collect();
    let first = vec![id("growing", 0, 10)];
    journal.holds_once([first, ids("growing", 3, 11..30), fourth].concat());
}

#[test]
fn a_broker_that_goes_comes_back() {
    if !is_there("a_broker_that_goes_comes_back") {
        return;
    }
    let cluster = Brokers::start("alone", 1);
    let brokers = cluster.bootstrap();
    Admin::new(&brokers).create("calls", 2, 1);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    sender.send("calls", 2, 0..1_000);
    journal.wait_for(2_000);
    cluster.kill(0);
    wait_until("it says that nobody answers", || matches!(process.state(), State::Waiting(_)));
    // A source that starts meanwhile waits as well.
    process.stop();
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    wait_until("it says that nobody answers", || matches!(process.state(), State::Waiting(_)));
    cluster.restart(0);
    sender.send("calls", 2, 1_000..2_000);
    journal.wait_for(4_000);
    wait_until("it reads again", || process.state() == State::Reading);
    process.stop();
    journal.holds_once(ids("calls", 2, 0..2_000));
}
