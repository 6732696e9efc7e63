//! The catalog as files: a folder of TOML that finance and platform people keep under version
//! control, read into the changes that make it so.
//!
//! Any file may hold any of `[[meter]]`, `[[feature]]`, `[[plan]]`, `[[price]]`, `[[customer]]`,
//! `[[subscription]]` and `[[schema]]`, whose JSON is in a file beside them. Changes come in the order
//! in which they can be applied, whatever file they are in, each with its place, so that whoever refuses
//! one can say where it is written. Whether definitions fit together is decided where they are applied,
//! not here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use trueup_model::catalog::{Catalog, CatalogChange};

mod customer;
mod metering;
mod moment;
mod place;
mod plan;
mod price;
mod schema;
mod section;

pub use place::{CatalogProblems, Place, Problem};

use section::{CatalogFile, Section};

/// Reads the `.toml` files of a folder, in the order of their names.
///
/// `standing` is the catalog that the changes will be applied to: where a subscription of one of
/// its customers starts on a date, that customer's time zone says when. All problems are found
/// at once, one for each definition.
pub fn read_catalog(folder: &Path, standing: &Catalog) -> Result<Vec<(CatalogChange, Place)>, CatalogProblems> {
    let texts = read_folder(folder).map_err(|error| {
        let place = Place { file: folder.display().to_string(), line: None };
        CatalogProblems(vec![Problem::new(place, format!("the catalog cannot be read: {error}"))])
    })?;
    if texts.iter().all(|(file, _)| is_schema(file)) {
        let place = Place { file: folder.display().to_string(), line: None };
        let message = "the folder has no .toml files; put the catalog's files there";
        return Err(CatalogProblems(vec![Problem::new(place, message)]));
    }
    let texts: Vec<_> = texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    read_catalog_texts(&texts, standing)
}

/// Reads catalog files that are at hand, each with its name.
///
/// ```
/// # use trueup_connectors::catalog_files::read_catalog_texts;
/// # use trueup_model::catalog::Catalog;
/// let meters = "[[meter]]\nname = 'calls'\nevent_type = 'call'\naggregation = 'average'";
/// let problems = read_catalog_texts(&[("catalog/meters.toml", meters)], &Catalog::default()).unwrap_err();
/// assert_eq!(
///     problems.to_string(),
///     "catalog/meters.toml:1: meter 'calls': `property` is missing; name the property of `data` that holds the value"
/// );
/// ```
pub fn read_catalog_texts(
    files: &[(&str, &str)],
    standing: &Catalog,
) -> Result<Vec<(CatalogChange, Place)>, CatalogProblems> {
    let schemas = files.iter().filter(|(file, _)| is_schema(file));
    let schemas = schemas.map(|(file, text)| (schema::file_name(file).to_owned(), (*text).to_owned())).collect();
    let mut definitions = Definitions { schema_files: schemas, ..Definitions::default() };
    for (name, text) in files.iter().filter(|(file, _)| !is_schema(file)) {
        let file = CatalogFile { name, text };
        match toml::de::DeTable::parse(text) {
            Ok(table) => definitions.read_file(&file, table.get_ref()),
            Err(error) => definitions.problems.push(file.no_toml(&error)),
        }
    }
    definitions.finish(standing)
}

fn read_folder(folder: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    let is_toml = |path: &Path| path.extension().is_some_and(|extension| extension == "toml");
    paths.retain(|path| is_toml(path) || path.to_str().is_some_and(is_schema));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path)
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}

/// Whether a file of this name holds a schema.
fn is_schema(file: &str) -> bool {
    file.ends_with(".schema.json")
}

type Placed<D> = (D, Place);

/// What has been read so far, by kind.
#[derive(Default)]
struct Definitions {
    meters: Vec<Placed<CatalogChange>>,
    features: Vec<Placed<CatalogChange>>,
    plans: Vec<Placed<CatalogChange>>,
    prices: Vec<Placed<CatalogChange>>,
    customers: Vec<Placed<CatalogChange>>,
    subscriptions: Vec<Placed<customer::WrittenSubscription>>,
    schemas: Vec<Placed<CatalogChange>>,
    /// What is in the files of schemas, by their names.
    schema_files: BTreeMap<String, String>,
    /// The time zone of each customer.
    zones: BTreeMap<String, String>,
    /// Where each name is defined, by kind.
    names: BTreeMap<(&'static str, String), Place>,
    problems: Vec<Problem>,
}

impl Definitions {
    fn read_file(&mut self, file: &CatalogFile<'_>, table: &toml::de::DeTable<'_>) {
        let mut top = Section::top(file, table);
        let outcome = self.read_kinds(&mut top).and_then(|()| top.finish());
        self.problems.extend(outcome.err());
    }

