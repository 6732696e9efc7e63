//! What stands of the events of a batch with what it said, and what would stand without.

use std::collections::HashSet;
use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::backfill::{Undone, origin};
use trueup_model::identity::Identity;
use trueup_model::metering::Metering;
use trueup_operators::event_index::RowRef;

use super::DoorError;
use super::history::History;
use super::rows::{Rows, row_of};
use super::said::Said;

/// The two histories of some events.
pub(super) struct Undoing<'a> {
    with: History<'a>,
    without: History<'a>,
    /// The way of the batch, by which its rows are known.
    way: Arc<Origin>,
    /// The events for which what the batch said stood at some time.
    stood: HashSet<Identity>,
}

impl<'a> Undoing<'a> {
    /// What was said of some events, with and without what a batch said.
    pub fn of(
        name: &str,
        concerned: &HashSet<Identity>,
        said: &Said<'_>,
        metering: &'a Metering,
    ) -> Result<Undoing<'a>, DoorError> {
        let (mut with, mut without) = (History::new(metering), History::new(metering));
        let (mut stood, way) = (HashSet::new(), origin(name));
        let is_its = |row: &RowRef| row.0.origin == way;
        said.each(concerned, |by, word| {
            let rows = word.tell(&mut with);
            if by == Some(name) {
                let identities = rows.rows.iter().map(|row| row.identity);
                stood.extend(identities.filter(|identity| with.standing(identity).is_some_and(is_its)));
            } else {
                word.tell(&mut without);
            }
        })?;
        Ok(Undoing { with, without, way, stood })
    }

    /// What taking the batch back does to an event; nothing if all is as it would be without.
    pub fn count(&self, identity: &Identity, undone: &mut Undone) {
        let counts = |history: &History<'_>| history.standing(identity).is_some_and(|row| row_of(row).asserts());
        let is_its = self.with.standing(identity).is_some_and(|row| row.0.origin == self.way);
        match (self.with.stands_as(&self.without, identity), counts(&self.with), counts(&self.without)) {
            (true, ..) if is_its => undone.restored += u64::from(counts(&self.without)),
            (true, ..) => undone.left += u64::from(self.stood.contains(identity)),
            (false, _, true) => undone.restored += 1,
            (false, true, false) => undone.retracted += 1,
            (false, false, false) => {}
        }
    }

    /// Lets an event stand as it would without the batch, if it does not: makes the row that is to stand for it, and
    /// behind it those that contradict that.
    pub fn undo(&self, identity: &Identity, made: &mut Rows) {
        if self.with.agrees(&self.without, identity) {
            return;
        }
        match (self.without.standing(identity), self.with.standing(identity)) {
            (Some(next), _) => made.restate(next),
            (None, Some(stands)) => made.say_nothing(stands),
            (None, None) => {}
        }
        self.without.contradicting(identity).for_each(|row| made.restate(row));
    }
}
