//! Holds events against the JSON Schema of their type, where it has one.
//!
//! Law: an event is decided once, when it is read, and what was decided is in the journal: a schema
//! that is changed later moves nothing that was taken. Only types with a schema pay for it: their
//! events are parsed once more, as a whole.
//!
//! A schema comes from whoever keeps the catalog, and yet it may not hold up readers: it fetches
//! nothing, refers only to its own definitions and never to itself, and its patterns are matched in
//! linear time. What it says of `format` is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{PatternOptions, Validator};
use serde::Deserialize;
use serde_json::Value;
use trueup_model::catalog::EventSchema;
use trueup_model::layout::EventLayout;

use crate::fault::Fault;
use crate::limits::cut;

/// The most bytes of a schema.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// How deep a schema may be nested.
const DEPTH_MAX: usize = 32;
/// The most parts that a schema may have once each definition stands where it is referred to.
const PARTS_MAX: usize = 10_000;
/// The most bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The most bytes of what is said to be wrong with an event.
const SAID_BYTES_MAX: usize = 512;
/// Schemas that are kept compiled.
const COMPILED_MAX: usize = 1_024;

/// Whether a schema can be used; an error is a sentence for whoever wrote it.
///
/// ```
/// use trueup_connectors::schemas::check_schema;
/// use trueup_model::catalog::EventSchema;
/// let schema = |text: &str| EventSchema { event_type: "call".into(), version: 1, text: text.into() };
/// assert!(check_schema(&schema(r#"{"required": ["tokens"]}"#)).is_ok());
/// let why = check_schema(&schema(r##"{"$ref": "https://example.com/call.json"}"##)).unwrap_err();
/// assert!(why.starts_with("it refers to `https://example.com/call.json`"), "{why}");
/// ```
pub fn check_schema(schema: &EventSchema) -> Result<(), String> {
    compile(schema).map(|_| ())
}

/// A schema that events are held against.
#[derive(Debug)]
pub(crate) struct Compiled {
    schema: Arc<EventSchema>,
    /// An error only where nobody checked it before it was journaled.
    validator: Result<Validator, String>,
}

/// The part of an event that a schema speaks of.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    data: Option<Value>,
}

impl Compiled {
    /// The schema, compiled once for as long as it is used.
    pub fn of(schema: &Arc<EventSchema>) -> Arc<Compiled> {
        static KEPT: Mutex<Vec<Arc<Compiled>>> = Mutex::new(Vec::new());
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = kept.iter().find(|compiled| compiled.schema == *schema) {
            return compiled.clone();
        }
        let compiled = Arc::new(Compiled { schema: schema.clone(), validator: compile(schema) });
        if kept.len() == COMPILED_MAX {
            kept.remove(0);
        }
        kept.push(compiled.clone());
        compiled
    }

    /// Holds an event in JSON against it.
    pub fn check_event(&self, text: &str, asked: &EventLayout) -> Result<(), Fault> {
        let event: Event = serde_json::from_str(text)
            .map_err(|error| Fault::unreadable(format!("the event cannot be held against its schema: {error}")))?;
        self.check(event.data.unwrap_or(Value::Null), asked)
    }

    /// Holds the properties of an event against it. What meters ask for as a number counts as one,
    /// however it is written.
    pub fn check(&self, mut data: Value, asked: &EventLayout) -> Result<(), Fault> {
        if data.is_null() {
            data = Value::Object(serde_json::Map::new());
        }
        for column in &asked.numbers {
            if let Some(value) = data.get_mut(&column.property)
                && let Some(number @ Value::Number(_)) = value.as_str().and_then(|text| serde_json::from_str(text).ok())
            {
                *value = number;
            }
        }
        let EventSchema { event_type, version, .. } = &*self.schema;
        let validator = self.validator.as_ref().map_err(|why| {
            Fault::breaks_schema(format!("version {version} of the schema of `{event_type}` cannot be used: {why}"))
        })?;
        validator.validate(&data).map_err(|error| {
            let (path, what) = (error.instance_path().to_string(), error.masked().to_string());
            let (path, what) = (cut(&path, SAID_BYTES_MAX), cut(&what, SAID_BYTES_MAX));
            Fault::breaks_schema(format!(
                "`data{path}` breaks version {version} of the schema of `{event_type}`: {what}; mend the event, or give \
                 the type another version of its schema"
            ))
        })
    }
}

