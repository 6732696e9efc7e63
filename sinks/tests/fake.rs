//! An engine made up of a script: rows that come and go, an epoch at a time.
//!
//! It keeps every update and adds them up anew for each question, so it can serve as the oracle
//! for what a reader should have seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, RecordBatch};
use tokio::sync::watch;
use trueup_sinks::reading::{Batches, Change, ChangesError, Epoch, Publication, Reading, Scan};
use trueup_sinks::rows::RowWriter;
use trueup_sinks::view::View;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Text(String),
    Integer(i64),
    Decimal(i128),
    Time(i64),
}

/// The values of a row, in the order of the view's columns.
pub type Row = Vec<Value>;

/// A row that came (+1) or went (-1).
pub type Update = (View, Row, i64);

/// Publishes what it is told to.
pub struct Fake {
    newest: Mutex<Arc<Moment>>,
    sender: Mutex<Option<watch::Sender<Epoch>>>,
    receiver: watch::Receiver<Epoch>,
}

/// Everything up to an epoch.
pub struct Moment {
    epoch: Epoch,
    oldest: Epoch,
    updates: Arc<Vec<(Epoch, Update)>>,
    /// Whether changes of several epochs are given together.
    together: bool,
}

impl Fake {
    /// Nothing yet, at epoch 0.
    pub fn new() -> Arc<Fake> {
        let (sender, receiver) = watch::channel(0);
        let newest = Moment { epoch: 0, oldest: 0, updates: Arc::default(), together: false };
        Arc::new(Fake { newest: Mutex::new(Arc::new(newest)), sender: Mutex::new(Some(sender)), receiver })
    }

    /// Publishes the next epoch, which brings `updates`.
    pub fn publish(&self, updates: impl IntoIterator<Item = Update>) -> Epoch {
        let mut newest = self.newest.lock().unwrap();
        let epoch = newest.epoch + 1;
        let mut all = newest.updates.as_ref().clone();
        all.extend(updates.into_iter().map(|update| (epoch, update)));
        *newest = Arc::new(Moment { epoch, oldest: newest.oldest, updates: Arc::new(all), together: newest.together });
        drop(newest);
        self.sender.lock().unwrap().as_ref().unwrap().send_replace(epoch);
        epoch
    }

    /// Gives changes of several epochs together, from the next moment on.
    pub fn give_together(&self) {
        let mut newest = self.newest.lock().unwrap();
        let Moment { epoch, oldest, .. } = **newest;
        *newest = Arc::new(Moment { epoch, oldest, updates: newest.updates.clone(), together: true });
    }

    /// Forgets the changes of epochs up to `oldest`, from the next moment on.
    pub fn forget(&self, oldest: Epoch) {
        let mut newest = self.newest.lock().unwrap();
        *newest = Arc::new(Moment {
            epoch: newest.epoch,
            oldest,
            updates: newest.updates.clone(),
            together: newest.together,
        });
    }

    /// Stops: nothing will be published any more.
    pub fn stop(&self) {
        self.sender.lock().unwrap().take();
    }

    /// The rows of `view` as of `epoch`.
    pub fn rows_at(&self, view: View, epoch: Epoch) -> Vec<Row> {
        let newest = self.newest.lock().unwrap().clone();
        newest.sums(view, |at| at <= epoch).into_keys().collect()
    }
}

impl Publication for Fake {
    fn newest(&self) -> Arc<dyn Reading> {
        self.newest.lock().unwrap().clone()
    }

    fn epochs(&self) -> watch::Receiver<Epoch> {
        self.receiver.clone()
    }
}

impl Moment {
    fn sums(&self, view: View, wanted: impl Fn(Epoch) -> bool) -> BTreeMap<Row, i64> {
        let mut sums = BTreeMap::new();
        for (_, (_, row, diff)) in self.updates.iter().filter(|(at, (of, ..))| *of == view && wanted(*at)) {
            *sums.entry(row.clone()).or_insert(0) += diff;
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    }
}

impl Reading for Moment {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn oldest(&self) -> Epoch {
        self.oldest
    }

    fn clock_micros(&self) -> i64 {
        0
    }

    fn scan(self: Arc<Self>, view: View, scan: &Scan) -> Batches {
        let sums = self.sums(view, |at| at <= self.epoch);
        assert!(sums.values().all(|sum| *sum == 1), "the script publishes sets");
        let customer = view.columns().iter().position(|column| column.name == "customer");
        let wanted = |row: &&Row| match (&scan.customer, customer) {
            (Some(name), Some(place)) => row[place] == Value::Text(name.clone()),
            _ => true,
        };
        let rows: Vec<_> = sums.keys().filter(wanted).take(scan.rows_max.unwrap_or(usize::MAX)).cloned().collect();
        // Several batches, so that their seams are tested too.
        let batches: Vec<_> = rows.chunks(1000).map(|rows| batch(view, rows)).collect();
        Box::new(batches.into_iter())
    }

    fn changes(self: Arc<Self>, view: View, after: Epoch) -> Result<Vec<Change>, ChangesError> {
        if after < self.oldest {
            return Err(ChangesError::TooOld { after, oldest: self.oldest });
        }
        let ends: Vec<_> = if self.together { vec![self.epoch] } else { (after + 1..=self.epoch).collect() };
        let changed = ends.into_iter().map(|epoch| {
            let sums = self.sums(view, |at| if self.together { at > after } else { at == epoch });
            let rows: Vec<_> = sums.keys().cloned().collect();
            Change { epoch, rows: batch(view, &rows), diffs: Int64Array::from_iter_values(sums.into_values()) }
        });
        Ok(changed.filter(|change| change.rows.num_rows() > 0).collect())
    }

    fn rows_about(&self, view: View) -> usize {
        self.sums(view, |_| true).len()
    }
}

fn batch(view: View, rows: &[Row]) -> RecordBatch {
    let mut writer = RowWriter::new(view);
    for value in rows.iter().flatten() {
        match value {
            Value::Text(text) => writer.text(text),
            Value::Integer(number) => writer.integer(*number),
            Value::Decimal(units) => writer.decimal(*units),
            Value::Time(micros) => writer.time(*micros),
        };
    }
    writer.finish()
}

/// A row of the ledger that came or went.
pub fn ledger(state: &str, events: i64, diff: i64) -> Update {
    (View::Ledger, vec![Value::Text(state.into()), Value::Integer(events)], diff)
}

/// A row of hourly usage that came or went; the quantity is in whole units.
pub fn usage(customer: &str, hour: i64, quantity: i64, diff: i64) -> Update {
    let micros = hour * 3_600_000_000;
    let row = vec![
        Value::Text(format!("{customer}-subject")),
        Value::Text("api_calls".into()),
        Value::Text(String::new()),
        Value::Time(micros),
        Value::Time(micros + 3_600_000_000),
        Value::Text(customer.into()),
        Value::Decimal(i128::from(quantity) * 1_000_000_000_000),
        Value::Integer(1),
    ];
    (View::UsageHourly, row, diff)
}
