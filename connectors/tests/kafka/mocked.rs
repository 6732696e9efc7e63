//! What a source does with brokers that fail on demand, without any outside program.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::json;
use trueup_connectors::board::Board;
use trueup_connectors::kafka::{Halt, Options, Start, State, start};

use crate::fake::{Faults, Journal, Process, options, wait_until};
use crate::sending::{Sender, event, ids};

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A cluster with these topics.
fn mock(brokers: i32, topics: &[(&str, i32)]) -> (Mock, String) {
    let mock = MockCluster::new(brokers).expect("it needs nothing");
    for (topic, partitions) in topics {
        mock.create_topic(topic, *partitions, brokers.min(3)).expect("it is new");
    }
    let bootstrap = mock.bootstrap_servers();
    (mock, bootstrap)
}

#[test]
fn every_message_is_taken_once_over_restarts() {
    let (_mock, brokers) = mock(1, &[("calls", 3), ("jobs", 2)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    let read = || options(&brokers, &["calls", "jobs"]);
    let mut expected = Vec::new();
    for round in 0..4 {
        let numbers = 50 * round..50 * (round + 1);
        sender.send("calls", 3, numbers.clone());
        sender.send("jobs", 2, numbers.clone());
        expected.extend([ids("calls", 3, numbers.clone()), ids("jobs", 2, numbers)].concat());
        let process = Process::start(&journal, read());
        journal.wait_for(expected.len());
        process.stop();
    }
    journal.holds_once(expected);
    let read_to = journal.kept().read_to.clone();
    assert_eq!(
        read_to.keys().cloned().collect::<Vec<_>>(),
        [
            "kafka/kafka/calls/0",
            "kafka/kafka/calls/1",
            "kafka/kafka/calls/2",
            "kafka/kafka/jobs/0",
            "kafka/kafka/jobs/1"
        ]
    );
    assert!(read_to.values().all(|place| place.split(" of ").next() == Some("200")), "{read_to:?}");
}

#[test]
fn a_process_that_is_killed_leaves_nothing_out_and_nothing_twice() {
    let (_mock, brokers) = mock(1, &[("calls", 4)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    let mut sent = 0;
    for trial in 0..30 {
        sender.send("calls", 4, sent..sent + 20);
        sent += 20;
        let faults = Faults {
            left: AtomicI64::new(trial % 3),
            last_is_in: AtomicBool::new(trial % 2 == 0),
            stale: AtomicU64::new(u64::from(trial % 5 == 0)),
            ..Faults::default()
        };
        // There is always more to come, so it is always killed.
        let process = Process::with(&journal, options(&brokers, &["calls"]), faults);
        while !process.faults.is_shut.load(Ordering::Relaxed) {
            sender.send("calls", 4, sent..sent + 1);
            sent += 1;
        }
        process.dies();
    }
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    journal.wait_for(4 * sent as usize);
    process.stop();
    journal.holds_once(ids("calls", 4, 0..sent));
}

#[test]
fn what_is_not_taken_is_handed_in_again() {
    let (_mock, brokers) = mock(1, &[("calls", 2)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send("calls", 2, 0..500);
    let faults = Faults { stale: AtomicU64::new(3), left: AtomicI64::new(-1), ..Faults::default() };
    let process = Process::with(&journal, options(&brokers, &["calls"]), faults);
    journal.wait_for(1_000);
    process.faults.unable.store(2, Ordering::Relaxed);
    sender.send("calls", 2, 500..600);
    wait_until("it says why it waits", || process.state() == State::Waiting("the disk is full".to_owned()));
    journal.wait_for(1_200);
    wait_until("it reads again", || process.state() == State::Reading);
    process.stop();
    journal.holds_once(ids("calls", 2, 0..600));
}

#[test]
fn errors_of_brokers_pass() {
    let (mock, brokers) = mock(3, &[("calls", 3)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    let mut sent = 0;
    let mut send = |count: u64| {
        sender.send("calls", 3, sent..sent + count);
        sent += count;
        sent
    };
    send(20);
    use RDKafkaRespErr as Code;
    let trials = [
        (RDKafkaApiKey::Fetch, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (RDKafkaApiKey::Fetch, Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
        (RDKafkaApiKey::Fetch, Code::RD_KAFKA_RESP_ERR_UNKNOWN),
        (RDKafkaApiKey::Fetch, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
        (RDKafkaApiKey::Fetch, Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
        (RDKafkaApiKey::Metadata, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
        (RDKafkaApiKey::Metadata, Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
        (RDKafkaApiKey::ListOffsets, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (RDKafkaApiKey::ListOffsets, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
        (RDKafkaApiKey::FindCoordinator, Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED),
    ];
    for (request, code) in trials {
        mock.request_errors(request, &[code; 3]);
        let sent = send(20);
        journal.wait_for(3 * sent as usize);
        mock.clear_request_errors(request);
    }
    for broker in 1..=3 {
        mock.partition_leader("calls", 0, Some(broker)).expect("it may lead");
        let sent = send(20);
        journal.wait_for(3 * sent as usize);
    }
    let sent = send(0);
    process.stop();
    journal.holds_once(ids("calls", 3, 0..sent));
}

#[test]
fn brokers_that_go_come_back() {
    let (mock, brokers) = mock(1, &[("calls", 2)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send("calls", 2, 0..50);
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    journal.wait_for(100);
    mock.broker_down(1).expect("it is there");
    wait_until("it says that nobody answers", || matches!(process.state(), State::Waiting(_)));
    mock.broker_up(1).expect("it is there");
    sender.send("calls", 2, 50..100);
    journal.wait_for(200);
    wait_until("it reads again", || process.state() == State::Reading);
    process.stop();
    journal.holds_once(ids("calls", 2, 0..100));
}

#[test]
fn a_source_may_start_before_its_brokers_and_topics() {
    let (mock, brokers) = mock(1, &[]);
    let journal = Journal::default();
    mock.topic_error("calls", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("it can be set");
    mock.broker_down(1).expect("it is there");
    // Though it begins with what comes from now on: what comes in a topic that was not there, comes from now on.
    let process = Process::start(&journal, Options { start: Start::End, ..options(&brokers, &["calls"]) });
    wait_until("it says that nobody answers", || matches!(process.state(), State::Waiting(_)));
    mock.broker_up(1).expect("it is there");
    let is_missing = |state: State| state.to_string().contains("topic 'calls' is not there");
    wait_until("it says that the topic is not there", || is_missing(process.state()));
    mock.topic_error("calls", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).expect("it can be set");
    Sender::new(&brokers).send("calls", 1, 0..10);
    journal.wait_for(10);
    process.stop();
}

#[test]
fn the_board_says_how_far_a_source_is_and_how_much_is_left() {
    let (mock, brokers) = mock(1, &[("calls", 2)]);
    let (sender, journal, board) = (Sender::new(&brokers), Journal::default(), Board::default());
    let settings = [("statistics.interval.ms".to_owned(), "50".to_owned())].into();
    let options = Options { board: board.clone(), settings, ..options(&brokers, &["calls"]) };
    sender.send("calls", 2, 0..10);
    let process = Process::start(&journal, options);
    journal.wait_for(20);
    let source = || board.told()["sources"][0].clone();
    let partition = |number: usize| {
        let partition = source()["partitions"][number].clone();
        ["next", "end", "lag"].map(|key| partition[key].as_i64())
    };
    wait_until("nothing is left", || partition(1) == [Some(10), Some(10), Some(0)]);
    let told = source();
    assert_eq!(
        [&told["source"], &told["state"], &told["why"]],
        [&json!("kafka/kafka"), &json!("reading"), &json!(null)]
    );
    assert_eq!(told["partitions"][1]["partition"], "calls/1");
    // What comes while nobody takes it in is left.
    process.faults.is_shut.store(true, Ordering::Relaxed);
    sender.send("calls", 2, 10..25);
    wait_until("some is left", || partition(0) == [Some(10), Some(25), Some(15)]);
    process.faults.is_shut.store(false, Ordering::Relaxed);
    wait_until("nothing is left", || partition(0) == [Some(25), Some(25), Some(0)]);
    mock.broker_down(1).expect("it is there");
    wait_until("it waits", || source()["state"] == "waiting" && source()["why"].is_string());
    process.stop();
    assert_eq!((source()["state"].clone(), partition(0)), (json!("ended"), [Some(25), None, None]));
}

#[test]
fn the_board_says_what_has_halted_and_what_to_do() {
    let (_mock, brokers) = mock(1, &[("calls", 1)]);
    let (journal, board) = (Journal::default(), Board::told_by(|| 1_780_272_000_000_000));
    journal.kept().read_to.insert("kafka/kafka/calls/0".to_owned(), "17".to_owned());
    Sender::new(&brokers).send("calls", 1, 0..10);
    let process = Process::start(&journal, Options { board: board.clone(), ..options(&brokers, &["calls"]) });
    let said = process.halted();
    let told = board.told()["sources"][0].clone();
    assert_eq!([&told["state"], &told["reason"]], ["halted", "shortened"]);
    assert_eq!(told["since"], "2026-06-01T00:00:00Z");
    let [why, remedy] = ["why", "remedy"].map(|key| told[key].as_str().unwrap_or_default().to_owned());
    assert_eq!(said, format!("halted: {why}: {remedy}"));
    assert!(remedy.contains("give this source another `name`"), "{remedy}");
    assert_eq!(told["partitions"], json!([{"partition": "calls/0", "next": 17, "end": null, "lag": null}]));
}

#[test]
fn what_was_there_before_may_be_left_out_but_nothing_after() {
    let (_mock, brokers) = mock(1, &[("calls", 2)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send("calls", 2, 0..50);
    let from_now = || Options { start: Start::End, ..options(&brokers, &["calls"]) };
    let process = Process::start(&journal, from_now());
    wait_until("where it begins is in the journal", || journal.kept().read_to.len() == 2);
    process.stop();
    // Nobody reads while these come, and they are read nonetheless.
    sender.send("calls", 2, 50..60);
    let process = Process::start(&journal, from_now());
    journal.wait_for(20);
    process.stop();
    journal.holds_once(ids("calls", 2, 50..60));
}

#[test]
fn what_cannot_be_read_is_set_aside_with_its_place() {
    let (_mock, brokers) = mock(1, &[("calls", 1)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    sender.send_value("calls", event("calls/0/0").as_bytes());
    sender.send_value("calls", b"no json");
    sender.send_value("calls", format!("[{},{}]", event("calls/0/1"), "{}").as_bytes());
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "calls/0/2"),
        ("ce_source", "/a"),
        ("ce_type", "call"),
        ("ce_subject", "acme"),
        ("ce_time", "2026-06-01T00:00:00Z"),
        ("content-type", "application/json"),
    ];
    sender.send_with("calls", b"{\"tokens\": 1}", &headers);
    // Of this nothing is kept but that it came.
    sender.send_value("calls", format!("[{}1]", "1,".repeat(45_000)).as_bytes());
    sender.send_value("calls", event("calls/0/3").as_bytes());
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    journal.wait_for(4);
    process.stop();
    journal.holds_once(ids("calls", 1, 0..4));
    let kept = journal.kept();
    let positions: Vec<&str> = kept.refused.iter().map(|refused| refused.position.as_str()).collect();
    assert_eq!(
        positions,
        [
            "topic calls, partition 0, offset 1",
            "topic calls, partition 0, offset 2, event 2",
            "topic calls, partition 0, offset 4"
        ]
    );
    assert!(kept.refused.iter().all(|refused| refused.source == "kafka/kafka" && refused.partition == "calls/0"));
    assert!(kept.refused[2].detail.starts_with("more than 40000 events of this message"), "{:?}", kept.refused[2]);
}

#[test]
fn while_the_journal_is_busy_nothing_is_handed_in() {
    let (_mock, brokers) = mock(1, &[("calls", 2)]);
    let (sender, journal) = (Sender::new(&brokers), Journal::default());
    let faults = Faults { is_shut: AtomicBool::new(true), left: AtomicI64::new(-1), ..Faults::default() };
    let process = Process::with(&journal, options(&brokers, &["calls"]), faults);
    sender.send("calls", 2, 0..20_000);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(journal.kept().epochs, 0);
    process.faults.is_shut.store(false, Ordering::Relaxed);
    journal.wait_for(40_000);
    process.stop();
    // Much waits, so batches are large.
    assert!(journal.kept().epochs < 200, "{} epochs", journal.kept().epochs);
    journal.holds_once(ids("calls", 2, 0..20_000));
}

/// Starts where the journal says this of the only partition, and tells why it halts.
fn halted_at(place: impl FnOnce(&str) -> String) -> State {
    let (_mock, brokers) = mock(1, &[("calls", 1)]);
    let journal = Journal::default();
    Sender::new(&brokers).send("calls", 1, 0..10);
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    journal.wait_for(10);
    process.stop();
    let read_to = journal.kept().read_to["kafka/kafka/calls/0"].clone();
    journal.kept().read_to.insert("kafka/kafka/calls/0".to_owned(), place(&read_to));
    let process = Process::start(&journal, options(&brokers, &["calls"]));
    process.halted();
    assert_eq!(journal.events(), 10, "nothing is taken of a source that halts");
    process.state()
}

#[test]
fn a_partition_that_ends_before_what_was_read_halts() {
    let State::Halted(halt) = halted_at(|place| place.replacen("10", "17", 1)) else { panic!("it reads on") };
    let Halt::Shortened { topic, partition, next, high } = halt.clone() else { panic!("{halt}") };
    assert_eq!((topic.as_str(), partition, next, high), ("calls", 0, 17, 10));
    assert!(halt.to_string().contains("give this source another `name`"), "{halt}");
}

#[test]
fn a_topic_with_another_id_halts() {
    let halted = halted_at(|place| {
        assert!(place.contains(" of "), "the mock cluster tells no ids: {place}");
        "10 of UBnDKxJMSm6zSEFYwB1AMA".to_owned()
    });
    let State::Halted(Halt::Recreated { topic, next, known, there, .. }) = halted else { panic!("{halted}") };
    assert_eq!((topic.as_str(), next, known.as_str()), ("calls", 10, "UBnDKxJMSm6zSEFYwB1AMA"));
    assert_eq!(there, "offsets 0 to 10");
}

#[test]
fn a_place_that_nobody_understands_halts() {
    let halted = halted_at(|_| "behind the last one".to_owned());
    assert!(matches!(halted, State::Halted(Halt::Unknown { .. })), "{halted}");
}

#[test]
fn settings_for_encryption_and_passwords_are_taken() {
    let passed = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.endpoint.identification.algorithm", "https"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "trueup"),
        ("sasl.password", "s3cret"),
    ];
    let settings = passed.map(|(setting, value)| (setting.to_owned(), value.to_owned())).into();
    // Nobody listens there; a librdkafka without OpenSSL would not begin at all.
    let process = Process::start(&Journal::default(), Options { settings, ..options("127.0.0.1:1", &["calls"]) });
    wait_until("it says that nobody answers", || matches!(process.state(), State::Waiting(_)));
    process.stop();
}

#[test]
fn what_cannot_be_started_is_told_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = |change: fn(&mut Options)| {
        let mut options = options("127.0.0.1:1", &["calls"]);
        change(&mut options);
        let intake = crate::fake::nobody();
        runtime.block_on(async { start(intake, options) }).err().expect("it cannot be started").to_string()
    };
    assert!(refused(|options| options.topics.clear()).contains("has no topics"));
    assert!(refused(|options| options.brokers.clear()).contains("has no brokers"));
    assert!(refused(|options| options.topics.push("calls".to_owned())).contains("twice"));
    assert!(refused(|options| options.name = "a/b".to_owned()).contains("'a/b'"));
    let said = refused(|options| drop(options.settings.insert("auto.offset.reset".into(), "latest".into())));
    assert!(said.contains("`auto.offset.reset`"), "{said}");
    let said = refused(|options| drop(options.settings.insert("no.such.setting".into(), "1".into())));
    assert!(said.contains("no.such.setting"), "{said}");
    let said = refused(|options| drop(options.settings.insert("security.protocol".into(), "plain".into())));
    assert!(said.contains("security.protocol"), "{said}");
}
