//! `[[schema]]`.

use std::collections::BTreeMap;

use trueup_model::catalog::EventSchema;

use super::place::Problem;
use super::section::Section;
use crate::schemas::check_schema;

/// A schema, whose JSON is in one of these files.
pub(super) fn schema(
    section: &mut Section<'_>,
    event_type: String,
    files: &BTreeMap<String, String>,
) -> Result<EventSchema, Problem> {
    let version = section.whole("version", u32::MAX)?;
    let version = section.need("version", version, "number it from 1 on, and count up with every change")?;
    let file = section.text("file")?;
    let file =
        section.need("file", file, "name the file beside this one that holds it, such as \"call.schema.json\"")?;
    let text = files.get(file).ok_or_else(|| {
        section
            .problem_with("file", format!("there is no file `{file}` in the folder; its name must end in .schema.json"))
    })?;
    let schema = EventSchema { event_type, version, text: text.clone() };
    check_schema(&schema).map_err(|why| section.problem_with("file", format!("`{file}` cannot be used: {why}")))?;
    Ok(schema)
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
