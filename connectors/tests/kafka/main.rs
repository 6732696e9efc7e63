//! The Kafka source against brokers: librdkafka's mock cluster, which fails on demand and is always
//! there, and Apache Kafka itself, which needs Java and Maven (`broker` beside this file).
//!
//! Every test ends in one question: is each message that was sent in the journal once, in the order of
//! its partition?
#![cfg(feature = "kafka")]

mod brokers;
mod fake;
mod mocked;
mod real;
mod replicated;
mod sending;
