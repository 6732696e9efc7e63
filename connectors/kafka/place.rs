//! How far a partition has been read, as the journal keeps it: `512 of UBnDKxJMSm6zSEFYwB1AMA`, the
//! next offset and the id of the topic that it counts in. A topic that is deleted and created again
//! has another id, and its offsets mean other messages.

use std::fmt;

/// How far a partition has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The offset that comes next. Those before it were read, or hold no message for us.
    pub next: i64,
    /// The id of the topic; none where brokers have none to give, as before Kafka 2.8.
    pub topic_id: Option<String>,
}

impl Place {
    /// Reads it as it is written; none if it is something else.
    pub fn parse(text: &str) -> Option<Place> {
        let (next, topic_id) = match text.split_once(" of ") {
            Some((next, topic_id)) => (next, Some(topic_id.to_owned())),
            None => (text, None),
        };
        let next = next.parse().ok().filter(|next| *next >= 0)?;
        Some(Place { next, topic_id: topic_id.filter(|id| !id.is_empty()) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.topic_id {
            Some(topic_id) => write!(f, "{} of {topic_id}", self.next),
            None => write!(f, "{}", self.next),
        }
    }
}

/// How the ledger and the quarantine name a partition, within its source.
pub(super) fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

/// Under which name the journal keeps how far a partition has been read.
pub(super) fn journal_name(source: &str, topic: &str, partition: i32) -> String {
    format!("{source}/{}", partition_name(topic, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for topic_id in [None, Some("UBnDKxJMSm6zSEFYwB1AMA".to_owned())] {
            for next in [0, 1, i64::MAX] {
                let place = Place { next, topic_id: topic_id.clone() };
                assert_eq!(Place::parse(&place.to_string()), Some(place));
            }
        }
        for text in ["", "-1", "x", "1 of", " of a", "9223372036854775808"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
