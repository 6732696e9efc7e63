//! What is damaged: a small journal, a small checkpoint, mappings.

use std::sync::Arc;

use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_connectors::journal::{FileJournal, Journal, Settings};
use trueup_model::arrival::{Arrival, Origin};
use trueup_model::backfill::{Backfill, Batch, Scope, Whose};
use trueup_model::catalog::Catalog;
use trueup_model::dictionary::{NewNames, Properties};
use trueup_model::fact::{Declaration, Document, DocumentLine, Entry, Epoch, Fact, InputId, Replay};
use trueup_model::identity::Identity;
use trueup_model::kept_row::KeptRow;
use trueup_model::usage::{Reason, Refused, Says, SentIds, UsageBatch, UsageRow};

use crate::layouts;

/// Mappings of CSV files: every kind of field is in one of them.
pub const MAPPINGS: [&str; 3] = [
    r#"
event_type = { constant = "call" }
id = { column = "call" }
source = "export"
subject = { column = "customer" }
time = { column = "time" }
revision = "revision"
retract = "gone"
[data]
tokens = "tokens"
model = "model"
"#,
    r#"
event_type = { column = "type" }
id = { numbered = "june" }
source = "export"
subject = { constant = "acme" }
time = { column = "time", format = "utc" }
delimiter = "semicolon"
[data]
tokens = "tokens"
bytes = "tokens"
hours = "hours"
cached = "cached"
user = "user"
"#,
    r#"
event_type = { constant = "call" }
id = { numbered = "tab" }
source = "export"
subject = { column = "" }
time = { column = "time", format = "iso" }
delimiter = "tab"
[data]
tokens = "time"
"#,
];

/// A catalog with one of each.
pub const CATALOG: &str = r#"
[[meter]]
name = "calls"
event_type = "call"
aggregation = "count"

[[feature]]
name = "api_calls"
meter = "calls"

[[plan]]
name = "pro"
currency = "EUR"
cadence = "month"

[[plan.rate_card]]
feature = "api_calls"
price = { model = "graduated", tiers = [{ up_to = 1000, unit = "0.002" }, { unit = "0.001" }] }
quota = { limit = "1000000", warn_at_percent = 80 }

[[price]]
plan = "pro"
feature = "api_calls"
effective_from = 2026-09-01T00:00:00Z
model = "per_unit"
unit = "0.003"

[[customer]]
id = "acme"
name = "Acme GmbH"
zone = "Europe/Berlin"
subjects = ["acme", "acme-staging"]

[[schema]]
event_type = "call"
version = 1
file = "call.schema.json"

[[subscription]]
id = "acme-pro"
customer = "acme"
plan = "pro"
starts_at = 2026-07-01
"#;

/// Schemas: most words of the language are in one of them, and some are refused.
pub const SCHEMAS: [&str; 8] = [
    r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["tokens"],
 "properties": {"tokens": {"type": "number", "minimum": 0, "multipleOf": 0.5}, "model": {"enum": ["m", null]}},
 "additionalProperties": false}"#,
    r##"{"$defs": {"name": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z-]+$"}},
 "properties": {"model": {"$ref": "#/$defs/name"}}, "patternProperties": {"^x": {"type": "array", "uniqueItems": true}},
 "if": {"required": ["x"]}, "then": {"minProperties": 2}, "else": {"not": {"const": 1}}}"##,
    r#"{"$schema": "http://json-schema.org/draft-07/schema#", "anyOf": [{"type": ["object", "null"]}, true],
 "oneOf": [{"propertyNames": {"maxLength": 7}}, false], "allOf": [{"maxProperties": 5}], "format": "date",
 "dependencies": {"a": ["b"]}, "properties": {"x": {"items": [{"type": "integer"}], "contains": {}}}}"#,
    r#"{"unevaluatedProperties": false, "dependentSchemas": {"tokens": {"properties": {"tokens": true}}},
 "dependentRequired": {"tokens": ["model"]}, "properties": {"x": {"prefixItems": [{}], "unevaluatedItems": false}}}"#,
    r##"{"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}}, "$ref": "#/definitions/a"}"##,
    r#"{"$ref": "https://example.com/call.json", "$id": "https://example.com/other.json"}"#,
    r#"{"properties": {"tokens": {"pattern": "(a+)+$|(?=b)\\1", "exclusiveMaximum": 1e400, "type": "integer"}}}"#,
    r##"{"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": true, "minimum": 1, "$dynamicRef": "#x"}"##,
];

/// How many entries the small journal has.
pub const ENTRIES: Epoch = 7;

/// An entry of the small journal: facts of every kind among them.
pub fn entry(epoch: Epoch) -> Arc<Entry> {
    let facts = match epoch % 6 {
        0 => Vec::new(),
        1 => vec![Fact::Usage(Arc::new(usage(epoch))), Fact::Refused(vec![refused(epoch)])],
        2 => vec![Fact::Usage(Arc::new(narrow(usage(epoch))))],
        3 => catalog(),
        4 => vec![Fact::Issued(document(epoch))],
        _ => vec![
            Fact::Declared(declaration(epoch)),
            Fact::Replayed(replays(epoch)),
            Fact::Backfill(Backfill::Applied(batch(epoch))),
        ],
    };
    let offsets = [("calls.ndjson".to_owned(), epoch.to_string())].into();
    Arc::new(Entry { epoch, clock: 1_000 + epoch as i64, offsets, names: names(epoch), facts })
}

