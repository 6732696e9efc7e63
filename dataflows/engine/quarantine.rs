//! Reads again what was set aside, after a fix.
//!
//! Law: what is accepted then counts as received when and where it was, so that the ledger closes as
//! before; the input stays in the quarantine as replayed. What fails again stays set aside, with its
//! reason of now; for the same reason as before, nothing is written. Only what the journal kept whole
//! can be read again; a contradiction cannot, since it was read, and says what it says; and no input of a
//! backfill that was taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use trueup_connectors::EventReader;
use trueup_connectors::journal::{EntryReader, JournalError};
use trueup_connectors::quarantine::{self, Selection, SetAside};
use trueup_model::arrival::Origin;
use trueup_model::backfill::is_taken_back;
use trueup_model::books::{Books, Replayed};
use trueup_model::fact::{Epoch, InputId};
use trueup_model::grain::Micros;
use trueup_model::layout::Layouts;
use trueup_model::usage::{EventBatch, Reason, Refused};

use super::Engine;
use super::door::{DoorError, Submission};
use super::kept::{refused, still};
use super::quarantine_rows;

/// Inputs that are read again in one epoch.
const INPUTS_MAX: usize = 10_000;
/// From how many bytes of them on an epoch is large enough.
const BYTES_MAX: usize = 64 << 20;

/// Inputs of one epoch and one way in, read again.
#[derive(Clone, Debug)]
pub struct Again {
    /// When they were received.
    pub received_at: Micros,
    /// The events among them, with the way in.
    pub batch: EventBatch,
    /// The inputs, in the order of their events.
    pub inputs: Vec<AgainInput>,
}

/// An input that was read again.
#[derive(Clone, Debug)]
pub struct AgainInput {
    /// Which.
    pub input: InputId,
    /// How many of the batch's rows it has.
    pub rows: usize,
    /// Why it still cannot be read, if it cannot.
    pub still: Option<(Reason, String)>,
    /// Why it is set aside until now.
    pub until_now: (Reason, String),
}

impl AgainInput {
    /// Whether nothing came of reading it again, if it is set aside for this now. The sentences of the door
    /// name its clock and its limits, so there the kind of the reason is compared alone.
    pub fn is_unchanged(&self, now: Option<&(Reason, String)>) -> bool {
        let (kind, sentence) = &self.until_now;
        now.is_some_and(|(reason, detail)| reason == kind && (detail == sentence || was_read(*reason)))
    }
}

/// An input that is to be read again.
struct Wanted {
    input: InputId,
    received_at: Micros,
    refused: Refused,
    until_now: (Reason, String),
}

impl Engine {
    /// Reads what is set aside again, in as many epochs as it needs.
    pub fn replay_quarantine(&self, tenant: &str, selection: &Selection) -> Result<quarantine::Replayed, DoorError> {
        let moment = self.published.wait(self.last())?;
        let (inputs, conflicts) = quarantine_rows::set_aside(&moment.newest_as_of(), selection);
        let mut replayed = quarantine::Replayed { unreadable: conflicts, ..Default::default() };
        let journal = moment.newest_as_of().journal;
        let mut lookout = Lookout { inputs: journal.reader(), reasons: journal.reader() };
        let mut rest = &inputs[..];
        while !rest.is_empty() {
            // Nobody waits at the door while they are found and read.
            let books = self.books();
            let Looked { wanted, lost, passed } = lookout.look(&books, rest)?;
            let (whole, cut): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.refused.whole);
            let again = read_again(books.catalog.layouts(), tenant, whole);
            let tried: Vec<InputId> = again.iter().flat_map(|again| &again.inputs).map(|tried| tried.input).collect();
            let (these, others) = rest.split_at(passed);
            let mut door = self.door();
            if has_moved(&books, door.books(), these) {
                continue;
            }
            rest = others;
            replayed.unreadable += lost + cut.len() as u64;
            let accepted = door.accept_news(again.into_iter().map(Submission::Again).collect());
            let Some(receipt) = self.tell_end(&mut door, accepted)? else {
                replayed.still += tried.len() as u64;
                continue;
            };
            let books = door.books();
            let is_accepted = |input: &&InputId| books.replayed.get(*input).is_some_and(|one| one.still.is_none());
            let accepted = tried.iter().filter(is_accepted).count();
            replayed.accepted += accepted as u64;
            replayed.still += (tried.len() - accepted) as u64;
            replayed.epoch = Some(receipt.epoch);
        }
        Ok(replayed)
    }

    /// An input that was set aside, as it was kept; none if there is none of this name.
    pub fn set_aside(&self, input: InputId) -> Result<Option<SetAside>, DoorError> {
        let moment = self.published.wait(self.last())?;
        Ok(quarantine_rows::find(&moment.newest_as_of(), input))
    }
}

