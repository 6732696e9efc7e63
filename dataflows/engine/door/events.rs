//! Events at the door: texts become ids, and what cannot be counted is set aside.

use std::sync::Arc;

use trueup_model::arrival::Origin;
use trueup_model::calendar::CENTURY;
use trueup_model::dictionary::Properties;
use trueup_model::grain::{Micros, show_micros};
use trueup_model::usage::{EventBatch, Reason, Refused, SentIds, UsageBatch, UsageRow};

use super::{Acceptance, Door, DoorError, Proposal};

/// In place of the id of a property set: there are too many.
const TOO_MANY: u32 = u32::MAX;

impl Door {
    /// Gives a batch the ids of the dictionary, and sets aside what cannot be counted.
    pub(super) fn take_events(&mut self, proposal: &mut Proposal, batch: EventBatch) -> Result<(), DoorError> {
        let layouts = proposal.catalog.layouts().clone();
        if batch.is_stale(layouts.generation) {
            return Err(DoorError::StaleLayouts);
        }
        let subjects: Vec<u32> = batch.subjects.iter().map(|subject| self.dictionary.subject(subject)).collect();
        let texts: Vec<u32> = batch.texts.iter().map(|text| self.dictionary.text(text)).collect();
        let mut properties = Vec::with_capacity(batch.properties.len());
        let mut text_columns = Vec::with_capacity(batch.properties.len());
        for set in batch.properties {
            let layout = layouts.of(&set.event_type).ok_or(DoorError::StaleLayouts)?.clone();
            text_columns.push((layout.numbers.len(), layout.columns()));
            properties.push(self.property_set(Properties { layout, dimensions: set.dimensions }));
        }
        let origin = Arc::new(Origin { source: batch.source, partition: batch.partition });
        let mut usage = UsageBatch {
            first_row: proposal.rows,
            received_at: proposal.books.clock,
            origin,
            rows: batch.rows,
            wide: batch.wide,
            ids: batch.ids,
        };
        for row in &mut usage.rows {
            let (first, end) = text_columns[row.properties as usize];
            rename_texts(row, &mut usage.wide, first..end, &texts);
            row.subject = subjects[row.subject as usize];
            row.properties = properties[row.properties as usize];
        }
        let mut refused = batch.refused;
        let bounds = Bounds::around(proposal.books.clock, &self.acceptance);
        set_aside(&mut usage, &bounds, &mut refused);
        proposal.take_refused(refused);
        proposal.take_usage(Arc::new(usage));
        Ok(())
    }

    /// The id of a property set; none is given beyond those that may be kept apart.
    fn property_set(&mut self, properties: Properties) -> u32 {
        let is_room = self.dictionary.names().property_sets() < self.acceptance.property_sets_max;
        match is_room || self.dictionary.knows(&properties) {
            true => self.dictionary.property_set(properties),
            false => TOO_MANY,
        }
    }
}

/// Between which times an event may have happened.
struct Bounds {
    from: Micros,
    to: Micros,
    property_sets_max: usize,
}

impl Bounds {
    fn around(clock: Micros, acceptance: &Acceptance) -> Bounds {
        Bounds {
            from: clock.saturating_sub(acceptance.past).max(CENTURY.start),
            to: clock.saturating_add(acceptance.future).min(CENTURY.end - 1),
            property_sets_max: acceptance.property_sets_max,
        }
    }

    /// Why a row cannot be counted, if it cannot.
    fn fault(&self, row: &UsageRow) -> Option<Reason> {
        if row.properties == TOO_MANY {
            return Some(Reason::TooManyDimensions);
        }
        let is_in_time = row.retract || (self.from <= row.occurred_at && row.occurred_at <= self.to);
        (!is_in_time).then_some(Reason::TimeOutOfRange)
    }

    fn detail(&self, row: &UsageRow, reason: Reason) -> String {
        if reason == Reason::TooManyDimensions {
            return format!(
                "it brings a new combination of type and dimensions, and {} are kept apart already: leave out of the \
                 meters' dimensions what is different for each event, and send it again",
                self.property_sets_max
            );
        }
        format!(
            "it says to have happened at {}, but by the clock events are taken from {} to {}: correct its time, or the \
             clock that was told, and send it again",
            show_micros(row.occurred_at),
            show_micros(self.from),
            show_micros(self.to),
        )
    }
}

