//! Who is connected, and who makes room when as many are as may be.
//!
//! Law: a connection on which something goes keeps its place. Of the others the ones that are idle the
//! longest are asked to leave first, and after them those on which nothing has gone for long, since
//! nobody reads it, or says the rest of what is asked; none in its first moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::limits::Limits;

/// How often to look who makes room, while somebody waits for it.
const LOOK: Duration = Duration::from_millis(50);
/// How long one that is asked to leave has to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// All connections.
pub(super) struct Lines {
    free: Arc<Semaphore>,
    limits: Limits,
    next: AtomicU64,
    lines: Mutex<BTreeMap<u64, Arc<Line>>>,
}

/// How a connection stands.
pub(super) struct Line {
    stand: Mutex<Stand>,
    leaves: watch::Sender<bool>,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Clone, Copy)]
struct Stand {
    /// How many calls are under way.
    calls: usize,
    /// Of how many of them not all has come that is asked.
    asking: usize,
    has_called: bool,
    /// When something of an answer went last, or the last call ended, or the first of those began.
    since: Instant,
}

impl Lines {
    pub fn new(limits: Limits) -> Arc<Lines> {
        let free = Arc::new(Semaphore::new(limits.connections_max));
        Arc::new(Lines { free, limits, next: AtomicU64::new(0), lines: Mutex::default() })
    }

    /// The bounds of all connections.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a place, once there is one.
    pub async fn take(self: &Arc<Lines>) -> Place {
        let mut free = self.free.clone().try_acquire_owned().ok();
        let free = loop {
            if let Some(free) = free {
                break free;
            }
            self.make_room();
            let waited = timeout(LOOK, self.free.clone().acquire_owned()).await;
            free = waited.ok().map(|free| free.expect("the places are never closed"));
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line {
            stand: Mutex::new(Stand { calls: 0, asking: 0, has_called: false, since: Instant::now() }),
            leaves: watch::Sender::new(false),
            is_cut: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        self.lines().insert(number, line.clone());
        Place { lines: self.clone(), number, line, _free: free }
    }

    /// Asks an eighth of all to leave, if they may be asked and nobody is leaving: who says no goodbye
    /// takes its time, and there may be many who wait.
    pub fn make_room(&self) {
        let lines = self.lines();
        if lines.values().any(|line| line.is_leaving() && !self.is_busy(line)) {
            return;
        }
        let asked = |line: &&Arc<Line>| !line.is_leaving() && !self.is_busy(line) && !self.has_just_come(line);
        let mut waiting: Vec<&Arc<Line>> = lines.values().filter(asked).collect();
        waiting.sort_by_key(|line| {
            let stand = line.stand();
            (stand.calls > 0, stand.since)
        });
        for line in waiting.iter().take(1 + self.limits.connections_max / 8) {
            line.leave();
        }
    }

    /// Whether something goes, or will before long.
    fn is_busy(&self, line: &Line) -> bool {
        let stand = line.stand();
        let stall_max = match stand.calls == stand.asking {
            true => self.limits.connection_ask_max,
            false => self.limits.connection_stall_max,
        };
        stand.calls > 0 && stand.since.elapsed() < stall_max
    }

    /// Whoever never called, or lets a call hang, has nothing to lose.
    fn is_owed_a_goodbye(&self, line: &Line) -> bool {
        let stand = line.stand();
        stand.has_called && (stand.calls == 0 || self.is_busy(line))
    }

    fn has_just_come(&self, line: &Line) -> bool {
        line.stand().since.elapsed() < self.limits.connection_peace
    }

    /// Asks everybody to leave.
    pub fn leave(&self) {
        self.lines().values().for_each(|line| line.leave());
    }

    /// Ends what is left.
    pub fn cut(&self) {
        self.lines().values().for_each(|line| line.cut());
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that a connection has, until it is dropped.
pub(super) struct Place {
    lines: Arc<Lines>,
    number: u64,
    line: Arc<Line>,
    _free: OwnedSemaphorePermit,
}

impl Place {
    /// How the connection stands.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.lines().remove(&self.number);
    }
}

impl Line {
    fn stand(&self) -> Stand {
        *self.locked()
    }

    fn locked(&self) -> MutexGuard<'_, Stand> {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins; it is under way until what is given is dropped.
    pub fn call(self: &Arc<Line>) -> Arc<Call> {
        let mut stand = self.locked();
        if stand.calls == 0 {
            // More of them are no sign that any goes on.
            stand.since = Instant::now();
        }
        (stand.calls, stand.asking, stand.has_called) = (stand.calls + 1, stand.asking + 1, true);
        Arc::new(Call { line: self.clone(), is_asking: AtomicBool::new(true) })
    }

    fn leave(&self) {
        self.leaves.send_replace(true);
    }

    fn is_leaving(&self) -> bool {
        *self.leaves.borrow()
    }

    /// Waits until it is asked to leave.
    pub async fn asked_to_leave(&self) {
        // It cannot be closed while it is borrowed here.
        let _ = self.leaves.subscribe().wait_for(|leaves| *leaves).await;
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Whether it is to end at once; whoever asks is woken when that changes.
    pub fn is_cut(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_cut.load(Ordering::Relaxed)
    }
}

/// A call that is under way.
pub(super) struct Call {
    line: Arc<Line>,
    is_asking: AtomicBool,
}

impl Call {
    /// All of it has come, or so much that its answer begins.
    pub fn asked(&self) {
        if self.is_asking.swap(false, Ordering::Relaxed) {
            self.line.locked().asking -= 1;
        }
    }

    /// Something of its answer goes.
    pub fn goes(&self) {
        self.line.locked().since = Instant::now();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.asked();
        let mut stand = self.line.locked();
        (stand.calls, stand.since) = (stand.calls - 1, Instant::now());
    }
}

/// Sees a connection to its end: asks it to leave when it was idle for too long, and ends it when it has
/// been asked and nothing goes on it any more.
pub(super) async fn see_off(lines: &Lines, line: &Line) {
    let idle_max = lines.limits.connection_idle_max;
    loop {
        let stand = line.stand();
        let until = if stand.calls == 0 { stand.since + idle_max } else { Instant::now() + idle_max };
        if timeout_at(until, line.asked_to_leave()).await.is_ok() {
            break;
        }
        let stand = line.stand();
        if stand.calls == 0 && stand.since.elapsed() >= idle_max {
            line.leave();
        }
    }
    while lines.is_owed_a_goodbye(line) {
        sleep(GOODBYE).await;
        if !lines.is_busy(line) {
            break;
        }
    }
    line.cut();
}
