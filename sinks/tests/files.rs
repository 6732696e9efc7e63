//! Views as files: whole, of one epoch, and readable by others.

use std::fs;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use trueup_sinks::files::{Format, write_views};
use trueup_sinks::reading::Publication;
use trueup_sinks::view::View;

use crate::fake::{Fake, usage};
use crate::support::lines;

#[test]
fn every_view_is_written_in_each_form() {
    let folder = std::env::temp_dir().join(format!("trueup-files-{}", std::process::id()));
    let fake = Fake::new();
    fake.publish([usage("acme", 0, 3, 1), usage("zeta", 1, 4, 1)]);
    for format in [Format::Parquet, Format::Csv, Format::Json] {
        let written = write_views(fake.newest(), &folder, format).unwrap();
        assert_eq!(written.len(), View::ALL.len());
        for (view, file, rows) in written {
            assert!(file.is_file(), "{}", file.display());
            assert_eq!(rows, if view == View::UsageHourly { 2 } else { 0 });
        }
    }
    let parquet = fs::File::open(folder.join("usage_hourly.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(
        lines(&batches)[0],
        "acme-subject|api_calls||1970-01-01T00:00:00Z|1970-01-01T01:00:00Z|acme|3.000000000000|1"
    );
    let csv = fs::read_to_string(folder.join("usage_hourly.csv")).unwrap();
    assert_eq!(
        csv.lines().nth(1).unwrap(),
        "acme-subject,api_calls,,1970-01-01T00:00:00Z,1970-01-01T01:00:00Z,acme,3.000000000000,1"
    );
    let empty = fs::read_to_string(folder.join("ledger.csv")).unwrap();
    assert_eq!(empty, "state,events\n");
    let json = fs::read_to_string(folder.join("usage_hourly.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(row["quantity"], "3.000000000000");
    assert!(fs::read_dir(&folder).unwrap().all(|entry| !entry.unwrap().path().to_string_lossy().ends_with(".part")));
    fs::remove_dir_all(folder).unwrap();
}
