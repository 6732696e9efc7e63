//! Why a source goes on no more: what it was to read next is not there, or is something else.
//!
//! Going on would leave messages out without a word, so somebody must decide. Whatever is decided,
//! reading everything again is safe: what was counted counts once.

/// Why a source has halted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// What comes next is gone: the topic was shorter-lived than we were behind.
    #[error(
        "topic '{topic}', partition {partition}: {next} is the next offset to be read, and the first that is still \
         there is {low}, so messages between them were deleted before they were read: send what they held again, in \
         any way, and then give this source another `name`, which reads the topic again from its beginning; what was \
         counted counts once"
    )]
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
    #[error(
        "topic '{topic}', partition {partition}: {next} is the next offset to be read, and the partition ends at \
         {high}, so messages that were read have been lost there, and new ones would take their offsets: find out \
         what the brokers lost, and then give this source another `name`, which reads the topic again from its \
         beginning; what was counted counts once"
    )]
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
    #[error(
        "topic '{topic}', partition {partition}: the topic was deleted and created again: {next} is the next offset to \
         be read of the one with id {known}, and the one with id {found} has {there}: send what was deleted unread again, in any way, and then give this source another `name`, which reads the new topic from \
         its beginning; what was counted counts once"
    )]
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
    #[error(
        "the brokers took messages back that were read ({reason}), so others will stand at their offsets; it was read \
         up to {places}: find out what the brokers lost, and then give this source another `name`, which reads its \
         topics again from their beginning; what was counted counts once"
    )]
    Truncated {
        /// Why, in librdkafka's words.
        reason: String,
        /// The next offset of each partition.
        places: String,
    },
    /// Brokers gave out bytes that are no messages.
    #[error(
        "messages cannot be read ({reason}): stored or sent bytes are damaged; have the brokers restore the partition \
         from a good replica and start again, which goes on at {places}"
    )]
    Damaged {
        /// Why, in librdkafka's words.
        reason: String,
        /// The next offset of each partition.
        places: String,
    },
    /// The journal says something about how far a partition was read that nobody can read.
    #[error(
        "topic '{topic}', partition {partition}: the journal says that it was read to `{text}`, which this version \
         does not understand: go on with the version that wrote it"
    )]
    Unknown {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the journal says.
        text: String,
    },
    /// librdkafka cannot go on.
    #[error("librdkafka cannot go on ({reason}): start again")]
    Fatal {
        /// Why, in its words.
        reason: String,
    },
}
