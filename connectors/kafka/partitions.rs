//! Which partitions are read, and how far: what the journal says, what the brokers have, and whether
//! the two fit together.
//!
//! Law: the next offset of a partition never goes back, and never forward past a message that was
//! not read. A partition is read only once it was found that what comes next is still there, in the
//! topic that was read before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::Start;
use super::describe::{Topic, Topics};
use super::halt::Halt;
use super::place::{Place, journal_name, partition_name};
use crate::intake::{Intake, Position};

/// How long brokers may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often a partition may seem to end before what was read of it: a broker that has just begun to
/// lead may not know its end yet.
const DOUBTS_MAX: u32 = 5;

/// The partitions of a source.
pub(super) struct Partitions {
    source: String,
    topics: Vec<String>,
    start: Start,
    standing: BTreeMap<String, BTreeMap<i32, Standing>>,
    /// Topics that were looked for in vain: what comes in them later is read from its beginning.
    were_missing: BTreeSet<String>,
}

/// How a partition stands.
#[derive(Clone, Debug)]
struct Standing {
    place: Place,
    /// What the journal says.
    journaled: Option<Place>,
    /// What comes next was found to be there.
    is_sure: bool,
    /// The topic is there.
    is_there: bool,
    doubts: u32,
}

impl Standing {
    fn new(place: Place, journaled: Option<Place>) -> Standing {
        // What the brokers have just told of where to begin need not be asked again.
        let is_sure = journaled.is_none();
        Standing { place, journaled, is_sure, is_there: true, doubts: 0 }
    }
}

/// Why the partitions are not as they should be.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may pass.
    Wait(String),
    /// It will not.
    Halt(Halt),
}

/// How far a partition was read: the next offset, or how it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    topic: String,
    partition: i32,
    place: Place,
}

impl Partitions {
    /// None yet: a survey finds them.
    pub fn new(source: &str, topics: &[String], start: Start) -> Partitions {
        Partitions {
            source: source.to_owned(),
            topics: topics.to_vec(),
            start,
            standing: BTreeMap::new(),
            were_missing: BTreeSet::new(),
        }
    }

