//! What a backfill needs of the journal, read before anybody has to wait for it.
//!
//! Law: of the events that it was read for, what was read ahead tells the same as the journal up to its epoch. So
//! whoever is at the door reads only what came since; and all of it, if the catalog is another by now, or the backfill
//! concerns more events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use trueup_connectors::journal::ReadBack;
use trueup_model::books::Books;
use trueup_model::catalog::Catalog;
use trueup_model::fact::{Entry, Epoch, Fact};
use trueup_model::identity::Identity;

use super::backfills::{concerns_too_many, read_again};
use super::rows::about;
use super::said::{Said, Source, regions};
use super::scope::Region;
use super::{Door, DoorError, Submission};

/// What was read.
pub struct Ahead {
    /// Up to this epoch.
    upto: Epoch,
    /// Under this catalog.
    catalog: Arc<Catalog>,
    /// For these events.
    wanted: HashSet<Identity>,
    /// Of each entry that says something of them, or in which a backfill was applied or taken back, just that.
    entries: Vec<Arc<Entry>>,
}

impl Ahead {
    /// The last epoch that was read.
    pub(super) fn upto(&self) -> Epoch {
        self.upto
    }

    /// What was read from an epoch on.
    pub(super) fn entries(&self, from: Epoch) -> impl Iterator<Item = &Arc<Entry>> {
        let after = self.entries.partition_point(|entry| entry.epoch < from);
        self.entries[after..].iter()
    }

    /// Whether it was read under a catalog: which events are concerned depends on that.
    pub(super) fn is_under(&self, catalog: &Arc<Catalog>) -> bool {
        Arc::ptr_eq(&self.catalog, catalog)
    }

    /// Whether it was read for all of these events.
    pub(super) fn is_for(&self, concerned: &HashSet<Identity>) -> bool {
        concerned.is_subset(&self.wanted)
    }
}

/// What is to be read.
pub struct Plan {
    upto: Epoch,
    books: Arc<Books>,
    journal: ReadBack,
    regions: HashMap<Epoch, Region>,
    backfill: Planned,
}

/// For which backfill.
enum Planned {
    Apply { name: String, named: HashSet<Identity>, region: Option<Box<Region>> },
    Revert { name: String },
}

impl Door {
    /// What is to be read ahead for a backfill among these submissions; none if there is none, or nothing that it
    /// could be done to.
    pub fn plan(&self, submissions: &[Submission]) -> Option<Plan> {
        let backfill = submissions.iter().find_map(|submission| match submission {
            Submission::Revert(name) => {
                self.books.backfills.contains_key(name.as_str()).then(|| Planned::Revert { name: name.clone() })
            }
            Submission::Backfill(apply) => {
                let region = apply.scope.as_ref();
                let region = region.map(|scope| Region::of(scope, &self.books.catalog, &self.dictionary));
                Some(Planned::Apply {
                    name: apply.name.clone(),
                    named: named(submissions),
                    region: region.transpose().ok()?.map(Box::new),
                })
            }
            _ => None,
        })?;
        Some(Plan {
            upto: self.dispatched,
            books: self.books.clone(),
            journal: self.journal.read_back(),
            regions: regions(&self.books, &self.dictionary).ok()?,
            backfill,
        })
    }
}

impl Plan {
    /// Reads it. Takes as long as the journal is, once to find which events are concerned, where there is a scope, and
    /// once for what was said of them.
    pub fn read(self) -> Result<Ahead, DoorError> {
        let Plan { upto, books, journal, regions, backfill } = self;
        let said = Said::of(&books, regions, Source::Back { journal: &journal, upto });
        let wanted = match backfill {
            Planned::Apply { name, named, region } => {
                let concerned = said.concerned_by(&named, region.as_deref(), upto + 1)?;
                concerned.ok_or_else(|| DoorError::Backfill { name, why: concerns_too_many() })?
            }
            Planned::Revert { name } => {
                let applied = books.backfills[name.as_str()].epoch;
                said.concerned_with(&name, read_again(&books, applied) > 0)?.unwrap_or_default().0
            }
        };
        let mut entries = Vec::new();
        for entry in said.entries(1) {
            entries.extend(told_of(&*entry?, &wanted));
        }
        Ok(Ahead { upto, catalog: books.catalog.clone(), wanted, entries })
    }
}

