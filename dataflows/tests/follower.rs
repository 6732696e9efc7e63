//! A reader that follows the views of the engine by their changes.
//!
//! Law: what a view showed at an earlier epoch, with the changes since, is what it shows now, as
//! far back as changes can be told. It needs no oracle.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use trueup::engine::moment::Moment;
use trueup_sinks::reading::{Reading, Scan};
use trueup_sinks::view::View;

/// Rows as text, each with how many times it is there.
type Counts = BTreeMap<String, i64>;

/// Remembers what each view showed, as far back as changes can be told.
#[derive(Default)]
pub struct Follower {
    shown: BTreeMap<&'static str, BTreeMap<u64, Counts>>,
}

impl Follower {
    /// Reads a view, and checks that the changes since earlier epochs lead to what it shows.
    pub fn read(&mut self, view: View, moment: &Arc<Moment>) {
        let shown = self.shown.entry(view.name()).or_default();
        if shown.contains_key(&moment.epoch()) {
            return;
        }
        let mut now = Counts::new();
        moment.clone().scan(view, &Scan::default()).for_each(|batch| count(&batch, |_| 1, &mut now));
        let (scanned, rows) = (now.values().sum::<i64>(), moment.rows(view).len());
        assert_eq!(scanned, rows as i64, "a scan of {} gives its rows", view.name());
        shown.retain(|epoch, _| *epoch >= moment.oldest());
        // The nearest and the farthest: those between cost the time of many more histories.
        let ends = shown.first_key_value().into_iter().chain(shown.last_key_value().filter(|_| shown.len() > 1));
        for (epoch, before) in ends {
            let mut led_to = before.clone();
            for change in moment.clone().changes(view, *epoch).expect("changes so far back can be told") {
                count(&change.rows, |row| change.diffs.value(row), &mut led_to);
            }
            led_to.retain(|_, times| *times != 0);
            assert!(
                led_to == now,
                "the changes of {} from epoch {epoch} to {} lead elsewhere\n{}",
                view.name(),
                moment.epoch(),
                difference(&led_to, &now)
            );
        }
        shown.insert(moment.epoch(), now);
    }
}

/// Counts the rows of a batch, each so many times.
fn count(batch: &RecordBatch, times: impl Fn(usize) -> i64, counts: &mut Counts) {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<ArrayRef> = batch.columns().iter().map(plain).collect();
    let columns = columns.iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns: Vec<ArrayFormatter> = columns.collect::<Result<_, _>>().expect("every column can be shown");
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
        *counts.entry(cells.join(" | ")).or_default() += times(row);
    }
}

/// A column with its times as numbers: to be shown as dates they would need a list of zones.
fn plain(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64).expect("a time is a number"),
        _ => column.clone(),
    }
}

/// The rows that are there more often on one side.
fn difference(led_to: &Counts, now: &Counts) -> String {
    let line = |row: &str, times: i64| match times {
        0 => String::new(),
        1.. => format!("wrong   {row}\n"),
        _ => format!("missing {row}\n"),
    };
    let mut more = led_to.clone();
    now.iter().for_each(|(row, times)| *more.entry(row.clone()).or_default() -= times);
    more.iter().map(|(row, times)| line(row, *times)).collect()
}