/// What was found of inputs.
#[derive(Default)]
struct Looked {
    wanted: Vec<Wanted>,
    /// How many the journal has no more.
    lost: u64,
    /// How many were looked at.
    passed: usize,
}

/// Whether others have read some of these inputs again since, changed by what they are read, or taken back what
/// brought them.
fn has_moved(then: &Books, now: &Books, inputs: &[InputId]) -> bool {
    then.catalog.layouts().generation != now.catalog.layouts().generation
        || !then.backfills.ptr_eq(&now.backfills)
        || inputs.iter().any(|input| then.replayed.get(input) != now.replayed.get(input))
}

/// Finds inputs in the journal. They ascend, so it goes through it once.
struct Lookout {
    inputs: EntryReader,
    /// The same for the reasons for which they stayed set aside.
    reasons: EntryReader,
}

impl Lookout {
    /// Some of these inputs, which ascend, as the journal has them: no more than make an epoch. Those that
    /// somebody has accepted are left out, and those of a backfill that was taken back.
    fn look(&mut self, books: &Books, inputs: &[InputId]) -> Result<Looked, JournalError> {
        let (mut looked, mut bytes) = (Looked::default(), 0);
        'all: for run in inputs.chunk_by(|a, b| a.epoch == b.epoch) {
            let entry = self.inputs.entry(run[0].epoch)?;
            for &input in run {
                if looked.wanted.len() == INPUTS_MAX || bytes >= BYTES_MAX {
                    break 'all;
                }
                looked.passed += 1;
                if books.replayed.get(&input).is_some_and(|replayed| replayed.still.is_none()) {
                    continue;
                }
                let found = entry.as_ref().and_then(|entry| Some((entry.clock, refused(entry, input.place)?)));
                let Some((received_at, refused)) = found else {
                    looked.lost += 1;
                    continue;
                };
                if is_taken_back(&books.backfills, &refused.origin()) {
                    continue;
                }
                bytes += refused.payload.as_ref().map_or(0, String::len);
                let until_now = (refused.reason, refused.detail.clone());
                looked.wanted.push(Wanted { input, received_at, refused: refused.clone(), until_now });
            }
        }
        self.tell_reasons_of_now(books, &mut looked.wanted)?;
        Ok(looked)
    }

    /// Puts the reason for which inputs were set aside last in place of the one for which they were first; each
    /// epoch that has some is read once.
    fn tell_reasons_of_now(&mut self, books: &Books, wanted: &mut [Wanted]) -> Result<(), JournalError> {
        let mut by_epoch: BTreeMap<Epoch, Vec<&mut Wanted>> = BTreeMap::new();
        for wanted in wanted {
            if let Some(&Replayed { at, still: Some(reason) }) = books.replayed.get(&wanted.input) {
                wanted.until_now.0 = reason;
                by_epoch.entry(at).or_default().push(wanted);
            }
        }
        for (at, wanted) in by_epoch {
            let mut sentences = self.reasons.entry(at)?.map(|entry| still(&entry)).unwrap_or_default();
            wanted.into_iter().for_each(|one| one.until_now.1 = sentences.remove(&one.input).unwrap_or_default());
        }
        Ok(())
    }
}

