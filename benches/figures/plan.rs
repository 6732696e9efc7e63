//! What is measured: which outputs, how many workers, epochs of how many events, from where.

use trueup_workload::catalog::Outputs;

/// Where the events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Batches of parsed events.
    Batches,
    /// A file of CloudEvents in JSON.
    Ndjson,
}

/// One engine, loaded once, and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Where the events come from.
    pub from: From,
    /// Which outputs are kept.
    pub outputs: Outputs,
    /// How many workers keep them.
    pub workers: usize,
    /// How many events an epoch has while loading.
    pub epoch_events: u64,
    /// How many events are loaded.
    pub events: u64,
    /// For how many events back changes can be told; none: as by default.
    pub retention_events: Option<u64>,
    /// Whether small changes to the loaded state are timed.
    pub is_live: bool,
}

impl Subject {
    /// Its name, with which the names of its figures begin.
    pub fn name(&self) -> String {
        let from = match self.from {
            From::Batches => "",
            From::Ndjson => "ndjson_",
        };
        let outputs = match self.outputs {
            Outputs::Core => "core",
            Outputs::All => "all",
        };
        format!("{from}{outputs}_{}w_{}_{}", self.workers, short(self.events), short(self.epoch_events))
    }
}

/// The subjects, the most important first.
pub fn subjects(events: u64, retention_events: Option<u64>) -> Vec<Subject> {
    let batches = |outputs, workers, epoch_events, events, is_live| Subject {
        from: From::Batches,
        outputs,
        workers,
        epoch_events,
        events,
        retention_events,
        is_live,
    };
    let mut subjects = vec![
        batches(Outputs::Core, 2, 100_000, events, true),
        batches(Outputs::All, 2, 100_000, events, true),
        batches(Outputs::Core, 2, 10_000, events, false),
        batches(Outputs::All, 2, 10_000, events, false),
        Subject { from: From::Ndjson, ..batches(Outputs::Core, 2, 100_000, events, false) },
        Subject { from: From::Ndjson, ..batches(Outputs::All, 2, 100_000, events, false) },
        batches(Outputs::Core, 1, 100_000, events, true),
        batches(Outputs::All, 1, 100_000, events, true),
        batches(Outputs::Core, 2, 1_000_000, events, false),
        batches(Outputs::All, 2, 1_000_000, events, false),
        batches(Outputs::Core, 2, 1_000, events, false),
        batches(Outputs::All, 2, 1_000, events, false),
    ];
    if events > 1_000_000 {
        // The same with a tenth of the state or less: what a small change costs must not grow.
        subjects.push(batches(Outputs::Core, 2, 100_000, 1_000_000, true));
        subjects.push(batches(Outputs::All, 2, 100_000, 1_000_000, true));
    }
    subjects
}

fn short(number: u64) -> String {
    match number {
        _ if number.is_multiple_of(1_000_000) => format!("{}M", number / 1_000_000),
        _ if number.is_multiple_of(1_000) => format!("{}k", number / 1_000),
        _ => number.to_string(),
    }
}
