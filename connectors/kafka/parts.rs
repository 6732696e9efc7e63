//! The batches that messages are read into, one for each partition, so that the ledger tells them
//! apart.
//!
//! Law: the events of a partition are in its batch alone, in their order. All batches are handed in at
//! once, as parts of one epoch: an epoch for each partition would cost a sync for each.

use std::collections::HashMap;

use rdkafka::message::Message;
use trueup_model::usage::{EventBatch, EventBatchBuilder};

use super::place::partition_name;
use crate::cloud_events::EventReader;

/// Batches that are being filled.
#[derive(Default)]
pub(super) struct Parts<'m> {
    builders: Vec<EventBatchBuilder>,
    places: HashMap<(&'m str, i32), usize>,
    /// The partition of the message before, and its place: messages of a partition come in runs.
    last: Option<((&'m str, i32), usize)>,
}

impl<'m> Parts<'m> {
    /// The batch that a message belongs to.
    pub fn of<M: Message>(&mut self, reader: &EventReader, message: &'m M) -> &mut EventBatchBuilder {
        let partition = (message.topic(), message.partition());
        let place = match self.last {
            Some((last, place)) if last == partition => place,
            _ => *self.places.entry(partition).or_insert_with(|| {
                self.builders.push(batch_of(reader, message));
                self.builders.len() - 1
            }),
        };
        self.last = Some((partition, place));
        &mut self.builders[place]
    }

    /// The batches, in the order in which their partitions came first.
    pub fn finish(self) -> Vec<EventBatch> {
        self.builders.into_iter().map(EventBatchBuilder::finish).collect()
    }
}

/// An empty batch for what comes by the partition of a message.
pub(super) fn batch_of<M: Message>(reader: &EventReader, message: &M) -> EventBatchBuilder {
    reader.batch().of_partition(&partition_name(message.topic(), message.partition()))
}
