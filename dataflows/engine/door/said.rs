//! What was said of some events, as the journal tells it from its beginning.
//!
//! Law: what a batch said that was taken back is left out, and what a batch displaces is found anew, under the
//! catalog of its epoch: so that what stands is what would, if less had been said. What entries hold behind the
//! fact of a backfill follows from that and is not told. Of all rows only those of the events that are asked for
//! are kept, so memory grows with them and not with the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use imbl::OrdMap;
use trueup_connectors::journal::{Journal, JournalError, ReadBack};
use trueup_model::arrival::Origin;
use trueup_model::backfill::{self, Applied, origin};
use trueup_model::books::Books;
use trueup_model::dictionary::Dictionary;
use trueup_model::fact::{Entry, Epoch, Fact};
use trueup_model::identity::Identity;
use trueup_model::usage::UsageBatch;

use super::ahead::Ahead;
use super::backfills::EVENTS_MAX;
use super::history::{Displacing, History};
use super::rows::{about, names_set_aside};
use super::scope::Region;
use super::{Door, DoorError};

/// The journal, read for what was said.
pub(super) struct Said<'a> {
    source: Source<'a>,
    backfills: &'a OrdMap<Arc<str>, Applied>,
    by_epoch: HashMap<Epoch, &'a str>,
    /// What those displace that are not taken back, by their epochs.
    regions: HashMap<Epoch, Region>,
}

/// Where it is read.
pub(super) enum Source<'a> {
    /// At the door.
    Journal(&'a dyn Journal),
    /// Beside it, up to an epoch.
    Back {
        /// The journal.
        journal: &'a ReadBack,
        /// The epoch.
        upto: Epoch,
    },
    /// At the door, behind what was read ahead of some events.
    Ahead(&'a Ahead, &'a dyn Journal),
}

/// What batches displace that are not taken back, by their epochs.
pub(super) fn regions(books: &Books, dictionary: &Dictionary) -> Result<HashMap<Epoch, Region>, String> {
    let mut regions = HashMap::new();
    for applied in books.backfills.values().filter(|applied| applied.reverted.is_none()) {
        if let (Some(scope), Some(catalog)) = (&applied.batch.scope, books.replaced_under.get(&applied.epoch)) {
            regions.insert(applied.epoch, Region::of(scope, catalog, dictionary)?);
        }
    }
    Ok(regions)
}

/// The next that was said.
pub(super) enum Word<'a> {
    /// Rows.
    Rows(Arc<UsageBatch>),
    /// All that stands in a scope is displaced.
    Displacing(Displacing<'a>),
}

impl Word<'_> {
    /// Tells a history; gives the rows by which it goes on.
    pub fn tell(&self, history: &mut History<'_>) -> Arc<UsageBatch> {
        match self {
            Word::Rows(rows) => {
                history.take(rows);
                rows.clone()
            }
            Word::Displacing(displacing) => history.displace(displacing),
        }
    }
}

