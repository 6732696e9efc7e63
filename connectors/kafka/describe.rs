//! Asks the brokers what topics there are: their ids and partitions.
//!
//! The id of a topic is the only thing that tells it from one that was deleted and created again
//! under its name, and rdkafka has no safe way to it. So this file, and no other of the package,
//! calls librdkafka itself: each thing that is asked for is given back by a guard, and nothing that
//! librdkafka owns leaves the file.
#![expect(unsafe_code, reason = "rdkafka has no safe call that tells the id of a topic")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataBroker;

/// What the brokers say of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// Its id; none where brokers have none to give.
    pub id: Option<String>,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// Each topic, or why the brokers do not tell of it.
pub(super) type Topics = BTreeMap<String, Result<Topic, RDKafkaErrorCode>>;

/// The id of a topic that has none.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Describes topics; an error says why no broker does, in librdkafka's words.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    patience: Duration,
) -> Result<Topics, String> {
    // Whoever answers this is there. librdkafka would rather ask the controller, which may not be.
    let metadata = client.fetch_metadata(names.first().map(String::as_str), patience).map_err(|e| e.to_string())?;
    let answered = metadata.orig_broker_id();
    let others = metadata.brokers().iter().map(MetadataBroker::id).filter(|broker| *broker != answered);
    let mut outcome = Err("the brokers name none of themselves".to_owned());
    for broker in [answered].into_iter().filter(|broker| *broker >= 0).chain(others) {
        outcome = describe_by(client, broker, names, patience);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Has a broker describe topics.
fn describe_by<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    names: &[String],
    patience: Duration,
) -> Result<Topics, String> {
    let texts: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
    let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    let missing = || "librdkafka has no memory left".to_owned();
    let handle = client.native_ptr();
    // SAFETY: `client` keeps the handle alive for the whole call, and so do `texts` the names. What is
    // made here is given back by its guard, in the reverse order. The result, and what hangs on it,
    // belongs to the event and is read before that is given back.
    unsafe {
        let queue = Guard::new(native::rd_kafka_queue_new(handle), native::rd_kafka_queue_destroy);
        let queue = queue.ok_or_else(missing)?;
        let topics = native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let topics = Guard::new(topics, native::rd_kafka_TopicCollection_destroy).ok_or_else(missing)?;
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(handle, operation);
        let options = Guard::new(options, native::rd_kafka_AdminOptions_destroy).ok_or_else(missing)?;
        // Refused only where they are out of range, and then the defaults hold.
        native::rd_kafka_AdminOptions_set_request_timeout(options.get(), patience_ms, null_mut(), 0);
        native::rd_kafka_AdminOptions_set_broker(options.get(), broker, null_mut(), 0);
        native::rd_kafka_DescribeTopics(handle, topics.get(), options.get(), queue.get());
        // It answers by its own time; ours only guards against waiting for ever.
        let event = native::rd_kafka_queue_poll(queue.get(), patience_ms.saturating_add(1_000));
        let event = Guard::new(event, native::rd_kafka_event_destroy);
        let event = event.ok_or_else(|| "no broker answered in time".to_owned())?;
        if native::rd_kafka_event_error(event.get()) != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(native::rd_kafka_event_error_string(event.get())).unwrap_or_default());
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err("the answer is none to what was asked".to_owned());
        }
        let mut count = 0;
        let described = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        Ok((0..count).filter_map(|place| read(*described.add(place))).collect())
    }
}

/// Reads what is said of one topic.
///
/// # Safety
/// `topic` belongs to a result that is still there.
unsafe fn read(topic: *const native::rd_kafka_TopicDescription_t) -> Option<(String, Result<Topic, RDKafkaErrorCode>)> {
    // SAFETY: as the caller promises; pointers into the topic are read at once.
    unsafe {
        let name = text(native::rd_kafka_TopicDescription_name(topic))?;
        let code = native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic));
        if code != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Some((name, Err(code.into())));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() { None } else { text(native::rd_kafka_Uuid_base64str(id)) };
        let mut count = 0;
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let number = |place| native::rd_kafka_TopicPartitionInfo_partition(*partitions.add(place));
        let partitions = (0..count).map(number).collect();
        Some((name, Ok(Topic { id: id.filter(|id| id != NO_ID), partitions })))
    }
}

/// Copies a text of librdkafka's.
///
/// # Safety
/// `pointer` is null or points to a text that ends with a zero.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// Holds a thing of librdkafka's, and gives it back.
struct Guard<T> {
    thing: NonNull<T>,
    give_back: unsafe extern "C" fn(*mut T),
}

impl<T> Guard<T> {
    /// Takes what was just made by librdkafka, if it was, to be given back by its own function.
    fn new(thing: *mut T, give_back: unsafe extern "C" fn(*mut T)) -> Option<Guard<T>> {
        NonNull::new(thing).map(|thing| Guard { thing, give_back })
    }

    fn get(&self) -> *mut T {
        self.thing.as_ptr()
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: the thing was made for this guard, which alone gives it back, once.
        unsafe { (self.give_back)(self.thing.as_ptr()) }
    }
}