/// Moves events that cannot be counted from the batch to `refused`.
fn set_aside(usage: &mut UsageBatch, bounds: &Bounds, refused: &mut Vec<Refused>) {
    if usage.rows.iter().all(|row| bounds.fault(row).is_none()) {
        return;
    }
    let mut kept = SentIds::default();
    let mut place = 0;
    let ids = std::mem::take(&mut usage.ids);
    usage.rows.retain(|row| {
        let sent = ids.get(place);
        place += 1;
        let Some(reason) = bounds.fault(row) else {
            if let Some((source, id)) = sent {
                kept.push(source, id);
            }
            return true;
        };
        refused.push(Refused {
            source: usage.origin.source.clone(),
            partition: usage.origin.partition.clone(),
            position: sent.map_or_else(|| "an event".to_owned(), |(_, id)| format!("event {id}")),
            event_source: sent.map(|(source, _)| source.to_owned()),
            event_id: sent.map(|(_, id)| id.to_owned()),
            reason,
            detail: bounds.detail(row, reason),
            payload: None,
        });
        false
    });
    usage.ids = kept;
}

/// Turns places in the batch's table of texts into ids.
fn rename_texts(row: &mut UsageRow, wide: &mut [i128], columns: std::ops::Range<usize>, texts: &[u32]) {
    if columns.is_empty() {
        return;
    }
    if row.wide == 0 {
        row.value = i64::from(texts[row.value as usize]);
        return;
    }
    for value in &mut wide[row.value as usize..][columns] {
        *value = i128::from(texts[*value as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Clock;
    use crate::engine::door::Submission;
    use crate::engine::{Engine, Setup};
    use trueup_connectors::EventReader;
    use trueup_model::catalog::CatalogChange;
    use trueup_model::meter::{Aggregation, Filter, Meter};

    const NOW: Micros = 1_750_000_000_000_000;

    fn engine(acceptance: Acceptance) -> Engine {
        let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
        let meter = Meter {
            name: "calls".to_owned(),
            event_type: "call".to_owned(),
            aggregation: Aggregation::Count,
            property: None,
            scale: 0,
            dimensions: vec!["model".to_owned()],
            filter: Filter::new(),
        };
        let beginning = vec![Submission::Clock(NOW), Submission::Catalog(vec![CatalogChange::Meter(meter)])];
        engine.accept(beginning).expect("there is a meter");
        engine
    }

    /// Why an event was set aside, if it was.
    fn fault(engine: &Engine, id: &str, after: Micros, model: &str) -> Option<Reason> {
        let mut reader = EventReader::new(engine.layouts(), "default", "test");
        let mut batch = reader.batch();
        let time = show_micros(NOW + after);
        let event = format!(
            r#"{{"id":"{id}","source":"/test","type":"call","subject":"s","time":"{time}","data":{{"model":"{model}"}}}}"#
        );
        reader.read_line(event.as_bytes(), "here", &mut batch);
        let receipt = engine.accept(vec![Submission::Events(batch.finish())]).expect("events are read");
        receipt.parts[0].refused.first().map(|refused| {
            assert_eq!((&*refused.source, &*refused.position), ("test", &*format!("event {id}")));
            refused.reason
        })
    }

    #[test]
    fn events_from_out_of_time_are_set_aside() {
        let engine = engine(Acceptance { past: 100, future: 10, ..Acceptance::default() });
        let fault = |after: Micros| fault(&engine, &after.to_string(), after, "m");
        let out = Some(Reason::TimeOutOfRange);
        assert_eq!([-101, -100, 10, 11].map(fault), [out, None, None, out]);
    }

    #[test]
    fn combinations_beyond_those_kept_apart_are_set_aside() {
        let engine = engine(Acceptance { property_sets_max: 2, ..Acceptance::default() });
        let models = [("1", "large"), ("2", "small"), ("3", "tiny"), ("4", "large")];
        let faults = models.map(|(id, model)| fault(&engine, id, 0, model));
        assert_eq!(faults, [None, None, Some(Reason::TooManyDimensions), None]);
    }

    #[test]
    fn those_behind_one_that_is_set_aside_keep_their_names() {
        let identity = trueup_model::identity::Identity::of("default", "/s", "1");
        let row = |occurred_at: Micros| UsageRow {
            identity,
            occurred_at,
            value: 0,
            subject: 0,
            properties: 0,
            revision: 0,
            retract: false,
            wide: 0,
        };
        let mut ids = SentIds::default();
        ["early", "first", "late", "second"].iter().for_each(|id| ids.push("/s", id));
        let rows = [-1, 5, 50, 6].map(row).to_vec();
        let mut usage = UsageBatch { rows, ids, ..UsageBatch::default() };
        let mut refused = Vec::new();
        set_aside(&mut usage, &Bounds { from: 0, to: 10, property_sets_max: 1 }, &mut refused);
        assert_eq!([usage.ids.get(0), usage.ids.get(1)], [Some(("/s", "first")), Some(("/s", "second"))]);
        assert_eq!(refused.iter().filter_map(|one| one.event_id.as_deref()).collect::<Vec<_>>(), ["early", "late"]);
    }
}
