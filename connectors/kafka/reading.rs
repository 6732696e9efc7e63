//! The thread of a source: messages in, batches out, how far they were read with them.
//!
//! Law: what was read of a partition enters the journal in the partition's order, and with it, in the
//! same epoch, how far that is. A batch is handed in only when the one before is in the journal, so
//! what is read again after a crash is what came behind.
//!
//! ```text
//!   librdkafka's queue ── gather ── backlog ── read by the layouts of now ── hand in ── journal
//!      bounded            while the one before is on its way         again, if it was not taken
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use super::Format;
use super::describe::{Topics, describe};
use super::halt::Halt;
use super::message::{MessageReader, read_messages};
use super::partitions::{PATIENCE, Partitions, Reached};
use super::state::{State, Told};
use super::watch::Watch;
use crate::intake::{HandInError, Intake, Taken};

/// The most messages of a batch.
const MESSAGES_MAX: usize = 10_000;
/// The most bytes of them, the last one aside.
const BYTES_MAX: usize = 8 << 20;
/// How long a first message waits for others, so that an epoch is worth its sync.
const LINGER: Duration = Duration::from_millis(5);
/// How long to wait where nothing comes, before looking whether to end.
const IDLE: Duration = Duration::from_millis(100);
/// After how long to try again what could not be done.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a batch that is on its way is waited for when the source is to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a source reads with.
pub(super) struct Equipment<'c> {
    pub consumer: &'c Arc<BaseConsumer<Watch>>,
    pub intake: Arc<dyn Intake>,
    pub runtime: Handle,
    pub told: Told,
    pub stop: Arc<AtomicBool>,
    pub source: String,
    pub format: Format,
    pub tenant: String,
    pub survey_every: Duration,
    pub partitions: Partitions,
}

/// Reads a source until it ends.
pub(super) struct Reading<'c> {
    with: Equipment<'c>,
    reader: Option<(Arc<Layouts>, MessageReader)>,
    /// Messages that were taken and are not handed in.
    backlog: Vec<BorrowedMessage<'c>>,
    on_its_way: Option<OnItsWay<'c>>,
    /// When to ask again what topics there are.
    survey_at: Instant,
    asked: Option<JoinHandle<Result<Topics, String>>>,
    /// The consumer must be told anew what to fetch, though the partitions are the same.
    must_assign: bool,
    assigned: BTreeSet<(String, i32)>,
}

/// A batch that was handed in and is not answered yet.
struct OnItsWay<'c> {
    /// What it was read from: it is read again if it is not taken.
    messages: Vec<BorrowedMessage<'c>>,
    reached: Vec<Reached>,
    answer: Answer,
}

type Answer = JoinHandle<Result<Taken, HandInError>>;

/// Some messages, read.
struct Prepared {
    /// A batch for each partition that they came from.
    parts: Vec<EventBatch>,
    /// How many messages it was read from.
    messages: usize,
    /// How far that is.
    reached: Vec<Reached>,
}

/// Why the reading ends.
enum End {
    Halt(Halt),
    Stopped(String),
}

impl From<Halt> for End {
    fn from(halt: Halt) -> End {
        End::Halt(halt)
    }
}

