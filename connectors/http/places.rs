//! Who has a place among the connections that are taken up, and who makes room when all are taken.
//!
//! Law: whoever has sent a whole request keeps its place until it is answered. Of all others the one
//! that has let us wait the longest gives way, those between two requests before those in the middle of
//! one, and none in its first moments. So a fast sender always gets in, however many are slow. Where all wait for
//! their answers, a few spare places are left, for whoever asks whether the server lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How often to look who makes room, while somebody waits for it.
const LOOK: Duration = Duration::from_millis(50);
/// How many spare places there are.
const SPARE: usize = 4;

/// All places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    /// How long a connection that lets us wait is left alone.
    peace: Duration,
    next: AtomicU64,
    lines: Mutex<BTreeMap<u64, Arc<Line>>>,
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// No byte of the next request has come.
    Between,
    /// Some of the head of a request has.
    Head,
    /// The head is whole, and the body is not.
    Body,
    /// The request is whole, and not answered.
    Whole,
}

/// How a connection stands.
pub(super) struct Line {
    /// And since when: a request since its first byte.
    stand: Mutex<(Stand, Instant)>,
    gives_way: AtomicBool,
    waker: AtomicWaker,
    is_spare: bool,
}

impl Places {
    pub fn new(places_max: usize, peace: Duration) -> Arc<Places> {
        let [free, spare] = [places_max, SPARE].map(|places| Arc::new(Semaphore::new(places)));
        Arc::new(Places { free, spare, peace, next: AtomicU64::new(0), lines: Mutex::default() })
    }

    /// Takes a place, once there is one; a spare one if all others wait for their answers.
    pub async fn take(self: &Arc<Places>) -> Place {
        let mut free = self.free.clone().try_acquire_owned().ok();
        let (free, is_spare) = loop {
            if let Some(free) = free {
                break (free, false);
            }
            self.make_room();
            let waited = timeout(LOOK, self.free.clone().acquire_owned()).await;
            free = waited.ok().map(|free| free.expect("the places are never closed"));
            if free.is_none()
                && self.all_wait_for_answers()
                && let Ok(spare) = self.spare.clone().try_acquire_owned()
            {
                break (spare, true);
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line {
            stand: Mutex::new((Stand::Between, Instant::now())),
            gives_way: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            is_spare,
        });
        self.lines().insert(number, line.clone());
        Place { places: self.clone(), number, line, _free: free }
    }

    /// Lets somebody go, if anybody may be and nobody is going.
    pub fn make_room(&self) {
        let now = Instant::now();
        let lines = self.lines();
        let waited_for = lines.values().filter(|line| line.stands().0 != Stand::Whole);
        let mut waited_for: Vec<&Arc<Line>> = waited_for.collect();
        if waited_for.iter().any(|line| line.gives_way.load(Ordering::Relaxed)) {
            return;
        }
        waited_for.retain(|line| now.duration_since(line.stands().1) >= self.peace);
        let longest = waited_for.into_iter().min_by_key(|line| {
            let (stand, since) = line.stands();
            (stand != Stand::Between, since)
        });
        if let Some(line) = longest {
            line.gives_way.store(true, Ordering::Relaxed);
            line.waker.wake();
        }
    }

    fn all_wait_for_answers(&self) -> bool {
        self.lines().values().all(|line| line.is_spare || line.stands().0 == Stand::Whole)
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that a connection has, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
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
        self.places.lines().remove(&self.number);
    }
}

impl Line {
    fn stand(&self) -> MutexGuard<'_, (Stand, Instant)> {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its place is a spare one.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// What it is about, and since when.
    pub fn stands(&self) -> (Stand, Instant) {
        *self.stand()
    }

    /// Bytes have come.
    pub fn heard(&self) {
        let mut stand = self.stand();
        if stand.0 == Stand::Between {
            *stand = (Stand::Head, Instant::now());
        }
    }

    /// The head of a request is whole. Its body keeps the time at which it began.
    pub fn asks(&self) {
        self.stand().0 = Stand::Body;
    }

    /// A request is whole.
    pub fn asked(&self) {
        self.stand().0 = Stand::Whole;
    }

    /// A request is answered. Whoever reads for the next one is to see that it is waited for.
    pub fn answered(&self) {
        *self.stand() = (Stand::Between, Instant::now());
        self.waker.wake();
    }

    /// Whether it is to give way now; whoever asks is woken when that changes.
    pub fn gives_way(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.gives_way.load(Ordering::Relaxed) && self.stand().0 != Stand::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three connections, come in this order, and the places they have.
    async fn three(peace: Duration) -> (Arc<Places>, Vec<Place>) {
        let places = Places::new(3, peace);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(places.take().await);
        }
        (places, taken)
    }

    /// Which of them give way once another needs a place.
    fn giving_way(places: &Places, taken: &[Place]) -> Vec<usize> {
        places.make_room();
        let gives_way = |place: &&Place| place.line.gives_way.load(Ordering::Relaxed);
        (0..).zip(taken).filter(|(_, place)| gives_way(place)).map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn the_one_that_is_idle_the_longest_makes_room() {
        let (places, taken) = three(Duration::ZERO).await;
        taken[0].line().answered();
        assert_eq!(giving_way(&places, &taken), [1]);
        assert_eq!(giving_way(&places, &taken), [1], "one place is enough for one that waits");
        let (gone, left): (Vec<_>, Vec<_>) = (0..).zip(taken).partition(|(number, _)| *number == 1);
        drop(gone);
        let left: Vec<Place> = left.into_iter().map(|(_, place)| place).collect();
        assert_eq!(giving_way(&places, &left), [1], "which was the third");
    }

    #[tokio::test]
    async fn whoever_is_in_the_middle_of_a_request_goes_after_the_idle() {
        let (places, taken) = three(Duration::ZERO).await;
        taken[0].line().heard();
        taken[1].line().heard();
        taken[1].line().asks();
        assert_eq!(giving_way(&places, &taken), [2]);
        let (places, taken) = three(Duration::ZERO).await;
        for place in &taken {
            place.line().heard();
        }
        taken[0].line().asks();
        assert_eq!(giving_way(&places, &taken), [0], "its request began first");
    }

    #[tokio::test]
    async fn a_whole_request_keeps_its_place_until_it_is_answered() {
        let (places, taken) = three(Duration::ZERO).await;
        for place in &taken {
            place.line().asked();
        }
        assert!(giving_way(&places, &taken).is_empty());
        taken[2].line().answered();
        assert_eq!(giving_way(&places, &taken), [2]);
        // It has sent another request meanwhile, and another makes room.
        taken[2].line().asked();
        taken[1].line().answered();
        assert_eq!(giving_way(&places, &taken), [1, 2]);
    }

    #[tokio::test]
    async fn whoever_has_just_come_is_left_alone() {
        let (places, taken) = three(Duration::from_secs(3600)).await;
        assert!(giving_way(&places, &taken).is_empty());
    }
}
