//! Brings a catalog and files of events into an engine of this process.
//!
//! NDJSON, Arrow and Parquet are read as they are; CSV needs a mapping that says which column is what.
//! Events go in a piece of a file at a time, each an epoch, so that memory stays bounded however long
//! the files are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use trueup::engine::Engine;
use trueup::engine::door::{DoorError, Submission};
use trueup_connectors::files::progress::{self, Mark, Progress};
use trueup_connectors::files::{Format, Reading, read_file};
use trueup_connectors::{CsvMapping, EventBatches, Place, ReadError, read_catalog};
use trueup_model::catalog::{Catalog, CatalogChange, Plan};
use trueup_model::fact::Epoch;
use trueup_model::grain::Micros;
use trueup_model::layout::Layouts;

use super::failure::{Failure, Outcome};
use super::words;

/// Whose events are read; there is one tenant so far.
pub const TENANT: &str = "default";

/// Threads that read a file.
const READERS: usize = 2;

/// Changes of a catalog, each with where it is written.
pub type Changes = Vec<(CatalogChange, Place)>;

/// Files of events, and how to read those in CSV.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EventFiles {
    /// Files of events, or folders of them: CloudEvents as JSON lines, CSV, Arrow or Parquet
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub events: Vec<PathBuf>,
    /// How to read CSV: a TOML file for each CSV file in order, or one for all
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub mapping: Vec<PathBuf>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The last epoch.
    pub epoch: Epoch,
    /// How many events passed.
    pub taken: u64,
    /// How many inputs were set aside as they were read.
    pub refused: u64,
}

/// Reads a catalog's folder.
pub fn read_changes(folder: &Path) -> Result<Changes, Failure> {
    read_catalog(folder, &Catalog::default()).map_err(|problems| Failure::Input(problems.to_string()))
}

/// Reads a catalog's folder into an engine, as one epoch; the clock is set if it is given. What the
/// engine has already is not told it again.
pub fn load_catalog(engine: &Engine, folder: &Path, clock: Option<Micros>) -> Result<Epoch, Failure> {
    let books = engine.books();
    let written = read_changes(folder)?;
    tell_left_over(&books.catalog, &written);
    let plans = known_plans(&books.catalog, &written);
    let is_news = |(change, _): &(CatalogChange, Place)| !is_known(&books.catalog, &plans, change);
    let (changes, places): (Vec<_>, Vec<_>) = written.into_iter().filter(is_news).unzip();
    tell_redefined(&books.catalog, &changes);
    tell_forgotten(&books.catalog, &changes);
    let submissions = clock.map(Submission::Clock).into_iter().chain([Submission::Catalog(changes)]).collect();
    let receipt = engine.accept(submissions).map_err(|error| match error {
        DoorError::Catalog { index, error } => Failure::Input(format!("{}: {error}", places[index])),
        other => other.into(),
    })?;
    engine.wait(receipt.epoch)?;
    Ok(receipt.epoch)
}

/// The plans of which a catalog says already what is written: the plan, and its prices, wherever
/// they are.
fn known_plans(catalog: &Catalog, written: &Changes) -> BTreeSet<String> {
    let mut plans: BTreeMap<&str, Plan> = BTreeMap::new();
    for (change, _) in written {
        match change {
            CatalogChange::Plan(plan) => drop(plans.insert(&plan.name, plan.clone())),
            CatalogChange::Price { plan, feature, version } => {
                if !plans.contains_key(plan.as_str()) {
                    plans.extend(catalog.plans.named(plan).map(|standing| (plan.as_str(), (**standing).clone())));
                }
                let plan = plans.get_mut(plan.as_str());
                plan.map(|plan| plan.set_price(feature, version.clone()));
            }
            _ => {}
        }
    }
    plans.values_mut().for_each(Plan::sort_prices);
    let is_known = |plan: &&Plan| catalog.plans.named(&plan.name).is_some_and(|known| **known == **plan);
    plans.values().filter(is_known).map(|plan| plan.name.clone()).collect()
}

/// Says what a catalog has and its folder has no more.
fn tell_left_over(catalog: &Catalog, changes: &Changes) {
    let written: BTreeSet<(&str, &str)> = changes.iter().map(|(change, _)| change.concerns()).collect();
    for (kind, name) in catalog.names().filter(|thing| !written.contains(thing)) {
        let remedy = if kind == "subscription" { ": set its `ends_at` to stop billing it" } else { "" };
        eprintln!("trueup: {kind} '{name}' is no longer in the catalog's files and stays as it was{remedy}");
    }
}

