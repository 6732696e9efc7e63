//! Whether the engine is right: every view beside the oracle's, computed anew from all facts.

use std::collections::BTreeSet;

use trueup::engine::moment::Moment;
use trueup::engine::oracle_rows::rows;
use trueup::oracle::{Cell, Oracle, Statement, VIEWS};
use trueup::retelling::Told;
use trueup_sinks::view::View;

use super::narrator::Narrator;
use super::page::{self, Ink, ink};
use super::table::Table;
use super::words;

type Rows = BTreeSet<Vec<Cell>>;

/// How many rows of each view are the same, and which are not.
#[derive(Debug)]
pub struct Proof {
    facts: usize,
    views: Vec<Compared>,
    follows_crossings: bool,
}

#[derive(Debug)]
struct Compared {
    name: &'static str,
    rows: usize,
    differences: Vec<String>,
}

/// From how many epochs times facts on the oracle does not follow crossings: it works every quota
/// out anew at each epoch.
const EFFORT_MAX: usize = 20_000_000;

/// Tells the oracle everything the engine was told, and compares every view as of the last epoch.
pub fn check(moment: &Moment, told: &[Told], narrator: Narrator) -> Proof {
    let facts: usize = told.iter().map(|told| told.statements.len()).sum();
    let told = together(told);
    let follows_crossings = told.len().saturating_mul(facts) <= EFFORT_MAX;
    let names = VIEWS.into_iter().filter(|name| follows_crossings || *name != View::QuotaCrossings.name());
    let bar = narrator.bar(told.len() + VIEWS.len(), "the oracle computes");
    let mut oracle = if follows_crossings { Oracle::new() } else { Oracle::without_crossings() };
    for told in told {
        oracle.accept(told.epoch, told.clock, told.statements);
        bar.inc(1);
    }
    let compare = |name: &'static str| {
        let view = View::named(name).expect("the oracle answers for views there are");
        let compared = compare(name, &rows(moment, view), &oracle.rows(name));
        bar.inc(1);
        compared
    };
    let views = names.map(compare).collect();
    bar.finish_and_clear();
    Proof { facts, views, follows_crossings }
}

/// The epochs, those that do nothing but issue taken together: they move no quota, and so the
/// oracle need not work the quotas out after each.
fn together(told: &[Told]) -> Vec<Told> {
    let only_issues = |told: &Told| told.statements.iter().all(|statement| matches!(statement, Statement::Issued(_)));
    let runs = told.chunk_by(|a, b| only_issues(a) && only_issues(b) && a.clock == b.clock);
    let join = |run: &[Told]| {
        let last = run.last().expect("a run is never empty");
        let statements = run.iter().flat_map(|told| told.statements.iter().cloned()).collect();
        Told { epoch: last.epoch, clock: last.clock, statements }
    };
    runs.map(join).collect()
}

fn compare(name: &'static str, shown: &Rows, right: &Rows) -> Compared {
    let line = |what: &str, row: &Vec<Cell>| {
        let cells: Vec<String> = row.iter().map(Cell::to_string).collect();
        format!("{name}: {what}: {}", cells.join(" | "))
    };
    let wrong = shown.difference(right).map(|row| line("only the engine says", row));
    let missing = right.difference(shown).map(|row| line("only the oracle says", row));
    Compared { name, rows: right.len(), differences: wrong.chain(missing).collect() }
}

impl Proof {
    /// Whether all is the same.
    pub fn holds(&self) -> bool {
        self.views.iter().all(|view| view.differences.is_empty())
    }

    /// How many facts both were told.
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// How many rows were compared.
    pub fn rows(&self) -> usize {
        self.views.iter().map(|view| view.rows).sum()
    }

    /// Tells it.
    pub fn print(&self) {
        const DIFFERENCES_SHOWN: usize = 10;
        let mut table = Table::new(&["view", ">rows", "", "view", ">rows", "", "view", ">rows", ""]);
        let height = self.views.len().div_ceil(3);
        for line in 0..height {
            let views = (0..3).filter_map(|column| self.views.get(line + column * height));
            table.row(views.flat_map(|view| {
                let verdict = if view.differences.is_empty() { "same" } else { "DIFFERS" };
                [view.name.to_owned(), words::count(view.rows as i128), verdict.to_owned()]
            }));
        }
        table.print();
        if !self.follows_crossings {
            page::line("Crossings of quotas were not compared: of so many epochs and facts that takes too long.");
        }
        let (facts, rows) = (words::count(self.facts as i128), words::count(self.rows() as i128));
        if self.holds() {
            let sentence =
                format!("From {facts} facts both say the same: {rows} rows in {} views, exactly.", self.views.len());
            page::line(ink(Ink::Green, &sentence));
            return;
        }
        for difference in self.views.iter().flat_map(|view| &view.differences).take(DIFFERENCES_SHOWN) {
            page::line(ink(Ink::Red, difference));
        }
    }
}