fn compile(schema: &EventSchema) -> Result<Validator, String> {
    if schema.text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("it has more than {SCHEMA_BYTES_MAX} bytes: leave out what events need not keep to"));
    }
    let value: Value = serde_json::from_str(&schema.text).map_err(|error| format!("it is not JSON: {error}"))?;
    Bounds::of(&value)?.check(&value)?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().offline().should_validate_formats(false).with_pattern_options(patterns);
    options.build(&value).map_err(|error| {
        let (path, what) = (error.instance_path().to_string(), error.masked().to_string());
        format!("at `{}` it is no JSON Schema: {}", cut(&path, SAID_BYTES_MAX), cut(&what, SAID_BYTES_MAX))
    })
}

/// The definitions of a schema, by what refers to them.
struct Bounds<'s> {
    definitions: BTreeMap<String, &'s Value>,
}

impl<'s> Bounds<'s> {
    fn of(schema: &'s Value) -> Result<Bounds<'s>, String> {
        if depth(schema) > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep: use definitions"));
        }
        let mut definitions = BTreeMap::new();
        for place in ["$defs", "definitions"] {
            for (name, definition) in schema.get(place).and_then(Value::as_object).into_iter().flatten() {
                definitions.insert(format!("#/{place}/{name}"), definition);
            }
        }
        Ok(Bounds { definitions })
    }

    /// Whether it refers to its own definitions only, never to itself, and stays within bounds once
    /// they stand where they are referred to.
    fn check(&self, schema: &Value) -> Result<(), String> {
        let parts = self.parts(schema, &mut BTreeSet::new(), &mut BTreeMap::new(), true)?;
        match parts > PARTS_MAX {
            true => Err(format!("it has more than {PARTS_MAX} parts, definitions counted wherever they are used")),
            false => Ok(()),
        }
    }

    fn parts(
        &self,
        part: &Value,
        within: &mut BTreeSet<String>,
        known: &mut BTreeMap<String, usize>,
        is_root: bool,
    ) -> Result<usize, String> {
        let mut parts = 1_usize;
        match part {
            Value::Array(items) => {
                for item in items {
                    parts = parts.saturating_add(self.parts(item, within, known, false)?);
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    if is_root && (key == "$defs" || key == "definitions") {
                        continue;
                    }
                    if ["$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"].contains(&key.as_str()) {
                        return Err(format!("it has `{key}`: refer to definitions of its own by `$ref` alone"));
                    }
                    parts = parts.saturating_add(match (key.as_str(), value.as_str()) {
                        ("$ref", Some(name)) => self.referred(name, within, known)?,
                        _ => self.parts(value, within, known, false)?,
                    });
                }
            }
            _ => {}
        }
        Ok(parts)
    }

    /// The parts of a definition.
    fn referred(
        &self,
        name: &str,
        within: &mut BTreeSet<String>,
        known: &mut BTreeMap<String, usize>,
    ) -> Result<usize, String> {
        if let Some(parts) = known.get(name) {
            return Ok(*parts);
        }
        let Some(definition) = self.definitions.get(name) else {
            let name = cut(name, SAID_BYTES_MAX);
            return Err(format!("it refers to `{name}`, which is no definition of its own: put it into its `$defs`"));
        };
        if !within.insert(name.to_owned()) {
            return Err(format!("`{name}` refers to itself: write out as many levels as events have"));
        }
        let parts = self.parts(definition, within, known, false)?;
        within.remove(name);
        known.insert(name.to_owned(), parts);
        Ok(parts)
    }
}