impl<'c> Reading<'c> {
    /// Nothing is read yet.
    pub fn new(with: Equipment<'c>) -> Reading<'c> {
        Reading {
            with,
            reader: None,
            backlog: Vec::new(),
            on_its_way: None,
            survey_at: Instant::now(),
            asked: None,
            must_assign: false,
            assigned: BTreeSet::new(),
        }
    }

    /// Reads until it is told to stop, must not go on, or nobody takes anything any more; says which.
    pub fn run(mut self) -> State {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        // What was handed in is taken, whatever has happened since.
        match (end, self.settle()) {
            (End::Halt(halt), _) => State::Halted(halt),
            (End::Stopped(_), Err(End::Stopped(why))) | (End::Stopped(why), _) => State::Ended(why),
        }
    }

    fn turn(&mut self) -> Result<(), End> {
        if self.is_told_to_stop() {
            return Err(End::Stopped("it was told to".to_owned()));
        }
        self.survey()?;
        let error = self.gather();
        self.hand_over()?;
        error.map_or(Ok(()), |error| self.weigh(&error))
    }

    fn is_told_to_stop(&self) -> bool {
        self.with.stop.load(Ordering::Relaxed)
    }

    /// Asks what topics there are when it is time to, and weighs the answer when it has come. What is
    /// being read is read on meanwhile.
    fn survey(&mut self) -> Result<(), End> {
        match self.asked.take() {
            Some(asked) if asked.is_finished() => {
                let topics = self.with.runtime.block_on(asked).map_err(|error| End::Stopped(error.to_string()))?;
                self.weigh_survey(topics)
            }
            Some(asked) => {
                self.asked = Some(asked);
                Ok(())
            }
            None if Instant::now() >= self.survey_at => {
                let (consumer, topics) = (self.with.consumer.clone(), self.with.partitions.topics().to_vec());
                let ask = move || describe(consumer.client(), &topics, PATIENCE);
                self.asked = Some(self.with.runtime.spawn_blocking(ask));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn weigh_survey(&mut self, topics: Result<Topics, String>) -> Result<(), End> {
        let with = &mut self.with;
        let lacking = match topics {
            Ok(topics) => with.partitions.survey(with.consumer, &*with.intake, &topics)?,
            // One that expects encryption or a password hangs up on whoever brings none, without a word.
            Err(why) => Some(format!(
                "the brokers do not tell of topics ({why}): see that they are there, and that `security.protocol` \
                 under `[kafka.settings]` is theirs"
            )),
        };
        let soon = if lacking.is_some() { PAUSE.min(with.survey_every) } else { with.survey_every };
        self.survey_at = Instant::now() + soon;
        with.told.tell(match lacking {
            Some(why) => State::Waiting(with.consumer.context().with_last_error(why)),
            None => State::Reading,
        });
        self.with.told.reached(self.with.partitions.journaled_places());
        self.settle()?;
        self.with.partitions.pass(self.with.consumer);
        // Where reading begins must be known for good before anything is read, and what was only
        // passed over is told now and then.
        if !self.with.partitions.unsaid().is_empty() {
            let prepared = self.prepare();
            self.send(prepared);
            self.settle()?;
        }
        self.assign()
    }

    fn assign(&mut self) -> Result<(), End> {
        let readable = self.with.partitions.readable();
        if readable == self.assigned && !self.must_assign {
            return Ok(());
        }
        let assigned = self.with.consumer.assign(&self.with.partitions.assignment());
        assigned.map_err(|error| Halt::Fatal { reason: error.to_string() })?;
        (self.assigned, self.must_assign) = (readable, false);
        Ok(())
    }

    /// Takes messages until there are enough for a batch. While one is on its way there is time; else
    /// the first waits a moment for others.
    fn gather(&mut self) -> Option<KafkaError> {
        let mut bytes = 0;
        let mut until = None;
        while self.backlog.len() < MESSAGES_MAX && bytes < BYTES_MAX && !self.is_told_to_stop() {
            let Some(wait) = self.patience(until) else { break };
            match self.with.consumer.poll(wait) {
                Some(Ok(message)) => {
                    until.get_or_insert_with(|| Instant::now() + LINGER);
                    if self.with.partitions.take(message.topic(), message.partition(), message.offset()) {
                        bytes += message.payload_len() + message.key_len();
                        self.backlog.push(message);
                    }
                }
                Some(Err(error)) => return Some(error),
                None if until.is_none() => break,
                None => {}
            }
        }
        None
    }

    /// For how long to wait for the next message; none if what there is may go.
    fn patience(&self, until: Option<Instant>) -> Option<Duration> {
        let is_busy = self.on_its_way.as_ref().is_some_and(|batch| !batch.answer.is_finished());
        let Some(until) = until else {
            return Some(if self.on_its_way.is_some() { LINGER } else { IDLE });
        };
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO if is_busy => Some(LINGER),
            Duration::ZERO => None,
            left => Some(left),
        }
    }

    /// Hands in what there is, each batch when the one before is in the journal.
    fn hand_over(&mut self) -> Result<(), End> {
        if self.on_its_way.as_ref().is_some_and(|batch| batch.answer.is_finished()) {
            self.settle()?;
        }
        while !self.backlog.is_empty() {
            // Read while the one before is still on its way.
            let prepared = self.prepare();
            self.settle()?;
            self.send(prepared);
        }
        Ok(())
    }

    /// Reads the backlog, as far as it fits into a batch.
    fn prepare(&mut self) -> Prepared {
        self.with.partitions.pass(self.with.consumer);
        let backlog = std::mem::take(&mut self.backlog);
        // Everything that was taken is in the backlog or goes before it.
        let prepared = self.read(&backlog, &self.with.partitions.unsaid());
        self.backlog = backlog;
        prepared
    }

    /// Reads messages by the layouts of now; `reached` is how far all of them reach.
    fn read(&mut self, messages: &[BorrowedMessage<'_>], reached: &[Reached]) -> Prepared {
        let layouts = self.with.intake.layouts();
        let reader = match self.reader.take() {
            Some((known, reader)) if Arc::ptr_eq(&known, &layouts) => reader,
            _ => MessageReader::new(layouts.clone(), &self.with.tenant, &self.with.source, self.with.format),
        };
        let (_, reader) = self.reader.insert((layouts, reader));
        let (parts, count) = read_messages(reader, messages);
        let reached = if count == messages.len() { reached.to_vec() } else { self.reached(&messages[..count]) };
        Prepared { parts, messages: count, reached }
    }

    /// How far these messages reach.
    fn reached(&self, messages: &[BorrowedMessage<'_>]) -> Vec<Reached> {
        let next: BTreeMap<(&str, i32), i64> =
            messages.iter().map(|message| ((message.topic(), message.partition()), message.offset() + 1)).collect();
        let reached = |((topic, partition), next)| self.with.partitions.reached(topic, partition, next);
        next.into_iter().filter_map(reached).collect()
    }

    /// Hands in a batch, which is then on its way.
    fn send(&mut self, prepared: Prepared) {
        let messages = self.backlog.drain(..prepared.messages).collect();
        let answer = self.hand_in(prepared.parts, &prepared.reached);
        self.on_its_way = Some(OnItsWay { messages, reached: prepared.reached, answer });
    }

    /// Hands in all parts at once: an epoch for each of many partitions would cost a sync for each.
    fn hand_in(&self, parts: Vec<EventBatch>, reached: &[Reached]) -> Answer {
        let positions = reached.iter().map(|reached| self.with.partitions.position(reached)).collect();
        let intake = self.with.intake.clone();
        self.with.runtime.spawn(async move { intake.hand_in_parts(parts, positions).await })
    }

    /// Waits until what is on its way is in the journal, and reads and hands it in again as often as
    /// it is not taken.
    fn settle(&mut self) -> Result<(), End> {
        let Some(OnItsWay { messages, reached, answer }) = self.on_its_way.take() else { return Ok(()) };
        let (mut answer, mut part, mut part_reached) = (answer, messages.len(), reached.clone());
        let mut done = 0;
        loop {
            match self.wait_for(answer)? {
                Ok(_) => {
                    self.with.partitions.said(part_reached);
                    self.with.told.reached(self.with.partitions.journaled_places());
                    done += part;
                    if done == messages.len() {
                        return Ok(());
                    }
                }
                Err(HandInError::Stale) => {}
                Err(HandInError::Unable(why) | HandInError::Full(why)) => self.pause(why)?,
                Err(HandInError::Stopped(why)) => return Err(End::Stopped(why)),
            }
            let again = self.read(&messages[done..], &reached);
            answer = self.hand_in(again.parts, &again.reached);
            (part, part_reached) = (again.messages, again.reached);
        }
    }

    fn wait_for(&self, mut answer: Answer) -> Result<Result<Taken, HandInError>, End> {
        let mut until = None;
        loop {
            match self.with.runtime.block_on(async { timeout(IDLE, &mut answer).await }) {
                Ok(answered) => return answered.map_err(|error| End::Stopped(error.to_string())),
                Err(_) if self.is_told_to_stop() => {
                    let until = *until.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                    if Instant::now() >= until {
                        return Err(End::Stopped("it was told to, while a batch was on its way".to_owned()));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Nothing can be taken in now: says so and waits a little.
    fn pause(&mut self, why: String) -> Result<(), End> {
        self.with.told.tell(State::Waiting(why));
        let until = Instant::now() + PAUSE;
        while Instant::now() < until {
            if self.is_told_to_stop() {
                return Err(End::Stopped("it was told to".to_owned()));
            }
            sleep(IDLE);
        }
        // The next survey says how it stands.
        self.survey_at = Instant::now();
        Ok(())
    }

    /// What an error means; what librdkafka mends by itself needs nobody.
    fn weigh(&mut self, error: &KafkaError) -> Result<(), End> {
        use RDKafkaErrorCode as Code;
        let reason = || self.with.consumer.context().last_error().unwrap_or_else(|| error.to_string());
        let places = || self.with.partitions.shown();
        match error {
            KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::PollExceeded) => {
                self.with.partitions.doubt();
                self.must_assign = true;
                self.survey_at = Instant::now() + IDLE;
                Ok(())
            }
            KafkaError::MessageConsumption(Code::LogTruncation) => {
                Err(Halt::Truncated { reason: reason(), places: places() }.into())
            }
            KafkaError::MessageConsumption(Code::BadMessage | Code::BadCompression | Code::NotImplemented) => {
                Err(Halt::Damaged { reason: reason(), places: places() }.into())
            }
            KafkaError::MessageConsumptionFatal(_) => Err(Halt::Fatal { reason: reason() }.into()),
            _ => {
                self.survey_at = self.survey_at.min(Instant::now() + PAUSE);
                Ok(())
            }
        }
    }
}
