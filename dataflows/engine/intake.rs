//! Gathers what many senders hand in at once into one epoch.
//!
//! Law: whoever is answered with an epoch has all its events in the journal, in that epoch; whoever
//! is answered otherwise may hand the same in again, and it counts once. While one epoch is written
//! and synced, what comes waits and makes the next one, so that a thousand senders of one event
//! each cost a few syncs, not a thousand.

use std::sync::Arc;
use std::thread;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use trueup_connectors::intake::{HandInError, Intake, Position, Taken};
use trueup_connectors::quarantine::{Quarantine, Replayed, Selection, SetAside};
use trueup_model::fact::{Declaration, Epoch, InputId};
use trueup_model::layout::Layouts;
use trueup_model::usage::EventBatch;

use super::Engine;
use super::door::{DoorError, Part, Submission};

/// Batches that wait while an epoch is written. Senders beyond them wait at the queue.
const WAITING_MAX: usize = 4_096;
/// From how many inputs on an epoch is large enough.
const EPOCH_INPUTS: usize = 100_000;

/// A way into an engine, for as many senders as there are.
pub struct Gatherer {
    engine: Arc<Engine>,
    tenant: String,
    queue: mpsc::Sender<HandedIn>,
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
        thread.spawn(move || gather(&gathering, waiting)).expect("a thread can be started");
        Gatherer { engine, tenant: "default".to_owned(), queue }
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
        self.ask(move |engine, tenant| engine.replay_quarantine(tenant, &selection)).boxed()
    }
}

/// What the engine's refusal means to a sender.
fn hand_in_error(error: DoorError) -> HandInError {
    match error {
        DoorError::StaleLayouts => HandInError::Stale,
        DoorError::Journal(error) if !error.is_final() => HandInError::Unable(error.to_string()),
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

/// Accepts batches as one epoch, and answers each.
fn accept(engine: &Engine, together: Vec<HandedIn>) {
    let generation = engine.layouts().generation;
    // One that is out of date would keep the others out too.
    let is_stale = |handed_in: &HandedIn| handed_in.parts.iter().any(|part| part.is_stale(generation));
    let (stale, good): (Vec<_>, Vec<_>) = together.into_iter().partition(is_stale);
    stale.into_iter().for_each(|handed_in| tell(handed_in.answer, Err(HandInError::Stale)));
    if good.is_empty() {
        return;
    }
    let mut submissions = Vec::with_capacity(good.len());
    let mut behind = Vec::new();
    let mut answers = Vec::with_capacity(good.len());
    for HandedIn { parts, read_to, declarations, answer } in good {
        answers.push((answer, parts.len()));
        submissions.extend(parts.into_iter().map(Submission::Events));
        behind.extend(read_to.into_iter().map(|Position { source, at }| Submission::ReadTo { source, position: at }));
        behind.extend(declarations.into_iter().map(Submission::Declaration));
    }
    // Behind the events, so that each answer is about the parts in its place.
    submissions.append(&mut behind);
    match engine.accept(submissions) {
        Ok(receipt) => {
            let mut parts = receipt.parts.into_iter();
            for (answer, count) in answers {
                tell(answer, Ok(taken(receipt.epoch, parts.by_ref().take(count))));
            }
        }
        Err(error) => {
            let why = hand_in_error(error);
            answers.into_iter().for_each(|(answer, _)| tell(answer, Err(why.clone())));
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