impl<'a> Said<'a> {
    /// What a door's journal says, of which a part may have been read ahead.
    pub fn at(door: &'a Door, ahead: Option<&'a Ahead>) -> Result<Said<'a>, String> {
        let journal = &*door.journal;
        let source = ahead.map_or(Source::Journal(journal), |ahead| Source::Ahead(ahead, journal));
        Ok(Said::of(&door.books, regions(&door.books, &door.dictionary)?, source))
    }

    /// What is said there, under these books.
    pub fn of(books: &'a Books, regions: HashMap<Epoch, Region>, source: Source<'a>) -> Said<'a> {
        let backfills = &books.backfills;
        let by_epoch = backfills.iter().map(|(name, applied)| (applied.epoch, &**name)).collect();
        Said { source, backfills, by_epoch, regions }
    }

    /// The entries from an epoch on; of those that were read ahead, what was.
    pub fn entries(&self, from: Epoch) -> Box<dyn Iterator<Item = Result<Arc<Entry>, JournalError>> + '_> {
        match self.source {
            Source::Journal(journal) => journal.entries(from),
            Source::Back { journal, upto } => {
                // Epochs have no gaps; what is being written behind the last is not looked at.
                let count = (upto + 1).saturating_sub(from.max(1));
                Box::new(journal.entries(from).take(usize::try_from(count).unwrap_or(usize::MAX)))
            }
            Source::Ahead(ahead, journal) => {
                let since = journal.entries(from.max(ahead.upto() + 1));
                Box::new(ahead.entries(from).cloned().map(Ok).chain(since))
            }
        }
    }

    /// The events that are concerned if a batch is applied that names some, in place of what stands in a region before
    /// an epoch; none if they are too many.
    pub fn concerned_by(
        &self,
        named: &HashSet<Identity>,
        region: Option<&Region>,
        before: Epoch,
    ) -> Result<Option<HashSet<Identity>>, DoorError> {
        let mut concerned = named.clone();
        if let Some(region) = region {
            concerned.extend(self.within(region, before, EVENTS_MAX)?);
        }
        Ok(Some(concerned).filter(|concerned| concerned.len() <= EVENTS_MAX))
    }

    /// The events that are concerned if a batch is taken back, and how many of its inputs were set aside when it was
    /// applied. None if the journal does not have it where its books say.
    pub fn concerned_with(
        &self,
        name: &str,
        was_read_again: bool,
    ) -> Result<Option<(HashSet<Identity>, u64)>, DoorError> {
        let Some((mut concerned, set_aside)) = self.named_by(name, was_read_again)? else { return Ok(None) };
        let applied = self.backfills[name].epoch;
        if let Some(region) = self.regions.get(&applied) {
            concerned.extend(self.within(region, applied, usize::MAX)?);
        }
        Ok(Some((concerned, set_aside)))
    }

    /// Goes through what was said of some events; `hear` is told which batch said it.
    pub fn each(
        &self,
        wanted: &HashSet<Identity>,
        mut hear: impl FnMut(Option<&'a str>, Word<'_>),
    ) -> Result<(), DoorError> {
        for entry in self.entries(1) {
            let entry = entry?;
            let mut named = HashSet::new();
            for batch in usage(&entry) {
                let by = self.who_said(entry.epoch, &batch.origin);
                if by.is_some_and(|name| self.backfills[name].reverted.is_some()) {
                    continue;
                }
                let way = by.map_or_else(|| batch.origin.clone(), origin);
                let rows = about(wanted, batch, &way);
                if !rows.rows.is_empty() {
                    named.extend(rows.rows.iter().map(|row| row.identity));
                    hear(by, Word::Rows(rows));
                }
            }
            if let Some(region) = self.regions.get(&entry.epoch) {
                let name = self.by_epoch[&entry.epoch];
                let (named, received_at, way) = (&named, entry.clock, &origin(name));
                let unread = &names_set_aside(said_in(&entry)).flatten().collect();
                hear(Some(name), Word::Displacing(Displacing { region, named, unread, received_at, way }));
            }
        }
        Ok(())
    }

    /// All events of which something was said in a region before an epoch: what stands there is among them. If there
    /// are more than `most`, only a few more.
    fn within(&self, region: &Region, before: Epoch, most: usize) -> Result<HashSet<Identity>, DoorError> {
        let mut found = HashSet::new();
        for entry in self.entries(1) {
            let entry = entry?;
            if entry.epoch >= before || found.len() > most {
                break;
            }
            for batch in usage(&entry) {
                found.extend(batch.rows.iter().filter(|row| region.has(batch, row)).map(|row| row.identity));
            }
        }
        Ok(found)
    }

    /// The events of which a batch said something: when it was applied, and when inputs of it that had been set aside
    /// then were read again; and how many had been. None if the journal does not have it where its books say.
    fn named_by(&self, name: &str, was_read_again: bool) -> Result<Option<(HashSet<Identity>, u64)>, DoorError> {
        let applied = self.backfills[name].epoch;
        let (mut named, mut set_aside) = (HashSet::new(), None);
        for entry in self.entries(applied).take(if was_read_again { usize::MAX } else { 1 }) {
            let entry = entry?;
            if entry.epoch == applied {
                set_aside = Some(names_set_aside(said_in(&entry)).count() as u64);
            }
            let its = usage(&entry).filter(|batch| self.who_said(entry.epoch, &batch.origin) == Some(name));
            named.extend(its.flat_map(|batch| &batch.rows).map(|row| row.identity));
        }
        Ok(set_aside.map(|set_aside| (named, set_aside)))
    }

    /// The batch that said what came at an epoch by a way: all of the epoch in which it was applied, and what came
    /// by its way since.
    fn who_said(&self, epoch: Epoch, way: &Origin) -> Option<&'a str> {
        let by_way = || {
            let (name, applied) = self.backfills.get_key_value(way.partition.as_str())?;
            (way.source == backfill::SOURCE && epoch > applied.epoch).then_some(&**name)
        };
        self.by_epoch.get(&epoch).copied().or_else(by_way)
    }
}

/// The usage of an entry, but for what follows from a backfill.
fn usage(entry: &Entry) -> impl Iterator<Item = &Arc<UsageBatch>> {
    said_in(entry).filter_map(|fact| match fact {
        Fact::Usage(batch) => Some(batch),
        _ => None,
    })
}

fn said_in(entry: &Entry) -> impl Iterator<Item = &Fact> {
    entry.facts.iter().take_while(|fact| !matches!(fact, Fact::Backfill(_)))
}