    fn read_kinds(&mut self, top: &mut Section<'_>) -> Result<(), Problem> {
        for section in top.sections("meter")? {
            let read = self.named("meter", "name", section, metering::meter);
            self.meters.extend(read.map(|(meter, place)| (CatalogChange::Meter(meter), place)));
        }
        for section in top.sections("feature")? {
            let read = self.named("feature", "name", section, metering::feature);
            self.features.extend(read.map(|(feature, place)| (CatalogChange::Feature(feature), place)));
        }
        for section in top.sections("plan")? {
            let read = self.named("plan", "name", section, plan::plan);
            self.plans.extend(read.map(|(plan, place)| (CatalogChange::Plan(plan), place)));
        }
        for section in top.sections("price")? {
            let read = self.read(section, plan::price_change);
            let read = read.and_then(|price| self.first_of_its_moment(price));
            self.prices.extend(read);
        }
        for section in top.sections("customer")? {
            let read = self.named("customer", "id", section, customer::customer);
            let zone = read.iter().map(|(customer, _)| (customer.id.clone(), customer.zone.clone()));
            self.zones.extend(zone);
            self.customers.extend(read.map(|(customer, place)| (CatalogChange::Customer(customer), place)));
        }
        for section in top.sections("subscription")? {
            let read = self.named("subscription", "id", section, customer::subscription);
            self.subscriptions.extend(read);
        }
        for section in top.sections("schema")? {
            let files = std::mem::take(&mut self.schema_files);
            let read =
                self.named("schema", "event_type", section, |section, name| schema::schema(section, name, &files));
            self.schema_files = files;
            self.schemas.extend(read.map(|(schema, place)| (CatalogChange::Schema(schema), place)));
        }
        Ok(())
    }

    /// Reads a definition that has a name, which is new to the files.
    fn named<D>(
        &mut self,
        kind: &'static str,
        key: &'static str,
        mut section: Section<'_>,
        read: impl FnOnce(&mut Section<'_>, String) -> Result<D, Problem>,
    ) -> Option<Placed<D>> {
        let name = section.name(kind, key);
        let name = name.and_then(|name| self.new_name(kind, name, &section));
        match name {
            Ok(name) => self.read(section, |section| read(section, name)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn new_name(&mut self, kind: &'static str, name: String, section: &Section<'_>) -> Result<String, Problem> {
        if let Some(other) = self.names.get(&(kind, name.clone())) {
            return Err(section.problem(format!("it is defined already, at {other}; merge the two or rename one")));
        }
        self.names.insert((kind, name.clone()), section.place());
        Ok(name)
    }

    /// A price whose moment no other file gives another price: which of two held would depend on
    /// the names of the files.
    fn first_of_its_moment(&mut self, (change, place): Placed<CatalogChange>) -> Option<Placed<CatalogChange>> {
        let CatalogChange::Price { plan, feature, version } = &change else { return Some((change, place)) };
        let moment = format!("{plan}/{feature}/{:?}", version.effective_from);
        if let Some(other) = self.names.get(&("price", moment.clone())) {
            let message = format!(
                "price of '{feature}' in plan '{plan}': another begins at the same moment, at {other}; keep one"
            );
            self.problems.push(Problem::new(place, message));
            return None;
        }
        self.names.insert(("price", moment), place.clone());
        Some((change, place))
    }

    /// Reads a definition and makes sure that nothing of it is left over.
    fn read<D>(
        &mut self,
        mut section: Section<'_>,
        read: impl FnOnce(&mut Section<'_>) -> Result<D, Problem>,
    ) -> Option<Placed<D>> {
        let outcome = read(&mut section).and_then(|definition| section.finish().map(|()| definition));
        match outcome {
            Ok(definition) => Some((definition, section.place())),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn finish(mut self, standing: &Catalog) -> Result<Vec<Placed<CatalogChange>>, CatalogProblems> {
        let zone_of = |customer: &str| {
            let here = self.zones.get(customer).cloned();
            here.or_else(|| standing.customers.named(customer).map(|customer| customer.zone.clone()))
        };
        let mut subscriptions = Vec::new();
        for (written, place) in self.subscriptions {
            match written.within(zone_of(written.customer()).as_deref()) {
                Ok(subscription) => subscriptions.push((CatalogChange::Subscription(subscription), place)),
                Err(problem) => self.problems.push(problem),
            }
        }
        if !self.problems.is_empty() {
            self.problems.sort();
            return Err(CatalogProblems(self.problems));
        }
        let kinds = [self.schemas, self.meters, self.features, self.plans, self.prices, self.customers, subscriptions];
        Ok(kinds.into_iter().flatten().collect())
    }
}