/// The same with one value to a row, and without what was sent as sources and ids.
fn narrow(mut batch: UsageBatch) -> UsageBatch {
    batch.rows.iter_mut().for_each(|row| (row.value, row.wide) = (7, 0));
    UsageBatch { wide: Vec::new(), ids: SentIds::default(), ..batch }
}

fn catalog() -> Vec<Fact> {
    let files = [("catalog.toml", CATALOG), ("call.schema.json", SCHEMAS[0])];
    let changes = read_catalog_texts(&files, &Catalog::default()).expect("the catalog is good");
    changes.into_iter().map(|(change, _)| Fact::Catalog(change)).collect()
}

fn names(epoch: Epoch) -> NewNames {
    let layout = layouts(0).by_type["call"].clone();
    let properties = Properties { layout, dimensions: [Some("m-large".into()), None].into() };
    NewNames {
        subjects: vec![format!("subject-{epoch}").into()],
        property_sets: vec![Arc::new(properties)],
        texts: vec!["a text".into()],
    }
}

fn usage(number: u64) -> UsageBatch {
    let row = |place: u64| UsageRow {
        identity: identity(number * 16 + place),
        occurred_at: number as i64,
        value: 2 * place as i64,
        subject: 1,
        properties: 2,
        revision: 3,
        says: Says::of(place == 1),
        wide: 2,
    };
    let mut ids = SentIds::default();
    (0..3).for_each(|place| ids.push("/gateway", &format!("call-{number}-{place}")));
    let wide = vec![i128::MIN, i128::MAX, 1, 2, 3, 4];
    let origin = Arc::new(origin("calls.ndjson"));
    UsageBatch { first_row: number, received_at: 5, origin, rows: (0..3).map(row).collect(), wide, ids }
}

/// An identity of the samples.
pub fn identity(number: u64) -> Identity {
    Identity([number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number / 5 * 1_000])
}

fn origin(source: &str) -> Origin {
    Origin { source: source.to_owned(), partition: "3".to_owned() }
}

fn declaration(number: u64) -> Declaration {
    Declaration { arrival: Arrival::at(origin("calls").into(), 7_200_000_000), events: number }
}

fn replays(number: u64) -> Vec<Replay> {
    let replay = |place: u64| Replay {
        input: InputId { epoch: number, place },
        arrival: Arrival::at(origin("calls").into(), 7_200_000_000),
        still: (place == 1).then(|| (Reason::Missing, "`id` is missing".to_owned())),
    };
    (0..2).map(replay).collect()
}

fn batch(number: u64) -> Batch {
    let (whose, meter) = (Whose::Subject("acme".to_owned()), "calls".to_owned());
    let scope = Some(Scope { whose, meter, from: 0, to: i64::MAX });
    Batch { name: "june".to_owned(), digest: "00ff".to_owned(), scope, events: number, displaced: 1 }
}

fn refused(number: u64) -> Refused {
    Refused {
        source: "calls.ndjson".to_owned(),
        partition: "3".to_owned(),
        position: format!("line {number}"),
        event_source: None,
        event_id: Some("call-1".to_owned()),
        reason: Reason::Conflict,
        detail: "it is not an object; send one".to_owned(),
        payload: Some("x".repeat(90)),
        whole: false,
    }
}

fn document(number: u64) -> Document {
    let line = |billed| DocumentLine {
        feature: "tokens".to_owned(),
        service_start: 0,
        service_end: i64::MAX,
        quantity: i128::MIN,
        billed,
    };
    Document {
        number: format!("INV-{number:06}"),
        corrects: None,
        customer: "acme".to_owned(),
        subscription: "acme-pro".to_owned(),
        period_start: i64::MIN,
        period_end: 7,
        issued_at: 8,
        currency: "USD".to_owned(),
        lines: vec![line(i128::from(number)), line(-1)],
    }
}

/// How the small journal is kept: a few entries to a segment.
pub const SETTINGS: Settings = Settings { segment_bytes: 3_000, accept_rollback: false };

/// A disk with the small journal; opened again after it was written, or not.
pub fn journal(is_opened_again: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let open = || FileJournal::open_on(Arc::new(disk.clone()), SETTINGS).expect("nothing fails").0;
    let mut journal = open();
    for epoch in 1..=ENTRIES {
        journal.append(entry(epoch)).expect("it follows");
        journal.sync().expect("nothing fails");
    }
    drop(journal);
    if is_opened_again {
        drop(open());
    }
    disk
}

/// Rows of a run, in their order.
pub fn rows(count: u64) -> Vec<KeptRow> {
    let row = |number: u64| {
        let wide: Vec<i128> = (0..number % 11 % 4).map(|place| i128::from(number) << (10 * place)).collect();
        let row = UsageRow {
            identity: identity(number),
            occurred_at: 7 * number as i64,
            value: if wide.is_empty() { number as i64 - 50 } else { 0 },
            subject: number as u32,
            properties: 3,
            revision: 1,
            says: match number % 13 {
                0 => Says::Nothing,
                1 => Says::Retraction,
                _ => Says::Assertion,
            },
            wide: wide.len() as u16,
        };
        KeptRow { row, received_at: -1, origin: Arc::new(origin(["calls", "http"][number as usize % 2])), wide }
    };
    let mut rows: Vec<KeptRow> = (0..count).map(row).collect();
    rows.sort_by_key(|kept| kept.row.identity.order());
    rows
}
