//! Sends events to topics, each with an id that says where it went: `topic/partition/number`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);

pub fn event(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{{"tokens":1}}}}"#
    )
}

pub fn id(topic: &str, partition: i32, number: u64) -> String {
    format!("{topic}/{partition}/{number}")
}

/// The ids of what is sent by [`Sender::send`] with the same arguments.
pub fn ids(topic: &str, partitions: i32, numbers: Range<u64>) -> Vec<String> {
    numbers.flat_map(|number| (0..partitions).map(move |partition| id(topic, partition, number))).collect()
}

/// The events of these ids as a stream of Arrow, in two batches.
pub fn columns(ids: &[String]) -> Vec<u8> {
    let text = |text: &str, rows: usize| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
    let batch = |ids: &[String]| {
        let same = [("source", "/a"), ("type", "call"), ("subject", "acme"), ("time", "2026-06-01T00:00:00Z")];
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(StringArray::from_iter_values(ids)))];
        columns.extend(same.map(|(name, same)| (name, text(same, ids.len()))));
        columns.push(("tokens", Arc::new(Int64Array::from(vec![1; ids.len()]))));
        RecordBatch::try_from_iter(columns).expect("they are of one length")
    };
    let (one, other) = ids.split_at(ids.len() / 2);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch(one).schema()).expect("memory can be written");
    [one, other].iter().for_each(|ids| writer.write(&batch(ids)).expect("memory can be written"));
    writer.into_inner().expect("memory can be written")
}

pub struct Sender {
    producer: BaseProducer<Deliveries>,
}

/// How many messages the brokers did not take.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }
}

impl Sender {
    pub fn new(brokers: &str) -> Sender {
        Sender::with(brokers, &[])
    }

    pub fn with(brokers: &str, settings: &[(&str, &str)]) -> Sender {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "1");
        config.set("message.timeout.ms", "60000").set("reconnect.backoff.max.ms", "500");
        settings.iter().for_each(|(setting, value)| {
            config.set(*setting, *value);
        });
        Sender { producer: config.create_with_context(Deliveries::default()).expect("the settings are good") }
    }

    /// A sender of transactions.
    pub fn transactional(brokers: &str, name: &str) -> Sender {
        let sender = Sender::with(brokers, &[("transactional.id", name)]);
        sender.producer.init_transactions(PATIENCE).expect("the brokers take transactions");
        sender
    }

    /// Events with these numbers to each of so many partitions; returns when the brokers have them.
    pub fn send(&self, topic: &str, partitions: i32, numbers: Range<u64>) {
        for number in numbers {
            for partition in 0..partitions {
                self.queue(topic, partition, event(&id(topic, partition, number)).as_bytes());
            }
        }
        self.flush();
    }

    /// A message as it is.
    pub fn send_value(&self, topic: &str, value: &[u8]) {
        self.queue(topic, 0, value);
        self.flush();
    }

    /// Messages that are columns of Arrow, with these numbers to each of so many partitions, so many
    /// rows to a message.
    pub fn send_columns(&self, topic: &str, partitions: i32, numbers: Range<u64>, rows: u64) {
        for partition in 0..partitions {
            for first in numbers.clone().step_by(rows as usize) {
                let ids = (first..numbers.end.min(first + rows)).map(|number| id(topic, partition, number));
                let value = columns(&ids.collect::<Vec<_>>());
                let header = Header { key: "content-type", value: Some("application/vnd.apache.arrow.stream") };
                let headers = OwnedHeaders::new().insert(header);
                let record: BaseRecord<'_, [u8], [u8]> =
                    BaseRecord::to(topic).partition(partition).payload(&value[..]).headers(headers);
                self.producer.send(record).map_err(|(error, _)| error).expect("there is room");
            }
        }
        self.flush();
    }

    /// A message with headers.
    pub fn send_with(&self, topic: &str, value: &[u8], headers: &[(&str, &str)]) {
        let add =
            |headers: OwnedHeaders, (key, value): &(&str, &str)| headers.insert(Header { key, value: Some(*value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).payload(value).headers(headers);
        self.producer.send(record).map_err(|(error, _)| error).expect("there is room");
        self.flush();
    }

    fn queue(&self, topic: &str, partition: i32, value: &[u8]) {
        loop {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(value);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    fn flush(&self) {
        self.producer.flush(PATIENCE).expect("the brokers answer");
        assert_eq!(self.producer.context().failed.load(Ordering::Relaxed), 0, "the brokers take all");
    }

    /// Whether the brokers say that a topic has so many partitions, each with its leader.
    pub fn knows(&self, topic: &str, partitions: usize) -> bool {
        let metadata = self.producer.client().fetch_metadata(Some(topic), PATIENCE).expect("the brokers answer");
        let found = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
        found.len() == partitions && found.iter().all(|partition| partition.leader() >= 0)
    }

    /// Does something in a transaction, and ends it.
    pub fn in_transaction(&self, commit: bool, work: impl FnOnce(&Sender)) {
        self.producer.begin_transaction().expect("none is open");
        work(self);
        let ended =
            if commit { self.producer.commit_transaction(PATIENCE) } else { self.producer.abort_transaction(PATIENCE) };
        ended.expect("the brokers end it");
    }
}

/// Makes and changes topics.
pub struct Admin(AdminClient<DefaultClientContext>);

impl Admin {
    pub fn new(brokers: &str) -> Admin {
        Admin(ClientConfig::new().set("bootstrap.servers", brokers).create().expect("the settings are good"))
    }

    pub fn create(&self, topic: &str, partitions: i32, copies: i32) {
        self.try_create(topic, partitions, copies).expect("the brokers do it");
    }

    /// The same, where there may be one of its name.
    pub fn try_create(&self, topic: &str, partitions: i32, copies: i32) -> Result<(), RDKafkaErrorCode> {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        let outcomes = block_on(self.0.create_topics([&topic], &options())).expect("the brokers answer");
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop).map_err(|(_, code)| code))
    }

    pub fn delete(&self, topic: &str) {
        done(self.0.delete_topics(&[topic], &options()));
    }

    pub fn grow(&self, topic: &str, partitions: usize) {
        done(self.0.create_partitions([&NewPartitions::new(topic, partitions)], &options()));
    }

    /// Deletes the messages of a partition below an offset.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below)).expect("it is an offset");
        block_on(self.0.delete_records(&list, &options())).expect("they are deleted");
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30))).request_timeout(Some(Duration::from_secs(30)))
}

fn done(work: impl Future<Output = Result<Vec<Result<String, (String, RDKafkaErrorCode)>>, KafkaError>>) {
    let outcomes = block_on(work).expect("the brokers answer");
    outcomes.into_iter().for_each(|outcome| drop(outcome.expect("the brokers do it")));
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