/// Says which definitions are not as they were, since that works the past out anew.
fn tell_redefined(catalog: &Catalog, changes: &[CatalogChange]) {
    let names: BTreeSet<(&str, &str)> = catalog.names().collect();
    let redefined: BTreeSet<(&str, &str)> = changes.iter().map(CatalogChange::concerns).collect();
    for (kind, name) in redefined.into_iter().filter(|thing| names.contains(thing)) {
        let past = match kind {
            "meter" => {
                ": past events are metered anew, by what was read of them; those of which something was not read that it \
                 asks for count for it once they are sent again"
            }
            "plan" => ": past usage is priced anew, and what was issued is corrected",
            _ => "",
        };
        eprintln!("trueup: {kind} '{name}' is not as it was{past}");
    }
}

/// Says what meters are to forget that none ever asked for: it may be mistyped, and the right one be read on.
fn tell_forgotten(catalog: &Catalog, changes: &[CatalogChange]) {
    for change in changes {
        let CatalogChange::Meter(meter) = change else { continue };
        let asked_for = |property: &&String| catalog.has_asked_for(&meter.event_type, property);
        for property in meter.forget.iter().filter(|property| !asked_for(property)) {
            let (name, event_type) = (&meter.name, &meter.event_type);
            eprintln!(
                "trueup: meter '{name}' is to forget '{property}', which no meter asked for of '{event_type}' before"
            );
        }
    }
}

/// Whether a catalog says already what a change says.
fn is_known(catalog: &Catalog, plans: &BTreeSet<String>, change: &CatalogChange) -> bool {
    match change {
        CatalogChange::Meter(meter) => catalog.meters.named(&meter.name).is_some_and(|known| **known == *meter),
        CatalogChange::Feature(feature) => {
            catalog.features.named(&feature.name).is_some_and(|known| **known == *feature)
        }
        CatalogChange::Plan(Plan { name: plan, .. }) | CatalogChange::Price { plan, .. } => plans.contains(plan),
        CatalogChange::Customer(customer) => {
            catalog.customers.named(&customer.id).is_some_and(|known| **known == *customer)
        }
        CatalogChange::Schema(schema) => {
            catalog.schemas.named(&schema.event_type).is_some_and(|known| **known == *schema)
        }
        CatalogChange::Subscription(subscription) => {
            catalog.subscriptions.named(&subscription.id).is_some_and(|known| **known == *subscription)
        }
    }
}

/// Reads files of events into an engine; returns when the views show them. A file that was read
/// before is not read again, and one that was read in part is read on from there, unless it was written
/// since, or meters ask for other properties of its events by now.
pub fn load_events(engine: &Engine, files: &EventFiles) -> Result<Loaded, Failure> {
    load_events_that_can_be(engine, files, |_, failure| Err(failure))
}

/// The same; of a file that cannot be read to its end `ask` is told, and says whether the next is tried.
pub fn load_events_that_can_be(
    engine: &Engine,
    files: &EventFiles,
    ask: impl Fn(&Path, Failure) -> Outcome,
) -> Result<Loaded, Failure> {
    let mut loaded = Loaded { epoch: engine.newest().epoch(), ..Loaded::default() };
    let paths = spread(&files.events)?;
    if paths.is_empty() {
        return Ok(loaded);
    }
    let mappings = Mappings::read(&files.mapping, &paths)?;
    let spinner = spinner();
    for path in &paths {
        load_file(engine, path, &mappings, &spinner, &mut loaded).or_else(|failure| ask(path, failure))?;
    }
    engine.wait(loaded.epoch)?;
    spinner.finish_and_clear();
    Ok(loaded)
}

fn load_file(engine: &Engine, path: &Path, mappings: &Mappings, spinner: &ProgressBar, loaded: &mut Loaded) -> Outcome {
    let (source, begun) = (path.display().to_string(), not_begun(path, &engine.layouts(), mappings)?);
    let Some(after) = begun.or_as_written(engine.read_to(&source)).read_to else {
        tracing::info!(file = source, "read before");
        return Ok(());
    };
    let read_to =
        |read_to| Submission::ReadTo { source: source.clone(), position: Progress { read_to, ..begun }.to_string() };
    let before = *loaded;
    let mut batches = open(engine, path, mappings, after)?;
    while let Some(batch) = batches.next() {
        let batch = batch.map_err(|error| Failure::input(&error))?;
        accept(engine, vec![Submission::Events(batch), read_to(Some(batches.read_to()))], loaded)?;
        spinner.set_message(format!("{} events, {}", words::count(loaded.taken), path.display()));
        spinner.tick();
    }
    let (taken, refused) = (loaded.taken - before.taken, loaded.refused - before.refused);
    tracing::info!(file = source, taken, refused, "read");
    accept(engine, vec![read_to(None)], loaded)
}

