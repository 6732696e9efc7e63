//! Why a source goes on no more: what it was to read next is not there, or is something else.
//!
//! Going on would leave messages out without a word, so somebody must decide. Whatever is decided,
//! reading everything again is safe: what was counted counts once.

use std::fmt;

/// Why a source has halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// What comes next is gone: the topic was shorter-lived than we were behind.
    Expired {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset to be read next.
        next: i64,
        /// The first offset that is still there.
        low: i64,
    },
    /// What was read is no longer there, so other messages will stand in its place.
    Shortened {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset to be read next.
        next: i64,
        /// The offset at which the partition ends.
        high: i64,
    },
    /// The topic is not the one that was read.
    Recreated {
        /// The topic.
        topic: String,
        /// The partition of it that was read furthest.
        partition: i32,
        /// The offset to be read next of the topic that was read.
        next: i64,
        /// The id of the topic that was read.
        known: String,
        /// The id of the topic that is there.
        found: String,
        /// Which offsets it has, in words.
        there: String,
    },
    /// Part of a partition was taken back by the brokers, and others stand in its place.
    Truncated {
        /// Why, in librdkafka's words.
        reason: String,
        /// The next offset of each partition.
        places: String,
    },
    /// Brokers gave out bytes that are no messages.
    Damaged {
        /// Why, in librdkafka's words.
        reason: String,
        /// The next offset of each partition.
        places: String,
    },
    /// The journal says something about how far a partition was read that nobody can read.
    Unknown {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the journal says.
        text: String,
    },
    /// librdkafka cannot go on.
    Fatal {
        /// Why, in its words.
        reason: String,
    },
}

impl Halt {
    /// Its name, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Halt::Expired { .. } => "expired",
            Halt::Shortened { .. } => "shortened",
            Halt::Recreated { .. } => "recreated",
            Halt::Truncated { .. } => "truncated",
            Halt::Damaged { .. } => "damaged",
            Halt::Unknown { .. } => "unknown_position",
            Halt::Fatal { .. } => "fatal",
        }
    }

    /// What was found.
    pub fn found(&self) -> String {
        match self {
            Halt::Expired { topic, partition, next, low } => format!(
                "topic '{topic}', partition {partition}: {next} is the next offset to be read, and the first that is \
                 still there is {low}, so messages between them were deleted before they were read"
            ),
            Halt::Shortened { topic, partition, next, high } => format!(
                "topic '{topic}', partition {partition}: {next} is the next offset to be read, and the partition ends \
                 at {high}, so messages that were read have been lost there, and new ones would take their offsets"
            ),
            Halt::Recreated { topic, partition, next, known, found, there } => format!(
                "topic '{topic}', partition {partition}: the topic was deleted and created again: {next} is the next \
                 offset to be read of the one with id {known}, and the one with id {found} has {there}"
            ),
            Halt::Truncated { reason, places } => format!(
                "the brokers took messages back that were read ({reason}), so others will stand at their offsets; it \
                 was read up to {places}"
            ),
            Halt::Damaged { reason, .. } => {
                format!("messages cannot be read ({reason}), as stored or sent bytes are damaged")
            }
            Halt::Unknown { topic, partition, text } => format!(
                "topic '{topic}', partition {partition}: the journal says that it was read to `{text}`, which this \
                 version does not understand"
            ),
            Halt::Fatal { reason } => format!("librdkafka cannot go on ({reason})"),
        }
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        let rename = |what: &str| {
            format!(
                "{what}, and then give this source another `name`, which reads its topics again from their beginning; \
                 what was counted counts once"
            )
        };
        match self {
            Halt::Expired { .. } => rename("send what they held again, in any way"),
            Halt::Recreated { .. } => rename("send what was deleted unread again, in any way"),
            Halt::Shortened { .. } | Halt::Truncated { .. } => rename("find out what the brokers lost"),
            Halt::Damaged { places, .. } => format!(
                "have the brokers restore the partition from a good replica and start again, which goes on at {places}"
            ),
            Halt::Unknown { .. } => "go on with the version that wrote it".to_owned(),
            Halt::Fatal { .. } => "start again".to_owned(),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found(), self.remedy())
    }
}

impl std::error::Error for Halt {}
