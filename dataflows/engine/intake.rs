//! Gathers what many senders hand in at once into one epoch.
//!
//! Law: whoever is answered with an epoch has all its events in the journal, in that epoch; whoever
//! is answered otherwise may hand the same in again, and it counts once. While one epoch is written
//! and synced, what comes waits and makes the next one, so that a thousand senders of one event
//! each cost a few syncs, not a thousand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::{Semaphore, mpsc, oneshot};
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::quarantine::{Quarantine, Replayed, Selection, SetAside};
use trueup_model::fact::{Declaration, Epoch, InputId};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use super::Engine;
use super::door::{DoorError, Part, Receipt, Submission};

/// Batches that wait while an epoch is written. Senders beyond them wait at the queue.
const WAITING_MAX: usize = 4_096;
/// From how many inputs on an epoch is large enough.
const EPOCH_INPUTS: usize = 100_000;

/// A way into an engine, for as many senders as there are.
pub struct Gatherer {
    engine: Arc<Engine>,
    tenant: String,
    queue: mpsc::Sender<HandedIn>,
    /// Held by whoever has the quarantine read again.
    replaying: Arc<Semaphore>,
}

/// What waits, and where its sender waits.
struct HandedIn {
    parts: Vec<EventBatch>,
    read_to: Vec<Position>,
    declarations: Vec<Declaration>,
    answer: oneshot::Sender<Result<Taken, HandInError>>,
}

impl Gatherer {
    /// A way into `engine`; ends when it is dropped.
    pub fn start(engine: Arc<Engine>) -> Gatherer {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let gathering = engine.clone();
        let thread = thread::Builder::new().name("intake".to_owned());
        let work = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| gather(&gathering, waiting)));
            if ended.is_err() {
                // Else nobody would know why all senders are refused.
                let why = "a fault of ours where events come in: start it again, and what was acknowledged is there";
                gathering.published().stop(why);
            }
        };
        thread.spawn(work).expect("a thread can be started");
        Gatherer { engine, tenant: "default".to_owned(), queue, replaying: Arc::new(Semaphore::new(1)) }
    }

    /// The same, for the events of another tenant than `default`.
    pub fn of_tenant(self, tenant: &str) -> Gatherer {
        Gatherer { tenant: tenant.to_owned(), ..self }
    }
}

impl Intake for Gatherer {
    fn layouts(&self) -> Arc<Layouts> {
        self.engine.layouts()
    }

    fn read_to(&self, source: &str) -> Option<String> {
        self.engine.read_to(source)
    }

    fn hand_in_parts(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
    ) -> BoxFuture<'_, Result<Taken, HandInError>> {
        self.put(parts, read_to, Vec::new()).boxed()
    }

    fn declare(&self, declarations: Vec<Declaration>) -> BoxFuture<'_, Result<Epoch, HandInError>> {
        self.put(Vec::new(), Vec::new(), declarations).map(|taken| Ok(taken?.epoch)).boxed()
    }

    fn quarantine(&self) -> Option<&dyn Quarantine> {
        Some(self)
    }
}

impl Quarantine for Gatherer {
    fn show(&self, input: InputId) -> BoxFuture<'_, Result<Option<SetAside>, HandInError>> {
        self.ask(move |engine, _| engine.set_aside(input)).boxed()
    }

    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Replayed, HandInError>> {
        // One at a time: it goes on when whoever asked has gone, and would be as much work for each that asks.
        let Ok(turn) = self.replaying.clone().try_acquire_owned() else {
            let why = "the quarantine is being read again already: try again when that is done";
            return ready(Err(HandInError::Unable(why.to_owned()))).boxed();
        };
        let replay = move |engine: &Engine, tenant: &str| {
            let _turn = turn;
            engine.replay_quarantine(tenant, &selection)
        };
        self.ask(replay).boxed()
    }
}

/// What the engine's refusal means to a sender.
fn hand_in_error(error: DoorError) -> HandInError {
    match error {
        DoorError::StaleLayouts => HandInError::Stale,
        DoorError::Journal(error) if !error.is_final() => HandInError::Unable(error.to_string()),
        DoorError::Clock(error) => HandInError::Unable(error.to_string()),
        error if error.is_full() => HandInError::Full(error.to_string()),
        error => HandInError::Stopped(error.to_string()),
    }
}

