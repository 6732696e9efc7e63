//! `trueup check`: whether a catalog makes sense, and what it defines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use trueup::engine::moment::Moment;
use trueup::engine::view_rows::Cell;
use trueup::engine::{Engine, Setup};
use trueup_model::catalog::Catalog;
use trueup_sinks::view::View;

use super::failure::{Failure, Outcome};
use super::loading::load_catalog;
use super::table::Table;
use super::{page, words};

/// Check a catalog and tell what it defines.
///
/// Every problem is told with its file, its line and the remedy; then the exit code is 1.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the catalog
    #[arg(long, value_name = "DIR")]
    catalog: PathBuf,
}

/// Checks.
pub fn run(arguments: &Arguments, json: bool) -> Outcome {
    if !arguments.catalog.is_dir() {
        return Err(Failure::Input(format!("`{}` is no folder: give the catalog's", arguments.catalog.display())));
    }
    let moment = catalog_as_moment(&arguments.catalog).map_err(as_answer)?;
    let catalog = moment.books().catalog.clone();
    if json {
        page::line(counts(&catalog).to_string());
        return Ok(());
    }
    print_plans(&moment);
    print_customers(&catalog);
    page::line(format!(
        "The catalog is good: {}, {}, {}, {}, {}.",
        words::counted(catalog.meters.iter().count(), "meter"),
        words::counted(catalog.features.iter().count(), "feature"),
        words::counted(catalog.plans.iter().count(), "plan"),
        words::counted(catalog.customers.iter().count(), "customer"),
        words::counted(catalog.subscriptions.iter().count(), "subscription"),
    ));
    Ok(())
}

/// To this command a catalog with problems is an answer.
fn as_answer(failure: Failure) -> Failure {
    match failure {
        Failure::Input(problems) => {
            let lines = problems.lines().count();
            Failure::No(format!("the catalog has {}\n{problems}", words::counted(lines, "problem")))
        }
        other => other,
    }
}

fn catalog_as_moment(folder: &Path) -> Result<Arc<Moment>, Failure> {
    let engine = Engine::start(Setup::default());
    let epoch = load_catalog(&engine, folder, None)?;
    Ok(engine.wait(epoch)?)
}

fn counts(catalog: &Catalog) -> serde_json::Value {
    json!({
        "meters": catalog.meters.iter().count(),
        "features": catalog.features.iter().count(),
        "plans": catalog.plans.iter().count(),
        "customers": catalog.customers.iter().count(),
        "subscriptions": catalog.subscriptions.iter().count(),
    })
}

/// Every price, in words.
fn print_plans(moment: &Moment) {
    let mut table = Table::new(&["plan", "feature", "from", "", "price"]);
    for row in moment.rows(View::Prices) {
        let [plan, feature, from, currency, _, price] = &row[..] else { continue };
        table.row([plan, feature, from, currency, price].map(text));
    }
    table.print();
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.to_string(),
        Cell::Time(at) => words::instant(*at),
        _ => String::new(),
    }
}

fn print_customers(catalog: &Catalog) {
    let mut table = Table::new(&["customer", "zone", "plans", "subjects"]);
    for (_, id, customer) in catalog.customers.iter() {
        let tenures = catalog.tenures(id);
        let plans: Vec<&str> = tenures.iter().map(|tenure| catalog.plans.get(tenure.plan).name.as_str()).collect();
        table.row([customer.id.clone(), customer.zone.clone(), plans.join(", "), customer.subjects.join(", ")]);
    }
    table.print();
}