/// The events that submissions are about.
fn named(submissions: &[Submission]) -> HashSet<Identity> {
    let batches = submissions.iter().filter_map(|submission| match submission {
        Submission::Events(batch) => Some(batch),
        _ => None,
    });
    batches.flat_map(|batch| &batch.rows).map(|row| row.identity).collect()
}

/// What an entry says of some events, and of backfills: with one, also what was set aside.
fn told_of(entry: &Entry, wanted: &HashSet<Identity>) -> Option<Arc<Entry>> {
    let is_backfill = |fact: &Fact| matches!(fact, Fact::Backfill(_));
    let has_backfill = entry.facts.iter().any(is_backfill);
    let told = |fact: &Fact| match fact {
        Fact::Usage(batch) => {
            let rows = about(wanted, batch, &batch.origin);
            (!rows.rows.is_empty()).then_some(Fact::Usage(rows))
        }
        Fact::Refused(_) if has_backfill => Some(fact.clone()),
        Fact::Backfill(_) => Some(fact.clone()),
        _ => None,
    };
    let facts: Vec<Fact> = entry.facts.iter().filter_map(told).collect();
    (!facts.is_empty()).then(|| Arc::new(Entry { epoch: entry.epoch, clock: entry.clock, facts, ..Entry::default() }))
}

#[cfg(test)]
mod tests {
    use trueup_connectors::EventReader;
    use trueup_model::backfill::{Scope, Whose};
    use trueup_model::catalog::CatalogChange;
    use trueup_model::meter::{Filter, Meter};
    use trueup_sinks::view::View;

    use super::*;
    use crate::engine::clock::Clock;
    use crate::engine::door::Apply;
    use crate::engine::view_rows::Row;
    use crate::engine::{Engine, Setup};

    /// 2026-06-01T12:00:00Z.
    const NOW: i64 = 1_780_315_200_000_000;

    fn meter(filter: Filter) -> Submission {
        let meter = Meter { dimensions: vec!["model".to_owned()], filter, ..Meter::counting("calls", "call") };
        Submission::Catalog(vec![CatalogChange::Meter(meter)])
    }