impl Gatherer {
    /// Asks the engine what takes its time, beside the threads that answer.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, &str) -> Result<T, DoorError> + Send + 'static,
    ) -> Result<T, HandInError> {
        let (engine, tenant) = (self.engine.clone(), self.tenant.clone());
        let asked = tokio::task::spawn_blocking(move || question(&engine, &tenant));
        let answer = asked.await.map_err(|_| HandInError::Stopped("the engine could not answer".to_owned()))?;
        answer.map_err(hand_in_error)
    }

    async fn put(
        &self,
        parts: Vec<EventBatch>,
        read_to: Vec<Position>,
        declarations: Vec<Declaration>,
    ) -> Result<Taken, HandInError> {
        let gone = || HandInError::Stopped("the engine stopped: nobody takes events in any more".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(HandedIn { parts, read_to, declarations, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Makes an epoch of whatever waits, again and again.
fn gather(engine: &Engine, mut waiting: mpsc::Receiver<HandedIn>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut inputs = inputs_of(&first);
        let mut together = vec![first];
        while inputs < EPOCH_INPUTS
            && let Ok(next) = waiting.try_recv()
        {
            inputs += inputs_of(&next);
            together.push(next);
        }
        accept(engine, together);
    }
}

fn inputs_of(handed_in: &HandedIn) -> usize {
    let of_parts = handed_in.parts.iter().map(|part| part.rows.len() + part.refused.len());
    of_parts.sum::<usize>() + handed_in.declarations.len()
}

/// Accepts batches, as one epoch if that can be, and answers each.
fn accept(engine: &Engine, together: Vec<HandedIn>) {
    let generation = engine.layouts().generation;
    // One that is out of date would keep the others out too.
    let is_stale = |handed_in: &HandedIn| handed_in.parts.iter().any(|part| part.is_stale(generation));
    let (stale, good): (Vec<_>, Vec<_>) = together.into_iter().partition(is_stale);
    stale.into_iter().for_each(|handed_in| tell(handed_in.answer, Err(HandInError::Stale)));
    let inputs: usize = good.iter().map(inputs_of).sum();
    let sources = good.iter().flat_map(|handed_in| &handed_in.parts).map(|part| &*part.source);
    match engine.has_room_for(inputs as u64, sources) {
        true => accept_as_one(engine, good),
        false => accept_what_fits(engine, good),
    }
}

/// Accepts batches of which some may have more that cannot be read than there is room for: in halves,
/// so that those keep none of the others out.
fn accept_what_fits(engine: &Engine, mut together: Vec<HandedIn>) {
    if together.len() < 2 {
        return accept_as_one(engine, together);
    }
    let copies = together.iter().map(|handed_in| (handed_in.parts.clone(), handed_in.read_to.clone()));
    let (parts, read_to): (Vec<_>, Vec<_>) = copies.unzip();
    let declarations = together.iter().flat_map(|handed_in| handed_in.declarations.clone()).collect();
    match engine.accept(submissions(parts.into_iter().flatten(), read_to.into_iter().flatten(), declarations)) {
        Err(error) if error.is_full() => {
            let rest = together.split_off(together.len() / 2);
            accept_what_fits(engine, together);
            accept_what_fits(engine, rest);
        }
        outcome => {
            let answers = together.into_iter().map(|handed_in| (handed_in.answer, handed_in.parts.len())).collect();
            answer(answers, outcome);
        }
    }
}

/// Accepts batches as one epoch, and answers each.
fn accept_as_one(engine: &Engine, together: Vec<HandedIn>) {
    if together.is_empty() {
        return;
    }
    let (mut all, mut behind, mut declared) = (Vec::new(), Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(together.len());
    for HandedIn { parts, read_to, declarations, answer } in together {
        answers.push((answer, parts.len()));
        all.extend(parts);
        behind.extend(read_to);
        declared.extend(declarations);
    }
    answer(answers, engine.accept(submissions(all.into_iter(), behind.into_iter(), declared)));
}

/// What makes an epoch: events first, so that each answer is about the parts in its place.
fn submissions(
    parts: impl Iterator<Item = EventBatch>,
    read_to: impl Iterator<Item = Position>,
    declarations: Vec<Declaration>,
) -> Vec<Submission> {
    let read_to = read_to.map(|Position { source, at }| Submission::ReadTo { source, position: at });
    let declarations = declarations.into_iter().map(Submission::Declaration);
    parts.map(Submission::Events).chain(read_to).chain(declarations).collect()
}

/// Answers senders, each with how many parts it handed in.
fn answer(senders: Vec<(oneshot::Sender<Result<Taken, HandInError>>, usize)>, outcome: Result<Receipt, DoorError>) {
    match outcome {
        Ok(receipt) => {
            let mut parts = receipt.parts.into_iter();
            for (sender, count) in senders {
                tell(sender, Ok(taken(receipt.epoch, parts.by_ref().take(count))));
            }
        }
        Err(error) => {
            let why = hand_in_error(error);
            senders.into_iter().for_each(|(sender, _)| tell(sender, Err(why.clone())));
        }
    }
}

/// What became of the parts that were handed in together.
fn taken(epoch: Epoch, parts: impl Iterator<Item = Part>) -> Taken {
    let nothing = Taken { epoch, events: 0, refused: Vec::new() };
    parts.fold(nothing, |mut taken, part| {
        taken.events += part.taken;
        taken.refused.extend(part.refused);
        taken
    })
}

/// Answers; a sender that has gone sends the same again, and it counts once.
fn tell(answer: oneshot::Sender<Result<Taken, HandInError>>, outcome: Result<Taken, HandInError>) {
    let _ = answer.send(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Setup;

    #[tokio::test]
    async fn the_quarantine_is_read_again_for_one_at_a_time() {
        let gatherer = Gatherer::start(Arc::new(Engine::start(Setup::default())));
        let turn = gatherer.replaying.clone().try_acquire_owned().expect("nobody has it");
        let refused = gatherer.replay(Selection::default()).await;
        assert!(matches!(refused, Err(HandInError::Unable(_))), "{refused:?}");
        drop(turn);
        let replayed = gatherer.replay(Selection::default()).await.expect("it is read");
        assert_eq!(replayed, Replayed::default());
    }
}
