//! What stands of some events after some of what was said of them, and what contradicts that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::grain::Micros;
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_model::usage::UsageBatch;
use trueup_operators::event_index::{Outcome, RowRef, compare};

use super::rows::{Rows, row_of, sent_as};
use super::scope::Region;

/// What stands after some rows, and what contradicts it.
pub(super) struct History<'a> {
    metering: &'a Metering,
    standing: HashMap<Identity, RowRef>,
    /// By what each says.
    contradicting: HashMap<Identity, BTreeMap<u64, RowRef>>,
}

/// What a scope is filled with anew: all that stands in it is displaced, but what the batch names.
pub(super) struct Displacing<'a> {
    pub region: &'a Region,
    pub named: &'a HashSet<Identity>,
    /// What the batch names and cannot be read, by source and id.
    pub unread: &'a HashSet<(&'a str, &'a str)>,
    pub received_at: Micros,
    /// The way of the batch.
    pub way: &'a Arc<Origin>,
}

impl<'a> History<'a> {
    /// Before the first row.
    pub fn new(metering: &'a Metering) -> History<'a> {
        History { metering, standing: HashMap::new(), contradicting: HashMap::new() }
    }

    /// The next rows; tells how many of them contradict what stands.
    pub fn take(&mut self, rows: &Arc<UsageBatch>) -> usize {
        let mut contradicting = 0;
        for place in 0..rows.rows.len() as u32 {
            let outcome = self.take_row((rows.clone(), place));
            contradicting += usize::from(matches!(outcome, Outcome::Conflict(_)));
        }
        contradicting
    }

    fn take_row(&mut self, row: RowRef) -> Outcome {
        let (batch, identity) = (&row.0, row_of(&row).identity);
        let standing = self.standing.get(&identity).cloned();
        let outcome = standing.map_or(Outcome::First, |found| compare((batch, row_of(&row)), found, self.metering));
        match outcome {
            Outcome::First | Outcome::Reread(_) => drop(self.standing.insert(identity, row)),
            Outcome::Replaced(_) => {
                self.standing.insert(identity, row);
                self.contradicting.remove(&identity);
            }
            Outcome::Duplicate | Outcome::Superseded => {}
            Outcome::Conflict(_) => {
                let known = self.contradicting.entry(identity).or_default();
                known.entry(batch.content_digest(row_of(&row))).or_insert(row);
            }
        }
        outcome
    }

    /// Displaces what stands in a scope; gives the retractions.
    pub fn displace(&mut self, displacing: &Displacing<'_>) -> Arc<UsageBatch> {
        let mut retractions = Rows::new(0, displacing.received_at, displacing.way.clone());
        let displaced = self.displaced(displacing.region, displacing.named);
        let stays = |row: &&RowRef| displacing.unread.contains(&sent_as(row));
        displaced.iter().filter(|row| !stays(row)).for_each(|row| retractions.retract(row));
        let retractions = retractions.finish();
        self.take(&retractions);
        retractions
    }

    /// What stands in a region, but for some events; in the order of the journal.
    pub fn displaced(&self, region: &Region, named: &HashSet<Identity>) -> Vec<RowRef> {
        let rows = self.standing.values().filter(|row| region.has(&row.0, row_of(row)));
        let mut rows: Vec<RowRef> = rows.filter(|row| !named.contains(&row_of(row).identity)).cloned().collect();
        rows.sort_unstable_by_key(|(batch, place)| (batch.first_row, *place));
        rows
    }

    /// What stands for an event now.
    pub fn standing(&self, identity: &Identity) -> Option<&RowRef> {
        self.standing.get(identity)
    }

    /// What contradicts what stands for an event, each thing once.
    pub fn contradicting(&self, identity: &Identity) -> impl Iterator<Item = &RowRef> {
        self.contradicting.get(identity).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether for an event here and there the same stands, and the same contradicts it.
    pub fn agrees(&self, other: &History<'_>, identity: &Identity) -> bool {
        let digests = |history: &History<'_>| -> Vec<u64> {
            history.contradicting.get(identity).into_iter().flat_map(BTreeMap::keys).copied().collect()
        };
        self.stands_as(other, identity) && digests(self) == digests(other)
    }

    /// Whether for an event here and there the same stands.
    pub fn stands_as(&self, other: &History<'_>, identity: &Identity) -> bool {
        match (self.standing(identity), other.standing(identity)) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                let [row, other_row] = [row_of(one), row_of(other)];
                row.rank() == other_row.rank() && (!row.asserts() || one.0.same_content(row, &other.0, other_row))
            }
            _ => false,
        }
    }
}