    /// The topics that are wanted.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Takes up what the brokers tell of the topics, and asks them whether what comes next is there.
    /// Says what is lacking: all else can be read.
    pub fn survey<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        intake: &dyn Intake,
        described: &Topics,
    ) -> Result<Option<String>, Halt> {
        let mut lacking = Vec::new();
        for topic in self.topics.clone() {
            let outcome = match described.get(&topic) {
                Some(Ok(found)) => self.survey_topic(consumer, intake, &topic, found),
                Some(Err(code)) if !is_missing(*code) => Err(Trouble::Wait(format!("topic '{topic}': {code}"))),
                Some(Err(_)) | None => Err(self.miss(&topic)),
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Wait(why)) => lacking.push(why),
                Err(Trouble::Halt(halt)) => return Err(halt),
            }
        }
        Ok((!lacking.is_empty()).then(|| lacking.join("; ")))
    }

    /// A topic is not there: none of its partitions is read until it is known which topic comes.
    fn miss(&mut self, topic: &str) -> Trouble {
        self.were_missing.insert(topic.to_owned());
        let standing = self.standing.get_mut(topic).into_iter().flat_map(BTreeMap::values_mut);
        standing.for_each(|standing| (standing.is_there, standing.is_sure) = (false, false));
        Trouble::Wait(format!("topic '{topic}' is not there: create it, or take it out of the configuration"))
    }

    fn survey_topic<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        intake: &dyn Intake,
        topic: &str,
        found: &Topic,
    ) -> Result<(), Trouble> {
        let mut standing = self.standing.get(topic).cloned().unwrap_or_default();
        let known: BTreeSet<i32> = standing.keys().copied().collect();
        let new: Vec<i32> = found.partitions.iter().copied().filter(|partition| !known.contains(partition)).collect();
        for &partition in &new {
            if let Some(place) = self.journaled(intake, topic, partition).map_err(Trouble::Halt)? {
                standing.insert(partition, Standing::new(place.clone(), Some(place)));
            }
        }
        self.check_identity(consumer, topic, found, &standing).map_err(Trouble::Halt)?;
        // Only a topic of which nothing was ever read begins elsewhere than at its beginning.
        let is_known = !standing.is_empty() || self.were_missing.contains(topic);
        for partition in new.into_iter().filter(|partition| !standing.contains_key(partition)).collect::<Vec<_>>() {
            let (low, high) = watermarks(consumer, topic, partition)?;
            let next = if self.start == Start::End && !is_known { high } else { low };
            let place = Place { next, topic_id: found.id.clone() };
            standing.insert(partition, Standing::new(place, None));
        }
        // All partitions of a topic are taken up at once: one that is left out at its first survey
        // would seem to have come later.
        let standing = {
            self.standing.insert(topic.to_owned(), standing);
            self.standing.get_mut(topic).into_iter().flatten()
        };
        let mut doubt = None;
        for (&partition, standing) in standing {
            standing.is_there = true;
            if standing.place.topic_id.is_none() {
                standing.place.topic_id.clone_from(&found.id);
            }
            if !standing.is_sure
                && let Err(trouble) = check_offsets(consumer, topic, partition, standing)
            {
                match trouble {
                    Trouble::Halt(_) => return Err(trouble),
                    Trouble::Wait(why) => doubt = Some(why),
                }
            }
        }
        doubt.map_or(Ok(()), |why| Err(Trouble::Wait(why)))
    }

    /// What the journal says of a partition.
    fn journaled(&self, intake: &dyn Intake, topic: &str, partition: i32) -> Result<Option<Place>, Halt> {
        let Some(text) = intake.read_to(&journal_name(&self.source, topic, partition)) else { return Ok(None) };
        match Place::parse(&text) {
            Some(place) => Ok(Some(place)),
            None => Err(Halt::Unknown { topic: topic.to_owned(), partition, text }),
        }
    }

    /// Whether the topic is the one that was read.
    fn check_identity<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        found: &Topic,
        standing: &BTreeMap<i32, Standing>,
    ) -> Result<(), Halt> {
        let Some(found_id) = &found.id else { return Ok(()) };
        let is_other = |standing: &Standing| standing.place.topic_id.as_ref().is_some_and(|known| known != found_id);
        let others = standing.iter().filter(|(_, standing)| is_other(standing));
        let Some((&partition, furthest)) = others.max_by_key(|(_, standing)| standing.place.next) else {
            return Ok(());
        };
        let there = match watermarks(consumer, topic, partition) {
            Ok((low, high)) => format!("offsets {low} to {high}"),
            Err(_) => "no such offsets that could be asked for".to_owned(),
        };
        Err(Halt::Recreated {
            topic: topic.to_owned(),
            partition,
            next: furthest.place.next,
            known: furthest.place.topic_id.clone().unwrap_or_default(),
            found: found_id.clone(),
            there,
        })
    }

    /// Nothing is sure any more: the next survey asks for each partition whether what comes next is
    /// there.
    pub fn doubt(&mut self) {
        self.each_mut().for_each(|standing| standing.is_sure = false);
    }

    /// What can be read, from where on.
    pub fn assignment(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, partition, standing) in self.each().filter(|(_, _, standing)| standing.is_sure && standing.is_there)
        {
            // An offset that is not negative can always be told.
            let _ = list.add_partition_offset(topic, partition, Offset::Offset(standing.place.next));
        }
        list
    }

    /// The partitions that can be read.
    pub fn readable(&self) -> BTreeSet<(String, i32)> {
        let readable = self.each().filter(|(_, _, standing)| standing.is_sure && standing.is_there);
        readable.map(|(topic, partition, _)| (topic.to_owned(), partition)).collect()
    }

    /// A message comes; whether it is the next one, and not one that was read.
    pub fn take(&mut self, topic: &str, partition: i32, offset: i64) -> bool {
        let standing = self.standing.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        match standing {
            Some(standing) if offset >= standing.place.next => {
                standing.place.next = offset + 1;
                true
            }
            _ => false,
        }
    }

    /// Passes over what holds no message for us, such as the marks of transactions.
    pub fn pass<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) {
        // Where it is only asked how far we are, no answer is no harm.
        let Ok(positions) = consumer.position() else { return };
        for element in positions.elements() {
            let standing = self.standing.get_mut(element.topic()).and_then(|map| map.get_mut(&element.partition()));
            if let (Some(standing), Offset::Offset(offset)) = (standing, element.offset()) {
                standing.place.next = standing.place.next.max(offset);
            }
        }
    }

    /// How far each partition was read, where the journal does not say so yet.
    pub fn unsaid(&self) -> Vec<Reached> {
        let unsaid = self.each().filter(|(_, _, standing)| standing.journaled.as_ref() != Some(&standing.place));
        let reached = |topic: &str, partition, place: &Place| Reached {
            topic: topic.to_owned(),
            partition,
            place: place.clone(),
        };
        unsaid.map(|(topic, partition, standing)| reached(topic, partition, &standing.place)).collect()
    }

    /// The same as of this next offset of one partition.
    pub fn reached(&self, topic: &str, partition: i32, next: i64) -> Option<Reached> {
        let standing = self.standing.get(topic)?.get(&partition)?;
        let place = Place { next, topic_id: standing.place.topic_id.clone() };
        Some(Reached { topic: topic.to_owned(), partition, place })
    }

    /// The journal says so now.
    pub fn said(&mut self, reached: Vec<Reached>) {
        for Reached { topic, partition, place } in reached {
            if let Some(standing) = self.standing.get_mut(&topic).and_then(|map| map.get_mut(&partition)) {
                standing.journaled = Some(place);
            }
        }
    }

    /// The next offset of each partition, by the journal.
    pub fn journaled_places(&self) -> impl Iterator<Item = (String, i64)> {
        let place = |(topic, partition, standing): (&str, i32, &Standing)| {
            Some((partition_name(topic, partition), standing.journaled.as_ref()?.next))
        };
        self.each().filter_map(place)
    }

    /// As the journal is told.
    pub fn position(&self, reached: &Reached) -> Position {
        let source = journal_name(&self.source, &reached.topic, reached.partition);
        Position { source, at: reached.place.to_string() }
    }

    /// The next offset of each partition, in words.
    pub fn shown(&self) -> String {
        let shown = self.each().map(|(topic, partition, standing)| {
            format!("topic '{topic}', partition {partition}, offset {}", standing.place.next)
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    fn each(&self) -> impl Iterator<Item = (&str, i32, &Standing)> {
        self.standing
            .iter()
            .flat_map(|(topic, map)| map.iter().map(|(&partition, standing)| (topic.as_str(), partition, standing)))
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Standing> {
        self.standing.values_mut().flat_map(BTreeMap::values_mut)
    }
}

/// Whether what comes next of a partition is there.
fn check_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    standing: &mut Standing,
) -> Result<(), Trouble> {
    let (low, high) = watermarks(consumer, topic, partition)?;
    let next = standing.place.next;
    if low > next {
        return Err(Trouble::Halt(Halt::Expired { topic: topic.to_owned(), partition, next, low }));
    }
    if high < next {
        standing.doubts += 1;
        let halt = Halt::Shortened { topic: topic.to_owned(), partition, next, high };
        return Err(match standing.doubts {
            0..DOUBTS_MAX => Trouble::Wait(format!("brokers are asked again whether {halt}")),
            _ => Trouble::Halt(halt),
        });
    }
    (standing.is_sure, standing.doubts) = (true, 0);
    Ok(())
}

/// The first offset of a partition, and the one behind the last that can be read.
fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), Trouble> {
    consumer
        .fetch_watermarks(topic, partition, PATIENCE)
        .map_err(|error| Trouble::Wait(format!("topic '{topic}', partition {partition}: {error}")))
}

fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
}