/// How far a file is read of which nothing was.
fn not_begun(path: &Path, layouts: &Layouts, mappings: &Mappings) -> Result<Progress, Failure> {
    let file = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    let mapped_by = if format(path) == Format::Csv { Some(mappings.digest_of(path)?) } else { None };
    Ok(Progress { mark: Mark::of(&file), generation: layouts.generation, mapped_by, read_to: Some(0) })
}

fn accept(engine: &Engine, submissions: Vec<Submission>, loaded: &mut Loaded) -> Outcome {
    let receipt = engine.accept(submissions)?;
    loaded.epoch = receipt.epoch;
    loaded.taken += receipt.taken();
    loaded.refused += receipt.refused();
    Ok(())
}

/// Opens a file of events behind so many of its records, to be read by the layouts of now.
pub fn open(engine: &Engine, path: &Path, mappings: &Mappings, after: u64) -> Result<EventBatches, Failure> {
    let (name, layouts) = (path.display().to_string(), engine.layouts());
    let format = format(path);
    let mapping = if format == Format::Csv { Some(mappings.of(path)?) } else { None };
    let reading = Reading { layouts: &layouts, tenant: TENANT, file: &name, threads: READERS };
    read_file(path, format, mapping, after, &reading).map_err(|error| match error {
        ReadError::Io { error, .. } => cannot_read(path, &error),
        error => Failure::input(&error),
    })
}

/// The format of a file of events; one whose name does not say it has an event to a line.
pub fn format(path: &Path) -> Format {
    Format::of(path).unwrap_or(Format::Lines)
}

/// The files as given, and those in the folders among them by name.
pub fn spread(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| cannot_read(path, &error))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|file| Format::of(file).is_some());
        // A pipe in a folder would be waited for until somebody writes into it.
        inside.retain(|file| file.is_file());
        inside.sort();
        if inside.is_empty() {
            eprintln!("trueup: `{}` has no event files: name them {}", path.display(), Format::endings());
        }
        files.extend(inside);
    }
    Ok(files)
}

/// The mapping of each CSV file, with the digest of its text.
pub struct Mappings(Vec<(PathBuf, (CsvMapping, u64))>);

impl Mappings {
    /// Reads mappings: one for each CSV file in order, or one for all.
    pub fn read(mappings: &[PathBuf], files: &[PathBuf]) -> Result<Mappings, Failure> {
        let tables: Vec<&PathBuf> = files.iter().filter(|file| format(file) == Format::Csv).collect();
        let read = mappings.iter().map(|path| read_mapping(path)).collect::<Result<Vec<_>, _>>()?;
        let pairs = match &read[..] {
            [] => Vec::new(),
            [one] => {
                let several = if tables.len() > 1 { one.0.for_several() } else { Ok(()) };
                several.map_err(|why| {
                    let mapping = mappings[0].display();
                    Failure::Input(format!(
                        "`{mapping}` is for {} CSV files: {why}, or give one for each",
                        tables.len()
                    ))
                })?;
                tables.into_iter().map(|file| (file.clone(), one.clone())).collect()
            }
            many if many.len() == tables.len() => tables.into_iter().cloned().zip(read).collect(),
            many => {
                return Err(Failure::Input(format!(
                    "there are {} mappings for {} CSV files: give one for each, in the same order, or one for all",
                    many.len(),
                    tables.len()
                )));
            }
        };
        Ok(Mappings(pairs))
    }

    /// How to read a CSV file.
    pub fn of(&self, file: &Path) -> Result<&CsvMapping, Failure> {
        Ok(&self.find(file)?.0)
    }

    /// The digest of the text of its mapping.
    fn digest_of(&self, file: &Path) -> Result<u64, Failure> {
        Ok(self.find(file)?.1)
    }

    fn find(&self, file: &Path) -> Result<&(CsvMapping, u64), Failure> {
        let found = self.0.iter().find(|(path, _)| path == file);
        found.map(|(_, mapping)| mapping).ok_or_else(|| {
            let file = file.display();
            Failure::Input(format!(
                "`{file}` is CSV and has no mapping, which says which of its columns is what: give one with --mapping, \
                 or as one of `mappings` in trueup.toml"
            ))
        })
    }
}

fn read_mapping(path: &Path) -> Result<(CsvMapping, u64), Failure> {
    let text = fs::read_to_string(path).map_err(|error| cannot_read(path, &error))?;
    let mapping = toml::from_str(&text).map_err(|error| {
        let (path, error) = (path.display(), error.to_string());
        Failure::Input(format!("`{path}` is no mapping: {}", error.trim_end()))
    })?;
    Ok((mapping, progress::digest(&text)))
}

/// That a file or folder cannot be read, and why.
pub fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Input(format!("`{}` cannot be read: {error}; check its name and its rights", path.display()))
}

/// A line on stderr that moves while there is work; nothing where stderr is no terminal.
fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("the template is well formed");
    ProgressBar::new_spinner().with_style(style)
}
