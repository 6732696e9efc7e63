//! Backfills: named batches of events that enter as one epoch, and are taken back as one.
//!
//! What is applied is fixed before: a name, a digest of what was staged, and, if the batch is to
//! stand in place of all there was, a scope. What follows from it is worked out at the door and lies
//! in the same entry of the journal, behind the fact that says so.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::arrival::Origin;
use crate::fact::Epoch;
use crate::grain::Micros;

/// What a journal entry says of a backfill. Usage that lies before it in the entry is the batch;
/// usage behind it is what follows: events that are retracted, or what stands of each without the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backfill {
    /// A batch was applied.
    Applied(Batch),
    /// What a batch had brought was taken back.
    Reverted {
        /// Its name.
        name: String,
        /// What was done for it.
        undone: Undone,
    },
}

impl Backfill {
    /// Its name.
    pub fn name(&self) -> &str {
        let (Backfill::Applied(Batch { name, .. }) | Backfill::Reverted { name, .. }) = self;
        name
    }

    /// The way by which what follows from it comes in.
    pub fn origin(&self) -> Arc<Origin> {
        origin(self.name())
    }
}

/// The source of the events of all backfills.
pub const SOURCE: &str = "backfill";

/// The way by which the events of a backfill come in, and what follows from them.
pub fn origin(name: &str) -> Arc<Origin> {
    Arc::new(Origin { source: SOURCE.to_owned(), partition: name.to_owned() })
}

/// A batch that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its name, which no other has.
    pub name: String,
    /// Of what was staged: SHA-256, in hexadecimal digits.
    pub digest: String,
    /// In place of what it stands; none: it comes on top.
    pub scope: Option<Scope>,
    /// How many of its events passed.
    pub events: u64,
    /// How many events of the scope were retracted, since the batch does not name them.
    pub displaced: u64,
}

/// Which events a batch stands in place of: those of somebody that a meter reads, used within a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Whose.
    pub whose: Whose,
    /// The meter that reads them. Another one that reads them too loses them as well.
    pub meter: String,
    /// The first instant at which they were used.
    pub from: Micros,
    /// The first instant after it.
    pub to: Micros,
}

/// Whose events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Those of one subject.
    Subject(String),
    /// Those of every subject that is a customer's when the batch is applied.
    Customer(String),
}

/// What taking a batch back did, by identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Do not count any more: nobody else says that they happened.
    pub retracted: u64,
    /// Something else counts again: what others have said of them.
    pub restored: u64,
    /// Left as they are: what others have said since stands already.
    pub left: u64,
    /// Inputs, not identities, that the batch had left in the quarantine, where nobody reads them again: they take no
    /// room there any more.
    #[serde(default)]
    pub dropped: u64,
}

/// Enters what the entry of an epoch says of a backfill among those that are known.
pub fn enter(backfills: &mut OrdMap<Arc<str>, Applied>, epoch: Epoch, said: &Backfill) {
    match said {
        Backfill::Applied(batch) => {
            let applied = Applied { batch: batch.clone(), epoch, reverted: None };
            backfills.insert(batch.name.as_str().into(), applied);
        }
        Backfill::Reverted { name, undone } => {
            if let Some(applied) = backfills.get_mut(name.as_str()) {
                applied.reverted = Some((epoch, *undone));
            }
        }
    }
}

/// Whether inputs of this way are those of a batch that was taken back: then they do not count any more, also
/// if they can be read by now.
pub fn is_taken_back(backfills: &OrdMap<Arc<str>, Applied>, way: &Origin) -> bool {
    let batch = if way.source == SOURCE { backfills.get(way.partition.as_str()) } else { None };
    batch.is_some_and(|batch| batch.reverted.is_some())
}

/// A batch in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What was applied.
    pub batch: Batch,
    /// At which epoch.
    pub epoch: Epoch,
    /// At which epoch it was taken back, and what that did.
    pub reverted: Option<(Epoch, Undone)>,
}
