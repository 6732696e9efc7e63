//! Whether the views of an engine are what the oracle makes of its journal, row by row.

use trueup::engine::Engine;
use trueup::engine::oracle_rows::rows;
use trueup::oracle::{Oracle, VIEWS};
use trueup::retelling::{Retelling, Told};
use trueup_connectors::journal::{FileJournal, Journal};
use trueup_sinks::view::View;

use crate::subject::difference;

/// Tells the oracle a journal, and compares every view of an engine that has computed it.
pub fn prove(engine: &Engine, journal: &FileJournal) {
    prove_by(engine, journal, Oracle::new(), |_| true);
}

/// The same but for the crossings of quotas, which take the oracle longer than all else together.
pub fn prove_without_crossings(engine: &Engine, journal: &FileJournal) {
    prove_by(engine, journal, Oracle::without_crossings(), |view| view != View::QuotaCrossings);
}

fn prove_by(engine: &Engine, journal: &FileJournal, mut oracle: Oracle, is_meant: impl Fn(View) -> bool) {
    let mut retelling = Retelling::default();
    for entry in journal.entries(0) {
        let Told { epoch, clock, statements } = retelling.retell(&entry.expect("it is whole"));
        oracle.accept(epoch, clock, statements);
    }
    let moment = engine.newest();
    for name in VIEWS {
        let view = View::named(name).expect("the view has a name");
        if is_meant(view) {
            let (shown, right) = (rows(&moment, view), oracle.rows(name));
            assert!(shown == right, "{name}\n{}", difference(&shown, &right));
        }
    }
}