/// How deep a value is nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventReader;
    use trueup_model::layout::{Layouts, NumberColumn};
    use trueup_model::usage::Reason;

    fn schema(text: &str) -> EventSchema {
        EventSchema { event_type: "call".to_owned(), version: 3, text: text.to_owned() }
    }

    fn layouts(text: &str) -> Arc<Layouts> {
        let numbers = vec![NumberColumn { property: "tokens".to_owned(), scale: 0 }];
        let (texts, dimensions) = (Vec::new(), vec!["model".to_owned()]);
        let layout = Arc::new(EventLayout { event_type: "call".to_owned(), numbers, texts, dimensions });
        let by_type = [("call".to_owned(), layout)].into();
        let schemas = [("call".to_owned(), Arc::new(schema(text)))].into();
        Arc::new(Layouts { generation: 1, by_type, schemas, ..Layouts::default() })
    }

    /// Why an event with these attributes and data is set aside.
    fn fault(schema: &str, rest: &str) -> Option<(Reason, String)> {
        let mut reader = EventReader::new(layouts(schema), "default", "test");
        let mut builder = reader.batch();
        let event =
            format!(r#"{{"id":"1","source":"/s","type":"call","subject":"acme","time":"2026-06-01T08:00:00Z"{rest}}}"#);
        reader.read_line(event.as_bytes(), "here", &mut builder);
        let batch = builder.finish();
        assert_eq!(batch.rows.len() + batch.refused.len(), 1);
        batch.refused.into_iter().next().map(|refused| (refused.reason, refused.detail))
    }

    const CALL: &str = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["tokens", "who"],
        "properties": {
            "tokens": {"$ref": "#/$defs/count"},
            "model": {"enum": ["large", "small"]},
            "who": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^[a-z]+$", "format": "email"}}}
        },
        "additionalProperties": false,
        "$defs": {"count": {"type": "integer", "minimum": 1}}
    }"##;

    #[test]
    fn what_breaks_a_schema_is_told_with_its_path_and_version() {
        assert_eq!(fault(CALL, r#","data":{"tokens":12,"model":"large","who":{"name":"ann"}}"#), None);
        let broken = [
            (r#","data":{"tokens":0,"who":{}}"#, "`data/tokens` breaks version 3 of the schema of `call`"),
            (r#","data":{"tokens":1.5,"who":{}}"#, "`data/tokens` breaks"),
            (r#","data":{"tokens":1,"who":{"name":"Ann"}}"#, "`data/who/name` breaks"),
            (r#","data":{"tokens":1,"who":{},"model":"tiny"}"#, "`data/model` breaks"),
            (r#","data":{"tokens":1,"who":{},"other":1}"#, "`data` breaks"),
            (r#","data":{"tokens":1}"#, "`data` breaks"),
            (r#","data":null"#, "`data` breaks"),
            ("", "`data` breaks"),
        ];
        for (rest, said) in broken {
            let (reason, detail) = fault(CALL, rest).unwrap_or_else(|| panic!("{rest} breaks it"));
            assert_eq!(reason, Reason::BreaksSchema, "{rest}: {detail}");
            assert!(detail.starts_with(said) && detail.len() < 800, "{rest}: {detail}");
        }
    }

    #[test]
    fn a_quantity_is_a_number_however_it_is_written_and_a_retraction_has_none() {
        assert_eq!(fault(CALL, r#","data":{"tokens":"12","who":{}}"#), None);
        assert_eq!(
            fault(CALL, r#","data":{"tokens":"none","who":{}}"#).map(|fault| fault.0),
            Some(Reason::BreaksSchema)
        );
        assert_eq!(fault(CALL, r#","retract":true"#), None);
        // It is exact all the same: no float comes near what is kept.
        let reason = fault(CALL, r#","data":{"tokens":1000000000000000000,"who":{}}"#).map(|fault| fault.0);
        assert_eq!(reason, Some(Reason::OutOfRange));
    }

    /// Schemas that may not be used, each with how that is said.
    const HOSTILE: [(&str, &str); 22] = [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        (r#"{"type": "text"}"#, "at `/type` it is no JSON Schema"),
        (r#"{"type": 7}"#, "at `/type` it is no JSON Schema"),
        (r#"{"minimum": "1"}"#, "at `/minimum` it is no JSON Schema"),
        (r#"{"required": "tokens"}"#, "at `/required` it is no JSON Schema"),
        (r#"[]"#, "at `` it is no JSON Schema"),
        (r#"7"#, "at `` it is no JSON Schema"),
        (r#"{"pattern": "("}"#, "at `/pattern` it is no JSON Schema"),
        (r#"{"pattern": "(a+)+\\1"}"#, "at `/pattern` it is no JSON Schema"),
        (r#"{"pattern": "(?=a)b"}"#, "at `/pattern` it is no JSON Schema"),
        (r#"{"pattern": "((a{1000}){1000}){1000}"}"#, "at `/pattern` it is no JSON Schema"),
        (r#"{"$ref": "https://example.com/call.json"}"#, "it refers to `https://example.com/call.json`"),
        (r#"{"$ref": "file:///etc/passwd"}"#, "it refers to `file:///etc/passwd`"),
        (r#"{"$ref": "other.json#/a"}"#, "it refers to `other.json#/a`"),
        (r##"{"$ref": "#"}"##, "it refers to `#`"),
        (r##"{"$ref": "#/$defs/none"}"##, "it refers to `#/$defs/none`"),
        (
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}"##,
            "`#/$defs/a` refers to itself",
        ),
        (
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}}"##,
            "`#/$defs/a` refers to itself",
        ),
        (r##"{"$dynamicRef": "#x"}"##, "it has `$dynamicRef`"),
        (r#"{"$id": "https://example.com/", "type": "object"}"#, "it has `$id`"),
        (r#"{"$schema": "https://example.com/own"}"#, "at `"),
    ];

    #[test]
    fn schemas_that_could_hold_up_readers_are_refused() {
        for (text, said) in HOSTILE {
            let why = check_schema(&schema(text)).expect_err(text);
            assert!(why.starts_with(said) && why.len() < 1_200, "{text}: {why}");
        }
    }

    #[test]
    fn schemas_are_refused_beyond_their_bounds_and_taken_at_them() {
        let padded = |bytes: usize| format!("{{\"description\":\"{}\"}}", "x".repeat(bytes - 18));
        assert_eq!(padded(SCHEMA_BYTES_MAX).len(), SCHEMA_BYTES_MAX);
        assert!(check_schema(&schema(&padded(SCHEMA_BYTES_MAX))).is_ok());
        assert!(check_schema(&schema(&padded(SCHEMA_BYTES_MAX + 1))).unwrap_err().contains("bytes"));
        let nested = |depth: usize| format!("{}true{}", r#"{"not":"#.repeat(depth), "}".repeat(depth));
        assert!(check_schema(&schema(&nested(DEPTH_MAX))).is_ok());
        assert!(check_schema(&schema(&nested(DEPTH_MAX + 1))).unwrap_err().contains("nested"));
        assert!(check_schema(&schema(&nested(5_000))).unwrap_err().contains("not JSON"), "no stack is that deep");
        // Each doubles the one before it: a few lines that would take longer than the world is old.
        let doubling = |count: usize| {
            let one = |n: usize| {
                format!(r##""d{n}":{{"allOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}}"##, n - 1)
            };
            let more: Vec<String> = (1..=count).map(one).collect();
            format!(r##"{{"$ref":"#/$defs/d{count}","$defs":{{"d0":true,{}}}}}"##, more.join(","))
        };
        assert!(check_schema(&schema(&doubling(6))).is_ok());
        assert!(check_schema(&schema(&doubling(60))).unwrap_err().contains("parts"));
    }

    #[test]
    fn a_schema_that_nobody_checked_sets_its_events_aside() {
        let (reason, detail) = fault(r#"{"type": 7}"#, r#","data":{"tokens":1}"#).expect("it cannot be used");
        assert_eq!(reason, Reason::BreaksSchema);
        assert!(detail.starts_with("version 3 of the schema of `call` cannot be used: at `/type`"), "{detail}");
    }

    #[test]
    fn rows_of_a_csv_file_keep_to_the_schema_too() {
        let mapping = toml::from_str(
            "event_type = {constant = 'call'}\nid = {column = 'id'}\nsource = 's'\nsubject = {constant = 'acme'}\n\
             time = {column = 'at'}\n[data]\ntokens = 'tokens'\nwho = 'who'",
        );
        let file = "id,at,tokens,who\n1,2026-06-01T08:00:00Z,12,ann\n2,2026-06-01T08:00:00Z,0,ann\n3,2026-06-01T08:00:00Z,12,\n";
        let schema = r#"{"required":["who"],"properties":{"tokens":{"type":"integer","minimum":1}}}"#;
        let batches = crate::read_csv(file.as_bytes(), &mapping.unwrap(), &layouts(schema), "default", "calls.csv", 1);
        let batch = batches.unwrap().next().unwrap().unwrap();
        assert_eq!(batch.rows.len(), 1);
        let said: Vec<&str> =
            batch.refused.iter().map(|refused| refused.detail.split(" breaks").next().unwrap()).collect();
        assert_eq!(said, ["`data/tokens`", "`data`"]);
        assert!(batch.refused.iter().all(|refused| refused.whole), "they can be read again without the file");
    }

    #[test]
    fn a_catalog_names_the_files_of_its_schemas() {
        use crate::catalog_files::read_catalog_texts;
        use trueup_model::catalog::{Catalog, CatalogChange};
        use trueup_model::dictionary::Dictionary;
        let read = |version: &str, file: &str, text: &str| {
            let toml = format!("[[schema]]\nevent_type = 'call'\nversion = {version}\nfile = '{file}'");
            let files = [("folder/all.toml", &*toml), ("folder/call.schema.json", text)];
            read_catalog_texts(&files, &Catalog::default()).map_err(|problems| problems.to_string())
        };
        let (change, _) = read("1", "call.schema.json", "{}").unwrap().remove(0);
        let CatalogChange::Schema(EventSchema { event_type, version, text }) = &change else { panic!("{change:?}") };
        assert_eq!((&**event_type, *version, &**text), ("call", 1, "{}"));
        let wrong = [
            (
                read("1", "none.schema.json", "{}"),
                "folder/all.toml:4: schema 'call': there is no file `none.schema.json`",
            ),
            (
                read("1", "call.schema.json", "["),
                "folder/all.toml:4: schema 'call': `call.schema.json` cannot be used: it is",
            ),
            (read("'1'", "call.schema.json", "{}"), "folder/all.toml:3: schema 'call': `version` is"),
        ];
        for (read, said) in wrong {
            let problems = read.unwrap_err();
            assert!(problems.starts_with(said), "{problems}");
        }
        // Another version may say something else; the same may not.
        let (mut catalog, mut dictionary) = (Catalog::default(), Dictionary::default());
        let mut apply = |version, text: &str| {
            let schema = EventSchema { event_type: "call".to_owned(), version, text: text.to_owned() };
            catalog.apply(CatalogChange::Schema(schema), &mut dictionary).map(|_| catalog.layouts().generation)
        };
        assert_eq!([apply(2, "{}"), apply(2, "{}"), apply(3, "true")], [Ok(1), Ok(1), Ok(2)]);
        assert!(apply(3, "{}").is_err() && apply(2, "{}").is_err());
    }

    #[test]
    fn rows_of_columns_keep_to_the_schema_too() {
        use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
        let text = |texts: [Option<&str>; 5]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let all = |one: &'static str| text([Some(one); 5]);
        let columns: [(&str, ArrayRef); 9] = [
            ("id", text(["1", "2", "3", "4", "5"].map(Some))),
            ("source", all("/s")),
            ("type", all("call")),
            ("subject", all("acme")),
            ("time", all("2026-06-01T08:00:00Z")),
            ("tokens", Arc::new(Int64Array::from(vec![12, 0, 12, 12, 0]))),
            // Nothing but the schema looks at these.
            ("data.who", text([Some("ann"), Some("ann"), None, Some("ann"), None])),
            ("is_paid", Arc::new(BooleanArray::from(vec![true, true, true, false, true]))),
            ("retract", Arc::new(BooleanArray::from(vec![false, false, false, false, true]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = r#"{"required": ["who"], "properties": {"tokens": {"type": "integer", "minimum": 1}, "who": {"type": "string"}, "is_paid": {"const": true}}}"#;
        let events = crate::ArrowEvents::new(layouts(schema), "default", "calls.arrow");
        let batch = events.read_batch(&batch, |row| format!("row {row}")).unwrap();
        let said =
            batch.refused.iter().map(|refused| (&*refused.position, refused.detail.split(" breaks").next().unwrap()));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [("row 2", "`data/tokens`"), ("row 3", "`data`"), ("row 4", "`data/is_paid`")]
        );
        assert!(batch.refused.iter().all(|refused| refused.reason == Reason::BreaksSchema && !refused.whole));
        assert_eq!(batch.rows.len(), 2, "the first, and a retraction");
        assert!(events.reads("data.who"), "no way in may step over what a schema asks for");
    }
}