/// Whether an input was set aside by the door, which had been read before.
fn was_read(reason: Reason) -> bool {
    matches!(reason, Reason::TimeOutOfRange | Reason::TooManyDimensions)
}

/// Reads inputs by these layouts, those of one epoch and way in together.
fn read_again(layouts: &Arc<Layouts>, tenant: &str, wanted: Vec<Wanted>) -> Vec<Again> {
    let mut groups: BTreeMap<(Epoch, Arc<Origin>), Vec<Wanted>> = BTreeMap::new();
    for one in wanted {
        groups.entry((one.input.epoch, one.refused.origin())).or_default().push(one);
    }
    let read = |((_, origin), wanted): ((Epoch, Arc<Origin>), Vec<Wanted>)| {
        let mut reader = EventReader::new(layouts.clone(), tenant, &origin.source).of_partition(&origin.partition);
        // What passed its schema and stopped at the door is not held against one again: what was kept of
        // it is what meters read.
        let mut reader_at_door = reader.clone().without_schemas();
        let (mut builder, mut inputs) = (reader.batch(), Vec::with_capacity(wanted.len()));
        let received_at = wanted.first().map_or(0, |first| first.received_at);
        for Wanted { input, refused, until_now, .. } in wanted {
            let (rows, refusals) = (builder.len(), builder.refused().len());
            let payload = refused.payload.unwrap_or_default();
            let reader = if was_read(refused.reason) { &mut reader_at_door } else { &mut reader };
            reader.read_line(payload.as_bytes(), &refused.position, &mut builder);
            let still = builder.refused().get(refusals).map(|fault| (fault.reason, fault.detail.clone()));
            inputs.push(AgainInput { input, rows: builder.len() - rows, still, until_now });
        }
        Again { received_at, batch: EventBatch { refused: Vec::new(), ..builder.finish() }, inputs }
    };
    groups.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Setup;
    use crate::engine::clock::Clock;
    use crate::engine::door::Acceptance;
    use crate::engine::view_rows::{Cell, Row};
    use trueup_connectors::catalog_files::read_catalog_texts;
    use trueup_connectors::quarantine::Replayed;
    use trueup_connectors::usage_event;
    use trueup_model::catalog::Catalog;
    use trueup_model::grain::show_micros;
    use trueup_sinks::view::View;

    const NOW: Micros = 1_750_000_000_000_000;
    const HOUR: Micros = 3_600_000_000;

    const CATALOG: &str = r#"
        [[meter]]
        name = "tokens"
        event_type = "call"
        aggregation = "sum"
        property = "tokens"
        scale = 2
        dimensions = ["model"]

        [[meter]]
        name = "users"
        event_type = "call"
        aggregation = "unique_count"
        property = "user"
    "#;

    fn engine(acceptance: Acceptance) -> Engine {
        let engine = Engine::start(Setup { clock: Clock::Told, acceptance, ..Setup::default() });
        let changes = read_catalog_texts(&[("all.toml", CATALOG)], &Catalog::default()).expect("it is good");
        let changes = changes.into_iter().map(|(change, _)| change).collect();
        engine.accept(vec![Submission::Clock(NOW), Submission::Catalog(changes)]).expect("it is good");
        engine
    }

    fn send(engine: &Engine, lines: &[String]) -> Epoch {
        let mut reader = EventReader::new(engine.layouts(), "default", "test");
        let mut batch = reader.batch();
        lines.iter().for_each(|line| reader.read_line(line.as_bytes(), "here", &mut batch));
        engine.accept(vec![Submission::Events(batch.finish())]).expect("events are read").epoch
    }

    fn event(id: u32, after: Micros, model: &str) -> String {
        let time = show_micros(NOW + after);
        format!(
            r#"{{"id":"{id}","source":"/s","type":"call","subject":"acme","time":"{time}","revision":3,
                "data":{{"tokens":-1.25,"user":"ann","model":"{model}"}}}}"#
        )
    }

    fn number(engine: &Engine, view: View, column: &str) -> Vec<Cell> {
        let place = view.columns().iter().position(|known| known.name == column).expect("there is such a column");
        let moment = engine.newest();
        moment.rows(view).into_iter().map(|row| row[place].clone()).collect()
    }

    #[test]
    fn many_replays_at_once_accept_an_input_once() {
        let engine = engine(Acceptance { future: HOUR, ..Acceptance::default() });
        // More than one epoch of a replay reads.
        let inputs = INPUTS_MAX as u32 + 100;
        let lines: Vec<String> = (0..inputs).map(|id| event(id, 0, "large").replace("\"call\"", "\"image\"")).collect();
        send(&engine, &lines);
        let meters = CATALOG.replace("\"tokens\"\n        event", "\"images\"\n        event").replace("call", "image");
        let meters = meters.replace("\"users\"", "\"viewers\"");
        let changes = read_catalog_texts(&[("more.toml", &meters)], &engine.books().catalog).expect("it is good");
        let changes = changes.into_iter().map(|(change, _)| change).collect();
        engine.accept(vec![Submission::Catalog(changes)]).expect("it is good");
        let replay = || engine.replay_quarantine("default", &Selection::default()).expect("it can be read").accepted;
        let accepted: u64 = std::thread::scope(|scope| {
            let replays: Vec<_> = (0..4).map(|_| scope.spawn(replay)).collect();
            replays.into_iter().map(|replay| replay.join().expect("it ends")).sum()
        });
        assert_eq!(accepted, u64::from(inputs));
        engine.wait(engine.accept(Vec::new()).expect("it runs").epoch).expect("it runs");
        assert_eq!(number(&engine, View::IngestLedger, "duplicate"), [Cell::Integer(0)]);
        assert_eq!(number(&engine, View::IngestLedger, "quarantined"), [Cell::Integer(0)]);
    }

    #[test]
    fn what_the_door_set_aside_is_read_again_when_the_door_is_wider() {
        let engine = engine(Acceptance { future: HOUR, ..Acceptance::default() });
        let epoch = send(&engine, &[event(1, 3 * HOUR, "large"), event(2, 0, "large"), event(3, 5 * HOUR, "small")]);
        let [first, second] = [0, 1].map(|place| InputId { epoch, place });
        let shown = engine.set_aside(first).expect("the engine runs").expect("it is there");
        assert_eq!((shown.refused.reason, shown.refused.whole), (Reason::TimeOutOfRange, true));
        let told =
            usage_event(shown.refused.payload.as_deref().expect("it is kept").as_bytes()).expect("it is an event");
        let sent = usage_event(event(1, 3 * HOUR, "large").as_bytes()).expect("it is an event");
        assert_eq!(told, sent, "the payload says what was sent");
        // Two hours later one of them is no longer ahead.
        engine.accept(vec![Submission::Clock(NOW + 2 * HOUR)]).expect("time passes");
        let replayed = engine.replay_quarantine("default", &Selection::default()).expect("it is read");
        let expected = Replayed { epoch: Some(epoch + 2), accepted: 1, still: 1, unreadable: 0 };
        assert_eq!(replayed, expected);
        engine.wait(epoch + 2).expect("the engine runs");
        let shown = [first, second].map(|input| engine.set_aside(input).unwrap().unwrap());
        assert_eq!(
            shown.map(|one| (one.replayed_at, one.is_accepted)),
            [(Some(epoch + 2), true), (None, false)],
            "what stays for the same reason is not told anew"
        );
        assert_eq!(number(&engine, View::IngestLedger, "standing"), [Cell::Integer(2)]);
        assert_eq!(number(&engine, View::IngestLedger, "quarantined"), [Cell::Integer(1)]);
        assert_eq!(number(&engine, View::IngestLedger, "hour"), [Cell::Time(NOW - NOW % HOUR)]);
        // What was replayed is not read again.
        let selection = Selection { inputs: [first].into(), ..Selection::default() };
        assert_eq!(engine.replay_quarantine("default", &selection).expect("nothing is read"), Replayed::default());
        assert_eq!(engine.newest().epoch(), epoch + 2);
        assert!(engine.set_aside(InputId { epoch, place: 2 }).expect("the engine runs").is_none());
    }

    #[test]
    fn contradictions_and_what_is_no_event_cannot_be_read_again() {
        let engine = engine(Acceptance::default());
        let other = event(1, 0, "large").replace("1.25", "1.5");
        let large = format!(r#"{{"id":"2","padding":"{}"}}"#, "x".repeat(70_000));
        let epoch = send(&engine, &[event(1, 0, "large"), other, "no event".to_owned(), large]);
        engine.wait(epoch).expect("the engine runs");
        let replayed = engine.replay_quarantine("default", &Selection::default()).expect("nothing is read");
        assert_eq!(replayed, Replayed { unreadable: 3, ..Replayed::default() });
        let shown = engine.set_aside(InputId { epoch, place: 1 }).unwrap().unwrap();
        assert_eq!((shown.refused.payload.map(|kept| kept.len()), shown.refused.whole), (Some(1_024), false));
    }

    #[test]
    fn without_room_nothing_more_is_set_aside_and_good_events_go_on() {
        let engine = engine(Acceptance { future: HOUR, quarantined_max: 3, ..Acceptance::default() });
        let early = |id: u32| event(id, 3 * HOUR, "large");
        send(&engine, &[early(1), "no event".to_owned()]);
        let read = |lines: &[String]| {
            let mut reader = EventReader::new(engine.layouts(), "default", "test");
            let mut batch = reader.batch();
            lines.iter().for_each(|line| reader.read_line(line.as_bytes(), "here", &mut batch));
            Submission::Events(batch.finish())
        };
        let error =
            engine.accept(vec![read(&[event(9, 0, "large"), early(2), early(3)])]).expect_err("two are too many");
        assert!(error.to_string().starts_with("2 inputs stand in quarantine, 2 more cannot be counted, and 3 is"));
        let epoch = send(&engine, &[event(4, 0, "large"), early(5)]);
        assert_eq!(engine.quarantine_room(), 0);
        let error =
            engine.accept(vec![read(&[event(6, 0, "large")]), read(&[early(7)])]).expect_err("there is no room");
        assert!(matches!(error, DoorError::QuarantineFull { standing: 3, more: 1, max: 3 }), "{error}");
        assert_eq!(send(&engine, &[event(6, 0, "large")]), epoch + 1, "nothing was accepted of what had no room");
        // What is accepted when it is read again makes room.
        engine.accept(vec![Submission::Clock(NOW + 2 * HOUR)]).expect("time passes");
        let replayed = engine.replay_quarantine("default", &Selection::default()).expect("it is read");
        assert_eq!((replayed.accepted, engine.quarantine_room()), (2, 2));
    }

    #[test]
    fn a_source_that_contradicted_as_often_as_may_be_brings_nothing_more() {
        let engine = engine(Acceptance { quarantined_max: 2, ..Acceptance::default() });
        let other = |id: u32| event(id, 0, "large").replace("1.25", "1.5");
        let send = |source: &str, lines: &[String]| {
            let mut reader = EventReader::new(engine.layouts(), "default", source);
            let mut batch = reader.batch();
            lines.iter().for_each(|line| reader.read_line(line.as_bytes(), "here", &mut batch));
            let receipt = engine.accept(vec![Submission::Events(batch.finish())])?;
            engine.wait(receipt.epoch).expect("the engine runs");
            Ok(receipt.epoch)
        };
        send("test", &[event(1, 0, "large"), event(2, 0, "large"), other(1)]).expect("there is room");
        send("test", &[other(1), other(1)]).expect("what was said before needs no room");
        send("another", &[other(1)]).expect("whoever says it");
        send("test", &[other(2)]).expect("there is room for one more");
        let error: DoorError = send("test", &[event(3, 0, "large")]).expect_err("there is no more room");
        assert!(matches!(error, DoorError::Contradicting { standing: 2, max: 2, .. }), "{error}");
        send("another", &[event(3, 0, "large"), other(3)]).expect("it has room of its own");
        send("test", &["no event".to_owned()]).expect("what is set aside at the door has room of its own");
        let reasons = number(&engine, View::Quarantine, "reason");
        assert_eq!(reasons.iter().filter(|reason| **reason == Cell::Text("conflict".into())).count(), 3);
        let input = |row: &Row| match (&row[0], &row[1]) {
            (Cell::Integer(epoch), Cell::Integer(place)) => InputId { epoch: *epoch as u64, place: *place as u64 },
            other => panic!("{other:?} are numbers"),
        };
        let inputs: Vec<InputId> = engine.newest().rows(View::Quarantine).iter().map(input).collect();
        let shown = || inputs.iter().filter(|input| engine.set_aside(**input).expect("it runs").is_some()).count();
        assert_eq!(shown(), 4);
        // A greater revision settles what contradicted, whoever brings it.
        let greater = event(1, 0, "large").replace(r#""revision":3"#, r#""revision":4"#);
        send("another", &[greater]).expect("it has room");
        let left = number(&engine, View::Quarantine, "reason");
        assert_eq!(left.iter().filter(|reason| **reason == Cell::Text("conflict".into())).count(), 2);
        assert_eq!(shown(), 3, "what is settled is not shown any more");
        send("test", &[event(4, 0, "large"), other(4)]).expect("there is room again");
        let superseded = number(&engine, View::IngestLedger, "superseded");
        assert_eq!(
            superseded,
            [Cell::Integer(0), Cell::Integer(2)],
            "of another and of test: what stood, and the other"
        );
    }

    #[test]
    fn a_replay_that_changes_nothing_writes_nothing() {
        let engine = engine(Acceptance { future: HOUR, ..Acceptance::default() });
        let epoch = send(&engine, &[event(1, 3 * HOUR, "large"), r#"{"id":"2"}"#.to_owned()]);
        let replay = || engine.replay_quarantine("default", &Selection::default()).expect("it is read");
        assert_eq!(replay(), Replayed { still: 2, ..Replayed::default() });
        assert_eq!(engine.newest().epoch(), epoch);
        assert_eq!(number(&engine, View::Quarantine, "replayed_at"), [Cell::Null, Cell::Null]);
    }

    #[test]
    fn more_than_an_epoch_holds_is_read_again_in_several() {
        let engine = engine(Acceptance { future: HOUR, ..Acceptance::default() });
        let lines: Vec<String> = (0..INPUTS_MAX as u32 + 500).map(|id| event(id, 2 * HOUR, "large")).collect();
        let epoch = lines.chunks(7_000).map(|lines| send(&engine, lines)).max().expect("there are lines");
        engine.accept(vec![Submission::Clock(NOW + 2 * HOUR)]).expect("time passes");
        let replayed = engine.replay_quarantine("default", &Selection::default()).expect("it is read");
        let expected = Replayed { epoch: Some(epoch + 3), accepted: lines.len() as u64, still: 0, unreadable: 0 };
        assert_eq!(replayed, expected);
        engine.wait(epoch + 3).expect("the engine runs");
        assert_eq!(number(&engine, View::IngestLedger, "standing"), [Cell::Integer(lines.len() as i64)]);
    }
}
