//! An engine's journal as far as a source sees it, and processes that are killed on it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::kafka::{KafkaSource, Options, State, start};
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::{EventBatch, Refused};

/// What outlives a process.
#[derive(Clone, Default)]
pub struct Kept {
    /// The ids of all events, in the order in which they came in.
    pub ids: Vec<String>,
    /// By which partition each of them came.
    pub ways: Vec<String>,
    pub refused: Vec<Refused>,
    pub read_to: BTreeMap<String, String>,
    pub epochs: u64,
}

/// The journal, which several processes have one after another.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Kept>>);

impl Journal {
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    pub fn events(&self) -> usize {
        self.kept().ids.len()
    }

    /// Waits until so many events are in, and sees that no more come.
    pub fn wait_for(&self, events: usize) {
        wait_until("the events are in", || self.events() >= events);
        assert_eq!(self.events(), events);
    }

    /// Each of these is there once, by its partition, and those of one in their order: ids are
    /// `topic/partition/number`.
    pub fn holds_once(&self, mut expected: Vec<String>) {
        let Kept { ids, ways, .. } = self.kept().clone();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (id, way) in ids.iter().zip(&ways) {
            let (partition, number) = id.rsplit_once('/').expect("ids say their number");
            assert_eq!(partition, way, "{id} came in by another partition");
            let number = number.parse().expect("it is one");
            let before = last.insert(partition.to_owned(), number);
            assert!(before.is_none_or(|before| before < number), "{id} came behind {before:?}");
        }
        let mut ids = ids;
        ids.sort();
        expected.sort();
        assert_eq!(ids.len(), expected.len());
        assert_eq!(ids, expected);
    }
}

/// How a process fails.
#[derive(Default)]
pub struct Faults {
    /// How often it says that the catalog has changed.
    pub stale: AtomicU64,
    /// How often it says that there is no room.
    pub unable: AtomicU64,
    /// How many batches it takes before it is killed; negative: it is not.
    pub left: AtomicI64,
    /// Whether the batch that kills it is in the journal.
    pub last_is_in: AtomicBool,
    /// Nobody is answered while it is shut.
    pub is_shut: AtomicBool,
}

struct Fake {
    journal: Journal,
    faults: Arc<Faults>,
    generation: AtomicU64,
}

impl Fake {
    fn take(&self, parts: &[EventBatch], read_to: Vec<Position>) -> Taken {
        let mut kept = self.journal.kept();
        kept.epochs += 1;
        for part in parts {
            kept.ids.extend((0..part.rows.len()).map(|row| part.ids.get(row).unwrap().1.to_owned()));
            kept.ways.extend(part.rows.iter().map(|_| part.partition.clone()));
            kept.refused.extend(part.refused.iter().cloned());
        }
        kept.read_to.extend(read_to.into_iter().map(|position| (position.source, position.at)));
        Taken { epoch: kept.epochs, events: parts.iter().map(|part| part.rows.len() as u64).sum(), refused: vec![] }
    }

    fn layouts(&self, generation: u64) -> Arc<Layouts> {
        let numbers = vec![NumberColumn { property: "tokens".into(), scale: 0 }];
        let layout = EventLayout { event_type: "call".into(), numbers, texts: vec![], dimensions: vec![] };
        Arc::new(Layouts { generation, by_type: [("call".to_owned(), Arc::new(layout))].into(), ..Layouts::default() })
    }
}

/// An intake for what is never started.
pub fn nobody() -> Arc<dyn Intake> {
    Arc::new(Fake { journal: Journal::default(), faults: Arc::default(), generation: AtomicU64::new(1) })
}

fn uses_up(count: &AtomicU64) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Intake for Fake {
    fn layouts(&self) -> Arc<Layouts> {
        self.layouts(self.generation.load(Ordering::Relaxed))
    }

    fn read_to(&self, source: &str) -> Option<String> {
        self.journal.kept().read_to.get(source).cloned()
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        async move {
            while self.faults.is_shut.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if parts.iter().any(|part| !part.rows.is_empty()) && uses_up(&self.faults.stale) {
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            let generation = self.generation.load(Ordering::Relaxed);
            if parts.iter().any(|part| part.is_stale(generation)) {
                return Err(HandInError::Stale);
            }
            if uses_up(&self.faults.unable) {
                return Err(HandInError::Unable("the disk is full".to_owned()));
            }
            match self.faults.left.fetch_sub(1, Ordering::Relaxed) {
                0 => {
                    if self.faults.last_is_in.load(Ordering::Relaxed) {
                        self.take(&parts, read_to);
                    }
                    // Who is killed answers nobody.
                    self.faults.left.store(0, Ordering::Relaxed);
                    self.faults.is_shut.store(true, Ordering::Relaxed);
                    pending().await
                }
                _ => Ok(self.take(&parts, read_to)),
            }
        }
        .boxed()
    }
}

/// A process with a source on a journal.
pub struct Process {
    runtime: Option<Runtime>,
    source: Option<KafkaSource>,
    pub faults: Arc<Faults>,
}

/// Options that look for news often.
pub fn options(brokers: &str, topics: &[&str]) -> Options {
    Options {
        brokers: vec![brokers.to_owned()],
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        survey_every: Duration::from_millis(200),
        ..Options::default()
    }
}

impl Process {
    pub fn start(journal: &Journal, options: Options) -> Process {
        let faults = Faults { left: AtomicI64::new(-1), ..Faults::default() };
        Process::with(journal, options, faults)
    }

    pub fn with(journal: &Journal, options: Options, faults: Faults) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let faults = Arc::new(faults);
        let fake = Fake { journal: journal.clone(), faults: faults.clone(), generation: AtomicU64::new(1) };
        let source = runtime.block_on(async { start(Arc::new(fake), options) }).expect("the options are good");
        Process { runtime: Some(runtime), source: Some(source), faults }
    }

    pub fn state(&self) -> State {
        self.source.as_ref().unwrap().state()
    }

    /// Why it has halted, once it has.
    pub fn halted(&self) -> String {
        wait_until("the source has halted", || matches!(self.state(), State::Halted(_)));
        self.state().to_string()
    }

    pub fn stop(mut self) {
        let source = self.source.take().unwrap();
        self.runtime.as_ref().unwrap().block_on(source.stop());
    }

    /// Waits until it has been killed, as its faults say.
    pub fn dies(self) {
        wait_until("the process dies", || self.faults.is_shut.load(Ordering::Relaxed));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the source is {:?}", self.source.as_ref().map(KafkaSource::state));
        }
        drop(self.source.take());
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Waits for what must come to pass.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
