//! Events at the door: texts become ids, and what cannot be counted is set aside.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use trueup_model::arrival::Origin;
use trueup_model::calendar::CENTURY;
use trueup_model::decimal;
use trueup_model::dictionary::Properties;
use trueup_model::grain::{Micros, show_micros};
use trueup_model::layout::{EventLayout, Layouts};
use trueup_model::usage::{EventBatch, MISSING, Reason, Refused, SentIds, UsageBatch, UsageRow};

use super::{Acceptance, Door, DoorError, Proposal};

impl Door {
    /// Gives a batch the ids of the dictionary, and sets aside what cannot be counted.
    pub(super) fn take_events(&mut self, proposal: &mut Proposal, mut batch: EventBatch) -> Result<(), DoorError> {
        let received_at = proposal.books.clock;
        self.check_contradictions(&batch)?;
        let mut refused = std::mem::take(&mut batch.refused);
        let (usage, set_aside) = self.usage(proposal, batch, received_at)?;
        refused.extend(set_aside.into_iter().map(|(_, refused)| refused));
        self.set_aside(proposal, refused)?;
        proposal.take_usage(Arc::new(usage));
        Ok(())
    }

    /// The rows of a batch under the ids of the dictionary, without those that cannot be counted; and
    /// why those are not, each with its place in the batch.
    pub(super) fn usage(
        &mut self,
        proposal: &Proposal,
        mut batch: EventBatch,
        received_at: Micros,
    ) -> Result<(UsageBatch, Vec<(usize, Refused)>), DoorError> {
        let layouts = proposal.catalog.layouts().clone();
        if batch.is_stale(layouts.generation) {
            return Err(DoorError::StaleLayouts);
        }
        let bounds = Bounds::around(proposal.books.clock, &self.acceptance);
        let properties = self.property_sets(&batch, &layouts, &bounds)?;
        let set_aside = set_aside(&mut batch, &properties, &bounds);
        let mut subjects = Ids::of(&batch.subjects);
        let mut texts = Ids::of(&batch.texts);
        for row in &mut batch.rows {
            let PropertySet { id, layout } = &properties[row.properties as usize];
            let mut text = |place| texts.id(place, |text| self.dictionary.text(text));
            rename_texts(row, &mut batch.wide, layout.numbers.len()..layout.columns(), &mut text);
            row.subject = subjects.id(row.subject, |subject| self.dictionary.subject(subject));
            // A row whose property set has no id was set aside.
            row.properties = id.unwrap_or_default();
        }
        let origin = self.origins.shared(&Origin { source: batch.source, partition: batch.partition });
        let (first_row, rows, wide, ids) = (proposal.rows, batch.rows, batch.wide, batch.ids);
        Ok((UsageBatch { first_row, received_at, origin, rows, wide, ids }, set_aside))
    }

    /// The property sets of a batch. Those of which no event is in time are given no id, and beyond those that
    /// may be kept apart only that of a type without dimensions is, which its retractions have.
    fn property_sets(
        &mut self,
        batch: &EventBatch,
        layouts: &Layouts,
        bounds: &Bounds,
    ) -> Result<Vec<PropertySet>, DoorError> {
        let mut is_wanted = vec![false; batch.properties.len()];
        let in_time = batch.rows.iter().filter(|row| bounds.have(row));
        in_time.for_each(|row| is_wanted[row.properties as usize] = true);
        let mut sets = Vec::with_capacity(batch.properties.len());
        for (set, is_wanted) in batch.properties.iter().zip(is_wanted) {
            let layout = layouts.of(&set.event_type).ok_or(DoorError::StaleLayouts)?.clone();
            let properties = Properties { layout: layout.clone(), dimensions: set.dimensions.clone() };
            let is_room = self.dictionary.names().property_sets() < self.acceptance.property_sets_max;
            let is_plain = set.dimensions.iter().all(Option::is_none);
            let has_id = is_wanted && (is_room || is_plain || self.dictionary.knows(&properties));
            sets.push(PropertySet { id: has_id.then(|| self.dictionary.property_set(properties)), layout });
        }
        Ok(sets)
    }
}

/// The ids of the names in a batch's table, each asked for when an event that counts has it: what is set
/// aside leaves no names behind.
struct Ids<'a> {
    names: &'a [Box<str>],
    ids: Vec<Option<u32>>,
}