    /// An event that happened at this hour of the day.
    fn event(engine: &Engine, id: &str, subject: &str, hour: u32, revision: u32) -> Submission {
        let mut batch = EventReader::new(engine.layouts(), "default", "test");
        let mut builder = batch.batch();
        let event = format!(
            r#"{{"id":"{id}","source":"/s","type":"call","subject":"{subject}","time":"2026-06-01T{hour:02}:00:00Z",
            "revision":{revision},"data":{{"model":"m"}}}}"#
        );
        batch.read_line(event.replace('\n', "").as_bytes(), "a line", &mut builder);
        Submission::Events(builder.finish())
    }

    /// Of `acme` from 2 to 6 o'clock.
    fn apply(name: &str) -> Submission {
        const HOUR: i64 = 3_600_000_000;
        let (from, to) = (NOW - 10 * HOUR, NOW - 6 * HOUR);
        let scope = Scope { whose: Whose::Subject("acme".to_owned()), meter: "calls".to_owned(), from, to };
        Submission::Backfill(Apply {
            name: name.to_owned(),
            digest: "d".to_owned(),
            scope: Some(scope),
            sets_aside: true,
        })
    }

    fn only(model: &str) -> Filter {
        Filter::from([("model".to_owned(), [model.to_owned()].into())])
    }

    /// Some events, of which the meter reads what this filter lets through.
    fn told(filter: Filter) -> Engine {
        let engine = Engine::start(Setup { clock: Clock::Told, ..Setup::default() });
        engine.accept(vec![Submission::Clock(NOW), meter(filter)]).expect("it makes sense");
        for (id, subject, hour) in [("in", "acme", 3), ("out", "acme", 8), ("others", "bolt", 3), ("named", "acme", 4)]
        {
            engine.accept(vec![event(&engine, id, subject, hour, 2)]).expect("it is taken");
        }
        engine
    }

    fn batch(engine: &Engine) -> Vec<Submission> {
        vec![event(engine, "named", "acme", 5, 3), event(engine, "new", "acme", 2, 0), apply("june")]
    }

    /// What others do meanwhile.
    const MEANWHILE: [fn(&Engine) -> Submission; 10] = [
        |_| Submission::Clock(NOW),
        |engine| event(engine, "late", "acme", 3, 0),
        |engine| event(engine, "out", "acme", 3, 3),
        // What stands lies elsewhere.
        |engine| event(engine, "out", "acme", 3, 1),
        |engine| event(engine, "in", "acme", 9, 3),
        |engine| event(engine, "others", "acme", 4, 3),
        |engine| event(engine, "named", "acme", 3, 7),
        |engine| event(engine, "new", "acme", 3, 0),
        |_| meter(only("other")),
        |_| meter(Filter::new()),
    ];

    fn shown(engine: &Engine) -> (Vec<Row>, Vec<Row>, String) {
        let last = engine.accept(Vec::new()).expect("it runs").epoch;
        let moment = engine.wait(last).expect("it runs");
        let backfills = engine.books().backfills.values().map(|applied| format!("{applied:?}")).collect();
        (moment.rows(View::Usage), moment.rows(View::Ledger), backfills)
    }

    #[test]
    fn what_comes_while_a_backfill_reads_counts() {
        let filters = [Filter::new(), only("other")];
        for (which, filter) in (0..MEANWHILE.len()).flat_map(|which| filters.clone().map(|filter| (which, filter))) {
            let [ahead, behind] = [told(filter.clone()), told(filter)];
            let read = ahead.read_ahead(&batch(&ahead)).expect("it can be read");
            assert!(read.is_some());
            for engine in [&ahead, &behind] {
                engine.accept(vec![MEANWHILE[which](engine)]).expect("it is taken");
            }
            let apply = |engine: &Engine, read| engine.accept_at(&mut engine.door(), batch(engine), read).map(|_| ());
            apply(&ahead, read).and(apply(&behind, None)).expect("it is applied");
            assert_eq!(shown(&ahead), shown(&behind), "{which}");
            let revert = vec![Submission::Revert("june".to_owned())];
            let read = ahead.read_ahead(&revert).expect("it can be read");
            for engine in [&ahead, &behind] {
                engine.accept(vec![event(engine, "new", "acme", 5, 3)]).expect("it is taken");
                engine.accept(vec![MEANWHILE[which](engine)]).expect("it is taken");
            }
            ahead.accept_at(&mut ahead.door(), revert.clone(), read).expect("it is taken back");
            behind.accept_at(&mut behind.door(), revert, None).expect("it is taken back");
            assert_eq!(shown(&ahead), shown(&behind), "{which}: taken back");
        }
    }

    #[test]
    fn what_is_read_ahead_is_only_what_is_needed() {
        let engine = told(Filter::new());
        let ahead = engine.read_ahead(&batch(&engine)).expect("it can be read").expect("there is a backfill");
        assert_eq!(ahead.wanted.len(), 3, "one stands in the scope, two are named");
        assert_eq!(ahead.entries(1).map(|entry| entry.epoch).collect::<Vec<_>>(), [2, 5]);
        assert!(engine.read_ahead(&[event(&engine, "in", "acme", 3, 0)]).expect("it can be read").is_none());
    }
}
