//! Applies what was staged and takes it back: on an engine, whoever has it.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use trueup::engine::Engine;
use trueup::engine::door::{Apply, Submission};
use trueup_connectors::backfills::{BackfillError, Backfills, Terms};
use trueup_connectors::intake::HandInError;
use trueup_connectors::shelf::Staged;
use trueup_model::backfill::{Scope, Whose};
use trueup_model::usage::{EventBatch, UsageRow};

use super::staged::Shelf;
use super::told::{DIGITS, Told};
use crate::cli::failure::Failure;

/// Applies a batch as one epoch; returns when the views show it.
pub fn apply(engine: &Engine, shelf: &Shelf, name: &str, terms: &Terms) -> Result<Told, Failure> {
    let staged = shelf.find(name)?;
    let is_its = |digest: &&String| digest.len() >= DIGITS && staged.digest().starts_with(digest.as_str());
    if let Some(digest) = terms.digest.as_ref().filter(|digest| !is_its(digest)) {
        return Err(Failure::Input(format!(
            "backfill '{name}' has the digest {}, not {digest}: if it was staged again since, preview it again",
            staged.digest()
        )));
    }
    let receipt = engine.accept(submissions(engine, shelf, &staged, terms.set_aside)?)?;
    engine.wait(receipt.epoch)?;
    told(engine, name, receipt.uncounted())
}

/// Takes a batch back as one epoch; returns when the views show it.
pub fn revert(engine: &Engine, name: &str) -> Result<Told, Failure> {
    let receipt = engine.accept(vec![Submission::Revert(name.to_owned())])?;
    engine.wait(receipt.epoch)?;
    told(engine, name, 0)
}

/// What became of a batch that is in the books, of whose events so many could not be counted.
pub fn told(engine: &Engine, name: &str, set_aside: u64) -> Result<Told, Failure> {
    let books = engine.books();
    let applied = books.backfills.get(name);
    let applied = applied.ok_or_else(|| Failure::Engine(format!("backfill '{name}' is not in the books")))?;
    Ok(Told::of(name, applied, set_aside))
}

/// What makes a backfill of what was staged, as one epoch.
pub fn submissions(
    engine: &Engine,
    shelf: &Shelf,
    staged: &Staged,
    sets_aside: bool,
) -> Result<Vec<Submission>, Failure> {
    if engine.books().catalog.meters.iter().next().is_none() {
        return Err(Failure::Input(
            "the journal has no catalog yet, so no event could be read: run `trueup serve` on it once".to_owned(),
        ));
    }
    let batches = shelf.read(engine, staged)?;
    let apply = Apply {
        name: staged.name().to_owned(),
        digest: staged.digest().to_owned(),
        scope: staged.scope().cloned(),
        sets_aside,
    };
    Ok(batches.into_iter().map(Submission::Events).chain([Submission::Backfill(apply)]).collect())
}

/// How many events of a batch that is to be applied are not in its scope. They count beside it.
pub fn beside(engine: &Engine, scope: &Scope, submissions: &[Submission]) -> usize {
    let catalog = &engine.books().catalog;
    let is_whose = |subject: &str| match &scope.whose {
        Whose::Subject(one) => one == subject,
        Whose::Customer(id) => {
            let customer = catalog.customers.named(id);
            customer.is_some_and(|customer| customer.subjects.iter().any(|known| known == subject))
        }
    };
    let event_type = catalog.meters.named(&scope.meter).map(|meter| meter.event_type.as_str());
    let is_beside = |batch: &EventBatch, row: &UsageRow| {
        !(scope.from..scope.to).contains(&row.occurred_at)
            || !is_whose(&batch.subjects[row.subject as usize])
            || Some(&*batch.properties[row.properties as usize].event_type) != event_type
    };
    let beside = submissions.iter().map(|submission| match submission {
        Submission::Events(batch) => batch.rows.iter().filter(|row| row.asserts() && is_beside(batch, row)).count(),
        _ => 0,
    });
    beside.sum()
}

/// The staged batches of a server's journal, for those who ask it over HTTP.
pub struct Served {
    engine: Arc<Engine>,
    shelf: Shelf,
    /// Held by whoever has one applied or taken back.
    doing: Arc<Semaphore>,
}

impl Served {
    /// Those on this shelf.
    pub fn new(engine: Arc<Engine>, shelf: Shelf) -> Served {
        Served { engine, shelf, doing: Arc::new(Semaphore::new(1)) }
    }

    /// Does something that takes its time, beside the threads that answer. One at a time: a batch is in memory
    /// as a whole, and it goes on when whoever asked has gone.
    fn ask(
        &self,
        what: impl FnOnce(&Engine, &Shelf) -> Result<Told, Failure> + Send + 'static,
    ) -> BoxFuture<'_, Result<Value, BackfillError>> {
        let Ok(turn) = self.doing.clone().try_acquire_owned() else {
            let why = "another backfill is being applied or taken back: try again when that is done";
            return ready(Err(HandInError::Unable(why.to_owned()).into())).boxed();
        };
        let (engine, shelf) = (self.engine.clone(), self.shelf.clone());
        async move {
            let done = spawn_blocking(move || {
                let _turn = turn;
                what(&engine, &shelf)
            });
            let done = done.await.map_err(|_| HandInError::Stopped("the engine could not answer".to_owned()))?;
            done.map(|told| told.json()).map_err(answer)
        }
        .boxed()
    }
}

/// What whoever asked a server over HTTP is told of a failure.
fn answer(failure: Failure) -> BackfillError {
    match failure {
        Failure::Input(why) | Failure::No(why) => BackfillError::Refused(why),
        Failure::Later(why) => HandInError::Unable(why).into(),
        Failure::Engine(why) => HandInError::Stopped(why).into(),
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Served").finish_non_exhaustive()
    }
}

impl Backfills for Served {
    fn apply(&self, name: String, terms: Terms) -> BoxFuture<'_, Result<Value, BackfillError>> {
        self.ask(move |engine, shelf| apply(engine, shelf, &name, &terms))
    }

    fn revert(&self, name: String) -> BoxFuture<'_, Result<Value, BackfillError>> {
        self.ask(move |engine, _| revert(engine, &name))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use trueup::engine::door::DoorError;
    use trueup_connectors::journal::JournalError;

    use super::*;

    #[test]
    fn a_server_without_room_is_not_taken_for_one_that_has_stopped() {
        let source = Error::from(ErrorKind::StorageFull);
        let told = answer(DoorError::from(JournalError::Full { epoch: 7, source }).into());
        assert!(matches!(&told, BackfillError::NotNow(HandInError::Unable(_))), "{told:?}");
        assert!(told.to_string().contains("make room and try again"), "{told}");
        let told = answer(DoorError::from(JournalError::Failed).into());
        assert!(matches!(told, BackfillError::NotNow(HandInError::Stopped(_))), "{told:?}");
    }
}