impl<'a> Ids<'a> {
    fn of(names: &'a [Box<str>]) -> Ids<'a> {
        Ids { names, ids: vec![None; names.len()] }
    }

    fn id(&mut self, place: u32, ask: impl FnOnce(&str) -> u32) -> u32 {
        let place = place as usize;
        *self.ids[place].get_or_insert_with(|| ask(&self.names[place]))
    }
}

/// A property set of a batch.
struct PropertySet {
    /// Its id; none: there are too many, or no event of it counts.
    id: Option<u32>,
    layout: Arc<EventLayout>,
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
    fn fault(&self, row: &UsageRow, properties: &PropertySet) -> Option<Reason> {
        if !self.have(row) {
            return Some(Reason::TimeOutOfRange);
        }
        properties.id.is_none().then_some(Reason::TooManyDimensions)
    }

    /// Whether a row is in time.
    fn have(&self, row: &UsageRow) -> bool {
        !row.asserts() || (self.from <= row.occurred_at && row.occurred_at <= self.to)
    }

    fn detail(&self, row: &UsageRow, reason: Reason) -> String {
        if reason == Reason::TooManyDimensions {
            return format!(
                "it brings a new combination of type and dimensions, and {} are kept apart already: leave out of the \
                 meters' dimensions what is different for each event, name it under `forget`, and send it again",
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

/// Takes events that cannot be counted out of the batch, each with its place in it.
fn set_aside(batch: &mut EventBatch, properties: &[PropertySet], bounds: &Bounds) -> Vec<(usize, Refused)> {
    let fault = |row: &UsageRow| bounds.fault(row, &properties[row.properties as usize]);
    if batch.rows.iter().all(|row| fault(row).is_none()) {
        return Vec::new();
    }
    let (rows, ids) = (std::mem::take(&mut batch.rows), std::mem::take(&mut batch.ids));
    let (mut kept, mut kept_ids, mut set_aside) = (Vec::with_capacity(rows.len()), SentIds::default(), Vec::new());
    for (place, row) in rows.into_iter().enumerate() {
        let sent = ids.get(place);
        let Some(reason) = fault(&row) else {
            kept.push(row);
            sent.into_iter().for_each(|(source, id)| kept_ids.push(source, id));
            continue;
        };
        let payload = sent.map(|sent| event(batch, &row, &properties[row.properties as usize].layout, sent));
        let refused = Refused {
            source: batch.source.clone(),
            partition: batch.partition.clone(),
            position: sent.map_or_else(|| "an event".to_owned(), |(_, id)| format!("event {id}")),
            event_source: sent.map(|(source, _)| source.to_owned()),
            event_id: sent.map(|(_, id)| id.to_owned()),
            reason,
            detail: bounds.detail(&row, reason),
            whole: payload.is_some(),
            payload,
        };
        set_aside.push((place, refused));
    }
    (batch.rows, batch.ids) = (kept, kept_ids);
    set_aside
}

/// A row of a batch as an event in JSON, with what meters read of it, so that it can be read again.
fn event(batch: &EventBatch, row: &UsageRow, layout: &EventLayout, (source, id): (&str, &str)) -> String {
    let value = |column: usize| match row.wide {
        0 => i128::from(row.value),
        _ => batch.wide[row.value as usize + column],
    };
    let numbers = layout.numbers.iter().enumerate().filter_map(|(place, column)| {
        let number = Some(value(place)).filter(|number| *number != MISSING)?;
        Some((column.property.clone(), Value::String(decimal::show(number, column.scale))))
    });
    let texts = layout.texts.iter().zip(layout.numbers.len()..).filter_map(|(property, column)| {
        let text = batch.texts.get(usize::try_from(value(column)).ok()?)?;
        Some((property.clone(), Value::String(text.to_string())))
    });
    // What is read as a dimension too is as it was sent, so that comes last.
    let dimensions = layout.dimensions.iter().zip(&batch.properties[row.properties as usize].dimensions);
    let dimensions = dimensions
        .filter_map(|(property, value)| Some((property.clone(), Value::String(value.as_deref()?.to_owned()))));
    let mut event = json!({
        "id": id,
        "source": source,
        "type": layout.event_type,
        "subject": &*batch.subjects[row.subject as usize],
        "time": show_micros(row.occurred_at),
        "revision": row.revision,
    });
    match row.asserts() {
        true => event["data"] = numbers.chain(texts).chain(dimensions).collect::<Map<_, _>>().into(),
        false => event["retract"] = true.into(),
    }
    event.to_string()
}

/// Turns places in the batch's table of texts into ids.
fn rename_texts(row: &mut UsageRow, wide: &mut [i128], columns: Range<usize>, id: &mut impl FnMut(u32) -> u32) {
    if columns.is_empty() {
        return;
    }
    if row.wide == 0 {
        row.value = i64::from(id(row.value as u32));
        return;
    }
    for value in wide[row.value as usize..][columns].iter_mut().filter(|value| **value != MISSING) {
        *value = i128::from(id(*value as u32));
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
    use trueup_model::meter::Meter;

    const NOW: Micros = 1_750_000_000_000_000;

    fn engine(acceptance: Acceptance) -> Engine {
        let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
        let meter = Meter { dimensions: vec!["model".to_owned()], ..Meter::counting("calls", "call") };
        let beginning = vec![Submission::Clock(NOW), Submission::Catalog(vec![CatalogChange::Meter(meter)])];
        engine.accept(beginning).expect("there is a meter");
        engine
    }

    /// Why an event was set aside, if it was.
    fn fault(engine: &Engine, id: &str, after: Micros, model: &str) -> Option<Reason> {
        let data = format!(r#""data":{{"model":"{model}"}}"#);
        fault_of(engine, id, after, &data)
    }

    fn fault_of(engine: &Engine, id: &str, after: Micros, more: &str) -> Option<Reason> {
        let mut reader = EventReader::new(engine.layouts(), "default", "test");
        let mut batch = reader.batch();
        let time = show_micros(NOW + after);
        let event =
            format!(r#"{{"id":"{id}","source":"/test","type":"call","subject":"s{id}","time":"{time}",{more}}}"#);
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
        assert_eq!(fault_of(&engine, "1", 0, r#""retract":true"#), None, "what was taken can be taken back");
    }

    #[test]
    fn what_is_set_aside_leaves_no_names_behind() {
        let engine = engine(Acceptance { property_sets_max: 2, ..Acceptance::default() });
        for junk in 0..5 {
            let model = format!("model {junk}");
            assert_eq!(fault(&engine, &junk.to_string(), -NOW, &model), Some(Reason::TimeOutOfRange));
        }
        assert_eq!(engine.books().names.property_sets(), 0);
        let faults = ["5", "6", "7"].map(|id| fault(&engine, id, 0, id));
        assert_eq!(faults, [None, None, Some(Reason::TooManyDimensions)], "junk takes nobody's room");
        assert_eq!([0, 1].map(|id| engine.books().names.subject(id).to_owned()), ["s5", "s6"]);
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
            says: trueup_model::usage::Says::Assertion,
            wide: 0,
        };
        let mut ids = SentIds::default();
        ["early", "first", "late", "second"].iter().for_each(|id| ids.push("/s", id));
        let rows = [-1, 5, 50, 6].map(row).to_vec();
        let set = trueup_model::usage::PropertySet { event_type: "call".into(), dimensions: [].into() };
        let (subjects, properties) = (vec!["s".into()], vec![set]);
        let mut batch = EventBatch { rows, ids, subjects, properties, ..EventBatch::default() };
        let (numbers, texts, dimensions) = (Vec::new(), Vec::new(), Vec::new());
        let layout = Arc::new(EventLayout { event_type: "call".to_owned(), numbers, texts, dimensions });
        let properties = [PropertySet { id: Some(0), layout }];
        let aside = set_aside(&mut batch, &properties, &Bounds { from: 0, to: 10, property_sets_max: 1 });
        assert_eq!([batch.ids.get(0), batch.ids.get(1)], [Some(("/s", "first")), Some(("/s", "second"))]);
        let names: Vec<_> = aside.iter().map(|(place, one)| (*place, one.event_id.as_deref().unwrap())).collect();
        assert_eq!(names, [(0, "early"), (2, "late")]);
        let event = trueup_connectors::usage_event(aside[1].1.payload.as_deref().unwrap().as_bytes()).unwrap();
        assert_eq!((&*event.id, event.occurred_at, aside[1].1.whole), ("late", 50, true));
    }
}
