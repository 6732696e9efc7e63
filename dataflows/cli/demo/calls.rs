//! The recorded calls: one hour of two LLM services in Azure, and the catalog they are billed by.
//!
//! Both are built in, so that the demo runs from anywhere. Where the recordings come from is in
//! `examples/llm_vendor/events/README.md`.

use jiff::civil::DateTime;
use trueup_connectors::catalog_files::read_catalog_texts;
use trueup_model::catalog::{Catalog, CatalogChange};
use trueup_model::grain::Micros;

const CODE: &str = include_str!("../../../examples/llm_vendor/events/azure_llm_2023_code.csv");
const CHAT: &str = include_str!("../../../examples/llm_vendor/events/azure_llm_2023_conv.csv");

const CATALOG: [(&str, &str); 4] = [
    ("meters.toml", include_str!("../../../examples/llm_vendor/catalog/meters.toml")),
    ("features.toml", include_str!("../../../examples/llm_vendor/catalog/features.toml")),
    ("plans.toml", include_str!("../../../examples/llm_vendor/catalog/plans.toml")),
    ("customers.toml", include_str!("../../../examples/llm_vendor/catalog/customers.toml")),
];

/// One recorded call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number within its recording, as an id.
    pub id: String,
    /// Which service: `azure/code` or `azure/conv`.
    pub source: &'static str,
    /// The family of models that answers such calls.
    pub family: &'static str,
    /// When it was made.
    pub at: Micros,
    /// The same as an event states it.
    pub time: String,
    /// Tokens that went in.
    pub context: u64,
    /// Tokens that came out.
    pub generated: u64,
}

/// Every recorded call, in the order of time.
pub fn recorded() -> Vec<Call> {
    let code = rows(CODE, "azure-code", "azure/code", "forge");
    let chat = rows(CHAT, "azure-conv", "azure/conv", "muse");
    let mut calls: Vec<Call> = code.chain(chat).collect();
    calls.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    calls
}

fn rows(
    csv: &'static str,
    prefix: &'static str,
    source: &'static str,
    family: &'static str,
) -> impl Iterator<Item = Call> {
    let row = move |(number, line): (usize, &str)| {
        let mut cells = line.split(',');
        let mut cell = || cells.next().expect("each row of the recordings has three cells");
        let (time, context, generated) = (cell(), cell(), cell());
        let instant: DateTime = time.parse().expect("the recordings have good times");
        let instant = instant.to_zoned(jiff::tz::TimeZone::UTC).expect("2023 is in range").timestamp();
        let tokens = |text: &str| text.parse().expect("tokens are whole numbers");
        Call {
            id: format!("{prefix}-{number:06}"),
            source,
            family,
            at: instant.as_microsecond(),
            time: format!("{}Z", time.replace(' ', "T")),
            context: tokens(context),
            generated: tokens(generated),
        }
    };
    // The first line names the columns, so that the first call is number 1.
    csv.lines().enumerate().skip(1).map(row)
}

/// The catalog of the demo.
pub fn catalog() -> Vec<CatalogChange> {
    let changes = read_catalog_texts(&CATALOG, &Catalog::default()).expect("the catalog of the demo is good");
    changes.into_iter().map(|(change, _)| change).collect()
}

/// The subjects of each customer, those with most calls first.
pub fn subjects(catalog: &[CatalogChange]) -> Vec<Vec<String>> {
    let subjects = catalog.iter().filter_map(|change| match change {
        CatalogChange::Customer(customer) => Some(customer.subjects.clone()),
        _ => None,
    });
    subjects.collect()
}
