//! `[[meter]]` and `[[feature]]`.

use trueup_model::catalog::Feature;
use trueup_model::meter::{Aggregation, Meter};
use trueup_model::money::PLACES;

use super::place::Problem;
use super::section::Section;

const AGGREGATIONS: [(&str, Aggregation); 7] = [
    ("count", Aggregation::Count),
    ("sum", Aggregation::Sum),
    ("min", Aggregation::Min),
    ("max", Aggregation::Max),
    ("average", Aggregation::Average),
    ("latest", Aggregation::Latest),
    ("unique_count", Aggregation::UniqueCount),
];

pub(super) fn meter(section: &mut Section<'_>, name: String) -> Result<Meter, Problem> {
    let event_type = section.text("event_type")?;
    let event_type = section.need("event_type", event_type, "name the CloudEvents `type` of the events it counts")?;
    let aggregation = section.word("aggregation", &AGGREGATIONS)?;
    let aggregation = section.need("aggregation", aggregation, "write sum, count, max or another of them")?;
    Ok(Meter {
        name,
        event_type: event_type.to_owned(),
        aggregation,
        property: property(section, aggregation)?,
        scale: section.whole("scale", PLACES)?.unwrap_or(0),
        dimensions: section.texts("dimensions")?.unwrap_or_default(),
        filter: section.filter("filter")?,
        forget: section.texts("forget")?.unwrap_or_default().into_iter().collect(),
    })
}

fn property(section: &mut Section<'_>, aggregation: Aggregation) -> Result<Option<String>, Problem> {
    let property = section.text("property")?.map(str::to_owned);
    match (aggregation, property) {
        (Aggregation::Count, None) => Ok(None),
        (Aggregation::Count, Some(_)) => Err(section
            .problem_with("property", "a count reads no `property`; leave it out, or write aggregation = \"sum\"")),
        (_, property) => {
            section.need("property", property, "name the property of `data` that holds the value").map(Some)
        }
    }
}

pub(super) fn feature(section: &mut Section<'_>, name: String) -> Result<Feature, Problem> {
    Ok(Feature { name, meter: section.text("meter")?.map(str::to_owned), filter: section.filter("filter")? })
}
