//! Everything that can enter. A fact is accepted once, in the journal, and never changed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arrival::Arrival;
use crate::backfill::Backfill;
use crate::catalog::CatalogChange;
use crate::dictionary::NewNames;
use crate::grain::Micros;
use crate::money::Amount;
use crate::usage::{Reason, Refused, UsageBatch};

/// The number of a journal entry: the engine's logical time, from 1 on.
pub type Epoch = u64;

/// One thing that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Usage events that passed the door.
    Usage(Arc<UsageBatch>),
    /// Inputs that were set aside.
    Refused(Vec<Refused>),
    /// A change of the catalog.
    Catalog(CatalogChange),
    /// A document that was issued to a customer.
    Issued(Document),
    /// How many inputs a producer says to have sent.
    Declared(Declaration),
    /// Inputs that had been set aside and were read again.
    Replayed(Vec<Replay>),
    /// A backfill was applied, or taken back.
    Backfill(Backfill),
}

/// An input that was set aside: the epoch that brought it, and its place among those of the epoch.
///
/// ```
/// use trueup_model::fact::InputId;
/// assert_eq!("12/3".parse(), Ok(InputId { epoch: 12, place: 3 }));
/// assert!("12".parse::<InputId>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputId {
    /// The epoch.
    pub epoch: Epoch,
    /// The place.
    pub place: u64,
}

impl fmt::Display for InputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.place)
    }
}

impl FromStr for InputId {
    type Err = String;

    fn from_str(text: &str) -> Result<InputId, String> {
        let parts = text.split_once('/').and_then(|(epoch, place)| Some((epoch.parse().ok()?, place.parse().ok()?)));
        let (epoch, place) = parts.ok_or_else(|| {
            format!("`{text}` names no input: write its epoch and place as the quarantine shows them, such as 12/3")
        })?;
        Ok(InputId { epoch, place })
    }
}

/// An input that was set aside and read again. What was accepted of it is among the usage of the same
/// entry, received when and where the input was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Which input.
    pub input: InputId,
    /// Where the ledger has it.
    pub arrival: Arrival,
    /// Why it stays set aside; none: it was accepted.
    pub still: Option<(Reason, String)>,
}

/// How many inputs a producer says to have sent by one way for one hour. The last that is said of
/// an hour holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// Which way and hour.
    pub arrival: Arrival,
    /// How many inputs, those among them that are sent again.
    pub events: u64,
}

/// What the journal holds of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its number; entries follow one another without a gap.
    pub epoch: Epoch,
    /// The billing clock when it was accepted; never goes back.
    pub clock: Micros,
    /// How far each source has been read once this entry is: by its name, in its own words. A
    /// source that is not named stands where it stood.
    pub offsets: BTreeMap<String, String>,
    /// The names that were first given an id here; rows name subjects, property sets and texts by
    /// ids, so only with these does an entry mean something to another process.
    pub names: NewNames,
    /// The facts, in the order in which they were accepted.
    pub facts: Vec<Fact>,
}

/// An issued document: an invoice, or the correction of one. It never changes; truth that
/// comes later becomes another document that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its number, unique: `INV-000001`.
    pub number: String,
    /// The invoice it corrects; none: it is an invoice.
    pub corrects: Option<String>,
    /// Who is billed.
    pub customer: String,
    /// For which subscription.
    pub subscription: String,
    /// The first instant of the billing period.
    pub period_start: Micros,
    /// The first instant after it.
    pub period_end: Micros,
    /// When it was issued, by the billing clock.
    pub issued_at: Micros,
    /// Its currency.
    pub currency: String,
    /// Its lines; a correction's are differences and may be negative.
    pub lines: Vec<DocumentLine>,
}

impl Document {
    /// What is to be paid: the sum of its lines.
    pub fn total(&self) -> Amount {
        self.lines.iter().map(|line| line.billed).sum()
    }
}

/// A line of an issued document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentLine {
    /// What was used.
    pub feature: String,
    /// The first instant of the service period.
    pub service_start: Micros,
    /// The first instant after it.
    pub service_end: Micros,
    /// How much, in units of 10^-12.
    pub quantity: i128,
    /// The rounded amount, in units of 10^-12.
    pub billed: Amount,
}
