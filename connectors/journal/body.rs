//! The body of an entry: usage as Arrow, all else as JSON behind it, filled up with spaces.
//!
//! Law: what is read is what was written, to the last bit. Integers of any width are digits in
//! JSON and never floats. The hash of a body is checked before it is read, so a body that cannot
//! be read was not written by this program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};
use trueup_model::arrival::Origin;
use trueup_model::backfill::Backfill;
use trueup_model::catalog::CatalogChange;
use trueup_model::dictionary::{NewNames, Properties};
use trueup_model::fact::{Declaration, Document, Entry, Fact, Replay};
use trueup_model::grain::Micros;
use trueup_model::layout::EventLayout;
use trueup_model::usage::{Refused, UsageBatch, UsageRow};

use super::header::{Header, STEP};
use super::usage_columns::{read_rows, read_values, write_rows, write_values};

/// The part of an entry that is JSON.
#[derive(Serialize, Deserialize)]
struct Text<'a> {
    offsets: Cow<'a, BTreeMap<String, String>>,
    names: Names<'a>,
    facts: Vec<StoredFact<'a>>,
}

/// A fact, but for usage rows, of which it only says how many bytes of Arrow are theirs.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredFact<'a> {
    Usage {
        first_row: u64,
        received_at: Micros,
        /// Not there before version 2.
        #[serde(default)]
        origin: Cow<'a, Origin>,
        row_bytes: usize,
        value_bytes: usize,
    },
    Refused(Cow<'a, [Refused]>),
    Catalog(Cow<'a, CatalogChange>),
    Issued(Cow<'a, Document>),
    Declared(Cow<'a, Declaration>),
    Replayed(Cow<'a, [Replay]>),
    Backfill(Cow<'a, Backfill>),
}

/// A value for each dimension of a layout.
type Dimensions<'a> = Cow<'a, [Option<Box<str>>]>;

/// New names; property sets share their layouts.
#[derive(Serialize, Deserialize)]
struct Names<'a> {
    subjects: Vec<Cow<'a, str>>,
    layouts: Vec<Cow<'a, EventLayout>>,
    property_sets: Vec<(usize, Dimensions<'a>)>,
    texts: Vec<Cow<'a, str>>,
}

/// How a body is divided, for its header.
pub(crate) struct Division {
    pub arrow: u64,
    pub rows: u64,
}

/// Writes the body of an entry behind what is in `out`.
pub(crate) fn write(entry: &Entry, out: &mut Vec<u8>) -> Result<Division, ArrowError> {
    let start = out.len();
    let (mut facts, mut rows) = (Vec::with_capacity(entry.facts.len()), 0);
    for fact in &entry.facts {
        facts.push(match fact {
            Fact::Usage(batch) => {
                rows += batch.rows.len() as u64;
                write_usage(batch, out)?
            }
            Fact::Refused(refused) => StoredFact::Refused(Cow::Borrowed(refused)),
            Fact::Catalog(change) => StoredFact::Catalog(Cow::Borrowed(change)),
            Fact::Issued(document) => StoredFact::Issued(Cow::Borrowed(document)),
            Fact::Declared(declaration) => StoredFact::Declared(Cow::Borrowed(declaration)),
            Fact::Replayed(replays) => StoredFact::Replayed(Cow::Borrowed(replays)),
            Fact::Backfill(backfill) => StoredFact::Backfill(Cow::Borrowed(backfill)),
        });
    }
    let arrow = (out.len() - start) as u64;
    let text = Text { offsets: Cow::Borrowed(&entry.offsets), names: names_of(&entry.names), facts };
    serde_json::to_writer(&mut *out, &text).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    let length = out.len() - start;
    out.resize(start + length.next_multiple_of(STEP), b' ');
    Ok(Division { arrow, rows })
}

fn write_usage<'a>(batch: &'a UsageBatch, out: &mut Vec<u8>) -> Result<StoredFact<'a>, ArrowError> {
    check_places(&batch.rows, &batch.wide)?;
    let start = out.len();
    write_rows(batch, out)?;
    let middle = out.len();
    if !batch.wide.is_empty() {
        write_values(&batch.wide, out)?;
    }
    let (row_bytes, value_bytes) = (middle - start, out.len() - middle);
    let UsageBatch { first_row, received_at, .. } = *batch;
    Ok(StoredFact::Usage { first_row, received_at, origin: Cow::Borrowed(&batch.origin), row_bytes, value_bytes })
}

fn names_of(names: &NewNames) -> Names<'_> {
    let mut layouts: Vec<&Arc<EventLayout>> = Vec::new();
    let mut property_sets = Vec::with_capacity(names.property_sets.len());
    for set in &names.property_sets {
        // There are as many layouts as types of event, and neighbours mostly share one.
        let place = layouts.iter().rposition(|layout| Arc::ptr_eq(layout, &set.layout) || **layout == set.layout);
        let place = place.unwrap_or_else(|| {
            layouts.push(&set.layout);
            layouts.len() - 1
        });
        property_sets.push((place, Cow::Borrowed(&*set.dimensions)));
    }
    Names {
        subjects: names.subjects.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        layouts: layouts.into_iter().map(|layout| Cow::Borrowed(&**layout)).collect(),
        property_sets,
        texts: names.texts.iter().map(|name| Cow::Borrowed(&**name)).collect(),
    }
}

/// The entry with this header and body, or why it cannot be read.
pub(crate) fn read(header: &Header, body: &[u8]) -> Result<Entry, String> {
    let arrow = usize::try_from(header.arrow).ok().filter(|arrow| *arrow <= body.len());
    let (mut arrow, text) = body.split_at(arrow.ok_or("its Arrow part is longer than its body")?);
    let text: Text = serde_json::from_slice(text).map_err(|error| format!("its JSON part cannot be read: {error}"))?;
    let mut facts = Vec::with_capacity(text.facts.len());
    for fact in text.facts {
        facts.push(match fact {
            StoredFact::Usage { first_row, received_at, origin, row_bytes, value_bytes } => {
                let row_stream = cut(&mut arrow, row_bytes)?;
                let value_stream = cut(&mut arrow, value_bytes)?;
                let usage = read_usage(row_stream, value_stream);
                let usage = usage.map_err(|error| format!("its usage cannot be read: {error}"))?;
                let origin = Arc::new(origin.into_owned());
                Fact::Usage(Arc::new(UsageBatch { first_row, received_at, origin, ..usage }))
            }
            StoredFact::Refused(refused) => Fact::Refused(refused.into_owned()),
            StoredFact::Catalog(change) => Fact::Catalog(change.into_owned()),
            StoredFact::Issued(document) => Fact::Issued(document.into_owned()),
            StoredFact::Declared(declaration) => Fact::Declared(declaration.into_owned()),
            StoredFact::Replayed(replays) => Fact::Replayed(replays.into_owned()),
            StoredFact::Backfill(backfill) => Fact::Backfill(backfill.into_owned()),
        });
    }
    let entry = Entry {
        epoch: header.epoch,
        clock: header.clock,
        offsets: text.offsets.into_owned(),
        names: new_names(text.names)?,
        facts,
    };
    let rows: usize = entry.facts.iter().map(usage_rows).sum();
    let counts = (rows as u64, entry.facts.len(), entry.names.len());
    match arrow.is_empty() && counts == (header.rows, header.facts as usize, header.names as usize) {
        true => Ok(entry),
        false => Err("its counts are not those of its header".to_owned()),
    }
}

fn usage_rows(fact: &Fact) -> usize {
    match fact {
        Fact::Usage(batch) => batch.rows.len(),
        Fact::Refused(_)
        | Fact::Catalog(_)
        | Fact::Issued(_)
        | Fact::Declared(_)
        | Fact::Replayed(_)
        | Fact::Backfill(_) => 0,
    }
}

/// Takes the first bytes off a slice.
fn cut<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (first, rest) = bytes.split_at_checked(length).ok_or("its usage is longer than its Arrow part")?;
    *bytes = rest;
    Ok(first)
}

fn read_usage(row_stream: &[u8], value_stream: &[u8]) -> Result<UsageBatch, ArrowError> {
    let (rows, ids) = read_rows(row_stream)?;
    let wide = if value_stream.is_empty() { Vec::new() } else { read_values(value_stream)? };
    check_places(&rows, &wide)?;
    Ok(UsageBatch { rows, wide, ids, ..UsageBatch::default() })
}

/// Who works with rows takes their values by place, so each place must be there.
fn check_places(rows: &[UsageRow], wide: &[i128]) -> Result<(), ArrowError> {
    let is_there = |start: i64, count: u16| {
        usize::try_from(start).is_ok_and(|start| start <= wide.len() && wide.len() - start >= usize::from(count))
    };
    match rows.iter().all(|row| row.wide == 0 || is_there(row.value, row.wide)) {
        true => Ok(()),
        false => Err(ArrowError::InvalidArgumentError("a row names values that are not there".into())),
    }
}

fn new_names(names: Names<'_>) -> Result<NewNames, String> {
    let layouts: Vec<Arc<EventLayout>> =
        names.layouts.into_iter().map(|layout| Arc::new(layout.into_owned())).collect();
    let property_set = |(layout, dimensions): (usize, Dimensions<'_>)| {
        let layout = layouts.get(layout).ok_or("a property set has no layout")?.clone();
        Ok::<_, String>(Arc::new(Properties { layout, dimensions: dimensions.into_owned().into() }))
    };
    Ok(NewNames {
        subjects: names.subjects.iter().map(|name| Arc::from(&**name)).collect(),
        property_sets: names.property_sets.into_iter().map(property_set).collect::<Result<_, _>>()?,
        texts: names.texts.iter().map(|name| Arc::from(&**name)).collect(),
    })
}
