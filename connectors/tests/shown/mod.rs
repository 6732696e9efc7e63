//! Batches as text, and the layouts by which the cases are read.

use std::sync::Arc;

use trueup_model::decimal;
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::{EventBatch, Refused};

/// What the cases' events are read by.
pub fn layouts() -> Arc<Layouts> {
    let layout = |event_type: &str, numbers: &[(&str, u32)], texts: &[&str], dimensions: &[&str]| {
        let number = |(property, scale): &(&str, u32)| NumberColumn { property: (*property).into(), scale: *scale };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let layout = EventLayout {
            event_type: event_type.into(),
            numbers: numbers.iter().map(number).collect(),
            texts: names(texts),
            dimensions: names(dimensions),
        };
        (event_type.to_owned(), Arc::new(layout))
    };
    let by_type = [
        layout("call", &[("tokens", 3)], &[], &["model"]),
        layout("login", &[], &["user"], &[]),
        layout("disk", &[("bytes", 0), ("hours", 12)], &[], &["cached"]),
    ];
    Arc::new(Layouts { generation: 1, by_type: by_type.into(), ..Layouts::default() })
}

/// A batch as text, an event or a refusal to a line.
pub fn shown(batch: &EventBatch) -> String {
    let rows = (0..batch.rows.len()).map(|row| shown_row(batch, row));
    let answers: Vec<String> = rows.chain(batch.refused.iter().map(shown_refusal)).collect();
    abbreviated(&answers.join("\n"))
}

/// A text in which a character many times over is written as in the inputs.
fn abbreviated(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let runs = characters.chunk_by(|one, next| one == next);
    runs.map(|run| if run.len() < 16 { run.iter().collect() } else { format!("<<{} {}>>", run.len(), run[0]) })
        .collect()
}

fn shown_row(batch: &EventBatch, row: usize) -> String {
    let (source, id) = batch.ids.get(row).expect("a row has a source and an id");
    let row = &batch.rows[row];
    let properties = &batch.properties[row.properties as usize];
    let layouts = layouts();
    let layout = layouts.of(&properties.event_type).expect("a row is read by a layout");
    let number = |column: usize| match row.wide > 0 {
        true => batch.wide[row.value as usize + column],
        false => i128::from(row.value),
    };
    let numbers = layout.numbers.iter().enumerate().map(|(column, NumberColumn { property, scale })| {
        format!("{property}={}", decimal::show(number(column), *scale))
    });
    let texts = layout.texts.iter().map(|text| format!("{text}={:?}", batch.texts[row.value as usize]));
    let dimensions = layout.dimensions.iter().zip(&properties.dimensions);
    let dimensions = dimensions.filter_map(|(name, value)| Some(format!("{name}={:?}", value.as_deref()?)));
    let values: Vec<String> = numbers.chain(texts).chain(dimensions).collect();
    let statement = if row.asserts() { "row" } else { "retracted" };
    let subject = &batch.subjects[row.subject as usize];
    format!(
        "{statement} {} {source} {id} of {subject} at {}, revision {}: {}",
        layout.event_type,
        row.occurred_at,
        row.revision,
        values.join(" ")
    )
}

fn shown_refusal(refused: &Refused) -> String {
    let name = |name: &Option<String>| name.as_ref().map_or("?".to_owned(), |name| name.escape_debug().to_string());
    format!(
        "{} {} {} at {}: {}",
        refused.reason.name(),
        name(&refused.event_source),
        name(&refused.event_id),
        refused.position,
        refused.detail
    )
}
